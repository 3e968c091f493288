"""Denoised rows with their standard deviations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import check, check_integer
from pyro_vae._context import accepted_context
from pyro_vae._inputs import entry_for
from pyro_vae._programs import evaluation_mode
from pyro_vae.distributions.table import Levels
from pyro_vae.evaluate._streaming import without_side_effects
from pyro_vae.networks.corruption import rows_as_given
from pyro_vae.objectives.supports import is_point_mass
from pyro_vae.progress import progress_bar
from pyro_vae.uses._blocks import rows_at_once

__all__ = ["DenoisedRows", "denoise_rows"]

ROWS = 100
"""Maximum number of rows denoised together, with all their particles."""


@dataclass(frozen=True)
class DenoisedRows:
    """Denoised rows, in data units.

    Attributes:
        mean: Mean of E[x | z] over z ~ q(z | x~), shape (N, data_dim).
        sd: Standard deviation of E[x | z] over z ~ q(z | x~), same shape: the uncertainty about the clean row
            under the guide, without the noise of p(x | z). None for an autoencoder.
    """

    mean: Tensor
    sd: Tensor | None


def denoise_rows(
    model: Callable[..., Any],
    guide: Any,
    x: Any,
    *,
    num_particles: int = 16,
    seed: int = 0,
    progress: bool = False,
) -> DenoisedRows:
    """Return mean and standard deviation over particles of E[x | z], z ~ q(z | x~), for corrupted rows x~.

    The guide does not corrupt the rows further. The Monte Carlo error of the mean is about sd / sqrt(num_particles).
    Categorical columns get the level with the largest mean probability over particles, and standard deviation NaN.
    Modules are in evaluation mode during the call.

    Args:
        model: A model with `decode(z, *context)`, such as `GenerativeModel`.
        guide: A guide with `encode(x, *context)`, such as `AmortizedGuide`, usually trained on corrupted rows.
        x: The corrupted rows, in any container that `fit` takes, in data units; with context in a tuple.
        num_particles: Draws of z for each row, at least 2; an autoencoder has one code per row.
        seed: Seed of the draws; the global random state is restored.
        progress: Whether to show a progress bar.

    Raises:
        InputError: If a number is out of range, or the guide has no `encode`.
    """
    check_integer(num_particles, "num_particles", minimum=2)
    check_integer(seed, "seed", minimum=0)
    check(hasattr(guide, "encode"), f"Expected a guide with `encode`; {type(guide).__name__} has none.")
    data = entry_for(model, guide).rows(x)
    parts = []
    bar = progress_bar(len(data[0]), "rows", "denoising", shown=progress)
    with without_side_effects(data), evaluation_mode(model, guide), rows_as_given(guide), bar:
        torch.manual_seed(seed)
        size = rows_at_once(model, num_particles, ROWS)
        for start in range(0, len(data[0]), size):
            block = tuple(part[start : start + size] for part in data)
            parts.append(_denoised(model, guide, num_particles, *block))
            bar.update(len(block[0]))
    sds = [part.sd for part in parts if part.sd is not None]
    return DenoisedRows(torch.cat([part.mean for part in parts]), torch.cat(sds) if sds else None)


def _denoised(model: Any, guide: Any, num_particles: int, x: Tensor, *context: Tensor) -> DenoisedRows:
    context = guide_context(guide, x, context)
    posterior = guide.encode(x, *accepted_context(guide.encode, context))
    if is_point_mass(posterior):
        return DenoisedRows(model.decode(posterior.mean, *context).mean, None)
    z = posterior.sample((num_particles,))
    repeated = (part.repeat(num_particles, *[1] * (part.ndim - 1)) for part in context)
    likelihood = model.decode(z.flatten(0, 1), *repeated)
    means = likelihood.mean.unflatten(0, z.shape[:2]).double()
    mean, sd = means.mean(0), means.std(0)
    for block in getattr(likelihood, "blocks", ()):  # of a table
        if isinstance(block.p, Levels) and not block.p.ordered:
            probs = block.p.probs.unflatten(0, z.shape[:2]).mean(0)
            mean[:, list(block.columns)] = probs.argmax(-1).to(mean)
            sd[:, list(block.columns)] = torch.nan
    return DenoisedRows(mean.to(x.dtype), sd.to(x.dtype))


def guide_context(guide: Any, x: Tensor, context: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the context of rows; a guide with `fill` replaces missing classes by the most probable one."""
    return (guide.fill(x, *context),) if hasattr(guide, "fill") else context
