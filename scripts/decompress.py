"""Restore rows from a file of scripts/compress.py.

The same as `pyro-vae decompress`:

python scripts/decompress.py runs/mnist-bernoulli-001 rows.bits -o rows_again.npy
"""

from _clone import run_command

if __name__ == "__main__":
    run_command("decompress")
