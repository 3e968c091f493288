"""Settings of the networks."""

from __future__ import annotations

from typing import Literal

from pyro_vae.settings.checks import at_least, share, widths
from pyro_vae.settings.declare import setting
from pyro_vae.settings.part import Part

__all__ = ["NetworkPart"]


class NetworkPart(Part, kind="network", default="mlp", help="Encoder and decoder"):
    """An architecture, which makes an encoder and a decoder for rows of a shape."""

    activation: Literal["relu", "tanh", "softplus", "elu", "gelu", "silu", "glu"] = setting(
        "silu",
        "Between the layers; glu, the gated linear unit, has twice the weights in every hidden layer.",
        shown="{}",
    )
    dropout: float = setting(
        0.0,
        "Share of x's columns that the encoder does not see in each step of training, against overfitting.",
        check=share("the columns"),
        shown="{:.0%} of the encoder's columns dropped in training",
        unless=0.0,
        start=True,
    )

    def layers(self) -> str:
        """Return the sizes between x and z, for the opening lines."""
        raise NotImplementedError

    def widest(self) -> int:
        """Return the width of the widest layer."""
        raise NotImplementedError


class MLP(NetworkPart, name="mlp", target="pyro_vae.networks.architecture:MLPArchitecture"):
    """Fully connected layers."""

    hidden: tuple[int, ...] = setting(
        (400, 400), "Widths of the encoder's hidden layers; the decoder has them in reverse.", check=widths
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
    """Convolutions, for images."""

    channels: tuple[int, ...] = setting(
        (32, 64),
        "Feature maps after each halving of the image, from x inwards; the decoder has them in reverse.",
        check=widths,
    )
    stem: int = setting(
        0,
        "Feature maps at the image's own size, before the first halving and after the last doubling; 0 for none.",
        check=at_least(0),
    )
    head: Literal["dense", "convolution"] = setting(
        "dense",
        "Between feature maps and z: dense layers, or a convolution that gives z the height and width of the smallest "
        "feature maps.",
        shown="{} head",
        unless="dense",
    )
    dense: int = setting(256, "Width of the hidden layer of the dense head; 0 for none.", check=at_least(0))
    reduce: Literal["stride", "max-pool", "average-pool"] = setting(
        "stride",
        "How the encoder halves: by a convolution of stride 2, or by pooling after a convolution.",
        shown="reduced by {}",
    )
    upsample: Literal["transposed", "nearest"] = setting(
        "transposed",
        "How the decoder doubles: by a transposed convolution, or by repeated pixels and a convolution.",
        shown="{} upsampling",
    )
    residual: int = setting(
        0,
        "Residual blocks at each size that has feature maps.",
        check=at_least(0),
        shown="{} residual blocks a size",
        unless=0,
    )
    normalize: Literal["none", "group"] = setting(
        "none",
        "Group normalization after each convolution, or none.",
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
