"""Annealed importance sampling against exact log p(x), in both directions."""

import math
from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import assert_within_sigma
from programs import ExactGuide, LinearModel, exact_log_prob, linear_problem, rows, small_vae
from pyro import poutine
from torch import nn

from pyro_vae import GenerativeModel, log_likelihood
from pyro_vae._checks import InputError
from pyro_vae.evaluate import Annealing, annealed_log_likelihood, bidirectional_bounds
from pyro_vae.evaluate._densities import Densities
from pyro_vae.evaluate.hmc import HMC
from pyro_vae.priors import PRIORS
from pyro_vae.settings.latents import names_for_latent

QUICK = Annealing(num_temperatures=40, num_chains=8, num_warmup=20)
TINY = Annealing(num_temperatures=4, num_chains=2, num_warmup=2)


class MarginalGuide(nn.Module):
    """The exact posterior's marginals, moved by `shift` standard deviations and `factor` as wide."""

    def __init__(self, model, shift=0.0, factor=1.0):
        super().__init__()
        self.exact, self.shift, self.factor = ExactGuide(model), shift, factor

    def forward(self, x):
        scale = self.exact.covariance.diagonal().sqrt()
        loc = (x - self.exact.mean) @ self.exact.gain.T + self.shift * scale
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, self.factor * scale).to_event(1))


def poor_guide(model):
    return MarginalGuide(model, shift=1.0, factor=0.7)


@pytest.mark.slow
def test_from_the_exact_posterior_every_weight_is_exact_and_equal():
    model, x = linear_problem(num_rows=8)
    found = annealed_log_likelihood(model, ExactGuide(model), x, TINY, num_simulated=3)
    torch.testing.assert_close(found.value, exact_log_prob(model, x), rtol=0, atol=1e-9)
    assert found.se.max() < 1e-12
    bounds = found.simulated
    truth = exact_log_prob(model, *bounds.data)
    torch.testing.assert_close(bounds.lower, truth, rtol=0, atol=1e-9)
    torch.testing.assert_close(bounds.upper, truth, rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("start", ["guide", "prior"])
def test_the_weights_are_unbiased_in_both_directions(start):
    # Mean over rows of w / p(x), and of p(x) / w backwards, is 1: few temperatures, so that errors show.
    model, template = linear_problem(num_rows=1500)
    quick = Annealing(num_temperatures=10, num_chains=2, num_warmup=15, start=start)
    bounds = bidirectional_bounds(model, poor_guide(model), template, quick, batch_size=1500)
    truth = exact_log_prob(model, *bounds.data)
    for log_ratio in (bounds.lower - truth, truth - bounds.upper):
        ratio = log_ratio.exp()
        assert ratio.std() > 0.05
        assert_within_sigma(ratio.mean(), 1, ratio.std() / len(ratio) ** 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("num_temperatures", [6, 30])
def test_the_interval_covers_the_exact_value(num_temperatures):
    model, template = linear_problem(num_rows=150)
    quick = Annealing(num_temperatures, num_chains=8, num_warmup=20)
    bounds = bidirectional_bounds(model, poor_guide(model), template, quick, batch_size=150, seed=3)
    low, high = bounds.interval()
    truth = exact_log_prob(model, *bounds.data)
    assert ((low <= truth) & (truth <= high)).double().mean() >= 0.95
    inner_low, inner_high = bounds.interval(0.5)
    assert (low < inner_low).all()
    assert (inner_high < high).all()


@pytest.mark.slow
def test_more_temperatures_bring_the_bounds_together():
    model, template = linear_problem(num_rows=100)
    gaps = []
    for num_temperatures in (4, 12, 36):
        annealing = Annealing(num_temperatures, num_chains=8, num_warmup=8, start="prior")
        bounds = bidirectional_bounds(model, poor_guide(model), template, annealing)
        gaps.append(bounds.summary()["upper_minus_lower"])
    assert gaps[0] > 1.5 * gaps[1] > 3 * gaps[2] > 0


@pytest.mark.slow
def test_bounds_are_under_half_a_nat_apart_on_784_columns():
    generator = torch.Generator().manual_seed(0)
    model = LinearModel(0.3 * torch.randn(784, 10, generator=generator), torch.zeros(784), 1.0)
    # A tenth of the default temperatures, from a guide that only lacks the correlations.
    annealing = replace(Annealing(), num_temperatures=50)
    bounds = bidirectional_bounds(model, MarginalGuide(model), torch.zeros(6, 784), annealing)
    low, high = bounds.interval()
    truth = exact_log_prob(model, *bounds.data).double()
    assert ((low <= truth) & (truth <= high)).all()
    assert bounds.width.max() < 0.5


@pytest.mark.slow
def test_given_rows_have_a_lower_bound_near_the_truth_and_a_check():
    model, x = linear_problem(num_rows=40)
    found = annealed_log_likelihood(model, poor_guide(model), x, QUICK, num_simulated=5, batch_size=25)
    # With a poor guide and few chains the estimate may be below the truth by more than its error, but not above.
    assert (found.value < exact_log_prob(model, x) + 4 * found.se).all()
    assert_within_sigma(found.mean, exact_log_prob(model, x).mean(), found.monte_carlo_se)
    assert 0.5 < found.accept_rate.mean() <= 1
    assert found.summary()["simulated_rows"]["num_rows"] == 5
    assert "check, not a bound" in repr(found)
    assert "simulated_rows" not in annealed_log_likelihood(
        model, poor_guide(model), x[:2], TINY, num_simulated=0
    ).summary()  # fmt: skip


def gamma_poisson(x):
    with pyro.plate("data", len(x)):
        rate = pyro.sample("rate", dist.Gamma(3.0, 1.5))
        pyro.sample("x", dist.Poisson(rate.unsqueeze(-1).expand(*rate.shape, x.shape[-1])).to_event(1), obs=x)


def gamma_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("rate", dist.LogNormal(x.mean(-1).clamp_min(0.5).log(), 0.4))


@pytest.mark.slow
def test_a_plain_program_with_a_bounded_latent():
    x = dist.Poisson(torch.tensor(2.0, dtype=torch.float64)).sample((30, 4))
    found = annealed_log_likelihood(gamma_poisson, gamma_guide, x, QUICK, num_simulated=4)
    total, count = x.sum(-1), x.shape[-1]
    exact = (
        3 * math.log(1.5) - math.lgamma(3) + torch.lgamma(3 + total)
        - (3 + total) * math.log(1.5 + count) - torch.lgamma(x + 1).sum(-1)
    )  # fmt: skip
    assert_within_sigma(found.mean, exact.mean(), found.monte_carlo_se)
    assert found.simulated.data[0].shape == (4, 4)


def two_layers(x, y):
    with pyro.plate("data", len(x)):
        z1 = pyro.sample("z1", dist.Normal(y, 1.0))
        z2 = pyro.sample("z2", dist.Normal(z1.unsqueeze(-1).expand(*z1.shape, 2), 0.5).to_event(1))
        pyro.sample("x", dist.Normal(z2, 0.3).to_event(1), obs=x)


def two_layers_guide(x, y):
    with pyro.plate("data", len(x)):
        z2 = pyro.sample("z2", dist.Normal(x, 0.3).to_event(1))
        pyro.sample("z1", dist.Normal(0.8 * z2.mean(-1) + 0.2 * y, 0.5))


@pytest.mark.slow
def test_several_latent_sites_and_labels():
    y = torch.linspace(-1, 1, 20, dtype=torch.float64)
    x = y.unsqueeze(-1) + torch.randn(20, 2, dtype=torch.float64)
    covariance = torch.ones(2, 2).double() + (0.25 + 0.09) * torch.eye(2).double()
    exact = dist.MultivariateNormal(y.unsqueeze(-1).expand(-1, 2), covariance).log_prob(x)
    found = annealed_log_likelihood(two_layers, two_layers_guide, (x, y), QUICK, num_simulated=0)
    assert_within_sigma(found.mean, exact.mean(), found.monte_carlo_se)


@pytest.mark.slow
@pytest.mark.parametrize("name", names_for_latent("prior"))
def test_annealing_finds_log_p_under_every_prior(name):
    """Two dimensions, for which importance sampling is accurate enough as a reference."""
    plain, guide = small_vae()
    torch.manual_seed(0)
    prior = PRIORS[name](2, guide, rows(count=5))
    model = GenerativeModel(prior, plain.decoder, plain.likelihood).double()
    x = rows(count=4).double()
    truth = log_likelihood(model, guide.double(), x, 10000)
    found = annealed_log_likelihood(model, guide, x, QUICK, num_simulated=0)
    assert_within_sigma(found.value, truth.value, (found.se**2 + truth.se**2).sqrt() + 1e-3)


@pytest.mark.slow
def test_a_latent_that_is_a_mixture():
    """Its support does not determine a map onto the real line, but the support of its components does."""

    def model(x):
        with pyro.plate("data", len(x)):
            parts = dist.Normal(x.new_tensor([-1.0, 2.0]), 0.5)
            z = pyro.sample("z", dist.MixtureSameFamily(dist.Categorical(x.new_ones(2)), parts))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 1.5))

    x = torch.linspace(-2, 3, 5, dtype=torch.float64)
    scale = 1.25**0.5
    each = [dist.Normal(loc, scale).log_prob(x) for loc in (-1.0, 2.0)]
    exact = torch.stack(each).logsumexp(0) - math.log(2)
    found = annealed_log_likelihood(model, guide, x, QUICK, num_simulated=2)
    assert_within_sigma(found.value, exact, found.se + 1e-3)


@pytest.mark.slow
def test_latents_are_packed_and_unpacked_with_their_density():
    def model(x):
        with pyro.plate("data", len(x)):
            share = pyro.sample("share", dist.Dirichlet(torch.tensor([2.0, 3.0, 1.5]).double()))
            scale = pyro.sample("scale", dist.LogNormal(x.new_zeros(()), 1.0))
            matrix = pyro.sample("matrix", dist.Normal(x.new_zeros(2, 3), 1.0).to_event(2))
            pyro.sample(
                "x",
                dist.Normal((matrix @ share.unsqueeze(-1)).squeeze(-1), scale.unsqueeze(-1)).to_event(1),
                obs=x,
            )

    x = torch.randn(4, 2, dtype=torch.float64)
    densities = Densities(model, poutine.block(model, hide=["x"]), (x,))
    u = densities.from_prior(5)
    assert u.shape == (5, 4, 2 + 1 + 6)
    values, log_jacobian = densities.unpack(u)
    torch.testing.assert_close(densities.pack(values), u)
    torch.testing.assert_close(values["share"].sum(-1), torch.ones(5, 4, dtype=torch.float64))
    expected = (
        dist.Dirichlet(torch.tensor([2.0, 3.0, 1.5]).double()).log_prob(values["share"])
        + dist.LogNormal(0.0, 1.0).log_prob(values["scale"])
        + dist.Normal(0.0, 1.0).log_prob(values["matrix"]).sum((-1, -2))
    )
    likelihood, prior = densities.log_likelihood_and_prior(u)
    torch.testing.assert_close(prior, expected + log_jacobian)
    loc = (values["matrix"] @ values["share"].unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(
        likelihood, dist.Normal(loc, values["scale"].unsqueeze(-1)).log_prob(x).sum(-1)
    )


@pytest.mark.slow
def test_nothing_is_left_changed():
    model, guide = small_vae()
    x = rows()[:4]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = annealed_log_likelihood(model, guide, x, TINY, num_simulated=2)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)
    assert model.training
    assert guide.training
    assert all(p.grad is None for p in model.parameters())
    again = annealed_log_likelihood(model, guide, x, TINY, num_simulated=2)
    torch.testing.assert_close(again.value, first.value, rtol=0, atol=0)


def test_temperatures_rise_from_0_to_1():
    betas = torch.tensor(Annealing(7).temperatures)
    assert betas[0] == 0
    assert betas[-1] == 1
    steps = betas.diff()
    assert (steps > 0).all()
    torch.testing.assert_close(steps, steps.flip(0))
    assert steps[0] < steps[3]


def discrete(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Bernoulli(0.5))
        pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)


def discrete_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Bernoulli(0.5))


def outside(x):
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)


def wrong_site(x):
    with pyro.plate("data", len(x)):
        pyro.sample("latent", dist.Normal(0.0, 1.0))


def nowhere(x):
    with pyro.plate("data", len(x)):
        pyro.sample("rate", dist.LogNormal(torch.nan, 0.4))


X = torch.ones(3, 1)


def unshaped(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)


def unshaped_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x.mean(-1), 1.0))


BAD = [
    ("no temperatures", lambda: Annealing(1), "num_temperatures"),
    ("one chain", lambda: Annealing(num_chains=1), "num_chains"),
    ("start", lambda: Annealing(start="posterior"), "start"),
    ("no rows", lambda: annealed_log_likelihood(gamma_poisson, gamma_guide, X[:0]), "at least one row"),
    ("discrete", lambda: annealed_log_likelihood(discrete, discrete_guide, X), "'z' is discrete"),
    ("outside", lambda: annealed_log_likelihood(outside, outside, X), "inside the plate 'data'"),
    ("site", lambda: annealed_log_likelihood(gamma_poisson, wrong_site, X), "latent sites"),
    ("nan", lambda: annealed_log_likelihood(gamma_poisson, nowhere, X), "finite"),
    (
        "no shape",
        lambda: annealed_log_likelihood(unshaped, unshaped_guide, torch.ones(3, 2)),
        "num_simulated=0",
    ),
    ("level", lambda: bidirectional_bounds(gamma_poisson, gamma_guide, X, QUICK).interval(1.5), "level"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("call", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.slow
def test_the_transition_may_be_chosen():
    model, x = linear_problem(num_rows=10)
    annealing = Annealing(20, num_chains=4, num_warmup=10, hmc=HMC(num_leapfrog=5, diagonal_mass=False))
    found = annealed_log_likelihood(model, poor_guide(model), x, annealing, num_simulated=0)
    assert_within_sigma(found.mean, exact_log_prob(model, x).mean(), found.monte_carlo_se)
