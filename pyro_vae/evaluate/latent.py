"""What the latents do: how much they know of x, in which dimensions, and whether the prior covers them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from pyro_vae._checks import check, check_integer
from pyro_vae._inputs import entry_for
from pyro_vae._programs import evaluation_mode
from pyro_vae.evaluate._streaming import undisturbed
from pyro_vae.objectives.independence import check_programs
from pyro_vae.objectives.rows import draw
from pyro_vae.objectives.unscored import told_unscored, unscored

__all__ = ["LatentSummary", "Sandwich", "latent_summary"]

ACTIVE = 0.01
"""A dimension is active where its posterior mean varies by more than this over rows (Burda et al. 2016)."""
CHUNK = 4_000_000  # numbers in one block of the table of log q(z_n | x_m)


class Sandwich(NamedTuple):
    """Estimates that lie below and above a quantity in expectation, nats."""

    lower: float
    upper: float
    se: float
    """Standard error of either, from the rows, how they share one aggregated posterior included."""

    def __repr__(self) -> str:
        return f"{self.lower:.3f} to {self.upper:.3f} ± {self.se:.3f}"


@dataclass(frozen=True)
class LatentSummary:
    """What the latents of some rows do; nats unless said.

    Args:
        mean_variance: Variance over rows of E[z | x], shape (latent_dim,), in squared units of z.
        kl_per_dimension: Mean over rows of `KL(q(z_d | x) || p(z_d))`, shape (latent_dim,); the sum is the
            divergence where the guide factorises over dimensions, and at most that where it is a Gaussian that
            does not. None where prior or guide have no marginals in closed form.
        kl: Mean over rows of `KL(q(z | x) || p(z))`, sampled: what the rows' latents cost.
        kl_se: Its standard error, from rows.
        mutual_information: `I(x; z)` under the guide: what the latents know of x. The lower estimate can't exceed
            log of the number of rows.
        marginal_kl: `KL(q(z) || p(z))` of the aggregated posterior: `kl - mutual_information`.
        num_rows: How many rows.
        unscored_rows: Numbers of rows that could not be scored, and are left out of all of the above.
    """

    mean_variance: Tensor
    kl_per_dimension: Tensor | None
    kl: float
    kl_se: float
    mutual_information: Sandwich
    marginal_kl: Sandwich
    num_rows: int
    unscored_rows: tuple[int, ...] = ()

    @property
    def active(self) -> Tensor:
        """Which dimensions are active (Burda et al. 2016): variance of E[z | x] above 0.01."""
        return self.mean_variance > ACTIVE

    @property
    def active_units(self) -> int:
        """How many dimensions are active."""
        return int(self.active.sum())

    @property
    def warning(self) -> str | None:
        """Sentences on a collapsed posterior, and on too few rows to measure; None where neither is seen."""
        return " ".join(self._left_out() + self._collapse() + self._ceiling()) or None

    def _left_out(self) -> list[str]:
        verdicts = torch.zeros(self.num_rows + len(self.unscored_rows), dtype=torch.float64)
        verdicts[list(self.unscored_rows)] = math.nan
        found = told_unscored(verdicts)
        return [f"{found.partition(' and have')[0]} and are left out."] if found else []

    def _collapse(self) -> list[str]:
        size = len(self.mean_variance)
        if self.active_units == 0:
            return [
                f"The posterior has collapsed: none of {size} dimensions of z is active (the variance of E[z | x] "
                f"over rows is at most {float(self.mean_variance.max()):.2g}), so the model describes x without z. "
                "Warm the KL term up, or give each dimension free bits."
            ]
        if self.active_units < size:
            return [
                f"The posterior has collapsed in {size - self.active_units} of {size} dimensions of z, where E[z | x] "
                f"hardly varies over rows; {self.active_units} are active."
            ]
        return []

    def _ceiling(self) -> list[str]:
        lower, ceiling = self.mutual_information.lower, math.log(self.num_rows)
        if lower < ceiling - 1:
            return []
        return [
            f"The lower estimate of the mutual information, {lower:.2f} nats, is near its ceiling, log {self.num_rows} "
            f"= {ceiling:.2f}: nearly every row can be told from its latents, and only more rows say more."
        ]

    def summary(self) -> dict[str, Any]:
        """Return the figures by name."""
        per_dimension = None if self.kl_per_dimension is None else self.kl_per_dimension.tolist()
        return {
            "active_units": self.active_units,
            "latent_dim": len(self.mean_variance),
            "kl": {"mean": self.kl, "se": self.kl_se},
            "kl_per_dimension": per_dimension,
            "mutual_information": self.mutual_information._asdict(),
            "marginal_kl": self.marginal_kl._asdict(),
            "num_rows": self.num_rows,
        }

    def __repr__(self) -> str:
        return (
            f"LatentSummary({self.active_units} of {len(self.mean_variance)} dimensions active, KL {self.kl:.3f} ± "
            f"{self.kl_se:.3f} nats, I(x; z) {self.mutual_information}, KL(q(z) || p(z)) {self.marginal_kl}, "
            f"{self.num_rows} rows)"
        )


def latent_summary(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    x: Any,
    *,
    num_samples: int = 10,
    seed: int = 0,
) -> LatentSummary:
    """Measure what the latents do (Hoffman & Johnson 2016).

        mean KL(q(z | x) || p(z)) = I(x; z) + KL(q(z) || p(z)),   q(z) = mean over rows of q(z | x)

    For z drawn from row n, log q(z) over all N rows holds the row's own term, which is too large for new rows:
    `log q(z | x_n) - log q(z)` then averages to at most I(x; z), and to at most log N. Without the own term it
    averages to at least I(x; z) (Poole et al. 2019). Where all N rows are the population, the first is
    I of the row's number and z itself, without bias. The cost grows with `num_samples` times N squared.

    Args:
        model: A Pyro program with one latent site, in the plate `"data"`.
        guide: A Pyro program with that site alone.
        x: Rows of shape (N, data_dim), N at least 2, or a tuple with what else the programs take by row.
        num_samples: Samples of z for each row.
        seed: Of the noise; the random state is put back.

    Raises:
        InputError: If there is more than one latent site, or fewer than two rows.
    """
    data = entry_for(model, guide).rows(x)
    check_integer(num_samples, "num_samples")
    check(len(data[0]) >= 2, f"Expected at least two rows x, to compare them; got {len(data[0])}.")
    with undisturbed(data), evaluation_mode(model, guide):
        torch.manual_seed(seed)
        check_programs(model, guide, *data, num_particles=1)
        lost = unscored(model, guide, data, num_particles=1) != 0
        kept = tuple(part[~lost.to(part.device)] for part in data)
        check(len(kept[0]) >= 2, f"Expected at least two rows that can be scored; got {len(kept[0])}.")
        torch.manual_seed(seed)
        q, p = _posterior_and_prior(model, guide, kept)
        z = q.sample((num_samples,))
        own = q.log_prob(z).double()
        kl = (own - p.log_prob(z).double()).mean(0)
        information = _information(q, z, own)
        means, correction = _means(q, z)
        variance = (means.var(0) - correction).clamp_min(0)
        kl_per_dimension = _kl_per_dimension(q, p)
    n, deviation = len(kl), kl - kl.mean()
    lower, upper = (float(part.mean()) for part in (information.lower, information.upper))
    total, rest = float(kl.mean()), deviation - information.influence
    return LatentSummary(
        mean_variance=variance,
        kl_per_dimension=kl_per_dimension,
        kl=total,
        kl_se=float(deviation.std() / n**0.5),
        mutual_information=Sandwich(lower, upper, float(information.influence.std() / n**0.5)),
        marginal_kl=Sandwich(total - upper, total - lower, float(rest.std() / n**0.5)),
        num_rows=n,
        unscored_rows=tuple(lost.nonzero().flatten().tolist()),
    )


def _posterior_and_prior(
    model: Callable[..., Any], guide: Callable[..., Any], data: tuple[Tensor, ...]
) -> tuple[Distribution, Distribution]:
    """Return q(z | x) and p(z), each of batch shape (N,)."""
    draws = draw(model, guide, *data)
    guided = draws.guide_sites
    latent = [site for site in draws.model_sites if not site["is_observed"]]
    check(
        len(latent) == 1 and [site["name"] for site in guided] == [latent[0]["name"]],
        "Expected one latent site, the same in model and guide, whose distribution depends on x alone; the model has "
        f"{[site['name'] for site in latent]} and the guide {[site['name'] for site in guided]}.",
    )
    shape = guided[0]["fn"].batch_shape
    check(
        shape == (len(data[0]),) and (guided[0]["mask"] is None or guided[0]["mask"] is True),
        f"Expected the latent site {latent[0]['name']!r} in the plate 'data' alone, without a mask; it has "
        f"batch shape {tuple(shape)}. Declare dimensions of one row by `.to_event(...)`.",
    )
    return guided[0]["fn"], latent[0]["fn"]


class _Information(NamedTuple):
    """Of each row, float64, shape (N,)."""

    lower: Tensor  # log q(z | x) - log q(z), with the own row in q(z), averaged over samples
    upper: Tensor  # without it
    influence: Tensor  # of the row on the mean of `lower`


def _information(q: Distribution, z: Tensor, own: Tensor) -> _Information:
    """Compare each draw with the posterior of each row.

    The influence of row m is its own deviation, less what it adds to q(z) at the draws of the others: the mean over
    draws of `q(z | x_m) / q(z)`, less 1.
    """
    num_samples, n = own.shape
    lower, upper, share = torch.zeros_like(own), torch.zeros_like(own), own.new_zeros(n)
    rows = max(1, CHUNK // (n * max(1, z[0, 0].numel())))
    for sample in range(num_samples):
        for start in range(0, n, rows):
            block = slice(start, min(start + rows, n))
            index = torch.arange(block.start, block.stop, device=z.device)
            table = q.log_prob(z[sample, block].unsqueeze(1)).double()
            marginal = table.logsumexp(1)
            lower[sample, block] = own[sample, block] - marginal + math.log(n)
            share += (table - marginal.unsqueeze(1)).exp().sum(0) / num_samples
            table[index - block.start, index] = -math.inf
            upper[sample, block] = own[sample, block] - table.logsumexp(1) + math.log(n - 1)
    mean = lower.mean(0)
    return _Information(mean, upper.mean(0), mean - mean.mean() - (share - 1))


def _means(q: Distribution, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return E[z | x] of each row, shape (N, latent_dim), and what sampling it adds to its variance over rows."""
    try:
        means = q.mean.double().flatten(1)
        return means, torch.zeros_like(means[0])
    except NotImplementedError:
        values = z.double().flatten(2)
        noise = values.var(0) / len(values) if len(values) > 1 else torch.zeros_like(values[0])
        return values.mean(0), noise.mean(0)


def _kl_per_dimension(q: Distribution, p: Distribution) -> Tensor | None:
    q_marginals, p_marginals = _marginals(q), _marginals(p)
    if q_marginals is None or p_marginals is None:
        return None
    try:
        divergence = kl_divergence(q_marginals, p_marginals)
    except NotImplementedError:
        return None
    return divergence.double().flatten(1).mean(0)


def _marginals(distribution: Any) -> Distribution | None:
    """Return the distribution of each dimension by itself, where it is known."""
    if isinstance(distribution, Independent) and not distribution.base_dist.event_shape:
        return distribution.base_dist
    if isinstance(distribution, MultivariateNormal | LowRankMultivariateNormal):
        return Normal(distribution.mean, distribution.variance.sqrt())
    return None if distribution.event_shape else distribution
