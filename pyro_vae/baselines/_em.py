"""EM as a sequence of parameter vectors with increasing log-likelihood: plain, accelerated, and stopping rules."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from scipy.optimize import Bounds, OptimizeResult, minimize
from sklearn.exceptions import ConvergenceWarning

from pyro_vae.baselines._gaussian import Array

# Maximum length of an extrapolation, in EM steps; it only keeps the arithmetic finite.
LONGEST = 1e6
# Number of steps over which the gain is measured: a SQUAREM cycle plus one, because its steps gain unequally.
WINDOW = 4
# EM is followed by the quasi-Newton method once four steps gain less than this, in nats per example: near the maximum
# EM needs hundreds of steps where the quasi-Newton method needs tens.
HANDOVER = 1e-5
# If the gradient in every log noise variance is smaller than this, further gains are rounding.
GRADIENT = 1e-9
TINY = float(np.finfo(float).tiny)

Theta = TypeVar("Theta")

# Maps theta to its EM update and to the log-likelihood at theta (before the update), in nats per example, which the
# E-step computes.
Step = Callable[[Theta], tuple[Theta, float]]


def plain(step: Step[Theta], theta: Theta) -> Iterator[tuple[Theta, float]]:
    """Yield (theta, its log-likelihood) along the EM sequence."""
    while True:
        update, loglike = step(theta)
        yield theta, loglike
        theta = update


def squarem(step: Step[Array], theta: Array) -> Iterator[tuple[Array, float]]:
    """Yield (theta, its log-likelihood) along EM with squared extrapolation, SQUAREM of Varadhan & Roland (2008).

    Two EM steps give the first difference r and the second difference v. The extrapolation to theta + 2 a r + a² v, a =
    |r| / |v| (scheme S3, eq. 7-9), is accepted only if its log-likelihood is not below the previous one; otherwise EM
    continues from the second step. The log-likelihood therefore never decreases, and the fixed points are those of EM.
    One pair is yielded per E-step, accepted or not.
    """
    first, loglike = step(theta)
    yield theta, loglike
    while True:
        second, loglike = step(first)
        yield first, loglike
        r, v = first - theta, second - 2 * first + theta
        length = float(np.clip(np.linalg.norm(r) / max(float(np.linalg.norm(v)), TINY), 1.0, LONGEST))
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


class Run(NamedTuple, Generic[Theta]):
    """The end of an EM sequence, its log-likelihood at every step in nats per example, and whether it converged."""

    theta: Theta
    history: list[float]
    converged: bool


def climb(sequence: Iterator[tuple[Theta, float]], *, tol: float, max_iter: int) -> Run[Theta]:
    """Follow an EM sequence until `WINDOW` steps gain less than `tol` nats per example in total."""
    history: list[float] = []
    for theta, loglike in sequence:
        history.append(loglike)
        converged = len(history) > WINDOW and loglike - history[-1 - WINDOW] < tol
        if converged or len(history) == max_iter:
            return Run(theta, history, converged)
    raise AssertionError("an EM sequence has no end")


def run_to_convergence(
    step: Step[Array],
    gradient: Callable[[Array], tuple[float, Array]],
    start: Array,
    bounds: Bounds,
    *,
    tol: float,
    max_iter: int,
) -> Run[Array]:
    """Maximise the log-likelihood from `start` by accelerated EM, then by L-BFGS-B within `bounds`.

    `gradient` returns the log-likelihood at theta in nats per example, and its gradient.
    """
    run = climb(squarem(step, start), tol=max(tol, HANDOVER), max_iter=max_iter)
    if not run.converged or max_iter == len(run.history):
        return run._replace(converged=False)
    history = list(run.history)
    reached, left = history[-1], max_iter - len(history)

    def negative(theta: Array) -> tuple[float, Array]:
        loglike, slope = gradient(theta)
        return reached - loglike, -slope

    def record(intermediate_result: OptimizeResult[Any]) -> None:
        history.append(reached - float(intermediate_result.fun))

    options: Any = {
        "maxiter": left,
        "maxfun": 20 * left,
        "ftol": 1e-4 * tol,
        "gtol": GRADIENT,
        "maxcor": 30,
    }
    found = minimize(
        negative, run.theta, jac=True, method="L-BFGS-B", bounds=bounds, callback=record, options=options
    )
    return Run(found.x, history, found.nit < left)


def best(runs: Iterable[Run[Theta]], name: str) -> Run[Theta]:
    """Return the run with the highest log-likelihood; issue a `ConvergenceWarning` if it did not converge."""
    run = max(runs, key=lambda run: run.history[-1])
    if not run.converged:
        gain = run.history[-1] - run.history[max(0, len(run.history) - 1 - WINDOW)]
        warnings.warn(
            f"{name} did not converge in max_iter={len(run.history)} steps: the last {WINDOW} still gained "
            f"{gain:.2g} nats per example. Raise max_iter or tol.",
            ConvergenceWarning,
            stacklevel=3,
        )
    return run
