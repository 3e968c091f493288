"""Mean and covariance of the training rows, and the leading eigenpairs of the smaller eigenproblem."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import scipy.linalg

from pyro_vae.baselines._gaussian import Array, fixed_signs

# Variances that overflow are found by `check_variances`.
OVERFLOW: Any = {"over": "ignore", "invalid": "ignore"}


class Moments:
    """Count, mean and scatter matrix Σ (x - mean)(x - mean)ᵀ of the rows seen so far, in O(D²) memory.

    Chunks are merged by the pairwise update of Chan, Golub & LeVeque (1983), which avoids cancellation.

    Args:
        num_features: D.

    Attributes:
        count: N, the number of rows.
        mean: Shape (D,).
        scatter: Shape (D, D), in squared units of x.
    """

    def __init__(self, num_features: int) -> None:
        self.count = 0
        self.mean = np.zeros(num_features)
        self.scatter = np.zeros((num_features, num_features))

    @classmethod
    def of(cls, x: Array) -> Moments:
        """The moments of finite rows x of shape (n, D)."""
        return cls(x.shape[1]).update(x, column_means(x))

    @np.errstate(**OVERFLOW)
    def update(self, x: Array, mean: Array) -> Moments:
        """Add rows x of shape (n, D), whose mean is `mean`."""
        total = self.count + len(x)
        shift = mean - self.mean
        self.scatter += scatter(x, mean) + np.outer(shift, shift * (self.count * len(x) / total))
        self.mean += shift * (len(x) / total)
        self.count = total
        return self

    def scatter_about(self, centre: Array) -> Array:
        """Σ (x - centre)(x - centre)ᵀ of the rows seen so far, for a centre of shape (D,); shape (D, D)."""
        shift = self.mean - centre
        return self.scatter + np.outer(self.count * shift, shift)

    def covariance(self) -> Covariance:
        """The covariance of the rows seen so far, normalised by their number."""
        return Covariance(self.scatter / self.count)


def column_means(x: Array) -> Array:
    """The means of the columns of x, shape (D,); for a constant column, exactly its value.

    Rounding in an ordinary mean of equal numbers would look like a tiny variance.
    """
    means = x.mean(axis=0)
    few = x[:: 1 + len(x) // 1000]
    for column in np.flatnonzero((means != 0) & (few == few[0]).all(axis=0)):
        if (x[:, column] == x[0, column]).all():
            means[column] = x[0, column]
    return means


@np.errstate(**OVERFLOW)
def scatter(x: Array, mean: Array) -> Array:
    """Σ (x - mean)(x - mean)ᵀ over rows x of shape (n, D), shape (D, D).

    Centring needs a copy, a fifth of the time of the product. It is skipped if the squared mean of every column is at
    most four times its variance: then xᵀx - n mean meanᵀ loses less than one digit.
    """
    squares = np.einsum("nd,nd->d", x, x)
    if (5 * len(x) * mean**2 <= 4 * squares).all():
        return x.T @ x - np.outer(len(x) * mean, mean)
    total = np.zeros((x.shape[1], x.shape[1]))
    for start in range(0, len(x), 4096):
        centred = x[start : start + 4096] - mean
        total += centred.T @ centred
    return total


class SecondMoment(Protocol):
    """The covariance S of the training rows, normalised by N, in whichever form has the smaller eigenproblem."""

    diagonal: Array

    def eigenpairs(self, rank: int, scale: Array | float = 1.0) -> tuple[Array, Array]:
        """Leading eigenvalues (rank,), descending, and unit eigenvectors (rank, D), of S / (scale scaleᵀ)."""
        ...


class Covariance:
    """S as a D x D matrix; used if there are no more features than rows."""

    def __init__(self, matrix: Array) -> None:
        self.matrix = matrix
        self.diagonal = np.diag(matrix)

    def eigenpairs(self, rank: int, scale: Array | float = 1.0) -> tuple[Array, Array]:
        """`SecondMoment.eigenpairs` from the D x D problem."""
        column = np.broadcast_to(scale, self.diagonal.shape)
        values, vectors = leading_eigenpairs(self.matrix / column / column[:, None], rank)
        return values, fixed_signs(vectors.T)


class CentredRows:
    """S represented by centred rows x - mean, x of shape (N, D); used if there are fewer rows than features."""

    @np.errstate(**OVERFLOW)
    def __init__(self, x: Array, mean: Array) -> None:
        self.rows = x - mean
        self.diagonal = np.einsum("nd,nd->d", self.rows, self.rows) / len(x)

    def eigenpairs(self, rank: int, scale: Array | float = 1.0) -> tuple[Array, Array]:
        """`SecondMoment.eigenpairs` from the N x N problem; eigenvectors of zero eigenvalues are returned as zero."""
        scaled = self.rows / scale
        values, left = leading_eigenpairs(scaled @ scaled.T / len(scaled), rank)
        lengths = np.sqrt(len(scaled) * np.maximum(values, np.finfo(float).tiny))
        return values, fixed_signs((left.T @ scaled) / lengths[:, None])


def second_moment(x: Array, mean: Array) -> SecondMoment:
    """The covariance about `mean` of rows x of shape (N, D), in the form with the smaller eigenproblem."""
    if len(x) < x.shape[1]:
        return CentredRows(x, mean)
    return Covariance(scatter(x, mean) / len(x))


def leading_eigenpairs(matrix: Array, rank: int) -> tuple[Array, Array]:
    """The `rank` largest eigenvalues of a symmetric matrix, descending, and eigenvectors as columns.

    A small part of the spectrum is computed by LAPACK's `syevr` (three times as fast at size 784), all of it by
    `syevd`.
    """
    size = len(matrix)
    if size > 256 and 0 < 5 * rank < size:
        values, vectors = scipy.linalg.eigh(
            matrix, subset_by_index=[size - rank, size - 1], check_finite=False
        )
    else:
        values, vectors = np.linalg.eigh(matrix)
    return np.maximum(values[::-1][:rank], 0.0), vectors[:, ::-1][:, :rank]
