"""Neural networks from tensors to tensors; nothing here knows Pyro.

Every network acts on the last dimension and takes any leading ones, `(*samples, N, features)`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyro_vae._checks import check, check_choice, check_integer, check_positive, check_rows
from pyro_vae._pickling import Picklable
from pyro_vae.data.as_tensor import as_tensor
from pyro_vae.data.entry import Entry

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "UNIT",
    "Bfloat16Training",
    "Standardize",
    "Whiten",
    "has_fast_bfloat16",
    "mlp_decoder",
    "mlp_encoder",
    "shrink_outputs",
]

UNIT = math.log(math.e - 1)
"""softplus(UNIT) = 1: a network's output of zero then means a scale of one."""

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "glu": nn.GLU,
}
"""Between the layers; the gated linear unit has a layer twice as wide before it, `(W h + b) * sigmoid(V h + c)`."""


class MLP(Picklable, nn.Sequential):
    """A multilayer perceptron, `h -> W_L a(... a(W_1 h + b_1)) + b_L`.

    Weights start as PyTorch has them, the last bias at zero: what the network feeds then starts near the
    point that its zero output means (the prior, or the data's own mean and scale). Much smaller last weights
    would start it nearer still, but on the saddle where x and z ignore each other, and training on small
    tables never left it.

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


class Standardize(nn.Module):
    """`x -> (x - loc) / scale`, with constants that are saved with the weights but not trained.

    Args:
        loc: Subtracted, shape (data_dim,).
        scale: Divided by, shape (data_dim,), all above 0.

    Raises:
        InputError: If the shapes differ or a scale is not above 0.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        super().__init__()
        loc, scale = as_tensor(loc, "loc"), as_tensor(scale, "scale")
        check(
            loc.ndim == 1 and loc.shape == scale.shape,
            f"Expected loc and scale of one shape (data_dim,); got {tuple(loc.shape)} and {tuple(scale.shape)}.",
        )
        check(
            bool((scale > 0).all()), "Expected every scale to be above 0; give constant columns a scale of 1."
        )
        # Copies of its own: a tensor shared with another module would be taken for a shared weight.
        self.register_buffer("loc", loc.to(torch.get_default_dtype(), copy=True))
        self.register_buffer("scale", scale.to(torch.get_default_dtype(), copy=True))

    def forward(self, x: Tensor) -> Tensor:
        """Return the standardized rows, shape (..., data_dim)."""
        check_rows(x, self.loc.shape[0])
        return (x - self.loc) / self.scale

    def extra_repr(self) -> str:
        """Return what `repr` shows of the module."""
        return f"{self.loc.shape[0]}"


class Whiten(nn.Module):
    """`x -> (C + r I)^(-1/2) (x - mean)`, with C the covariance of given rows, saved with the weights, not trained.

    Gradients in a linear map of whitened rows are of one size in every direction: what follows learns small
    directions as fast as large ones.

    Args:
        rows: Shape (N, data_dim); their mean and covariance are taken.
        ridge: r in units of the mean variance of a column: directions that vary less are not blown up.
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, rows: Tensor, ridge: float = 0.01) -> None:
        super().__init__()
        check_positive(ridge, "ridge")
        (rows,) = Entry(most=1).rows(rows, "rows")
        exact = rows.double()
        mean = exact.mean(0)
        variance, axes = torch.linalg.eigh((exact - mean).T @ (exact - mean) / len(rows))
        spread = (variance.clamp_min(0) + ridge * variance.mean()).sqrt()
        self.register_buffer("mean", mean.to(torch.get_default_dtype()))
        self.register_buffer("matrix", ((axes / spread) @ axes.T).to(torch.get_default_dtype()))

    def forward(self, x: Tensor) -> Tensor:
        """Return the whitened rows, shape (..., data_dim)."""
        check_rows(x, self.mean.shape[0])
        return (x - self.mean) @ self.matrix


class Bfloat16Training(Picklable):
    """A network whose matrix products are rounded to bfloat16 in training; input, output and weights are not.

    In evaluation mode it is the network as it is: the log-weights of many samples would show the rounding.

    Args:
        network: Tensors to tensors.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the network's output, in the precision of `inputs`."""
        if not self.training:
            return self.network(inputs)
        with torch.autocast(inputs.device.type, torch.bfloat16):
            outputs: Tensor = self.network(inputs)
        return outputs.to(inputs.dtype)


def has_fast_bfloat16(device: str) -> bool:
    """Return whether the device ("cpu", "cuda") multiplies bfloat16 faster than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Private names of torch: a version without them is taken for a processor without the instructions.
    tests = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("amx_tile", "avx512_bf16"))
    return any(test is not None and test() for test in tests)


def mlp_encoder(
    loc: Tensor,
    scale: Tensor,
    hidden: Sequence[int],
    out_features: int,
    activation: str = "relu",
    dropout: float = 0.0,
) -> nn.Sequential:
    """Return an encoder network: standardize x, drop some of its columns in training, then an `MLP`.

    Dropout keeps the guide from knowing training rows by heart (Shu et al. 2018 regularise amortized inference
    so); the ELBO stays a bound for every mask, and in evaluation mode nothing is dropped.

    Args:
        loc: What is subtracted from x, shape (data_dim,): the training split's mean.
        scale: What x is divided by, shape (data_dim,).
        hidden: Widths of the hidden layers.
        out_features: Outputs, `guide.num_outputs` of the guide that it feeds.
        activation: One of `ACTIVATIONS`.
        dropout: Share of the columns that training drops, in [0, 1).

    Raises:
        InputError: If `dropout` is out of range.
    """
    check(0 <= dropout < 1, f"Expected dropout in [0, 1), a share of the columns; got {dropout}.")
    body = MLP(len(loc), hidden, out_features, activation)
    return nn.Sequential(Standardize(loc, scale), nn.Dropout(dropout), body)


def mlp_decoder(latent_dim: int, hidden: Sequence[int], out_features: int, activation: str = "relu") -> MLP:
    """Return a decoder network, an `MLP` with the hidden widths in reverse: the mirror of its encoder.

    Args:
        latent_dim: Size of z.
        hidden: Widths of the encoder's hidden layers, from x inwards.
        out_features: Outputs, `likelihood.num_outputs` of the likelihood that it feeds.
        activation: One of `ACTIVATIONS`.
    """
    return MLP(latent_dim, tuple(reversed(hidden)), out_features, activation)


@torch.no_grad()
def shrink_outputs(network: nn.Module, start: int, factor: float = 0.01) -> nn.Module:
    """Return the network with the outputs from number `start` on made small, by their weights.

    A guide of a richer family starts near the simple one so, where these outputs are what it has more.

    Args:
        network: A network that ends in a linear layer; changed in place.
        start: The first output to shrink.
        factor: What their weights are multiplied by. Not 0: at nought some families have no slope to leave by.
    """
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    last.weight[start:] *= factor
    return network
