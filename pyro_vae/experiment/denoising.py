"""Denoising results of a run whose guide takes corrupted rows."""

from __future__ import annotations

from matplotlib.figure import Figure

from pyro_vae import plots
from pyro_vae.evaluate.denoising import denoise
from pyro_vae.experiment.shown import Shown
from pyro_vae.networks.corruption import corruption_of

__all__ = ["denoising"]

COLUMNS = 10


def denoising(shown: Shown) -> Figure:
    """Draw test rows: clean, corrupted (the input of the guide), and denoised."""
    corruption = corruption_of(shown.guide)
    assert corruption is not None
    x, *context = shown.dataset.test.evenly_spaced(2 * COLUMNS).tensors()
    given = corruption.fixed(x)
    images = {"clean": x, "corrupted": given, "denoised": denoise(shown.model, shown.guide, given, *context)}
    ax = plots.denoising(images, shown.dataset.data_shape, columns=COLUMNS, value_range=shown.value_range)
    ax.set_title(f"{shown.name}: test rows, corrupted and denoised")
    return ax.figure  # type: ignore[return-value]
