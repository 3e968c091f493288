"""Count, mean and scatter matrix of rows that are shared among several processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from pyro_vae.processes import Processes

if TYPE_CHECKING:
    from pyro_vae.baselines import Moments

__all__ = ["pooled_moments"]


def pooled_moments(rows: NDArray[np.float64], processes: Processes) -> Moments:
    """Return the moments of the rows of all processes, equal in each; D^2 + D + 1 numbers are summed.

    Args:
        rows: Finite rows of this process, shape (n, D).
        processes: Processes that share the rows.
    """
    from pyro_vae.baselines import Moments

    own = Moments.of(rows)
    sums = np.concatenate([[own.count], own.count * own.mean])
    count, *totals = processes.sum(torch.from_numpy(sums)).tolist()
    pooled = Moments(len(own.mean))
    pooled.count, pooled.mean = round(count), np.array(totals) / count
    pooled.scatter = processes.sum(torch.from_numpy(own.scatter_about(pooled.mean))).numpy()
    return pooled
