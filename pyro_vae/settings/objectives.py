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
    help="What training climbs; the ELBO of the validation rows is measured whatever it is",
):
    """An objective, made from the number of particles.

    Attributes:
        latents: The latents that it is for.
    """

    latents: ClassVar[tuple[str, ...]] = ("gaussian",)

    def of_rows(self, objective: Any, num_rows: int, batch_size: int) -> Any:
        """Return the objective for so many training rows in batches, where it depends on that."""
        return objective


class Weighted(ObjectivePart):
    """A bound whose divergence has a weight."""

    beta: float = setting(
        1.0,
        "Weight of the divergence from the prior in the training loss.",
        check=positive_or_zero,
        shown="beta {:g}",
        unless=1.0,
    )
    kl_warmup: float = setting(
        0.0,
        "Share of all steps in which that weight rises from 0.",
        check=share("all steps", whole=True),
        shown="kl warmup {:g}",
        spread=("the weight of the divergence (--kl-warmup)", 0.0),
        unless=0.0,
        argument="warmup",
    )
    free_bits: float = setting(
        0.0,
        "Nats of each dimension's divergence that the training loss does not lower.",
        check=positive_or_zero,
        shown="free bits {:g}",
        unless=0.0,
    )


class SeveralSamples(ObjectivePart):
    """A bound that weighs several samples of z against one another."""

    def check(self, config: Any) -> None:
        """Check that there are several samples."""
        check(
            config.training.num_particles > 1,
            f"Expected --num-particles of at least 2 with --objective {self.name}, which weighs samples against one "
            "another; got 1.",
        )


_ELBO, _SEVERAL = "pyro_vae.objectives.elbo", "pyro_vae.objectives.multisample"


class Elbo(Weighted, name="elbo", target=f"{_ELBO}:ELBO"):
    """The evidence lower bound, sampled."""


class AnalyticElbo(Weighted, name="analytic-elbo", target=f"{_ELBO}:AnalyticELBO"):
    """The ELBO, its divergence in closed form where there is one."""


class StickingTheLanding(Weighted, name="stl", target=f"{_ELBO}:STL"):
    """The ELBO without the part of its gradient that is noise alone (sticking the landing)."""


class Iwae(SeveralSamples, name="iwae", target=f"{_SEVERAL}:IWAE"):
    """The importance weighted bound of several samples."""


class DReg(SeveralSamples, name="dreg", target=f"{_SEVERAL}:DReG"):
    """The same with a gradient for the guide that keeps its signal."""


class Renyi(SeveralSamples, name="renyi", target=f"{_SEVERAL}:Renyi"):
    """A bound between elbo and iwae."""

    alpha: float = setting(0.5, "Order: 0 is iwae, 1 is elbo.", check=finite, shown="alpha {:g}")


class TotalCorrelation(
    ObjectivePart, name="tc", target="pyro_vae.objectives.total_correlation:TotalCorrelation"
):
    """The ELBO with weights for three parts of its divergence, the total correlation of z among them."""

    mi_weight: float = setting(
        1.0,
        "Weight of the mutual information of a row's number and z.",
        check=positive_or_zero,
        shown="mutual information x {:g}",
    )
    tc_weight: float = setting(
        6.0,
        "Weight of the total correlation of z's dimensions over all rows.",
        check=positive_or_zero,
        shown="total correlation x {:g}",
    )
    dimension_weight: float = setting(
        1.0,
        "Weight of the divergence of each dimension's distribution over all rows from the prior.",
        check=positive_or_zero,
        shown="dimensions x {:g}",
    )
    tc_sampling: Literal["stratified", "weighted"] = setting(
        "stratified",
        "How q(z) of all training rows is estimated from a batch: without bias, with the row's own share, or weighted "
        "(Chen et al. 2018, eq. 3).",
        shown="{} sampling",
        argument="sampling",
    )

    def check(self, config: Any) -> None:
        """Check that guide and prior factorise over the dimensions of one z."""
        model = config.model
        check(
            model.guide == "diagonal" and not model.layers,
            "Expected --guide diagonal and one latent layer with --objective tc, which takes z apart by "
            f"dimensions; got --guide {model.guide}{' and --layers' if model.layers else ''}.",
        )
        check(
            model.prior in ("standard-normal", "diagonal-normal"),
            "Expected --prior standard-normal or diagonal-normal with --objective tc, which takes z apart by "
            f"dimensions; got {model.prior}.",
        )

    def of_rows(self, objective: Any, num_rows: int, batch_size: int) -> Any:
        """Return the objective for so many training rows.

        Raises:
            InputError: If a batch has one row.
        """
        check(
            num_rows % batch_size != 1,
            f"Expected a --batch-size that leaves no batch of one row with --objective tc; {num_rows} training rows in "
            f"batches of {batch_size} leave one. Choose another.",
        )
        return dataclasses.replace(objective, num_rows=num_rows)


class Reconstruction(
    ObjectivePart, name="reconstruction", target="pyro_vae.objectives.reconstruction:Reconstruction"
):
    """The error of reconstructions, which --guide point has in place of a bound."""

    def check(self, config: Any) -> None:
        """Check that the guide is a point."""
        check(
            config.model.part("guide").is_point,
            f"Expected --guide point with --objective reconstruction, which is no bound; got --guide "
            f"{config.model.guide}. Leave out --objective.",
        )


class WakeSleep(
    SeveralSamples, name="wake-sleep", target="pyro_vae.objectives.wake_sleep:ReweightedWakeSleep"
):
    """The importance weighted bound for the model, and a divergence of its own for the guide."""

    latents = ("gaussian", "categorical", "bernoulli")
