"""Assertions that several tests share, and scripts run in this process."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"


def assert_within_sigma(estimate: Any, truth: Any, standard_error: Any, sigmas: float = 4.0) -> None:
    """Assert |estimate - truth| <= sigmas * standard_error, entry by entry; the message gives the numbers.

    Args:
        estimate: A Monte Carlo estimate, number or array.
        truth: The true value, broadcastable to the estimate.
        standard_error: Standard error of the estimate, likewise; zero means equal.
        sigmas: Allowed number of standard errors: 4 fail once in 16000 entries.
    """
    estimate, truth, standard_error = (
        np.asarray(value.detach().cpu() if hasattr(value, "detach") else value, dtype=float)
        for value in (estimate, truth, standard_error)
    )
    assert np.isfinite(estimate).all(), "an estimate is not finite"
    assert np.isfinite(standard_error).all(), "a standard error is not finite"
    estimate, truth, standard_error = np.broadcast_arrays(estimate, truth, standard_error)
    off = np.abs(estimate - truth)
    failed = off > sigmas * standard_error
    if failed.any():
        worst = np.unravel_index(
            np.argmax(np.where(failed, off / np.maximum(standard_error, 1e-300), 0)), off.shape
        )
        raise AssertionError(
            f"{failed.sum()} of {failed.size} entries are off by more than {sigmas} standard errors; the worst, at "
            f"{tuple(map(int, worst))}: estimate {estimate[worst]:.6g}, truth {truth[worst]:.6g}, standard error "
            f"{standard_error[worst]:.3g}"
        )


def script(*args: Any, name: str = "svi_train.py", figures: bool = False) -> int:
    """Run a script of `scripts/` in this process, as its command line would; return its exit status.

    Training draws no figures, which take most of the time of a small run, unless `figures`.
    """
    with pytest.MonkeyPatch.context() as patch:
        if not figures:
            patch.setattr("pyro_vae.experiment.figures.write_figures", lambda *_, **__: [])
        patch.setattr(sys, "argv", [name, *map(str, args)])
        patch.syspath_prepend(SCRIPTS)  # as Python does
        try:
            runpy.run_path(str(SCRIPTS / name), run_name="__main__")
        except SystemExit as end:
            return int(end.code or 0)
    raise AssertionError("the script did not exit")
