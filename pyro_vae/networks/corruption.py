"""Corruptions of x, and encoders of corrupted x, for denoising."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pyro_vae._checks import check, check_choice, check_positive
from pyro_vae._context import ContextRange, context_range_of_network
from pyro_vae._pickling import Picklable
from pyro_vae.networks.row_noise import uniform_of_rows

__all__ = [
    "CorruptedInput",
    "Corruption",
    "GaussianNoise",
    "Masking",
    "SaltAndPepper",
    "corruption_of",
    "rows_as_given",
]


class Corruption(Picklable):
    """A random map of rows, `x~ ~ C(x~ | x)`: independent noise for each entry (Vincent et al. 2010).

    Args:
        level: Strength of the corruption.
    """

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = check_positive(level, "level")

    def apply_noise(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return the rows corrupted with uniform numbers `noise` in (0, 1), both of shape (..., D)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows corrupted with noise from torch's random state, shape (..., D)."""
        return self.apply_noise(x, torch.rand_like(x))

    def fixed(self, x: Tensor) -> Tensor:
        """Return the rows corrupted with noise that is a function of each row, shape (..., D)."""
        return self.apply_noise(x, uniform_of_rows(x))

    def moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of each column of corrupted rows from those of the rows, shape (data_dim,) each."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Return what `repr` shows of the module."""
        return f"level={self.level:g}"


def _replaced(
    level: float, mean: Tensor, variance: Tensor, by: Tensor, squared: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the moments if a fraction `level` of a column is replaced by values of given mean and mean square."""
    seen = (1 - level) * mean + level * by
    return seen, (1 - level) * (variance + mean.square()) + level * squared - seen.square()


class GaussianNoise(Corruption):
    """`x~ = x + level scale e`, e ~ N(0, I).

    Args:
        level: The standard deviation, in units of `scale`.
        scale: Scale of each column, shape (data_dim,) or (); 1 by default (data units).

    Raises:
        InputError: If the level is not above 0.
    """

    scale: Tensor

    def __init__(self, level: float, scale: Tensor | float = 1.0) -> None:
        super().__init__(level)
        self.register_buffer("scale", _constant(scale))

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows with noise from torch's random state, shape (..., D)."""
        return x + self.level * self.scale * torch.randn_like(x)

    def apply_noise(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return the rows with the normal quantiles of the noise added, shape (..., D)."""
        return x + self.level * self.scale * torch.special.ndtri(noise)

    def moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the unchanged mean, and the sum of the variances of data and noise."""
        return mean, variance + (self.level * self.scale).square().to(variance)


class Masking(Corruption):
    """Replaces a random fraction `level` of the entries of each row by `fill`.

    Args:
        level: The fraction, in (0, 1).
        fill: Replacement value, shape (data_dim,) or (); 0 by default.

    Raises:
        InputError: If the level lies outside (0, 1).
    """

    fill: Tensor

    def __init__(self, level: float, fill: Tensor | float = 0.0) -> None:
        super().__init__(level)
        _check_share(level)
        self.register_buffer("fill", _constant(fill))

    def apply_noise(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return the rows with entries replaced if their noise is below the level."""
        return torch.where(noise < self.level, self.fill, x)

    def moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the moments of columns with a fraction `level` of `fill`."""
        fill = self.fill.to(mean)
        return _replaced(self.level, mean, variance, fill, fill.square())


class SaltAndPepper(Corruption):
    """Replaces a random fraction `level` of the entries of each row by 0 or 1 with equal probability.

    Args:
        level: The fraction, in (0, 1).

    Raises:
        InputError: If the level lies outside (0, 1).
    """

    def __init__(self, level: float) -> None:
        super().__init__(level)
        _check_share(level)

    def apply_noise(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return the rows with entries replaced if their noise is below the level."""
        return torch.where(noise < self.level, (noise < self.level / 2).to(x.dtype), x)

    def moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the moments of columns with a fraction `level` of 0 or 1."""
        half = torch.full_like(mean, 0.5)
        return _replaced(self.level, mean, variance, half, half)


class CorruptedInput(Picklable):
    """A network whose input is corrupted in training (Vincent et al. 2008; Im et al. 2017).

    As the encoder of a guide it gives a denoising autoencoder: the model scores x, the guide takes x~. The objective is
    still a bound on log p(x): for each x~ it is the bound of q(z | x~), and training averages over x~.

    In evaluation mode the corruption is a function of the row (`Corruption.fixed`), so that validation measures the
    training objective; with `evaluation="clean"` rows are not corrupted. Either way q(z | x) is one distribution for
    each x.

    Args:
        corruption: Module from rows to corrupted rows.
        network: Network of rows (..., data_dim), and optionally context.
        evaluation: Input in evaluation mode, "corrupted" or "clean".

    Raises:
        InputError: If `evaluation` is neither.
    """

    def __init__(self, corruption: Corruption, network: nn.Module, evaluation: str = "corrupted") -> None:
        super().__init__()
        self.corruption = corruption
        self.network = network
        self.evaluation = check_choice(evaluation, ("corrupted", "clean"), "evaluation")

    @property
    def context_range(self) -> ContextRange:
        """Number of context tensors that the network takes."""
        return context_range_of_network(self.network)

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        """Return the network's outputs for rows of shape (..., data_dim)."""
        if self.training:
            x = self.corruption(x)
        elif self.evaluation == "corrupted":
            x = self.corruption.fixed(x)
        outputs: Tensor = self.network(x, *context)
        return outputs


@contextmanager
def rows_as_given(*programs: object) -> Iterator[None]:
    """Disable the corruption of all encoders in programs."""
    modules = [m for p in programs if isinstance(p, nn.Module) for m in p.modules()]
    inputs = [
        (module, module.evaluation, module.training)
        for module in modules
        if isinstance(module, CorruptedInput)
    ]
    for module, _, _ in inputs:
        module.evaluation, module.training = "clean", False
    try:
        yield
    finally:
        for module, evaluation, training in inputs:
            module.evaluation, module.training = evaluation, training


def corruption_of(program: nn.Module) -> Corruption | None:
    """Return the corruption of a guide's encoder, or None."""
    return next((m.corruption for m in program.modules() if isinstance(m, CorruptedInput)), None)


def _constant(value: Tensor | float) -> Tensor:
    return torch.as_tensor(value, dtype=torch.get_default_dtype()).clone()


def _check_share(level: float) -> None:
    check(level < 1, f"Expected level below 1, a fraction of the entries; got {level}.")


def gaussian_noise(level: float, scale: Tensor, fill: Tensor) -> Corruption:
    """Return normal noise in units of `scale`."""
    return GaussianNoise(level, scale)


def masking(level: float, scale: Tensor, fill: Tensor) -> Corruption:
    """Return masking of entries by `fill`."""
    return Masking(level, fill)


def salt_and_pepper(level: float, scale: Tensor, fill: Tensor) -> Corruption:
    """Return salt-and-pepper noise."""
    return SaltAndPepper(level)
