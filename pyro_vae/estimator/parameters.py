"""Checks of the parameters of `VAE`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_vae._checks import check, check_choice, check_integer, check_positive
from pyro_vae.baselines._gaussian import Array
from pyro_vae.estimator.densities import ESTIMATES
from pyro_vae.likelihoods.registry import LIKELIHOODS as MADE
from pyro_vae.settings.part import PARTS

__all__ = ["check_parameters", "check_values", "outside_support"]

LIKELIHOODS = tuple(name for name, part in PARTS["likelihood"].items() if not part.needs or name == "table")  # type: ignore[attr-defined]
GUIDES = tuple(
    name
    for name, part in PARTS["guide"].items()
    if "gaussian" in part.latents and not part.is_point  # type: ignore[attr-defined]
)
PRIORS = ("standard-normal", "diagonal-normal", "mixture", "vampprior", "flow")
OBJECTIVES = ("elbo", "analytic-elbo", "stl", "iwae", "dreg")


def check_parameters(estimator: Any) -> None:
    """Raise `InputError` if a parameter of the estimator `VAE` is out of range or does not go with another."""
    for name in ("n_components", "epochs", "patience"):
        if getattr(estimator, name) is not None:
            check_integer(getattr(estimator, name), name)
    for name in ("num_particles", "batch_size", "num_samples"):
        check_integer(getattr(estimator, name), name)
    if estimator.learning_rate is not None:
        check_positive(estimator.learning_rate, "learning_rate")
    chosen = {
        "likelihood": LIKELIHOODS,
        "guide": GUIDES,
        "prior": PRIORS,
        "objective": OBJECTIVES,
        "estimate": tuple(ESTIMATES),
    }
    for name, choices in chosen.items():
        check_choice(getattr(estimator, name), choices, name)
    check(
        estimator.objective not in ("iwae", "dreg") or estimator.num_particles > 1,
        f"Expected num_particles of at least 2 with objective {estimator.objective!r}; got 1. Give 5.",
    )
    check(
        estimator.n_components != 1 or not {estimator.guide, estimator.prior} & {"iaf", "spline", "flow"},
        f"Expected n_components of at least 2 with guide {estimator.guide!r} and prior {estimator.prior!r}; got 1.",
    )
    check(
        estimator.likelihood != "table" or estimator.prior != "vampprior",
        "Expected another prior than 'vampprior' with likelihood='table', whose rows may have missing values.",
    )
    check(
        estimator.kinds is None or estimator.likelihood == "table",
        f"Expected no kinds with likelihood {estimator.likelihood!r}; got {estimator.kinds}. Give likelihood='table'.",
    )
    check(
        0 < estimator.contamination <= 0.5,
        f"Expected contamination in (0, 0.5]; got {estimator.contamination}. Give the share of outliers.",
    )
    check(
        0 <= estimator.validation_fraction < 1,
        f"Expected validation_fraction in [0, 1); got {estimator.validation_fraction}. Give 0.15, or 0 for none.",
    )


def check_values(likelihood: str, rows: Array) -> None:
    """Raise `InputError` if rows of shape (N, D) hold values that a likelihood gives no probability."""
    outside = outside_support(likelihood, rows)
    expected = "zeros and ones" if MADE[likelihood].kind == "binary" else "values from 0 to 1"
    check(
        not outside.any(),
        f"Expected {expected} in X with likelihood {likelihood!r}; got others in {outside.sum()} of {len(rows)} rows. "
        "Binarize or scale them, or take another likelihood.",
    )


def outside_support(likelihood: str, rows: Array) -> NDArray[np.bool_]:
    """Return which rows hold values that a likelihood gives no probability, shape (N,), for rows (N, D)."""
    kind = MADE[likelihood].kind
    if kind == "binary":
        return np.asarray(~np.isin(rows, (0.0, 1.0)).all(axis=1))
    if kind == "unit-interval":
        return np.asarray(((rows < 0) | (rows > 1)).any(axis=1))
    return np.zeros(len(rows), dtype=bool)
