"""Standardizing and whitening of rows, with constants from the data."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyro_vae._checks import check, check_positive, check_rows
from pyro_vae._context import ContextRange, context_range_of_network
from pyro_vae._pickling import Picklable
from pyro_vae.data.as_tensor import as_tensor
from pyro_vae.data.entry import Entry

__all__ = ["Standardize", "StandardizedEncoder", "Whiten"]


class Standardize(nn.Module):
    """`x -> (x - loc) / scale`, with constants that are saved with the weights but not trained.

    Args:
        loc: Shift, shape (data_dim,).
        scale: Scale, shape (data_dim,), all above 0.

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
        # Copies: a tensor shared with another module would be treated as a shared weight.
        self.register_buffer("loc", loc.to(torch.get_default_dtype(), copy=True))
        self.register_buffer("scale", scale.to(torch.get_default_dtype(), copy=True))

    def forward(self, x: Tensor) -> Tensor:
        """Return the standardized rows, shape (..., data_dim)."""
        check_rows(x, self.loc.shape[0])
        return (x - self.loc) / self.scale

    def extra_repr(self) -> str:
        """Return what `repr` shows of the module."""
        return f"{self.loc.shape[0]}"


class StandardizedEncoder(Picklable, nn.Sequential):
    """`x, c -> network(dropout((x - loc) / scale), c)`: an encoder of rows in data units and of their context.

    Args:
        standardize: The standardization.
        dropout: Dropout of columns of x in training.
        network: Network from standardized rows, and optionally context, to outputs.
        data_shape: Channels, height and width of image rows, to reject images of another shape when data is read; None
            for other rows.
    """

    def __init__(
        self,
        standardize: nn.Module,
        dropout: nn.Module,
        network: nn.Module,
        data_shape: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__(standardize, dropout, network)
        self.data_shape = data_shape

    @property
    def context_range(self) -> ContextRange:
        """Number of context tensors that the network takes."""
        return context_range_of_network(self[2])

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        """Return the network's outputs for rows of shape (..., data_dim)."""
        standardize, dropout, network, *appended = self
        outputs: Tensor = network(dropout(standardize(x)), *context)
        for layer in appended:
            outputs = layer(outputs)
        return outputs


class Whiten(nn.Module):
    """`x -> (C + r I)^(-1/2) (x - mean)`, with C the covariance of given rows, saved with the weights, not trained.

    Gradients of a linear map of whitened rows have equal size in all directions, so directions of small variance are
    learned as fast as those of large variance.

    Args:
        rows: Rows for mean and covariance, shape (N, data_dim).
        ridge: r in units of the mean column variance; limits the amplification of directions of small variance.
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
