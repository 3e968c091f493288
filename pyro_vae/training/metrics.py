"""Metrics: user-defined numbers, measured after each epoch on the validated weights."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch

from pyro_vae._checks import InputError, LostProcessError, check, check_integer
from pyro_vae._programs import evaluation_mode
from pyro_vae.processes import SINGLE_PROCESS, Processes
from pyro_vae.training.random_state import fixed_random_state

__all__ = ["Measurement", "Metric"]

Metric = Callable[[Any, Any], float | Mapping[str, float]]
"""Function (model, guide) -> number, or numbers by name. The programs are in evaluation mode and hold the validated
weights."""


class Measurement:
    """Evaluate metrics on the current weights of two programs.

    Gradients are off. The random state (Python's, NumPy's, torch's) is the same in every epoch and restored afterwards,
    so that epochs differ only by their weights, and training does not depend on the metrics.

    Args:
        metrics: Functions (model, guide) -> number, or -> numbers by name, by name.
        seed: Seed of the random state at the start of every metric.
        processes: The processes that train together. All evaluate the metrics; the first one's numbers are used.
        every: Number of epochs between measurements.

    Raises:
        InputError: If a name is not text or a metric is not callable.
    """

    def __init__(
        self,
        metrics: Mapping[str, Metric] | None,
        seed: int = 0,
        processes: Processes = SINGLE_PROCESS,
        every: int = 1,
    ) -> None:
        self.every = check_integer(every, "metrics_every")
        check(
            metrics is None or isinstance(metrics, Mapping),
            f"Expected metrics as a dict of functions by name; got {type(metrics).__name__}.",
        )
        self.metrics = dict(metrics or {})
        self.seed, self.processes = seed, processes
        for name, metric in self.metrics.items():
            check(
                isinstance(name, str) and bool(name.strip()),
                f"Expected the names of metrics to be text; got {name!r}.",
            )
            check(
                callable(metric),
                f"Expected metric {name!r} to be a function (model, guide) -> float; got {type(metric).__name__}.",
            )

    def __bool__(self) -> bool:
        return bool(self.metrics)

    def __call__(self, model: Any, guide: Any) -> dict[str, float]:
        """Return the value of each metric by name; values may be NaN or infinite.

        Raises:
            InputError: If a metric fails or does not return a number, or two values have the same name.
        """
        found: dict[str, float] = {}
        with evaluation_mode(model, guide), torch.no_grad():
            for metric in self.metrics:
                for name, value in self._values(metric, model, guide).items():
                    check(
                        name not in found,
                        f"Expected metrics to give values of different names; two are called {name!r}.",
                    )
                    found[name] = value
        values = self.processes.from_first(torch.tensor(list(found.values()), dtype=torch.float64)).tolist()
        return dict(zip(found, values, strict=True))

    def is_due(self, epoch: int) -> bool:
        """Return whether metrics are measured after an epoch, counted from 1."""
        return bool(self) and epoch % self.every == 0

    def _values(self, name: str, model: Any, guide: Any) -> dict[str, float]:
        with fixed_random_state(self.seed):
            try:
                value = self.metrics[name](model, guide)
            except LostProcessError:
                raise
            except Exception as error:
                reason = " ".join(str(error).split())
                raise InputError(
                    f"Expected metric {name!r} to return a number; it raised {type(error).__name__}"
                    f"{f': {reason}' if reason else ''}. Correct the function, or leave it out of metrics."
                ) from error
        if isinstance(value, Mapping):
            return {str(key): _as_number(part, str(key)) for key, part in value.items()}
        return {name: _as_number(value, name)}


def _as_number(value: Any, name: str) -> float:
    """Return a number or an array of one entry as a float."""
    try:
        if isinstance(value, str | bytes | bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        shape = f" of shape {tuple(value.shape)}" if hasattr(value, "shape") else ""
        raise InputError(
            f"Expected metric {name!r} to return a number; got {type(value).__name__}{shape}. Return a float."
        ) from None


def not_finite_note(history: list[dict[str, Any]]) -> str:
    """Return a message about non-finite metrics with their epochs, or an empty string."""
    lost: dict[str, list[int]] = {}
    measured = Counter(name for line in history for name in line.get("metrics", {}))
    for line in history:
        for name, value in line.get("metrics", {}).items():
            if value is None or not math.isfinite(value):
                lost.setdefault(name, []).append(line["epoch"])
    texts = [
        f"{name!r} in {len(epochs)} of {measured[name]} epochs (first in {epochs[0]})"
        for name, epochs in lost.items()
    ]
    return f"Metrics without a finite value: {'; '.join(texts)}." if texts else ""
