"""One model, several guides: what each family of posteriors is worth in nats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyro_vae._checks import check_choice, check_integer
from pyro_vae.building import build, fit_settings, starting_rows
from pyro_vae.comparison.entries import mean_and_se
from pyro_vae.config import Config
from pyro_vae.data import DataSet
from pyro_vae.evaluate import LogLikelihood, log_likelihood
from pyro_vae.gaps import InferenceGaps, RowFit, inference_gaps
from pyro_vae.guides import GUIDES, DiagonalNormalGuide, SemiAmortizedGuide
from pyro_vae.training import fit

__all__ = ["COMPARED", "FittedGuide", "GuideScore", "fit_guides", "score_guides"]

COMPARED = (*GUIDES, "semi-amortized")
"""Guides by name that can be compared."""


@dataclass(frozen=True)
class FittedGuide:
    """A guide fitted to a model.

    Args:
        name: One of `COMPARED`.
        seed: Of its first weights and of its training.
        model: What it was fitted to, or with.
        guide: The guide.
        parameters: How many numbers of its own it has.
        seconds: Time to fit.
    """

    name: str
    seed: int
    model: nn.Module
    guide: nn.Module
    parameters: int
    seconds: float


@dataclass(frozen=True)
class GuideScore:
    """What one family came to on the test rows, averaged over the seeds of its guides.

    Args:
        name: One of `COMPARED`.
        elbo: Mean over rows and its standard error, nats per example.
        gain: ELBO less that of the first family: mean and standard error of the rows' differences.
        seed_spread: Standard deviation over seeds of the mean ELBO; NaN for one seed.
        log_likelihood: Importance-sampled, mean over rows and its standard error, nats per example.
        unreliable: Share of rows whose importance weights have a k-hat above 0.7.
        approximation_gap: log p(x) less the ELBO of the family's best member for each row: mean, standard error.
        amortization_gap: That ELBO less the guide's: mean and standard error.
        parameters: Numbers in one guide.
        seconds: Mean time to fit one.
    """

    name: str
    elbo: tuple[float, float]
    gain: tuple[float, float]
    seed_spread: float
    log_likelihood: tuple[float, float]
    unreliable: float
    approximation_gap: tuple[float, float]
    amortization_gap: tuple[float, float]
    parameters: int
    seconds: float


def fit_guides(
    config: Config,
    dataset: DataSet,
    names: Sequence[str] = tuple(GUIDES),
    seeds: Sequence[int] = (0,),
    model: nn.Module | None = None,
) -> list[FittedGuide]:
    """Fit guides of several families to one fixed model, or each together with a model of its own.

    Args:
        config: Resolved; its networks, objective and schedule are those of every fit.
        dataset: Its training split is fitted, its validation split chooses the epoch.
        names: Which of `COMPARED`.
        seeds: One fit of each family for each.
        model: The model to hold fixed; where None each guide is trained jointly with a fresh one.

    Raises:
        InputError: If a name is unknown.
    """
    for name in names:
        check_choice(name, COMPARED, "guides")
    if model is not None:
        model.requires_grad_(False)
    return [_fit(config, dataset, name, seed, model) for name in names for seed in seeds]


def _fit(config: Config, dataset: DataSet, name: str, seed: int, fixed: nn.Module | None) -> FittedGuide:
    mean, std = dataset.statistics()
    family: Any = "diagonal" if name == "semi-amortized" else name
    chosen = replace(config.model, guide=family)
    rows = starting_rows(chosen, dataset.train)
    fresh, guide = build(chosen, mean, std, seed, rows)
    model: nn.Module = fresh if fixed is None else fixed
    if name == "semi-amortized":
        assert isinstance(guide, DiagonalNormalGuide)
        guide = SemiAmortizedGuide(guide, model)
    settings = fit_settings(config.training) | {"seed": seed, "progress": False}
    result = fit(model, guide, dataset.train, dataset.validation, **settings)
    shared = {id(p) for p in model.parameters()}
    own = sum(p.numel() for p in guide.parameters() if id(p) not in shared)
    return FittedGuide(name, seed, model.cpu(), guide.cpu(), own, result.seconds)


def score_guides(
    fitted: Sequence[FittedGuide],
    x: Tensor,
    *,
    num_samples: int = 1000,
    gap_rows: int = 100,
    row_fit: RowFit | None = None,
    seed: int = 0,
) -> list[GuideScore]:
    """Score fitted guides on the same rows with the same number of samples.

    For the gaps log p(x) of a row is the largest of the importance-sampled estimates of all guides of the same
    model, four standard errors taken off each for the choice: where the families share a model, they are held
    against one number.

    Args:
        fitted: From `fit_guides`; the first one's family is what gains are counted from.
        x: Test rows, shape (N, data_dim).
        num_samples: Samples of z for each row.
        gap_rows: For how many of the rows, evenly spaced, the best member of each family is searched.
        row_fit: How it is searched.
        seed: Of all noise.

    Returns:
        A score for each family, in the order of their first guides.
    """
    chosen = np.linspace(0, len(x) - 1, min(check_integer(gap_rows, "gap_rows"), len(x))).astype(np.int64)
    likelihoods = [log_likelihood(f.model, f.guide, x, num_samples, seed=seed) for f in fitted]
    gaps = [
        inference_gaps(
            f.model,
            f.guide,
            x[chosen],
            log_prob=_best([one for one, g in zip(likelihoods, fitted, strict=True) if g.model is f.model])[
                chosen
            ],
            fit=row_fit,
            num_samples=num_samples,
            seed=seed,
        )
        for f in fitted
    ]
    names = list(dict.fromkeys(f.name for f in fitted))
    first = _mean([one.elbo for one, f in zip(likelihoods, fitted, strict=True) if f.name == names[0]])
    return [_score(name, fitted, likelihoods, gaps, first) for name in names]


def _score(
    name: str,
    fitted: Sequence[FittedGuide],
    likelihoods: Sequence[LogLikelihood],
    gaps: Sequence[InferenceGaps],
    first: Tensor,
) -> GuideScore:
    numbers = [i for i, f in enumerate(fitted) if f.name == name]
    own = [likelihoods[i] for i in numbers]
    parts: list[Any] = [gaps[i] for i in numbers]
    elbo = _mean([one.elbo for one in own])
    means = [float(one.elbo.mean()) for one in own]
    return GuideScore(
        name,
        elbo=mean_and_se(elbo),
        gain=mean_and_se(elbo - first),
        seed_spread=float(np.std(means, ddof=1)) if len(means) > 1 else float("nan"),
        log_likelihood=mean_and_se(_mean([one.value for one in own])),
        unreliable=float(torch.cat([one.khat for one in own]).gt(0.7).double().mean()),
        approximation_gap=mean_and_se(_mean([part.approximation_gap.value for part in parts])),
        amortization_gap=mean_and_se(_mean([part.amortization_gap.value for part in parts])),
        parameters=fitted[numbers[0]].parameters,
        seconds=float(np.mean([fitted[i].seconds for i in numbers])),
    )


def _best(likelihoods: Sequence[LogLikelihood]) -> Tensor:
    """Return for each row the largest estimate, four standard errors taken off each for the choice, shape (N,)."""
    values = torch.stack([one.value for one in likelihoods])
    safe = values - 4 * torch.stack([one.se for one in likelihoods])
    return values.gather(0, safe.argmax(0, keepdim=True)).squeeze(0)


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean(0)
