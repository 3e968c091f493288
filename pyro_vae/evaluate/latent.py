"""Use of the latents: information about x, active dimensions, and distance from the prior."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyro_vae._checks import check, check_integer
from pyro_vae._inputs import entry_for
from pyro_vae._programs import evaluation_mode
from pyro_vae.evaluate._streaming import without_side_effects
from pyro_vae.evaluate.latent_draws import LatentDraws, SiteDraws, draw_latents
from pyro_vae.evaluate.latent_result import BoundedEstimate, LatentSummary, SiteSummary
from pyro_vae.objectives.independence import check_programs
from pyro_vae.objectives.unscored import unscored
from pyro_vae.statistics import mean_and_se

__all__ = ["BoundedEstimate", "LatentSummary", "SiteSummary", "latent_summary", "site_summaries"]


def latent_summary(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    x: Any,
    *,
    num_samples: int = 10,
    seed: int = 0,
) -> LatentSummary:
    """Measure the use of the latents (Hoffman & Johnson 2016).

        mean KL(q(z | x) || p(z)) = I(x; z) + KL(q(z) || p(z)),   q(z) = mean over rows of q(z | x)

    For z drawn from row n, log q(z) over all N rows includes the term of row n, so `log q(z | x_n) - log q(z)` is in
    expectation at most I(x; z), and at most log N. Without this term it is at least I(x; z) (Poole et al. 2019). If
    the N rows are the population, the first is an unbiased estimate of the information between row index and z. The
    cost is proportional to `num_samples` times N squared.

    With several latent sites, z is all of them together, and the divergence is the sum of the sites' parts
    `E_q[log q(z_s | parents, x) - log p(z_s | parents)]` in `sites`. The guide then runs for each of the `num_samples`
    times N squared pairs of draw and row, so pass few rows.

    With context, x denotes a row and its context. If p(z) depends on the context, KL(q(z) || p(z)) is not defined.

    Args:
        model: A Pyro program whose latent sites are only in the plate `"data"`.
        guide: A Pyro program with the model's latent sites and no others.
        x: Rows of shape (N, data_dim), N at least 2, or a tuple of rows and context.
        num_samples: Samples of z per row.
        seed: Seed of the noise; the global random state is restored.

    Raises:
        InputError: If the guide's sites are not the model's latent ones, or there are fewer than two rows.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from pyro_vae import ExactLinearGuide, LinearGaussianModel, latent_summary
        >>> from pyro_vae.baselines import PPCA
        >>> x = load_iris().data
        >>> ppca = PPCA(n_components=2).fit(x)
        >>> model = LinearGaussianModel.from_baseline(ppca)
        >>> guide = ExactLinearGuide(model)
        >>> summary = latent_summary(model, guide, x)
        >>> summary.active_units
        2
    """
    data = entry_for(model, guide).rows(x)
    with without_side_effects(data), evaluation_mode(model, guide):
        draws, failing = _drawn(model, guide, data, num_samples, seed)
        information = _information(draws)
        sites = {site.name: _of_site(site) for site in draws.sites}
    kl = (draws.log_q - draws.log_p).mean(0)
    n, deviation = len(kl), kl - kl.mean()
    lower, upper = (float(part.mean()) for part in (information.lower, information.upper))
    total, rest = float(kl.mean()), deviation - information.influence
    marginal_kl = BoundedEstimate(total - upper, total - lower, mean_and_se(rest)[1])
    return LatentSummary(
        sites=sites,
        kl=total,
        kl_se=mean_and_se(deviation)[1],
        mutual_information=BoundedEstimate(lower, upper, mean_and_se(information.influence)[1]),
        marginal_kl=marginal_kl if draws.one_prior else None,
        num_rows=n,
        unscored_rows=tuple(failing.nonzero().flatten().tolist()),
    )


def site_summaries(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    x: Any,
    *,
    num_samples: int = 10,
    seed: int = 0,
) -> dict[str, SiteSummary]:
    """Return `latent_summary(...).sites` without pairwise comparison of rows.

    The cost is `num_samples` runs of both programs, so all rows can be used. Arguments as for `latent_summary`.
    """
    data = entry_for(model, guide).rows(x)
    with without_side_effects(data), evaluation_mode(model, guide):
        draws, _ = _drawn(model, guide, data, num_samples, seed)
        return {site.name: _of_site(site) for site in draws.sites}


def _drawn(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    data: tuple[Tensor, ...],
    num_samples: int,
    seed: int,
) -> tuple[LatentDraws, Tensor]:
    """Return draws of the rows that can be scored, and a mask of the others, boolean, shape (N,)."""
    check_integer(num_samples, "num_samples")
    check(len(data[0]) >= 2, f"Expected at least two rows x, to compare them; got {len(data[0])}.")
    torch.manual_seed(seed)
    check_programs(model, guide, *data, num_particles=1)
    failing = unscored(model, guide, data, num_particles=1) != 0
    kept = tuple(part[~failing.to(part.device)] for part in data)
    check(len(kept[0]) >= 2, f"Expected at least two rows that can be scored; got {len(kept[0])}.")
    torch.manual_seed(seed)
    return draw_latents(model, guide, kept, num_samples), failing


def _of_site(site: SiteDraws) -> SiteSummary:
    kl = (site.log_q - site.log_p).mean(0)
    return SiteSummary(
        mean_variance=_mean_variance(site.means).cpu(),
        kl_per_dimension=None if site.kl_per_dimension is None else site.kl_per_dimension.cpu(),
        kl=float(kl.mean()),
        kl_se=mean_and_se(kl - kl.mean())[1],
    )


def _mean_variance(means: Tensor) -> Tensor:
    """Return the variance over rows of E[z | x], shape (size,), from `SiteDraws.means`.

    The sampling variance of the mean over K draws (variance over draws / K) is subtracted.
    """
    noise = means.var(0) / len(means) if len(means) > 1 else torch.zeros_like(means[0])
    return (means.mean(0).var(0) - noise.mean(0)).clamp_min(0).sum(-1)


class _Information(NamedTuple):
    """Estimates for each row, float64, shape (N,), nats."""

    lower: Tensor  # log q(z | x) - log q(z), with the own row in q(z), averaged over samples
    upper: Tensor  # the same without the own row in q(z)
    influence: Tensor  # of the row on the mean of `lower`


def _information(draws: LatentDraws) -> _Information:
    """Compare each draw with the posterior of each row.

    The influence of row m is its own deviation minus its contribution to q(z) at all draws, which is the mean over
    draws of `q(z | x_m) / q(z)` minus 1.
    """
    own = draws.log_q
    num_samples, n = own.shape
    lower, upper, share = torch.zeros_like(own), torch.zeros_like(own), own.new_zeros(n)
    for sample in range(num_samples):
        for start in range(0, n, draws.block_rows):
            block = slice(start, min(start + draws.block_rows, n))
            index = torch.arange(block.start, block.stop, device=own.device)
            table = draws.table(sample, block)
            marginal = table.logsumexp(1)
            lower[sample, block] = own[sample, block] - marginal + math.log(n)
            share += (table - marginal.unsqueeze(1)).exp().sum(0) / num_samples
            table[index - block.start, index] = -math.inf
            upper[sample, block] = own[sample, block] - table.logsumexp(1) + math.log(n - 1)
    mean = lower.mean(0)
    return _Information(mean, upper.mean(0), mean - mean.mean() - (share - 1))
