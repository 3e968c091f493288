"""Train a variational autoencoder by stochastic variational inference and write its run folder.

pyro-vae train --likelihood gaussian
pyro-vae train --dataset my_table.csv --latent-dim 4
pyro-vae train --resume runs/digits-gaussian-001
"""

from __future__ import annotations

from pyro_vae.experiment.command_line import from_command_line


def main() -> int:
    """Parse the command line, then train; torch is loaded only after parsing."""
    config = from_command_line()
    from pyro_vae.experiment.train_run import train

    return train(config)
