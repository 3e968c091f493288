"""Settings of the context: the additional inputs of model, guide and prior."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pyro_vae._checks import check, check_integer
from pyro_vae.settings.checks import at_least, positive_or_zero, share, size
from pyro_vae.settings.declare import flag_of, setting, shown_settings
from pyro_vae.settings.part import Part, load

__all__ = ["ContextPart"]

PARTIAL = ("labelled_share", "classification_weight")
"""Settings of semi-supervised training, apart from the number of labelled rows."""


class ContextPart(Part, kind="context", default="none", help="Additional input of model, guide and prior"):
    """A context taken from the data set.

    Attributes:
        is_partial: Whether only some of the training rows have a label.
    """

    is_partial = False

    def of(self, dataset: Any, seed: int) -> Any:
        """Return a data set whose splits yield `(x, *context)`.

        Args:
            dataset: The loaded data set.
            seed: Seed of the run.

        Raises:
            InputError: If the data set does not contain this context.
        """
        return dataset

    def objective(self, objective: Any, dataset: Any) -> Any:
        """Return the objective of training.

        Args:
            objective: The objective chosen in the settings of training.
            dataset: The data set with its context.
        """
        return objective


class NoContext(ContextPart, name="none"):
    """No context."""


class SomeContext(ContextPart):
    """Any context other than none."""

    context_prior: bool = setting(
        False,
        "Use a prior p(z | context): a normal whose location and scale are the outputs of a network with one hidden "
        "layer.",
    )

    def check(self, config: Any) -> None:
        """Check that at most one prior is chosen, and that the other settings support a context."""
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
            "Expected --sample-from prior with context: the mixture is fitted to codes of all contexts together; got "
            f"{' '.join(config.run.sample_from)}. Leave it out.",
        )


class LabelContext(SomeContext, name="label", target="pyro_vae.data.label_context:with_labels"):
    """The class of each row, one-hot or embedded; log p(x) becomes log p(x | class)."""

    label_embedding: int = setting(
        0,
        "Size of the learned embedding of the classes in each network; 0 uses one-hot codes.",
        check=at_least(0),
        shown="embedded in {}",
        unless=0,
    )
    missing_labels: float | None = setting(
        None,
        "Semi-supervised training (Kingma et al. 2014, M2): share of the training rows whose label is hidden. --seed "
        "selects them; if possible, all classes keep equally many labels. The class of an unlabelled row is summed "
        "out.",
        check=share("the training rows", whole=True),
        shown="{:g} of the labels hidden",
    )
    labelled_rows: int | None = setting(
        None,
        "Semi-supervised training with this number of labelled training rows; an alternative to --missing-labels.",
        check=size,
        shown="{} labelled rows",
    )
    labelled_share: float = setting(
        0.1,
        "Smallest share of labelled rows in an epoch of semi-supervised training. If there are fewer, they are "
        "repeated.",
        check=share("the rows of an epoch"),
    )
    classification_weight: float = setting(
        1.0,
        "Weight of the mean cross-entropy of the labelled rows, added to the mean bound of all rows: alpha / N in eq. "
        "9.",
        check=positive_or_zero,
        shown="classification weight {:g}",
        start=True,
    )

    @property
    def is_partial(self) -> bool:  # type: ignore[override]
        """Whether only some of the training rows have a label."""
        return self.missing_labels is not None or self.labelled_rows is not None

    def check(self, config: Any) -> None:
        """Check that one number of labels is given, and that the bound can sum out the hidden ones."""
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
            "Expected one latent layer with missing labels; got --layers. Leave it out.",
        )
        check(
            not config.model.part("guide").is_point,
            "Expected a guide with a density with missing labels, because the bound sums out the classes; got --guide "
            f"{config.model.guide}. Choose another, such as diagonal.",
        )
        check(
            config.training.objective == "elbo",
            "Expected --objective elbo with missing labels, because it sums out the classes; got "
            f"{config.training.objective}. Leave it out.",
        )
        check(
            config.training.free_bits == 0,
            f"Expected no --free-bits with missing labels; got {config.training.free_bits:g}. Leave it out.",
        )
        check(
            not self.context_prior,
            "Expected one prior of z for all classes with missing labels; got --context-prior. Leave it out.",
        )

    def _check_no_settings_of_partial_labels(self) -> None:
        defaults = {field.name: field.default for field in self.settings()}
        for name in PARTIAL:
            check(
                getattr(self, name) == defaults[name],
                f"Expected missing labels with {flag_of(name)}; got labels for all rows. Add --labelled-rows or "
                "--missing-labels.",
            )

    def line(self) -> str:
        """Return what the opening lines of a run show."""
        shown = [field.name for field in self.settings() if self.is_partial or field.name not in PARTIAL]
        return ", ".join([self.name, *shown_settings(self, shown)])

    def of(self, dataset: Any, seed: int) -> Any:
        """Return a data set with its labels as context; in semi-supervised training some of them are hidden."""
        labelled = load(self.target)(dataset, partial=self.is_partial)
        if not self.is_partial:
            return labelled
        hide = load("pyro_vae.data.partial_labels:with_labels_hidden")
        return hide(labelled, self.missing_labels, self.labelled_rows, self.labelled_share, seed)

    def objective(self, objective: Any, dataset: Any) -> Any:
        """Return the objective; in semi-supervised training, the ELBO with the classes summed out."""
        if not self.is_partial:
            return objective
        settings = {field.name: getattr(objective, field.name) for field in fields(objective)}
        made = load("pyro_vae.objectives.semi_supervised:SemiSupervisedELBO")
        return made(**settings, num_classes=dataset.context.dim, weight=self.classification_weight)


class ColumnContext(SomeContext, name="columns", target="pyro_vae.data.entry_context:with_columns"):
    """Some columns of a table, standardized; x is the other columns."""

    context_columns: tuple[str, ...] = setting(
        (), "Names of the columns, or their numbers counted from 0 if they have no names."
    )

    def of(self, dataset: Any, seed: int) -> Any:
        """Return a data set whose rows are split into context and x."""
        return load(self.target)(dataset, self.context_columns)

    def line(self) -> str:
        """Return what the opening lines of a run show."""
        return ", ".join([f"columns {' '.join(self.context_columns)}", *shown_settings(self)])


class QuadrantContext(SomeContext, name="quadrants", target="pyro_vae.data.entry_context:with_quadrants"):
    """One, two or three quadrants of an image; x is the rest of its pixels."""

    quadrants: int = setting(
        1,
        "Number of quadrants, 1 to 3: the lower left one, the left half, or all but the lower right one.",
        check=lambda value, name: check_integer(value, name, maximum=3),
        shown="{}",
    )

    def check(self, config: Any) -> None:
        """Check that the networks do not need images."""
        super().check(config)
        check(
            config.model.network == "mlp",
            "Expected --network mlp with --context quadrants, because x is only a part of an image; got "
            f"{config.model.network}.",
        )

    def of(self, dataset: Any, seed: int) -> Any:
        """Return a data set whose images are split into context and x."""
        return load(self.target)(dataset, self.quadrants)
