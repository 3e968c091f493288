"""Loss and gradients of an objective, traced once through Pyro's handlers into a graph of tensor operations.

For networks of usual size, Pyro's handlers take more time than the networks, and do the same work in every step.
Therefore `make_fx` records the tensor operations of the loss *and of its gradients* once. (A trace of the loss alone
would have wrong gradients for programs that use `detach`, hooks or a custom backward pass.) The graph is compared with
the untraced values on other rows and other noise, and compiled. Model and guide are ordinary Pyro programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pyro_vae._layout import laid_out_as
from pyro_vae.compiled.cache import Cache
from pyro_vae.compiled.function import CompiledFunction
from pyro_vae.compiled.graph import Backend, inductor
from pyro_vae.objectives import Loss, Terms

__all__ = ["CompiledGradients", "Evaluation", "Gradients", "worth_compiling"]

REPAID_AFTER = 2_400
"""Minimum number of steps for compiling. It saves 2 to 8 ms per step and takes 10 to 20 s of processor time at the
first start, which is recovered after 2000 to 5000 steps, and 0.1 s at later starts."""


def worth_compiling(num_steps: int) -> bool:
    """Return whether compiling pays for a run of `num_steps` steps."""
    return num_steps >= REPAID_AFTER


class Evaluation(NamedTuple):
    """A loss with its gradients."""

    terms: Terms
    """Loss and its parts, detached."""
    sums: Tensor
    """Sums over the rows of the loss, of `terms.reconstruction` and of `terms.kl`, float64, shape (3,)."""
    norm: Tensor
    """Euclidean norm of the whole gradient, scalar."""
    failed: Tensor
    """1 if the loss or a gradient is not finite, else 0; scalar, float32."""
    gradients: tuple[Tensor | None, ...]
    """One gradient per parameter; None if the loss does not depend on it."""


class Gradients:
    """Loss and gradients through Pyro's handlers.

    Args:
        loss: An objective bound to a model and a guide.
        parameters: Parameters of the gradients; if empty, only the loss and its parts are computed.
    """

    def __init__(self, loss: Loss, parameters: Sequence[Tensor]) -> None:
        self.loss = loss
        self.parameters = list(parameters)

    @property
    def note(self) -> str:
        """Why compilation fell back to eager execution; empty if it did not."""
        return ""

    @property
    def seconds(self) -> float:
        """Time spent tracing and compiling."""
        return 0.0

    def __call__(self, *data: Tensor, progress: Tensor, unchanged: bool = False) -> Evaluation:
        """Return loss and gradients for a batch, with noise from torch's random state.

        Args:
            data: Arguments of model and guide.
            progress: Fraction of training done, a scalar in [0, 1].
            unchanged: Whether the programs are known to be unchanged since the last call, except for tensor values, so
                that checks for changes can be skipped.
        """
        with torch.set_grad_enabled(bool(self.parameters)):
            terms = self.loss.terms(*data, progress=progress)
        gradients = self._gradients(terms.loss)
        # Sum by rows: TorchInductor keeps the sum of a row in registers, but that of a whole tensor in memory.
        squares = [g.square().sum(-1).sum() for g in gradients if g is not None]
        norm = torch.stack(squares).sum().sqrt() if squares else torch.zeros_like(terms.loss)
        failed = 1 - torch.isfinite(norm + terms.loss.detach()).float()
        terms = terms._replace(loss=terms.loss.detach())
        parts = (terms.loss.expand_as(terms.kl), terms.reconstruction, terms.kl)
        sums = torch.stack([part.sum(dtype=torch.float64) for part in parts])
        return Evaluation(terms, sums, norm, failed, gradients)

    def parts(self, data: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
        """Return the parts in which a batch is evaluated: one, the whole batch."""
        return [data]

    def _gradients(self, loss: Tensor) -> tuple[Tensor | None, ...]:
        if not self.parameters:
            return ()
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        return tuple(
            None if gradient is None else laid_out_as(gradient.detach(), parameter)
            for gradient, parameter in zip(gradients, self.parameters, strict=True)
        )


class CompiledGradients(Gradients):
    """Loss and gradients by a compiled graph, traced once through Pyro's handlers.

    Batches with the shapes of the example use the graph; others (such as the last, partial batch of an epoch) use the
    handlers. The graph reads parameters and buffers in place, and is traced again if an attribute, mode, dtype or
    submodule of a module changes. Values that a plain function reads from outside are fixed at the trace. If a program
    cannot be traced, or its graph disagrees with it, execution falls back to the handlers and `note` states why.

    Args:
        loss: An objective bound to a model and a guide.
        parameters: Parameters of the gradients.
        example: A batch with the shapes of the graph.
        backend: The compiler of the graph.
        cache: Cache of graphs for a CPU; None compiles at every start.
    """

    def __init__(
        self,
        loss: Loss,
        parameters: Sequence[Tensor],
        example: Sequence[Tensor],
        backend: Backend = inductor,
        cache: Cache | None = None,
    ) -> None:
        super().__init__(loss, parameters)
        on_gpu = any(tensor.is_cuda for tensor in (*parameters, *example))
        self._compiled = CompiledFunction(
            self._evaluate, loss, backend, None if on_gpu else cache, is_usable=_is_finite
        )
        self._shapes = _shapes(example)
        self._used: list[bool] = []

    @property
    def note(self) -> str:
        """Why compilation fell back to eager execution; empty if it did not."""
        return self._compiled.note

    @property
    def seconds(self) -> float:
        """Time spent tracing and compiling."""
        return self._compiled.seconds

    def __call__(self, *data: Tensor, progress: Tensor, unchanged: bool = False) -> Evaluation:
        """Return loss and gradients for a batch, with noise from torch's random state.

        Args:
            data: Arguments of model and guide.
            progress: Fraction of training done, a scalar in [0, 1].
            unchanged: Whether the programs are known to be unchanged since the last call, except for tensor values, so
                that checks for changes can be skipped.
        """
        if _shapes(data) == self._shapes and (
            (unchanged and self._compiled.graph) or self._is_ready(data, progress)
        ):
            assert self._compiled.graph is not None
            return _evaluation(self._compiled.graph(progress, *data), self._used)
        return super().__call__(*data, progress=progress)

    def _is_ready(self, data: Sequence[Tensor], progress: Tensor) -> bool:
        # Other rows and noise than in the trace, to detect values that were fixed in the graph.
        return self._compiled.is_ready((progress, *data), (progress, *(part.flip(0) for part in data)))

    def _evaluate(self, progress: Tensor, *data: Tensor) -> list[Tensor]:
        evaluation = Gradients.__call__(self, *data, progress=progress)
        self._used = [gradient is not None for gradient in evaluation.gradients]
        return _tensors(evaluation)


def _shapes(data: Sequence[Tensor]) -> list[torch.Size]:
    return [part.shape for part in data]


def _tensors(evaluation: Evaluation) -> list[Tensor]:
    present = [gradient for gradient in evaluation.gradients if gradient is not None]
    return [*evaluation.terms, evaluation.sums, evaluation.norm, evaluation.failed, *present]


def _is_finite(tensors: Sequence[Tensor]) -> bool:
    """Return whether loss and gradients, from `_tensors`, are finite; if not, the step itself reports the error."""
    _, _, _, _, _, failed, *_ = tensors
    return not failed


def _evaluation(tensors: Sequence[Tensor], used: Sequence[bool]) -> Evaluation:
    """Inverse of `_tensors`, with None for unused parameters."""
    loss, reconstruction, kl, sums, norm, failed, *given = tensors
    gradients: tuple[Tensor | None, ...] = tuple(given)
    if not all(used):
        remaining = iter(given)
        gradients = tuple(next(remaining) if is_used else None for is_used in used)
    return Evaluation(Terms(loss, reconstruction, kl), sums, norm, failed, gradients)
