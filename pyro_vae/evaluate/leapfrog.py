"""One trajectory of Hamiltonian Monte Carlo over many small targets at once, accepted or rejected row by row.

A target is a function that maps latents of shape (*chains, N, latent_dim) to log densities of shape (*chains, N), up
to a constant: row n of z has its own density, and leading dimensions are independent chains. States are values:
`init`, `leapfrog` and `transition` map states to states.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["HMCInfo", "HMCState", "LogDensity", "init", "leapfrog", "transition"]

LogDensity = Callable[[Tensor], Tensor]
Noise = tuple[Tensor, Tensor]  # normal momentum of the shape of z, and a uniform for each row

MAX_ENERGY_ERROR = 1000.0  # nats; a trajectory that gains more is called divergent, as in Stan


class HMCState(NamedTuple):
    """Positions of the chains, with log density and gradient."""

    z: Tensor  # shape (*chains, N, latent_dim)
    log_density: Tensor  # at z, in nats up to a constant, shape (*chains, N)
    gradient: Tensor  # of the log density with respect to z, shape of z


class HMCInfo(NamedTuple):
    """Diagnostics of one step."""

    accept_prob: Tensor  # Metropolis acceptance probability, shape (*chains, N)
    divergent: (
        Tensor  # whether the energy error exceeded `MAX_ENERGY_ERROR` or was not finite, shape (*chains, N)
    )


def init(log_density: LogDensity, z: Tensor) -> HMCState:
    """Return the state at `z`, shape (*chains, N, latent_dim): one evaluation of log density and gradient.

    Only z gets a gradient; parameters inside `log_density` get none.
    """
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        value = log_density(z)
        (gradient,) = torch.autograd.grad(value.sum(), z)
    return HMCState(z.detach(), value.detach(), gradient)


def leapfrog(
    log_density: LogDensity, state: HMCState, momentum: Tensor, step_size: Tensor
) -> tuple[HMCState, Tensor]:
    """Take one leapfrog step: r += e/2 grad(z), z += e r, r += e/2 grad(z) (Neal 2011, section 5.2.3).

    The density is not evaluated at infinities and NaN: such a row keeps its position, and is rejected because its
    momentum is not finite.

    Args:
        log_density: The targets.
        state: Current state.
        momentum: r, in units in which its mass is 1, shape (*chains, N, latent_dim).
        step_size: e, broadcast against z. A step size for each dimension is the same as the diagonal mass
            matrix diag(1 / e^2) with a step size of 1 (Neal 2011, section 5.4.1).

    Returns:
        The new state and momentum.
    """
    momentum = momentum + 0.5 * step_size * state.gradient
    z = state.z + step_size * momentum
    state = init(log_density, torch.where(z.isfinite().all(-1, keepdim=True), z, state.z))
    return state, momentum + 0.5 * step_size * state.gradient


def transition(
    log_density: LogDensity, state: HMCState, step_size: Tensor, noise: Noise, num_leapfrog: int
) -> tuple[HMCState, HMCInfo]:
    """Accept the end of a trajectory with probability min(1, exp(H_0 - H_L)), row by row."""
    proposal, (momentum, uniform) = state, noise
    start = energy = _energy(state, momentum)
    invalid = torch.zeros_like(start, dtype=torch.bool)
    for _ in range(num_leapfrog):
        proposal, momentum = leapfrog(log_density, proposal, momentum, step_size)
        energy = _energy(proposal, momentum)
        # The reversed trajectory contains the same points, so rejection due to one of them preserves detailed balance.
        invalid = invalid | ~energy.isfinite()
        proposal = _where(invalid, state, proposal)
    error = torch.where(invalid, math.inf, energy - start)
    accept_prob = (-error).clamp(max=0).exp()
    return _where(uniform < accept_prob, proposal, state), HMCInfo(accept_prob, error > MAX_ENERGY_ERROR)


def _energy(state: HMCState, momentum: Tensor) -> Tensor:
    """Return H = r^2 / 2 - log density, shape (*chains, N)."""
    return 0.5 * momentum.square().sum(-1) - state.log_density


def _where(rows: Tensor, this: HMCState, other: HMCState) -> HMCState:
    """Return `this` where `rows`, of shape (*chains, N), and `other` elsewhere."""
    whole = rows.unsqueeze(-1)
    return HMCState(
        torch.where(whole, this.z, other.z),
        torch.where(rows, this.log_density, other.log_density),
        torch.where(whole, this.gradient, other.gradient),
    )
