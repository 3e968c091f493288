"""Inpainting of a half of each test image: squared error and log-likelihood of the hidden half by each method."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks._report import Options, machine, markdown, write
from pyro_vae._checks import check

Array = NDArray[np.float64]
SIZES = (10, 20, 40, 80, 160, 320)
"""Latent sizes of PPCA, selected on validation rows."""
FLOORS = (0.001, 0.003, 0.01, 0.03, 0.1)
"""Smallest probabilities to which PPCA's means are clipped, selected on validation rows."""


@dataclass(frozen=True)
class Halves:
    """Rows of zeros and ones, shape (N, D), and the mask of hidden pixels, shape (D,)."""

    x: Array
    hidden: NDArray[np.bool_]

    @cached_property
    def given(self) -> Array:
        """The visible pixels."""
        return self.x[:, ~self.hidden]

    @cached_property
    def wanted(self) -> Array:
        """The hidden pixels."""
        return self.x[:, self.hidden]

    @property
    def with_holes(self) -> Array:
        """Rows with NaN for hidden pixels."""
        return np.where(self.hidden, np.nan, self.x)


class Scores(NamedTuple):
    """Mean squared error and log-likelihood (nats) of the hidden pixels of each row."""

    error: Array
    log_prob: Array

    @classmethod
    def of_probs(cls, probs: Array, wanted: Array, means: Array | None = None) -> Scores:
        """Return the scores of independent pixels with these probabilities of 1."""
        log_prob = np.log(np.where(wanted == 1, probs, 1 - probs)).sum(axis=1)
        return cls(np.mean(((probs if means is None else means) - wanted) ** 2, axis=1), log_prob)


def mean_image(train: Halves, validation: Halves, test: Halves) -> Scores:
    """Return the scores of the mean of the training rows."""
    mean = train.wanted.mean(axis=0).clip(1e-4, 1 - 1e-4)
    return Scores.of_probs(np.tile(mean, (len(test.x), 1)), test.wanted)


def neighbour(train: Halves, validation: Halves, test: Halves) -> Scores:
    """Return the scores of the training row whose visible half is nearest.

    Its pixels are used with the probability of a difference estimated on validation rows.
    """
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(train.given.astype(np.float32))

    def filled(rows: Halves) -> Array:
        places = nearest.kneighbors(rows.given.astype(np.float32), return_distance=False)[:, 0]
        return np.asarray(train.wanted[places])

    flips = float(np.mean(filled(validation) != validation.wanted))
    found = filled(test)
    return Scores.of_probs(np.where(found == 1, 1 - flips, flips), test.wanted, found)


def ppca(train: Halves, validation: Halves, test: Halves) -> Scores:
    """Return the scores of PPCA's conditional mean in [0, 1], clipped for the likelihood."""
    from pyro_vae.baselines import PPCA

    def means(model: Any, rows: Halves) -> Array:
        return np.asarray(model.impute(rows.with_holes))[:, rows.hidden].clip(0, 1)

    def error(model: Any) -> float:
        return float(np.mean((means(model, validation) - validation.wanted) ** 2))

    sizes = [size for size in SIZES if size < train.x.shape[1]]
    best = min((PPCA(size).fit(train.x) for size in sizes), key=error)
    guess = means(best, validation)
    floor = max(
        FLOORS,
        key=lambda low: Scores.of_probs(guess.clip(low, 1 - low), validation.wanted).log_prob.mean(),
    )
    found = means(best, test)
    return Scores.of_probs(found.clip(floor, 1 - floor), test.wanted, found)


METHODS = {
    "mean image": mean_image,
    "nearest neighbour by the visible half": neighbour,
    "PPCA's conditional mean": ppca,
}


@dataclass(frozen=True)
class Inpainting(Options):
    """Mean squared error and log-likelihood of the hidden half of test images of zeros and ones, under a run."""

    run_folder: Path = Path("runs/mnist-bernoulli-001")
    """Folder of a run with --likelihood bernoulli on images."""
    hide: Literal["left", "right", "top", "bottom"] = "left"
    """The hidden half."""
    rows: int = 500
    """Number of evenly spaced test rows."""
    num_samples: int = 500
    """Number of samples of z for each row."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Device of the run."""

    @property
    def place(self) -> str:
        """Device of the run."""
        return self.device

    def run(self) -> None:
        """Score, print and write."""
        scores, note = self._scores()
        header = ["hidden half by", "mean squared error", "log-likelihood, nats"]
        table = [[name, _described(of.error, 5), _described(of.log_prob, 2)] for name, of in scores.items()]
        text = (
            f"{self.hide} half of {self.rows} test rows hidden, run {self.run_folder.name}, K = {self.num_samples}; "
            f"± standard error over rows; {machine(self)}\n\n{markdown(header, table)}\n\n{note}"
        )
        values = {
            name: {"error": of.error.tolist(), "log_prob": of.log_prob.tolist()}
            for name, of in scores.items()
        }
        write(
            self.out,
            "inpainting",
            text,
            {"hide": self.hide, "tables": {"": [header, *table]}, "scores": values},
        )

    def _scores(self) -> tuple[dict[str, Scores], str]:
        """Return the scores by method, and a note on their accuracy."""
        import torch

        from pyro_vae import load_run
        from pyro_vae.evaluate import log_likelihood
        from pyro_vae.experiment.load_data import load_data
        from pyro_vae.experiment.uses.inpaint import hidden_entries
        from pyro_vae.uses import fit_proposals

        torch.set_num_threads(self.threads)
        run = load_run(self.run_folder, self.device)
        check(
            run.config.model.likelihood == "bernoulli",
            f"Expected a run with --likelihood bernoulli; {self.run_folder} has {run.config.model.likelihood}.",
        )
        data = load_data(run.config)
        hidden = hidden_entries(self.hide, data.data_shape)
        splits = data.train, data.validation.evenly_spaced(self.rows), data.test.evenly_spaced(self.rows)
        halves = [Halves(split.tensor().double().numpy(), hidden.numpy()) for split in splits]
        scores = {name: method(*halves) for name, method in METHODS.items()}
        x = splits[2].tensor().to(self.device)
        given = x.masked_fill(hidden.to(x.device), torch.nan)
        proposals = fit_proposals(run.model, run.guide, given, progress=True)
        found = proposals.impute(self.num_samples, progress=True)
        means = found.value[:, hidden].numpy()
        probs = means.clip(1e-4, 1 - 1e-4)
        scores["VAE, its conditional mean"] = Scores.of_probs(probs, halves[2].wanted, means)
        observed = proposals.log_likelihood(self.num_samples, progress=True)
        whole = log_likelihood(run.model, run.guide, x, self.num_samples, progress=True)
        joint = (whole.value - observed.value).numpy()
        scores["VAE, log p(x) - log p(visible)"] = Scores(np.full(len(joint), np.nan), joint)
        ess = found.ess
        return scores, (
            f"effective samples: median {float(ess.median()):.0f}, below {float(ess.quantile(0.1)):.0f} in a tenth; "
            f"log p(visible): {observed}; log p(x): {whole}"
        )


def _described(values: Array, digits: int) -> str:
    if np.isnan(values).all():
        return ""
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1) / np.sqrt(len(values)):.{digits}f}"
