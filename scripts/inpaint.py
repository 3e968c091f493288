"""Hide a part of images and fill it in with a trained run.

The same as `pyro-vae inpaint`:

python scripts/inpaint.py runs/mnist-bernoulli-001 --hide left -o inpainted.png
python scripts/inpaint.py runs/mnist-bernoulli-001 rows.npy --hide mask.npy -o inpainted.npy --draws 5
"""

from _clone import run_command

if __name__ == "__main__":
    run_command("inpaint")
