"""Multilayer perceptrons as encoders and decoders."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyro_vae._checks import check, check_choice, check_integer
from pyro_vae._context import ContextRange
from pyro_vae._pickling import Picklable
from pyro_vae.networks.context import context_columns
from pyro_vae.networks.standardize import Standardize, StandardizedEncoder

__all__ = ["ACTIVATIONS", "MLP", "ContextMLP", "mlp_decoder", "mlp_encoder", "shrink_outputs"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "glu": nn.GLU,
}
"""Activations. The gated linear unit follows a layer of twice the width: `(W h + b) * sigmoid(V h + c)`."""


class MLP(Picklable, nn.Sequential):
    """A multilayer perceptron, `h -> W_L a(... a(W_1 h + b_1)) + b_L`.

    Weights have PyTorch's initialization and the last bias is zero, so the distribution starts near that of zero
    outputs (the prior, or mean and scale of the data). Much smaller last weights would start at the saddle point
    where x and z are independent, which training on small tables did not leave.

    Args:
        in_features: Size of the last dimension of the input.
        hidden: Widths of the hidden layers; empty for a linear map.
        out_features: Size of the last dimension of the output.
        activation: One of `ACTIVATIONS`.

    Raises:
        InputError: If a width is not a positive whole number, or the activation is unknown.
    """

    def __init__(
        self, in_features: int, hidden: Sequence[int], out_features: int, activation: str = "relu"
    ) -> None:
        check_choice(activation, ACTIVATIONS, "activation")
        widths = [
            check_integer(width, "every layer's width") for width in (in_features, *hidden, out_features)
        ]
        layers: list[nn.Module] = []
        inputs = 2 if activation == "glu" else 1
        for n_in, n_out in itertools.pairwise(widths[:-1]):
            layers += [nn.Linear(n_in, inputs * n_out), ACTIVATIONS[activation]()]
        last = nn.Linear(widths[-2], widths[-1])
        nn.init.zeros_(last.bias)
        super().__init__(*layers, last)


class ContextMLP(MLP):
    """A multilayer perceptron of its input concatenated with context.

    Args:
        in_features: Size of the last dimension of the input.
        hidden: Widths of the hidden layers; empty for a linear map.
        out_features: Size of the last dimension of the output.
        activation: One of `ACTIVATIONS`.
        context_dim: Columns of context; labels are one-hot encoded, see `context_columns`.

    Raises:
        InputError: As for `MLP`.
    """

    context_range = ContextRange(1, math.inf)

    def __init__(
        self, in_features: int, hidden: Sequence[int], out_features: int, activation: str, context_dim: int
    ) -> None:
        super().__init__(
            in_features + check_integer(context_dim, "context_dim"), hidden, out_features, activation
        )
        self.context_dim = context_dim

    def forward(self, inputs: Tensor, *context: Tensor) -> Tensor:
        """Return outputs of shape (N, out_features) for inputs (N, in_features) and context (N, ...)."""
        columns = context_columns(context, self.context_dim, inputs)
        return super().forward(torch.cat([inputs, columns], dim=-1))


def mlp_encoder(
    loc: Tensor,
    scale: Tensor,
    hidden: Sequence[int],
    out_features: int,
    activation: str = "relu",
    dropout: float = 0.0,
) -> nn.Sequential:
    """Return an encoder network: standardization of x, dropout of columns in training, then an `MLP`.

    Dropout keeps the guide from memorizing training rows (regularized amortized inference, Shu et al. 2018). The ELBO
    is a bound for every mask. In evaluation mode nothing is dropped.

    Args:
        loc: Shift of x, shape (data_dim,): the mean of the training split.
        scale: Scale of x, shape (data_dim,).
        hidden: Widths of the hidden layers.
        out_features: Number of outputs, `num_outputs` of the guide.
        activation: One of `ACTIVATIONS`.
        dropout: Fraction of the columns dropped in training, in [0, 1).

    Raises:
        InputError: If `dropout` is out of range.

    Example:
        >>> import torch
        >>> from pyro_vae import mlp_encoder
        >>> encoder = mlp_encoder(torch.zeros(6), torch.ones(6), hidden=[32, 16], out_features=4)
        >>> encoder(torch.randn(10, 6)).shape
        torch.Size([10, 4])
    """
    check(0 <= dropout < 1, f"Expected dropout in [0, 1), a fraction of the columns; got {dropout}.")
    body = MLP(len(loc), hidden, out_features, activation)
    return StandardizedEncoder(Standardize(loc, scale), nn.Dropout(dropout), body)


def mlp_decoder(latent_dim: int, hidden: Sequence[int], out_features: int, activation: str = "relu") -> MLP:
    """Return a decoder network, an `MLP` with the hidden widths of the encoder in reverse.

    Args:
        latent_dim: Size of z.
        hidden: Widths of the encoder's hidden layers, from x inwards.
        out_features: Number of outputs, `likelihood.num_outputs`.
        activation: One of `ACTIVATIONS`.

    Example:
        >>> import torch
        >>> from pyro_vae import mlp_decoder
        >>> decoder = mlp_decoder(2, hidden=[32, 16], out_features=6)  # 2-16-32-6
        >>> decoder(torch.randn(10, 2)).shape
        torch.Size([10, 6])
    """
    return MLP(latent_dim, tuple(reversed(hidden)), out_features, activation)


@torch.no_grad()
def shrink_outputs(network: nn.Module, start: int, factor: float = 0.01) -> nn.Module:
    """Scale down the weights of the outputs from index `start` on, and return the network.

    A guide of a richer family whose additional outputs are scaled down starts near the simpler family.

    Args:
        network: A network whose last layer is linear; modified in place.
        start: The first output to shrink.
        factor: Factor of the weights; not 0, at which some families have zero gradient.
    """
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    last.weight[start:] *= factor
    return network
