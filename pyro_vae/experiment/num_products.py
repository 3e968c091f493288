"""Cost of one row in the networks of a run, in multiplications."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from pyro_vae.data import DataSet

__all__ = ["num_products"]

Convolution = nn.Conv2d | nn.ConvTranspose2d


def num_products(dataset: DataSet, *programs: nn.Module) -> int:
    """Return the number of multiplications by weights per row; those of a convolution count at each pixel.

    Args:
        dataset: Data set of which one row is reconstructed if there are convolutions.
        programs: Model and guide.
    """
    weights = {id(p): p.numel() for program in programs for p in program.parameters()}
    repeats: dict[int, int] = {}

    def note(convolution: Convolution, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        maps = inputs[0] if isinstance(convolution, nn.ConvTranspose2d) else output
        repeats[id(convolution)] = convolution.weight.numel() * (maps.shape[-2] * maps.shape[-1] - 1)

    modules = {part for program in programs for part in program.modules()}
    hooks = [part.register_forward_hook(note) for part in modules if isinstance(part, Convolution)]
    if hooks:
        model, guide = cast(tuple[Any, Any], programs)
        x, *context = dataset.train.head(1).tensors()
        with torch.no_grad(), torch.random.fork_rng():
            model.reconstruct(x, guide, *context)
    for hook in hooks:
        hook.remove()
    return sum(weights.values()) + sum(repeats.values())
