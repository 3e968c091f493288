"""`pyro_vae.runs` of version 0.1.0."""

from pyro_vae._moved import moved

__all__, __getattr__ = moved(
    __name__,
    {
        "pyro_vae.experiment.checkpoint_callback": "Checkpoints",
        "pyro_vae.experiment.interruption": "Interrupted interruptible",
        "pyro_vae.experiment.load_data": "load_data",
        "pyro_vae.experiment.load_run": "Run load_run",
        "pyro_vae.experiment.resuming": "open_folder restore resume_notes start_from",
        "pyro_vae.experiment.run_folder": "RunFolder",
        "pyro_vae.experiment.saved_config": "absolute saved_config saved_info",
        "pyro_vae.experiment.stop_on_signal": "StopOnSignal",
        "pyro_vae.experiment.write_config": "write_config",
    },
)
