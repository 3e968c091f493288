"""Importance sampling held against exact answers, against ArviZ on all weights, and against its own errors."""

import math
import warnings

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import assert_within_sigma
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import ExactGuide, LinearModel, exact_log_prob, linear_problem, rows, small_vae
from torch import nn

from pyro_vae import (
    DefensiveGuide,
    ExactLinearGuide,
    JointDefensiveGuide,
    LinearGaussianModel,
    WidenedGuide,
    estimate_elbo,
    iwae_curve,
    log_likelihood,
    log_weights,
)
from pyro_vae._checks import InputError
from pyro_vae.baselines import PPCA, FactorAnalysis
from pyro_vae.evaluate.pareto_k import pareto_khat, tail_length
from pyro_vae.likelihoods import LIKELIHOODS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import arviz

SMALL = 2e5  # bytes: chunks of a few hundred samples of the small programs


class NarrowGuide(nn.Module):
    """A Gaussian about the exact posterior's mean, `factor` times as wide in every direction."""

    def __init__(self, model, factor):
        super().__init__()
        self.exact, self.factor, self.model = ExactGuide(model), factor, model

    def posterior(self, x):
        loc = (x - self.exact.mean) @ self.exact.gain.T
        return dist.MultivariateNormal(loc, self.factor**2 * self.exact.covariance)

    def forward(self, x):
        with pyro.plate("data", len(x)):
            return pyro.sample("z", self.posterior(x))


def arviz_khat(w):
    return torch.from_numpy(arviz.psislw(w.T.numpy().copy())[1])


@pytest.mark.parametrize("baseline", [PPCA(2), FactorAnalysis(2)], ids=["ppca", "factor analysis"])
def test_under_the_exact_guide_every_row_is_exact_and_without_variance(baseline):
    _, x = linear_problem(num_rows=60)
    baseline.fit(x.numpy())
    model = LinearGaussianModel.from_baseline(baseline)
    estimate = log_likelihood(model, ExactLinearGuide(model), x, 100)
    truth = torch.from_numpy(baseline.score_samples(x.numpy()))
    torch.testing.assert_close(estimate.value, truth, rtol=0, atol=1e-9)
    torch.testing.assert_close(estimate.elbo, truth, rtol=0, atol=1e-9)
    assert (estimate.se == 0).all()
    assert (estimate.khat == 0).all()
    torch.testing.assert_close(estimate.ess, torch.full_like(truth, 100))
    assert estimate.warning is None
    assert estimate.monte_carlo_se == 0
    assert estimate.mean == pytest.approx(baseline.score(x.numpy()))


def test_single_precision_is_constant_to_its_own_rounding():
    model, x = linear_problem()
    guide = ExactGuide(model)
    guide.mean, guide.gain, guide.covariance = (
        guide.mean.float(),
        guide.gain.float(),
        guide.covariance.float(),
    )
    estimate = log_likelihood(model.float(), guide, x.float(), 1000)
    assert (estimate.khat == 0).all()
    assert (estimate.se == 0).all()
    torch.testing.assert_close(estimate.value, exact_log_prob(linear_problem()[0], x), rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("num_samples", [21, 25, 100, 777, 2000])
def test_streaming_gives_what_all_weights_give(num_samples):
    model, x = linear_problem(num_rows=7)
    settings = {"num_samples": num_samples, "max_memory": SMALL, "seed": 4}
    w = log_weights(model, NarrowGuide(model, 0.7), x, **settings)
    estimate = log_likelihood(model, NarrowGuide(model, 0.7), x, **settings)
    assert w.shape == (num_samples, 7)
    relative = (w - w.logsumexp(0) + math.log(num_samples)).exp()  # of mean 1
    expected = {
        "value": w.logsumexp(0) - math.log(num_samples),
        "se": relative.std(0) / num_samples**0.5,
        "ess": num_samples**2 / relative.square().sum(0),
        "elbo": w.mean(0),
        "khat": arviz_khat(w),
    }
    for name, wanted in expected.items():
        torch.testing.assert_close(getattr(estimate, name), wanted, rtol=1e-8, atol=1e-8, msg=name)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    num_samples=st.integers(21, 3000),
    tail=st.floats(0.05, 3),
    steps=st.sampled_from([None, 2, 20]),
    zeros=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_khat_from_the_largest_weights_is_that_of_arviz_on_all(num_samples, tail, steps, zeros, seed):
    generator = np.random.default_rng(seed)
    w = tail * generator.exponential(size=(num_samples, 3)) - 1000
    if steps is not None:
        w = np.round(w * steps) / steps  # ties, as discrete latents make them
    w[1:][generator.random((num_samples - 1, 3)) < zeros] = -np.inf
    w = torch.from_numpy(w)
    largest = w.T.topk(tail_length(num_samples) + 1).values
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = arviz_khat(w)
    # ArviZ returns infinity if the tail is too short for a fit; k-hat is then unknown.
    torch.testing.assert_close(
        pareto_khat(largest), wanted.masked_fill(wanted.isinf(), math.nan), rtol=0, atol=1e-8, equal_nan=True
    )


def test_exactly_as_many_samples_are_drawn_as_requested():
    model, x = linear_problem(num_rows=5)
    drawn = []

    def guide(x):
        z = NarrowGuide(model, 0.8)(x)
        drawn.append(z.shape[:-1])
        return z

    log_likelihood(model, guide, x, 1009, max_memory=SMALL)  # a prime: no chunk divides it
    counted = drawn[7:]  # of the small draws before five check the programs, two measure what a sample takes
    assert len(counted) > 10
    assert sum(shape.numel() for shape in counted) == 5 * 1009
    assert max(samples for samples, _ in counted) < 1009


@pytest.mark.slow
def test_chunks_keep_to_the_memory_given():
    model, guide = small_vae()
    x = rows(count=20)
    largest = []

    def watched(x):
        z = guide(x)
        largest.append(z.shape[:-1].numel())
        return z

    for memory in (2e4, 2e5, 2e6):
        log_likelihood(model, watched, x, 500, max_memory=memory)
        # One sample of one row takes at least its 6 columns' location, scale and log-probability, 4 bytes each.
        assert max(largest) * 6 * 3 * 4 <= memory
        largest.clear()


def test_what_programs_make_once_a_run_is_shared_by_more_samples():
    """As a VampPrior runs the encoder on its rows, however few samples are scored."""
    model, guide = small_vae()
    x = rows(count=200)
    sizes = {}
    for once in (0, 2**22):

        def costly(x, once=once):
            return model(x + torch.zeros(once).sum())

        def watched(x, once=once):
            z = guide(x)
            sizes.setdefault(once, []).append(z.shape[:-1].numel())
            return z

        log_likelihood(costly, watched, x, 1000)
    (*_, few), (*_, many) = sizes.values()
    assert many > 4 * few


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_bounds_are_in_order(likelihood):
    model, guide = small_vae(likelihood)
    x = rows(likelihood, 40)
    estimate = log_likelihood(model, guide, x, 1000)
    elbo = estimate_elbo(model, guide, [(x,)], num_particles=1000)
    error = (estimate.elbo - elbo.value).std() / 40**0.5
    assert_within_sigma((estimate.elbo - elbo.value).mean(), 0, error)
    assert (estimate.value >= estimate.elbo).all()
    assert ((estimate.ess >= 1) & (estimate.ess <= 1000)).all()


def test_a_narrow_guide_is_within_its_errors():
    model, x = linear_problem(num_rows=300)
    estimate = log_likelihood(model, NarrowGuide(model, 0.95), x, 1000)
    off = (estimate.value - exact_log_prob(model, x)) / estimate.se
    inside = (off.abs() < 2).double().mean()
    assert_within_sigma(inside, 0.9545, (0.9545 * 0.0455 / 300) ** 0.5)
    assert_within_sigma(off.mean(), 0, 300**-0.5)
    assert estimate.warning is None


def test_the_curve_climbs_to_the_log_likelihood():
    model, x = linear_problem(num_rows=200)
    curve = iwae_curve(model, NarrowGuide(model, 0.7), x, (1, 2, 5, 20, 100), num_draws=1000)
    exact = exact_log_prob(model, x)
    assert curve.value.shape == (5, 200)
    assert (curve.mean[1:] > curve.mean[:-1]).all()
    assert (curve.mean < exact.mean() + 3 * curve.monte_carlo_se).all()
    # At K = 1 the bound is the ELBO: KL(q || p) of N(m, f^2 S) from N(m, S) in two dimensions.
    kl = 0.7**2 - 1 - 2 * math.log(0.7)
    assert_within_sigma(curve.mean[0], exact.mean() - kl, curve.monte_carlo_se[0])
    assert (curve.mean_se > curve.monte_carlo_se).all()


@pytest.mark.slow
def test_the_curve_at_two_samples_is_what_many_pairs_give():
    model, x = linear_problem(num_rows=3)
    guide = NarrowGuide(model, 0.6)
    w = log_weights(model, guide, x, 200_000, seed=9)
    pairs = w.unflatten(0, (-1, 2)).logsumexp(1) - math.log(2)
    curve = iwae_curve(model, guide, x, (2,), num_draws=20_000)
    assert_within_sigma(curve.value[0], pairs.mean(0), pairs.std(0) * (1 / 10_000 + 1 / 100_000) ** 0.5)


def prior():
    return dist.Normal(torch.zeros(2, dtype=torch.float64), 1.0).to_event(1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "widen",
    [
        lambda g: WidenedGuide(g, 2.0),
        lambda g: DefensiveGuide(g, prior, 0.3),
        lambda g: JointDefensiveGuide(g, g.model, 0.3),
        lambda g: WidenedGuide(lambda x: g(x), 2.0),
        lambda g: DefensiveGuide(lambda x: g(x), prior, 0.3),
    ],
    ids=["wide", "mixed", "mixed with the model", "wide function", "mixed function"],
)
def test_a_wider_proposal_corrects_a_guide_that_is_too_narrow(widen):
    model, x = linear_problem(num_rows=100)
    narrow = NarrowGuide(model, 0.5)
    before = log_likelihood(model, narrow, x, 2000)
    after = log_likelihood(model, widen(narrow), x, 2000)
    assert before.share_unreliable > 0.5
    assert "k-hat is above 0.7" in before.warning
    assert after.warning is None
    exact = exact_log_prob(model, x)
    assert_within_sigma(after.mean, exact.mean(), after.monte_carlo_se)
    assert abs(after.mean - exact.mean()) < abs(before.mean - exact.mean())


def test_the_densities_of_proposals_are_those_of_their_samples():
    model, x = linear_problem(num_rows=2)
    for proposal in (
        WidenedGuide(NarrowGuide(model, 0.5), 1.7),
        DefensiveGuide(NarrowGuide(model, 0.5), prior),
    ):
        q = proposal.posterior(x)
        wide = dist.Normal(torch.zeros(2).double(), 3.0).to_event(1)
        z = wide.sample((40_000, 2))
        ratio = (q.log_prob(z) - wide.log_prob(z)).exp()  # its mean is the density's integral
        assert_within_sigma(ratio.mean(0), 1, ratio.std(0) / 200)
        drawn = q.sample((40_000,))
        second = (z.square().sum(-1) * ratio).mean(0), (z.square().sum(-1) * ratio).std(0) / 200
        assert_within_sigma(drawn.square().sum(-1).mean(0), second[0], 2 * second[1])


def test_a_guide_without_a_mean_or_a_posterior_is_reported():
    model, _ = linear_problem()
    with pytest.raises(InputError, match="method `posterior"):
        WidenedGuide(ExactGuide(model), 1.5).posterior(torch.zeros(1, 5).double())

    class Heavy(NarrowGuide):
        def posterior(self, x):
            base = super().posterior(x)
            return dist.TransformedDistribution(base, [dist.transforms.TanhTransform()])

    with pytest.raises(InputError, match="has a mean"):
        WidenedGuide(Heavy(model, 1.0), 1.5).posterior(torch.zeros(1, 5).double())


def two_layers(x, y):
    """z1 ~ N(0, 1), z2 ~ N(z1, 1), x ~ N(z2 + y, 1): marginally N(y, 3)."""
    with pyro.plate("data", len(x)):
        z1 = pyro.sample("z1", dist.Normal(torch.zeros((), dtype=x.dtype), 1.0))
        z2 = pyro.sample("z2", dist.Normal(z1, 1.0))
        pyro.sample("x", dist.Normal(z2 + y, 1.0), obs=x)


def two_layers_guide(x, y):
    with pyro.plate("data", len(x)):
        z1 = pyro.sample("z1", dist.Normal((x - y) / 3, 0.9))
        pyro.sample("z2", dist.Normal((x - y + z1) / 2, 0.9))


def test_plain_functions_with_several_sites_and_labels():
    x, y = torch.linspace(-2, 2, 30).double(), torch.linspace(1, 0, 30).double()
    estimate = log_likelihood(two_layers, two_layers_guide, (x, y), 2000)
    exact = torch.distributions.Normal(y, 3**0.5).log_prob(x)
    assert_within_sigma(estimate.value, exact, estimate.se)
    assert estimate.se.max() < 0.02


def test_discrete_latents_without_a_tail_are_reported():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(torch.tensor(0.5)))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(torch.tensor(0.3)))

    x = torch.tensor([0.0, 1.0])
    estimate = log_likelihood(model, guide, x, 5000)
    mixture = torch.stack([dist.Normal(m, 1.0).log_prob(x) for m in (0.0, 1.0)]).logsumexp(0) - math.log(2)
    assert_within_sigma(estimate.value, mixture, estimate.se)
    assert estimate.khat.isnan().all()
    assert "fewer than 5" in estimate.warning


@pytest.mark.slow
def test_errors_of_a_data_set_add_up():
    model, x = linear_problem(num_rows=200)
    estimate = log_likelihood(model, NarrowGuide(model, 0.9), x, 50)
    assert estimate.mean_se**2 == pytest.approx(estimate.rows_se**2 + estimate.monte_carlo_se**2)
    exact = exact_log_prob(model, x)
    assert estimate.rows_se == pytest.approx(float(exact.std()) / 200**0.5, rel=0.05)
    seeds = [log_likelihood(model, NarrowGuide(model, 0.9), x, 50, seed=s).mean for s in range(40)]
    assert np.std(seeds, ddof=1) == pytest.approx(estimate.monte_carlo_se, rel=0.45)
    assert float(exact.mean()) - np.mean(seeds) == pytest.approx(estimate.bias, rel=0.6)
    assert estimate.summary()["mean"] == estimate.mean
    assert "200 rows, 50 samples" in repr(estimate)


def test_few_samples_report_that_nothing_is_known():
    model, x = linear_problem()
    estimate = log_likelihood(model, NarrowGuide(model, 0.9), x, 20)
    assert estimate.khat.isnan().all()
    assert math.isnan(estimate.share_unreliable)
    assert "20 samples a row are too few" in estimate.warning
    single = log_likelihood(model, NarrowGuide(model, 0.9), x, 1)
    assert single.se.isnan().all()
    torch.testing.assert_close(single.value, single.elbo)


def test_a_guide_that_leaves_the_support_is_reported_and_a_few_such_samples_are_legal():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Uniform(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(loc):
        def program(x):
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(loc, 0.5))

        return program

    x = torch.tensor([0.0, 0.5, 4.0])
    lost = log_likelihood(model, guide(50.0), x, 100)
    assert (lost.value == -math.inf).all()
    assert (lost.ess == 0).all()
    assert "For 3 of 3 rows every weight is zero" in lost.warning
    partly = log_likelihood(model, guide(0.5), x, 10_000)
    normal = torch.distributions.Normal(x.double(), 1.0)
    assert_within_sigma(
        partly.value, (normal.cdf(torch.ones(3)) - normal.cdf(torch.zeros(3))).log(), partly.se
    )


def test_nothing_of_the_users_is_changed():
    model, guide = small_vae()
    x = rows()
    state = torch.get_rng_state()
    first = log_likelihood(model, guide, x, 50, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(pyro.get_param_store()) == 0
    torch.manual_seed(17)
    again = log_likelihood(model, guide, x, 50, seed=3)
    assert torch.equal(first.value, again.value)
    assert not torch.equal(first.value, log_likelihood(model, guide, x, 50, seed=4).value)
    assert torch.is_grad_enabled()


def no_plate(x):
    z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(z.sum(-1, keepdim=True), 1.0).to_event(1), obs=x)


def one_row(x):
    with pyro.plate("data", 1):
        pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))


def nameless(x):
    with pyro.plate("data", len(x)):
        pyro.sample("other", dist.Normal(torch.zeros(2), 1.0).to_event(1))


def plain_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))


def bad(name, match, model=None, guide=None, x=None, **settings):
    return pytest.param(model, guide, x, settings, match, id=name)


@pytest.mark.parametrize(
    ("model", "guide", "x", "arguments", "match"),
    [
        bad("no samples", "num_samples .* at least 1; got 0", num_samples=0),
        bad("fractional samples", "num_samples .* whole number", num_samples=2.5),
        bad("no memory", "max_memory .* above 0", max_memory=0),
        bad("negative seed", "seed .* at least 0", seed=-1),
        bad("a site missing in the guide", r"samples \['other'\]", guide=nameless),
        bad("a site outside the plate", "'z' is outside", model=no_plate, guide=plain_guide),
        bad("a plate of another size", "of size", model=one_row, guide=one_row),
        bad("too few columns", r"shape \(N, 6\); got \(8, 5\)", x=lambda x: x[:, :5]),
        bad("no rows", "at least one row", x=lambda x: x[:0]),
        bad("text", r"real numbers; got text \(dtype <U", x=lambda x: x.numpy().astype(str)),
        bad("two labels", "at most 1 input, which the programs take; got 3", x=lambda x: (x, x, x)),
    ],
)
def test_bad_input_is_one_clear_sentence(model, guide, x, arguments, match):
    own_model, own_guide = small_vae()
    data = rows(count=8)
    with pytest.raises(InputError, match=match):
        log_likelihood(model or own_model, guide or own_guide, x(data) if x else data, **arguments)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"num_samples": ()}, "increasing"),
        ({"num_samples": (5, 2)}, "increasing"),
        ({"num_samples": (1, 10), "num_draws": 15}, "num_draws .* at least 20"),
    ],
)
def test_a_curve_needs_increasing_numbers(arguments, match):
    model, guide = small_vae()
    with pytest.raises(InputError, match=match):
        iwae_curve(model, guide, rows(), **arguments)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda g: WidenedGuide(g, 0), "factor .* above 0"),
        (lambda g: DefensiveGuide(g, prior, 1.0), "below 1"),
        (lambda g: JointDefensiveGuide(g, None, 1.0), "below 1"),
    ],
)
def test_proposals_check_their_arguments(make, match):
    with pytest.raises(InputError, match=match):
        make(small_vae()[1])


def test_linear_model_of_the_tests_is_ours():
    """The two ways of writing PPCA agree, so that what holds for one holds for the other."""
    model, x = linear_problem(num_rows=10)
    assert isinstance(model, LinearModel)
    estimate = log_likelihood(model, ExactGuide(model), x, 10)
    torch.testing.assert_close(estimate.value, exact_log_prob(model, x), rtol=0, atol=1e-9)
