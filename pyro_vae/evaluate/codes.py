"""Use of the states of discrete latent variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import InputError, check
from pyro_vae._programs import evaluation_mode
from pyro_vae.distributions.bernoulli import LogitBernoulli
from pyro_vae.distributions.one_hot import OneHotCode
from pyro_vae.objectives.divergences import factors_of

__all__ = ["CodeUsage", "code_usage", "state_probs"]


@dataclass(frozen=True)
class CodeUsage:
    """Use of the states of D discrete variables with S states each, over some rows.

    Args:
        usage: Mean over rows of q(z_d = s | x), shape (D, S), float64.
        information: I(x; z_d) of each variable, `H(usage_d) - mean H(q(z_d | x))` over rows, nats, shape (D,).
    """

    usage: Tensor
    information: Tensor

    @property
    def perplexity(self) -> Tensor:
        """`exp(H(usage_d))` of each variable, shape (D,): 1 if only one state is used, S if all are used equally."""
        return _entropy(self.usage).exp()

    def summary(self) -> dict[str, Any]:
        """Return the figures by name."""
        return {
            "variables": self.usage.shape[0],
            "states": self.usage.shape[1],
            "perplexity": {"mean": float(self.perplexity.mean()), "smallest": float(self.perplexity.min())},
            "information": {
                "mean": float(self.information.mean()),
                "smallest": float(self.information.min()),
            },
        }

    def __repr__(self) -> str:
        variables, states = self.usage.shape
        return (
            f"CodeUsage({variables} variables of {states} states, perplexity {self.perplexity.mean():.2f} on average "
            f"and at least {self.perplexity.min():.2f}, I(x; z_d) {self.information.mean():.2f} nats on average)"
        )


def code_usage(guide: Any, x: Any, *context: Any) -> CodeUsage:
    """Measure the use of the states of a discrete guide's variables.

    Args:
        guide: A guide with `encode`, such as `DiscreteGuide`.
        x: Rows in any container that `fit` takes, in data units.
        context: Arrays or tensors, rows first, (N, ...).

    Raises:
        InputError: If z is not of `Categoricals` or `Bernoullis`.
    """
    check(hasattr(guide, "encode"), f"Expected a guide with `encode`; {type(guide).__name__} has none.")
    with evaluation_mode(guide), torch.no_grad():
        probs = state_probs(guide.encode(x, *context))
    usage = probs.mean(0)
    return CodeUsage(usage, _entropy(usage) - _entropy(probs).mean(0))


def state_probs(distribution: Any) -> Tensor:
    """Return the probability of each state of each variable, shape (..., D, S), float64.

    Raises:
        InputError: If the distribution is not one of `Categoricals` or `Bernoullis`.
    """
    base = factors_of(distribution)
    if isinstance(base, OneHotCode):
        return distribution.probs.double()
    if isinstance(base, LogitBernoulli):
        ones = base.probs.double()
        return torch.stack([1 - ones, ones], dim=-1)
    raise InputError(
        f"Expected a discrete z, of `Categoricals` or `Bernoullis`; got {type(distribution).__name__}."
    )


def _entropy(probs: Tensor) -> Tensor:
    """Return the entropy over the last dimension, nats."""
    return torch.special.entr(probs).sum(-1)
