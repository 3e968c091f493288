"""Train a variational autoencoder by stochastic variational inference and leave a run folder behind.

python scripts/svi_train.py --likelihood gaussian
python scripts/svi_train.py --dataset my_table.csv --latent-dim 4
python scripts/svi_train.py --resume runs/digits-gaussian-001
"""

from pyro_vae._environment import limit_thread_spinning, run_script
from pyro_vae.experiment.command_line import from_command_line

limit_thread_spinning()


def main() -> int:
    """Parse the command line, then train; torch is loaded only after parsing."""
    config = from_command_line()
    from pyro_vae.experiment.train_run import train

    return train(config)


if __name__ == "__main__":
    run_script(main)
