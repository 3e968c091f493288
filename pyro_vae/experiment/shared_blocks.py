"""Blocks of a split that is shared among processes, with a progress bar."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pyro_vae.data import Split
from pyro_vae.processes import Processes
from pyro_vae.progress import progress_bar

__all__ = ["shared_blocks"]


def shared_blocks(
    split: Split, device: torch.device, processes: Processes, title: str
) -> Iterator[tuple[Tensor, ...]]:
    """Yield this process's share of the rows of a split, block by block.

    Args:
        split: The rows.
        device: Device of the blocks.
        processes: Processes that share the rows; the first one shows the progress.
        title: Title of the progress bar.

    Raises:
        InputError: If there are fewer rows than processes.
    """
    processes.check_rows(len(split))
    own = split.share(processes)
    with progress_bar(len(own), "rows", title, shown=processes.rank == 0, leave=False) as bar:
        for block in own.blocks(device=device):
            yield block
            bar.update(len(block[0]))
