"""`python -m pyro_vae`, the same as the console command `pyro-vae`."""

from pyro_vae.cli import main

if __name__ == "__main__":
    main()
