"""Settings of the networks."""

from __future__ import annotations

from typing import Literal

from pyro_vae.settings.checks import at_least, share, widths
from pyro_vae.settings.declare import setting
from pyro_vae.settings.part import Part

__all__ = ["NetworkPart"]


class NetworkPart(Part, kind="network", default="mlp", help="Encoder and decoder"):
    """An architecture of the encoder and the decoder."""

    activation: Literal["relu", "tanh", "softplus", "elu", "gelu", "silu", "glu"] = setting(
        "silu",
        "Activation function of the hidden layers; glu, the gated linear unit, doubles the weights of each.",
        shown="{}",
    )
    dropout: float = setting(
        0.0,
        "Share of the columns of x dropped from the encoder's input in each training step, against overfitting.",
        check=share("the columns"),
        shown="{:.0%} of the encoder's columns dropped in training",
        unless=0.0,
        start=True,
    )

    def layers(self) -> str:
        """Return the sizes of the layers between x and z, for the opening lines."""
        raise NotImplementedError

    def widest(self) -> int:
        """Return the width of the widest layer."""
        raise NotImplementedError


class MLP(NetworkPart, name="mlp", target="pyro_vae.networks.architecture:MLPArchitecture"):
    """Fully connected layers."""

    hidden: tuple[int, ...] = setting(
        (400, 400), "Widths of the encoder's hidden layers, in reverse order for the decoder.", check=widths
    )

    def layers(self) -> str:
        """Return the widths of the encoder's hidden layers."""
        return "-".join(map(str, self.hidden))

    def widest(self) -> int:
        """Return the width of the widest hidden layer."""
        return max(self.hidden)


class Convolutional(
    NetworkPart, name="convolutional", target="pyro_vae.networks.convolutional:ConvolutionalArchitecture"
):
    """Convolutional layers, for images."""

    channels: tuple[int, ...] = setting(
        (32, 64),
        "Numbers of feature maps after each halving of the image, in reverse order for the decoder.",
        check=widths,
    )
    stem: int = setting(
        0,
        "Number of feature maps at full image size, before the first halving and after the last doubling; 0 for none.",
        check=at_least(0),
    )
    head: Literal["dense", "convolution"] = setting(
        "dense",
        "Layers between feature maps and z: dense layers, or a convolution with a z of the height and width of the "
        "smallest feature maps.",
        shown="{} head",
        unless="dense",
    )
    dense: int = setting(256, "Width of the hidden layer of the dense head; 0 for none.", check=at_least(0))
    reduce: Literal["stride", "max-pool", "average-pool"] = setting(
        "stride",
        "Downsampling in the encoder: a convolution of stride 2, or pooling after a convolution.",
        shown="reduced by {}",
    )
    upsample: Literal["transposed", "nearest"] = setting(
        "transposed",
        "Upsampling in the decoder: a transposed convolution, or nearest-neighbour upsampling and a convolution.",
        shown="{} upsampling",
    )
    residual: int = setting(
        0,
        "Number of residual blocks at each resolution.",
        check=at_least(0),
        shown="{} residual blocks a size",
        unless=0,
    )
    normalize: Literal["none", "group"] = setting(
        "none",
        "Normalization after each convolution: none or group normalization.",
        shown="{} normalization",
        unless="none",
    )

    def layers(self) -> str:
        """Return the feature maps, marked with @, and the width of the dense layer."""
        widths = [self.stem, *self.channels] if self.stem else self.channels
        dense = [str(self.dense)] if self.dense and self.head == "dense" else []
        return "-".join([*(f"{width}@" for width in widths), *dense])

    def widest(self) -> int:
        """Return the width of the widest layer."""
        return max(*self.channels, self.stem, self.dense)
