"""Objectives of discrete latents against a sum over all states: values, and gradients in expectation."""

import itertools

import pyro
import pyro.distributions as dist
import pytest
import torch
from discrete_problems import (
    VARIABLES,
    exact_elbo,
    exact_elbo_of_two_sites,
    exact_log_prob,
    kl,
    problem,
    states,
    two_sites,
)
from helpers import assert_within_sigma

from pyro_vae import estimate_elbo, log_likelihood
from pyro_vae._checks import InputError
from pyro_vae.evaluate import iwae_curve, latent_summary, log_weights, to_arviz
from pyro_vae.objectives import (
    ELBO,
    IWAE,
    OBJECTIVES,
    RLOO,
    STL,
    AnalyticELBO,
    EnumeratedELBO,
    GumbelSoftmax,
    ReweightedWakeSleep,
    StraightThrough,
)

ROWS = 20_000
every_latent = pytest.mark.parametrize("name", VARIABLES)
ONE_OF_EACH = {
    "enumerated": EnumeratedELBO(),
    "rloo": RLOO(3),
    "gumbel-softmax": GumbelSoftmax(),
    "straight-through": StraightThrough(),
    "elbo": ELBO(),
    "analytic-elbo": AnalyticELBO(),
}


def gradients_by_row(loss, guide, model):
    """Return the gradient of each row's loss in the guide's logits and in the decoder's offsets."""
    parameters = [guide.encoder.own, model.decoder.own]
    return [gradient * len(guide.encoder.own) for gradient in torch.autograd.grad(loss, parameters)]


def exact_gradients(name, model, guide, x, **weights):
    return torch.autograd.grad(
        -exact_elbo(name, model, guide, x[0], **weights), [guide.encoder.own, model.decoder.own]
    )


@every_latent
@pytest.mark.parametrize("objective", ONE_OF_EACH.values(), ids=ONE_OF_EACH)
def test_the_value_is_the_elbo_of_the_discrete_model(name, objective):
    """Whatever the gradient is made of, loss and reported terms are those at codes, without noise in the divergence."""
    torch.manual_seed(0)
    model, guide, x = problem(name, 5000)
    exact, divergence = exact_elbo(name, model, guide, x[0]), kl(name, model, guide)
    progress = torch.tensor(0.3)
    terms = objective(model, guide).terms(x, progress=progress)
    assert_within_sigma(terms.kl, divergence, 1e-12)
    elbo = terms.reconstruction - terms.kl
    assert_within_sigma(elbo.mean(), exact, elbo.std() / len(x) ** 0.5 + 1e-12)
    if type(objective) is not ELBO:  # which samples the divergence of its loss
        assert_within_sigma(-terms.loss, elbo.mean(), 1e-12)


@every_latent
@pytest.mark.parametrize("beta", [1.0, 0.3])
@pytest.mark.parametrize("objective", [RLOO, EnumeratedELBO, AnalyticELBO, ELBO])
def test_gradients_without_bias(name, objective, beta):
    torch.manual_seed(0)
    model, guide, x = problem(name, 200 if objective is EnumeratedELBO else ROWS)
    made = objective(num_particles=3, beta=beta) if objective is RLOO else objective(beta=beta)
    found = gradients_by_row(made(model, guide)(x), guide, model)
    one_model, one_guide, _ = problem(name)
    for by_row, exact in zip(found, exact_gradients(name, one_model, one_guide, x, beta=beta), strict=True):
        assert_within_sigma(by_row.mean(0), exact[0], by_row.std(0) / len(x) ** 0.5 + 1e-12)


def test_leave_one_out_has_far_less_variance_than_the_score_function_alone():
    torch.manual_seed(0)
    model, guide, x = problem("categorical", ROWS)
    spread = [
        gradients_by_row(objective(model, guide)(x), guide, model)[0].var(0).sum()
        for objective in (RLOO(4), AnalyticELBO(4))
    ]
    assert spread[0] < 0.5 * spread[1]


def test_the_enumerated_elbo_of_several_rows_with_free_bits_and_repeated_states():
    """Free bits stop the gradient of the divergence; particles have no effect if no site is continuous."""
    model, guide, x = problem("categorical", 3)
    plain, repeated = (EnumeratedELBO(num_particles=count)(model, guide)(x) for count in (1, 3))
    assert_within_sigma(plain, repeated, 1e-12)
    stopped = EnumeratedELBO(free_bits=100.0)(model, guide)
    found = gradients_by_row(stopped(x), guide, model)
    one_model, one_guide, _ = problem("categorical")
    exact = exact_gradients("categorical", one_model, one_guide, x, beta=0.0)
    for by_row, truth in zip(found, exact, strict=True):
        assert_within_sigma(by_row, truth.expand_as(by_row), 1e-12)


@pytest.mark.parametrize("name", ["categorical", "bernoulli"])
def test_the_enumerated_elbo_applies_free_bits_to_the_divergence_of_each_variable(name):
    """Free bits have no effect below the divergence of every variable, although that of single states is lower."""
    model, guide, x = problem(name, 3)
    plain, free = (EnumeratedELBO(free_bits=bits)(model, guide)(x) for bits in (0.0, 1e-3))
    assert_within_sigma(free, plain, 1e-12)
    gradients = [gradients_by_row(loss, guide, model) for loss in (free, plain)]
    for found, truth in zip(*gradients, strict=True):
        assert_within_sigma(found, truth, 1e-12)


def relaxed_gradient(name, model, guide, x, samples, temperature, hard):
    """Return mean and standard error of the relaxed gradient, written out, in the guide's logits and the offsets."""
    variables, generator = VARIABLES[name], torch.Generator().manual_seed(7)
    logits = guide.encoder.own.detach().repeat(samples, 1).requires_grad_()
    offset = model.decoder.own.detach().repeat(samples, 1).requires_grad_()
    uniform = torch.rand(logits.shape, generator=generator, dtype=torch.float64)
    if name == "bernoulli":
        soft = ((logits + uniform.logit()) / temperature).sigmoid()
        code = (soft > 0.5).double()
    else:
        scores = (logits - (-uniform.log()).log()).unflatten(-1, (variables.count, variables.states))
        soft = (scores / temperature).softmax(-1)
        code = torch.nn.functional.one_hot(scores.argmax(-1), 4).double().flatten(-2)
        soft = soft.flatten(-2)
    z = code + soft - soft.detach() if hard else soft
    scale = model.likelihood.scale(model.likelihood.raw_scale)
    loc = (z @ model.decoder.weight) ** 2 + offset
    likelihood = torch.distributions.Normal(loc, scale).log_prob(x).sum()
    by_sample = torch.autograd.grad(-likelihood, [logits, offset])
    divergence = torch.autograd.grad(kl(name, model, guide), guide.encoder.own)[0]
    shift = [divergence[0], torch.zeros(())]
    return [
        (part.mean(0) + own, part.std(0) / samples**0.5) for part, own in zip(by_sample, shift, strict=True)
    ]


@every_latent
@pytest.mark.parametrize("objective", [GumbelSoftmax, StraightThrough])
def test_relaxed_gradients_are_those_of_the_formula(name, objective):
    torch.manual_seed(0)
    model, guide, x = problem(name, ROWS)
    made = objective(temperature=2.0, final_temperature=0.5)
    loss = made(model, guide).terms(x, progress=torch.tensor(0.5)).loss  # at temperature 1
    found = gradients_by_row(loss, guide, model)
    one_model, one_guide, _ = problem(name)
    expected = relaxed_gradient(name, one_model, one_guide, x[0], ROWS, 1.0, objective is StraightThrough)
    for by_row, (mean, error) in zip(found, expected, strict=True):
        assert_within_sigma(by_row.mean(0), mean, (by_row.var(0) / len(x) + error**2).sqrt())
    if objective is StraightThrough:  # the model sees codes: its own gradient has no bias
        exact = exact_gradients(name, one_model, one_guide, x)[1]
        assert_within_sigma(found[1].mean(0), exact[0], found[1].std(0) / len(x) ** 0.5)


@every_latent
def test_the_bias_of_relaxed_gradients_falls_with_the_temperature(name):
    torch.manual_seed(0)
    model, guide, x = problem(name, ROWS)
    one_model, one_guide, _ = problem(name)
    exact = exact_gradients(name, one_model, one_guide, x)[0][0]
    off = []
    for temperature in (1.0, 0.1):
        objective = GumbelSoftmax(temperature=temperature, final_temperature=temperature)
        found = gradients_by_row(objective(model, guide)(x), guide, model)[0]
        error = found.std(0).norm() / len(x) ** 0.5
        off.append((float((found.mean(0) - exact).norm()), float(error)))
    assert off[1][0] + 3 * off[1][1] < off[0][0] - 3 * off[0][1], off


def test_the_temperature_falls_by_a_constant_factor():
    objective = GumbelSoftmax(temperature=1.0, final_temperature=0.25)
    found = [float(objective.temperature_at(torch.tensor(share))) for share in (0.0, 0.5, 1.0)]
    assert found == pytest.approx([1.0, 0.5, 0.25])
    assert objective.temperature_at() == 0.25


def test_two_sites_of_a_users_own_program():
    """The second site given the first, in plain Pyro: value and gradients of the sum, and of samples in expectation."""
    model, guide, tables = two_sites()
    x = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    exact = exact_elbo_of_two_sites(tables, x)
    wanted = torch.autograd.grad(exact, list(tables.values()))
    terms = EnumeratedELBO()(model, guide).terms(x)
    assert_within_sigma(-terms.loss, exact, 1e-12)
    assert_within_sigma((terms.reconstruction - terms.kl).mean(), exact, 1e-12)
    found = torch.autograd.grad(-terms.loss, list(tables.values()))
    for ours, theirs in zip(found, wanted, strict=True):
        assert_within_sigma(ours, theirs, 1e-12)
    many = x.repeat(20_000, 1)
    torch.manual_seed(0)
    for objective in (RLOO(3), GumbelSoftmax(), StraightThrough()):
        terms = objective(model, guide).terms(many)
        elbo = terms.reconstruction - terms.kl
        assert_within_sigma(elbo.mean(), exact, elbo.std() / len(elbo) ** 0.5)


@every_latent
def test_importance_sampling_and_bounds_of_several_samples(name):
    model, guide, x = problem(name)
    exact = exact_log_prob(name, model, x[0])
    found = log_likelihood(model, guide, x, 4000)
    assert_within_sigma(found.value, exact, found.se)
    torch.manual_seed(0)
    many_model, many_guide, many = problem(name, 3000)
    bounds = [
        -objective(many_model, many_guide)(many).item()
        for objective in (RLOO(2), IWAE(5), ReweightedWakeSleep(20))
    ]
    assert bounds == sorted(bounds)
    assert bounds[-1] < exact + 0.05
    estimate = estimate_elbo(model, guide, x, 4000)
    assert_within_sigma(estimate.kl, kl(name, model, guide), 1e-12)


@every_latent
def test_latent_summary_of_variables(name):
    model, guide, x = problem(name, 6)
    with torch.no_grad():
        guide.encoder.own += torch.randn(guide.encoder.own.shape, generator=torch.Generator().manual_seed(3))
    found = latent_summary(model, guide, x)
    site = found.sites["z"]
    assert len(site.mean_variance) == VARIABLES[name].count
    assert site.kl_per_dimension.shape == (VARIABLES[name].count,)
    q = guide.posterior(x)
    assert_within_sigma(
        site.kl_per_dimension.sum(), torch.distributions.kl_divergence(q, model.prior()).mean(), 1e-9
    )


def test_codes_have_their_probabilities():
    torch.manual_seed(0)
    for name in VARIABLES:
        model, guide, x = problem(name, ROWS)
        q = guide.posterior(x)
        z = q.sample()
        assert_within_sigma(z.mean(0), q.mean[0], (q.variance[0] / ROWS).sqrt())
        assert bool(q.support.check(z).all())
        assert model.prior().log_prob(states(name)).exp().sum().item() == pytest.approx(1)
        assert bool(q.support.check(0.25 + 0.5 * z).sum() == 0)
        assert_within_sigma(q.entropy()[0], -(q.log_prob(z)).mean(), q.log_prob(z).std() / ROWS**0.5)


ROUNDED = {
    "categorical": lambda: dist.RelaxedOneHotCategoricalStraightThrough(
        torch.tensor(0.5), logits=torch.arange(8.0).reshape(2, 4)
    ).to_event(1),
    "bernoulli": lambda: dist.RelaxedBernoulliStraightThrough(
        torch.tensor(0.5), logits=torch.arange(4.0)
    ).to_event(1),
}
RELAXED = {
    "categorical": lambda: dist.RelaxedOneHotCategorical(
        torch.tensor(0.5), logits=torch.zeros(2, 4)
    ).to_event(1),
    "bernoulli": lambda: dist.RelaxedBernoulli(torch.tensor(0.5), logits=torch.zeros(4)).to_event(1),
}
DISCRETE = {
    "categorical": lambda: dist.OneHotCategorical(logits=torch.zeros(2, 4)).to_event(1),
    "bernoulli": lambda: dist.Bernoulli(logits=torch.zeros(4)).to_event(1),
}
PAIRS = {
    f"{name}, {how}": (prior[name], guide[name])
    for name in VARIABLES
    for how, (prior, guide) in {
        "rounded against relaxed": (RELAXED, ROUNDED),
        "rounded against rounded": (ROUNDED, ROUNDED),
        "rounded against discrete": (DISCRETE, ROUNDED),
        "relaxed against discrete": (DISCRETE, RELAXED),
        "discrete against relaxed": (RELAXED, DISCRETE),
    }.items()
}
CALLS = {
    "estimate_elbo": estimate_elbo,
    "log_likelihood": lambda model, guide, x: log_likelihood(model, guide, x, 10),
    "log_weights": lambda model, guide, x: log_weights(model, guide, x, 10),
    "iwae_curve": lambda model, guide, x: iwae_curve(model, guide, x, [1, 2]),
    "latent_summary": latent_summary,
    "to_arviz": to_arviz,
} | {name: (lambda model, guide, x, made=made: made()(model, guide)(x)) for name, made in OBJECTIVES.items()}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_laws_that_cannot_be_compared_are_refused_by_all(pair):
    """Rounded samples were scored as the unrounded ones: an ELBO of 40 with log p(x) of -5."""
    prior, posterior = pair

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", prior())
            loc = z.flatten(z.ndim - len(prior().event_shape))[..., :3]
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", posterior())

    for call in CALLS.values():
        with pytest.raises(
            InputError,
            match=r"Expected (guide and model to have|a distribution that scores its own|a point guide)",
        ):
            call(model, guide, torch.zeros(4, 3))


def test_bad_input():
    model, guide, x = problem("categorical", 2)
    for call, message in {
        lambda: GumbelSoftmax(temperature=0.0): "temperature .* above 0|temperature.*positive",
        lambda: StraightThrough(final_temperature=-1.0): "final_temperature",
        lambda: EnumeratedELBO(max_gib=0.0): "max_gib",
        lambda: EnumeratedELBO(max_gib=1e-7)(model, guide)(x): "there are 16, which take 2.*e-06 GiB",
        lambda: STL()(model, guide)(x): "reparameterized",
    }.items():
        with pytest.raises(InputError, match=message):
            call()


def test_sites_that_cannot_be_relaxed_or_listed_are_refused():
    def program(family, model):
        def run(x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", family)
                if model:
                    pyro.sample("x", dist.Normal(z.reshape(-1, 1) * 1.0, 1.0).to_event(1), obs=x)

        return run

    x = torch.zeros(3, 1)
    for family, objective, message in (
        (dist.Categorical(torch.ones(3)), GumbelSoftmax(), "one-hot categorical or Bernoulli"),
        (dist.Poisson(2.0), StraightThrough(), "one-hot categorical or Bernoulli"),
        (dist.Poisson(2.0), EnumeratedELBO(), "finitely many states"),
    ):
        with pytest.raises(InputError, match=message):
            objective(program(family, True), program(family, False))(x)


def test_a_guide_of_another_order_has_no_relaxed_divergence():
    def model(x):
        with pyro.plate("data", len(x)):
            a = pyro.sample("a", dist.Bernoulli(0.5))
            b = pyro.sample("b", dist.Bernoulli(0.2 + 0.5 * a))
            pyro.sample("x", dist.Normal((a + b).unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            b = pyro.sample("b", dist.Bernoulli(0.5))
            pyro.sample("a", dist.Bernoulli(0.2 + 0.5 * b))

    x = torch.zeros(2, 1)
    with pytest.raises(InputError, match="the model's order, a, b"):
        StraightThrough()(model, guide)(x)
    exact = sum(
        _mass(0.5, b) * _mass(0.2 + 0.5 * b, a)
        * (
            torch.distributions.Normal(float(a + b), 1.0).log_prob(torch.zeros(())).double()
            + (_mass(0.5, a) * _mass(0.2 + 0.5 * a, b)).log() - (_mass(0.5, b) * _mass(0.2 + 0.5 * b, a)).log()
        )
        for a, b in itertools.product((0, 1), repeat=2)
    )  # fmt: skip
    assert_within_sigma(-EnumeratedELBO()(model, guide)(x), exact, 1e-6)


def _mass(probability, value):
    return torch.tensor(probability if value else 1 - probability, dtype=torch.float64)
