"""Corruptions of x, and an encoder that sees x through one: denoising."""

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
        level: How much is corrupted.
    """

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = check_positive(level, "level")

    def apply_noise(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return the corrupted rows for numbers in (0, 1), both of shape (..., D)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows corrupted by noise from torch's random state, shape (..., D)."""
        return self.apply_noise(x, torch.rand_like(x))

    def fixed(self, x: Tensor) -> Tensor:
        """Return the rows corrupted by noise that is a function of each row, shape (..., D)."""
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
    """Return the moments where a share `level` of a column is replaced by something of mean `by` and mean square."""
    seen = (1 - level) * mean + level * by
    return seen, (1 - level) * (variance + mean.square()) + level * squared - seen.square()


class GaussianNoise(Corruption):
    """`x~ = x + level scale e`, e ~ N(0, I).

    Args:
        level: The standard deviation, in units of `scale`.
        scale: Of each column, shape (data_dim,) or (); 1 by default, which is data units.

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
        """Return the mean as it is, and the variance with that of the noise added."""
        return mean, variance + (self.level * self.scale).square().to(variance)


class Masking(Corruption):
    """A share `level` of the entries, drawn anew for each row, is replaced by `fill`.

    Args:
        level: The share, in (0, 1).
        fill: What they become, shape (data_dim,) or (); 0 by default.

    Raises:
        InputError: If the level lies outside (0, 1).
    """

    fill: Tensor

    def __init__(self, level: float, fill: Tensor | float = 0.0) -> None:
        super().__init__(level)
        _check_share(level)
        self.register_buffer("fill", _constant(fill))

    def apply_noise(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return the rows with the entries replaced whose noise is below the level."""
        return torch.where(noise < self.level, self.fill, x)

    def moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the moments of columns a share of which is `fill`."""
        fill = self.fill.to(mean)
        return _replaced(self.level, mean, variance, fill, fill.square())


class SaltAndPepper(Corruption):
    """A share `level` of the entries, drawn anew for each row, becomes 0 or 1, each half of the time.

    Args:
        level: The share, in (0, 1).

    Raises:
        InputError: If the level lies outside (0, 1).
    """

    def __init__(self, level: float) -> None:
        super().__init__(level)
        _check_share(level)

    def apply_noise(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return the rows with the entries replaced whose noise is below the level."""
        return torch.where(noise < self.level, (noise < self.level / 2).to(x.dtype), x)

    def moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the moments of columns a share of which is 0 or 1."""
        half = torch.full_like(mean, 0.5)
        return _replaced(self.level, mean, variance, half, half)


class CorruptedInput(Picklable):
    """A network that sees its rows through a corruption in training (Vincent et al. 2008; Im et al. 2017).

    As the encoder of a guide it makes a denoising autoencoder: the model scores x, the guide sees x~. A bound of
    log p(x) stays one: for each x~ it is that of q(z | x~), and training takes their mean.

    In evaluation mode the network sees rows whose corruption is a function of the row (`Corruption.fixed`), so that
    validation measures what is trained; or, with `evaluation="clean"`, rows as they are. Either way q(z | x) is one
    distribution for each x, so that every estimate is of that guide.

    Args:
        corruption: Module from rows to rows.
        network: From rows (..., data_dim), and context where it takes some.
        evaluation: What the network sees in evaluation mode, "corrupted" or "clean".

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
        """How many context tensors the network takes."""
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
    """Let all encoders within programs see rows as they are given, corrupted or not."""
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
    """Return the corruption that a guide's encoder sees its rows through; None where there is none."""
    return next((m.corruption for m in program.modules() if isinstance(m, CorruptedInput)), None)


def _constant(value: Tensor | float) -> Tensor:
    return torch.as_tensor(value, dtype=torch.get_default_dtype()).clone()


def _check_share(level: float) -> None:
    check(level < 1, f"Expected level below 1, a share of the entries; got {level}. Leave something to see.")


def gaussian_noise(level: float, scale: Tensor, fill: Tensor) -> Corruption:
    """Return normal noise in units of `scale`."""
    return GaussianNoise(level, scale)


def masking(level: float, scale: Tensor, fill: Tensor) -> Corruption:
    """Return what replaces entries by `fill`."""
    return Masking(level, fill)


def salt_and_pepper(level: float, scale: Tensor, fill: Tensor) -> Corruption:
    """Return what replaces entries by 0 and 1."""
    return SaltAndPepper(level)
