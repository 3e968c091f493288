"""The mutual information gap: codes that are factors, codes that share one, and a channel of known information."""

import math

import pytest
import torch
from helpers import assert_within_sigma
from torch import nn

from pyro_vae import DiagonalNormalGuide, FullCovarianceGuide
from pyro_vae._checks import InputError
from pyro_vae.evaluate import information_gap
from pyro_vae.networks import UNIT

GRID = torch.cartesian_prod(torch.arange(4), torch.arange(3), torch.arange(5))
FACTORS = {"a": GRID[:, 0], "b": GRID[:, 1]}
X = GRID.double()
"""Rows whose columns are their factors; the last column is not among the requested factors."""


def coded(weight, scale):
    """Return the guide N(weight x, diag(scale^2))."""
    encoder = nn.Linear(3, 2 * len(weight)).double()
    with torch.no_grad():
        encoder.weight.copy_(torch.cat([torch.tensor(weight), torch.zeros(len(weight), 3)]))
        constant = torch.tensor(scale).double().expm1().log() - UNIT
        encoder.bias.copy_(torch.cat([torch.zeros(len(weight)), constant]))
    return DiagonalNormalGuide(encoder, scale_floor=0.0)


def test_codes_that_are_the_factors_have_a_gap_of_one():
    found = information_gap(coded([[10.0, 0, 0], [0, 10.0, 0]], [0.1, 0.1]), X, FACTORS)
    assert found.mean == pytest.approx(1, abs=1e-9)
    assert found.entropy == pytest.approx({"a": math.log(4), "b": math.log(3)})
    assert float(found.information["a"][0]) == pytest.approx(math.log(4))
    assert "a 1.000, b 1.000" in repr(found)


def test_a_factor_that_two_dimensions_know_has_no_gap():
    found = information_gap(coded([[10.0, 0, 0], [-7.0, 0, 0], [0, 10.0, 0]], [0.1, 0.1, 0.1]), X, FACTORS)
    assert found.by_factor == pytest.approx({"a": 0, "b": 1}, abs=1e-9)


def test_the_information_of_a_noisy_channel_is_that_of_the_integral():
    labels = torch.tensor([0, 1]).repeat(2000)
    x = torch.stack([labels, *[torch.zeros(4000)] * 2], 1).double()
    found = information_gap(coded([[1.0, 0, 0], [0, 0, 1.0]], [0.6, 0.5]), x, {"a": labels}, num_draws=4000)
    z = torch.linspace(-6, 7, 20_001, dtype=torch.float64)
    each = torch.stack([torch.distributions.Normal(float(level), 0.6).log_prob(z).exp() for level in (0, 1)])
    joint = (each * (each / each.mean(0)).log()).nan_to_num().mean(0)
    assert_within_sigma(found.information["a"][0], torch.trapezoid(joint, z), 0.5 / 4000**0.5)
    assert float(found.information["a"][1]) < 1e-9


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({}, "at least one factor"),
        ({"a": [0, 1]}, "a level of a for each of the 60 rows; got shape \\(2,\\)"),
        ({"a": torch.zeros(60)}, "at least two levels of a; got 1"),
    ],
)
def test_factors_that_say_nothing_are_refused(factors, message):
    with pytest.raises(InputError, match=message):
        information_gap(coded([[1.0, 0, 0], [0, 1.0, 0]], [0.1, 0.1]), X, factors)


def test_other_guides_are_refused():
    guide = FullCovarianceGuide(nn.Linear(3, 5).double())
    with pytest.raises(InputError, match=r"at least two independent dimensions.*Take a diagonal guide"):
        information_gap(guide, X, FACTORS)
