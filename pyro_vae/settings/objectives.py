"""Settings of the objectives."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

from pyro_vae._checks import check
from pyro_vae.settings.checks import finite, positive_or_zero, share
from pyro_vae.settings.declare import setting
from pyro_vae.settings.part import Part

__all__ = ["ObjectivePart"]


class ObjectivePart(
    Part,
    kind="objective",
    default="elbo",
    help="Objective that training maximises; the ELBO of the validation rows is measured in any case",
):
    """An objective. Its constructor takes the number of particles.

    Attributes:
        latents: Names of the latents that it supports.
    """

    latents: ClassVar[tuple[str, ...]] = ("gaussian",)

    def of_rows(self, objective: Any, num_rows: int, batch_size: int) -> Any:
        """Return the objective for a number of training rows and a batch size."""
        return objective


class Weighted(ObjectivePart):
    """A bound with a weight of its KL divergence."""

    beta: float = setting(
        1.0,
        "Weight of the KL divergence from the prior in the training loss.",
        check=positive_or_zero,
        shown="beta {:g}",
        unless=1.0,
    )
    kl_warmup: float = setting(
        0.0,
        "Share of all steps in which the weight of the KL divergence rises from 0 to --beta.",
        check=share("all steps", whole=True),
        shown="kl warmup {:g}",
        spread=("the weight of the divergence (--kl-warmup)", 0.0),
        unless=0.0,
        argument="warmup",
    )
    free_bits: float = setting(
        0.0,
        "KL divergence of each dimension, in nats, below which the training loss does not reduce it.",
        check=positive_or_zero,
        shown="free bits {:g}",
        unless=0.0,
    )


class SeveralSamples(ObjectivePart):
    """A bound with relative weights of several samples of z."""

    def check(self, config: Any) -> None:
        """Check that there are several samples."""
        check(
            config.training.num_particles > 1,
            f"Expected --num-particles of at least 2 with --objective {self.name}, which needs relative weights of "
            "several samples; got 1.",
        )


_ELBO, _SEVERAL = "pyro_vae.objectives.elbo", "pyro_vae.objectives.multisample"


class Elbo(Weighted, name="elbo", target=f"{_ELBO}:ELBO"):
    """The evidence lower bound, estimated from samples."""


class AnalyticElbo(Weighted, name="analytic-elbo", target=f"{_ELBO}:AnalyticELBO"):
    """The ELBO with the KL divergence in closed form, if there is one."""


class StickingTheLanding(Weighted, name="stl", target=f"{_ELBO}:STL"):
    """The ELBO without the score term of its gradient, which has mean zero (sticking the landing)."""


class Iwae(SeveralSamples, name="iwae", target=f"{_SEVERAL}:IWAE"):
    """The importance-weighted bound of several samples."""


class DReg(SeveralSamples, name="dreg", target=f"{_SEVERAL}:DReG"):
    """The importance-weighted bound with doubly reparameterized gradients of the guide."""


class Renyi(SeveralSamples, name="renyi", target=f"{_SEVERAL}:Renyi"):
    """The Rényi bound, between elbo and iwae."""

    alpha: float = setting(0.5, "Order: 0 is iwae, 1 is elbo.", check=finite, shown="alpha {:g}")


class TotalCorrelation(
    ObjectivePart, name="tc", target="pyro_vae.objectives.total_correlation:TotalCorrelation"
):
    """The ELBO with separate weights of mutual information, total correlation and dimension-wise divergence."""

    mi_weight: float = setting(
        1.0,
        "Weight of the mutual information between row index and z.",
        check=positive_or_zero,
        shown="mutual information x {:g}",
    )
    tc_weight: float = setting(
        6.0,
        "Weight of the total correlation of z.",
        check=positive_or_zero,
        shown="total correlation x {:g}",
    )
    dimension_weight: float = setting(
        1.0,
        "Weight of the dimension-wise KL divergence of the aggregate posterior from the prior.",
        check=positive_or_zero,
        shown="dimensions x {:g}",
    )
    tc_sampling: Literal["stratified", "weighted"] = setting(
        "stratified",
        "Estimator of q(z) of all training rows from a batch: stratified (unbiased; the row itself has weight 1/N), or "
        "weighted (Chen et al. 2018, eq. 3).",
        shown="{} sampling",
        argument="sampling",
    )

    def check(self, config: Any) -> None:
        """Check that guide and prior factorise over the dimensions of one z."""
        model = config.model
        check(
            model.guide == "diagonal" and not model.layers,
            "Expected --guide diagonal and one latent layer with --objective tc, which needs densities of single "
            f"dimensions; got --guide {model.guide}{' and --layers' if model.layers else ''}.",
        )
        check(
            model.prior in ("standard-normal", "diagonal-normal"),
            "Expected --prior standard-normal or diagonal-normal with --objective tc, which needs densities of single "
            f"dimensions; got {model.prior}.",
        )

    def of_rows(self, objective: Any, num_rows: int, batch_size: int) -> Any:
        """Return the objective for a number of training rows.

        Raises:
            InputError: If a batch has one row.
        """
        check(
            num_rows % batch_size != 1,
            f"Expected a --batch-size that leaves no batch of one row with --objective tc; {num_rows} training rows in "
            f"batches of {batch_size} leave one. Choose another size.",
        )
        return dataclasses.replace(objective, num_rows=num_rows)


class Reconstruction(
    ObjectivePart, name="reconstruction", target="pyro_vae.objectives.reconstruction:Reconstruction"
):
    """The reconstruction error, the objective of --guide point."""

    def check(self, config: Any) -> None:
        """Check that the guide is a point."""
        check(
            config.model.part("guide").is_point,
            f"Expected --guide point with --objective reconstruction, which is not a bound; got --guide "
            f"{config.model.guide}. Leave out --objective.",
        )


class WakeSleep(
    SeveralSamples, name="wake-sleep", target="pyro_vae.objectives.wake_sleep:ReweightedWakeSleep"
):
    """Reweighted wake-sleep: the importance-weighted bound for the model, an inclusive KL divergence for the guide."""

    latents = ("gaussian", "categorical", "bernoulli")
