"""The results of `latent_summary`: for each latent site, and for all of them together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyro_vae.objectives.unscored import unscored_message

__all__ = ["BoundedEstimate", "LatentSummary", "SiteSummary"]

ACTIVE = 0.01
"""A dimension is active if the variance of its posterior mean over rows exceeds this (Burda et al. 2016)."""


class BoundedEstimate(NamedTuple):
    """Lower and upper bounds, in expectation, of a quantity in nats."""

    lower: float
    upper: float
    se: float
    """Standard error of both over rows, including their shared aggregated posterior."""

    def __repr__(self) -> str:
        return f"{self.lower:.3f} to {self.upper:.3f} ± {self.se:.3f}"


@dataclass(frozen=True)
class SiteSummary:
    """Summary of one latent site; nats unless stated otherwise. `size` is the number of its dimensions.

    Args:
        mean_variance: Variance over rows of E[z | x], shape (size,), in squared units of z. For a categorical
            dimension, the variance of the posterior probabilities, summed over categories.
        kl_per_dimension: Mean over rows of `KL(q(z_d | x) || p(z_d))`, shape (size,), given the previously
            drawn sites and averaged over them. The sum is the site's divergence if the guide factorises over
            dimensions, and at most that for other Gaussians. None if prior or guide have no marginals in closed form,
            or if the model draws the site given one that the guide draws given this site.
        kl: Mean over rows of `E_q[log q(z | parents, x) - log p(z | parents)]`, sampled: the site's part of the
            divergence. It is at least 0 in expectation if the site has `kl_per_dimension`.
        kl_se: Its standard error over rows.
    """

    mean_variance: Tensor
    kl_per_dimension: Tensor | None
    kl: float
    kl_se: float

    @property
    def active(self) -> Tensor:
        """Mask of active dimensions (Burda et al. 2016): variance of E[z | x] above 0.01."""
        return self.mean_variance > ACTIVE

    @property
    def active_units(self) -> int:
        """Number of active dimensions."""
        return int(self.active.sum())

    def summary(self) -> dict[str, Any]:
        """Return the figures by name."""
        return {
            "active_units": self.active_units,
            "latent_dim": len(self.mean_variance),
            "kl": {"mean": self.kl, "se": self.kl_se},
            "kl_per_dimension": None if self.kl_per_dimension is None else self.kl_per_dimension.tolist(),
        }

    def collapse(self, name: str) -> list[str]:
        """Return a sentence about inactive dimensions; an empty list if all are active."""
        size = len(self.mean_variance)
        if self.active_units == 0:
            return [
                f"The posterior has collapsed: none of {size} dimensions of {name} is active (the variance of "
                f"E[{name} | x] over rows is at most {float(self.mean_variance.max()):.2g}), so the model describes x "
                f"without {name}. Warm the KL term up, or give each dimension free bits."
            ]
        if self.active_units < size:
            return [
                f"The posterior has collapsed in {size - self.active_units} of {size} dimensions of {name}, where "
                f"E[{name} | x] hardly varies over rows; {self.active_units} are active."
            ]
        return []


@dataclass(frozen=True)
class LatentSummary:
    """Summary of the latents; nats unless stated otherwise.

    Args:
        sites: Each latent site by its name, in the guide's order.
        kl: Mean over rows of `KL(q(z | x) || p(z))` of all sites together, sampled.
        kl_se: Its standard error over rows.
        mutual_information: `I(x; z)` under the guide, with z all sites together and x a row with its context.
            The lower estimate is at most the logarithm of the number of rows.
        marginal_kl: `KL(q(z) || p(z))` of the aggregated posterior: `kl - mutual_information`. None if p(z) depends on
            context.
        num_rows: Number of rows.
        unscored_rows: Indices of rows that could not be scored, which are excluded above.
    """

    sites: dict[str, SiteSummary]
    kl: float
    kl_se: float
    mutual_information: BoundedEstimate
    marginal_kl: BoundedEstimate | None
    num_rows: int
    unscored_rows: tuple[int, ...] = ()

    @property
    def mean_variance(self) -> Tensor:
        """`mean_variance` of all sites in their order, joined, shape (latent_dim,)."""
        return torch.cat([site.mean_variance for site in self.sites.values()])

    @property
    def kl_per_dimension(self) -> Tensor | None:
        """`kl_per_dimension` of all sites in their order, joined, shape (latent_dim,); None if it is for a site."""
        known = [site.kl_per_dimension for site in self.sites.values() if site.kl_per_dimension is not None]
        return torch.cat(known) if len(known) == len(self.sites) else None

    @property
    def active(self) -> Tensor:
        """Mask of active dimensions of all sites (Burda et al. 2016): variance of E[z | x] above 0.01."""
        return self.mean_variance > ACTIVE

    @property
    def active_units(self) -> int:
        """Number of active dimensions of all sites."""
        return int(self.active.sum())

    @property
    def warning(self) -> str | None:
        """Messages about posterior collapse and too few rows; None otherwise."""
        collapse = [sentence for name, site in self.sites.items() for sentence in site.collapse(name)]
        return " ".join(self._left_out() + collapse + self._ceiling()) or None

    def _left_out(self) -> list[str]:
        verdicts = torch.zeros(self.num_rows + len(self.unscored_rows), dtype=torch.float64)
        verdicts[list(self.unscored_rows)] = math.nan
        found = unscored_message(verdicts)
        return [f"{found.partition(' and have')[0]} and are left out."] if found else []

    def _ceiling(self) -> list[str]:
        lower, ceiling = self.mutual_information.lower, math.log(self.num_rows)
        if lower < ceiling - 1:
            return []
        return [
            f"The lower estimate of the mutual information, {lower:.2f} nats, is near its ceiling, log {self.num_rows} "
            f"= {ceiling:.2f}: nearly every row can be identified by its latents. Use more rows to raise the ceiling."
        ]

    def summary(self) -> dict[str, Any]:
        """Return the figures by name, those of each site under `sites`."""
        per_dimension = None if self.kl_per_dimension is None else self.kl_per_dimension.tolist()
        return {
            "active_units": self.active_units,
            "latent_dim": len(self.mean_variance),
            "kl": {"mean": self.kl, "se": self.kl_se},
            "kl_per_dimension": per_dimension,
            "mutual_information": self.mutual_information._asdict(),
            "marginal_kl": self.marginal_kl and self.marginal_kl._asdict(),
            "num_rows": self.num_rows,
            "sites": {name: site.summary() for name, site in self.sites.items()},
        }

    def __repr__(self) -> str:
        marginal = f", KL(q(z) || p(z)) {self.marginal_kl}" if self.marginal_kl else ""
        return (
            f"LatentSummary({self._active_of_sites()}, KL {self.kl:.3f} ± {self.kl_se:.3f} nats, I(x; z) "
            f"{self.mutual_information}{marginal}, {self.num_rows} rows)"
        )

    def _active_of_sites(self) -> str:
        total = f"{self.active_units} of {len(self.mean_variance)} dimensions active"
        if len(self.sites) == 1:
            return total
        parts = (
            f"{name} {site.active_units} of {len(site.mean_variance)}, KL {site.kl:.3f} ± {site.kl_se:.3f}"
            for name, site in self.sites.items()
        )
        return f"{total} ({'; '.join(parts)})"
