"""Base class of objectives: frozen dataclasses that return a loss when called with two programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from pyro_vae._checks import check_integer
from pyro_vae._programs import local_parameters
from pyro_vae.objectives.draws import Draws
from pyro_vae.objectives.rows import draw
from pyro_vae.objectives.support_checks import check_bound_exists

__all__ = ["Loss", "Objective", "Terms"]


class Terms(NamedTuple):
    """The result of one evaluation of an objective.

    For `Reconstruction`, which is not a bound, the two parts are the error and the squared norm of the codes.
    """

    loss: Tensor
    """The loss to minimize, scalar, nats per example; differentiable."""
    reconstruction: Tensor
    """log p(x | z), averaged over particles, shape (N,), nats; detached, and without scales of `poutine.scale`."""
    kl: Tensor
    """log q(z | x) - log p(z), averaged over particles, shape (N,), nats; detached. For every objective
    `reconstruction - kl` is the ELBO with weight one, independent of the loss."""


@dataclass(frozen=True)
class Objective:
    """Base class of objectives. Subclasses define in `loss` how the loss follows from the draws.

    Args:
        num_particles: Samples of z per row and step.
        max_plate_nesting: Depth of nested plates in the programs, 1 if `"data"` is the only plate.

    Raises:
        InputError: If an argument is out of range.
    """

    num_particles: int = 1
    max_plate_nesting: int = 1

    cut: ClassVar[bool] = False
    """Whether `loss` needs draws detached from the guide (`cut`); see `draw`."""
    is_bound: ClassVar[bool] = True
    """Whether minus the loss is a bound on log p(x): the guide needs a density, otherwise a point mass."""

    def __post_init__(self) -> None:
        check_integer(self.num_particles, "num_particles")
        check_integer(self.max_plate_nesting, "max_plate_nesting")

    @property
    def is_elbo(self) -> bool:
        """Whether minus the loss at the end of training is the ELBO in expectation."""
        return False

    def __call__(self, model: Callable[..., Any], guide: Callable[..., Any]) -> Loss:
        """Return the loss of `model` and `guide`, a module: `loss(x)` is a scalar in nats per example."""
        return Loss(self, model, guide)

    def terms(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any],
        data: tuple[Tensor, ...],
        progress: Tensor | None,
    ) -> Terms:
        """Return the loss with its parts for a batch, under `local_parameters`.

        Args:
            model: A Pyro program.
            guide: A Pyro program.
            data: Arguments of both programs.
            progress: Progress of training, see `loss`.
        """
        draws = self.draws(model, guide, data, progress)
        check_bound_exists(draws.model_sites, draws.guide_sites)
        loss = self.loss(draws, progress)
        reconstruction, kl = self.bound_terms(draws)
        return Terms(loss, reconstruction.detach(), kl.detach())

    def draws(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any],
        data: tuple[Tensor, ...],
        progress: Tensor | None,
    ) -> Draws:
        """Run guide and model; arguments as for `terms`."""
        particles, nesting = self.num_particles, self.max_plate_nesting
        return draw(model, guide, *data, num_particles=particles, max_plate_nesting=nesting, cut=self.cut)

    def bound_terms(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """Return log p(x | z) and log q(z | x) - log p(z) of each row, averaged over z, each of shape (N,), nats."""
        return draws.reported.likelihood.mean(0), draws.reported_kl.mean(0)

    def loss(self, draws: Draws, progress: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar in nats per example.

        Args:
            draws: A run of guide and model.
            progress: Fraction of training done, a scalar in [0, 1]; None for the end of training.
        """
        raise NotImplementedError

    @staticmethod
    def named(first: float, second: float) -> dict[str, float]:
        """Return means of the two parts, and derived numbers, by name."""
        return {"elbo": first - second, "reconstruction": first, "kl": second}


class Loss(nn.Module):
    """An objective bound to a model and a guide.

    Args:
        objective: The objective.
        model: A Pyro program, module or function.
        guide: A Pyro program, module or function.
    """

    def __init__(self, objective: Objective, model: Callable[..., Any], guide: Callable[..., Any]) -> None:
        super().__init__()
        self.objective = objective
        self.model = model
        self.guide = guide

    def terms(self, *data: Tensor, progress: Tensor | None = None) -> Terms:
        """Return the loss with its parts for a batch; see `Terms`.

        Args:
            data: Arguments of model and guide.
            progress: Fraction of training done, a scalar in [0, 1]; None for the end of training.
        """
        with local_parameters():
            return self.objective.terms(self.model, self.guide, data, progress)

    def forward(self, *data: Tensor) -> Tensor:
        """Return the loss for a batch at the end of training, a scalar in nats per example."""
        return self.terms(*data).loss
