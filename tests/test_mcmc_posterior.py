"""Hamiltonian Monte Carlo as the reference posterior, against the exact one of a linear model."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import assert_within_sigma
from programs import ExactGuide, linear_problem, rows, small_vae

from pyro_vae._checks import InputError
from pyro_vae.evaluate import MCMCPosterior
from pyro_vae.evaluate.hmc import HMC


@pytest.mark.slow
def test_draws_have_the_moments_of_the_exact_posterior_of_every_row():
    model, x = linear_problem(num_rows=30)
    exact = ExactGuide(model)
    torch.manual_seed(0)
    draws = MCMCPosterior(num_samples=80, num_chains=6, num_warmup=80).draw(model, exact, (x,))
    z = draws.latents["z"]
    assert z.shape == (6, 80, 30, 2)
    # Chains are independent, so the spread of their means is the error of the mean.
    of_chains = z.mean(1)
    loc = (x - exact.mean) @ exact.gain.T
    error = (of_chains.var(0).mean(0) / 6).sqrt()  # one for all rows: they have one covariance
    assert_within_sigma(of_chains.mean(0), loc, error, 4.5)
    covariance = torch.einsum("csnd,csne->cde", z - loc, z - loc) / (80 * 30)
    assert_within_sigma(covariance.mean(0), exact.covariance, covariance.std(0) / 6**0.5, 6)
    assert (draws.by_row["accept_rate"] > 0.5).all()
    assert draws.by_row["divergences"].sum() == 0


@pytest.mark.slow
def test_a_latent_with_bounds_stays_within_them_and_has_its_own_posterior():
    """z ~ Exponential(1), x | z ~ Poisson-like: Gamma(1) times a Gamma likelihood in z is Gamma again."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Exponential(x.new_tensor(1.0)))
            pyro.sample("x", dist.Poisson(z), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.LogNormal(torch.log(x + 1), 0.5))

    x = torch.tensor([0.0, 2.0, 5.0], dtype=torch.float64)
    torch.manual_seed(1)
    z = MCMCPosterior(120, num_chains=8, num_warmup=80).draw(model, guide, (x,)).latents["z"]
    assert z.shape == (8, 120, 3)
    assert (z > 0).all()
    means = z.mean(1)
    assert_within_sigma(means.mean(0), (x + 1) / 2, means.std(0) / 8**0.5, 6)  # Gamma(x + 1, 2)


def test_the_programs_are_unchanged():
    model, guide = small_vae()
    before = [p.clone() for p in (*model.parameters(), *guide.parameters())]
    MCMCPosterior(3, 2, 3, HMC(num_leapfrog=2)).draw(model, guide, (rows(count=4),))
    after = [*model.parameters(), *guide.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(p.grad is None for p in after)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_samples": 0}, "num_samples to be a whole number of at least 1; got 0"),
        ({"num_chains": 0}, "num_chains to be a whole number of at least 1; got 0"),
        ({"num_warmup": -1}, "num_warmup to be a whole number of at least 0; got -1"),
    ],
)
def test_values_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        MCMCPosterior(**settings)
