"""Imputation by a model whose encoder was not trained with missing entries."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import check, check_integer
from pyro_vae._context import accepted_context
from pyro_vae._inputs import entry_for
from pyro_vae._programs import evaluation_mode
from pyro_vae.evaluate import Imputation, LogLikelihood, impute, log_likelihood
from pyro_vae.evaluate._densities import Densities
from pyro_vae.evaluate._streaming import without_side_effects
from pyro_vae.evaluate._unbounded import unbounded_sites
from pyro_vae.evaluate.gaps import RowFit
from pyro_vae.guides import DiscreteGuide
from pyro_vae.models.generative import GenerativeModel
from pyro_vae.objectives.supports import is_point_mass
from pyro_vae.progress import Bar, progress_bar
from pyro_vae.seeds import derive_seed, derive_seeds
from pyro_vae.uses._blocks import rows_at_once
from pyro_vae.uses.observed_entries import ObservedEntries, parts_log_prob
from pyro_vae.uses.pseudo_gibbs import PseudoGibbs
from pyro_vae.uses.row_gaussians import RowGaussians, gaussian_near
from pyro_vae.uses.row_states import RowStates, states_near

__all__ = ["FittedProposals", "fit_proposals", "inpaint_rows"]

ROWS = 256
"""Maximum number of rows whose proposals are fitted together."""
FIT = RowFit(num_steps=100, num_particles=8, learning_rate=0.05)


class FittedProposals:
    """Proposals q_n(z) that approximate p(z | x_obs) for each row n.

    Attributes:
        model: The model of the observed entries.
        guide: The guide of all proposals, called on `data`.
        data: Rows (N, data_dim), NaN where missing, their context, and the parameters of q_n.
    """

    def __init__(
        self, model: ObservedEntries, guide: RowGaussians | RowStates, data: tuple[Tensor, ...]
    ) -> None:
        self.model, self.guide, self.data = model, guide, data

    def log_likelihood(self, num_samples: int = 1000, seed: int = 0, progress: bool = False) -> LogLikelihood:
        """Return log p(x_obs) of each row by importance sampling, nats."""
        return log_likelihood(self.model, self.guide, self.data, num_samples, seed=seed, progress=progress)

    def impute(
        self, num_samples: int = 1000, num_draws: int = 0, seed: int = 0, progress: bool = False
    ) -> Imputation:
        """Return mean and spread of x_mis given x_obs, and draws, by importance resampling."""
        return impute(
            self.model, self.guide, self.data, num_samples,
            num_draws=num_draws, seed=seed, progress=progress,
        )  # fmt: skip


def fit_proposals(
    model: GenerativeModel,
    guide: Any,
    x: Any,
    *,
    chains: PseudoGibbs | None = None,
    fit: RowFit | None = None,
    seed: int = 0,
    progress: bool = False,
) -> FittedProposals:
    """Fit a full-covariance Gaussian to p(z | x_obs) of each row.

    It starts at the mean and covariance of pseudo-Gibbs chains and maximizes the bound of the observed entries

        E_q[log p(x_obs, z) - log q(z)] <= log p(x_obs),

    as in semi-amortized inference (Kim et al. 2018). The encoder need not have been trained with missing entries. For
    discrete latents the proposal is the relative frequency of the chains' states.

    Args:
        model: The generative program, with a likelihood of independent entries or pixels.
        guide: A guide with a density and `encode(x, *context)`, such as `AmortizedGuide`.
        x: Rows of shape (N, data_dim), NaN where missing, in any container that `fit` takes; with context in a tuple.
        chains: Settings of the chains from which the fit starts.
        fit: Settings of the optimization.
        seed: Seed of all noise; the global random state is restored.
        progress: Whether to show a progress bar.

    Raises:
        InputError: If the guide has no density, entries are not independent given z, or a class is latent.
    """
    check_integer(seed, "seed", minimum=0)
    check(
        isinstance(model, GenerativeModel) and hasattr(guide, "encode"),
        f"Expected a GenerativeModel and a guide with `encode`; got {type(model).__name__} and {type(guide).__name__}.",
    )
    chains, fit = chains or PseudoGibbs(), fit or FIT
    data = entry_for(model, guide).rows(x)
    _check_densities(model, guide, *(part[:1] for part in data))
    proposal = _proposal(model, guide, *(part[:1] for part in data))
    observed = ObservedEntries(model, left_out=proposal.num_parameters)
    steps = len(data[0]) * (1 if isinstance(proposal, RowStates) else fit.num_steps)
    bar = progress_bar(steps, "steps", "fitting proposals", shown=progress)
    parts: list[tuple[Tensor, ...]] = []
    with without_side_effects(data), evaluation_mode(model, guide), bar:
        size = rows_at_once(model, max(chains.num_chains, fit.num_particles), ROWS)
        for start in range(0, len(data[0]), size):
            block = tuple(part[start : start + size] for part in data)
            torch.manual_seed(derive_seed(seed, start))
            near = chains.draw(model, guide, *block)
            if isinstance(proposal, RowStates):
                prior = model.prior(*accepted_context(model.prior, block[1:], beside=0))
                parts.append((states_near(near, prior.mean, proposal.variables),))
                bar.update(len(near[0]))
            else:
                near = _in_order(guide, near, proposal.sizes, *block)
                parts.append(_fitted(observed, proposal, near, block, fit, bar))
    parameters = tuple(torch.cat(column) for column in zip(*parts, strict=True))
    return FittedProposals(observed, proposal, (*data, *parameters))


def _proposal(model: GenerativeModel, guide: Any, *row: Tensor) -> RowGaussians | RowStates:
    """Return the family of proposals, from a run on one row."""
    if isinstance(guide, DiscreteGuide):
        return RowStates(guide.variables)
    with without_side_effects(row), evaluation_mode(model, guide):
        sites = unbounded_sites(model, row)
    return RowGaussians({site["name"]: site["fn"].event_shape.numel() for site in sites})


def _check_densities(model: GenerativeModel, guide: Any, x: Tensor, *context: Tensor) -> None:
    """Raise if the guide is a point mass, or entries are not independent given z; tested on one row."""
    with torch.no_grad(), torch.random.fork_rng(), evaluation_mode(model, guide):
        filled = x.nan_to_num(0.0)
        posterior = guide.encode(filled, *accepted_context(guide.encode, context))
        check(
            not is_point_mass(posterior),
            "Expected a guide with a density; got a point mass. An autoencoder has no likelihood.",
        )
        parts_log_prob(model.decode(posterior.sample(), *context), filled)


def _in_order(guide: Any, z: Tensor, sizes: dict[str, int], x: Tensor, *context: Tensor) -> Tensor:
    """Return codes, shape (S, N, D), with their sites concatenated in the order of `sizes`."""
    if len(sizes) == 1:
        return z
    given = accepted_context(guide.encode, tuple(part[:1] for part in context))
    split = guide.encode(x[:1].nan_to_num(0.0), *given).split(z)
    return torch.cat([split[name] for name in sizes], dim=-1)


def _fitted(
    model: ObservedEntries,
    guide: RowGaussians,
    near: Tensor,
    block: tuple[Tensor, ...],
    fit: RowFit,
    bar: Bar,
) -> tuple[Tensor, Tensor]:
    """Return loc, shape (n, D), and lower triangular factor, shape (n, D, D), of the best Gaussians."""
    family = gaussian_near(near)
    start: Any = family.member(family.start)
    densities = Densities(model, guide, (*block, start.loc, start.scale_tril))
    best: Any = fit(family, densities, bar)
    return best.loc, best.scale_tril


def inpaint_rows(
    model: GenerativeModel,
    guide: Any,
    x: Any,
    num_samples: int = 1000,
    *,
    num_draws: int = 0,
    chains: PseudoGibbs | None = None,
    fit: RowFit | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Imputation:
    """Fill in missing entries under p(x_mis | x_obs) by importance resampling from proposals fitted to each row.

    Args:
        model: The generative program.
        guide: The inference program.
        x: Rows with NaN for missing entries, see `fit_proposals`.
        num_samples: Samples of z for each row, at least 2.
        num_draws: Number of completed rows to draw.
        chains: Pseudo-Gibbs chains, see `fit_proposals`.
        fit: Settings of the fit, see `fit_proposals`.
        seed: Seed of all noise; the global random state is restored.
        progress: Whether to show progress bars.

    Returns:
        Means, standard deviations and draws of the missing entries, and the effective number of samples of each row.

    Raises:
        InputError: See `fit_proposals` and `impute`.
    """
    to_fit, to_draw = derive_seeds(seed, count=2)
    proposals = fit_proposals(model, guide, x, chains=chains, fit=fit, seed=to_fit, progress=progress)
    return proposals.impute(num_samples, num_draws, to_draw, progress)
