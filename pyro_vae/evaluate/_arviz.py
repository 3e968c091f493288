"""Differences between versions of ArviZ: 0.x has InferenceData, 1.x uses xarray's DataTree."""

from __future__ import annotations

import warnings
from typing import Any

import xarray as xr

with warnings.catch_warnings():
    # ArviZ 0.23 warns of version 1.0 once a day; users of this library can do nothing about it.
    warnings.filterwarnings("ignore", r"\s*ArviZ is undergoing a major refactor", FutureWarning)
    import arviz as az

__all__ = ["MODERN", "as_groups"]

MODERN = not az.__version__.startswith("0.")


def as_groups(groups: dict[str, xr.Dataset]) -> Any:
    """Return named data sets as a result of the installed ArviZ."""
    return xr.DataTree.from_dict(groups) if MODERN else az.InferenceData(**groups)
