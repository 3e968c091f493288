"""Fixed maps in front of a network."""

import pytest
import torch

from pyro_vae._checks import InputError
from pyro_vae.networks import Whiten


@pytest.fixture
def rows():
    torch.manual_seed(0)
    return torch.randn(500, 4, dtype=torch.float64) @ torch.randn(4, 6, dtype=torch.float64) + 3


def test_whitened_rows_have_the_covariance_that_the_formula_says(rows):
    whiten = Whiten(rows, ridge=0.01).double()
    whiten.mean.copy_(rows.mean(0))
    z = whiten(rows)
    variance, axes = torch.linalg.eigh(torch.cov(rows.T, correction=0))
    shrunk = variance / (variance + 0.01 * variance.mean())
    torch.testing.assert_close(torch.cov(z.T, correction=0), (axes * shrunk) @ axes.T, atol=1e-5, rtol=0)
    torch.testing.assert_close(z.mean(0), torch.zeros(6, dtype=torch.float64), atol=1e-6, rtol=0)
    # Four directions vary; in them the variance is nearly one, in the other two it stays nothing.
    assert (shrunk[-4:] > 0.8).all()
    assert shrunk[:2].abs().max() < 1e-9


def test_whitening_follows_no_gradient_and_takes_leading_dimensions(rows):
    whiten = Whiten(rows)
    assert list(whiten.parameters()) == []
    x = rows[:6].float()
    torch.testing.assert_close(whiten(x.reshape(2, 3, 6)).reshape(6, 6), whiten(x))


def test_a_ridge_of_zero_is_refused(rows):
    with pytest.raises(InputError, match="ridge"):
        Whiten(rows, ridge=0)
