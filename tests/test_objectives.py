"""The ELBO held against closed forms, Pyro's own estimator and hand-derived gradients."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import assert_within_sigma
from programs import ExactGuide, LinearModel, exact_log_prob, linear_problem, rows, small_vae
from pyro.infer import Trace_ELBO
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from pyro_vae import ELBO, STL, AnalyticELBO, StandardNormal, estimate_elbo
from pyro_vae._checks import InputError
from pyro_vae.guides import DiagonalNormalGuide
from pyro_vae.likelihoods import LIKELIHOODS, GaussianWithIsotropicScale
from pyro_vae.models.generative import GenerativeModel
from pyro_vae.objectives import row_log_probs


def test_elbo_under_the_exact_posterior_is_the_log_likelihood_of_every_row():
    model, x = linear_problem()
    estimate = estimate_elbo(model, ExactGuide(model), [(x,)])
    torch.testing.assert_close(estimate.value, exact_log_prob(model, x), rtol=0, atol=1e-9)


def test_the_model_at_the_ppca_solution_has_the_closed_form_log_likelihood():
    linear, x = linear_problem()
    std = torch.full((5,), 2.0, dtype=torch.float64)
    likelihood = GaussianWithIsotropicScale(linear.mean.detach(), std, scale_floor=1e-4)
    decoder = nn.Linear(2, 5)
    model = GenerativeModel(StandardNormal(2), decoder, likelihood).double()
    with torch.no_grad():
        # The likelihood maps the decoder's output back by mean + std, and its raw scale by floor + std softplus.
        likelihood.mean.copy_(linear.mean)
        decoder.weight.copy_(linear.weight / 2)
        decoder.bias.zero_()
        scale = (linear.log_noise / 2).exp() - likelihood.scale_floor
        likelihood.raw_scale.copy_(torch.log(torch.expm1(scale / 2)) - math.log(math.e - 1))
    estimate = estimate_elbo(model, ExactGuide(linear), [(x,)])
    torch.testing.assert_close(estimate.value, exact_log_prob(linear, x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("num_particles", [1, 5])
def test_loss_and_gradients_are_those_of_trace_elbo(likelihood, num_particles):
    model, guide = small_vae(likelihood)
    x = rows(likelihood, 7)
    parameters = [*model.parameters(), *guide.parameters()]

    def evaluate(loss_fn):
        torch.manual_seed(1)
        loss = loss_fn()
        return loss.detach(), torch.autograd.grad(loss, parameters)

    pyros = Trace_ELBO(num_particles, vectorize_particles=True, max_plate_nesting=1)
    ours = evaluate(lambda: ELBO(num_particles)(model, guide)(x))
    theirs = evaluate(lambda: pyros.differentiable_loss(model, guide, x) / len(x))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_gradients_are_the_hand_derived_ones():
    """One latent, one column: x | z ~ N(w z + b, s^2), z | x ~ N(m, t^2), with z = m + t e."""
    w, b, s, m, t = (
        torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.7, -0.2, 0.5, 0.3, 0.4)
    )
    x = torch.tensor([[1.1]], dtype=torch.float64)

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(w * z + b, s).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(m.expand(1), t).to_event(1))

    torch.manual_seed(3)
    gradients = torch.autograd.grad(ELBO()(model, guide)(x), (w, b, s, m, t))
    torch.manual_seed(3)
    e = torch.randn(1, 1, dtype=torch.float64)
    z = m + t * e
    residual = x - w * z - b
    # -ELBO = residual^2 / (2 s^2) + log s + z^2 / 2 - log t - e^2 / 2, with e held fixed.
    by_z = -residual * w / s**2 + z
    expected = (
        -residual * z / s**2,
        -residual / s**2,
        -(residual**2) / s**3 + 1 / s,
        by_z,
        by_z * e - 1 / t,
    )
    for got, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(got, wanted.squeeze(), rtol=1e-12, atol=1e-12)


def test_the_elbo_lies_below_the_log_likelihood_by_the_kl_to_the_posterior():
    model, x = linear_problem(num_rows=400)
    exact = ExactGuide(model)
    scale = exact.covariance.diagonal().sqrt() * 1.5

    def wide_guide(x):
        with pyro.plate("data", len(x)):
            loc = (x - exact.mean) @ exact.gain.T
            pyro.sample("z", dist.Normal(loc, scale).to_event(1))

    estimate = estimate_elbo(model, wide_guide, [(x,)], num_particles=200)
    wide = torch.distributions.MultivariateNormal(torch.zeros(2).double(), torch.diag(scale**2))
    posterior = torch.distributions.MultivariateNormal(torch.zeros(2).double(), exact.covariance)
    kl = torch.distributions.kl_divergence(wide, posterior)
    gap = exact_log_prob(model, x) - estimate.value
    assert_within_sigma(gap.mean(), kl, gap.std() / len(gap) ** 0.5)


def test_a_guide_without_reparameterisation_has_the_score_function_gradient():
    """z ~ Bernoulli(p): the gradient of the ELBO in p is known, its estimate is unbiased."""
    p = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    x = torch.ones(20000, dtype=torch.float64)

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(x.new_tensor(0.5)))
            pyro.sample("x", dist.Normal(2 * z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(p.expand(len(x))))

    loss = ELBO()(model, guide)
    draws = torch.stack([torch.autograd.grad(loss(x), p)[0] for _ in range(20)])
    # ELBO(p) = sum_z q(z) (log p(x, z) - log q(z)); both z give the same likelihood at x = 1.
    expected = torch.log(p / (1 - p)).detach()
    assert_within_sigma(draws.mean(), expected, draws.std() / len(draws) ** 0.5)


def test_row_values_do_not_depend_on_the_other_rows():
    model, x = linear_problem(num_rows=6)
    guide = ExactGuide(model)
    together = estimate_elbo(model, guide, [(x,)]).value
    alone = torch.cat([estimate_elbo(model, guide, [(row,)]).value for row in x.split(1)])
    torch.testing.assert_close(together, alone)


def test_other_plates_inside_are_summed_and_particles_are_not():
    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            with pyro.plate("columns", x.shape[1], dim=-2):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x.T)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x.mean(1), 0.5))

    x = torch.randn(4, 3)
    log_probs = row_log_probs(model, guide, x, num_particles=5, max_plate_nesting=2)
    assert log_probs.log_weights.shape == (5, 4)
    one = row_log_probs(model, guide, x, max_plate_nesting=2)
    assert one.likelihood.shape == (1, 4)
    pyros = Trace_ELBO(max_plate_nesting=2)
    torch.manual_seed(5)
    total = pyros.differentiable_loss(model, guide, x)
    torch.manual_seed(5)
    torch.testing.assert_close(ELBO(max_plate_nesting=2)(model, guide)(x) * 4, total)


@pytest.mark.parametrize(("outside", "message"), [("x", "site 'x' is outside"), ("z", "site 'z' is outside")])
def test_a_site_outside_the_plate_is_refused(outside, message):
    def model(x):
        with pyro.plate("rows" if outside == "z" else "data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
        with pyro.plate("rows" if outside == "x" else "data", len(x)):
            pyro.sample("x", dist.Normal(x.new_zeros(2), 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))

    with pytest.raises(InputError, match=message):
        ELBO()(model, guide)(torch.randn(3, 2))


def test_a_guide_that_misses_a_site_is_refused():
    model, x = linear_problem(num_rows=3)
    with pytest.raises(InputError, match=r"latent sites \['z'\]; it samples \[\]"):
        ELBO()(model, lambda x: None)(x)


def test_estimates_repeat_and_leave_the_random_state_unchanged():
    model, guide = small_vae()
    state = torch.get_rng_state()
    first, second = (estimate_elbo(model, guide, [(rows(),)], seed=4).value for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first, estimate_elbo(model, guide, [(rows(),)], seed=5).value)


def test_the_standard_error_is_that_of_the_mean_over_rows():
    model, x = linear_problem(num_rows=200)
    estimate = estimate_elbo(model, ExactGuide(model), [(x,)])
    expected = exact_log_prob(model, x).numpy().std(ddof=1) / math.sqrt(200)
    assert estimate.se == pytest.approx(expected, rel=1e-9)
    assert math.isnan(estimate_elbo(model, ExactGuide(model), [(x[:1],)]).se)


def test_a_model_works_with_any_pyro_guide():
    model, _ = small_vae()

    def guide(x):
        with pyro.plate("data", len(x)):
            return pyro.sample("z", dist.Normal(x[:, :2], 1.0).to_event(1))

    assert torch.isfinite(ELBO(num_particles=3)(model, guide)(rows()))


def test_linear_model_of_a_user_with_our_guide():
    model, x = linear_problem()
    guide = DiagonalNormalGuide(nn.Linear(5, 4)).double()
    assert isinstance(model, LinearModel)
    assert estimate_elbo(model, guide, [(x,)], num_particles=50).mean < exact_log_prob(model, x).mean()


def test_the_kl_weight_rises_over_the_warmup_and_only_changes_the_loss():
    model, guide = small_vae()
    loss = ELBO(beta=2.0, warmup=0.5)(model, guide)

    def terms(progress):
        torch.manual_seed(1)
        return loss.terms(rows(), progress=progress)

    for progress, weight in ((0.0, 0.0), (0.25, 1.0), (0.5, 2.0), (0.9, 2.0), (None, 2.0)):
        got = terms(None if progress is None else torch.tensor(progress))
        torch.testing.assert_close(got.loss, (weight * got.kl - got.reconstruction).mean())
    torch.testing.assert_close(terms(torch.tensor(0.1)).kl, terms(None).kl)


def test_free_bits_stop_the_divergence_of_a_dimension_from_falling_below_them():
    model, guide = small_vae()
    x = rows()
    kl = (
        torch.distributions.kl_divergence(guide.posterior(x).base_dist, model.prior().base_dist)
        .mean(0)
        .detach()
    )
    free = float(kl.sort().values.mean())  # between the two dimensions' divergences

    def evaluate(objective):
        torch.manual_seed(1)
        terms = objective(model, guide).terms(x)
        return terms, torch.autograd.grad(terms.loss, guide.encoder[-1][-1].weight)[0]

    many = 2000
    terms, gradient = evaluate(ELBO(many, free_bits=free))
    plain, _ = evaluate(ELBO(many))
    expected = plain.loss + kl.clamp_min(free).sum() - kl.sum()
    torch.testing.assert_close(terms.loss, expected, rtol=0, atol=5e-3)
    assert torch.equal(terms.kl, plain.kl)
    # With all divergences free the gradient is that of the reconstruction alone.
    _, free_gradient = evaluate(ELBO(many, free_bits=100.0))
    _, without = evaluate(ELBO(many, beta=0.0))
    torch.testing.assert_close(free_gradient, without)
    assert not torch.allclose(gradient, without)


def test_free_bits_take_a_site_as_a_whole_where_it_does_not_factorise():
    model, x = linear_problem(num_rows=20)
    guide = ExactGuide(model)
    torch.manual_seed(1)
    free = ELBO(free_bits=50.0)(model, guide).terms(x)
    torch.testing.assert_close(free.loss, 50.0 - free.reconstruction.mean())


class CountOperations(TorchDispatchMode):
    """Counts the operations of torch."""

    def __init__(self):
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, operation, types, arguments=(), settings=None):
        self.number += 1
        return operation(*arguments, **settings or {})


@pytest.mark.parametrize("objective", [ELBO(), ELBO(2), ELBO(free_bits=0.5), AnalyticELBO(), STL()], ids=repr)
def test_the_work_does_not_grow_with_the_number_of_latent_dimensions(objective):
    counts = []
    for latent_dim in (2, 40):
        loss = objective(*small_vae(latent_dim=latent_dim))
        with CountOperations() as operations:
            loss.terms(rows())
        counts.append(operations.number)
    assert counts[0] == counts[1]
