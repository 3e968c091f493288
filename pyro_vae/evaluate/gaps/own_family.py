"""The guide's family, parametrized by the encoder's outputs for each row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import TransformedDistribution

from pyro_vae._checks import check
from pyro_vae._context import row_by_row
from pyro_vae.evaluate._densities import Densities
from pyro_vae.evaluate._many_samples import vectorized_trace
from pyro_vae.evaluate.gaps.families import Family
from pyro_vae.guides import AmortizedGuide
from pyro_vae.objectives.sites import sample_sites

__all__ = ["has_encoder", "own_family"]


def has_encoder(guide: Any) -> bool:
    """Return whether a guide has a module `encoder`."""
    return isinstance(getattr(guide, "encoder", None), nn.Module)


def own_family(densities: Densities) -> Family | None:
    """Return the family of a guide, with parameters per row in place of the encoder's outputs.

    For an `AmortizedGuide` with one site it is `guide.family(outputs)`. For other guides with a module `encoder` the
    guide is run with given outputs; networks that take samples of z are fixed.

    Returns:
        None for other guides, and if the encoder does not run exactly once, on x, with one output tensor per row.

    Raises:
        InputError: If a site has no reparameterized samples.
    """
    guide = densities.guide
    if isinstance(guide, AmortizedGuide) and len(densities.sites) == 1:
        start = row_by_row(guide.encoder, *densities.data).detach()
        _check_reparameterised(guide, guide.family(start).has_rsample)
        (site,) = densities.sites
        return Family(
            start, lambda outputs: TransformedDistribution(guide.family(outputs), [site.transform.inv])
        )
    return _of_program(densities) if has_encoder(guide) else None


def _of_program(densities: Densities) -> Family | None:
    guide: Any = densities.guide
    recorded: list[Any] = []
    handle = guide.encoder.register_forward_hook(lambda _, inputs, outputs: recorded.append(outputs))
    try:
        with torch.no_grad():
            sites = sample_sites(vectorized_trace(guide, densities.data, 1, densities.max_plate_nesting))
    finally:
        handle.remove()
    if len(recorded) != 1 or not _is_table(recorded[0], len(densities.data[0])):
        return None
    _check_reparameterised(guide, all(site["fn"].has_rsample for site in sites))
    shape = recorded[0].shape[1:]
    return Family(
        recorded[0].detach().flatten(1), lambda outputs: _Member(densities, outputs.unflatten(1, shape))
    )


def _is_table(outputs: Any, num_rows: int) -> bool:
    return (
        isinstance(outputs, Tensor)
        and outputs.is_floating_point()
        and outputs.ndim >= 2
        and len(outputs) == num_rows
    )


class _Member:
    """The guide with given outputs of its encoder, shape (N, ...), as a density over u."""

    def __init__(self, densities: Densities, outputs: Tensor) -> None:
        self.densities, self.outputs = densities, outputs

    def rsample(self, sample_shape: Any) -> Tensor:
        """Run the guide; return u, shape (num_samples, N, size), with gradients."""
        with self._given():
            return self.densities.rsample_guide(*sample_shape)

    def sample(self, sample_shape: Any) -> Tensor:
        """Run the guide; return u, shape (num_samples, N, size)."""
        with self._given():
            return self.densities.from_guide(*sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of u, shape (num_samples, N), by a run of the guide at it."""
        with self._given():
            return self.densities.log_guide_run(value)

    @contextmanager
    def _given(self) -> Iterator[None]:
        guide: Any = self.densities.guide
        handle = guide.encoder.register_forward_hook(lambda *_: self.outputs)
        try:
            yield
        finally:
            handle.remove()


def _check_reparameterised(guide: Any, reparameterised: bool) -> None:
    check(
        reparameterised,
        f"Expected a guide with reparameterized samples, which the fit needs; those of {type(guide).__name__} are "
        "not. Use another family.",
    )
