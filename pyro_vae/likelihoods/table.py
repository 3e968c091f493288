"""A likelihood for tables whose columns are of different kinds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pyro_vae._checks import check, check_positive
from pyro_vae.data.columns import Column
from pyro_vae.distributions.bernoulli import LogitBernoulli
from pyro_vae.distributions.table import Block, Levels, TableDistribution
from pyro_vae.likelihoods.base import Likelihood
from pyro_vae.likelihoods.student_t import degrees_of_freedom, student_t
from pyro_vae.networks.positive import UNIT

__all__ = ["TableLikelihood", "log_moments"]

LARGEST_LOG = 30.0
"""Limit on log means of counts, which keeps a diverging step from overflowing single precision."""


def log_moments(mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of log x for a log-normal x with the given mean and standard deviation."""
    variance = torch.log1p((std / mean).square())
    return mean.log() - variance / 2, variance.sqrt()


class TableLikelihood(Likelihood):
    """`p(x | z) = prod_j p_j(x_j | z)`: each column by its kind, missing entries (NaN) left out.

    | kind | p_j(x_j given z) |
    | --- | --- |
    | real | N(loc, scale^2) |
    | student-t | StudentT(df, loc, scale), with learned degrees of freedom of the column |
    | positive | LogNormal(loc, scale) |
    | count | negative binomial with a mean and a number of failures |
    | poisson | Poisson(rate) |
    | binary | Bernoulli(logit) |
    | ordinal | P(x <= k) = sigmoid(c_k - loc), with learned c_1 < c_2 < ... |
    | categorical | Categorical(softmax(logits)) |

    Locations and scales are in units of each column's standard deviation, so the unit of a column does not affect
    training. The density of a real or positive column refers to the unit of the table: in units a thousand times
    smaller the log-density is log 1000 lower.

    Args:
        mean: Mean of the observed entries of each column of the training split, shape (data_dim,).
        std: Their standard deviations, shape (data_dim,).
        columns: Kinds and levels of the columns.
        scale_floor: The smallest scale of a real or positive column, in units of its standard deviation. Without a
            floor the likelihood is unbounded (Mattei & Frellsen 2018, proposition 1).

    Raises:
        InputError: If there is not one column for each entry of `mean`, or a positive column has a mean of 0 or less.
    """

    kind = "table"
    takes_missing = True

    def __init__(
        self, mean: Tensor, std: Tensor, columns: Sequence[Column], scale_floor: float = 0.01
    ) -> None:
        super().__init__(mean, std)
        self.columns = tuple(columns)
        self.scale_floor = check_positive(scale_floor, "scale_floor")
        check(
            len(columns) == self.data_dim,
            f"Expected a column for each of the {self.data_dim} entries of mean; got {len(columns)}.",
        )
        low = [
            c.name
            for c, m in zip(columns, self.mean.tolist(), strict=True)
            if c.kind == "positive" and m <= 0
        ]
        check(not low, f"Expected means above 0 of positive columns; got others for {', '.join(low)}.")
        self.cutpoints = nn.ParameterList(
            [torch.full((len(c.levels) - 2,), _inverse_softplus(1.0)) for c in columns if c.kind == "ordinal"]
        )
        self.raw_degrees = nn.ParameterList([torch.zeros(()) for c in columns if c.kind == "student-t"])

    @property
    def num_outputs(self) -> int:
        """Two outputs for a real, student-t, positive or count column, K for a categorical one, one for the others."""
        return sum(width for _, _, width, _ in self._groups())

    def decoder_shape(self, data_shape: Sequence[int]) -> tuple[int, ...]:
        """Return (1,): columns have different numbers of outputs, so all outputs belong to one position."""
        return (1,)

    def outputs_per_position(self, data_shape: Sequence[int]) -> int:
        """Return the number of outputs of a row, which all belong to one position."""
        super().outputs_per_position(data_shape)
        return self.num_outputs

    def forward(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return p(x | z) from `outputs`, shape (..., num_outputs), the columns of one kind side by side."""
        blocks, start = [], 0
        for kind, places, width, make in self._groups():
            own = outputs[..., start : start + width]
            blocks.append(Block(tuple(places), make(own, places), 1.0 if kind == "positive" else 0.0))
            start += width
        return TableDistribution(blocks)

    def _groups(self) -> Iterator[tuple[str, list[int], int, Callable[[Tensor, list[int]], Any]]]:
        """Yield kind, column indices, number of outputs and constructor of each group of columns."""
        of_kind = {kind: [j for j, c in enumerate(self.columns) if c.kind == kind] for kind in _TOGETHER}
        for kind, places in of_kind.items():
            if places:
                yield kind, places, _TOGETHER[kind] * len(places), getattr(self, f"_{kind.replace('-', '_')}")
        for place, column in enumerate(self.columns):
            if column.kind == "ordinal":
                yield "ordinal", [place], 1, self._ordinal
        for count in sorted({len(c.levels) for c in self.columns if c.kind == "categorical"}):
            places = [
                j for j, c in enumerate(self.columns) if (c.kind, len(c.levels)) == ("categorical", count)
            ]
            yield "categorical", places, count * len(places), self._categorical

    def _scale(self, raw: Tensor) -> Tensor:
        return self.scale_floor + softplus(raw + UNIT)

    def _real(self, outputs: Tensor, places: list[int]) -> dist.TorchDistribution:
        loc, raw = outputs.chunk(2, dim=-1)
        mean, std = self.mean[places], self.std[places]
        return dist.Normal(mean + std * loc, std * self._scale(raw), validate_args=False)

    def _student_t(self, outputs: Tensor, places: list[int]) -> dist.TorchDistribution:
        loc, raw = outputs.chunk(2, dim=-1)
        mean, std = self.mean[places], self.std[places]
        degrees = degrees_of_freedom(torch.stack(list(self.raw_degrees)))
        return student_t(degrees, mean + std * loc, std * self._scale(raw))

    def _positive(self, outputs: Tensor, places: list[int]) -> dist.TorchDistribution:
        loc, raw = outputs.chunk(2, dim=-1)
        mean, std = log_moments(self.mean[places], self.std[places])
        return dist.LogNormal(mean + std * loc, std * self._scale(raw), validate_args=False)

    def _log_mean(self, outputs: Tensor, places: list[int]) -> Tensor:
        mean = self.mean[places].clamp_min(1e-3)
        return (mean.log() + outputs * torch.log1p(self.std[places] / mean)).clamp(max=LARGEST_LOG)

    def _poisson(self, outputs: Tensor, places: list[int]) -> dist.TorchDistribution:
        return dist.Poisson(self._log_mean(outputs, places).exp(), validate_args=False)

    def _count(self, outputs: Tensor, places: list[int]) -> dist.TorchDistribution:
        raw_mean, raw = outputs.chunk(2, dim=-1)
        log_mean = self._log_mean(raw_mean, places)
        failures = 0.1 + 10 * softplus(raw + UNIT)
        return dist.NegativeBinomial(failures, logits=log_mean - failures.log(), validate_args=False)

    def _binary(self, outputs: Tensor, places: list[int]) -> dist.TorchDistribution:
        return LogitBernoulli(
            logits=torch.logit(self.mean[places].clamp(1e-3, 1 - 1e-3)) + outputs, validate_args=False
        )

    def _ordinal(self, outputs: Tensor, places: list[int]) -> dist.TorchDistribution:
        # log(sigmoid(b) - sigmoid(a)) = log sigmoid(b) + log sigmoid(-a) + log(1 - e^(a - b)) for a < b.
        number = sum(c.kind == "ordinal" for c in self.columns[: places[0]])
        steps = softplus(self.cutpoints[number])
        cuts = torch.cat([steps.new_zeros(1), steps.cumsum(0)])
        upper = cuts - cuts.mean() - outputs
        log_below = nn.functional.logsigmoid(upper)  # of all levels but the highest
        log_above = nn.functional.logsigmoid(-upper)  # of all levels but the lowest
        inner = log_below[..., 1:] + log_above[..., :-1] + torch.log(-torch.expm1(-steps))
        logits = torch.cat([log_below[..., :1], inner, log_above[..., -1:]], dim=-1)
        return Levels(logits.unsqueeze(-2), ordered=True)

    def _categorical(self, outputs: Tensor, places: list[int]) -> dist.TorchDistribution:
        return Levels(outputs.unflatten(-1, (len(places), -1)), ordered=False)


_TOGETHER = {"real": 2, "positive": 2, "count": 2, "binary": 1, "student-t": 2, "poisson": 1}
"""Kinds whose columns are evaluated together, with their number of outputs per column."""


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))
