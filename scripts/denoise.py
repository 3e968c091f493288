"""Denoise rows with a trained run.

The same as `pyro-vae denoise`:

python scripts/denoise.py runs/digits-denoising noisy.npy -o clean.npy
python scripts/denoise.py runs/digits-denoising -o clean.png --particles 64
"""

from _clone import run_command

if __name__ == "__main__":
    run_command("denoise")
