"""What a run shows of itself: curves, latent space, and pictures of the data's kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyro_vae import plots
from pyro_vae.data import AsFloat, DataSet, Split
from pyro_vae.guides import AmortizedGuide
from pyro_vae.models.generative import GenerativeModel
from pyro_vae.priors.normal import StandardNormal
from pyro_vae.progress import progress_bar

__all__ = ["write_figures"]

SHOWN_ROWS = 5000
"""Rows that the latent space is drawn from."""
PRIOR_DRAWS = 2000
"""Draws that the quantiles of a learned prior are taken from."""


def write_figures(
    folder: Path,
    model: GenerativeModel,
    guide: AmortizedGuide,
    dataset: DataSet,
    history: list[dict[str, Any]],
    *,
    best_epoch: int | None = None,
    progress: bool = False,
) -> list[str]:
    """Draw what a run shows of itself as PNG files: curves, latent space, and pictures of the data's kind.

    A picture that cannot be drawn or written stops nothing; an older one of its name is removed.

    Args:
        folder: Where to.
        model: The generative program, in evaluation mode.
        guide: The inference program.
        dataset: Whose test rows are shown.
        history: Of training, a line an epoch.
        best_epoch: The epoch whose weights the programs have, as in `FitResult`.
        progress: Whether to show a progress bar on stderr.

    Returns:
        Sentences on the pictures that are missing, one for each reason.
    """
    pictures = dict(_Pictures(model, guide, dataset, history, best_epoch).named())
    missing: dict[str, list[str]] = {}
    with (
        progress_bar(len(pictures), "figures", "drawing", shown=progress, leave=False) as bar,
        torch.no_grad(),
        torch.random.fork_rng(),
    ):
        torch.manual_seed(0)
        for name, draw in pictures.items():
            path = folder / f"{name}.png"
            try:
                plots.save(draw(), path)
            except Exception as error:
                missing.setdefault(_reason(error), []).append(path.name)
                with suppress(OSError):
                    path.unlink(missing_ok=True)
            bar.update()
    return [f"{', '.join(names)} could not be drawn: {reason}." for reason, names in missing.items()]


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or " ".join(str(error).split())
    return (text or type(error).__name__).rstrip(".")


@dataclass(frozen=True)
class _Pictures:
    """The figures of a run, each drawn when it is called for."""

    model: GenerativeModel
    guide: AmortizedGuide
    dataset: DataSet
    history: list[dict[str, Any]]
    best_epoch: int | None

    def named(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Yield the name of each picture that this run has, and the function that draws it."""
        yield "training_curves", lambda: plots.training_curves(self.history, best_epoch=self.best_epoch)
        if self.model.latent_dim >= 3:
            yield "latent_space_3d", self._latent_space_3d
        yield "latent_space", self._latent_space
        if self.dataset.is_image:
            yield "reconstructions", self._reconstructions
            yield "samples", self._samples
            if self.model.latent_dim >= 2:
                yield "traversal", self._traversal
        else:
            yield "marginals", lambda: plots.marginals(*self._data_and_samples, self.dataset.column_names)
            yield "pair_plot", lambda: plots.pair_plot(*self._data_and_samples, self.dataset.column_names)

    @cached_property
    def _rows(self) -> Split:
        return self.dataset.test.evenly_spaced(SHOWN_ROWS)

    @cached_property
    def _x(self) -> Tensor:
        return self._rows.tensor()

    @cached_property
    def _z(self) -> Tensor:
        return self.guide.encode(self._x, *self._rows.context).mean

    @cached_property
    def _data_and_samples(self) -> tuple[Tensor, Tensor]:
        count = max(len(self._x), 1000)
        return self._x, self.model.sample(count, *self._context(count))

    def _context(self, count: int) -> tuple[Tensor, ...]:
        """Return the context of `count` evenly spaced rows that are shown; each stands several times if they are fewer.

        Samples with it are drawn from p(x | context) averaged over the rows' own context.
        """
        chosen = torch.linspace(0, len(self._rows) - 1, count).round().long()
        return tuple(part[chosen] for part in self._rows.context)

    @cached_property
    def _value_range(self) -> tuple[float, float]:
        """What is black and what is full brightness: 0 and 1, or for floats that lie outside what they span."""
        low, high = float(self._x.min()), float(self._x.max())
        inside = not isinstance(self.dataset.preprocessing, AsFloat) or (low >= 0 and high <= 1)
        return (0.0, 1.0) if inside or low == high else (low, high)

    def _latent_space_3d(self) -> Any:
        dims = plots.widest_dimensions(self._z, 3)
        return plots.latent_space_3d(self._z, self._rows.labels, self.dataset.class_names, dims=dims).figure

    def _latent_space(self) -> Any:
        dims = plots.widest_dimensions(self._z, 3)[:2]
        return plots.latent_space(self._z, self._rows.labels, self.dataset.class_names, dims=dims).figure

    def _reconstructions(self) -> Any:
        x, *context = self.dataset.test.evenly_spaced(20).tensors()
        means = self.model.reconstruct(x, self.guide, *context)
        return plots.reconstructions(x, means, self.dataset.data_shape, value_range=self._value_range).figure

    def _samples(self) -> Any:
        context = self._context(100)
        means = self.model.decode(self.model.sample_prior(100, *context), *context).mean
        return plots.samples(means, self.dataset.data_shape, value_range=self._value_range).figure

    def _traversal(self) -> Any:
        model, dims = self.model, plots.widest_dimensions(self._z, 2)
        standard, context = isinstance(model.prior, StandardNormal), self._rows.head(1).context

        def of_first_row(count: int) -> tuple[Tensor, ...]:
            return tuple(part.expand(count, *part.shape[1:]) for part in context)

        drawn = None if standard else model.sample_prior(PRIOR_DRAWS, *of_first_row(PRIOR_DRAWS)).cpu()
        return plots.traversal_grid(
            lambda z: model.decode(torch.as_tensor(z), *of_first_row(len(z))).mean,
            model.latent_dim,
            self.dataset.data_shape,
            dims=dims,
            prior_draws=drawn,
            value_range=self._value_range,
        ).figure
