"""Every objective held against closed forms, against the plain bound in expectation, and against Pyro's own."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import assert_within_sigma
from hypothesis import given
from hypothesis import strategies as st
from programs import BOUNDS, ExactGuide, exact_log_prob, linear_problem, rows, small_vae
from pyro.distributions.testing.fakes import NonreparameterizedNormal
from pyro.infer import RenyiELBO, TraceMeanField_ELBO
from pyro.infer import ReweightedWakeSleep as PyrosWakeSleep
from torch import nn

from pyro_vae._checks import InputError
from pyro_vae.guides import GUIDES
from pyro_vae.objectives import (
    ELBO,
    IWAE,
    STL,
    AnalyticELBO,
    DReG,
    Renyi,
    ReweightedWakeSleep,
    estimate_elbo,
    row_log_probs,
)
from pyro_vae.objectives.divergences import analytic_kl, sampled_kl
from pyro_vae.objectives.rows import draw

every_objective = pytest.mark.parametrize("objective", BOUNDS.values(), ids=BOUNDS)


class NormalGuide(nn.Module):
    """`z | x ~ N(A x + b, L L^T)` with separate parameters, initialised at a multiple of the exact posterior."""

    def __init__(self, model, widen=1.0, shift=0.0):
        super().__init__()
        exact = ExactGuide(model)
        self.gain = nn.Parameter(exact.gain.clone())
        self.offset = nn.Parameter(shift - exact.gain @ exact.mean)
        self.tril = nn.Parameter(widen * torch.linalg.cholesky(exact.covariance))

    def forward(self, x):
        loc = x @ self.gain.T + self.offset
        with pyro.plate("data", len(x)):
            return pyro.sample("z", dist.MultivariateNormal(loc, scale_tril=self.tril.tril()))


def problem(widen=1.4, shift=0.3, num_rows=8):
    model, x = linear_problem(num_rows=num_rows)
    return model, NormalGuide(model, widen, shift), x


def closed_form_elbo(model, guide, x):
    """E_q[log p(x | z)] - KL(q || p), averaged over rows, for the linear model and a normal guide."""
    loc, covariance = x @ guide.gain.T + guide.offset, guide.tril.tril() @ guide.tril.tril().T
    noise = model.log_noise.exp()
    mean = dist.Normal(loc @ model.weight.T + model.mean, noise.sqrt()).log_prob(x).sum(-1)
    likelihood = mean - (model.weight @ covariance @ model.weight.T).trace() / (2 * noise)
    kl = ((loc.square().sum(-1) + covariance.trace() - len(covariance)) - covariance.logdet()) / 2
    return (likelihood - kl).mean()


def gradient(loss, programs):
    parameters = [p for program in programs for p in program.parameters()]
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])


def gradients(objective, model, guide, x, draws=60, copies=8):
    """Return gradients of independent draws, one a line, each a mean over copies of the rows."""
    loss, x = objective(model, guide), x.repeat(copies, 1)
    return torch.stack([gradient(loss(x), (model, guide)) for _ in range(draws)])


def standard_error(draws):
    # Gradients that do not depend on the noise differ by rounding alone.
    return draws.std(0) / len(draws) ** 0.5 + 1e-12


@pytest.mark.parametrize("objective", [ELBO(2), AnalyticELBO(2), STL(2), Renyi(2, alpha=1.0)])
def test_gradients_of_the_elbo_are_the_closed_forms_in_expectation(objective):
    model, guide, x = problem()
    expected = -gradient(closed_form_elbo(model, guide, x), (model, guide))
    draws = gradients(objective, model, guide, x)
    assert_within_sigma(draws.mean(0), expected, standard_error(draws))


@pytest.mark.slow
def test_the_doubly_reparameterised_gradient_is_that_of_iwae_in_expectation_and_varies_less():
    model, guide, x = problem()
    plain, double = (gradients(objective, model, guide, x) for objective in (IWAE(8), DReG(8)))
    error = (standard_error(plain).square() + standard_error(double).square()).sqrt()
    assert_within_sigma(double.mean(0), plain.mean(0), error)
    of_the_guide = slice(sum(p.numel() for p in model.parameters()), None)
    assert double.var(0)[of_the_guide].sum() < 0.5 * plain.var(0)[of_the_guide].sum()


@pytest.mark.parametrize("objective", [STL(), DReG(3)])
def test_at_the_exact_posterior_the_path_gradient_is_zero_for_every_draw(objective):
    model, guide, x = problem(widen=1.0, shift=0.0)
    of_the_guide = slice(sum(p.numel() for p in model.parameters()), None)
    assert gradients(objective, model, guide, x, draws=3)[:, of_the_guide].abs().max() < 1e-10
    assert gradients(ELBO(), model, guide, x, draws=3)[:, of_the_guide].abs().max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("objective", [STL(2, beta=0.5), DReG(3)])
def test_path_gradients_follow_one_site_into_the_next(objective):
    """z1 ~ N(m, 1), z2 | z1 ~ N(w z1, s): the second site's distribution depends on the first one's sample."""
    m, w, s = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.3, 0.8, 0.6))
    x = torch.tensor([[1.0]], dtype=torch.float64)

    def model(x):
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", dist.Normal(x.new_zeros(len(x)), 1.0))
            z2 = pyro.sample("z2", dist.Normal(z1, 0.7))
            pyro.sample("x", dist.Normal((z1 + z2.square()).unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", dist.Normal(m.expand(len(x)), 1.0))
            pyro.sample("z2", dist.Normal(w * z1, s))

    plain = ELBO(2, beta=0.5) if isinstance(objective, STL) else IWAE(3)

    def draws(objective):
        loss = objective(model, guide)
        return torch.stack(
            [torch.stack(torch.autograd.grad(loss(x.expand(300, 1)), (m, w, s))) for _ in range(60)]
        )

    a, b = draws(objective), draws(plain)
    assert_within_sigma(a.mean(0), b.mean(0), (standard_error(a) ** 2 + standard_error(b) ** 2).sqrt())


def test_the_importance_weighted_bound_rises_with_the_samples_to_the_log_likelihood():
    model, guide, x = problem(num_rows=400)
    exact = exact_log_prob(model, x)
    gaps = []
    for k in (1, 3, 10, 256):
        log_weights = row_log_probs(model, guide, x, num_particles=k).log_weights.detach()
        gaps.append(exact - IWAE(k).bound(log_weights))
        loss = IWAE(k).bound(log_weights).mean()
        assert loss < exact.mean() + 4 * gaps[-1].std() / 20
    for small, large in zip(gaps[1:3], gaps, strict=False):
        assert (large - small).mean() > 4 * (large - small).std() / 20
    assert gaps[-1].mean() < 0.02


@every_objective
def test_at_the_exact_posterior_every_loss_is_minus_the_log_likelihood(objective):
    model, x = linear_problem()
    loss = objective(num_particles=3)(model, ExactGuide(model))
    sampled = objective is not AnalyticELBO
    if sampled:
        torch.testing.assert_close(loss(x), -exact_log_prob(model, x).mean(), rtol=0, atol=1e-9)
    else:
        draws = torch.stack([loss(x).detach() for _ in range(60)])
        assert_within_sigma(draws.mean(), -exact_log_prob(model, x).mean(), standard_error(draws))


@pytest.mark.parametrize("objective", [BOUNDS[name] for name in BOUNDS if name != "enumerated"])
def test_the_terms_of_a_loss_are_the_plain_bound_of_the_same_draws(objective):
    model, guide = small_vae()
    torch.manual_seed(3)
    terms = objective(num_particles=3)(model, guide).terms(rows())
    torch.manual_seed(3)
    plain = ELBO(num_particles=3)(model, guide).terms(rows())
    torch.testing.assert_close(terms[1:], plain[1:])


@every_objective
def test_without_gradients_the_value_is_the_same(objective):
    model, guide, x = problem()
    loss = objective(num_particles=3)(model, guide)
    torch.manual_seed(3)
    value = loss(x)
    torch.manual_seed(3)
    with torch.no_grad():
        assert torch.equal(loss(x), value)


@given(
    log_weights=st.lists(st.floats(-50, 50), min_size=2, max_size=6),
    alphas=st.lists(st.floats(-2, 3), min_size=2, max_size=2).map(sorted),
)
def test_bounds_of_the_same_weights_are_ordered(log_weights, alphas):
    weights = torch.tensor(log_weights, dtype=torch.float64).unsqueeze(-1)
    k = len(weights)
    tolerance = 1e-7
    higher, lower = (Renyi(k, alpha=alpha).bound(weights) for alpha in alphas)
    assert (lower <= higher + tolerance).all() or abs(alphas[0] - 1) < 1e-6 or abs(alphas[1] - 1) < 1e-6
    assert (weights.mean(0) <= IWAE(k).bound(weights) + tolerance).all()
    assert torch.equal(Renyi(k, alpha=0.0).bound(weights), IWAE(k).bound(weights))
    torch.testing.assert_close(
        Renyi(k, alpha=1 - 1e-7).bound(weights), Renyi(k, alpha=1.0).bound(weights), rtol=0, atol=2e-3
    )


def same_noise(evaluate):
    torch.manual_seed(7)
    return evaluate()


def pyros_gradients(inference, model, guide, x):
    for p in (*model.parameters(), *guide.parameters()):
        p.grad = None
    value = inference.loss_and_grads(model, guide, x)
    return value, torch.cat([p.grad.flatten() for p in (*model.parameters(), *guide.parameters())])


@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0])
def test_renyi_is_pyros_on_one_row(alpha):
    model, guide = small_vae()
    x = rows(count=1)
    pyros = RenyiELBO(alpha=alpha, num_particles=4, vectorize_particles=True, max_plate_nesting=1)
    value, expected = same_noise(lambda: pyros_gradients(pyros, model, guide, x))
    loss = same_noise(lambda: Renyi(4, alpha=alpha)(model, guide)(x))
    assert loss.item() == pytest.approx(value, rel=1e-5)
    torch.testing.assert_close(gradient(loss, (model, guide)), expected, rtol=1e-4, atol=1e-5)


def test_the_analytic_divergence_is_pyros():
    model, guide = small_vae()
    x = rows(count=5)
    pyros = TraceMeanField_ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=1)
    expected = same_noise(lambda: pyros.differentiable_loss(model, guide, x) / 5)
    loss = same_noise(lambda: AnalyticELBO(3)(model, guide)(x))
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient(loss, (model, guide)), gradient(expected, (model, guide)))


def normal_with_covariances(kind):
    """Return a batch of normals, and one prior that has none of their units."""
    torch.manual_seed(0)
    loc, factor = torch.randn(2, 5, 3).double(), torch.randn(2, 5, 3, 3).double()
    prior = dist.Normal(loc[1, 0], torch.tensor([0.5, 1.0, 2.0]).double()).to_event(1)
    if kind == "full":
        return dist.MultivariateNormal(loc[0], scale_tril=factor[0].tril(-1) + torch.eye(3)), prior
    return dist.LowRankMultivariateNormal(loc[0], factor[0, ..., :1], factor[1, ..., 0].exp()), prior


@pytest.mark.parametrize("kind", ["full", "low-rank"])
def test_the_divergence_of_a_normal_with_covariances_is_in_closed_form(kind):
    q, p = normal_with_covariances(kind)
    z = q.sample((20000,))
    sampled = sampled_kl(q, p, z)
    closed = analytic_kl(q, p, z[0])
    assert closed.shape == (5,)
    assert_within_sigma(closed, sampled.mean(0), sampled.std(0) / 20000**0.5)
    full = dist.MultivariateNormal(q.mean, q.covariance_matrix)
    dense = dist.MultivariateNormal(p.mean, torch.diag_embed(p.variance))
    torch.testing.assert_close(closed, torch.distributions.kl_divergence(full, dense))


def test_without_covariances_it_is_that_of_the_diagonal_normal():
    loc, scale = torch.randn(5, 3).double(), torch.rand(5, 3).double() + 0.1
    p = dist.Normal(torch.ones(3).double(), 0.7).to_event(1)
    expected = torch.distributions.kl_divergence(dist.Normal(loc, scale).to_event(1), p)
    none = torch.zeros(5, 3, 1).double()
    for q in (
        dist.MultivariateNormal(loc, scale_tril=torch.diag_embed(scale)),
        dist.LowRankMultivariateNormal(loc, none, scale.square()),
    ):
        torch.testing.assert_close(analytic_kl(q, p, loc), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("family", ["full-covariance", "low-rank"])
def test_the_closed_form_leaves_no_noise_in_the_divergence(family):
    model, _ = small_vae()
    x = rows(count=6)
    guide = GUIDES[family](lambda outputs: nn.Linear(x.shape[1], outputs), 2)
    first, second = (draw(model, guide, x, num_particles=4) for _ in range(2))
    assert torch.equal(first.kl(analytic_kl), second.kl(analytic_kl))
    assert first.kl(analytic_kl).shape == (4, 6)
    assert not torch.equal(first.kl(sampled_kl), second.kl(sampled_kl))


def test_wake_sleep_is_pyros_on_one_row():
    model, guide = small_vae()
    x = rows(count=1)
    pyros = PyrosWakeSleep(num_particles=4, vectorize_particles=True, max_plate_nesting=1)
    (value, _), expected = same_noise(lambda: pyros_gradients(pyros, model, guide, x))
    loss = same_noise(lambda: ReweightedWakeSleep(4)(model, guide)(x))
    assert loss.item() == pytest.approx(value, rel=1e-5)
    torch.testing.assert_close(gradient(loss, (model, guide)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("insomnia", [0.0, 0.5, 1.0])
def test_the_exact_posterior_is_a_fixed_point_of_wake_sleep(insomnia):
    model, guide, x = problem(widen=1.0, shift=0.0)
    draws = gradients(ReweightedWakeSleep(3, insomnia=insomnia), model, guide, x)
    of_the_guide = slice(sum(p.numel() for p in model.parameters()), None)
    assert_within_sigma(draws.mean(0)[of_the_guide], 0.0, standard_error(draws)[of_the_guide])


@pytest.mark.slow
def test_sleep_pulls_the_guide_to_the_posterior():
    """One latent: the gradient of -E_p log N(z; x @ gain + offset, s) in the offset is known."""
    model, guide, x = problem(widen=1.0, shift=0.4)
    draws = gradients(ReweightedWakeSleep(1, insomnia=0.0), model, guide, x, copies=60)
    num_model = sum(p.numel() for p in model.parameters())
    first = num_model + guide.gain.numel()
    precision = torch.cholesky_inverse(guide.tril.detach())
    expected = precision @ torch.full((2,), 0.4, dtype=torch.float64)
    offset = draws[:, first : first + 2]
    assert_within_sigma(offset.mean(0), expected, standard_error(offset))


def test_the_score_function_gradient_of_a_multi_sample_bound():
    """z ~ Bernoulli(p) twice: the expectation over the four outcomes is written out."""
    p = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    x = torch.ones(20000, dtype=torch.float64)

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(x.new_tensor(0.4)))
            pyro.sample("x", dist.Normal(2 * z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(p.expand(len(x))))

    def log_weight(z):
        q = p if z else 1 - p
        joint = math.log(0.4 if z else 0.6) - 0.5 - math.log(2 * math.pi) / 2
        return joint - q.log()

    def prob(z):
        return p if z else 1 - p

    loss = IWAE(2)(model, guide)
    draws = torch.stack([torch.autograd.grad(loss(x), p)[0] for _ in range(20)])
    outcomes = [(a, b) for a in (0, 1) for b in (0, 1)]
    bound = sum(
        prob(a) * prob(b) * (torch.logaddexp(log_weight(a), log_weight(b)) - math.log(2)) for a, b in outcomes
    )
    assert_within_sigma(draws.mean(), -torch.autograd.grad(bound, p)[0], draws.std() / 20**0.5)


@pytest.mark.slow
def test_weights_of_the_divergence_work_with_path_gradients_and_closed_forms():
    model, guide, x = problem()
    for objective in (STL, AnalyticELBO):
        weighed = gradients(objective(2, beta=0.3), model, guide, x)
        plain = gradients(ELBO(2, beta=0.3), model, guide, x)
        error = (standard_error(weighed) ** 2 + standard_error(plain) ** 2).sqrt()
        assert_within_sigma(weighed.mean(0), plain.mean(0), error)


def test_validation_does_not_know_the_training_loss():
    model, guide = small_vae()
    before = estimate_elbo(model, guide, [(rows(),)]).value
    for objective in (ELBO(beta=4.0, free_bits=3.0), IWAE(7)):
        objective(model, guide)(rows())
        assert torch.equal(estimate_elbo(model, guide, [(rows(),)]).value, before)


def scored_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", NonreparameterizedNormal(x.new_zeros(len(x), 2), 1.0).to_event(1))


def auxiliary_guide(x):
    with pyro.plate("data", len(x)):
        u = pyro.sample("u", dist.Normal(x.new_zeros(len(x)), 1.0), infer={"is_auxiliary": True})
        pyro.sample("z", dist.Normal(u.unsqueeze(-1).expand(-1, 2), 1.0).to_event(1))


@pytest.mark.parametrize(
    ("objective", "guide", "message"),
    [
        (STL, scored_guide, "reparameterized sample at every site of the guide; 'z' has none"),
        (DReG, scored_guide, "reparameterized sample at every site of the guide; 'z' has none"),
        (AnalyticELBO, auxiliary_guide, "auxiliary site 'u' has no divergence"),
    ],
)
def test_guides_that_an_objective_cannot_take_are_refused(objective, guide, message):
    model, x = linear_problem(num_rows=3)
    with pytest.raises(InputError, match=message):
        objective()(model, guide)(x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ELBO(beta=-1.0), "beta to be a finite number of at least 0; got -1.0"),
        (lambda: ELBO(warmup=1.5), r"warmup in \[0, 1\], a fraction of training; got 1.5"),
        (lambda: ELBO(free_bits=float("nan")), "free_bits to be a finite number of at least 0; got nan"),
        (lambda: IWAE(0), "num_particles to be a whole number of at least 1; got 0"),
        (lambda: Renyi(alpha=float("inf")), "alpha to be a finite number; got inf"),
        (lambda: ReweightedWakeSleep(insomnia=2.0), r"insomnia in \[0, 1\], the share of wake; got 2.0"),
    ],
)
def test_values_out_of_range_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
