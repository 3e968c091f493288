"""Log-probability of each entry given the other entries of its row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import check_integer
from pyro_vae._inputs import entry_for
from pyro_vae._programs import evaluation_mode
from pyro_vae.evaluate._streaming import without_side_effects
from pyro_vae.evaluate._weighted_runs import WeightedRun, cell_log_prob, weighted_runs
from pyro_vae.progress import progress_bar

__all__ = ["CellScores", "cell_log_likelihood"]


@dataclass(frozen=True)
class CellScores:
    """Scores of entries given the other entries; all tensors float64, on the CPU, of shape (N, D), NaN where missing.

    Args:
        value: log p(x_j | x_-j), nats.
        se: Its Monte Carlo standard error by the delta method, nats.
        expected: E[x_j | x_-j], in units of the column.
        ess: Effective number of samples of p(z | x_-j), from 1 to num_samples.
    """

    value: Tensor
    se: Tensor
    expected: Tensor
    ess: Tensor


def cell_log_likelihood(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    x: Any,
    num_samples: int = 1000,
    *,
    max_plate_nesting: int = 1,
    seed: int = 0,
    progress: bool = False,
) -> CellScores:
    """Estimate log p(x_j | x_-j) of every observed entry from one set of samples of z for each row.

    With z_k ~ q(z | x) and weights w_k = p(x | z_k) p(z_k) / q(z_k | x), the row without x_j has the weights
    w_k / p(x_j | z_k), so that

        log p(x_j | x_-j) = log sum_k w_k - log sum_k w_k / p(x_j | z_k).

    This is the density of leave-one-out importance sampling (Gelfand, Dey & Chang 1992); if x_j changes the
    posterior strongly, `ess` is small and the entry is less probable than estimated. Modules are in evaluation mode
    during the call.

    Args:
        model: A Pyro program with one observed site, whose entries are independent given z.
        guide: A Pyro program with the model's latent sites; a wider one, such as `DefensiveGuide`, covers more of
            p(z | x_-j).
        x: Rows of shape (N, D), NaN where missing, in any container that `fit` takes; with context in a tuple.
        num_samples: Samples of z per row, at least 2.
        max_plate_nesting: Depth of nested plates in the programs.
        seed: Seed of the noise; the global random state is restored.
        progress: Whether to show a progress bar.

    Raises:
        InputError: If an argument is out of range, entries are not independent given z, or the programs cannot be
            evaluated row by row.
    """
    check_integer(num_samples, "num_samples", minimum=2)
    check_integer(seed, "seed", minimum=0)
    data = entry_for(model, guide).rows(x)
    tables = torch.empty(4, *data[0].shape, dtype=torch.float64)
    bar = progress_bar(len(data[0]), "rows", "scoring entries", shown=progress)
    with without_side_effects(data), evaluation_mode(model, guide), bar:
        for rows, runs in weighted_runs(model, guide, data, num_samples, seed, max_plate_nesting):
            sums = _Sums(data[0][rows], num_samples)
            for run in runs:
                sums.add(run)
            tables[:, rows] = sums.result().cpu()
            bar.update(rows.stop - rows.start)
    return CellScores(*tables)


class _Sums:
    """Running sums over the samples of a block of n rows, with the weights w of the row and v of the row without x_j.

    `logs` has log sum w, log sum v, and for the error log sum w^2, log sum v^2 and log sum w v. `expected` is
    sum v E[x_j | z] / sum v. All are of shape (n, D), and v = w / p(x_j | z).
    """

    def __init__(self, x: Tensor, num_samples: int) -> None:
        self.x, self.num_samples = x, num_samples
        start = torch.full_like(x, -torch.inf, dtype=torch.float64)
        self.logs = {name: start.clone() for name in ("w", "v", "ww", "vv", "wv")}
        self.expected = torch.zeros_like(start)

    def add(self, run: WeightedRun) -> None:
        """Add one run."""
        w = run.log_weights[..., None].expand(*run.log_weights.shape, self.x.shape[-1])
        v = w - cell_log_prob(run.likelihood, self.x).double()
        v = v.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
        before = self.logs["v"]
        for name, terms in {"w": w, "v": v, "ww": 2 * w, "vv": 2 * v, "wv": w + v}.items():
            self.logs[name] = torch.logaddexp(self.logs[name], terms.logsumexp(0))
        total = self.logs["v"]
        fresh = ((v - total).exp().nan_to_num(0.0) * run.likelihood.mean.double()).sum(0)
        self.expected = self.expected * (before - total).exp().nan_to_num(0.0) + fresh

    def result(self) -> Tensor:
        """Return value, se, expected and ess, shape (4, n, D), NaN where missing."""
        w, v, ww, vv, wv = self.logs.values()
        # Var(log of a ratio of means): (relative variances minus twice the relative covariance) / K.
        relative = (ww - 2 * w).exp() + (vv - 2 * v).exp() - 2 * (wv - w - v).exp()
        table = torch.stack([w - v, relative.clamp_min(0).sqrt(), self.expected, (2 * v - vv).exp()])
        return table.masked_fill(self.x.isnan(), torch.nan)
