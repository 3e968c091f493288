"""Ex-post density estimation: z from a mixture of normals fitted to the codes of training rows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_vae._checks import InputError, check, check_choice, check_integer
from pyro_vae._inputs import entry_for
from pyro_vae._pickling import Picklable
from pyro_vae._programs import evaluation_mode
from pyro_vae.data.adapters import as_blocks
from pyro_vae.data.as_tensor import check_finite
from pyro_vae.data.splits import Split
from pyro_vae.evenly_spaced import evenly_spaced_rows
from pyro_vae.models.generative import GenerativeModel
from pyro_vae.objectives.supports import measure_of

__all__ = ["SOURCES", "CodeMixture", "sampling_model", "training_codes", "with_code_mixture"]

SOURCES = ("prior", "mixture")
"""Sources of z: the model's p(z), or a mixture fitted to the codes of training rows."""
COMPONENTS = 10
"""Ghosh et al. (2020) use 10 normals of full covariance on all their data sets."""
CODED_ROWS = 10_000
"""Number of evenly spaced training rows for the fit; more change samples less than another seed."""


class CodeMixture(Picklable):
    """`z ~ sum_k w_k N(loc_k, Sigma_k)`: a fixed prior fitted to codes, of full covariance.

    Ex-post density estimation (Ghosh et al. 2020, "From Variational to Deterministic Autoencoders", section 4): if
    the prior and the aggregate posterior q(z) = E_x[q(z | x)] differ, the decoder was trained on the latter.

    Args:
        weights: w, shape (K,), above 0, with sum 1.
        loc: Shape (K, latent_dim).
        covariance: Sigma, positive definite, shape (K, latent_dim, latent_dim).
    """

    weights: Tensor
    loc: Tensor
    scale_tril: Tensor

    def __init__(self, weights: Tensor, loc: Tensor, covariance: Tensor) -> None:
        super().__init__()
        dtype = torch.get_default_dtype()
        self.register_buffer("weights", weights.to(dtype))
        self.register_buffer("loc", loc.to(dtype))
        self.register_buffer("scale_tril", torch.linalg.cholesky(covariance.double()).to(dtype))

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), event shape (latent_dim,)."""
        components = dist.MultivariateNormal(self.loc, scale_tril=self.scale_tril)
        return dist.MixtureSameFamily(dist.Categorical(self.weights), components)

    def extra_repr(self) -> str:
        """Return the arguments shown by `repr`."""
        return f"{self.loc.shape[1]}, num_components={len(self.loc)}"

    @classmethod
    def fit(cls, codes: Tensor, num_components: int = COMPONENTS, seed: int = 0) -> CodeMixture:
        """Return the mixture fitted to codes by expectation maximisation, scikit-learn's `GaussianMixture`.

        Args:
            codes: Shape (N, latent_dim), N at least the number of components.
            num_components: K.
            seed: Seed of the initial values.

        Raises:
            InputError: If there are too few codes, or some are not finite.
        """
        from sklearn.exceptions import ConvergenceWarning  # lazy: takes half as long to import as torch
        from sklearn.mixture import GaussianMixture

        check_integer(num_components, "num_components")
        check(
            codes.ndim == 2 and len(codes) >= num_components,
            f"Expected codes of shape (N, latent_dim) with at least {num_components} rows, one a component; got "
            f"{tuple(codes.shape)}. Give more rows or fewer components.",
        )
        check_finite(codes, name="codes")
        z = codes.detach().double().cpu().numpy()
        # Relative to the codes: scikit-learn's default of 1e-6 assumes unit variance.
        floor = 1e-6 * (float(np.mean(z.var(0))) or 1.0)
        mixture = GaussianMixture(num_components, reg_covar=floor, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # 100 steps are sufficient
            try:
                mixture.fit(z)
            except ValueError as error:
                raise InputError(
                    f"Expected codes that a mixture can be fitted to; scikit-learn: {error}"
                ) from error
        parts = (mixture.weights_, mixture.means_, mixture.covariances_)
        return cls(*map(torch.from_numpy, parts)).to(codes.device)


@torch.no_grad()
def training_codes(
    model: GenerativeModel, guide: Any, train: Any, *, num_rows: int = CODED_ROWS, seed: int = 0
) -> Tensor:
    """Return one draw of z from q(z | x) for evenly spaced training rows, shape (at most `num_rows`, latent_dim).

    Draws rather than means, since the decoder was trained on q(z) = E_x[q(z | x)]. Means have less variance, and none
    in unused dimensions.

    Args:
        model: The generative program.
        guide: A guide with `encode(x)`, such as `AmortizedGuide`.
        train: Rows in any container that `fit` takes.
        num_rows: Maximum number of rows.
        seed: Seed of the draws; the global random state is restored.

    Raises:
        InputError: If the programs take context, or the guide cannot encode.
    """
    check(
        hasattr(guide, "encode"),
        f"Expected a guide with `encode` to fit a mixture to its codes; {type(guide).__name__} has none.",
    )
    entry = entry_for(model, guide)
    some = train.evenly_spaced(num_rows) if isinstance(train, Split) else train
    blocks = [tuple(block) for block in as_blocks(some, entry.device or "cpu", entry=entry)]
    check(
        entry.least == 1 and len(blocks[0]) == 1,
        "Expected a model and a guide of x alone to draw z from a mixture: with context the codes of all rows are not "
        "those of one context. Draw from the prior.",
    )
    rows = torch.cat([x for x, *_ in blocks])
    rows = rows[torch.from_numpy(evenly_spaced_rows(len(rows), num_rows)).to(rows.device)]
    with evaluation_mode(model, guide), torch.random.fork_rng():
        torch.manual_seed(seed)
        posterior = guide.encode(rows)
        check(
            measure_of(posterior) != "a probability mass",
            "Expected a continuous z to fit a mixture of normals to; these codes are discrete. Draw from the prior, "
            "whose probabilities can be learned (`LearnedStates`).",
        )
        codes: Tensor = posterior.sample()
    return codes


def with_code_mixture(
    model: GenerativeModel,
    guide: Any,
    train: Any,
    *,
    num_components: int = COMPONENTS,
    num_rows: int = CODED_ROWS,
    seed: int = 0,
) -> GenerativeModel:
    """Return a model with the same decoder and likelihood and a mixture fitted to training codes as its prior.

    It is an ordinary `GenerativeModel`: `sample`, `sample_prior` and `log_likelihood` work on it. Decoder and
    likelihood are shared with `model`, which is not changed.

    Args:
        model: The generative program.
        guide: A guide with `encode(x)`.
        train: Rows in any container that `fit` takes.
        num_components: Number of normals of the mixture.
        num_rows: Number of evenly spaced rows for the fit.
        seed: Seed of the codes and of the fit.

    Raises:
        InputError: If the programs take context, there are too few rows, or the model is of another class.
    """
    check(
        isinstance(model, GenerativeModel),
        f"Expected a `GenerativeModel`, whose prior can be replaced; got {type(model).__name__}. Fit a `CodeMixture` "
        "to codes of your own.",
    )
    codes = training_codes(model, guide, train, num_rows=num_rows, seed=seed)
    mixture = CodeMixture.fit(codes, num_components, seed)
    return GenerativeModel(mixture, model.decoder, model.likelihood).train(model.training)


def sampling_model(model: GenerativeModel, guide: Any, train: Any, source: str = "prior") -> GenerativeModel:
    """Return the model to draw from: `model` itself for "prior", that of `with_code_mixture` for "mixture".

    Args:
        model: The generative program.
        guide: The inference program.
        train: Training rows, in any container that `fit` takes.
        source: One of `SOURCES`.

    Raises:
        InputError: If the source is unknown, or a mixture cannot be fitted.
    """
    check_choice(source, SOURCES, "the source of samples")
    return model if source == "prior" else with_code_mixture(model, guide, train)
