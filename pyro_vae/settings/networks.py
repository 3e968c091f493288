"""Settings of the networks."""

from __future__ import annotations

from typing import Literal

from pyro_vae.settings.checks import share, widths
from pyro_vae.settings.declare import setting
from pyro_vae.settings.part import Part

__all__ = ["NetworkPart"]


class NetworkPart(Part, kind="network", default="mlp", help="Encoder and decoder"):
    """An architecture, which makes an encoder and a decoder for rows of a shape."""

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
        """Return the widths of the encoder's hidden layers."""
        return "-".join(map(str, self.hidden))

    def widest(self) -> int:
        """Return the width of the widest hidden layer."""
        return max(self.hidden)
