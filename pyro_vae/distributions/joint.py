"""A joint distribution of several latent variables as one vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor

__all__ = ["JointDistribution", "Take"]

Take = Callable[[str, Any], Tensor]
"""Function from the name of a variable and its distribution to a value, such as `pyro.sample`."""
_ONE = torch.Size()


class JointDistribution(TorchDistribution):
    """`z = (z1, z2, ...)`, each variable drawn from its distribution given the previously drawn ones.

    Args:
        program: Function that calls its argument, a `Take`, for each variable, and returns z, (..., sum of `sizes`).
        sizes: Size of each variable, in their order in z.
        batch_shape: Batch shape of the first variable's distribution.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.independent(constraints.real, 1)
    has_rsample = True

    def __init__(
        self, program: Callable[[Take], Tensor], sizes: Mapping[str, int], batch_shape: torch.Size = _ONE
    ) -> None:
        self.program = program
        self.sizes = dict(sizes)
        super().__init__(batch_shape, torch.Size([sum(sizes.values())]), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Each variable's mean given the means of the previous ones; E[z] if means are linear."""
        return self.program(lambda _, q: q.mean)

    def rsample(self, sample_shape: torch.Size = _ONE) -> Tensor:
        """Return z with gradients, shape (*sample_shape, *batch_shape, size)."""
        shapes = iter([torch.Size(sample_shape)])
        return self.program(lambda _, q: q.rsample(next(shapes, _ONE)))

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size = _ONE) -> Tensor:
        """Return z, shape (*sample_shape, *batch_shape, size)."""
        shapes = iter([torch.Size(sample_shape)])
        return self.program(lambda _, q: q.sample(next(shapes, _ONE)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the sum of the variables' log-densities, nats, for z of shape (..., size)."""
        parts = self.split(value)
        found: list[Tensor] = []

        def take(name: str, q: Any) -> Tensor:
            found.append(q.log_prob(parts[name]))
            return parts[name]

        self.program(take)
        return sum(found[1:], start=found[0])

    def split(self, value: Tensor) -> dict[str, Tensor]:
        """Return the variables of z, shape (..., size), by name."""
        return dict(zip(self.sizes, value.split(list(self.sizes.values()), dim=-1), strict=True))
