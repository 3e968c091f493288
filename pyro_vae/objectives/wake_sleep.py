"""Reweighted wake-sleep: separate gradients for model and guide, none through samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae._checks import check
from pyro_vae.objectives.draws import Draws
from pyro_vae.objectives.multisample import IWAE
from pyro_vae.objectives.sites import data_site, sample_sites, score, training_log_prob

__all__ = ["ReweightedWakeSleep"]


@dataclass(frozen=True)
class ReweightedWakeSleep(IWAE):
    """Reweighted wake-sleep (Bornschein & Bengio 2015, eqs. 6 to 9); the loss's value is minus the bound of `IWAE`.

    The model maximizes that bound. The guide maximizes `sum_k v_k log q(z_k | x)` at rows x of the data, with
    normalized weights v and fixed samples (wake), and `log q(z | x)` at x and z drawn from the model (sleep). Samples
    need not be reparameterized.

    Args:
        num_particles: Samples of z per row and step, K.
        max_plate_nesting: Depth of nested plates in the programs, 1 if `"data"` is the only plate.
        insomnia: Share of wake in the guide's gradient, in [0, 1]; the rest is sleep. Named as in Pyro.

    Raises:
        InputError: If an argument is out of range.
    """

    insomnia: float = 1.0

    cut: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            0 <= self.insomnia <= 1, f"Expected insomnia in [0, 1], the share of wake; got {self.insomnia}."
        )

    def loss(self, draws: Draws, progress: Tensor | None = None) -> Tensor:
        """Return a scalar with minus the bound's value, in nats per example, and the gradients of wake-sleep."""
        log_probs = draws.log_probs
        bound = self.bound(log_probs.log_weights).detach()
        weights = log_probs.log_weights.detach().softmax(0)
        wake = log_probs.likelihood + log_probs.prior + self.insomnia * log_probs.guide
        surrogate = (weights * wake).sum(0).mean()
        if self.insomnia < 1:
            surrogate = surrogate + (1 - self.insomnia) * _sleep(draws)
        return -(bound.mean() + surrogate - surrogate.detach())


def _sleep(draws: Draws) -> Tensor:
    """Return the mean over rows of log q(z | x) at z and x drawn from the model, nats per example.

    Raises:
        InputError: If the model observes several sites, or a value whose shape is not that of the rows.
    """
    rows = draws.data[0]
    with torch.no_grad():
        dream = poutine.trace(poutine.uncondition(draws.model)).get_trace(*draws.data)
    x = data_site(dream, rows)["value"].reshape(rows.shape).to(rows.dtype)
    sites = sample_sites(
        poutine.trace(poutine.replay(draws.guide, trace=dream)).get_trace(x, *draws.data[1:])
    )
    for site in sites:
        score(site)
    return sum((training_log_prob(site).sum() for site in sites), start=x.new_zeros(())) / len(x)
