"""Imputation from weighted samples of z."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import check
from pyro_vae.evaluate._weighted_runs import WeightedRun, cell_log_prob

__all__ = ["Imputation", "impute_from_runs"]


@dataclass(frozen=True)
class Imputation:
    """Completed rows; every tensor float64 and on the CPU.

    Args:
        value: Shape (N, D): observed entries as given; else the conditional mean, or the most probable level of a
            column with levels.
        sd: Standard deviation of each missing entry given the observed ones, in units of its column, shape (N, D);
            0 where observed, NaN in columns with levels.
        probability: Probability of the level in `value`, given the observed entries, shape (N, D); 1 where observed,
            NaN in columns without levels.
        ess: Effective number of samples of each row, shape (N,); infinite if nothing is missing.
        draws: Completed rows drawn from p(x | observed), shape (M, N, D).
    """

    value: Tensor
    sd: Tensor
    probability: Tensor
    ess: Tensor
    draws: Tensor


def impute_from_runs(
    x: Tensor,
    levels: Tensor,
    num_draws: int,
    blocks: Iterable[tuple[slice, Iterable[WeightedRun]]],
    update: Callable[[int], Any] = lambda count: None,
) -> Imputation:
    """Impute rows from weighted samples of those that are incomplete (Mattei & Frellsen 2019, eq. 10-12).

    Args:
        x: All rows, shape (N, D), NaN where missing.
        levels: Number of levels of each column, 0 if it has none, shape (D,).
        num_draws: Number of completed rows to draw, M, with torch's random state.
        blocks: Slices of the incomplete rows in order, each with its runs.
        update: Called after each block with its number of rows.

    Raises:
        InputError: If none of a row's samples has a density above zero.
    """
    result = _complete(x, levels, num_draws)
    incomplete = x.isnan().any(1).nonzero().flatten()
    if len(incomplete) == 0:
        return result
    for rows, runs in blocks:
        places = incomplete[rows]
        sums = _Sums(x[places], levels, num_draws)
        for run in runs:
            sums.add(run)
        sums.write_into(result, places.cpu())
        update(len(places))
    return result


def _complete(x: Tensor, levels: Tensor, num_draws: int) -> Imputation:
    """Return the result before imputation."""
    x = x.detach().double().cpu()
    ones, coded = torch.ones_like(x), (levels > 0).expand_as(x)
    return Imputation(
        value=x.clone(),
        sd=torch.zeros_like(x).masked_fill(coded, torch.nan),
        probability=ones.masked_fill(~coded, torch.nan),
        ess=torch.full((len(x),), torch.inf, dtype=torch.float64),
        draws=x.repeat(num_draws, 1, 1),
    )


class _Sums:
    """Running weighted sums over the samples of a block of n rows, relative to the largest weight of each row.

    Args:
        x: The rows, shape (n, D), NaN where missing.
        levels: Number of levels of each column, shape (D,).
        num_draws: M.
    """

    def __init__(self, x: Tensor, levels: Tensor, num_draws: int) -> None:
        self.x, self.missing = x, x.isnan()
        self.coded = (levels > 0).to(x.device)
        self.counts = levels.to(x.device)
        zeros = torch.zeros_like(x, dtype=torch.float64)
        self.largest = torch.full_like(zeros[:, 0], -torch.inf)
        self.total, self.squares = zeros[:, 0].clone(), zeros[:, 0].clone()
        # Moments about a first guess, to avoid cancellation.
        self.guess: Tensor | None = None
        self.first, self.second = zeros.clone(), zeros.clone()
        self.level_probs = zeros.repeat(int(levels.max()), 1, 1)
        self.draws = zeros.repeat(num_draws, 1, 1)

    def add(self, run: WeightedRun) -> None:
        """Add one run."""
        largest = torch.maximum(self.largest, run.log_weights.amax(0))
        base = largest.masked_fill(largest == -torch.inf, 0.0)
        weights, decay = (run.log_weights - base).exp(), (self.largest - base).exp()
        self.largest = largest
        self.total = self.total * decay + weights.sum(0)
        self.squares = self.squares * decay**2 + weights.square().sum(0)
        mean = run.likelihood.mean.double()
        self.guess = mean.mean(0) if self.guess is None else self.guess
        shift = mean - self.guess
        spread = _variance(run.likelihood, mean) + shift.square()
        self.first = self.first * decay[:, None] + torch.einsum("sn,snd->nd", weights, shift)
        self.second = self.second * decay[:, None] + torch.einsum("sn,snd->nd", weights, spread)
        self._add_level_probs(run, weights, decay)
        self._draw(run, weights)

    def _add_level_probs(self, run: WeightedRun, weights: Tensor, decay: Tensor) -> None:
        self.level_probs *= decay[:, None]
        for level in range(len(self.level_probs)):
            possible = self.missing & (self.counts > level)
            if possible.any():
                x = self.x.masked_fill(possible, float(level))
                prob = cell_log_prob(run.likelihood, x).double().exp() * possible
                self.level_probs[level] += torch.einsum("sn,snd->nd", weights, prob)

    def _draw(self, run: WeightedRun, weights: Tensor) -> None:
        """Replace each draw by one of these samples with probability equal to their share of the total weight so far.

        The final draws are samples with probabilities equal to their weights, without storing all samples.
        """
        if len(self.draws) == 0:
            return
        fresh = run.likelihood.sample().double()
        share = (weights.sum(0) / self.total).nan_to_num(0.0)
        moves = torch.rand(self.draws.shape[:2], dtype=torch.float64, device=share.device) < share
        probable = torch.where(weights.sum(0) > 0, weights, torch.ones_like(weights))
        chosen = torch.multinomial(probable.T, len(self.draws), replacement=True).T
        picked = fresh[chosen, torch.arange(fresh.shape[1], device=fresh.device)]
        self.draws = torch.where(moves[..., None], picked, self.draws)

    def write_into(self, result: Imputation, rows: Tensor) -> None:
        """Write the imputed entries of the block with indices `rows` into the result."""
        check(
            bool((self.total > 0).all()),
            "Expected samples of z with a density above zero for each row; row "
            f"{rows[(self.total == 0).cpu()][:1].tolist()} has none. Look for extreme values in it.",
        )
        total = self.total[:, None]
        shift = self.first / total
        value = (0.0 if self.guess is None else self.guess) + shift
        sd = (self.second / total - shift.square()).clamp_min(0).sqrt()
        probability = torch.full_like(value, torch.nan)
        if len(self.level_probs):
            prob, level = (self.level_probs / total).max(0)
            value, sd = torch.where(self.coded, level.double(), value), sd.masked_fill(self.coded, torch.nan)
            probability = torch.where(self.coded, prob, probability)
        for field, own in ((result.value, value), (result.sd, sd), (result.probability, probability)):
            field[rows] = torch.where(self.missing.cpu(), own.cpu(), field[rows])
        result.ess[rows] = (self.total.square() / self.squares).cpu()
        if len(self.draws):
            result.draws[:, rows] = torch.where(self.missing.cpu(), self.draws.cpu(), result.draws[:, rows])


def _variance(likelihood: Any, mean: Tensor) -> Tensor:
    """Return the variance of each entry given z, or its estimate from one draw if the family has no formula."""
    try:
        variance: Tensor = likelihood.variance.double()
        return variance
    except (NotImplementedError, AttributeError):
        return (likelihood.sample().double() - mean).square()
