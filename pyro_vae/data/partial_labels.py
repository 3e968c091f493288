"""Semi-supervised data: the labels of most training rows are hidden."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_vae._checks import check
from pyro_vae.data.contexts import MISSING, ClassContext
from pyro_vae.data.dataset import DataSet
from pyro_vae.data.splits import Split

__all__ = ["with_labels_hidden"]


def with_labels_hidden(
    dataset: DataSet, missing: float | None, labelled_rows: int | None, labelled_share: float, seed: int
) -> DataSet:
    """Return a data set whose context is the label of some training rows, and -1 for all other rows.

    The rows that keep their label are drawn, equally many of each class if possible. Validation and test rows
    have no label as context: what is measured on them is log p(x) with the classes summed out. `Split.labels` are
    kept, for accuracy and pictures.

    Args:
        dataset: Data set with labels as context, -1 for training rows that have none.
        missing: Share of the training labels that are hidden, or None.
        labelled_rows: Number of training rows that keep their label, if `missing` is None.
        labelled_share: Smallest share of labelled rows in an epoch.
        seed: Seed of the draw.

    Raises:
        InputError: If the number of labels to keep exceeds that of known labels, or is below that of classes.
    """
    assert isinstance(dataset.context, ClassContext)
    labels = dataset.train.context[0]
    known_rows = int((labels != MISSING).sum())
    count = labelled_rows if missing is None else round((1 - missing) * known_rows)
    assert count is not None
    classes = len(dataset.context.classes)
    asked = (
        "--labelled-rows" if missing is None else f"--missing-labels {missing:g}, which keeps {count} labels,"
    )
    check(
        count <= known_rows,
        f"Expected {asked} of at most the {known_rows} training rows with a label; got {count}.",
    )
    check(
        count == 0 or count >= classes,
        f"Expected {asked} to keep a label of each of the {classes} classes; got {count}. Keep more, or none.",
    )
    kept = _drawn(labels.numpy(), count, seed)
    known = torch.full_like(labels, MISSING)
    known[kept] = labels[kept]
    given = f"given the class of {count} training rows"
    visits = _visits(len(labels), kept, labelled_share)
    train = replace(dataset.train.with_context(known), visits=visits, given=given)
    context = replace(dataset.context, partial=True)
    return replace(
        dataset,
        train=train,
        validation=_unlabelled(dataset.validation),
        test=_unlabelled(dataset.test),
        context=context,
    )


def _unlabelled(split: Split) -> Split:
    return replace(split.with_context(torch.full_like(split.context[0], MISSING)), given="")


def _drawn(labels: NDArray[np.int64], count: int, seed: int) -> Tensor:
    """Return the indices of rows that keep their label: equally many of each class, or all of a smaller class."""
    random = np.random.default_rng((seed, 1))
    order = random.permutation(len(labels))
    # The rank of a row within its class, in the order drawn: the first rows of each class are taken first.
    places = np.empty(len(labels), np.int64)
    order = order[labels[order] != MISSING]
    for name in np.unique(labels[order]):
        rows = order[labels[order] == name]
        places[rows] = np.arange(len(rows))
    ranked = order[np.argsort(places[order], kind="stable")]
    return torch.from_numpy(np.sort(ranked[:count]))


def _visits(num_rows: int, kept: Tensor, share: float) -> Tensor | None:
    """Return the rows of an epoch: each once, and labelled ones repeated up to their share; None without repetition.

    With n rows, l of them labelled and each visited r times, their share is r l / (n + (r - 1) l).
    """
    num_kept = len(kept)
    if num_kept == 0 or num_kept >= share * num_rows:
        return None
    times = math.ceil(share * (num_rows - num_kept) / (num_kept * (1 - share)))
    return torch.cat([torch.arange(num_rows), kept.repeat(times - 1)])
