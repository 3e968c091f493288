"""Hamiltonian Monte Carlo over many small targets at once, with acceptance and adaptation per target.

A target is a function that maps latents of shape (*chains, N, latent_dim) to log densities of shape
(*chains, N), up to a constant: row n of z has its own density, any leading dimensions are independent chains
of it. States are values: `init`, `leapfrog` and `HMC.step` map states to states.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from pyro.ops.dual_averaging import DualAveraging
from torch import Tensor

from pyro_vae._checks import check, check_integer, check_positive
from pyro_vae.evaluate.leapfrog import HMCInfo, HMCState, LogDensity, init, leapfrog, transition

__all__ = ["HMC", "HMCInfo", "HMCSamples", "HMCState", "LogDensity", "init", "leapfrog"]

GAMMA = 0.3
"""Shrinkage of dual averaging towards the initial step size (Hoffman & Gelman 2014, equation 6).

With 0.05, the value of the paper, step sizes fluctuate so much that their average is too short: the acceptance rates of
Gaussian rows were 0.91 to 0.95 for a target of 0.8 after 200 steps; with 0.3 they are 0.80 to 0.84. The larger gamma
requires the initial step size of Algorithm 4.
"""


class HMCSamples(NamedTuple):
    """Samples and their diagnostics."""

    z: Tensor  # shape (num_samples, *chains, N, latent_dim)
    accept_rate: Tensor  # mean acceptance probability, shape (*chains, N)
    divergences: Tensor  # number of divergent trajectories, shape (*chains, N)
    step_size: Tensor  # step sizes after the warm-up, shape (N, latent_dim)
    state: HMCState  # last state, from which sampling can continue


@dataclass(frozen=True)
class HMC:
    """Hamiltonian Monte Carlo (Neal 2011), batched over rows, with acceptance and adaptation per row.

    Args:
        num_leapfrog: Leapfrog steps, and thus evaluations of the gradient, in one step of the chain.
        step_size: Step size without warm-up, and initial step size of the warm-up.
        target_accept: Mean acceptance probability to which each row's step size is adapted.
        jitter: Step sizes are drawn within this fraction around the row's step size, to avoid resonance with the period
            of the target (Neal 2011, section 5.4.2).
        diagonal_mass: Whether warm-up also scales each row's dimensions by their standard deviations.

    Raises:
        InputError: If an argument is out of range.
    """

    num_leapfrog: int = 10
    step_size: float = 0.1
    target_accept: float = 0.8
    jitter: float = 0.2
    diagonal_mass: bool = True

    def __post_init__(self) -> None:
        check_integer(self.num_leapfrog, "num_leapfrog")
        check_positive(self.step_size, "step_size")
        check(0 < self.target_accept < 1, f"Expected 0 < target_accept < 1; got {self.target_accept!r}.")
        check(0 <= self.jitter < 1, f"Expected 0 <= jitter < 1; got {self.jitter!r}.")

    def step(
        self, log_density: LogDensity, state: HMCState, step_size: Tensor, generator: torch.Generator
    ) -> tuple[HMCState, HMCInfo]:
        """Move every row along one trajectory, accepted or rejected row by row.

        Args:
            log_density: The targets, those of `state`; if they change, create a new state by `init`.
            state: Current state.
            step_size: Step sizes, broadcast against z; shape (N, latent_dim) as returned by `adapt`.
            generator: The source of all randomness, on z's device.

        Returns:
            The new state, equal to the old one in rejected rows, and diagnostics.
        """
        z, rows = state.z, state.log_density
        momentum = torch.randn(z.shape, generator=generator, dtype=z.dtype, device=z.device)
        noise = torch.rand((2, *rows.shape), generator=generator, dtype=z.dtype, device=z.device)
        size = (1 + self.jitter * (2 * noise[0] - 1)).unsqueeze(-1) * step_size
        return transition(log_density, state, size, (momentum, noise[1]), self.num_leapfrog)

    def adapt(
        self, log_density: LogDensity, z0: Tensor, num_warmup: int, generator: torch.Generator
    ) -> tuple[HMCState, Tensor]:
        """Adapt the step sizes of each row, equal for all of its chains, by dual averaging.

        The first quarter of the warm-up moves to the region of high probability, half of it measures standard
        deviations there, and the last quarter adapts the step size, with `diagonal_mass` in units of these. Until then
        each chain has its own step size: a chain that starts far out would always reject the steps of the others.

        Args:
            log_density: The targets.
            z0: Start of the chains, shape (*chains, N, latent_dim).
            num_warmup: Number of adaptation steps; with 0, all step sizes are the given one.
            generator: The source of all randomness, on z0's device.

        Returns:
            The state at the end, and the step sizes, shape (N, latent_dim).

        Raises:
            InputError: If z0 or the log density there is not finite or has the wrong shape.
        """
        steps = check_integer(num_warmup, "num_warmup", minimum=0)
        state = _checked_start(log_density, z0)

        def move(hmc: HMC, state: HMCState, step_size: Tensor) -> tuple[HMCState, HMCInfo]:
            return hmc.step(log_density, state, step_size, generator)

        scale = torch.ones_like(_over_chains(state.z, 2))
        step_size = torch.full_like(state.log_density, self.step_size)
        state, step_size, _ = self._search(move, state, step_size, scale, steps // 4)
        state, step_size, spread = self._search(move, state, step_size, scale, steps // 2)
        step_size = _over_chains(step_size.log(), 1).exp()
        if self.diagonal_mass and steps >= 2:
            step_size, scale = torch.ones_like(step_size), spread
        state, step_size, _ = self._search(move, state, step_size, scale, steps - steps // 4 - steps // 2)
        return state, step_size.unsqueeze(-1) * scale

    def sample(
        self,
        log_density: LogDensity,
        z0: Tensor,
        num_samples: int,
        num_warmup: int,
        generator: torch.Generator,
    ) -> HMCSamples:
        """Adapt the step sizes, then sample with fixed step sizes.

        Args:
            log_density: The targets.
            z0: Start of the chains, shape (*chains, N, latent_dim).
            num_samples: Steps of each chain after the warm-up; each is a sample.
            num_warmup: Number of adaptation steps, which are not samples.
            generator: The source of all randomness, on z0's device.

        Returns:
            The samples, with acceptance, divergences and step sizes of each row.

        Raises:
            InputError: See `adapt`.
        """
        check_integer(num_samples, "num_samples")
        state, step_size = self.adapt(log_density, z0, num_warmup, generator)
        z = state.z.new_empty((num_samples, *state.z.shape))
        accepted, divergences = torch.zeros_like(state.log_density), torch.zeros_like(state.log_density)
        for number in range(num_samples):
            state, info = self.step(log_density, state, step_size, generator)
            z[number] = state.z
            accepted += info.accept_prob
            divergences += info.divergent
        return HMCSamples(z, accepted / num_samples, divergences.long(), step_size, state)

    def _search(
        self, move: Move, state: HMCState, step_size: Tensor, scale: Tensor, num_steps: int
    ) -> tuple[HMCState, Tensor, Tensor]:
        """Adapt step sizes of shape (N,) or (*chains, N), in units of `scale`; also return z's spread."""
        if num_steps == 0:
            return state, step_size, scale
        log_step = average = self._first_step(move, state, step_size, scale).log()
        tuner = DualAveraging(prox_center=log_step, gamma=GAMMA)
        origin, first, second = _over_chains(state.z, 2), torch.zeros_like(scale), torch.zeros_like(scale)
        for _ in range(num_steps):
            state, info = move(self, state, log_step.exp().unsqueeze(-1) * scale)
            tuner.step(self.target_accept - _over_chains(info.accept_prob, step_size.ndim))
            log_step, average = tuner.get_state()
            first += _over_chains(state.z - origin, 2) / num_steps
            second += _over_chains((state.z - origin).square(), 2) / num_steps
        return state, average.exp(), _spread(second - first.square(), num_steps)

    def _first_step(self, move: Move, state: HMCState, step_size: Tensor, scale: Tensor) -> Tensor:
        """Double or halve each row's step size until acceptance crosses 1/2 (Hoffman & Gelman 2014, Algorithm 4)."""
        probe, direction, moving = replace(self, num_leapfrog=1), None, step_size > 0
        for _ in range(60):  # 2^60 exceeds the ratio of any two scales
            _, info = move(probe, state, step_size.unsqueeze(-1) * scale)
            wanted = 2 * (_over_chains(info.accept_prob, step_size.ndim) > 0.5).to(step_size) - 1
            direction = wanted if direction is None else direction
            moving = moving & (wanted == direction)
            if not moving.any():
                break
            step_size = torch.where(moving, step_size * 2**direction, step_size)
        return step_size


Move = Callable[[HMC, HMCState, Tensor], tuple[HMCState, HMCInfo]]


def _over_chains(values: Tensor, event_dims: int) -> Tensor:
    """Return the mean over all but the last `event_dims` dimensions."""
    return values.reshape(-1, *values.shape[values.ndim - event_dims :]).mean(0)


def _spread(variance: Tensor, num_steps: int) -> Tensor:
    """Return standard deviations, with variances shrunk to their mean by the weight of five steps; 1 if all are 0."""
    variance = variance.clamp_min(0)
    overall = variance.mean(-1, keepdim=True)
    drawn = (num_steps * variance + 5 * overall) / (num_steps + 5)
    return torch.where(overall > 0, drawn, 1.0).sqrt()


def _checked_start(log_density: LogDensity, z0: Tensor) -> HMCState:
    """Return the state at `z0`; raise `InputError` if a chain cannot start there."""
    check(
        z0.ndim >= 2 and z0.is_floating_point() and z0.numel() > 0,
        f"Expected z0 of floats and shape (*chains, N, latent_dim); got {z0.dtype}, {tuple(z0.shape)}.",
    )
    state = init(log_density, z0)
    shape = tuple(state.log_density.shape)
    check(
        shape == z0.shape[:-1],
        f"Expected log_density to return one value a row, shape {tuple(z0.shape[:-1])}; got {shape}. "
        "Sum over the latent dimension only.",
    )
    invalid = ~(state.log_density.isfinite() & state.gradient.isfinite().all(-1))
    check(
        not bool(invalid.any()),
        f"Expected a finite log density and gradient at every row of z0; {int(invalid.sum())} have none. "
        "Start inside the support.",
    )
    return state
