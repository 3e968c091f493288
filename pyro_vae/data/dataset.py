"""`DataSet`: training, validation and test rows of one data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from pyro_vae.data.columns import Column
from pyro_vae.data.contexts import Context
from pyro_vae.data.image_options import AS_THEY_ARE, ImageOptions
from pyro_vae.data.preprocessing import Dequantize, IntegerLevels, Preprocessing
from pyro_vae.data.splits import Split
from pyro_vae.data.table_options import TableOptions

__all__ = ["DataSet"]


@dataclass(frozen=True, eq=False)
class DataSet:
    """Three splits of one data set, and its properties.

    Attributes:
        name: The name or path of the data set.
        train: Training rows.
        validation: Rows for early stopping and model selection.
        test: Rows for reported results.
        data_shape: Shape of one row: (D,), (height, width), or (channels, height, width).
        preprocessing: Map from stored rows to x.
        class_names: Names of classes 0, 1, ..., or None.
        column_names: Names of the D columns, or None.
        sha256: SHA-256 of the stored data: shape, type and bytes of the array, labels and given splits.
        notes: Notes on the data, as sentences.
        image_options: Options for reading images.
        context: Description of the context of the splits; None for no context or a custom one.
        whole: The data set before entries of its rows became context; None if none did.
        columns: Kinds and levels of the D columns of a table; None if they were not determined.
        table_options: Options for reading the table, or None.
        kinds: The columns of that table and those left out, as lines of text.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    data_shape: tuple[int, ...]
    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None
    column_names: tuple[str, ...] | None
    sha256: str
    notes: tuple[str, ...]
    image_options: ImageOptions = AS_THEY_ARE
    context: Context | None = None
    whole: DataSet | None = None
    columns: tuple[Column, ...] | None = None
    table_options: TableOptions | None = None
    kinds: tuple[str, ...] = ()

    @property
    def data_dim(self) -> int:
        """D, the number of entries of a row."""
        return self.train.data_dim

    @property
    def description(self) -> str:
        """Preprocessing and augmentation in words."""
        return self.train.description

    @property
    def is_image(self) -> bool:
        """Whether a row is a grey (height, width) or (1, height, width) or coloured (3 or 4, height, width) image."""
        return len(self.data_shape) == 2 or (len(self.data_shape) == 3 and self.data_shape[0] in (1, 3, 4))

    @property
    def is_conditional(self) -> bool:
        """Whether every row has context, so that densities are p(x | context)."""
        return self.context is not None and not getattr(self.context, "partial", False)

    def with_splits(self, changed: Callable[[Split], Split], **changes: Any) -> DataSet:
        """Return the data set with the same change applied to each split.

        Args:
            changed: Function from a split to the changed split.
            changes: Further attributes by name.
        """
        train, validation, test = (changed(split) for split in (self.train, self.validation, self.test))
        return replace(self, train=train, validation=validation, test=test, **changes)

    def as_density(self) -> DataSet:
        """Return the data set for models that give x a density: integers without noise become dequantized ones."""
        known = self.preprocessing
        if not isinstance(known, IntegerLevels):
            return self
        noisy = Dequantize(known.levels, known.low)
        return self.with_splits(lambda split: replace(split, preprocessing=noisy), preprocessing=noisy)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of x over the training split, float64 (D,) each.

        They are computed in closed form from the moments of the stored rows, in expectation over noise and
        augmentation: exact for dequantized integers, the Bernoulli moments of the grey values for binarized data.
        """
        mean, variance = self.train.stored_moments
        if self.train.augmentation is not None:
            mean, variance = self.train.augmentation.moments(mean, variance)
        mean, variance = self.preprocessing.moments(mean, variance)
        if self.train.divided is not None:
            rest = list(self.train.divided.rest(len(mean)))
            mean, variance = mean[rest], variance[rest]
        return mean, variance.sqrt()
