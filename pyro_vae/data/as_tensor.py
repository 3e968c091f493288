"""Conversion of numbers in any container to a tensor, and of rows of any shape to a matrix."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_vae._checks import InputError, check
from pyro_vae.data.image_axes import channels_first

__all__ = ["as_matrix", "as_tensor", "check_digits", "check_finite", "is_array"]

DIGITS = 0.01
"""Largest step between two numbers of the target precision, in standard deviations of their column."""
CONSTANT = 1e-12
"""A column that varies by less than this share of its size is constant up to rounding."""
KINDS = {
    "O": "Python objects",
    "U": "text",
    "S": "text",
    "M": "dates",
    "m": "time differences",
    "V": "records",
    "c": "complex numbers",
}


def is_array(values: Any) -> bool:
    """Return whether `values` has a shape: a tensor, an array, a table."""
    return hasattr(values, "shape") and hasattr(values, "__len__")


def as_tensor(values: Any, name: str = "x") -> Tensor:
    """Return numbers as a dense tensor without gradient, with their shape and precision.

    Args:
        values: Tensor, array of any real dtype, byte order and strides, (nested) list, DataFrame or Series. Masked
            entries of a masked array and missing ones of a table become NaN.
        name: Name in messages.

    Raises:
        InputError: If they are not real numbers, or are sparse or lists of unequal lengths.
    """
    if isinstance(values, Tensor):
        return _dense(values, name)
    check(
        not (hasattr(values, "nnz") and hasattr(values, "toarray")),
        f"Expected {name} as a dense array; got a sparse {type(values).__name__}. Give {name}.toarray().",
    )
    array = _numbers(values, name)
    if array.dtype.kind in "ui" and array.dtype not in (np.uint8, np.int8, np.int16, np.int32, np.int64):
        array = array.astype(np.int64 if array.dtype != np.uint64 else np.float64)
    if array.dtype.kind == "f" and array.dtype.itemsize not in (2, 4, 8):
        array = array.astype(np.float64)  # long double
    # Copied: torch supports neither negative strides nor foreign byte order, and warns about read-only memory.
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def _dense(values: Tensor, name: str) -> Tensor:
    check(
        values.layout == torch.strided and not values.is_nested,
        f"Expected {name} as a dense tensor; got the layout {values.layout}. Give {name}.to_dense().",
    )
    check(
        not values.is_complex() and not values.is_quantized,
        f"Expected {name} as real numbers; got {values.dtype}. Give real and imaginary parts as columns.",
    )
    values = values.detach()
    # A tensor made inside torch.inference_mode() cannot be part of a gradient.
    return values.clone() if values.is_inference() else values


def _numbers(values: Any, name: str) -> NDArray[Any]:
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(np.float64), np.nan) if np.ma.is_masked(values) else values.data
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(values, pandas.DataFrame | pandas.Series):
        return _table(values, name)
    if isinstance(values, list | tuple):
        values = [part.detach().cpu().numpy() if isinstance(part, Tensor) else part for part in values]
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"Expected {name} as rows of equal length; got a {type(values).__name__} that is no array "
            f"({' '.join(str(error).split()).rstrip('.')}). Give each row the same number of columns."
        ) from None
    if array.dtype.kind == "O":
        array = _objects(array, name)
    check(
        array.dtype.kind in "biuf", f"Expected {name} as real numbers; got {_kind(array)}. {_remedy(array)}"
    )
    return array


def _objects(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Return an array of Python numbers as floats; None becomes NaN."""
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"Expected {name} as real numbers; got an array of {KINDS['O']} (dtype object), such as "
            f"{type(array.ravel()[0]).__name__ if array.size else 'none'}. Convert it by {name}.astype(float)."
        ) from None


def _table(values: Any, name: str) -> NDArray[Any]:
    """Return a DataFrame or Series as an array; raise `InputError` if columns are not numeric."""
    table = values.to_frame() if values.ndim == 1 else values
    wrong = [
        str(column)
        for column, dtype in zip(table.columns, table.dtypes, strict=True)
        if getattr(dtype, "kind", "O") not in "biuf"
    ]
    check(
        not wrong,
        f"Expected a DataFrame {name} of numbers; the columns {', '.join(wrong[:8])} hold something else. Encode them "
        "as numbers or drop them.",
    )
    missing = bool(values.isna().to_numpy().any())
    array: NDArray[Any] = values.to_numpy(dtype=np.float64, na_value=np.nan) if missing else values.to_numpy()
    return array.astype(np.float64) if array.dtype.kind == "O" else array


def _kind(array: NDArray[Any]) -> str:
    return f"{KINDS.get(array.dtype.kind, 'something else')} (dtype {array.dtype})"


def _remedy(array: NDArray[Any]) -> str:
    if array.dtype.kind in "US":
        return "Convert text that holds numbers by x.astype(float); encode categories as numbers."
    if array.dtype.kind in "Mm":
        return "Give seconds or days since a date as floats."
    return (
        "Give real and imaginary parts as columns." if array.dtype.kind == "c" else "Convert them to floats."
    )


def as_matrix(x: Tensor, name: str = "x") -> tuple[Tensor, tuple[int, ...]]:
    """Return rows flattened to (N, data_dim), and the shape of one row, channels first.

    Rows of shape (N,), single numbers, are not reshaped: programs of one column may take them.

    Args:
        x: Rows (N, D), images (N, H, W), (N, C, H, W) or, with C of 1, 3 or 4, (N, H, W, C), or rows of any other
            shape.
        name: Name in messages.

    Raises:
        InputError: If there is no row or no column, or it is ambiguous which axis holds the channels.
    """
    if x.ndim == 0:
        raise InputError(f"Expected {name} of shape (N, data_dim), one row an example; got a single number.")
    check(len(x) > 0, f"Expected at least one row of {name}; got none (shape {tuple(x.shape)}).")
    check(x.numel() > 0, f"Expected at least one column of {name}; got shape {tuple(x.shape)}.")
    if x.ndim == 4:
        x = channels_first(x, name)
    return x.reshape(len(x), -1) if x.ndim > 2 else x, tuple(x.shape[1:])


def check_finite(x: Tensor, *, missing: bool = False, name: str = "x") -> None:
    """Raise unless all entries of the rows `x`, shape (N, ...), are finite, or NaN where `missing` is allowed."""
    x = x.reshape(len(x), -1)
    if not x.is_floating_point() or bool(torch.isfinite(x).all()):
        return
    bad = x.isinf() if missing else ~x.isfinite()
    if bad.any():
        row, column = (int(i) for i in bad.nonzero()[0])
        raise InputError(
            f"Expected finite data; got {float(x[row, column])} in row {row}, column {column} of {name} (counted from "
            f"0), {int(bad.any(1).sum())} such rows of {len(x)}. Impute or drop them. (Programs of your own that mask "
            "missing entries may be given NaN.)"
        )


def check_digits(x: Tensor, dtype: torch.dtype, name: str = "x") -> None:
    """Raise `InputError` if a column of `x`, shape (N, ...), overflows or loses material digits in `dtype`."""
    info = torch.finfo(dtype)
    if x.dtype.itemsize <= (info.bits // 8 if x.is_floating_point() else 2):
        return
    exact = x.double().reshape(len(x), -1)
    largest = exact.abs().nan_to_num(0).amax(0)
    if (largest > info.max).any():
        column = int(largest.argmax())
        raise InputError(
            f"Expected values of {name} up to {info.max:.3g}, the largest of {dtype}; column {column} has "
            f"{float(largest[column]):.3g}. Rescale it first."
        )
    if len(x) < 2:
        return
    centred = exact - exact.nanmean(0)
    std = centred.square().nanmean(0).sqrt()
    step = info.eps * largest
    lost = (step > DIGITS * std) & (std > CONSTANT * largest)
    if lost.any():
        column = int(lost.nonzero()[0])
        raise InputError(
            f"Expected columns of {name} that {dtype} can hold; column {column} lies near {float(largest[column]):.6g} "
            f"and varies by {float(std[column]):.3g}, where {dtype} has steps of {float(step[column]):.2g}. Subtract "
            f"its mean first ({name} - {name}.mean(0), in float64), or use programs in float64 (model.double())."
        )
