"""Gradients through the guide's samples only, for objectives without the score of log q."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_vae._checks import InputError
from pyro_vae.objectives.draws import Draws
from pyro_vae.objectives.sites import Site, data_plate

__all__ = ["through_latents"]


def through_latents(draws: Draws, target: Tensor, scale: Tensor | None = None) -> Tensor:
    """Return 0 with the gradient of `target` through the guide's samples only.

    Args:
        draws: A run of guide and model with detached samples (`cut`).
        target: A scalar computed from `draws`.
        scale: Factor of the gradient at each sample, shape (num_particles, N).

    Raises:
        InputError: If a site of the guide has no reparameterized sample.
    """
    zero = target.new_zeros(())
    if not torch.is_grad_enabled():
        return zero
    _check_reparameterized(draws.guide_sites)
    gradients = _sample_gradients(draws, target)
    for site in draws.guide_sites:
        z = draws.samples[site["name"]]
        factor = 1 if scale is None else _at_site(draws, site, scale)
        zero = zero + (factor * gradients[site["name"]] * (z - z.detach())).sum()
    return zero


def _sample_gradients(draws: Draws, target: Tensor) -> dict[str, Tensor]:
    """Return the total derivative of the target with respect to each site's sample."""
    outputs, output_gradients = [target], [torch.ones_like(target)]
    found: dict[str, Tensor] = {}
    for site in reversed(draws.guide_sites):
        (gradient,) = torch.autograd.grad(outputs, site["value"], output_gradients, retain_graph=True)
        found[site["name"]] = gradient
        sample = draws.samples[site["name"]]
        if sample.requires_grad:
            outputs.append(sample)
            output_gradients.append(gradient)
    return found


def _at_site(draws: Draws, site: Site, rows: Tensor) -> Tensor:
    """Return values, shape (num_particles, N), reshaped to broadcast against the site's samples."""
    shape = [1] * (site["fn"].event_dim - draws.particle_dim)
    shape[0], shape[data_plate(site).dim - site["fn"].event_dim] = rows.shape
    return rows.reshape(shape)


def _check_reparameterized(sites: list[Site]) -> None:
    for site in sites:
        if not site["fn"].has_rsample:
            raise InputError(
                f"Expected a reparameterized sample at every site of the guide; {site['name']!r} has none. "
                "Take another distribution, or another objective, such as ELBO."
            )
