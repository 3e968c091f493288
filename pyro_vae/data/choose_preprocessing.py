"""The preprocessing that fits stored values and a kind of likelihood."""

from __future__ import annotations

from pyro_vae._checks import InputError, check
from pyro_vae.data.columns import UNBOUNDED
from pyro_vae.data.packed_bits import packed_hint
from pyro_vae.data.precision import find_offsets, offsets_of_columns
from pyro_vae.data.preprocessing import (
    AsFloat,
    BinarizeDynamic,
    BinarizeStatic,
    Centre,
    Dequantize,
    IntegerLevels,
    Preprocessing,
    Rescale,
)
from pyro_vae.data.stored import Stored, Survey
from pyro_vae.data.units import LikelihoodKind

__all__ = ["choose_preprocessing"]

MOST_LEVELS = 2**20  # beyond, float32 has less than 4 bits left for the noise
MOST_PROBABILITIES = 2**16  # beyond, float32 has less than 8 bits left for where a level lies
EXACT = 2**24  # integers below are exact in float32


def choose_preprocessing(
    stored: Stored, found: Survey, kind: LikelihoodKind, binarize: str, dequantize: str
) -> tuple[Preprocessing, tuple[str, ...]]:
    """Return the preprocessing that fits stored values and a kind of likelihood, and notes on it.

    Args:
        stored: The data.
        found: Its survey.
        kind: Kind of p(x | z).
        binarize: "none", "static" or "dynamic".
        dequantize: "auto" or "none".

    Raises:
        InputError: If the values or options do not fit the likelihood.
    """
    if kind == "binary":
        return _for_binary(stored, found, binarize), ()
    way = (
        "Leave it out."
        if kind == "table"
        else "Zeros and ones have no density: choose the bernoulli likelihood."
    )
    check(
        binarize == "none",
        f"Expected --binarize none under {_with_article(kind)} likelihood; got {binarize}. {way}",
    )
    if kind == "table":
        return _for_table(stored)
    if kind == "integer":
        return _for_integers(stored, found, dequantize), ()
    return _for_continuous(stored, found, dequantize, kind)


def _integers(stored: Stored, found: Survey) -> tuple[int, int]:
    """Return the lowest and highest integer that the data could hold."""
    if stored.levels is not None:
        return 0, stored.levels - 1
    if stored.array.dtype.kind == "b" or (stored.array.dtype.kind == "u" and found.high <= 1):
        return 0, 1
    return (0, 255) if stored.array.dtype == "uint8" else (int(found.low), int(found.high))


def _with_article(kind: str) -> str:
    """Return the kind of likelihood with its indefinite article."""
    return f"an {kind}" if kind == "integer" else f"a {kind}"


def _for_integers(stored: Stored, found: Survey, dequantize: str) -> Preprocessing:
    """Return the preprocessing for probabilities of integers."""
    if stored.array.dtype.kind == "f":
        fix = "numpy.uint8" if found.low >= 0 and found.high <= 255 else "int"
        way = f"Store them as integers, x.astype({fix}), or" if found.whole else "They are no integers:"
        raise InputError(
            f"Expected integers in {stored.name} under a likelihood that gives each level a probability; got floats "
            f"from {found.low:g} to {found.high:g}. {way} choose a continuous likelihood."
        )
    check(
        dequantize == "auto",
        f"Expected --dequantize auto under a likelihood of integers, which adds no noise anyway; got {dequantize}. "
        "Leave it out.",
    )
    low, high = _integers(stored, found)
    check(
        high - low < MOST_PROBABILITIES,
        f"Expected integers of at most {MOST_PROBABILITIES} levels in {stored.name}; got {low} to {high}. Choose a "
        "continuous likelihood.",
    )
    return IntegerLevels(high - low + 1, low)


def _for_continuous(
    stored: Stored, found: Survey, dequantize: str, kind: LikelihoodKind
) -> tuple[Preprocessing, tuple[str, ...]]:
    """Return the preprocessing for a density on the reals or on the unit interval, and notes on it."""
    floats = stored.array.dtype.kind == "f"
    low, high = (0, 1) if floats else _integers(stored, found)
    if kind == "unit-interval":
        check(
            not floats or (found.low >= 0 and found.high <= 1),
            f"Expected float values of {stored.name} in [0, 1], where this likelihood has its density; got "
            f"{found.low:g} to {found.high:g}. Rescale them first, or choose the gaussian likelihood.",
        )
        if floats or dequantize == "none":
            return (AsFloat() if floats else Rescale(high, low)), ()
    if floats or dequantize == "none":
        exact = not floats and high - low < EXACT
        offsets = None if exact else find_offsets(stored.array, low)
        if offsets and offsets.centred:
            return Centre(offsets.values), offsets.notes(stored.column_names)
        return AsFloat() if floats else Rescale(high, low), ()
    check(
        high - low < MOST_LEVELS,
        f"Expected integers of at most {MOST_LEVELS} levels in {stored.name}; got {low} to {high}. "
        "Pass --dequantize none, or store them as floats.",
    )
    return Dequantize(high - low + 1, low), ()


def _for_table(stored: Stored) -> tuple[Preprocessing, tuple[str, ...]]:
    """Return the preprocessing for a table of mixed columns, and notes on it: real columns far from 0 are centred."""
    offsets = offsets_of_columns(stored.array, [column.kind in UNBOUNDED for column in stored.columns or ()])
    if offsets.centred:
        return Centre(offsets.values), offsets.notes(stored.column_names)
    return AsFloat("as in the table, NaN where not observed"), ()


def _for_binary(stored: Stored, found: Survey, binarize: str) -> Preprocessing:
    """Return the preprocessing for a Bernoulli likelihood."""
    if found.binary:
        check(
            binarize == "none",
            f"Expected --binarize none; got {binarize}, but {stored.name} holds zeros and ones already.",
        )
        return AsFloat(stored.description)
    if binarize == "none":
        hint = packed_hint(stored, found)
        raise InputError(
            f"Expected zeros and ones in {stored.name} under a Bernoulli likelihood; got values from "
            f"{found.low:g} to {found.high:g}. Over grey values its 'probabilities' do not sum to one, so "
            "the numbers could not be compared with those of binarized data. Pass --binarize static or dynamic, "
            f"or a continuous likelihood.{f' {hint}' if hint else ''}"
        )
    floats = stored.array.dtype.kind == "f"
    check(
        not floats or (found.low >= 0 and found.high <= 1),
        f"Expected float values of {stored.name} in [0, 1] to binarize them; got {found.low:g} to "
        f"{found.high:g}. Rescale them first.",
    )
    low, high = (0, 1) if floats else _integers(stored, found)
    return BinarizeStatic(high, low) if binarize == "static" else BinarizeDynamic(high, low)
