"""The mutual information gap: how well single dimensions of z represent single factors of the data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal

from pyro_vae._checks import check, check_integer
from pyro_vae.objectives.divergences import factors_of

__all__ = ["InformationGap", "information_gap"]

CHUNK = 4_000_000
"""Maximum entries of one block of the table of log q(z_d | x_m) at draws of z_d."""


@dataclass(frozen=True)
class InformationGap:
    """Mutual information of each dimension of z and each factor, and the gap.

    Args:
        information: I(z_d; factor) of each dimension by factor, shape (latent_dim,), nats.
        entropy: Entropy of each factor, nats, an upper bound of the information.
    """

    information: Mapping[str, Tensor]
    entropy: Mapping[str, float]

    @property
    def by_factor(self) -> dict[str, float]:
        """Of each factor, the largest information minus the second largest, divided by the entropy."""
        found = {}
        for name, information in self.information.items():
            first, second = information.topk(2).values.tolist()
            found[name] = (first - second) / self.entropy[name]
        return found

    @property
    def mean(self) -> float:
        """The mutual information gap, from 0 to 1: the mean over factors (Chen et al. 2018, eq. 6)."""
        return sum(self.by_factor.values()) / len(self.information)

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {gap:.3f}" for name, gap in self.by_factor.items())
        return f"InformationGap({self.mean:.3f}: {parts})"


@torch.no_grad()
def information_gap(
    guide: Any, x: Any, factors: Mapping[str, Sequence[int] | Any], *, num_draws: int = 2000, seed: int = 0
) -> InformationGap:
    """Estimate the mutual information of each dimension of z and each factor (Chen et al. 2018, eqs. 5 and 6).

    `I(z_d; v) = E[log q(z_d | v) - log q(z_d)]`, with q(z_d) the mean of q(z_d | x_n) over all rows, and q(z_d | v) the
    mean over rows of the same level of v. Both are exact if the rows are the population, such as a full grid of
    factors.

    Args:
        guide: A guide with `encode`, whose q(z | x) is normal with at least two independent dimensions.
        x: Rows of shape (N, data_dim), in any container that `encode` takes.
        factors: Levels of the rows by name of the factor: whole numbers, shape (N,).
        num_draws: Number of evenly spaced rows for which z is drawn from q(z | x).
        seed: Seed of the draws; the random state is restored.

    Raises:
        InputError: If the guide is not of this kind, or a factor has not N entries or only one level.
    """
    posterior = guide.encode(x)
    own = factors_of(posterior)
    check(
        isinstance(own, Normal) and own.loc.shape[-1] > 1,
        "Expected a guide of one site, normal with at least two independent dimensions; got q(z | x) of "
        f"{type(posterior).__name__}, event shape {tuple(posterior.event_shape)}. Take a diagonal guide.",
    )
    loc, scale = own.loc.double(), own.scale.double()
    levels = {name: _levels(name, values, len(loc)).to(loc.device) for name, values in factors.items()}
    check(len(levels) > 0, "Expected at least one factor; got none.")
    count = min(check_integer(num_draws, "num_draws"), len(loc))
    rows = torch.linspace(0, len(loc) - 1, count, dtype=torch.float64).round().long().to(loc.device)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        z = loc[rows] + scale[rows] * torch.randn(loc[rows].shape, dtype=torch.float64).to(loc.device)
    columns = [_of_dimension(z[:, d], loc[:, d], scale[:, d], rows, levels) for d in range(loc.shape[1])]
    information = {name: torch.stack([column[name] for column in columns]).cpu() for name in levels}
    return InformationGap(information, {name: _entropy(values) for name, values in levels.items()})


def _of_dimension(
    z: Tensor, loc: Tensor, scale: Tensor, rows: Tensor, levels: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the information of one dimension about each factor, from its draws z for some `rows`."""
    totals = {name: z.new_zeros(()) for name in levels}
    step = max(1, CHUNK // len(loc))
    for start in range(0, len(z), step):
        part = slice(start, start + step)
        table = Normal(loc, scale).log_prob(z[part].unsqueeze(1))  # (draws, rows)
        highest = table.amax(1, keepdim=True)
        density = (table - highest).exp()
        for name, values in levels.items():
            sums = density @ torch.nn.functional.one_hot(values).double()  # (draws, levels)
            mine = sums.gather(1, values[rows[part]].unsqueeze(1))[:, 0]
            members = values.bincount()[values[rows[part]]]
            totals[name] = totals[name] + (mine / members).log().sum() - density.mean(1).log().sum()
    return {name: (total / len(z)).clamp_min(0) for name, total in totals.items()}


def _levels(name: str, values: Any, num_rows: int) -> Tensor:
    """Return a factor's levels as numbers from 0, shape (N,)."""
    levels = torch.as_tensor(values)
    check(
        tuple(levels.shape) == (num_rows,),
        f"Expected a level of {name} for each of the {num_rows} rows; got shape {tuple(levels.shape)}.",
    )
    different, numbers = levels.unique(return_inverse=True)
    check(len(different) > 1, f"Expected at least two levels of {name}; got {len(different)}.")
    return numbers


def _entropy(levels: Tensor) -> float:
    shares = levels.bincount().double() / len(levels)
    return -sum(share * math.log(share) for share in shares.tolist() if share)
