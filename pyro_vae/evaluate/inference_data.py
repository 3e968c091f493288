"""Latents and predictions of rows as ArviZ data."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae._checks import check
from pyro_vae._inputs import entry_for
from pyro_vae._programs import evaluation_mode
from pyro_vae.evaluate._many_samples import rows_last, vectorized_trace
from pyro_vae.evaluate._streaming import without_side_effects
from pyro_vae.evaluate.importance import log_likelihood
from pyro_vae.evaluate.posteriors import NUTSPosterior, PosteriorSampler, ResampledPosterior, joined
from pyro_vae.objectives.independence import check_programs
from pyro_vae.objectives.sites import sample_sites
from pyro_vae.objectives.unscored import unscored

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["to_arviz"]

CHUNK = 20_000  # pairs of sample and row per run of the programs

SPREAD = 1e-9
"""Range of the draws of log p(x), nats. Equal draws would make ArviZ warn that its Pareto fit failed."""

CONDITIONAL = (
    "log p(x | z) of each row in nats. The z of each row depends on the row, so az.loo, az.waic and az.compare are too "
    "high: set marginal_samples in to_arviz for log p(x)."
)
MARGINAL = (
    "log p(x) of each row in nats, by importance sampling with {} samples of z from the guide; the same for every draw "
    "to 1e-9. Its errors are in constant_data."
)


def to_arviz(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    x: Any,
    *,
    rows: Sequence[int] | None = None,
    posterior: PosteriorSampler | None = None,
    marginal_samples: int | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    coords: Mapping[str, Sequence[Any]] | None = None,
    max_plate_nesting: int = 1,
    seed: int = 0,
) -> Any:
    """Return the latents and predictions of rows as ArviZ data.

    Groups: `posterior`, `posterior_predictive`, `log_likelihood` (log p(x | z) of each row, nats), `prior`,
    `prior_predictive` (one chain of as many draws as a posterior chain), `observed_data`, and
    `sample_stats` or `constant_data` of the sampler. All groups are in memory: a predictive group has num_chains *
    num_samples * N * data_dim numbers, so pass few rows.

    For `az.loo` and `az.compare` set `marginal_samples`: `log_likelihood` is then log p(x) of each row by importance
    sampling, with its standard error and Pareto k in `constant_data`. With log p(x | z) their results are too high,
    because z depends on the row. The model's parameters are fixed, so for rows not used in
    training the sum of log p(x) over rows is what `az.loo` estimates. `log_likelihood.attrs["meaning"]` states which of
    the two a result contains.

    Args:
        model: A Pyro program with all its sites in the plate `"data"`.
        guide: A Pyro program with the model's latent sites; `NUTSPosterior` does not use it.
        x: Rows of shape (N, data_dim), or a tuple of rows and context.
        rows: Indices of rows, by default all; they become the coordinate `data`. Rows that cannot be scored are left
            out, with a warning.
        posterior: Sampler of p(z | x): `ResampledPosterior()` or `NUTSPosterior()`.
        marginal_samples: Samples of z from the guide for log p(x) of each row; None gives log p(x | z).
        dims: Names of the dimensions of a site; by default `z_dim`, or `z_dim_0`, ... for several.
        coords: Values along dimensions; by default 0, 1, ...
        max_plate_nesting: Depth of nested plates in the programs.
        seed: Seed of all noise; the global random state is restored.

    Returns:
        `arviz.InferenceData` with ArviZ 0.x, `xarray.DataTree` with ArviZ 1.x.

    Raises:
        InputError: If a row does not exist, a site is outside the plate, or names do not match.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from pyro_vae import ExactLinearGuide, LinearGaussianModel, ResampledPosterior, to_arviz
        >>> from pyro_vae.baselines import PPCA
        >>> x = load_iris().data
        >>> ppca = PPCA(n_components=2).fit(x)
        >>> model = LinearGaussianModel.from_baseline(ppca)
        >>> guide = ExactLinearGuide(model)
        >>> data = to_arviz(model, guide, x[:5], posterior=ResampledPosterior(num_samples=20, num_chains=2))
        >>> data.posterior["z"].shape
        (2, 20, 5, 2)
    """
    from pyro_vae.evaluate._arviz import as_groups  # lazy: ArviZ takes seconds to import

    every = entry_for(model, guide).rows(x)
    numbers = list(range(len(every[0]))) if rows is None else list(rows)
    check(
        bool(numbers) and all(0 <= number < len(every[0]) for number in numbers),
        f"Expected rows as numbers from 0 to {len(every[0]) - 1}, at least one; got {numbers[:5]}.",
    )
    data = tuple(values[torch.as_tensor(numbers, device=values.device)] for values in every)
    sampler = posterior or ResampledPosterior()
    with without_side_effects(data), evaluation_mode(model, guide):
        torch.manual_seed(seed)
        if not isinstance(sampler, NUTSPosterior):  # NUTS does not use the guide
            check_programs(model, guide, *data, max_plate_nesting=max_plate_nesting, importance=True)
            data, numbers = _scored(model, guide, data, numbers, max_plate_nesting)
        named = _Names(dict(dims or {}), {"data": numbers} | dict(coords or {}))
        torch.manual_seed(seed)
        draws = sampler.draw(model, guide, data, max_plate_nesting)
        shape = next(iter(draws.latents.values())).shape[:2]
        flat = {name: value.flatten(0, 1) for name, value in draws.latents.items()}
        observed = _observed(model, data, max_plate_nesting)
        seen = _run(model, data, math.prod(shape), max_plate_nesting, flat)
        prior = _run(poutine.uncondition(model), data, shape[1], max_plate_nesting)
        predictive = _run(poutine.uncondition(model), data, math.prod(shape), max_plate_nesting, flat)

    pointwise, by_row = {name: seen.log_probs[name] for name in observed}, dict(draws.by_row)
    meaning = CONDITIONAL
    if marginal_samples is not None:
        estimate = log_likelihood(
            model, guide, data, marginal_samples, max_plate_nesting=max_plate_nesting, seed=seed
        )
        spread = SPREAD * torch.linspace(-1, 1, math.prod(shape), dtype=torch.float64)
        pointwise = {"_".join(observed): estimate.value + spread.unsqueeze(-1)}
        by_row |= {"log_likelihood_se": estimate.se, "log_likelihood_pareto_k": estimate.khat}
        meaning = MARGINAL.format(marginal_samples)

    def by_chain(values: dict[str, Tensor], names: Iterable[str], num_chains: int) -> xr.Dataset:
        chains = {name: values[name].unflatten(0, (num_chains, -1)) for name in names}
        return named.dataset(chains, ("chain", "draw", "data"))

    groups = {
        "posterior": named.dataset(draws.latents, ("chain", "draw", "data")),
        "posterior_predictive": by_chain(predictive.sampled, observed, shape[0]),
        "log_likelihood": by_chain(pointwise, pointwise, shape[0]).assign_attrs(meaning=meaning),
        "sample_stats": named.dataset(draws.by_draw, ("chain", "draw")),
        "prior": by_chain(prior.sampled, draws.latents, 1),
        "prior_predictive": by_chain(prior.sampled, observed, 1),
        "observed_data": named.dataset(observed, ("data",)),
        "constant_data": named.dataset(by_row, ("data",)),
    }
    return as_groups({name: group for name, group in groups.items() if group.data_vars})


def _scored(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    data: tuple[Tensor, ...],
    numbers: list[int],
    nesting: int,
) -> tuple[tuple[Tensor, ...], list[int]]:
    """Return the rows that can be scored, and their numbers; a warning names the others."""
    kept = unscored(model, guide, data, nesting) == 0
    left_out = [number for number, keep in zip(numbers, kept.tolist(), strict=True) if not keep]
    check(bool(kept.any()), f"Expected rows that can be scored; rows {left_out[:5]} have NaN or no density.")
    if left_out:
        warnings.warn(
            f"Rows that cannot be scored are left out ({len(left_out)} of {len(numbers)}: {left_out[:5]}). Look for "
            "NaN and extreme values in them.",
            stacklevel=3,
        )
    scored = [number for number, keep in zip(numbers, kept.tolist(), strict=True) if keep]
    return tuple(part[kept.to(part.device)] for part in data), scored


class _Names(NamedTuple):
    """Names of dimensions, and coordinates along them."""

    dims: dict[str, Sequence[str]]
    coords: dict[str, Sequence[Any]]

    def dataset(self, values: dict[str, Tensor], leading: tuple[str, ...]) -> xr.Dataset:
        """Return named arrays whose first dimensions are `leading`, and whose others are those of the site."""
        import xarray as xr

        arrays = {name: self._array(name, value, leading) for name, value in values.items()}
        return xr.Dataset(arrays, attrs={"inference_library": "pyro"})

    def _array(self, name: str, value: Tensor, leading: tuple[str, ...]) -> xr.DataArray:
        import xarray as xr

        own = value.ndim - len(leading)
        numbered = [f"{name}_dim"] if own == 1 else [f"{name}_dim_{i}" for i in range(own)]
        names = (*leading, *(self.dims.get(name, numbered) if own else ()))
        coords = {
            dim: self.coords.get(dim, np.arange(size)) for dim, size in zip(names, value.shape, strict=False)
        }
        for dim, size in zip(names, value.shape, strict=False):
            check(
                len(names) == value.ndim and len(coords[dim]) == size,
                f"Expected {own} names for the dimensions of {name!r} and {size} coordinates along {dim!r}; got "
                f"{list(names[len(leading) :])} and {len(coords[dim])}.",
            )
        return xr.DataArray(value.detach().cpu().numpy(), dims=names, coords=coords)


class _Ran(NamedTuple):
    sampled: dict[str, Tensor]  # values of the sites that were drawn, shape (num_samples, N, *event)
    log_probs: dict[str, Tensor]  # of each site and row, shape (num_samples, N), nats


def _run(
    program: Callable[..., Any],
    data: tuple[Tensor, ...],
    num_samples: int,
    nesting: int,
    values: dict[str, Tensor] | None = None,
) -> _Ran:
    """Run a program for many values of its latents, in chunks."""
    step, parts = max(1, CHUNK // len(data[0])), []
    for start in range(0, num_samples, step):
        count = min(step, num_samples - start)
        given = None if values is None else {name: v[start : start + count] for name, v in values.items()}
        trace = vectorized_trace(program, data, count, nesting, given)
        trace.compute_log_prob()
        sites = sample_sites(trace)
        sampled = {site["name"]: rows_last(site) for site in sites if not site["is_observed"]}
        log_probs = {site["name"]: site["log_prob"].reshape(count, -1, len(data[0])).sum(1) for site in sites}
        parts.append(_Ran(sampled, log_probs))
    return _Ran(joined([part.sampled for part in parts]), joined([part.log_probs for part in parts]))


def _observed(model: Callable[..., Any], data: tuple[Tensor, ...], nesting: int) -> dict[str, Tensor]:
    """Return the observed values by site."""
    sites = sample_sites(vectorized_trace(model, data, 1, nesting))
    return {site["name"]: site["value"] for site in sites if site["is_observed"]}
