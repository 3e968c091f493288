"""A stack of bits with symbols coded by asymmetric numeral systems, from the package constriction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_vae._checks import InputError

__all__ = ["BitStack", "check_constriction", "initial_words"]

BITS_PER_SYMBOL = 12
"""Initial bits per dimension of z, more than a dimension usually takes."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int32]
Words = NDArray[np.uint32]


class BitStack:
    """A stack of bits. What is pushed last is popped first; each pop needs the distribution of its push.

    Args:
        words: The bits, uint32.
        farthest: Largest absolute value of a code.
        seal: Whether `words` may end in zeros, as initial bits may; False for the result of `words`.
    """

    def __init__(self, words: Words, farthest: int, *, seal: bool = False) -> None:
        coder, families = _constriction()
        self._coder = coder(words, seal=seal)
        self._uniform = families.Uniform(2**BITS_PER_SYMBOL)
        self._codes = families.QuantizedGaussian(-farthest, farthest)
        self._symbols = families.Categorical(perfect=False)

    @property
    def words(self) -> Words:
        """The bits, uint32."""
        words: Words = self._coder.get_compressed()
        return words

    def num_symbols(self) -> int:
        """Return the number of symbols that the stack has bits for."""
        return int(self._coder.num_bits()) // BITS_PER_SYMBOL

    def holds(self, initial: Words) -> bool:
        """Return whether the stack equals its initial, sealed bits."""
        try:
            return bool(np.array_equal(self._coder.get_compressed(unseal=True), initial))
        except (AssertionError, ValueError):
            return False

    def mix(self, count: int, key: tuple[int, int]) -> None:
        """XOR the top `count` symbols with a random sequence given by a key; applied twice it is the identity."""
        symbols = self._coder.decode(self._uniform, count)
        mask = np.random.default_rng(key).integers(2**BITS_PER_SYMBOL, size=len(symbols), dtype=np.int32)
        self._coder.encode_reverse(symbols ^ mask, self._uniform)

    def push_codes(self, codes: Integers, loc: Floats, scale: Floats) -> None:
        """Encode codes of shape (n,) under normal distributions rounded to whole numbers."""
        self._coder.encode_reverse(codes, self._codes, loc, scale)

    def pop_codes(self, loc: Floats, scale: Floats) -> Integers:
        """Decode codes of shape (n,) under normal distributions rounded to whole numbers."""
        codes: Integers = self._coder.decode(self._codes, loc, scale)
        return codes

    def push_symbols(self, symbols: Integers, probs: Floats) -> None:
        """Encode symbols of shape (n,) under probabilities of shape (n, number of symbols)."""
        self._coder.encode_reverse(symbols, self._symbols, probs)

    def pop_symbols(self, probs: Floats) -> Integers:
        """Decode symbols of shape (n,) under probabilities of shape (n, number of symbols)."""
        symbols: Integers = self._coder.decode(self._symbols, probs)
        return symbols


def initial_words(latent_dim: int, seed: int) -> Words:
    """Return random initial bits for one row of z, uint32."""
    words = BITS_PER_SYMBOL * latent_dim // 32 + 2
    return np.random.default_rng(seed).integers(2**32, size=words, dtype=np.uint32)


def check_constriction() -> None:
    """Raise `InputError` if the package constriction is missing."""
    _constriction()


def _constriction() -> tuple[Any, Any]:
    try:
        import constriction  # type: ignore[import-untyped]
    except ImportError:
        raise InputError(
            "Expected the package constriction, which codes symbols; it is not installed. Run: "
            "pip install 'pyro_vae[compress]'"
        ) from None
    return constriction.stream.stack.AnsCoder, constriction.stream.model
