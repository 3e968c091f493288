"""The context of new rows, prepared in the same way as that of the training rows."""

from __future__ import annotations

from dataclasses import replace

import torch

from pyro_vae.data.contexts import MISSING, ClassContext, EntryContext
from pyro_vae.data.entry_context import divide
from pyro_vae.data.label_context import GIVEN, labels_of_new_rows
from pyro_vae.data.row_format import RowFormat
from pyro_vae.data.splits import Split
from pyro_vae.data.stored import Stored

__all__ = ["with_context_like"]


def with_context_like(split: Split, stored: Stored, expected: RowFormat) -> Split:
    """Return the rows of a file with the context that a run takes.

    Args:
        split: Complete rows.
        stored: The file.
        expected: Format of the training rows.

    Raises:
        InputError: If the file lacks the labels that the run needs, or has unknown ones.
    """
    context = expected.context
    if isinstance(context, EntryContext):
        return divide(split, context)
    if not isinstance(context, ClassContext):
        return split
    if not context.partial:
        labels = labels_of_new_rows(stored, context, expected.name)
        return replace(split, labels=labels, given=GIVEN).with_context(labels)
    # The class is summed out; labels in the file are only used for the accuracy.
    known = None if stored.labels is None else labels_of_new_rows(stored, context, expected.name)
    return replace(split, labels=known).with_context(torch.full((len(split),), MISSING))
