"""Networks that reshape flat rows to images, with feature maps in channels-last memory format."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyro_vae._checks import check
from pyro_vae._context import ContextRange
from pyro_vae._pickling import Picklable
from pyro_vae.networks.context import context_columns

__all__ = ["Gate", "ImageDecoder", "ImageEncoder", "MapsDecoder", "MapsEncoder", "Residual", "image_shape"]

Shape = tuple[int, int, int]
"""Channels, height, width."""


def image_shape(data_shape: Sequence[int]) -> Shape:
    """Return channels, height and width of a row.

    Raises:
        InputError: If rows are not images.
    """
    check(
        len(data_shape) in (2, 3),
        f"Expected images, rows of shape (height, width) or (channels, height, width), for convolutional networks; got "
        f"{tuple(data_shape)}. Use --network mlp.",
    )
    channels, height, width = (1, *data_shape)[-3:]
    return channels, height, width


class Gate(nn.GLU):
    """The gated linear unit over feature maps (dimension 1)."""

    def __init__(self) -> None:
        super().__init__(dim=1)


class Residual(nn.Sequential):
    """`h -> h + f(h)` (He et al. 2016, equation 1)."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return `inputs + f(inputs)`."""
        outputs: Tensor = super().forward(inputs)
        return inputs + outputs


class _WithContext(Picklable):
    """Base class of networks with `context_dim` columns of context."""

    def __init__(self, maps: nn.Module, context_dim: int) -> None:
        super().__init__()
        self.context_dim = context_dim
        self.maps = maps.to(memory_format=torch.channels_last)

    @property
    def context_range(self) -> ContextRange:
        """Number of context tensors that the network takes."""
        return ContextRange(1, math.inf) if self.context_dim else ContextRange(0, 0)

    def _with_columns(self, features: Tensor, context: Sequence[Tensor]) -> Tensor:
        """Return features (N, F, ...) concatenated with context along dimension 1, repeated at each pixel."""
        if not self.context_dim:
            return features
        columns = context_columns(context, self.context_dim, features)
        spread = columns.reshape(*columns.shape, *[1] * (features.ndim - 2)).expand(
            -1, -1, *features.shape[2:]
        )
        return torch.cat([features, spread], dim=1)


class ImageEncoder(_WithContext):
    """Convolutions of images, then dense layers of the flattened features and context.

    Args:
        data_shape: Channels, height and width of a row; images of another shape are rejected when data is read.
        maps: Network from images (N, channels, height, width) to feature maps.
        dense: Network from flattened feature maps and context to outputs.
        context_dim: Number of context columns.
    """

    def __init__(self, data_shape: Shape, maps: nn.Module, dense: nn.Module, context_dim: int = 0) -> None:
        super().__init__(maps, context_dim)
        self.data_shape, self.dense = data_shape, dense

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        """Return outputs (N, out_features) for rows (N, data_dim) and context (N, ...)."""
        features = self.maps(_as_images(x, self.data_shape)).permute(0, 2, 3, 1).flatten(1)
        outputs: Tensor = self.dense(self._with_columns(features, context))
        return outputs


class MapsEncoder(_WithContext):
    """Convolutions of images, then a convolution of feature maps and context to maps of outputs.

    Outputs are ordered map by map: for a diagonal guide all locations, then all scales.

    Args:
        data_shape: Channels, height and width of a row; images of another shape are rejected when data is read.
        maps: Network from images (N, channels, height, width) to feature maps.
        last: Network from feature maps and context to maps of outputs.
        context_dim: Number of context columns.
    """

    def __init__(self, data_shape: Shape, maps: nn.Module, last: nn.Module, context_dim: int = 0) -> None:
        super().__init__(maps, context_dim)
        self.data_shape = data_shape
        self.last = last.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        """Return outputs (N, out_features) for rows (N, data_dim) and context (N, ...)."""
        outputs: Tensor = self.last(self._with_columns(self.maps(_as_images(x, self.data_shape)), context))
        return outputs.flatten(1)


class ImageDecoder(_WithContext):
    """Dense layers of z and context, then convolutions; the output is flattened.

    Args:
        dense: Network from z and context to flattened feature maps.
        start: Shape of these feature maps: channels, height, width.
        maps: Network from feature maps to images of outputs (N, outputs_per_position, height, width).
        context_dim: Number of context columns.
    """

    def __init__(self, dense: nn.Module, start: Shape, maps: nn.Module, context_dim: int = 0) -> None:
        super().__init__(maps, context_dim)
        self.start, self.dense = start, dense

    def forward(self, z: Tensor, *context: Tensor) -> Tensor:
        """Return outputs (N, outputs_per_position * height * width) for z (N, latent_dim) and context (N, ...)."""
        channels, height, width = self.start
        features = self.dense(self._with_columns(z, context)).reshape(len(z), height, width, channels)
        outputs: Tensor = self.maps(features.permute(0, 3, 1, 2))
        return outputs.flatten(1)


class MapsDecoder(_WithContext):
    """Convolutions of z, reshaped to maps, and context; the output is flattened.

    Args:
        first: Network from maps of z and context to feature maps.
        size: Height and width of the maps of z.
        maps: Network from feature maps to images of outputs (N, outputs_per_position, height, width).
        context_dim: Number of context columns.
    """

    def __init__(
        self, first: nn.Module, size: tuple[int, int], maps: nn.Module, context_dim: int = 0
    ) -> None:
        super().__init__(maps, context_dim)
        self.size = size
        self.first = first.to(memory_format=torch.channels_last)

    def forward(self, z: Tensor, *context: Tensor) -> Tensor:
        """Return outputs (N, outputs_per_position * height * width) for z (N, latent_dim) and context (N, ...)."""
        maps_of_z = z.reshape(len(z), -1, *self.size).contiguous(memory_format=torch.channels_last)
        outputs: Tensor = self.maps(self.first(self._with_columns(maps_of_z, context)))
        return outputs.flatten(1)


def _as_images(x: Tensor, shape: Shape) -> Tensor:
    return x.reshape(len(x), *shape).contiguous(memory_format=torch.channels_last)
