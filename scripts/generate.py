"""Draw new rows from a trained run.

The same as `pyro-vae generate`:

python scripts/generate.py runs/mnist-bernoulli-001 -n 100 -o samples.png
python scripts/generate.py runs/titanic -n 1000 -o passengers.csv
"""

from _clone import run_command

if __name__ == "__main__":
    run_command("generate")
