"""Data-parallel training and evaluation with several processes, on one or many machines.

`torchrun --nproc-per-node 2 script.py` starts a script several times. Each process works on a part of the rows, and
results are summed over all processes.
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
"""Environment variables set by torchrun, besides WORLD_SIZE."""


class Processes:
    """A single process, with all rows."""

    rank = 0
    """Index of this process."""
    count = 1
    """Number of processes."""

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over processes of tensors of the same shape and dtype; `values` is overwritten."""
        return values

    def from_first(self, values: Tensor) -> Tensor:
        """Return the tensor of the first process."""
        return self.sum(values if self.rank == 0 else torch.zeros_like(values))

    def share(self, num_rows: int) -> slice:
        """Return the slice of `num_rows` rows of this process; slices differ in length by at most one row."""
        return slice(num_rows * self.rank // self.count, num_rows * (self.rank + 1) // self.count)

    def gather(self, values: Tensor) -> Tensor:
        """Return the concatenated tensors of all processes, each of shape (n, ...) with its own n."""
        counts = torch.zeros(self.count, dtype=torch.int64, device=values.device)
        counts[self.rank] = len(values)
        counts = self.sum(counts)
        # Each process fills its rows in a table of zeros, and the sum is the table, so that one primitive suffices.
        table = values.new_zeros(int(counts.sum()), *values.shape[1:])
        start = int(counts[: self.rank].sum())
        table[start : start + len(values)] = values
        return self.sum(table)

    def seed(self, seed: int, *place: int) -> int:
        """Return the seed of this process's noise at a position in training, such as epoch and step."""
        if self.rank == 0 and not place:
            return seed
        return derive_seed(seed, self.rank, *place)

    def check_rows(self, num_rows: int) -> None:
        """Raise `InputError` unless each process gets at least one of `num_rows` rows."""
        if num_rows < self.count:
            raise InputError(
                f"Expected at least one row for each of the {self.count} processes; got {num_rows}. Start fewer "
                "processes, or raise --batch-size."
            )


SINGLE_PROCESS = Processes()


class ProcessGroup(Processes):
    """One of several processes, with `torch.distributed`. All must compute the same sums in the same order.

    Args:
        device: Device of the sums; NCCL supports GPUs only.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.rank = torch.distributed.get_rank()
        self.count = torch.distributed.get_world_size()

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over processes of tensors of the same shape and dtype; `values` is overwritten.

        Raises:
            LostProcessError: If another process has ended.
        """
        total = values.detach().to(self._device).contiguous()
        try:
            torch.distributed.all_reduce(total)
        except RuntimeError as error:
            raise LostProcessError(
                f"Process {self.rank + 1} of {self.count} lost the connection to another one, so it stops "
                f"({_reason(error)}). Continue a run from its last checkpoint by --resume, with any number of "
                "processes."
            ) from None
        return total.to(values.device)


def started_processes() -> Processes:
    """Return the processes that torchrun has started, joined once; `SINGLE_PROCESS` if there is only one.

    On a machine with GPUs, each process uses the GPU of its local index.

    Raises:
        InputError: If several processes were not started by torchrun.
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
    """Return the first sentence of a library's message, without files and addresses in brackets."""
    message = re.sub(r"\s*\[[^]]*\](:\d+)?\s*", " ", str(error).partition("\n")[0]).strip()
    return message.partition(". ")[0].rstrip(". ") or type(error).__name__
