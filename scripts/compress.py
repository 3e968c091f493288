"""Compress rows losslessly with a trained run, by bits-back coding.

The same as `pyro-vae compress`:

python scripts/compress.py runs/mnist-bernoulli-001 rows.npy -o rows.bits
python scripts/decompress.py runs/mnist-bernoulli-001 rows.bits -o rows_again.npy
"""

from _clone import run_command

if __name__ == "__main__":
    run_command("compress")
