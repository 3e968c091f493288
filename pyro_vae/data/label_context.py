"""The class of each row as context."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pyro_vae._checks import InputError, check
from pyro_vae.data.contexts import MISSING, ClassContext
from pyro_vae.data.dataset import DataSet
from pyro_vae.data.splits import Split
from pyro_vae.data.stored import Stored, listed

__all__ = ["GIVEN", "labels_of_new_rows", "with_labels"]

GIVEN = "given the class"


def with_labels(dataset: DataSet, *, partial: bool = False) -> DataSet:
    """Return a data set with the class of each row as context, int64 (N,), numbered as in `class_names`.

    Classes without names are those that occur in training rows, in ascending order.

    Args:
        dataset: Data set with labels.
        partial: Whether training rows may have the label -1 (unknown).

    Raises:
        InputError: If rows have no label, or one that no training row has.
    """
    train = dataset.train.labels
    if train is None:
        raise InputError(
            f"Expected labels in {dataset.name} for --context label; got none. Name a column of a .csv file 'label', "
            "or store an array 'labels' beside 'x' in a .npz file."
        )
    values = sorted(set(train.tolist()) - {MISSING})
    names = dataset.class_names or tuple(map(str, values))
    known = {value: value for value in range(len(names))}
    if dataset.class_names is None:
        known = {value: number for number, value in enumerate(values)}
    if partial:
        known[MISSING] = MISSING

    def numbered(split: Split) -> Split:
        return _numbered(split, known, partial=partial and split is dataset.train)

    return dataset.with_splits(numbered, class_names=names, context=ClassContext(names, partial))


def _numbered(split: Split, known: dict[int, int], *, partial: bool) -> Split:
    """Return a split whose labels are numbers of classes, as context."""
    assert split.labels is not None
    found = split.labels.tolist()
    missing = found.count(MISSING)
    check(
        missing == 0 or partial,
        f"Expected a label for each of the {len(split)} {split.name} rows; {missing} have none (-1). Drop these rows"
        + (", or give --missing-labels 0 to sum their classes out." if split.name == "train" else "."),
    )
    unknown = sorted(set(found) - {*known, MISSING})
    check(
        not unknown,
        f"Expected labels of {split.name} rows that training rows have ({listed(sorted(set(known) - {MISSING}))}); got "
        f"{listed(unknown)}. Move such rows to the training rows, or drop them.",
    )
    labels = torch.tensor([known[value] for value in found])
    return replace(split, labels=labels, given=GIVEN).with_context(labels)


def labels_of_new_rows(stored: Stored, expected: ClassContext, trained_on: str) -> Tensor:
    """Return the number of the class of each row of a file, int64 (N,), by the names of the classes.

    Integer labels are class names if all of them are names of classes, and class indices otherwise.

    Args:
        stored: The file.
        expected: The classes that the run was trained on.
        trained_on: Name of the data set that the run was trained on.

    Raises:
        InputError: If labels are missing, or name a class that the run does not know.
    """
    wanted = (
        f"the run on {trained_on} was trained with --context label, of the classes {listed(expected.classes)}"
    )
    if stored.labels is None:
        raise InputError(
            f"Expected labels in {stored.name}: {wanted}. Give a column 'label' in a .csv file, or an array 'labels' "
            "beside 'x' in a .npz file."
        )
    numbers = {name: number for number, name in enumerate(expected.classes)}
    found = stored.labels.tolist()
    if stored.class_names is not None:
        names = [stored.class_names[value] for value in found]
    elif {str(value) for value in found} <= set(numbers):
        names = [str(value) for value in found]
    else:
        names = [expected.classes[value] if 0 <= value < expected.dim else str(value) for value in found]
    unknown = sorted(set(names) - set(numbers))
    check(
        not unknown,
        f"Expected known labels in {stored.name}: {wanted}; got {listed(unknown)}. Drop these rows.",
    )
    return torch.tensor([numbers[name] for name in names])
