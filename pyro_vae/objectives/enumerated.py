"""The ELBO with exact expectations over discrete sites."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pyro_vae._checks import check, check_positive
from pyro_vae.objectives.discrete import all_states, is_discrete, num_states
from pyro_vae.objectives.divergences import sampled_kl
from pyro_vae.objectives.draws import Draws
from pyro_vae.objectives.kl_weight import WeightedDivergence
from pyro_vae.objectives.rows import draw
from pyro_vae.objectives.sites import Site, data_plate

__all__ = ["EnumeratedELBO", "enumeration_gib"]

GIB = 2.0**30


def enumeration_gib(states: float, rows: int, numbers: int, size: int = 4) -> float:
    """Return the memory for z and x in every state of z, GiB.

    Args:
        states: States of z.
        rows: Rows of a batch.
        numbers: Entries of z and x of one row.
        size: Bytes per entry.
    """
    return states * rows * numbers * size / GIB


@dataclass(frozen=True)
class EnumeratedELBO(WeightedDivergence):
    """The ELBO `sum_z q(z | x) (log p(x, z) - log q(z | x))`, summed over all states of discrete sites.

    Its gradient is exact. The model runs on every state of z for each row: S^D states for D variables of S states.
    Continuous sites are sampled `num_particles` times for each state.

    Args:
        num_particles: Samples of continuous sites per row and state.
        max_plate_nesting: Depth of nested plates in the programs, 1 if `"data"` is the only plate.
        beta: Weight of the divergence in the loss.
        warmup: Fraction of training over which the weight rises from 0 to `beta`.
        free_bits: Divergence per dimension below which it has no gradient, nats.
        max_gib: Maximum memory for z and x of all states, GiB. Networks need several times as much.

    Raises:
        InputError: If an argument is out of range, or the states need more memory.
    """

    max_gib: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self.max_gib, "max_gib")

    def draws(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any],
        data: tuple[Tensor, ...],
        progress: Tensor | None,
    ) -> Draws:
        """Run guide and model at all states of the guide's discrete sites; arguments as for `Objective.terms`."""
        nesting = self.max_plate_nesting
        one = draw(model, guide, *data, max_plate_nesting=nesting)
        sites = [site for site in one.guide_sites if is_discrete(site)]
        total = self._check_memory(one, sites)
        values, repeated = {}, self.num_particles
        for site in sites:
            table = all_states(site["fn"])
            repeats = total // (repeated * len(table)) if len(sites) > 1 else 1
            # The first site varies fastest.
            column = table.repeat_interleave(repeated, 0).repeat(repeats, *[1] * (table.ndim - 1))
            places = [1] * (nesting - 1) + [data_plate(site).size]
            shape = (total, *places, *site["fn"].event_shape)
            values[site["name"]] = column.reshape(total, *[1] * nesting, *table.shape[1:]).expand(shape)
            repeated *= len(table)
        return draw(
            model, guide, *data, num_particles=total, max_plate_nesting=nesting, cut=self.cut, values=values
        )

    def loss(self, draws: Draws, progress: Tensor | None = None) -> Tensor:
        """Return the loss, in nats per example."""
        return -(self._weights(draws) * self._weighted_bound(draws, progress, sampled_kl)).sum(0).mean()

    def bound_terms(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """Return the reconstruction and the divergence of each row, expected under the guide, each (N,), nats."""
        weights, log_probs = self._weights(draws), draws.reported
        kl = log_probs.guide - log_probs.prior
        return (weights * log_probs.likelihood).sum(0), (weights * kl).sum(0)

    def _mean_kl(self, groups: Tensor, draws: Draws) -> Tensor:
        """Return the mean of `kl_groups` under the guide, shape (number of groups,), nats."""
        return (self._weights(draws).detach().unsqueeze(-1) * groups).sum(0).mean(0)

    def _weights(self, draws: Draws) -> Tensor:
        """Return the probability of each state under the guide per particle, shape (particles, N)."""
        return draws.log_probs.score.exp() / self.num_particles

    def _check_memory(self, one: Draws, sites: list[Site]) -> int:
        """Return the number of runs per row, or raise if they need too much memory."""
        rows = data_plate(one.model_sites[0]).size
        for site in sites:
            batch = site["fn"].batch_shape
            check(
                math.prod(batch) == rows,
                f"Expected the discrete site {site['name']!r} in the plate 'data' alone, to sum over its states; it "
                f"has batch shape {tuple(batch)}. Declare dimensions of one row by `.to_event(...)`.",
            )
        states = math.prod(num_states(site["fn"]) for site in sites)
        values = [site["value"] for site in one.model_sites]
        numbers = sum(value.numel() for value in values) // rows
        needed = enumeration_gib(states * self.num_particles, rows, numbers, values[0].element_size())
        check(
            needed <= self.max_gib,
            f"Expected few enough states of z to sum over, within {self.max_gib:g} GiB for z and x of {rows} rows; "
            f"there are {states:.3g}, which take {needed:.3g} GiB, and the networks several times that. Take another "
            "objective, such as RLOO, smaller batches, or a larger max_gib.",
        )
        return states * self.num_particles
