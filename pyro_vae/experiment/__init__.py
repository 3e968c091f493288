"""Functions behind the scripts: configuration, training, run folders, evaluation, comparison, scoring."""

from __future__ import annotations

__all__ = ["train"]


def __getattr__(name: str) -> object:
    if name == "train":  # not before it is used: the command line's help imports no torch
        from pyro_vae.experiment.train_run import train

        return train
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
