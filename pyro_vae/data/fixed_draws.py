"""Draws that are the same in all runs, from the data seed: splits, and the noise of evaluation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_vae._checks import InputError, check
from pyro_vae.data.stored import Stored

__all__ = ["DATA_SEED", "draw_rows", "draw_splits", "fixed_noise"]

DATA_SEED = 0  # of splits and fixed draws: never the run's seed, so that all runs are compared on the same x


def fixed_noise(index: NDArray[np.int64], data_dim: int) -> Tensor:
    """Return the fixed u in [0, 1), float32 (n, D), of rows `index` (n,) of the stored data.

    Row i is drawn by the counter-based generator Philox (Salmon et al. 2011) with the key (data seed, i), so it does
    not depend on the split, the block size or the order.
    """
    philox = np.random.Philox(key=np.array([DATA_SEED, 0], np.uint64))
    generator, state = np.random.Generator(philox), philox.state
    noise = np.empty((len(index), data_dim), np.float32)
    for row, i in zip(noise, index, strict=True):
        state["state"]["key"][1] = i
        philox.state = state
        generator.random(dtype=np.float32, out=row)
    return torch.from_numpy(noise)


def draw_splits(stored: Stored) -> dict[str, NDArray[np.int64]]:
    """Return the row numbers of "train", "validation" and "test", ascending.

    Splits given by the data are kept. Missing ones are drawn from its training rows with the data seed: `stored.drawn`
    rows, or else a tenth of the training rows, at least one.

    Raises:
        InputError: If fewer rows than splits are left.
    """
    return draw_rows(stored.name, stored.given, stored.drawn)


def draw_rows(
    name: str, given: Mapping[str, NDArray[np.int64]], drawn: Mapping[str, int]
) -> dict[str, NDArray[np.int64]]:
    """Return the row numbers of the splits of `draw_splits`.

    Args:
        name: Name of the data in messages.
        given: Row numbers of the splits given by the data, including "train".
        drawn: Numbers of rows to draw, by the name of the split.

    Raises:
        InputError: If fewer rows than splits are left.
    """
    train = given["train"]
    tenth = max(1, len(train) // 10)
    names = [split for split in ("test", "validation") if split not in given]
    missing = {split: drawn.get(split, tenth) for split in names}
    if len(train) <= sum(missing.values()):
        text = f", from which {' and '.join(missing)} rows are drawn" if missing else ""
        raise InputError(
            f"Expected at least {1 + sum(missing.values())} training rows in {name}{text}; got {len(train)}."
        )
    order = np.random.default_rng(DATA_SEED).permutation(train)
    splits = dict(given)
    for split, size in missing.items():
        splits[split], order = np.sort(order[:size]), order[size:]
    splits["train"] = np.sort(order)
    for split, index in splits.items():
        check(len(index) > 0, f"Expected at least one {split} row in {name}; got none.")
    return splits
