"""Convolutional encoders and decoders."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from pyro_vae._checks import check, check_choice, check_integer
from pyro_vae.networks.image_networks import (
    Gate,
    ImageDecoder,
    ImageEncoder,
    MapsDecoder,
    MapsEncoder,
    Residual,
    image_shape,
)
from pyro_vae.networks.mlp import ACTIVATIONS

__all__ = ["ConvolutionalArchitecture"]

POOLINGS = {"max-pool": nn.MaxPool2d, "average-pool": nn.AvgPool2d}

Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True)
class ConvolutionalArchitecture:
    """Convolutional encoders, which halve an image once for each of `channels`, and their mirrored decoders.

    Images are in channels-last memory format, in which CPU convolutions are fastest. Context is concatenated with the
    flattened features in the encoder and with z in the decoder.

    Args:
        channels: Feature maps after each halving, from x inwards; reversed for the decoder.
        stem: Feature maps at full image size, before the first halving and after the last doubling; 0 for none.
        head: Layers between feature maps and z: "dense", or a 1 x 1 "convolution", for which latent_dim must be a
            multiple of height x width of the smallest feature maps.
        dense: Width of the dense head's hidden layer; 0 for none.
        activation: One of `ACTIVATIONS`; "glu" gives gated convolutions.
        reduce: Reduction in the encoder: "stride", a convolution with stride 2, or "max-pool" or "average-pool" after a
            convolution.
        upsample: Upsampling in the decoder: "transposed", a transposed convolution, or "nearest", nearest-neighbour
            upsampling and a convolution.
        residual: Number of residual blocks (He et al. 2016) at each size.
        normalize: "group" for group normalization (Wu & He 2018) after each convolution, "none" for none. Batch
            normalization is not offered: the density of a row would depend on the other rows of the batch.
        dropout: Fraction of the columns of x dropped from the encoder's input in training, in [0, 1).

    Raises:
        InputError: If a setting is out of range.

    Example:
        >>> import torch
        >>> from pyro_vae.networks import ConvolutionalArchitecture
        >>> architecture = ConvolutionalArchitecture(channels=(8, 16))
        >>> encoder = architecture.encoder((28, 28), out_features=4)
        >>> encoder(torch.randn(10, 784)).shape
        torch.Size([10, 4])
    """

    channels: tuple[int, ...] = (32, 64)
    stem: int = 0
    head: str = "dense"
    dense: int = 256
    activation: str = "silu"
    reduce: str = "stride"
    upsample: str = "transposed"
    residual: int = 0
    normalize: str = "none"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check(
            len(self.channels) > 0, "Expected channels with at least one width, such as (32, 64); got none."
        )
        for width in self.channels:
            check_integer(width, "every width of channels")
        for name in ("stem", "dense", "residual"):
            check_integer(getattr(self, name), name, minimum=0)
        check_choice(self.head, ("dense", "convolution"), "head")
        check_choice(self.activation, ACTIVATIONS, "activation")
        check_choice(self.reduce, ("stride", *POOLINGS), "reduce")
        check_choice(self.upsample, ("transposed", "nearest"), "upsample")
        check_choice(self.normalize, ("none", "group"), "normalize")

    def encoder(self, data_shape: Sequence[int], out_features: int, context_dim: int = 0) -> nn.Module:
        """Return a network from rows and context to outputs; see `Architecture`."""
        shape = image_shape(data_shape)
        smallest = self._sizes(data_shape)[-1]
        layers = self._stem(shape[0])
        for n_in, n_out in itertools.pairwise((self.stem or shape[0], *self.channels)):
            layers += [*self._halved(n_in, n_out), *self._residual_blocks(n_out)]
        maps = nn.Sequential(*layers)
        if self.head == "convolution":
            last = _without_bias(nn.Conv2d(self.channels[-1] + context_dim, _maps(out_features, smallest), 1))
            return MapsEncoder(shape, maps, last, context_dim)
        flat = self.channels[-1] * math.prod(smallest) + context_dim
        return ImageEncoder(shape, maps, self._dense(flat, out_features), context_dim)

    def decoder(
        self, in_features: int, outputs_per_position: int, data_shape: Sequence[int], context_dim: int = 0
    ) -> nn.Module:
        """Return a network from z and context to outputs; see `Architecture`."""
        sizes = self._sizes(data_shape)[::-1]
        hidden = (*self.channels[::-1], *([self.stem] if self.stem else []))
        layers: list[nn.Module] = [self._plain_activation()]
        for (n_in, n_out), (small, large) in zip(
            itertools.pairwise(hidden), itertools.pairwise(sizes), strict=False
        ):
            doubled = self._doubled(n_in, self._before_activation(n_out), small, large)
            layers += [*self._residual_blocks(n_in), *doubled, *self._activated(n_out)]
        layers += self._residual_blocks(hidden[-1])
        layers += (
            [nn.Conv2d(self.stem, outputs_per_position, 3, padding=1)]
            if self.stem
            else self._doubled(hidden[-1], outputs_per_position, *sizes[-2:])
        )
        _without_bias(layers[-1])
        maps = nn.Sequential(*layers)
        if self.head == "convolution":
            first = nn.Conv2d(_maps(in_features, sizes[0]) + context_dim, hidden[0], 3, padding=1)
            return MapsDecoder(first, sizes[0], maps, context_dim)
        start = (hidden[0], *sizes[0])
        return ImageDecoder(
            self._dense(in_features + context_dim, math.prod(start)), start, maps, context_dim
        )

    def _sizes(self, data_shape: Sequence[int]) -> list[Size]:
        """Return height and width of the image and after each halving."""
        _, height, width = image_shape(data_shape)
        halvings = len(self.channels)
        check(
            min(height, width) >> halvings > 0,
            f"Expected images of at least {2**halvings} x {2**halvings} pixels for {halvings} channels, each of "
            f"which halves the image; got {height} x {width}. Give fewer channels.",
        )
        return [(height >> step, width >> step) for step in range(halvings + 1)]

    def _stem(self, n_in: int) -> list[nn.Module]:
        if not self.stem:
            return []
        first = nn.Conv2d(n_in, self._before_activation(self.stem), 3, padding=1)
        return [first, *self._activated(self.stem), *self._residual_blocks(self.stem)]

    def _halved(self, n_in: int, n_out: int) -> list[nn.Module]:
        width = self._before_activation(n_out)
        if self.reduce == "stride":
            return [nn.Conv2d(n_in, width, 4, stride=2, padding=1), *self._activated(n_out)]
        convolution = nn.Conv2d(n_in, width, 3, padding=1)
        return [convolution, *self._activated(n_out), POOLINGS[self.reduce](2)]

    def _doubled(self, n_in: int, n_out: int, small: Size, large: Size) -> list[nn.Module]:
        if self.upsample == "nearest":
            return [nn.Upsample(size=large), nn.Conv2d(n_in, n_out, 3, padding=1)]
        odd = (large[0] - 2 * small[0], large[1] - 2 * small[1])
        return [nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1, output_padding=odd)]

    def _residual_blocks(self, width: int) -> list[nn.Module]:
        return [self._residual_block(width) for _ in range(self.residual)]

    def _residual_block(self, width: int) -> nn.Module:
        first, last = (
            nn.Conv2d(width, n_out, 3, padding=1) for n_out in (self._before_activation(width), width)
        )
        # The block is the identity at initialization, so that deep networks can be trained.
        nn.init.zeros_(last.weight)
        return Residual(first, *self._activated(width), _without_bias(last))

    def _dense(self, n_in: int, n_out: int) -> nn.Sequential:
        last = _without_bias(nn.Linear(self.dense or n_in, n_out))
        if not self.dense:
            return nn.Sequential(last)
        activation = nn.GLU() if self.activation == "glu" else ACTIVATIONS[self.activation]()
        return nn.Sequential(nn.Linear(n_in, self._before_activation(self.dense)), activation, last)

    def _before_activation(self, width: int) -> int:
        return 2 * width if self.activation == "glu" else width

    def _activated(self, width: int) -> list[nn.Module]:
        """Return the layers after a convolution to `width` feature maps (twice as many before a gate)."""
        before = self._before_activation(width)
        normalized = [nn.GroupNorm(math.gcd(8, before), before)] if self.normalize == "group" else []
        return [*normalized, Gate() if self.activation == "glu" else ACTIVATIONS[self.activation]()]

    def _plain_activation(self) -> nn.Module:
        """Return the activation of a layer without a gate."""
        return ACTIVATIONS["silu" if self.activation == "glu" else self.activation]()


def _maps(size: int, smallest: Size) -> int:
    """Return the number of smallest feature maps with `size` elements in total."""
    positions = math.prod(smallest)
    check(
        size % positions == 0,
        f"Expected a multiple of {smallest[0]} x {smallest[1]} = {positions} numbers between encoder and decoder with "
        f"head='convolution'; got {size}. Choose latent_dim as a multiple, with a diagonal guide, or head='dense'.",
    )
    return size // positions


def _without_bias(layer: nn.Module) -> nn.Module:
    """Remove the initial bias of a last layer, so that outputs start near 0: mean and scale of the data."""
    nn.init.zeros_(layer.get_parameter("bias"))
    return layer
