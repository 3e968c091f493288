"""The linear variational autoencoder trained by SVI, and its gap to the closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pyro_vae.experiment.comparison.entries import Entry, vae_entry
from pyro_vae.guides import DiagonalNormalGuide
from pyro_vae.likelihoods.base import typical_scale
from pyro_vae.likelihoods.normal import GaussianWithIsotropicScale
from pyro_vae.models.linear import LinearGaussianModel
from pyro_vae.networks.linear import LinearEncoder
from pyro_vae.networks.standardize import Whiten
from pyro_vae.objectives import AnalyticELBO
from pyro_vae.training import Callback, Schedule, fit

__all__ = ["LinearVAE", "fit_linear_vae"]


@dataclass(frozen=True)
class LinearVAE:
    """A linear variational autoencoder and its gaps to exact results.

    Args:
        entry: Its line of the comparison.
        optimum: The closed form's log-likelihood of the training rows: PPCA's, nats per example.
        reached: The exact log-likelihood of the training rows at the trained parameters, nats per example.
        angle: The largest angle between its column space and the leading principal directions, at most
            20 of them, in degrees.
        model: The generative program.
    """

    entry: Entry
    optimum: float
    reached: float
    angle: float
    model: LinearGaussianModel

    def shifted(self, by: float) -> LinearVAE:
        """Return the result with a constant (nats per example) added to all values, for x in another unit."""
        return replace(
            self, entry=self.entry.shifted(by), optimum=self.optimum + by, reached=self.reached + by
        )

    @property
    def parameter_gap(self) -> float:
        """Optimum minus the exact log-likelihood at the trained parameters: the part due to training."""
        return self.optimum - self.reached

    @property
    def posterior_gap(self) -> float:
        """Exact log-likelihood minus ELBO: the mean KL(q(z | x) || p(z | x)), the part due to the guide."""
        return self.reached - self.entry.train


def fit_linear_vae(
    train: Tensor,
    test: Tensor,
    latent_dim: int,
    *,
    epochs: int = 300,
    batch_size: int = 128,
    lr: float = 3e-3,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
) -> LinearVAE:
    """Train the linear VAE with one noise scale by SVI and measure its gap to PPCA (Lucas et al. 2019).

    Args:
        train: Rows to fit, shape (N, data_dim); the same draw in every epoch, as for the baselines.
        test: Rows to score, shape (M, data_dim).
        latent_dim: Size of z.
        epochs: Passes over the training rows.
        batch_size: Rows per step.
        lr: Peak learning rate of Adam.
        seed: Seed of the initial weights and of all noise.
        callbacks: Callbacks of `fit`.
        progress: Whether to show a progress bar.
    """
    from pyro_vae.baselines import PPCA

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, guide = _linear_vae(train, latent_dim)
    # Gradients shrink with the noise variance as it is learned: a short average of their squares follows it.
    adam = partial(torch.optim.Adam, lr=lr, betas=(0.9, 0.99), fused=True)
    result = fit(
        model,
        guide,
        train,
        objective=AnalyticELBO(),
        epochs=epochs,
        batch_size=batch_size,
        optimizer=adam,
        schedule=Schedule("cosine", warmup=0.05),
        callbacks=callbacks,
        seed=seed,
        progress=progress,
    )
    model, guide = model.double(), guide.double()
    exact = model.to_baseline()
    rows = train.double()
    entry = vae_entry("linear VAE by SVI", model, guide, rows, test.double(), result, num_particles=20)
    closed = PPCA(latent_dim).fit(rows)
    angle = _largest_angle(closed.components_[:20], exact.components_)
    return LinearVAE(entry, closed.score(rows), exact.score(rows), angle, model)


def _largest_angle(directions: NDArray[Any], components: NDArray[Any]) -> float:
    """Return the largest angle in degrees between the span of `directions` and that of `components`."""
    inside, outside = (np.linalg.qr(rows.T)[0] for rows in (directions, components))
    return float(np.degrees(np.arccos(np.clip(np.linalg.svd(inside.T @ outside)[1].min(), 0, 1))))


def _linear_vae(train: Tensor, latent_dim: int) -> tuple[LinearGaussianModel, DiagonalNormalGuide]:
    mean, scale = train.double().mean(0), typical_scale(train.double().std(0))
    same = torch.full_like(mean, scale)
    likelihood = GaussianWithIsotropicScale(mean, same, scale_floor=1e-4 * scale)
    # Whitening does not change the model class: a map that is linear in whitened rows is linear in the rows.
    encoder = LinearEncoder(torch.zeros_like(mean), torch.ones_like(mean), latent_dim)
    guide = DiagonalNormalGuide(nn.Sequential(Whiten(train), encoder))
    return LinearGaussianModel(latent_dim, likelihood), guide
