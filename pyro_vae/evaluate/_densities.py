"""Model and guide as densities of each row over one unconstrained vector.

Hamiltonian Monte Carlo and Gaussian families need one unconstrained vector; programs have several sites with supports.
This module packs the sites of a row into one vector and unpacks them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from pyro_vae._checks import check
from pyro_vae.evaluate._many_samples import rows_last, vectorized_trace
from pyro_vae.evaluate._unbounded import described, unbounded_sites
from pyro_vae.objectives.checks import check_has_density
from pyro_vae.objectives.sites import Site, sample_sites
from pyro_vae.objectives.support_checks import check_same_supports
from pyro_vae.objectives.supports import is_point_mass

__all__ = ["Densities"]


class Densities:
    """log p(x, z), log p(z) and log q(z | x) of each row as functions of its unconstrained latents u.

    u has shape (num_samples, N, size): all latent sites of the model, each mapped onto the real line (Stan's and
    Pyro's transforms), flattened and joined. Each density includes log |dz/du|, so ratios are those over z.

    Args:
        model: A Pyro program with all its sites in the plate `"data"`.
        guide: A Pyro program with the model's latent sites.
        data: Arguments of both programs, rows first.
        max_plate_nesting: Depth of nested plates in the programs.

    Raises:
        InputError: If a latent site is discrete, is in another plate than `"data"`, or has a support that depends on
            another site.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any],
        data: tuple[Tensor, ...],
        max_plate_nesting: int = 1,
    ) -> None:
        self.model, self.guide, self.data = model, guide, data
        self.max_plate_nesting = max_plate_nesting
        self._latent = unbounded_sites(model, data, max_plate_nesting)
        self.sites = [described(site) for site in self._latent]
        self._guide_distribution = self._single_site_distribution()

    @property
    def names(self) -> list[str]:
        """Names of the latent sites, in the model's order."""
        return [site.name for site in self.sites]

    def unpack(self, u: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the sites' values, each (num_samples, N, *event), and log |dz/du|, shape (num_samples, N)."""
        values, log_jacobian = {}, u.new_zeros(u.shape[:-1])
        parts = u.split([site.shape.numel() for site in self.sites], dim=-1)
        for site, part in zip(self.sites, parts, strict=True):
            free = part.reshape(*u.shape[:-1], *site.shape)
            values[site.name] = site.transform(free)
            change = site.transform.log_abs_det_jacobian(free, values[site.name])
            log_jacobian = log_jacobian + change.reshape(*u.shape[:-1], -1).sum(-1)
        return values, log_jacobian

    def pack(self, values: dict[str, Tensor]) -> Tensor:
        """Return u, shape (num_samples, N, size), from the sites' values."""
        free = (site.transform.inv(values[site.name]) for site in self.sites)
        return torch.cat(
            [part.flatten(part.ndim - len(site.shape)) if site.shape else part.unsqueeze(-1)
             for site, part in zip(self.sites, free, strict=True)], dim=-1,
        )  # fmt: skip

    def from_guide(self, num_samples: int) -> Tensor:
        """Draw u from q(z | x), shape (num_samples, N, size), detached."""
        with torch.no_grad():
            return self._draw(self.guide, num_samples)

    def rsample_guide(self, num_samples: int) -> Tensor:
        """Draw u from q(z | x), shape (num_samples, N, size), with gradients."""
        return self._draw(self.guide, num_samples)

    def from_prior(self, num_samples: int) -> Tensor:
        """Draw u from p(z), shape (num_samples, N, size), detached."""
        with torch.no_grad():
            return self._draw(self.model, num_samples)

    def log_joint(self, u: Tensor) -> Tensor:
        """Return log p(x, z) of each row, shape (num_samples, N), nats."""
        return sum(self.log_likelihood_and_prior(u), start=u.new_zeros(()))

    def log_likelihood_and_prior(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p(x | z) and log p(z), each (num_samples, N), nats."""
        values, log_jacobian = self.unpack(u)
        trace = self._trace(self.model, len(u), values)
        observed = {site["name"] for site in sample_sites(trace)} - set(self.names)
        return self._total(trace, observed), self._total(trace, self.names) + log_jacobian

    def log_guide(self, u: Tensor) -> Tensor:
        """Return log q(z | x) of each row, shape (num_samples, N), nats."""
        if self._guide_distribution is None:
            return self.log_guide_run(u)
        # The distribution depends on x alone, so the guide's network need not run at each z.
        values, log_jacobian = self.unpack(u)
        return self._guide_distribution.log_prob(values[self.names[0]]) + log_jacobian

    def log_guide_run(self, u: Tensor) -> Tensor:
        """Return log q(z | x) by a run of the guide at u, shape (num_samples, N), nats.

        Raises:
            InputError: If the guide samples a point, or sites that the model lacks.
        """
        values, log_jacobian = self.unpack(u)
        trace = self._trace(self.guide, len(u), values)
        _check_densities(sample_sites(trace))
        others = [site["name"] for site in sample_sites(trace) if site["name"] not in self.names]
        check(
            not others,
            f"Expected a guide with the model's latent sites and no others, whose density at given values is known; it "
            f"also samples {others}. Anneal from the prior (`Annealing(start='prior')`), or take another guide.",
        )
        return self._total(trace, self.names) + log_jacobian

    def _draw(self, program: Callable[..., Any], num_samples: int) -> Tensor:
        trace = self._trace(program, num_samples)
        check(
            set(self.names) <= set(trace.nodes),
            f"Expected the guide to sample the model's latent sites {self.names}; it samples "
            f"{[site['name'] for site in sample_sites(trace)]}. Give its sites the names of the model's.",
        )
        if program is self.guide:
            _check_densities(sample_sites(trace))
            check_same_supports(self._latent, sample_sites(trace))
        return self.pack({name: rows_last(trace.nodes[name]) for name in self.names})

    def _trace(
        self, program: Callable[..., Any], num_samples: int, values: dict[str, Tensor] | None = None
    ) -> Any:
        return vectorized_trace(program, self.data, num_samples, self.max_plate_nesting, values)

    def _total(self, trace: Any, names: Collection[str]) -> Tensor:
        """Sum log-probabilities over the named sites and all plates but samples and rows."""
        trace.compute_log_prob(lambda name, _: name in names)
        log_probs = (trace.nodes[name]["log_prob"] for name in trace.nodes if name in names)
        rows = (lp.reshape(lp.shape[0], -1, lp.shape[-1]).sum(1) for lp in log_probs)
        return sum(rows, start=self.data[0].new_zeros(()))

    def _single_site_distribution(self) -> Distribution | None:
        with torch.no_grad():
            sites = sample_sites(self._trace(self.guide, 1))
        if (
            len(sites) != 1
            or len(self.sites) != 1
            or sites[0]["mask"] is not None
            or is_point_mass(sites[0]["fn"])
        ):
            return None
        return sites[0]["fn"]


def _check_densities(sites: list[Site]) -> None:
    """Raise if a guide without auxiliary sites samples a point."""
    if not any(site["infer"].get("is_auxiliary") for site in sites):
        for site in sites:
            check_has_density(site["fn"], f"the guide's site {site['name']!r}")
