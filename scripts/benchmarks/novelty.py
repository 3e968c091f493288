"""Detection of images unlike the training images: a digit left out, or digits of MNIST by a model of clothes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks._names import ByName
from benchmarks._report import Options, machine, markdown, write

CLOTHES = "fashion-mnist"
SETS = (*map(str, range(10)), CLOTHES)
NEIGHBOUR_ROWS = 10_000
"""Number of training rows of the outlier factor, whose cost grows with it."""


class Images(NamedTuple):
    """Grey levels in [0, 1]: training rows (N, 784), test rows (M, 784) and which of these are novel, (M,)."""

    train: Tensor
    test: Tensor
    strange: NDArray[np.bool_]


@dataclass(frozen=True)
class Novelty(Options):
    """AUROC of test images unlike the training images: a digit left out, or MNIST against Fashion-MNIST.

    With the Bernoulli likelihood, pixels above a half are ones; with the other likelihood, x is grey levels.
    """

    sets: tuple[str, ...] = SETS
    """0 to 9 leave that digit of MNIST out of training; fashion-mnist trains on clothes, and digits are novel."""
    methods: tuple[str, ...] = ("vae", "ppca", "isolation-forest", "outlier-factor")
    """Methods."""
    likelihood: Literal["bernoulli", "continuous-bernoulli"] = "bernoulli"
    """Likelihood of the autoencoder."""
    epochs: int = 40
    """Largest number of passes over the training rows."""
    num_samples: int = 200
    """Number of samples of z for each row."""
    max_rows: int | None = None
    """Largest number of training rows, and of test rows of each data set; all if not given."""
    seed: int = 0
    """Seed of the fits and of the noise."""

    def run(self) -> None:
        """Fit, score, print and write."""
        areas = {name: self._areas(_images(name, self.max_rows)) for name in self.sets}
        scores = list(next(iter(areas.values()), {}))
        header = ["novel class", *scores]
        rows = [[name, *(f"{areas[name][score]:.3f}" for score in scores)] for name in self.sets]
        text = (
            "AUROC of test images that are unlike those of training: MNIST's digit that is left out, or MNIST beside "
            f"Fashion-MNIST; {self.likelihood} likelihood, K = {self.num_samples}, at most {self.epochs} epochs, "
            f"{'all' if self.max_rows is None else f'at most {self.max_rows}'} rows; "
            f"{machine(self)}\n\n" + markdown(header, rows)
        )
        write(self.out, "novelty", text, {"seed": self.seed, "tables": {"": [header, *rows]}, "auroc": areas})

    def _areas(self, images: Images) -> dict[str, float]:
        from pyro_vae.evaluate.anomalies import detection

        found = {}
        for method in self.methods:
            for name, score in METHODS[method](images, self):
                found[name] = detection(torch.as_tensor(score), images.strange).auroc
        return found


def _images(name: str, max_rows: int | None) -> Images:
    from pyro_vae._checks import check
    from pyro_vae.data import load_dataset

    check(name in SETS, f"Expected one of {', '.join(SETS)}; got {name!r}.")

    def split(dataset: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        loaded = load_dataset(dataset, likelihood_kind="unit-interval")
        parts = [each if max_rows is None else each.head(max_rows) for each in (loaded.train, loaded.test)]
        train, test = parts
        assert train.labels is not None
        assert test.labels is not None
        return train.tensor(), train.labels, test.tensor(), test.labels

    train, labels, test, test_labels = split("mnist")
    if name != CLOTHES:
        return Images(train[labels != int(name)], test, (test_labels == int(name)).numpy())
    clothes, _, usual, _ = split(CLOTHES)
    strange = np.repeat([False, True], [len(usual), len(test)])
    return Images(clothes, torch.cat([usual, test]), strange)


Scores = Iterator[tuple[str, Any]]
"""Names and scores, shape (M,), larger for more novel rows."""


def _autoencoder(images: Images, options: Novelty) -> Scores:
    from pyro_vae import VAE
    from pyro_vae.evaluate import log_likelihood
    from pyro_vae.evaluate.anomalies import typicality

    train, test = images.train, images.test
    if options.likelihood == "bernoulli":
        train, test = (train > 0.5).float(), (test > 0.5).float()
    vae = VAE(
        20, likelihood=options.likelihood, epochs=options.epochs, num_samples=1, random_state=options.seed
    )
    vae.fit(train.numpy())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, guide = vae.model_.float().to(device), vae.guide_.float().to(device)
    usual = train[np.linspace(0, len(train) - 1, min(2000, len(train))).astype(np.int64)]
    scores, reference = (
        log_likelihood(model, guide, rows.to(device), options.num_samples, seed=options.seed)
        for rows in (test, usual)
    )
    yield "vae, -log p(x)", -scores.value
    yield "vae, -ELBO", -scores.elbo
    yield "vae, typicality", typicality(scores.value, reference.value)


def _of_scikit_learn(
    name: str, make: Callable[[int], Any], num_rows: int | None = None
) -> Callable[..., Scores]:
    def scores(images: Images, options: Novelty) -> Scores:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = make(options.seed).fit(images.train[:num_rows].double().numpy())
        yield name, -np.asarray(fitted.score_samples(images.test.double().numpy()))

    return scores


def _ppca(seed: int) -> Any:
    from pyro_vae.baselines import PPCA

    return PPCA(20)


def _forest(seed: int) -> Any:
    from sklearn.ensemble import IsolationForest

    return IsolationForest(random_state=seed)


def _outlier_factor(seed: int) -> Any:
    from sklearn.neighbors import LocalOutlierFactor

    return LocalOutlierFactor(novelty=True)


METHODS: ByName[Callable[[Images, Novelty], Scores]] = ByName(
    {
        "vae": _autoencoder,
        "ppca": _of_scikit_learn("PPCA, -log p(x)", _ppca),
        "isolation-forest": _of_scikit_learn("isolation forest", _forest),
        "outlier-factor": _of_scikit_learn(
            f"outlier factor of {NEIGHBOUR_ROWS} rows", _outlier_factor, NEIGHBOUR_ROWS
        ),
    }
)
"""Functions that fit the training rows and score the test rows, by name."""
