"""Settings of the likelihoods."""

from __future__ import annotations

from typing import Any, ClassVar

from pyro_vae._checks import check
from pyro_vae.settings.checks import scale, size
from pyro_vae.settings.declare import setting
from pyro_vae.settings.part import DataFacts, Part

__all__ = ["LikelihoodPart"]


class LikelihoodPart(Part, kind="likelihood", default="gaussian", help="p(x | z)"):
    """A likelihood. Its constructor takes the mean and standard deviation of each column of the training split.

    Attributes:
        needs: Names of further constructor arguments: "levels", "data_shape", "columns".
        error: The corresponding reconstruction error of an autoencoder.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    error: ClassVar[str] = "squared"


class LearnedScale(LikelihoodPart):
    """A likelihood with learned standard deviations that have a lower limit."""

    scale_floor: float | None = setting(
        None,
        "Smallest standard deviation of a column of x given z, in data units. Default: chosen from the data, printed.",
        check=scale,
        shown="standard deviation of at least {:.3g} in data units",
    )

    def resolved(self, facts: DataFacts) -> dict[str, Any]:
        """Choose a floor: 1 % of the typical standard deviation, or of the smallest one if units differ."""
        if self.scale_floor is not None:
            return {}
        chosen = facts.typical_scale if facts.one_unit else facts.smallest_scale
        return {"scale_floor": three_digits(0.01 * chosen)}


_NORMAL = "pyro_vae.likelihoods.normal"


class Gaussian(
    LearnedScale,
    name="gaussian",
    target=f"{_NORMAL}:GaussianLikelihood",
    formula="N(loc(z), diag(scale(z)²))",
    data="real measurements; dequantized images",
):
    """A location and a scale for each column, both functions of z: a learned diagonal covariance."""


class GaussianShared(
    LearnedScale,
    name="gaussian-shared",
    target=f"{_NORMAL}:GaussianWithSharedScale",
    formula="N(loc(z), diag(scale²))",
    data="real measurements with noise that does not depend on z",
):
    """One learned scale for each column; with a linear decoder, factor analysis."""


class GaussianIsotropic(
    LearnedScale,
    name="gaussian-isotropic",
    target=f"{_NORMAL}:GaussianWithIsotropicScale",
    formula="N(loc(z), scale² I)",
    data="real measurements in one unit, with noise that does not depend on z",
):
    """One learned scale for all columns; with a linear decoder, probabilistic PCA."""


class GaussianFixed(
    LikelihoodPart,
    name="gaussian-fixed",
    target=f"{_NORMAL}:GaussianWithFixedScale",
    formula="N(loc(z), scale² I), scale given",
    data="real values where only distances matter",
):
    """A fixed scale: Euclidean distance."""

    fixed_scale: float | None = setting(
        None,
        "The scale, in data units. Default: chosen from the data, printed.",
        check=scale,
        shown="standard deviation of {:.3g} in data units",
    )

    def resolved(self, facts: DataFacts) -> dict[str, Any]:
        """Choose a scale: half the typical standard deviation, or the geometric mean of all if units differ."""
        if self.fixed_scale is not None:
            return {}
        chosen = 0.5 * facts.typical_scale if facts.one_unit else facts.geometric_scale
        return {"fixed_scale": three_digits(chosen)}


class Laplace(
    LearnedScale,
    name="laplace",
    target="pyro_vae.likelihoods.laplace:LaplaceLikelihood",
    formula="Laplace(loc(z), scale(z) / √2)",
    data="real measurements with some large errors",
):
    """Absolute (L1) distance."""

    error = "absolute"


class StudentT(
    LearnedScale,
    name="student-t",
    target="pyro_vae.likelihoods.student_t:StudentTLikelihood",
    formula="StudentT(df, loc(z), scale(z))",
    data="real measurements with outliers",
):
    """Heavy tails, with learned degrees of freedom for each column."""

    scale_floor: float | None = setting(
        None,
        "Smallest scale of a column of x given z.",
        check=scale,
        shown="scale of at least {:.3g} in data units",
    )


class Bernoulli(
    LikelihoodPart,
    name="bernoulli",
    target="pyro_vae.likelihoods.bernoulli:BernoulliLikelihood",
    formula="Bernoulli(logits(z))",
    data="binary columns; black-and-white images",
):
    """Zeros and ones."""

    error = "cross-entropy"


class ContinuousBernoulli(
    LikelihoodPart,
    name="continuous-bernoulli",
    target="pyro_vae.likelihoods.continuous_bernoulli:ContinuousBernoulliLikelihood",
    formula="C(l(z)) exp(l(z) x), x in [0, 1]",
    data="proportions; dequantized grey images that are nearly black and white",
):
    """A density on [0, 1]: binary cross-entropy with its normalizing constant."""

    error = "cross-entropy"


class Categorical(
    LikelihoodPart,
    name="categorical",
    target="pyro_vae.likelihoods.categorical:CategoricalLikelihood",
    formula="Categorical(softmax(logits(z)))",
    data="integers of up to a few hundred levels; small grey images",
):
    """A free probability for each integer level."""

    needs = ("levels",)


class DiscretizedLogistic(
    LikelihoodPart,
    name="discretized-logistic",
    target="pyro_vae.likelihoods.discretized_logistic:DiscretizedLogisticLikelihood",
    formula="F((x + h - loc(z)) / s(z)) - F((x - h - loc(z)) / s(z))",
    data="ordered integers of many levels; grey images",
):
    """A logistic distribution rounded to integer levels."""

    needs = ("levels",)


class LogisticMixture(
    LikelihoodPart,
    name="logistic-mixture",
    target="pyro_vae.likelihoods.logistic_mixture:LogisticMixtureLikelihood",
    formula="Σₖ wₖ(z) Πᵢ DiscretizedLogistic(locₖᵢ(z) + Σⱼ aₖᵢⱼ(z) xⱼ, sₖᵢ(z))",
    data="colour images; grey images with multimodal pixels",
):
    """A mixture of discretized logistics for each pixel; the location of a channel is linear in earlier channels."""

    needs = ("levels", "data_shape")

    likelihood_components: int = setting(
        5,
        "Number of mixture components for each pixel.",
        check=size,
        shown="{} components a pixel",
        argument="num_components",
    )


class Table(
    LikelihoodPart,
    name="table",
    target="pyro_vae.likelihoods.table:TableLikelihood",
    formula="Πⱼ pⱼ(xⱼ given z), normal, t, log-normal, negative binomial, Poisson, Bernoulli, ordinal, categorical",
    data="tables with columns of different kinds and missing entries",
):
    """A density for each column by its kind; missing entries are marginalized exactly."""

    needs = ("columns",)

    def check(self, config: Any) -> None:
        """Check that no part is chosen that treats all columns as real numbers."""
        model = config.model
        for flag, value, expected in (
            ("--guide", model.guide, "point"),
            ("--prior", model.prior, "vampprior"),
            ("--network", model.network, "convolutional"),
        ):
            check(
                value != expected,
                f"Expected another {flag} than {expected} with --likelihood table, whose columns differ in kind.",
            )
        check(
            model.corrupt == "none",
            f"Expected --corrupt none with --likelihood table, whose columns differ in kind; got {model.corrupt}.",
        )


def three_digits(value: float) -> float:
    """Round a number to the three significant digits that are printed."""
    return float(f"{value:.3g}")
