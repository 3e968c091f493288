"""Train a variational autoencoder by stochastic variational inference and write its run folder.

The same as `pyro-vae train`:

python scripts/svi_train.py --likelihood gaussian
python scripts/svi_train.py --dataset my_table.csv --latent-dim 4
python scripts/svi_train.py --resume runs/digits-gaussian-001
"""

from _clone import run_command

if __name__ == "__main__":
    run_command("train")
