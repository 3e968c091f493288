"""One run of guide and model on a batch, with diagnosis of failures."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoGuide
from torch import Tensor

from pyro_vae._checks import InputError
from pyro_vae._compat import give_local_state
from pyro_vae.objectives.checks import check_run, check_same_sites, rows_of
from pyro_vae.objectives.draws import Draws, RowLogProbs
from pyro_vae.objectives.sites import AtLeaves, AtValues, sample_sites, score, within_support

__all__ = ["ProgramError", "draw", "row_log_probs"]


class ProgramError(InputError):
    """A program failed on the given rows."""


def draw(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Tensor,
    num_particles: int = 1,
    max_plate_nesting: int = 1,
    cut: bool = False,
    values: dict[str, Tensor] | None = None,
    bound: bool = True,
) -> Draws:
    """Run guide and model once.

    Args:
        model: A Pyro program with all its sites in the plate `"data"`.
        guide: A Pyro program with the model's latent sites.
        data: Arguments of both programs: rows of shape (N, data_dim), and labels if they take them.
        num_particles: Samples of z per row, drawn in one vectorized run.
        max_plate_nesting: Depth of nested plates in the programs, 1 if `"data"` is the only plate.
        cut: Whether log-probabilities are evaluated at detached copies of the guide's samples, so that no gradient
            flows into the guide through z.
        values: Values by site to score in place of the guide's samples.
        bound: Whether the log-probabilities define a bound on log p(x), so that guide and model need densities;
            otherwise the guide must be a point mass.

    Raises:
        InputError: If a site is outside the plate, the guide's sites are not the model's, their distributions or
            shapes cannot be compared, or a program fails on the data.
    """
    if isinstance(guide, AutoGuide):
        _check_same_rows(guide, *data)
    for program in (model, guide):
        give_local_state(program)
    proposal = guide if values is None else AtValues(values)(guide)
    try:
        return _draw(model, proposal, data, num_particles, max_plate_nesting, cut, bound)
    except InputError as error:
        # Pyro appends the shapes of previous sites to messages.
        raise type(error)(str(error).partition("\nTrace Shapes")[0]) from error.__cause__
    except (torch.OutOfMemoryError, NotImplementedError):
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        raise _explained(error, model, proposal, data, num_particles, max_plate_nesting) from error


def _draw(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    data: tuple[Tensor, ...],
    num_particles: int,
    max_plate_nesting: int,
    cut: bool = False,
    bound: bool = True,
) -> Draws:
    particle_dim = -max_plate_nesting - 1
    leaves = AtLeaves()
    guide_trace = _run(leaves(guide) if cut else guide, data, num_particles, particle_dim)
    samples = {site["name"]: site["value"] for site in sample_sites(guide_trace)}
    for name, leaf in leaves.values.items():
        guide_trace.nodes[name]["value"] = leaf
    model_trace = _run(poutine.replay(model, trace=guide_trace), data, num_particles, particle_dim)
    check_same_sites(model_trace, guide_trace)
    draws = Draws(model, guide, data, samples, guide_trace, model_trace, num_particles, particle_dim)
    for site in (*draws.guide_sites, *draws.model_sites):
        score(site)
    check_run(draws.model_sites, draws.guide_sites, rows_of(data), bound)
    for site in draws.model_sites:
        if not site["is_observed"]:
            within_support(site)
    return draws


def _explained(
    error: Exception,
    model: Callable[..., Any],
    guide: Callable[..., Any],
    data: tuple[Tensor, ...],
    num_particles: int,
    max_plate_nesting: int,
) -> Exception:
    """Return the exception for a program's error: it fails on the rows, or only with several samples of z."""
    reason = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '').strip().rstrip('.')}"
    if "Shape mismatch inside plate" in reason:
        reason += "; declare dimensions of one row by `.to_event(...)`"
    if "more than 1 value per channel" in reason:
        reason += "; choose a batch_size that leaves no batch of one row, or drop the last batch"
    shapes = ", ".join(str(tuple(part.shape)) for part in data) or "none"
    failed = ProgramError(f"Expected programs that run on the data given, of shape {shapes}; got {reason}.")
    if num_particles == 1:
        return failed
    with torch.random.fork_rng(), torch.no_grad():
        try:
            one = _draw(model, guide, data, 1, max_plate_nesting)
        except (RuntimeError, ValueError, IndexError):
            return failed
        deepest = max(-p.dim for s in (*one.guide_sites, *one.model_sites) for p in s["cond_indep_stack"])
        if deepest > max_plate_nesting:
            return InputError(
                f"Expected max_plate_nesting of {deepest}, the depth of nested plates in the programs; got "
                f"{max_plate_nesting}."
            )
        try:
            _draw(model, guide, data, 3 if rows_of(data) == 2 else 2, max_plate_nesting)
        except (RuntimeError, ValueError, IndexError):
            return InputError(
                "Expected programs that run on several samples of z at once, with z of shape (num_particles, N, ...); "
                "they run on one alone. Count dimensions from the right (`z[..., 0]`, `dim=-1`), and join leading ones "
                f"(`z.flatten(0, -2)`) before a network that takes rows alone. The program's own error: {reason}."
            )
    return error  # such as insufficient memory for the number of samples


def row_log_probs(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Tensor,
    num_particles: int = 1,
    max_plate_nesting: int = 1,
) -> RowLogProbs:
    """Run guide and model once and return the log-densities of each row, `Draws.densities`; arguments as for `draw`."""
    return draw(
        model, guide, *data, num_particles=num_particles, max_plate_nesting=max_plate_nesting
    ).densities


def _run(program: Callable[..., Any], data: tuple[Tensor, ...], num_particles: int, particle_dim: int) -> Any:
    """Return the trace of a program, under a plate of particles if there are several."""
    if num_particles > 1:
        program = pyro.plate("num_particles", num_particles, dim=particle_dim)(program)
    return poutine.trace(program).get_trace(*data)


_rows_of: weakref.WeakKeyDictionary[AutoGuide, Tensor] = weakref.WeakKeyDictionary()


def _check_same_rows(guide: AutoGuide, *data: Tensor) -> None:
    """Raise if an autoguide, which has parameters for one batch, gets other rows."""
    rows = _rows_of.setdefault(guide, data[0].detach().clone())
    if not torch.equal(rows, data[0]):
        raise InputError(
            f"Expected the {len(rows)} rows of the first call of {type(guide).__name__}, in their order; got others. "
            "Pyro's autoguides hold parameters for one batch: give `fit` a DataLoader with all rows in one batch and "
            "shuffle=False, or take a guide that is a function of x."
        )
