"""The rows in a report, with their labels, codes, scores and errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_vae.data import Split
from pyro_vae.data.contexts import EntryContext
from pyro_vae.evaluate.codes import state_probs
from pyro_vae.evaluate.reconstruction import reconstruction_errors
from pyro_vae.evenly_spaced import evenly_spaced_rows
from pyro_vae.experiment.code_figures import has_codes
from pyro_vae.experiment.context_figures import has_completions, rows_with_classes
from pyro_vae.experiment.layer_figures import split_layers
from pyro_vae.experiment.shown import Shown
from pyro_vae.models.hierarchical import HierarchicalModel
from pyro_vae.plots import widest_dimensions

__all__ = ["ShownRows", "shown_rows", "whole_images"]

TEST_ROWS, OTHER_ROWS = 1000, 300
"""Maximum number of test rows, and of training and validation rows each."""
AXES, AXES_OF_LAYER = 8, 4
"""Maximum number of selectable latent dimensions: of z, and of each of several layers."""


@dataclass(frozen=True)
class ShownRows:
    """Rows of the test, training and validation split, in this order; N of them.

    Args:
        splits: Name of the split of each row.
        numbers: Index of each row in its split, from 0.
        labels: Class of each row, or None.
        x: The rows, shape (N, D), NaN where missing.
        means: Their reconstructions, shape (N, D).
        images: The rows and their reconstructions as complete images, shape (N, D'), or None.
        codes: Coordinates in latent space by name, each of shape (N,).
        scores: "log p(x)", its "± se" and "k-hat", shape (N,), NaN where not estimated; empty for an autoencoder.
        error: Name and values, shape (N,), of the reconstruction error; None if columns have different units.
    """

    splits: list[str]
    numbers: list[int]
    labels: NDArray[np.int64] | None
    x: Tensor
    means: Tensor
    images: tuple[Tensor, Tensor] | None
    codes: dict[str, NDArray[np.float64]]
    scores: dict[str, NDArray[np.float64]]
    error: tuple[str, NDArray[np.float64]] | None

    def __len__(self) -> int:
        return len(self.splits)


def shown_rows(shown: Shown) -> ShownRows:
    """Return the rows to show: the test rows with a known log p(x), and fewer rows of the other splits."""
    dataset = shown.dataset
    columns: dict[str, NDArray[np.float64]] = {}
    numbers = evenly_spaced_rows(len(dataset.test), TEST_ROWS)
    if shown.error is None:
        scored, scores = shown.scores
        numbers = evenly_spaced_rows(len(dataset.test), len(scored))
        chosen = evenly_spaced_rows(len(scored), TEST_ROWS)
        numbers = numbers[chosen]
        known = {"log p(x)": scores.value, "± se": scores.se, "k-hat": scores.khat}
        columns = {name: value.cpu().numpy()[chosen] for name, value in known.items()}
    parts = [(dataset.test, numbers)]
    parts += [
        (split, evenly_spaced_rows(len(split), OTHER_ROWS)) for split in (dataset.train, dataset.validation)
    ]
    rows = [rows_with_classes(split.select(chosen), dataset, shown.guide) for split, chosen in parts]
    x, means = (torch.cat(each) for each in zip(*(_reconstructed(shown, part) for part in rows), strict=True))
    unscored = np.full(len(x) - len(numbers), np.nan)
    return ShownRows(
        splits=[part.name for part in rows for _ in range(len(part))],
        numbers=[int(number) for _, chosen in parts for number in chosen],
        labels=_labels(rows),
        x=x,
        means=means,
        images=_images(shown, rows, x, means),
        codes=_codes(shown, rows),
        scores={name: np.concatenate([value, unscored]) for name, value in columns.items()},
        error=_error(shown, rows, x, means),
    )


def _reconstructed(shown: Shown, rows: Split) -> tuple[Tensor, Tensor]:
    x, *context = rows.tensors()
    return x, shown.model.reconstruct(x, shown.guide, *context).cpu()


def _labels(rows: Sequence[Split]) -> NDArray[np.int64] | None:
    if any(part.labels is None for part in rows):
        return None
    return np.concatenate([part.labels.numpy() for part in rows if part.labels is not None])


def _images(shown: Shown, rows: Sequence[Split], x: Tensor, means: Tensor) -> tuple[Tensor, Tensor] | None:
    if shown.dataset.is_image:
        return x, means
    if has_completions(shown.dataset):
        given = torch.cat([part.context[0] for part in rows])
        return whole_images(shown, x, given), whole_images(shown, means, given)
    return None


def whole_images(shown: Shown, x: Tensor, given: Tensor) -> Tensor:
    """Return complete images, shape (N, D), of models whose context is a part of the image."""
    context: Any = shown.dataset.context
    assert isinstance(context, EntryContext)
    return context.joined(x.cpu(), given.cpu())


def _codes(shown: Shown, rows: Sequence[Split]) -> dict[str, NDArray[np.float64]]:
    """Return the selectable coordinates, most used first."""
    posteriors = [shown.guide.encode(part.tensor(), *part.context) for part in rows]
    if has_codes(shown.guide):
        probs = torch.cat([state_probs(posterior).flatten(1) for posterior in posteriors])
        return _principal(probs.cpu().numpy())
    means = torch.cat([posterior.mean for posterior in posteriors]).double().cpu()
    if isinstance(shown.model, HierarchicalModel):
        layers = split_layers(shown, means)
        return {name: one for layer, z in layers.items() for name, one in _widest(layer, z, AXES_OF_LAYER)}
    return dict(_widest("z", means, AXES))


def _widest(site: str, z: Tensor, count: int) -> list[tuple[str, NDArray[np.float64]]]:
    return [(f"{site}[{d}]", z[:, d].numpy()) for d in widest_dimensions(z, count)]


def _principal(probs: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return the leading principal components of the probabilities of states."""
    centred = probs - probs.mean(0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    shares = np.square(sizes) / max(np.square(sizes).sum(), np.finfo(float).tiny)
    return {
        f"PC {number + 1} of code probabilities ({shares[number]:.0%})": left[:, number] * sizes[number]
        for number in range(min(AXES_OF_LAYER, len(sizes)))
    }


def _error(
    shown: Shown, rows: Sequence[Split], x: Tensor, means: Tensor
) -> tuple[str, NDArray[np.float64]] | None:
    if shown.error is not None:
        found = [reconstruction_errors(shown.model, shown.guide, part, shown.error) for part in rows]
        return f"{shown.error.error} error", torch.cat([one.value for one in found]).numpy()
    if shown.dataset.columns is not None:
        return None
    return "RMSE of reconstruction", (x - means).double().square().mean(1).sqrt().numpy()
