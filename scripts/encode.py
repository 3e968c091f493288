"""Write the codes of rows by a trained run.

The same as `pyro-vae encode`:

python scripts/encode.py runs/mnist-bernoulli-001 -o codes.csv
python scripts/encode.py runs/mnist-bernoulli-001 rows.npy -o codes.npy
"""

from _clone import run_command

if __name__ == "__main__":
    run_command("encode")
