"""Bits-back coding with asymmetric numeral systems: rows to bits and back, at the rate of the ELBO."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from pyro_vae._checks import InputError, check
from pyro_vae._context import context_range_of_network
from pyro_vae.compression.bit_stack import BitStack, check_constriction, initial_words
from pyro_vae.compression.digit_probs import Digit, digit_probs, digits_of
from pyro_vae.models.generative import GenerativeModel

__all__ = ["BitsBackCodec", "Encoded"]

STEPS = 64
"""Grid points per standard deviation of the prior."""
FARTHEST = 8
"""Range of the codes, in standard deviations of the prior.

The coder gives every grid point a probability of at least 2^-24, so codes far from q(z | x) are occasionally drawn.
With 512 points and 16 deviations this cost 3 % of the file on binarized MNIST.
"""
OUTPUT_STEPS = 2.0**12
"""Network outputs are rounded to multiples of 1 / 4096, so that rounding differences of float64 have no effect."""
TABLE_ENTRIES = 500_000
"""Maximum number of level probabilities in memory at once."""


@dataclass(frozen=True)
class Encoded:
    """Rows as bits.

    Attributes:
        words: The bits, uint32.
        batches: Rows per batch, in the order in which they were encoded.
        initial_bits: Number of bits on the stack at the start.
    """

    words: NDArray[np.uint32]
    batches: tuple[int, ...]
    initial_bits: int


class BitsBackCodec:
    """Codes rows of levels losslessly under a model and a guide (Townsend et al. 2019, sections 2.2 to 2.5).

    For each batch, z is decoded from the stack under q(z | x), x is encoded under p(x | z), then z under p(z). The
    stack grows by `log q(z | x) - log p(x | z) - log p(z)`, minus the ELBO on average. z lies on a grid with a
    spacing of 1 / 64 of the prior's standard deviation. The bits from which z is decoded contain the previous z,
    which is uniform only if the prior equals the aggregate posterior; they are therefore first combined with a fixed
    random sequence.

    Encoder and decoder must compute identical numbers. Networks run in float64, on one thread and on batches of one
    shape, and their outputs are rounded. Another version of torch or another processor may still change a rounding;
    decoding then ends in an error, never in wrong rows.

    Args:
        model: A model with a normal prior of independent dimensions and a discrete likelihood.
        guide: A diagonal normal guide.
        batch_size: Rows per call of the networks.

    Raises:
        InputError: If the programs are of other kinds, or the package constriction is missing.
    """

    def __init__(self, model: GenerativeModel, guide: nn.Module, batch_size: int = 64) -> None:
        check_constriction()
        self.model: Any = copy.deepcopy(model).double().eval().cpu()
        copied: Any = copy.deepcopy(guide).double().eval().cpu()
        self.guide = copied
        self.batch_size = batch_size
        self.levels = 2 if model.likelihood.kind == "binary" else getattr(model.likelihood, "levels", 0)
        self.data_dim = model.likelihood.data_dim
        with torch.no_grad():
            self._prior = _normal(_prior(self.model), "prior standard-normal or diagonal-normal")
            self.latent_dim = len(self._prior.loc)
            x = torch.zeros(batch_size, self.data_dim, dtype=torch.float64)
            _normal(self.guide.posterior(x), "guide diagonal")
            p = self._likelihood(np.zeros((1, self.latent_dim), np.int32))
            digit_probs(p, x[:1], digits_of(p)[0])

    def encode(
        self, rows: NDArray[np.int64], seed: int = 0, done_rows: Callable[[int], Any] = lambda count: None
    ) -> Encoded:
        """Return rows as bits.

        Args:
            rows: Levels from 0 to `levels - 1`, shape (N, data_dim).
            seed: Seed of the initial bits, from which the first z is decoded.
            done_rows: Called after each batch with its number of rows.
        """
        initial = initial_words(self.latent_dim, seed)
        stack, batches, done = BitStack(initial, FARTHEST * STEPS, seal=True), list[int](), 0
        with self._repeatable():
            while done < len(rows):
                affordable = stack.num_symbols() // self.latent_dim
                size = max(1, min(self.batch_size, affordable, len(rows) - done))
                stack.mix(size * self.latent_dim, (seed, len(batches)))
                self._push(stack, rows[done : done + size])
                batches.append(size)
                done += size
                done_rows(size)
        return Encoded(stack.words, tuple(batches), 32 * len(initial))

    def decode(
        self, encoded: Encoded, seed: int = 0, done_rows: Callable[[int], Any] = lambda count: None
    ) -> NDArray[np.int64]:
        """Return the rows, shape (N, data_dim).

        Args:
            encoded: The result of `encode` under the same model and guide.
            seed: The seed given to `encode`.
            done_rows: Called after each batch with its number of rows.

        Raises:
            InputError: If this machine or model computes other numbers than the encoder did.
        """
        rows = np.empty((sum(encoded.batches), self.data_dim), np.int64)
        stack, end = BitStack(encoded.words, FARTHEST * STEPS), len(rows)
        with self._repeatable():
            for number, size in reversed(list(enumerate(encoded.batches))):
                rows[end - size : end] = self._pop(stack, size)
                stack.mix(size * self.latent_dim, (seed, number))
                end -= size
                done_rows(size)
        if not stack.holds(initial_words(self.latent_dim, seed)):
            raise InputError(
                "Expected the networks to give the numbers that they gave when the file was written; they differ here. "
                "Decode with the run, the version of torch and the kind of processor that it was written with."
            )
        return rows

    def _push(self, stack: BitStack, rows: NDArray[np.int64]) -> None:
        """Encode rows onto the stack."""
        x = self._x(rows)
        codes = stack.pop_codes(*self._posterior(x))
        p = self._likelihood(codes.reshape(len(rows), -1))
        for part, digit in reversed(self._parts(p, len(rows))):
            symbols = digit.symbols(rows[part, digit.columns]).ravel()
            stack.push_symbols(symbols, _table(p, x, part, digit))
        stack.push_codes(codes, *self._prior_of(len(rows)))

    def _pop(self, stack: BitStack, num_rows: int) -> NDArray[np.int64]:
        """Decode the last rows from the stack."""
        codes = stack.pop_codes(*self._prior_of(num_rows))
        p = self._likelihood(codes.reshape(num_rows, -1))
        rows = np.zeros((num_rows, self.data_dim), np.int64)
        for part, digit in self._parts(p, num_rows):
            symbols = stack.pop_symbols(_table(p, self._x(rows), part, digit))
            rows[part, digit.columns] += digit.unit * symbols.reshape(part.stop - part.start, -1)
        stack.push_codes(codes, *self._posterior(self._x(rows)))
        return rows

    def _parts(self, p: Distribution, num_rows: int) -> list[tuple[slice, Digit]]:
        """Return, in the order of decoding, rows and digit of what is coded in one call."""
        digits = digits_of(p)
        step = max(1, TABLE_ENTRIES // (self.data_dim * max(digit.base for digit in digits)))
        rows = [slice(start, min(start + step, num_rows)) for start in range(0, num_rows, step)]
        return [(part, digit) for part in rows for digit in digits]

    def _x(self, rows: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(rows).double() / max(self.levels - 1, 1)

    def _posterior(self, x: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        q = _normal(self.guide.posterior(self._padded(x)), "guide diagonal")
        loc = _rounded((q.loc - self._prior.loc) / self._prior.scale)[: len(x)].clamp(-FARTHEST, FARTHEST)
        log_scale = _rounded((q.scale / self._prior.scale).log())[: len(x)]
        return _steps(loc), _steps(log_scale.exp())

    def _prior_of(self, num_rows: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        ones = torch.ones(num_rows, self.latent_dim, dtype=torch.float64)
        return _steps(0 * ones), _steps(ones)

    def _likelihood(self, codes: NDArray[np.int32]) -> Distribution:
        z = self._prior.loc + self._prior.scale * torch.from_numpy(codes).double() / STEPS
        outputs = self.model.decoder(self._padded(z))[: len(z)]
        return self.model.likelihood(_rounded(outputs))

    def _padded(self, rows: Tensor) -> Tensor:
        """Pad to the fixed batch shape: products of another shape may sum in another order."""
        return torch.cat([rows, rows.new_zeros(self.batch_size - len(rows), rows.shape[1])])

    @contextmanager
    def _repeatable(self) -> Iterator[None]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.no_grad():
                yield
        finally:
            torch.set_num_threads(threads)


def _table(p: Distribution, x: Tensor, rows: slice, digit: Digit) -> NDArray[np.float64]:
    probs = digit_probs(_rows_of(p, rows), x[rows], digit)
    return np.ascontiguousarray(probs.flatten(0, -2).numpy())


def _rows_of(p: Distribution, rows: slice) -> Distribution:
    """Return the distribution of some of the rows."""
    if isinstance(p, Independent):
        return Independent(_rows_of(p.base_dist, rows), p.reinterpreted_batch_ndims)
    part = copy.copy(p)
    for name, value in vars(p).items():
        if isinstance(value, Tensor) and name != "centre":
            setattr(part, name, value[rows])
    return part


def _rounded(values: Tensor) -> Tensor:
    return (values * OUTPUT_STEPS).round() / OUTPUT_STEPS


def _steps(values: Tensor) -> NDArray[np.float64]:
    return np.ascontiguousarray((values * STEPS).flatten().numpy())


def _prior(model: GenerativeModel) -> Any:
    check(
        not context_range_of_network(model.prior, beside=0).least,
        "Expected a prior without context for bits-back coding; got one that takes it.",
    )
    prior: Any = model.prior
    return prior()


def _normal(found: Any, expected: str) -> Any:
    base = getattr(found, "base_dist", found)
    check(
        isinstance(base, Normal),
        f"Expected a run with --{expected} for bits-back coding; got {type(base).__name__}.",
    )
    return base
