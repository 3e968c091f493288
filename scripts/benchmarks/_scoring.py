"""The test log-likelihood of weights written by a contender of `quality`, and the time at which it passed a level."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae.evaluate import log_likelihood
from pyro_vae.guides import AmortizedGuide
from pyro_vae.likelihoods import BernoulliLikelihood
from pyro_vae.models.generative import GenerativeModel
from pyro_vae.networks import ACTIVATIONS
from pyro_vae.priors import StandardNormal

SCALES: dict[str, Callable[[Tensor], Tensor]] = {
    "softplus": nn.functional.softplus,
    "exp": torch.exp,
    "variance": lambda log_variance: torch.exp(0.5 * log_variance),
}
"""Functions from the second half of an encoder's outputs to the scale of z."""


class Guide(AmortizedGuide):
    """`z | x ~ N(loc(x), diag(scale(x)^2))` with any of `SCALES`."""

    def __init__(self, encoder: nn.Module, scale: str) -> None:
        super().__init__(encoder)
        self.scale = SCALES[scale]

    def family(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return the diagonal normal with the parameters `outputs`, shape (..., 2 latent_dim)."""
        loc, raw_scale = outputs.chunk(2, dim=-1)
        return dist.Normal(loc, self.scale(raw_scale)).to_event(1)


def programs_of(path: Path, activation: str) -> tuple[GenerativeModel, Guide]:
    """Return model and guide with the written weights."""
    with np.load(path, allow_pickle=False) as arrays:
        encoder, decoder = (_mlp(arrays, name, activation) for name in ("encoder", "decoder"))
        scale = str(arrays["scale"])
        latent_dim, data_dim = arrays["decoder_0_weight"].shape[1], arrays["encoder_0_weight"].shape[1]
    # Probabilities of a half have logits of zero, so that the decoder's outputs are the logits.
    likelihood = BernoulliLikelihood(torch.full((data_dim,), 0.5), torch.full((data_dim,), 0.5))
    model = GenerativeModel(StandardNormal(latent_dim), decoder, likelihood)
    return model.eval(), Guide(encoder, scale).eval()


def _mlp(arrays: Any, name: str, activation: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(sum(key.startswith(name) for key in arrays.files) // 2):
        weight, bias = (torch.from_numpy(arrays[f"{name}_{number}_{kind}"]) for kind in ("weight", "bias"))
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": bias})
        layers += [layer, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


class Score(NamedTuple):
    """An estimate of the mean log p(x) of a test split, nats."""

    mean: float
    se: float
    """Standard error of the correction, due to rows that it leaves out; sampling of the split itself is not
    included."""


COARSE = 100
"""Number of samples of z with which all rows are scored."""


def score(path: Path, activation: str, x: Tensor, num_samples: int, num_rows: int) -> Score:
    """Estimate the mean over all rows of x of log p(x) by importance sampling with `num_samples` of z.

    All rows are scored with a few samples, and `num_rows` evenly spaced rows with all. The mean is corrected by the
    difference on these (the difference estimator of survey sampling), which varies far less than log p(x) itself.
    """
    programs = programs_of(path, activation)
    coarse = log_likelihood(*programs, x, min(COARSE, num_samples)).value
    chosen = torch.linspace(0, len(x) - 1, min(num_rows, len(x))).long()
    difference = log_likelihood(*programs, x[chosen], num_samples).value - coarse[chosen]
    share_left_out = 1 - len(chosen) / len(x)
    se = difference.std() * math.sqrt(share_left_out / len(chosen))
    return Score(float(coarse.mean() + difference.mean()), float(se))


class Curve:
    """Scores during training, estimated on request; they are assumed to increase.

    Args:
        paths: Files of a contender, in order.
        score: Function that estimates the score of a file.
    """

    def __init__(self, paths: Sequence[Path], score: Callable[[Path], Score]) -> None:
        self.paths = paths
        self.seconds = [float(np.load(path, allow_pickle=False)["seconds"]) for path in paths]
        self.scores: dict[int, Score] = {}
        self._score = score

    def at(self, number: int) -> Score:
        """Return the score of a snapshot."""
        if number not in self.scores:
            self.scores[number] = self._score(self.paths[number])
        return self.scores[number]

    @property
    def last(self) -> Score:
        """The score at the end of training."""
        return self.at(len(self.paths) - 1)

    def seconds_to(self, level: float) -> float | None:
        """Return the time of a level, interpolated between the adjacent snapshots; None if it was not reached."""
        if self.last.mean < level:
            return None
        below, above = -1, len(self.paths) - 1
        while above - below > 1:
            middle = (below + above) // 2
            below, above = (below, middle) if self.at(middle).mean >= level else (middle, above)
        if below < 0:
            return self.seconds[0]
        times, means = self.seconds[below : above + 1], [self.at(below).mean, self.at(above).mean]
        return float(np.interp(level, means, times))
