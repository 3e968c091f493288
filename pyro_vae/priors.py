"""Priors p(z): modules that return a distribution when called without arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import transforms
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from pyro_vae._checks import check, check_integer
from pyro_vae._pickling import Picklable
from pyro_vae.data.entry import Entry
from pyro_vae.flows import inverse_autoregressive
from pyro_vae.networks import UNIT

__all__ = ["PRIORS", "DiagonalNormal", "FlowPrior", "MixtureOfNormals", "StandardNormal", "VampPrior"]

SCALE_FLOOR = 1e-3
"""The smallest learned scale, in units of z: below, a component could close in on one row's z."""


class StandardNormal(Picklable):
    """`z ~ N(0, I)`.

    Args:
        latent_dim: Size of z.

    Raises:
        InputError: If `latent_dim` is not a positive whole number.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = check_integer(latent_dim, "latent_dim")
        # Buffers follow the module to its device and dtype; constants need no place in the saved weights.
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), event shape (latent_dim,)."""
        return dist.Normal(self.loc, self.scale).to_event(1)

    def extra_repr(self) -> str:
        """Return what `repr` shows of the module."""
        return f"{self.latent_dim}"


class DiagonalNormal(Picklable):
    """`z ~ N(loc, diag(scale^2))` with learned loc and scale, started at the standard normal.

    A decoder whose first layer is linear could shift and stretch z as well; here the prior does.

    Args:
        latent_dim: Size of z.

    Raises:
        InputError: If `latent_dim` is not a positive whole number.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        check_integer(latent_dim, "latent_dim")
        self.loc = nn.Parameter(torch.zeros(latent_dim))
        self.raw_scale = nn.Parameter(torch.zeros(latent_dim))

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), event shape (latent_dim,)."""
        return dist.Normal(self.loc, SCALE_FLOOR + softplus(self.raw_scale + UNIT)).to_event(1)


class _NormalMixture(dist.MixtureSameFamily):
    """A mixture of diagonal normals, the same for every row, whose densities are one matrix product.

    `log N(z; m, diag(s^2)) = (s^-2 m) . z - 1/2 s^-2 . z^2 + c` for all z and all K normals at once: no tensor of
    K times z's size is made. In double precision, since the squares cancel where s is small beside m.
    """

    support = dist.constraints.real_vector
    _single: _NormalMixture | None = None

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> _NormalMixture:
        expanded: _NormalMixture = super().expand(batch_shape, _instance)
        expanded._single = self._single or self
        return expanded

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        single = self._single or self
        normals, log_weights = single.component_distribution.base_dist, single.mixture_distribution.logits
        z, loc, scale = value.double(), normals.loc.double(), normals.scale.double()
        precision = scale.square().reciprocal()
        constant = -(precision * loc.square() + (2 * math.pi * scale.square()).log()).sum(-1) / 2
        slopes = torch.cat([precision * loc, -precision / 2], dim=-1)
        each = linear(torch.cat([z, z.square()], dim=-1), slopes, constant + log_weights)
        return each.to(value.dtype).logsumexp(-1)


class MixtureOfNormals(Picklable):
    """`z ~ sum_k w_k N(loc_k, diag(scale_k^2))`, all learned.

    Starts with locations drawn from N(0, 1/2) and variances of 1/2: together near the standard normal.

    Args:
        latent_dim: Size of z.
        num_components: How many normals.

    Raises:
        InputError: If a number is not a positive whole one.
    """

    def __init__(self, latent_dim: int, num_components: int = 10) -> None:
        super().__init__()
        check_integer(latent_dim, "latent_dim")
        check_integer(num_components, "num_components")
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.loc = nn.Parameter(0.5**0.5 * torch.randn(num_components, latent_dim))
        raw_scale = torch.tensor(0.5**0.5).expm1().log() - UNIT
        self.raw_scale = nn.Parameter(raw_scale.repeat(num_components, latent_dim))

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), event shape (latent_dim,)."""
        scale = SCALE_FLOOR + softplus(self.raw_scale + UNIT)
        components = dist.Normal(self.loc, scale).to_event(1)
        return _NormalMixture(dist.Categorical(logits=self.logits), components)


class VampPrior(Picklable):
    """`z ~ (1/K) sum_k q(z | u_k)`, the guide's posterior averaged over learned rows (Tomczak & Welling 2018, eq. 9).

    The guide belongs to the prior too: its encoder is one set of parameters, learned, saved and loaded once. Every z
    is scored under all K posteriors, which a guide that is a flow does slowly.

    Args:
        guide: Module with `posterior(x)`.
        rows: Where the pseudo-inputs u_k start, shape (K, data_dim), in data units; rows of the training split.

    Raises:
        InputError: If `rows` is not of that shape.
    """

    center: Tensor
    spread: Tensor

    def __init__(self, guide: nn.Module, rows: Tensor) -> None:
        super().__init__()
        (rows,) = Entry(most=1, dtype=torch.get_default_dtype()).rows(rows, "pseudo-inputs")
        check(
            rows.ndim == 2 and len(rows) > 0,
            f"Expected pseudo-inputs of shape (K, data_dim) with at least one row; got {tuple(rows.shape)}.",
        )
        self.guide: Any = guide
        # The pseudo-inputs are learned in units of each column's spread, whatever the data's own unit is.
        spread = rows.std(0, correction=0)
        self.register_buffer("center", rows.mean(0))
        self.register_buffer("spread", torch.where(spread > 0, spread, torch.ones_like(spread)))
        self.raw_inputs = nn.Parameter((rows - self.center) / self.spread)

    @property
    def pseudo_inputs(self) -> Tensor:
        """u, shape (K, data_dim), in data units."""
        return self.center + self.spread * self.raw_inputs

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), event shape (latent_dim,)."""
        weights = dist.Categorical(logits=torch.zeros_like(self.raw_inputs[:, 0]))
        posteriors = self.guide.posterior(self.pseudo_inputs)
        normal = isinstance(posteriors, dist.Independent) and isinstance(posteriors.base_dist, dist.Normal)
        return (_NormalMixture if normal else dist.MixtureSameFamily)(weights, posteriors)


class FlowPrior(Picklable):
    """`z = T^-1(e)`, `e ~ N(0, I)`, with autoregressive maps T of z (Chen et al. 2017, section 3.2).

    Any z is scored at once; sampling goes dimension by dimension. Starts near the standard normal.

    Args:
        latent_dim: Size of z, at least 2.
        hidden: Widths of each map's masked network; at least `latent_dim` is taken.
        num_maps: How many maps.

    Raises:
        InputError: If a number is out of range.
    """

    loc: Tensor

    def __init__(self, latent_dim: int, hidden: Sequence[int] = (64,), num_maps: int = 2) -> None:
        super().__init__()
        self.maps = nn.ModuleList(inverse_autoregressive(latent_dim, 0, hidden, num_maps))
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), event shape (latent_dim,)."""
        modules: Any = self.maps
        maps: list[transforms.AffineAutoregressive] = [module.condition(self.loc[:0]) for module in modules]
        noise = dist.Normal(self.loc, torch.ones_like(self.loc)).to_event(1)
        return dist.TransformedDistribution(noise, [one.inv for one in maps])


MakePrior = Callable[[int, nn.Module, Tensor], nn.Module]
"""Takes the size of z, the guide and rows of the training split (as many as components); gives a prior."""

PRIORS: dict[str, MakePrior] = {
    "standard-normal": lambda latent_dim, guide, rows: StandardNormal(latent_dim),
    "diagonal-normal": lambda latent_dim, guide, rows: DiagonalNormal(latent_dim),
    "mixture": lambda latent_dim, guide, rows: MixtureOfNormals(latent_dim, len(rows)),
    "vampprior": lambda latent_dim, guide, rows: VampPrior(guide, rows),
    "flow": lambda latent_dim, guide, rows: FlowPrior(latent_dim),
}
"""Priors by the name that the command line knows them by."""
