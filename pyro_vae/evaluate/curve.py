"""The importance-weighted bound as a function of the number of samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import check, check_integer
from pyro_vae._inputs import entry_for
from pyro_vae._programs import evaluation_mode
from pyro_vae.evaluate._streaming import Stream, without_side_effects
from pyro_vae.objectives.unscored import unscored_message
from pyro_vae.statistics import mean_and_se

__all__ = ["IWAECurve", "iwae_curve"]

DEFAULT_SAMPLES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True)
class IWAECurve:
    """Importance-weighted bounds `L_K = E[log((1 / K) sum_k w_k)]` of each row, for several K.

    Args:
        num_samples: The S values of K, increasing.
        value: Unbiased estimates of L_K, shape (S, N), float64, nats.
        variance: Monte Carlo variance of the estimates, shape (S, N), squared nats.
    """

    num_samples: tuple[int, ...]
    value: Tensor
    variance: Tensor

    @property
    def scored(self) -> IWAECurve:
        """The curve for the rows with finite bounds."""
        finite = self.value.isfinite().all(0)
        return IWAECurve(self.num_samples, self.value[:, finite], self.variance[:, finite])

    @property
    def warning(self) -> str | None:
        """A message about rows that could not be scored, or None."""
        return unscored_message(self.value.sum(0))

    @property
    def monte_carlo_se(self) -> Tensor:
        """Monte Carlo standard errors of the means over rows, shape (S,), nats."""
        return self.variance.sum(1).sqrt() / self.value.shape[1]

    @property
    def mean(self) -> Tensor:
        """Mean over rows for each K, shape (S,), nats per example."""
        return self.value.mean(1)

    @property
    def mean_se(self) -> Tensor:
        """Standard error of the means for new rows, shape (S,): the spread over rows and the samples of z."""
        return self.value.new_tensor([mean_and_se(bound)[1] for bound in self.value])

    def __repr__(self) -> str:
        text = ", ".join(f"{k}: {v:.2f}" for k, v in zip(self.num_samples, self.mean.tolist(), strict=True))
        return f"IWAECurve({text}; nats per example, {self.value.shape[1]} rows)"


def iwae_curve(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    x: Any,
    num_samples: Sequence[int] = DEFAULT_SAMPLES,
    *,
    num_draws: int | None = None,
    max_memory: float | None = None,
    max_plate_nesting: int = 1,
    seed: int = 0,
    compile: str = "auto",  # noqa: A002 (as in `fit`)
) -> IWAECurve:
    """Estimate the importance-weighted bound (Burda et al. 2016, eq. 8) for several K from the same draws.

    For each K the draws are divided into blocks of K, whose bounds are averaged. Every estimate is unbiased.

    Args:
        model: A Pyro program with all its sites in the plate `"data"`.
        guide: A Pyro program with the model's latent sites, or a proposal made from one.
        x: Rows of shape (N, data_dim), or a tuple of rows and context.
        num_samples: The values of K, increasing.
        num_draws: Samples of z for each row, at least twice the largest K, which is also the default.
        max_memory: Maximum bytes of the programs' tensors; by default 16 MiB, or 1 GiB on a GPU, and more if a run
            allocates much memory that its samples share.
        max_plate_nesting: Depth of nested plates in the programs, 1 if `"data"` is the only plate.
        seed: Seed of the noise; the global random state is restored.
        compile: "on" compiles the programs on a CPU, "auto" if that saves time, "off" never. Results differ by
            rounding; programs that cannot be compiled run uncompiled.

    Raises:
        InputError: If an argument is out of range, or as for `log_likelihood`.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from pyro_vae import ExactLinearGuide, LinearGaussianModel, WidenedGuide, iwae_curve
        >>> from pyro_vae.baselines import PPCA
        >>> x = load_iris().data
        >>> ppca = PPCA(n_components=2).fit(x)
        >>> model = LinearGaussianModel.from_baseline(ppca)
        >>> guide = ExactLinearGuide(model)
        >>> curve = iwae_curve(model, WidenedGuide(guide, 1.5), x, num_samples=(1, 10, 100))
        >>> bool(curve.mean[0] < curve.mean[-1] <= ppca.score(x) + 0.01)  # the bound tightens with K
        True
    """
    wanted = tuple(check_integer(k, "every entry of num_samples") for k in num_samples)
    check(
        len(wanted) > 0 and list(wanted) == sorted(set(wanted)),
        f"Expected num_samples as increasing numbers, such as (1, 10, 100); got {wanted}.",
    )
    draws = check_integer(num_draws or 2 * wanted[-1], "num_draws", minimum=2 * wanted[-1])
    stream = Stream(
        model, guide, entry_for(model, guide).rows(x), draws, max_memory, max_plate_nesting, seed, compile
    )
    with without_side_effects(stream.data), evaluation_mode(model, guide):
        blocks = [_bounds(torch.cat(list(chunks)), wanted) for chunks in stream.blocks()]
    value, variance = (torch.cat(part, dim=1).cpu() for part in zip(*blocks, strict=True))
    return IWAECurve(wanted, value, variance)


def _bounds(w: Tensor, wanted: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the bounds for each K and the variances of their errors, (S, rows), from log weights (draws, rows)."""
    values, variances = [], []
    for k in wanted:
        blocks = len(w) // k
        bounds = w[: blocks * k].unflatten(0, (blocks, k)).logsumexp(1) - math.log(k)
        values.append(bounds.mean(0))
        variances.append(bounds.var(0) / blocks)
    return torch.stack(values), torch.stack(variances)
