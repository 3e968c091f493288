"""Settings of the context: what model and guide are conditioned on beside x."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pyro_vae._checks import check, check_integer
from pyro_vae.settings.checks import at_least, positive_or_zero, share, size
from pyro_vae.settings.declare import flag_of, setting, shown_settings
from pyro_vae.settings.part import Part, load

__all__ = ["ContextPart"]

PARTIAL = ("labelled_share", "classification_weight")
"""Settings of labels that are partly missing, beside how many are."""


class ContextPart(
    Part, kind="context", default="none", help="What model, guide and prior are conditioned on beside x"
):
    """A context, taken from a data set.

    Attributes:
        is_partial: Whether the labels are known for some training rows only.
    """

    is_partial = False

    def of(self, dataset: Any, seed: int) -> Any:
        """Return a data set whose splits yield `(x, *context)`.

        Args:
            dataset: As it was loaded.
            seed: Of the run.

        Raises:
            InputError: If the data set has nothing of the kind.
        """
        return dataset

    def objective(self, objective: Any, dataset: Any) -> Any:
        """Return what training maximises.

        Args:
            objective: As the settings of training name it.
            dataset: With its context.
        """
        return objective


class NoContext(ContextPart, name="none"):
    """Nothing."""


class SomeContext(ContextPart):
    """A context that there is."""

    context_prior: bool = setting(
        False,
        "A prior p(z | context) with it: a normal whose location and scale a network gives, of one hidden layer.",
    )

    def check(self, config: Any) -> None:
        """Check that one prior is chosen."""
        check(
            not self.context_prior or config.model.prior == "standard-normal",
            f"Expected --context-prior or --prior, not both; got --prior {config.model.prior}. Leave out one.",
        )
        check(
            not (self.context_prior and config.model.layers),
            "Expected one latent layer with --context-prior; got --layers. Leave out one.",
        )
        check(
            "mixture" not in config.run.sample_from or config.model.part("guide").is_point,
            "Expected --sample-from prior with context: the codes of all rows are not those of one context; got "
            f"{' '.join(config.run.sample_from)}. Leave it out.",
        )


class LabelContext(SomeContext, name="label", target="pyro_vae.data.label_context:with_labels"):
    """The class of each row, one-hot or embedded; log p(x) is log p(x | class)."""

    label_embedding: int = setting(
        0,
        "Size of a learned embedding of the classes, in each network; one-hot where 0.",
        check=at_least(0),
        shown="embedded in {}",
        unless=0,
    )
    missing_labels: float | None = setting(
        None,
        "Semi-supervised training (Kingma et al. 2014, M2): share of the training rows whose label is hidden, drawn by "
        "--seed, as many kept of each class. The class of a row without a label is summed out.",
        check=share("the training rows", whole=True),
        shown="{:g} of the labels hidden",
    )
    labelled_rows: int | None = setting(
        None,
        "The same by the number of training rows that keep their label.",
        check=size,
        shown="{} labelled rows",
    )
    labelled_share: float = setting(
        0.1,
        "Share of labelled rows among those that semi-supervised training goes through in an epoch, at least: where "
        "they are fewer they are gone through several times.",
        check=share("the rows of an epoch"),
    )
    classification_weight: float = setting(
        1.0,
        "Weight of the mean cross-entropy of the labelled rows beside the mean bound of all rows: alpha / N in eq. 9.",
        check=positive_or_zero,
        shown="classification weight {:g}",
        start=True,
    )

    @property
    def is_partial(self) -> bool:  # type: ignore[override]
        """Whether the labels are known for some training rows only."""
        return self.missing_labels is not None or self.labelled_rows is not None

    def check(self, config: Any) -> None:
        """Check that the hidden labels are counted once, and that the bound can sum them out."""
        super().check(config)
        check(
            self.missing_labels is None or self.labelled_rows is None,
            f"Expected either --missing-labels or --labelled-rows; got {self.missing_labels} and {self.labelled_rows}. "
            "Leave out one.",
        )
        if not self.is_partial:
            self._check_no_settings_of_partial_labels()
            return
        check(
            not config.model.layers,
            "Expected one latent layer with labels that are missing; got --layers. Leave it out.",
        )
        check(
            not config.model.part("guide").is_point,
            "Expected a guide with a density with labels that are missing, whose classes a bound sums out; got --guide "
            f"{config.model.guide}. Choose another, such as diagonal.",
        )
        check(
            config.training.objective == "elbo",
            "Expected --objective elbo with labels that are missing, whose classes it sums out; got "
            f"{config.training.objective}. Leave it out.",
        )
        check(
            config.training.free_bits == 0,
            f"Expected no --free-bits with labels that are missing; got {config.training.free_bits:g}. Leave it out.",
        )
        check(
            not self.context_prior,
            "Expected one prior of z for all classes with labels that are missing; got --context-prior. Leave it out.",
        )

    def _check_no_settings_of_partial_labels(self) -> None:
        defaults = {field.name: field.default for field in self.settings()}
        for name in PARTIAL:
            check(
                getattr(self, name) == defaults[name],
                f"Expected labels that are partly missing with {flag_of(name)}; got all of them. Give --labelled-rows "
                "or --missing-labels.",
            )

    def line(self) -> str:
        """Return what the opening lines of a run show."""
        shown = [field.name for field in self.settings() if self.is_partial or field.name not in PARTIAL]
        return ", ".join([self.name, *shown_settings(self, shown)])

    def of(self, dataset: Any, seed: int) -> Any:
        """Return a data set with its labels as context, most of them hidden where training is semi-supervised."""
        labelled = load(self.target)(dataset, partial=self.is_partial)
        if not self.is_partial:
            return labelled
        hide = load("pyro_vae.data.partial_labels:with_labels_hidden")
        return hide(labelled, self.missing_labels, self.labelled_rows, self.labelled_share, seed)

    def objective(self, objective: Any, dataset: Any) -> Any:
        """Return the ELBO with the classes summed out where training is semi-supervised."""
        if not self.is_partial:
            return objective
        settings = {field.name: getattr(objective, field.name) for field in fields(objective)}
        made = load("pyro_vae.objectives.semi_supervised:SemiSupervisedELBO")
        return made(**settings, num_classes=dataset.context.dim, weight=self.classification_weight)


class ColumnContext(SomeContext, name="columns", target="pyro_vae.data.entry_context:with_columns"):
    """Some columns of a table, standardized; x is the others."""

    context_columns: tuple[str, ...] = setting(
        (), "Their names, or their numbers counted from 0 where they have no names."
    )

    def of(self, dataset: Any, seed: int) -> Any:
        """Return a data set whose rows are parted into context and x."""
        return load(self.target)(dataset, self.context_columns)

    def line(self) -> str:
        """Return what the opening lines of a run show."""
        return ", ".join([f"columns {' '.join(self.context_columns)}", *shown_settings(self)])


class QuadrantContext(SomeContext, name="quadrants", target="pyro_vae.data.entry_context:with_quadrants"):
    """One, two or three quadrants of an image; x is the rest of its pixels."""

    quadrants: int = setting(
        1,
        "How many, 1 to 3: the lower left one, the left half, or all but the lower right one.",
        check=lambda value, name: check_integer(value, name, maximum=3),
        shown="{}",
    )

    def check(self, config: Any) -> None:
        """Check that the networks need no images."""
        super().check(config)
        check(
            config.model.network == "mlp",
            "Expected --network mlp with --context quadrants, whose x is the rest of an image and no image; got "
            f"{config.model.network}.",
        )

    def of(self, dataset: Any, seed: int) -> Any:
        """Return a data set whose images are parted into context and x."""
        return load(self.target)(dataset, self.quadrants)
