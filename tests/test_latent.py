"""Latent diagnostics against the closed forms of linear Gaussian programs."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import assert_within_sigma
from programs import DENSE_GUIDES, ExactGuide, linear_problem, rows, small_vae
from pyro import poutine
from torch import nn

from pyro_vae._checks import InputError
from pyro_vae.evaluate import latent_summary
from pyro_vae.guides import GUIDES


class LinearGuide(nn.Module):
    """`z | x ~ N(A x, diag(scale^2))`."""

    def __init__(self, weight, scale):
        super().__init__()
        self.weight, self.scale = weight, scale

    def forward(self, x):
        with pyro.plate("data", len(x)):
            return pyro.sample("z", dist.Normal(x @ self.weight.T, self.scale).to_event(1))


def standard_model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z.repeat_interleave(2, -1)[..., :3], 1.0).to_event(1), obs=x)


WEIGHT = torch.tensor([[0.8, -0.3, 0.1], [0.2, 0.5, -0.6]]).double()
SCALE = torch.tensor([0.4, 0.7]).double()
MEAN_COVARIANCE = WEIGHT @ WEIGHT.T  # of A x, for x ~ N(0, I)
MARGINAL = MEAN_COVARIANCE + torch.diag(SCALE.square())
INFORMATION = float((MARGINAL.logdet() - SCALE.square().log().sum()) / 2)
MARGINAL_KL = float((MARGINAL.trace() - 2 - MARGINAL.logdet()) / 2)


def gaussian_rows(count, seed=0):
    return torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.slow
def test_closed_forms_of_a_linear_guide():
    count = 2000
    found = latent_summary(standard_model, LinearGuide(WEIGHT, SCALE), gaussian_rows(count), num_samples=5)
    information, marginal = found.mutual_information, found.marginal_kl
    assert_within_sigma((information.lower + information.upper) / 2, INFORMATION, information.se)
    assert_within_sigma((marginal.lower + marginal.upper) / 2, MARGINAL_KL, marginal.se)
    assert information.upper - information.lower < 0.02
    assert_within_sigma(found.kl, INFORMATION + MARGINAL_KL, found.kl_se)
    spread = MEAN_COVARIANCE.diagonal()
    per_dimension = (spread + SCALE.square() - 1 - SCALE.square().log()) / 2
    assert_within_sigma(found.kl_per_dimension, per_dimension, spread / (2 * count) ** 0.5)
    assert_within_sigma(found.mean_variance, spread, spread * (2 / count) ** 0.5)
    assert found.active_units == 2
    assert found.warning is None


@pytest.mark.slow
def test_estimates_bracket_the_truth_and_errors_are_of_the_right_size():
    # Twelve rows: both biases show, in expectation over data sets.
    found = [
        latent_summary(standard_model, LinearGuide(WEIGHT, SCALE), gaussian_rows(12, seed), seed=seed)
        for seed in range(100)
    ]
    lower = torch.tensor([s.mutual_information.lower for s in found])
    upper = torch.tensor([s.mutual_information.upper for s in found])
    assert lower.mean() + 4 * lower.std() / 100**0.5 < INFORMATION
    assert upper.mean() - 4 * upper.std() / 100**0.5 > INFORMATION
    large = [
        latent_summary(standard_model, LinearGuide(WEIGHT, SCALE), gaussian_rows(150, seed), num_samples=2)
        for seed in range(60)
    ]
    for name in ("mutual_information", "marginal_kl"):
        values = torch.tensor([getattr(s, name).lower for s in large])
        printed = torch.tensor([getattr(s, name).se for s in large]).mean()
        assert 0.7 < printed / values.std() < 1.4, name


@pytest.mark.slow
def test_the_posterior_of_the_model_aggregates_to_the_prior():
    model, x = linear_problem(num_rows=2000)
    guide = ExactGuide(model)
    found = latent_summary(model, guide, x, num_samples=3)
    assert found.marginal_kl.lower - 4 * found.marginal_kl.se < 0
    assert found.marginal_kl.upper + 4 * found.marginal_kl.se > 0
    truth = -float(guide.covariance.logdet()) / 2
    information = found.mutual_information
    assert information.lower - 4 * information.se < truth < information.upper + 4 * information.se
    # A Gaussian that does not factorise has the divergences of its marginals.
    loc, variance = (x - guide.mean) @ guide.gain.T, guide.covariance.diagonal()
    per_dimension = ((loc.square() + variance - 1 - variance.log()) / 2).mean(0)
    torch.testing.assert_close(found.kl_per_dimension, per_dimension)


def collapsed_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))


def test_a_collapsed_guide_has_no_information_and_is_reported():
    found = latent_summary(standard_model, collapsed_guide, gaussian_rows(50))
    assert found.active_units == 0
    torch.testing.assert_close(found.kl_per_dimension, torch.zeros(2, dtype=torch.float64))
    for value in (found.kl, *found.mutual_information, *found.marginal_kl):
        assert abs(value) < 1e-12
    assert "collapsed: none of 2 dimensions" in found.warning


def test_a_collapsed_dimension_is_reported():
    weight = WEIGHT * torch.tensor([[1.0], [1e-3]])
    found = latent_summary(standard_model, LinearGuide(weight, SCALE), gaussian_rows(200))
    assert found.active.tolist() == [True, False]
    assert "collapsed in 1 of 2 dimensions" in found.warning
    assert found.summary()["active_units"] == 1


def test_posteriors_that_are_all_apart_meet_the_ceiling():
    found = latent_summary(standard_model, LinearGuide(1e4 * WEIGHT, SCALE), gaussian_rows(20))
    assert abs(found.mutual_information.lower - math.log(20)) < 1e-6
    assert "ceiling, log 20 = 3.00" in found.warning
    assert found.mutual_information.upper > 100


@pytest.mark.slow
@pytest.mark.parametrize("name", DENSE_GUIDES)
def test_every_guide(name):
    model, _ = small_vae()
    guide = GUIDES[name](lambda size: nn.Linear(6, size), 2)
    x = rows()
    found = latent_summary(model, guide, x, num_samples=40)
    assert found.mean_variance.shape == (2,)
    assert 0 < found.mutual_information.lower <= math.log(len(x))
    assert found.mutual_information.lower < found.mutual_information.upper
    assert (found.kl_per_dimension is None) == (name in {"mixture", "iaf", "spline"})
    total = (found.mutual_information.lower + found.marginal_kl.upper) - found.kl
    assert abs(total) < 1e-9
    means = guide.posterior(x).sample((4000,)).mean(0)
    assert_within_sigma(found.mean_variance, means.var(0), 0.25 * means.var(0) + 0.01, sigmas=1)


def guide_with_noise(x):
    with pyro.plate("data", len(x)):
        noise = pyro.sample(
            "noise", dist.Normal(x.new_zeros(2), 1.0).to_event(1), infer={"is_auxiliary": True}
        )
        pyro.sample("z", dist.Normal(noise, 1.0).to_event(1))


def masked_guide(x):
    with pyro.plate("data", len(x)), poutine.mask(mask=x[:, 0] > 0):
        pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))


BAD = [
    ("one row", lambda: latent_summary(standard_model, collapsed_guide, gaussian_rows(1)), "at least two rows"),
    ("no samples", lambda: latent_summary(standard_model, collapsed_guide, gaussian_rows(3), num_samples=0),
     "num_samples"),
    ("auxiliary site", lambda: latent_summary(standard_model, guide_with_noise, gaussian_rows(3)),
     r"latent sites and no others.*\['z'\] and the guide \['noise', 'z'\]"),
    ("mask", lambda: latent_summary(standard_model, masked_guide, gaussian_rows(3)), "without a mask"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
