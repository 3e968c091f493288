"""Writing of weights at regular times by the contenders of `quality`."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._serve import Network, clock

Array = NDArray[Any]
Layers = list[tuple[Any, Any]]
"""Weights (outputs, inputs) and biases (outputs,) of linear layers, in order from the input."""


def of_rows(layer: tuple[Any, Any], loc: Any, scale: Any) -> tuple[Any, Any]:
    """Return the layer of rows x that equals a layer of the standardized rows (x - loc) / scale."""
    weight, bias = layer
    weight = weight / scale
    return weight, bias - weight @ loc


STAGES = 8


def learning_rates() -> Iterator[float]:
    """Yield the rate of each epoch of Burda et al. (2016, section 5): 3^i epochs at 10^(-3 - i / 7), i = 0, ..., 7."""
    for i in range(STAGES):
        yield from itertools.repeat(10 ** (-3 - i / 7), 3**i)


ADAM: dict[str, Any] = {"betas": (0.9, 0.999), "eps": 1e-4}
"""Arguments of PyTorch's Adam in the same recipe."""


class Snapshots:
    """The weights at regular times of this process, without the time for writing them.

    The process's first argument is a JSON object: "network", "rows" (a .npy of the training split's grey values in
    [0, 1]), "folder" (of the snapshots), "every" (seconds from one to the next), "seconds" (after which training
    ends), and further values for a contender.
    """

    def __init__(self) -> None:
        self.job: dict[str, Any] = json.loads(sys.argv[1])
        self.network = Network(*self.job["network"])
        self.folder = Path(self.job["folder"])
        # The processor's clock counts from the start of the process, so it includes imports.
        self._started = 0.0 if os.environ.get("BENCHMARK_CLOCK") == "cpu" else clock()
        self._writing = 0.0
        self._due: float = self.job["every"]
        self._count = 0

    def grey(self) -> Array:
        """Return the probabilities of ones, float32 (N, data_dim)."""
        rows: Array = np.load(self.job["rows"], allow_pickle=False)
        return rows

    def seconds(self) -> float:
        """Return the time spent so far."""
        return clock() - self._started - self._writing

    def over(self, layers: Callable[[], tuple[Layers, Layers]], scale: str) -> bool:
        """Write the weights if they are due; return whether training should end.

        Args:
            layers: Function that returns the layers of encoder and decoder.
            scale: Function from the second half of the encoder's outputs to a scale: "exp", "softplus", or "variance"
                for the exponential of half of it.
        """
        now = self.seconds()
        if now >= min(self._due, self.job["seconds"]):
            self.write(layers, scale)
            self._due = now + self.job["every"]
        return now >= self.job["seconds"]

    def write(self, layers: Callable[[], tuple[Layers, Layers]], scale: str) -> None:
        """Write the weights and the time."""
        before, now = clock(), self.seconds()
        parts = zip(("encoder", "decoder"), layers(), strict=True)
        arrays: dict[str, Any] = {
            f"{name}_{number}_{kind}": np.asarray(array)
            for name, part in parts
            for number, layer in enumerate(part)
            for kind, array in zip(("weight", "bias"), layer, strict=True)
        }
        target = self.folder / f"{self._count:04d}.npz"
        with target.open("wb") as file:
            np.savez(file, seconds=now, scale=scale, **arrays)
        self._count += 1
        self._writing += clock() - before
