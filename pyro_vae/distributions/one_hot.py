"""Several categorical variables as one vector of one-hot codes."""

from __future__ import annotations

import functools
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.kl import register_kl

from pyro_vae._compat import validate_sample

__all__ = ["OneHotCode"]

_ONE = torch.Size()


class _OneHotCodes(constraints.Constraint):
    """Vectors of `count` one-hot codes of `states` entries each."""

    is_discrete = True
    event_dim = 1

    def __init__(self, count: int, states: int) -> None:
        self.count, self.states = count, states

    def check(self, value: Tensor) -> Tensor:
        """Return which vectors are valid codes, shape (...)."""
        if value.shape[-1] != self.count * self.states:
            return value.new_zeros(value.shape[:-1], dtype=torch.bool)
        code = value.unflatten(-1, (self.count, self.states))
        binary = ((code == 0) | (code == 1)).flatten(-2).all(-1)
        one: Tensor = binary & (code.sum(-1) == 1).all(-1)
        return one


@functools.cache
def _support(count: int, states: int) -> _OneHotCodes:
    """Return a cached object for each shape, so that equal supports are identical."""
    return _OneHotCodes(count, states)


class OneHotCode(dist.TorchDistribution):
    """D independent categorical variables of S states; a value is their concatenated one-hot codes.

    `log p(z) = sum_d sum_s z_ds log softmax(logits_d)_s`.

    Args:
        logits: Log-probabilities up to a constant, shape (..., D, S).
        validate_args: Whether to validate arguments, as in torch.
        normalised: Whether the logits are normalized.
    """

    arg_constraints = {"logits": constraints.independent(constraints.real, 2)}  # noqa: RUF012 (as in torch)

    def __init__(
        self, logits: Tensor, validate_args: bool | None = None, *, normalised: bool = False
    ) -> None:
        self.logits = logits if normalised else logits.log_softmax(-1)
        count, states = logits.shape[-2:]
        super().__init__(logits.shape[:-2], torch.Size([count * states]), validate_args=validate_args)

    @property
    def count(self) -> int:
        """Number of variables, D."""
        return self.logits.shape[-2]

    @property
    def states(self) -> int:
        """Number of states of each variable, S."""
        return self.logits.shape[-1]

    @property
    def support(self) -> constraints.Constraint:
        """Vectors of one-hot codes."""
        return _support(self.count, self.states)

    @property
    def probs(self) -> Tensor:
        """Probability of each state, shape (..., D, S)."""
        return self.logits.exp()

    @property
    def mean(self) -> Tensor:
        """The probabilities, flat, shape (..., D S)."""
        return self.probs.flatten(-2)

    @property
    def variance(self) -> Tensor:
        """Variance of each element of z, shape (..., D S)."""
        return self.mean * (1 - self.mean)

    @property
    def mode(self) -> Tensor:
        """The code of the most probable state of each variable, shape (..., D S)."""
        return self._code(self.logits)

    @property
    def variables(self) -> OneHotCode:
        """The variables one by one: batch shape (..., D), event shape (S,)."""
        return OneHotCode(self.logits.unsqueeze(-2), False, normalised=True)

    def by_variable(self, value: Tensor) -> Tensor:
        """Return codes of shape (..., D S) as those of `variables`, shape (..., D, S)."""
        return value.unflatten(-1, (self.count, self.states))

    def sample(self, sample_shape: torch.Size = _ONE) -> Tensor:
        """Draw codes, shape (*sample_shape, ..., D S), by the Gumbel-max method (Gumbel 1954).

        Uses elementwise operations only, which compile on every device.
        """
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.logits.shape
            noise = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
            tiny = torch.finfo(noise.dtype).tiny
            return self._code(self.logits - (-noise.clamp_min(tiny).log()).log())

    def _code(self, scores: Tensor) -> Tensor:
        """Return the codes of the largest scores, shape (..., D S), for scores of shape (..., D, S)."""
        numbers = torch.arange(self.states, device=scores.device)
        return (scores.argmax(-1, keepdim=True) == numbers).to(scores.dtype).flatten(-2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of codes, shape (...), for values of shape (..., D S)."""
        validate_sample(self, value)
        return (self.by_variable(value) * self.logits).sum((-2, -1))

    def entropy(self) -> Tensor:
        """Return the entropy of all variables together, nats, shape (...)."""
        return -(self.probs * self.logits).sum((-2, -1))

    def expand(self, batch_shape: Any, _instance: Any = None) -> OneHotCode:
        """Return the distribution with another batch shape."""
        logits = self.logits.expand(*batch_shape, *self.logits.shape[-2:])
        return OneHotCode(logits, False, normalised=True)


@register_kl(OneHotCode, OneHotCode)
def _kl(q: OneHotCode, p: OneHotCode) -> Tensor:
    return (q.probs * (q.logits - p.logits)).sum((-2, -1))
