"""Weights with another memory layout than that of their shape are trained like any others."""

import copy

import pytest
import torch
from torch import nn

from pyro_vae import DiagonalNormalGuide, GenerativeModel, StandardNormal, fit
from pyro_vae._layout import laid_out_as
from pyro_vae.compiled import Gradients
from pyro_vae.likelihoods import BernoulliLikelihood
from pyro_vae.networks import ConvolutionalArchitecture
from pyro_vae.objectives import ELBO
from pyro_vae.processes import Processes
from pyro_vae.training import AveragedGradients, FusedAdamW

X = (torch.rand(40, 64, generator=torch.Generator().manual_seed(0)) < 0.3).float()


def channels_last(shape):
    return torch.randn(shape).to(memory_format=torch.channels_last)


LAYOUTS = {
    "plain": lambda: torch.randn(2, 3, 4, 5),
    "channels last": lambda: channels_last((2, 3, 4, 5)),
    "one channel": lambda: channels_last((2, 1, 4, 5)),
    "transposed": lambda: torch.randn(5, 3).t(),
    "permuted": lambda: torch.randn(4, 2, 3).permute(1, 2, 0),
}


@pytest.mark.parametrize("made", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("step", ["update", "step"])
def test_adam_moves_each_weight_along_its_own_gradient(made, step):
    """The first step of Adam is lr against the sign of the gradient."""
    weight = nn.Parameter(made())
    before, gradient = weight.detach().clone(), torch.randn(weight.shape)
    optimizer = FusedAdamW([weight], lr=0.1)
    if step == "update":
        optimizer.update([laid_out_as(gradient, weight)])
    else:
        weight.grad = gradient
        optimizer.step()
    torch.testing.assert_close(weight.detach(), before - 0.1 * gradient.sign(), rtol=1e-4, atol=1e-4)


def test_a_loaded_state_takes_the_layout_of_the_weights():
    torch.manual_seed(0)
    plain, moved = nn.Parameter(torch.randn(2, 3, 4, 5)), nn.Parameter(channels_last((2, 3, 4, 5)))
    moved.data.copy_(plain.data)
    first, second = FusedAdamW([plain], lr=0.1), FusedAdamW([moved], lr=0.1)
    first.update([torch.randn(2, 3, 4, 5)])
    moved.data.copy_(plain.data)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    gradient = torch.randn(2, 3, 4, 5)
    first.update([gradient])
    second.update([laid_out_as(gradient, moved)])
    torch.testing.assert_close(moved.detach(), plain.detach(), rtol=1e-5, atol=1e-6)


def programs(memory_format):
    torch.manual_seed(0)
    made = ConvolutionalArchitecture((3, 5), dense=8)
    model = GenerativeModel(
        StandardNormal(2), made.decoder(2, 1, (8, 8)), BernoulliLikelihood(X.mean(0), X.std(0))
    )
    guide = DiagonalNormalGuide(made.encoder((8, 8), 4))
    for module in (model, guide):
        for part in module.modules():
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                part.to(memory_format=memory_format)
    return model, guide


def ours(parameters):
    return FusedAdamW(parameters, lr=0.02)


def fused(parameters):
    return torch.optim.AdamW(parameters, lr=0.02, weight_decay=0.0, fused=True)


def plain(parameters):
    return torch.optim.AdamW(parameters, lr=0.02, weight_decay=0.0, fused=False, foreach=False)


@pytest.mark.parametrize(
    ("optimizer", "compiled"),
    [(ours, "off"), (fused, "off"), (plain, "off"), pytest.param(ours, "on", marks=pytest.mark.slow)],
)
def test_training_does_not_depend_on_the_layout(optimizer, compiled):
    settings = {"epochs": 5, "batch_size": 20, "seed": 0, "progress": False}
    finals = []
    for memory_format, own, compiling in (
        (torch.contiguous_format, plain, "off"),
        (torch.channels_last, optimizer, compiled),
    ):
        pair = programs(memory_format)
        result = fit(*pair, X, optimizer=own, compile=compiling, **settings)
        assert not result.note
        finals.append([weight.detach() for program in pair for weight in program.parameters()])
    for expected, found in zip(*finals, strict=True):
        torch.testing.assert_close(found, expected, rtol=0.02, atol=0.005)


class OneOfTwo(Processes):
    """Two processes that hold the same rows, without a network."""

    rank, count = 0, 2

    def sum(self, values):
        return 2 * values


def test_gradients_of_several_processes_keep_the_layout():
    model, guide = programs(torch.channels_last)
    parameters = [*model.parameters(), *guide.parameters()]
    alone = Gradients(ELBO()(model, guide), parameters)
    together = AveragedGradients(alone, OneOfTwo(), lambda: 2 * len(X))
    torch.manual_seed(1)
    expected = alone(X, progress=torch.zeros(())).gradients
    torch.manual_seed(1)
    found = together(X, progress=torch.zeros(())).gradients
    for parameter, own, averaged in zip(parameters, expected, found, strict=True):
        torch.testing.assert_close(averaged, own, rtol=1e-4, atol=1e-6)
        assert laid_out_as(averaged, parameter) is averaged
