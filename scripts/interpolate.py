"""Decode the path between the codes of two rows, or of two classes, with a trained run.

The same as `pyro-vae interpolate`:

python scripts/interpolate.py runs/mnist-bernoulli-001 --rows 3 8 -o path.png
python scripts/interpolate.py runs/mnist-bernoulli-001 rows.npz --classes 3 8 --path circle -o path.png
"""

from _clone import run_command

if __name__ == "__main__":
    run_command("interpolate")
