"""log p(x) of each row by importance sampling, with error and diagnostics."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyro_vae._inputs import entry_for
from pyro_vae._programs import evaluation_mode
from pyro_vae.evaluate._streaming import Stream, without_side_effects
from pyro_vae.evaluate.pareto_k import SHORTEST_TAIL, pareto_khat, tail_length
from pyro_vae.evaluate.scores import LogLikelihood
from pyro_vae.objectives.unscored import unscored_message
from pyro_vae.progress import progress_bar

__all__ = ["log_likelihood", "log_weights"]

ROUNDING = 100.0
"""Log weights that differ by less than this many units in the last place are treated as equal."""

GATHERED = 2**15
"""Minimum number of log weights per sum: chunks may be small, and a sum takes at least 0.2 ms."""


def log_weights(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    x: Any,
    num_samples: int = 1000,
    *,
    max_memory: float | None = None,
    max_plate_nesting: int = 1,
    seed: int = 0,
    compile: str = "auto",  # noqa: A002 (as in `fit`)
) -> Tensor:
    """Return `log w = log p(x, z) - log q(z | x)` for draws of z from the guide, shape (num_samples, N), float64.

    Modules are in evaluation mode during the call. A row that cannot be scored has NaN or minus infinity, and a warning
    names it.

    Args:
        model: A Pyro program with all its sites in the plate `"data"`.
        guide: A Pyro program with the model's latent sites, or a proposal made from one.
        x: Rows of shape (N, data_dim), or a tuple of rows and context.
        num_samples: Samples of z per row.
        max_memory: Maximum bytes of the programs' tensors; by default 16 MiB, or 1 GiB on a GPU, and more if a run
            allocates much memory that its samples share. The result itself takes `8 num_samples N` more.
        max_plate_nesting: Depth of nested plates in the programs, 1 if `"data"` is the only plate.
        seed: Seed of the noise; the global random state is restored.
        compile: "on" compiles the programs on a CPU, "auto" if that saves time, "off" never. Results differ by
            rounding; programs that cannot be compiled run uncompiled.

    Raises:
        InputError: If an argument is out of range, a site is outside the plate, the guide's sites are not
            the model's or their distributions are not comparable, the guide does not cover the prior's support, or
            the log-probabilities of a row depend on other rows or samples.
    """
    stream = Stream(
        model,
        guide,
        entry_for(model, guide).rows(x),
        num_samples,
        max_memory,
        max_plate_nesting,
        seed,
        compile,
    )
    with without_side_effects(stream.data), evaluation_mode(model, guide):
        weights = torch.cat([torch.cat(list(chunks)).cpu() for chunks in stream.blocks()], dim=1)
    unscored = unscored_message(weights.logsumexp(0))
    if unscored:
        warnings.warn(unscored, stacklevel=2)
    return weights


def log_likelihood(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    x: Any,
    num_samples: int = 1000,
    *,
    max_memory: float | None = None,
    max_plate_nesting: int = 1,
    seed: int = 0,
    compile: str = "auto",  # noqa: A002 (as in `fit`)
    progress: bool = False,
) -> LogLikelihood:
    """Estimate log p(x) of each row as `log((1 / K) sum_k w_k)` (Burda et al. 2016, eq. 8), with its error.

    Samples are processed in chunks: memory grows by five numbers per row, and does not depend on `num_samples`. Modules
    are in evaluation mode during the call.

    Args:
        model: A Pyro program with all its sites in the plate `"data"`.
        guide: A Pyro program with the model's latent sites, or a proposal made from one.
        x: Rows of shape (N, data_dim), or a tuple of rows and context.
        num_samples: Samples of z per row, K.
        max_memory: Maximum bytes of the programs' tensors; by default 16 MiB, or 1 GiB on a GPU, and more if a run
            allocates much memory that its samples share.
        max_plate_nesting: Depth of nested plates in the programs, 1 if `"data"` is the only plate.
        seed: Seed of the noise; the global random state is restored.
        compile: "on" compiles the programs on a CPU, "auto" if that saves time, "off" never. Results differ by
            rounding; programs that cannot be compiled run uncompiled.
        progress: Whether to show a progress bar.

    Returns:
        Estimate, standard error, effective sample size and k-hat of each row. A row whose weights are all zero,
        because the guide samples outside the model's support, has the estimate -inf; a row with NaN densities has NaN.
        Other rows are not affected.

    Raises:
        InputError: If an argument is out of range, a site is outside the plate, the guide's sites are not
            the model's or their distributions are not comparable, the guide does not cover the prior's support, or
            the log-probabilities of a row depend on other rows or samples.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from pyro_vae import ExactLinearGuide, LinearGaussianModel, log_likelihood
        >>> from pyro_vae.baselines import PPCA
        >>> x = load_iris().data
        >>> ppca = PPCA(n_components=2).fit(x)
        >>> model = LinearGaussianModel.from_baseline(ppca)
        >>> guide = ExactLinearGuide(model)
        >>> estimate = log_likelihood(model, guide, x, num_samples=10)
        >>> bool(abs(estimate.mean - ppca.score(x)) < 1e-6)  # exact, because the guide is the posterior
        True
        >>> estimate.value.shape
        torch.Size([150])
    """
    stream = Stream(
        model,
        guide,
        entry_for(model, guide).rows(x),
        num_samples,
        max_memory,
        max_plate_nesting,
        seed,
        compile,
    )
    bar = progress_bar(len(stream.data[0]), "rows", "importance sampling", shown=progress)
    with without_side_effects(stream.data), evaluation_mode(model, guide), bar:
        # One preallocated table: small tensors kept from every block would fragment the heap between the large ones.
        table = torch.empty(5, len(stream.data[0]), dtype=torch.float64)
        done = 0
        for chunks in stream.blocks():
            part = _estimate(chunks, num_samples, stream.dtype)
            table[:, done : done + len(part)] = torch.stack(part.columns())
            done += len(part)
            bar.update(len(part))
    return LogLikelihood.from_columns(table, num_samples)


class _Sums(NamedTuple):
    """Sufficient statistics of the log weights of a block of rows, each of shape (rows,) except `largest`."""

    log_sum: Tensor
    log_sum_of_squares: Tensor
    total: Tensor
    smallest: Tensor
    largest: Tensor
    """In descending order, shape (rows, at most as many as PSIS needs)."""

    @classmethod
    def of(cls, w: Tensor, kept: int) -> _Sums:
        """Return the sums over the log weights `w` of a chunk, shape (samples, rows)."""
        largest = w.T.topk(min(kept, len(w))).values
        return cls(w.logsumexp(0), (2 * w).logsumexp(0), w.sum(0), w.amin(0), largest)

    def plus(self, other: _Sums, kept: int) -> _Sums:
        """Return the sums over the samples of both."""
        both = torch.cat([self.largest, other.largest], dim=1)
        return _Sums(
            torch.logaddexp(self.log_sum, other.log_sum),
            torch.logaddexp(self.log_sum_of_squares, other.log_sum_of_squares),
            self.total + other.total,
            torch.minimum(self.smallest, other.smallest),
            both.topk(min(kept, both.shape[1])).values,
        )


def _gathered(chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield the log weights of consecutive chunks together, at least `GATHERED` at a time until the last."""
    waiting: list[Tensor] = []
    for chunk in chunks:
        waiting.append(chunk)
        if sum(part.numel() for part in waiting) >= GATHERED:
            yield torch.cat(waiting)
            waiting = []
    if waiting:
        yield torch.cat(waiting)


def _estimate(chunks: Iterable[Tensor], num_samples: int, dtype: torch.dtype) -> LogLikelihood:
    """Estimate from log weights, (samples, rows) at a time, that were computed in `dtype`."""
    kept = tail_length(num_samples) + 1
    sums = reduce(lambda a, b: a.plus(b, kept), (_Sums.of(w, kept) for w in _gathered(chunks)))
    # (sum w)^2 / sum w^2, which is NaN if all weights are zero.
    ess = (2 * sums.log_sum - sums.log_sum_of_squares).exp().clamp(1, num_samples)
    # The delta method: Var(log of the mean weight) = Var(w) / (K E[w]^2).
    se = ((num_samples / ess - 1) / (num_samples - 1)).sqrt() if num_samples > 1 else ess * torch.nan
    khat = pareto_khat(sums.largest)
    rounding = ROUNDING * torch.finfo(dtype).eps * (1 + sums.log_sum.abs())
    constant = sums.largest[:, 0] - sums.smallest <= rounding.clamp_min(1e-9)
    if num_samples > 1:
        se = se.masked_fill(constant, 0.0)
    if kept > SHORTEST_TAIL:
        khat = khat.masked_fill(constant, 0.0)
    columns = (sums.log_sum - math.log(num_samples), se, ess.nan_to_num(0), khat, sums.total / num_samples)
    value, se, ess, khat, elbo = (column.cpu() for column in columns)
    return LogLikelihood(value, se, ess, khat, elbo, num_samples)
