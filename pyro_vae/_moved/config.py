"""`pyro_vae.config` of version 0.1.0."""

from pyro_vae._moved import moved

__all__, __getattr__ = moved(
    __name__,
    {
        "pyro_vae.experiment.command_line": "from_command_line",
        "pyro_vae.experiment.config": "Config DataConfig ModelConfig RunConfig TrainingConfig from_json to_json",
    },
)
