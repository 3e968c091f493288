"""The evidence lower bound with class labels for some rows; classes are summed out exactly for the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae._checks import check, check_integer, check_positive
from pyro_vae.data.contexts import MISSING
from pyro_vae.objectives.divergences import sampled_kl
from pyro_vae.objectives.draws import Draws
from pyro_vae.objectives.elbo import ELBO
from pyro_vae.objectives.loss import Terms
from pyro_vae.objectives.rows import draw
from pyro_vae.objectives.sites import AtValues
from pyro_vae.objectives.support_checks import check_bound_exists

__all__ = ["SemiSupervisedELBO"]

SITE = "y"


@dataclass(frozen=True)
class SemiSupervisedELBO(ELBO):
    """The bound `sum_y q(y | x) (log p(x, y, z) - log q(z | x, y) - log q(y | x))`, summed exactly over classes.

    Kingma et al. 2014, eq. 7: z ~ q(z | x, y) is drawn for each class. For labelled rows the guide's q(y | x) has all
    mass on the label, and the bound is that of eq. 6. For the labelled rows of a batch, the classification term of
    eq. 9 is added to the mean over rows, `weight * mean log q(y = label | x)`; in the paper `weight`
    is alpha / N.

    Args:
        num_particles: Samples of z for each row, class and step.
        max_plate_nesting: Depth of nested plates, see `ELBO`.
        beta: Weight of the divergence, see `ELBO`.
        warmup: Warm-up of that weight, see `ELBO`.
        free_bits: Must be 0.
        num_classes: K, the number of classes of the site "y": 0 to K - 1.
        weight: Weight of the classification term.

    Raises:
        InputError: If an argument is out of range.
    """

    num_classes: int = 2
    weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer(self.num_classes, "num_classes", 2)
        check_positive(self.weight, "weight", zero=True)
        check(
            self.free_bits == 0,
            f"Expected free_bits of 0 with SemiSupervisedELBO; got {self.free_bits}.",
        )

    @property
    def is_elbo(self) -> bool:
        """Whether minus the loss at the end of training is the ELBO in expectation."""
        return super().is_elbo and self.weight == 0

    def terms(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any],
        data: tuple[Tensor, ...],
        progress: Tensor | None,
    ) -> Terms:
        """Return loss and bound of a batch of rows and labels, -1 for a missing label."""
        draws = self._draw_each_class(model, guide, *data)
        check_bound_exists(draws.model_sites, draws.guide_sites)
        q = self._class_probs(draws)
        loss = -(q * self._weighted_bound(draws, progress, sampled_kl)).sum(0).mean()
        if len(data) > 1 and self.weight > 0:
            loss = loss + self.weight * _cross_entropy(guide, *data)
        reported, q = draws.reported, q.detach()
        kl = q * (reported.guide - reported.prior).detach()
        return Terms(loss, (q * reported.likelihood.detach()).sum(0), kl.sum(0))

    def _draw_each_class(self, model: Callable[..., Any], guide: Callable[..., Any], *data: Tensor) -> Draws:
        """Return draws with `num_particles` particles for each class."""
        rows = len(data[0])
        classes = torch.arange(self.num_classes, device=data[0].device).repeat(self.num_particles)
        return draw(
            model,
            guide,
            *data,
            num_particles=len(classes),
            max_plate_nesting=self.max_plate_nesting,
            values={SITE: classes.unsqueeze(-1).expand(-1, rows)},
        )

    def _class_probs(self, draws: Draws) -> Tensor:
        """Return the weight of each draw, q(y | x) / num_particles, shape (num_particles * num_classes, N)."""
        (site,) = (site for site in draws.guide_sites if site["name"] == SITE)
        probs: Tensor = site["unscaled_log_prob"].exp() / self.num_particles
        return probs


def _cross_entropy(guide: Callable[..., Any], x: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of -log q(y = label | x) over the labelled rows; 0 without labelled rows."""
    known = labels != MISSING
    hidden = torch.full_like(labels, MISSING)
    at_labels = AtValues({SITE: labels.clamp_min(0)})(guide)
    site = poutine.trace(at_labels).get_trace(x, hidden).nodes[SITE]
    log_probs: Tensor = site["fn"].log_prob(site["value"])
    return -torch.where(known, log_probs, 0.0).sum() / known.sum().clamp_min(1)
