"""EM as a sequence of parameter vectors of rising log-likelihood: plain, accelerated, and when to stop."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from pyro_vae.baselines._gaussian import Array

# An extrapolation may be this many EM steps long at most; it only keeps the arithmetic finite.
LONGEST = 1e6

Theta = TypeVar("Theta")

# From theta to the EM update of theta and the log-likelihood AT theta, in nats per example, which the E-step gives.
Step = Callable[[Theta], tuple[Theta, float]]


def plain(step: Step[Theta], theta: Theta) -> Iterator[tuple[Theta, float]]:
    """Yield (theta, its log-likelihood) along the EM sequence."""
    while True:
        update, loglike = step(theta)
        yield theta, loglike
        theta = update


def squarem(step: Step[Array], theta: Array) -> Iterator[tuple[Array, float]]:
    """Yield (theta, its log-likelihood) along EM with squared extrapolation, SQUAREM of Varadhan & Roland (2008).

    Two EM steps give the change r and its change v; the leap to theta + 2 a r + a² v, a = |r| / |v| (their scheme S3,
    eq. 7-9), is kept only if its log-likelihood is not below the last one, else EM goes on from its second step. So
    the sequence never falls, and its fixed points are EM's. One pair is yielded for each E-step, kept or not.
    """
    first, loglike = step(theta)
    yield theta, loglike
    while True:
        second, loglike = step(first)
        yield first, loglike
        r, v = first - theta, second - 2 * first + theta
        length = min(max(1.0, math.sqrt((r @ r) / max(v @ v, np.finfo(float).tiny))), LONGEST)
        leap = theta + 2 * length * r + length**2 * v
        beyond, leap_loglike = step(leap)
        if leap_loglike >= loglike:
            theta, first = leap, beyond
            yield theta, leap_loglike
        else:
            yield first, loglike
            theta = second
            first, loglike = step(theta)
            yield theta, loglike


def climb(
    sequence: Iterator[tuple[Theta, float]], *, tol: float, max_iter: int, name: str, window: int = 4
) -> tuple[Theta, list[float]]:
    """Follow an EM sequence until `window` steps together gain less than `tol` nats per example.

    Returns:
        The last theta and the log-likelihood of every step, in nats per example. Warns with `ConvergenceWarning`
        where `max_iter` steps did not suffice.
    """
    history: list[float] = []
    for theta, loglike in sequence:
        history.append(loglike)
        if len(history) > window and loglike - history[-1 - window] < tol:
            return theta, history
        if len(history) == max_iter:
            break
    gain = f"{history[-1] - history[max(0, len(history) - 1 - window)]:.2g} nats per example"
    warnings.warn(
        f"{name} did not converge: its last {window} steps gained {gain}, more than tol={tol:g}. "
        f"Raise max_iter (now {max_iter}) or tol.",
        ConvergenceWarning,
        stacklevel=4,
    )
    return theta, history
