"""Several processes, on one machine or on many, that train and evaluate as one.

`torchrun --nproc-per-node 2 script.py` starts a script several times. Each process works on its share of the rows, and
what they find is summed over all of them: every process then goes on with the same numbers.
"""

from __future__ import annotations

import atexit
import os
import re

import torch
from torch import Tensor

from pyro_vae._checks import InputError, LostProcessError, check
from pyro_vae.seeds import derive_seed

__all__ = ["SINGLE_PROCESS", "ProcessGroup", "Processes", "started_processes"]

TORCHRUN = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun sets in the environment of each process, beside WORLD_SIZE."""


class Processes:
    """One process, alone: its share of the rows is all of them, and there is nobody to sum over."""

    rank = 0
    """Number of this process."""
    count = 1
    """How many there are."""

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of the tensors that all processes give, of one shape and dtype; `values` is used up."""
        return values

    def from_first(self, values: Tensor) -> Tensor:
        """Return what the first process gives."""
        return self.sum(values if self.rank == 0 else torch.zeros_like(values))

    def share(self, num_rows: int) -> slice:
        """Return which of so many rows are this process's own: a run of them, as long as the others' or one more."""
        return slice(num_rows * self.rank // self.count, num_rows * (self.rank + 1) // self.count)

    def gather(self, values: Tensor) -> Tensor:
        """Return what all processes give, shape (n, ...) with an n of its own each, one after another."""
        counts = torch.zeros(self.count, dtype=torch.int64, device=values.device)
        counts[self.rank] = len(values)
        counts = self.sum(counts)
        # Everybody fills rows of its own in a table of zeros, and the sum is the table: one primitive serves for all.
        table = values.new_zeros(int(counts.sum()), *values.shape[1:])
        start = int(counts[: self.rank].sum())
        table[start : start + len(values)] = values
        return self.sum(table)

    def seed(self, seed: int, *place: int) -> int:
        """Return the seed of this process's own noise at a place in training, such as epoch and step."""
        if self.rank == 0 and not place:
            return seed
        return derive_seed(seed, self.rank, *place)

    def check_rows(self, num_rows: int) -> None:
        """Raise `InputError` unless each process gets at least one of so many rows."""
        if num_rows < self.count:
            raise InputError(
                f"Expected at least one row for each of the {self.count} processes; got {num_rows}. Start fewer "
                "processes, or raise --batch-size."
            )


SINGLE_PROCESS = Processes()


class ProcessGroup(Processes):
    """A process among several, by `torch.distributed`. All must ask for the same sums in the same order.

    Args:
        device: Where sums are taken: NCCL sums on the GPU alone.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.rank = torch.distributed.get_rank()
        self.count = torch.distributed.get_world_size()

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of the tensors that all processes give, of one shape and dtype; `values` is used up.

        Raises:
            LostProcessError: If another process has ended.
        """
        total = values.detach().to(self._device).contiguous()
        try:
            torch.distributed.all_reduce(total)
        except RuntimeError as error:
            raise LostProcessError(
                f"Process {self.rank + 1} of {self.count} lost another one, so it ends too ({_reason(error)}). "
                "A run that had begun goes on from its last checkpoint by --resume, on any number of processes."
            ) from None
        return total.to(values.device)


def started_processes() -> Processes:
    """Return the processes that torchrun has started, joined once; `SINGLE_PROCESS` if there is only one.

    On GPUs each process takes the one of its number on its machine.

    Raises:
        InputError: If there are several processes that torchrun has not started.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return SINGLE_PROCESS
    missing = [name for name in TORCHRUN if name not in os.environ]
    check(
        not missing,
        f"Expected processes started by torchrun; WORLD_SIZE is set, but not {', '.join(missing)}. "
        "Start them by torchrun, or unset WORLD_SIZE.",
    )
    here, number = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["LOCAL_RANK"])
    if torch.cuda.device_count() >= here:
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)
    else:
        device = torch.device("cpu")
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(torch.distributed.destroy_process_group)
    return ProcessGroup(device)


def _reason(error: Exception) -> str:
    """Return the first sentence of a library's message, without the files and addresses that it puts in brackets."""
    told = re.sub(r"\s*\[[^]]*\](:\d+)?\s*", " ", str(error).partition("\n")[0]).strip()
    return told.partition(". ")[0].rstrip(". ") or type(error).__name__
