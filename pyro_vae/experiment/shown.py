"""Inputs of the figures of a run: programs, rows, codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from pyro_vae._context import accepted_context
from pyro_vae.data import DataSet, Split
from pyro_vae.evaluate import LogLikelihood, log_likelihood
from pyro_vae.evaluate.latent_moments import kl_per_dimension
from pyro_vae.evaluate.samples import sampling_model
from pyro_vae.guides import AmortizedGuide
from pyro_vae.models.generative import GenerativeModel
from pyro_vae.objectives import Reconstruction

__all__ = ["Shown"]

SHOWN_ROWS = 5000
"""Number of rows in the figure of latent space."""
SCORED_ROWS, SCORED_SAMPLES = 50, 20
"""Rows whose log p(x) is estimated if it is not known, and samples for each: a thousand rows are decoded."""
SAMPLED_ROWS = 1000
"""Smallest number of samples that are compared with a table."""
LONGEST_NAME = 30
"""Largest number of characters of a data set's name in a title."""


def name_in_title(name: str) -> str:
    """Return a data set's name, or the last part of its path, shortened for titles.

    Args:
        name: Name or path of the data set.
    """
    last = Path(name).stem
    short = last if len(last) <= LONGEST_NAME else f"{last[: LONGEST_NAME - 3]}..."
    return short.replace("$", r"\$")


@dataclass(frozen=True)
class Shown:
    """A trained run to draw; quantities for several figures are computed once.

    Args:
        model: The generative program, in evaluation mode.
        guide: The inference program.
        dataset: Data set whose test rows are shown.
        given_scores: log p(x) of evenly spaced test rows, if known.
        sources: Distributions of z for samples, see `evaluate.samples.SOURCES`.
        error: Reconstruction error of an autoencoder; None for a model with a likelihood.
    """

    model: GenerativeModel
    guide: AmortizedGuide
    dataset: DataSet
    given_scores: LogLikelihood | None = None
    sources: Sequence[str] = ("prior",)
    error: Reconstruction | None = None

    @cached_property
    def name(self) -> str:
        """The data set's name, or the last part of its path, shortened for titles."""
        return name_in_title(self.dataset.name)

    @cached_property
    def rows(self) -> Split:
        """Evenly spaced test rows."""
        return self.dataset.test.evenly_spaced(SHOWN_ROWS)

    @cached_property
    def x(self) -> Tensor:
        """The rows, shape (N, D)."""
        return self.rows.tensor()

    @cached_property
    def means(self) -> Tensor:
        """Means of q(z | x), shape (N, latent_dim)."""
        return self._posterior.mean

    @cached_property
    def codes(self) -> Tensor:
        """One draw from q(z | x) for each row, shape (N, latent_dim)."""
        codes: Tensor = self._posterior.sample()
        return codes

    @cached_property
    def kl(self) -> Tensor | None:
        """Mean over rows of KL(q(z_d | x) || p(z_d)), nats, shape (latent_dim,); None without a closed form."""
        prior = self.model.prior(*accepted_context(self.model.prior, self.rows.context, beside=0))
        divergence = kl_per_dimension(self._posterior, prior)
        return None if divergence is None else divergence.mean(0)

    @cached_property
    def scores(self) -> tuple[Split, LogLikelihood]:
        """Test rows and their log p(x): the given scores, or an estimate for few rows with few samples."""
        if self.given_scores is not None:
            return self.dataset.test.evenly_spaced(len(self.given_scores)), self.given_scores
        rows = self.dataset.test.evenly_spaced(SCORED_ROWS)
        return rows, log_likelihood(self.model, self.guide, rows, SCORED_SAMPLES)

    @cached_property
    def sampled_rows(self) -> Tensor:
        """Rows drawn from p(x) with the first source of z: as many as are shown, at least 1000."""
        count = max(len(self.x), SAMPLED_ROWS)
        return self.sampling_model(self.sources[0]).sample(count, *self.context(count))

    @cached_property
    def value_range(self) -> tuple[float, float]:
        """Values of black and of full brightness: 0 and 1, or the range of rows outside [0, 1]."""
        low, high = float(self.x.min()), float(self.x.max())
        return (0.0, 1.0) if (low >= 0 and high <= 1) or low == high else (low, high)

    def sampling_model(self, source: str) -> GenerativeModel:
        """Return the model with z drawn from one of the sources."""
        return sampling_model(self.model, self.guide, self.dataset.train, source)

    def context(self, count: int) -> tuple[Tensor, ...]:
        """Return the context of `count` evenly spaced rows; rows are repeated if there are fewer.

        Samples with it are drawn from p(x | context) averaged over the rows' own context.
        """
        chosen = torch.linspace(0, len(self.rows) - 1, count).round().long()
        return tuple(part[chosen] for part in self.rows.context)

    def context_of_first_row(self, count: int) -> tuple[Tensor, ...]:
        """Return the context of the first row, `count` times."""
        return tuple(part[:1].expand(count, *part.shape[1:]) for part in self.rows.context)

    @cached_property
    def _posterior(self) -> torch.distributions.Distribution:
        return self.guide.encode(self.x, *self.rows.context)
