"""The loss of an autoencoder: reconstruction error with penalties on codes and decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits

from pyro_vae._checks import check, check_choice, check_positive
from pyro_vae.objectives.draws import Draws
from pyro_vae.objectives.loss import Objective, Terms
from pyro_vae.objectives.rows import draw
from pyro_vae.objectives.sites import Site

__all__ = ["ERRORS", "Reconstruction"]


@dataclass(frozen=True)
class Reconstruction(Objective):
    """The reconstruction error of a point guide: `e(x, d(z)) + code_penalty |z|^2 / 2 + decoder_penalty |w|^2`.

    Here z is the code of the guide, d(z) the mean of the model's distribution at the observed site, and w the weights
    of the decoder: the regularized autoencoder of Ghosh et al. 2020, section 3, with their beta and lambda. It is not
    a bound on log p(x), and the prior is not used. "squared" is `sum_j (x_j - d_j)^2`, "absolute" `sum_j |x_j - d_j|`,
    "cross-entropy" `-sum_j x_j log d_j + (1 - x_j) log(1 - d_j)` for x in [0, 1], in nats.

    Args:
        num_particles: Must be 1: all samples of a point mass are equal.
        max_plate_nesting: Depth of nested plates in the programs, 1 if `"data"` is the only plate.
        error: One of `ERRORS`.
        code_penalty: Weight of half the squared norm of the codes.
        decoder_penalty: Weight of the squared norm of the decoder's parameters (`model.decoder`, or the whole model
            without one).

    Raises:
        InputError: If an argument is out of range.
    """

    error: str = "squared"
    code_penalty: float = 0.0
    decoder_penalty: float = 0.0

    is_bound: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            self.num_particles == 1,
            f"Expected num_particles of 1 with Reconstruction, since all samples of a point mass are equal; got "
            f"{self.num_particles}.",
        )
        check_choice(self.error, ERRORS, "error")
        check_positive(self.code_penalty, "code_penalty", zero=True)
        check_positive(self.decoder_penalty, "decoder_penalty", zero=True)

    def terms(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any],
        data: tuple[Tensor, ...],
        progress: Tensor | None,
    ) -> Terms:
        """Return the loss, and error and squared norm of the code of each row."""
        draws = draw(model, guide, *data, max_plate_nesting=self.max_plate_nesting, bound=False)
        return Terms(self.loss(draws, progress), *(part.detach() for part in self.parts(draws)))

    def loss(self, draws: Draws, progress: Tensor | None = None) -> Tensor:
        """Return the loss, the mean over rows."""
        error, squared_norm = self.parts(draws)
        loss = error.mean()
        if self.code_penalty:
            loss = loss + self.code_penalty / 2 * squared_norm.mean()
        if self.decoder_penalty:
            squares = (p.square().sum() for p in _decoder_parameters(draws.model))
            loss = loss + self.decoder_penalty * sum(squares, start=loss.new_zeros(()))
        return loss

    def parts(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """Return the error and the squared norm of the code of each row, shape (N,)."""
        observed = [site for site in draws.model_sites if site["is_observed"]]
        errors = [draws.per_row(site, _summed(site, ERRORS[self.error](site))) for site in observed]
        norms = [draws.per_row(site, _summed(site, site["value"].square())) for site in draws.guide_sites]
        return sum(errors[1:], start=errors[0])[0], sum(norms[1:], start=norms[0])[0]

    @staticmethod
    def named(first: float, second: float) -> dict[str, float]:
        """Return means of the two parts by name."""
        return {"error": first, "squared_norm": second}


def _summed(site: Site, values: Tensor) -> Tensor:
    """Return the sum of values over the event of a site."""
    event_dim = site["fn"].event_dim
    return values.flatten(-event_dim).sum(-1) if event_dim else values


def _decoder_parameters(model: Any) -> Iterable[Tensor]:
    decoder = getattr(model, "decoder", model)
    check(
        isinstance(decoder, nn.Module),
        "Expected a model that is a module, or has one as `decoder`, for the weights of decoder_penalty; got "
        f"{type(model).__name__}. Leave out decoder_penalty.",
    )
    return decoder.parameters()


def _difference(site: Site) -> Tensor:
    difference: Tensor = site["value"] - site["fn"].mean
    unit = getattr(site["fn"], "unit", None)
    return difference if unit is None else difference / unit


def _cross_entropy(site: Site) -> Tensor:
    x, fn = site["value"], site["fn"]
    base = fn
    while not hasattr(base, "logits") and hasattr(base, "base_dist"):
        base = base.base_dist
    logits = getattr(base, "logits", None)
    if logits is not None:
        return binary_cross_entropy_with_logits(logits.expand_as(x), x, reduction="none")
    return binary_cross_entropy(fn.mean.expand_as(x), x, reduction="none")


ERRORS: dict[str, Callable[[Site], Tensor]] = {
    "squared": lambda site: _difference(site).square(),
    "absolute": lambda site: _difference(site).abs(),
    "cross-entropy": _cross_entropy,
}
"""Error functions per column by name, as functions of the observed site."""
