"""The gap between ELBO and log p(x), taken apart, against the closed forms of linear Gaussian models."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import assert_within_sigma
from programs import ExactGuide, exact_log_prob, linear_problem, rows, small_vae
from pyro.distributions.testing.fakes import NonreparameterizedNormal
from torch import nn

from pyro_vae._checks import InputError
from pyro_vae.evaluate import Annealing
from pyro_vae.evaluate.gaps import RowFit, inference_gaps
from pyro_vae.evaluate.hmc import HMC
from pyro_vae.guides import AmortizedGuide, DiagonalNormalGuide, FullCovarianceGuide
from pyro_vae.networks import UNIT

FIT = RowFit(num_steps=150)


def poor_encoder(num_outputs, data_dim=6):
    encoder = nn.Linear(data_dim, num_outputs).double()
    nn.init.normal_(encoder.weight, std=0.05)
    return encoder


@pytest.fixture(scope="module")
def problem():
    """A model with correlated posteriors, rows, exact log p(x), and what the best diagonal Gaussian loses.

    Under KL(q || p) it has the variances 1 / diag(precision): it loses (sum log diag(P) - log det P) / 2.
    """
    model, x = linear_problem(num_rows=8, data_dim=6, latent_dim=3)
    precision = torch.linalg.inv(ExactGuide(model).covariance)
    loss = (precision.diagonal().log().sum() - precision.logdet()) / 2
    assert loss > 0.2
    return model, x, exact_log_prob(model, x), loss


@pytest.mark.slow
def test_closed_forms_of_the_best_gaussians(problem):
    model, x, exact, loss = problem
    guide = DiagonalNormalGuide(poor_encoder(6))
    gaps = inference_gaps(model, guide, x, fit=FIT, num_samples=6000)
    assert_within_sigma(gaps.full_covariance.value, exact, 1e-4, sigmas=1)
    for best in (gaps.diagonal, gaps.own_family):
        assert abs(best.mean - (exact.mean() - loss)) < 0.02
        assert_within_sigma(best.value, exact - loss, best.se + 0.004)
    assert abs(gaps.approximation_gap.mean - loss) < 0.02
    assert_within_sigma(gaps.approximation_gap.value, loss, gaps.approximation_gap.se + 0.004)
    both = gaps.approximation_gap.value + gaps.amortization_gap.value
    torch.testing.assert_close(both, gaps.inference_gap.value)
    assert (gaps.amortization_gap.value > 1).all()
    assert_within_sigma(gaps.log_prob.value, exact, gaps.log_prob.se + 1e-4)


@pytest.mark.slow
def test_a_full_covariance_guide_lacks_nothing_but_its_encoder(problem):
    model, x, exact, _ = problem
    guide = FullCovarianceGuide(poor_encoder(9))
    gaps = inference_gaps(model, guide, x, log_prob=exact, fit=RowFit(num_steps=250), num_samples=500)
    assert gaps.log_prob.se.max() == 0
    assert gaps.approximation_gap.value.abs().max() < 1e-3
    assert gaps.amortization_gap.mean > 1


class ExactFamily(AmortizedGuide):
    """The exact posterior as a family of its location."""

    def __init__(self, model):
        exact = ExactGuide(model)
        super().__init__(nn.Linear(6, 3).double())
        with torch.no_grad():
            self.encoder.weight.copy_(exact.gain)
            self.encoder.bias.copy_(-exact.gain @ exact.mean)
        self.covariance = exact.covariance

    def family(self, outputs):
        return dist.MultivariateNormal(outputs, self.covariance)


@pytest.mark.slow
def test_with_the_exact_guide_there_is_no_gap_and_no_error(problem):
    model, x, exact, _ = problem
    gaps = inference_gaps(model, ExactFamily(model), x, fit=RowFit(num_steps=200), num_samples=100)
    torch.testing.assert_close(gaps.amortized.value, exact, rtol=0, atol=1e-9)
    torch.testing.assert_close(gaps.log_prob.value, exact, rtol=0, atol=1e-6)
    for gap in (gaps.approximation_gap, gaps.amortization_gap, gaps.inference_gap):
        assert gap.value.abs().max() < 1e-6
        assert gap.se.max() < 1e-6


@pytest.mark.slow
def test_differences_of_the_same_noise_have_smaller_errors(problem):
    model, x, _, _ = problem
    exact = ExactGuide(model)
    encoder = nn.Linear(6, 6).double()
    with torch.no_grad():
        encoder.weight.copy_(torch.cat([exact.gain, torch.zeros_like(exact.gain)]))
        scale = torch.linalg.inv(exact.covariance).diagonal().rsqrt()
        encoder.bias.copy_(torch.cat([-exact.gain @ exact.mean, scale.expm1().log() - UNIT]))
    gaps = inference_gaps(model, DiagonalNormalGuide(encoder), x, fit=FIT, num_samples=500)
    assert gaps.amortization_gap.value.abs().max() < 0.02
    assert (gaps.amortization_gap.se < 0.3 * gaps.amortized.se).all()


@pytest.mark.slow
def test_plain_programs_have_gaps_that_are_not_taken_apart(problem):
    model, x, exact, loss = problem

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(3), 0.5).to_event(1))

    gaps = inference_gaps(model, guide, x, fit=RowFit(num_steps=400), num_samples=1000, batch_size=5)
    assert gaps.own_family is gaps.approximation_gap is gaps.amortization_gap is None
    assert "is not decomposed" in gaps.table()
    assert gaps.summary()["own_family"] is None
    assert_within_sigma(gaps.diagonal.value, exact - loss, gaps.diagonal.se + 0.004)
    assert_within_sigma(gaps.log_prob.value, exact, gaps.log_prob.se + 1e-4)


@pytest.mark.slow
def test_annealing_is_one_of_the_bounds():
    # Far from Gaussian: every Gaussian proposal is poor, annealing is not.
    def ring(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z.norm(dim=-1, keepdim=True), 0.05).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))

    x = torch.tensor([[1.0], [1.5]], dtype=torch.float64)
    r = torch.linspace(1e-3, 4, 4000, dtype=torch.float64)
    density = r * (-r.square() / 2).exp() * dist.Normal(r, 0.05).log_prob(x).exp()
    exact = torch.trapezoid(density, r).log()
    annealing = Annealing(40, num_chains=64, num_warmup=10, hmc=HMC(num_leapfrog=3))
    gaps = inference_gaps(ring, guide, x, annealing=annealing, fit=RowFit(100), num_samples=300)
    assert_within_sigma(gaps.log_prob.value, exact, gaps.log_prob.se)
    assert (gaps.log_prob.value > gaps.full_covariance.value + 0.1).all()


@pytest.mark.slow
def test_a_bounded_latent_is_fitted_where_it_has_no_bounds():
    def model(x):
        with pyro.plate("data", len(x)):
            rate = pyro.sample("rate", dist.Gamma(3.0, 1.5))
            pyro.sample("x", dist.Poisson(rate.unsqueeze(-1)).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("rate", dist.LogNormal(x.new_zeros(()), 1.0))

    x = torch.tensor([[1.0], [4.0]], dtype=torch.float64)
    exact = (
        dist.NegativeBinomial(3.0, probs=torch.tensor(1 / 2.5, dtype=torch.float64)).log_prob(x).squeeze(-1)
    )
    gaps = inference_gaps(model, guide, x, fit=FIT, num_samples=4000)
    assert_within_sigma(gaps.log_prob.value, exact, gaps.log_prob.se)
    below = exact - gaps.diagonal.value
    assert (below > 0).all()
    assert (below < 0.05).all()
    torch.testing.assert_close(gaps.diagonal.value, gaps.full_covariance.value, rtol=0, atol=0.01)


def test_nothing_is_left_changed():
    model, guide = small_vae()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = inference_gaps(model, guide, rows()[:3], fit=RowFit(3), num_samples=5)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)
    assert all(p.grad is None for program in (model, guide) for p in program.parameters())
    again = inference_gaps(model, guide, rows()[:3], fit=RowFit(3), num_samples=5)
    torch.testing.assert_close(again.amortization_gap.value, first.amortization_gap.value, rtol=0, atol=0)


def call(**options):
    model, x = linear_problem(num_rows=3)
    guide = DiagonalNormalGuide(poor_encoder(4, 5))
    return inference_gaps(model, guide, options.pop("x", x), **options)


BAD = [
    ("one sample", lambda: call(num_samples=1), "num_samples"),
    ("no batch", lambda: call(batch_size=0), "batch_size"),
    ("no rows", lambda: call(x=torch.zeros(0, 5).double()), "at least one row"),
    ("log_prob", lambda: call(log_prob=torch.zeros(4)), r"shape \(3,\); got \(4,\)"),
    ("no steps", lambda: RowFit(num_steps=0), "num_steps"),
    ("no rate", lambda: RowFit(learning_rate=0.0), "learning_rate"),
]


@pytest.mark.parametrize(("wrong", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()


def test_a_family_without_reparameterised_samples_is_refused():
    class Scored(AmortizedGuide):
        def family(self, outputs):
            return NonreparameterizedNormal(outputs, 1.0).to_event(1)

    model, x = linear_problem(num_rows=3)
    with pytest.raises(InputError, match="reparameterized"):
        inference_gaps(model, Scored(poor_encoder(2, 5)), x, fit=RowFit(2), num_samples=4)
