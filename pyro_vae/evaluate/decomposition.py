"""Decomposition of the divergence from the prior over all given rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal

from pyro_vae._checks import check, check_integer
from pyro_vae._inputs import entry_for
from pyro_vae._programs import evaluation_mode
from pyro_vae.data.splits import Split
from pyro_vae.evaluate._streaming import without_side_effects
from pyro_vae.objectives.divergences import factors_of
from pyro_vae.objectives.rows import draw
from pyro_vae.statistics import mean_and_se

__all__ = ["DivergenceInParts", "DivergenceMetric", "divergence_in_parts"]

CHUNK = 4_000_000
"""Maximum entries of one block of the table of log q(z_nd | x_m)."""
ROWS = 1000
"""Maximum number of rows of the metric; the cost grows with its square."""


@dataclass(frozen=True)
class DivergenceInParts:
    """Mean over rows of KL(q(z | x) || p(z)) and its three parts (Chen et al. 2018, eq. 2), nats per example.

    q(z) is the mean of q(z | x) over the given rows. Each field is a mean and its standard error over rows.

    Args:
        mutual_information: I(n; z) of row index n and z, at most the logarithm of the number of rows.
        total_correlation: KL(q(z) || prod_d q(z_d)), 0 if the dimensions are independent under q(z).
        dimensions: sum_d KL(q(z_d) || p(z_d)), for a prior that factorises over dimensions.
        num_rows: Number of rows.
    """

    mutual_information: tuple[float, float]
    total_correlation: tuple[float, float]
    dimensions: tuple[float, float]
    num_rows: int

    def summary(self) -> dict[str, float]:
        """Return the figures by name, standard errors with "_se"."""
        names = {
            "mutual-information": self.mutual_information,
            "total-correlation": self.total_correlation,
            "dimension-kl": self.dimensions,
        }
        means = {name: mean for name, (mean, _) in names.items()}
        return means | {f"{name}_se": se for name, (_, se) in names.items()}

    def line(self) -> str:
        """Return a line for the closing table of a run."""
        parts = (
            f"{name} {mean:.3f} ± {se:.2g}"
            for name, (mean, se) in (
                ("mutual information of row and z", self.mutual_information),
                ("total correlation", self.total_correlation),
                ("dimension-wise KL", self.dimensions),
            )
        )
        return f"KL of {self.num_rows} test rows in parts: {', '.join(parts)}"


@torch.no_grad()
def divergence_in_parts(
    model: Callable[..., Any], guide: Callable[..., Any], x: Any, *, num_samples: int = 1, seed: int = 0
) -> DivergenceInParts:
    """Decompose the mean of KL(q(z | x) || p(z)), with the given rows as the population.

    The cost grows with the square of the number of rows. For other rows of the same distribution, I(n; z) is a lower
    estimate of I(x; z), since q(z) includes each z's own row; `latent_summary` also gives an upper one.

    Args:
        model: A Pyro program with one latent site.
        guide: A Pyro program with one site, normal with independent dimensions.
        x: Rows of shape (N, data_dim), N at least 2, or a tuple of rows and context.
        num_samples: Samples of z per row.
        seed: Seed of the noise; the global random state is restored.

    Raises:
        InputError: If the guide is not of this kind, or there are fewer than two rows.
    """
    data = entry_for(model, guide).rows(x)
    check_integer(num_samples, "num_samples")
    check(len(data[0]) > 1, f"Expected at least two rows x, to compare them; got {len(data[0])}.")
    with without_side_effects(data), evaluation_mode(model, guide):
        torch.manual_seed(seed)
        samples = [_parts(model, guide, data) for _ in range(num_samples)]
    first, second, third = (mean_and_se(torch.stack(part).mean(0)) for part in zip(*samples, strict=True))
    return DivergenceInParts(first, second, third, len(data[0]))


def _parts(
    model: Callable[..., Any], guide: Callable[..., Any], data: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the three parts of each row at one draw of z, each (N,), float64."""
    draws = draw(model, guide, *data)
    site, factors = draws.guide_sites[0], factors_of(draws.guide_sites[0]["fn"])
    check(
        len(draws.guide_sites) == 1 and isinstance(factors, Normal),
        "Expected a guide of one site, normal with independent dimensions, whose marginals q(z_d | x) are known; got "
        f"{', '.join(type(s['fn']).__name__ for s in draws.guide_sites)}. See latent_summary for others.",
    )
    z, loc, scale = (part.double() for part in (site["value"], factors.loc, factors.scale))
    posteriors, rows = Normal(loc, scale), len(z)
    marginal, product = torch.empty_like(z[:, 0]), torch.empty_like(z[:, 0])
    step = max(1, CHUNK // loc.numel())
    for start in range(0, rows, step):
        table = posteriors.log_prob(
            z[start : start + step].unsqueeze(1)
        )  # (rows of z, rows of q, dimensions)
        marginal[start : start + step] = table.sum(-1).logsumexp(1) - math.log(rows)
        product[start : start + step] = (table.logsumexp(1) - math.log(rows)).sum(-1)
    log_probs = draws.reported
    log_q, log_p = log_probs.guide[0].double(), log_probs.prior[0].double()
    return log_q - marginal, marginal - product, product - log_p


@dataclass(frozen=True)
class DivergenceMetric:
    """Metric of `fit`: the three parts of the divergence over at most 1000 evenly spaced rows.

    Args:
        data: A `Split`, or rows in any container that `divergence_in_parts` takes; usually the validation rows.
    """

    data: Any

    def __call__(self, model: Any, guide: Any) -> dict[str, float]:
        """Return the parts by name, nats per example, with their standard errors."""
        rows = self.data.evenly_spaced(ROWS) if isinstance(self.data, Split) else self.data
        return divergence_in_parts(model, guide, rows).summary()
