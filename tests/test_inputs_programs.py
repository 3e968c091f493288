"""Programs as users write them: each gives the right number, or one sentence on why there is none."""

import math
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoDelta
from pyro.nn import PyroModule
from torch import nn

from pyro_vae import ELBO, IWAE, STL, DReG, ReweightedWakeSleep, fit
from pyro_vae._checks import InputError, NonFiniteLossError
from pyro_vae.evaluate import (
    AnnealedLogLikelihood,
    Annealing,
    DefensiveGuide,
    NUTSPosterior,
    ResampledPosterior,
    WidenedGuide,
    annealed_log_likelihood,
    iwae_curve,
    latent_summary,
    log_likelihood,
    log_weights,
    to_arviz,
)
from pyro_vae.evaluate.gaps import RowFit, inference_gaps
from pyro_vae.evaluate.hmc import HMC
from pyro_vae.guides import DiagonalNormalGuide, MixtureGuide
from pyro_vae.likelihoods import BernoulliLikelihood, GaussianWithFixedScale
from pyro_vae.models.generative import GenerativeModel
from pyro_vae.objectives import estimate_elbo
from pyro_vae.priors import StandardNormal

N, D, L = 9, 4, 2
WEIGHT = torch.linspace(-1, 1, D * L).reshape(D, L).sin()
X = torch.linspace(-2, 2, N * D).reshape(N, D).cos() * torch.linspace(0.5, 1.5, D)
COVARIANCE = torch.eye(L) - WEIGHT.T @ torch.linalg.solve(WEIGHT @ WEIGHT.T + torch.eye(D), WEIGHT)
EXACT = dist.MultivariateNormal(torch.zeros(D), WEIGHT @ WEIGHT.T + torch.eye(D)).log_prob(X)


def standard(x, name="z", size=L):
    return pyro.sample(name, dist.Normal(x.new_zeros(size), 1.0).to_event(1))


def exact(x, name="z", covariance=None):
    """Sample from the posterior of z ~ N(0, I), x ~ N(W z, I)."""
    covariance = COVARIANCE.to(x)
    return pyro.sample(name, dist.MultivariateNormal(x @ WEIGHT.to(x) @ covariance, covariance))


def model(x):
    with pyro.plate("data", len(x)):
        z = standard(x)
        pyro.sample("x", dist.Normal(z @ WEIGHT.T.to(x), 1.0).to_event(1), obs=x)


def guide(x):
    with pyro.plate("data", len(x)):
        exact(x)


def returns_something(x):
    guide(x)
    return {"anything": x}


def plated(size=None, subsample_size=None, scale=1.0, where="z", mask=None, name="z", observed="x"):
    """Return model and guide with Pyro's ways to weigh, subsample, mask and name sites."""

    def body(x, is_model):
        given = {"subsample_size": subsample_size} if subsample_size else {}
        given = given or ({"subsample": torch.arange(len(x))} if size else {})
        with pyro.plate("data", size or len(x), **given) as rows:
            x = x[rows] if subsample_size else x
            masks = poutine.mask(mask=True if mask is None else mask[: len(x)])
            with masks, poutine.scale(scale=scale if where == "z" else 1.0):
                z = standard(x, name) if is_model else exact(x, name)
            if is_model:
                with masks, poutine.scale(scale=scale if where == "x" else 1.0):
                    pyro.sample(observed, dist.Normal(z @ WEIGHT.T, 1.0).to_event(1), obs=x)

    return (lambda x: body(x, True)), (lambda x: body(x, False))


class Joint(PyroModule):
    def __init__(self):
        super().__init__()
        self.decoder = PyroModule[nn.Linear](L, D, bias=False)
        with torch.no_grad():
            self.decoder.weight.copy_(WEIGHT)

    def forward(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(self.decoder(standard(x)), 1.0).to_event(1), obs=x)


def in_columns(x):
    with pyro.plate("data", len(x), dim=-1):
        z = standard(x)
        with pyro.plate("columns", D, dim=-2):
            loc = (z @ WEIGHT.T).movedim(-1, -2)
            pyro.sample("x", dist.Normal(loc.squeeze(-3) if loc.ndim > 3 else loc, 1.0), obs=x.T)


def in_two_sites(x):
    with pyro.plate("data", len(x)):
        loc = standard(x) @ WEIGHT.T
        pyro.sample("left", dist.Normal(loc[..., :1], 1.0).to_event(1), obs=x[:, :1])
        pyro.sample("right", dist.Normal(loc[..., 1:], 1.0).to_event(1), obs=x[:, 1:])


def with_deterministic_sites(x):
    pyro.deterministic("weight", WEIGHT)
    with pyro.plate("data", len(x)):
        loc = pyro.deterministic("loc", standard(x) @ WEIGHT.T, event_dim=1)
        pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)


def in_parts(x):
    with pyro.plate("data", len(x)):
        z = torch.stack([pyro.sample(f"z{i}", dist.Normal(x.new_zeros(()), 1.0)) for i in range(L)], -1)
        pyro.sample("x", dist.Normal(z @ WEIGHT.T, 1.0).to_event(1), obs=x)


def guide_in_parts(x):
    loc = x @ WEIGHT @ COVARIANCE
    with pyro.plate("data", len(x)):
        slope = COVARIANCE[1, 0] / COVARIANCE[0, 0]
        first = pyro.sample("z0", dist.Normal(loc[:, 0], COVARIANCE[0, 0].sqrt()))
        left = (COVARIANCE[1, 1] - slope * COVARIANCE[1, 0]).sqrt()
        pyro.sample("z1", dist.Normal(loc[:, 1] + slope * (first - loc[:, 0]), left))


MEANS = torch.tensor([[-1.0] * D, [0.0] * D, [2.0] * D])
MIXTURE = dist.Normal(MEANS, 1.0).to_event(1).log_prob(X.unsqueeze(1)) - math.log(3)


def discrete(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Categorical(logits=x.new_zeros(3)))
        pyro.sample("x", dist.Normal(MEANS[z], 1.0).to_event(1), obs=x)


def discrete_guide(x):
    with pyro.plate("data", len(x)):
        logits = dist.Normal(MEANS, 1.0).to_event(1).log_prob(x.unsqueeze(1))
        pyro.sample("z", dist.Categorical(logits=logits))


def positive(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.LogNormal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z.log().unsqueeze(-1) + x.new_zeros(D), 1.0).to_event(1), obs=x)


def positive_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.LogNormal(x.sum(-1) / (D + 1), (D + 1) ** -0.5))


SHARED = dist.MultivariateNormal(torch.zeros(D), torch.ones(D, D) + torch.eye(D)).log_prob(X)
HALF = torch.arange(N) < 5
NETWORK = nn.Linear(L, D, bias=False).requires_grad_(False)
NETWORK.weight.copy_(WEIGHT)


def around(network):
    def program(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(network(standard(x)), 1.0).to_event(1), obs=x)

    return program


def missing(x):
    seen = ~x.isnan()
    with pyro.plate("data", len(x)):
        likelihood = dist.Normal(standard(x) @ WEIGHT.T, 1.0).mask(seen).to_event(1)
        pyro.sample("x", likelihood, obs=x.nan_to_num())


def missing_guide(x):
    with pyro.plate("data", len(x)):
        seen = (~x.isnan()).float()
        precision = torch.eye(L) + torch.einsum("nd,dk,dl->nkl", seen, WEIGHT, WEIGHT)
        loc = torch.linalg.solve(precision, (x.nan_to_num() @ WEIGHT).unsqueeze(-1)).squeeze(-1)
        pyro.sample("z", dist.MultivariateNormal(loc, precision_matrix=precision))


GAPS = torch.where(torch.arange(N * D).reshape(N, D) % 3 == 0, torch.nan, X)
MARGINAL = torch.stack([
    dist.MultivariateNormal(torch.zeros(int(s.sum())), WEIGHT[s] @ WEIGHT[s].T + torch.eye(int(s.sum()))).log_prob(x[s])
    for x, s in zip(GAPS, ~GAPS.isnan(), strict=True)
])  # fmt: skip

RIGHT = [
    ("plain functions", (model, guide), X, EXACT),
    ("lambdas", (lambda x: model(x), lambda x: guide(x)), X, EXACT),
    ("partials", (partial(model), partial(guide)), X, EXACT),
    ("a PyroModule", (Joint(), guide), X, EXACT),
    ("a closure over a module", (around(NETWORK), guide), X, EXACT),
    ("a guide that returns something else", (model, returns_something), X, EXACT),
    ("double precision", (model, guide), X.double(), EXACT),
    ("other site names", plated(name="code", observed="pixels"), X, EXACT),
    ("the latent scaled up", plated(scale=10.0), X, EXACT),
    ("the latent scaled down", plated(scale=0.1), X, EXACT),
    ("the likelihood scaled by a tensor", plated(scale=torch.tensor(3.0), where="x"), X, EXACT),
    ("a plate of the whole data set", plated(size=4 * N), X, EXACT),
    ("a plate of the whole data set, scaled", plated(size=4 * N, scale=2.0), X, EXACT),
    ("masked rows", plated(mask=HALF), X, EXACT * HALF),
    ("missing entries", (missing, missing_guide), GAPS, MARGINAL),
    ("two observed sites", (in_two_sites, guide), X, EXACT),
    ("deterministic sites", (with_deterministic_sites, guide), X, EXACT),
    ("a latent site for each dimension", (in_parts, guide_in_parts), X, EXACT),
    ("a discrete latent", (discrete, discrete_guide), X, MIXTURE.logsumexp(1)),
    ("a positive latent", (positive, positive_guide), X, SHARED),
]


@pytest.mark.parametrize(("programs", "x", "expected"), [r[1:] for r in RIGHT], ids=[r[0] for r in RIGHT])
def test_under_the_exact_posterior_every_estimate_is_log_p(programs, x, expected):
    near = {"rtol": 0, "atol": 1e-4, "check_dtype": False}
    torch.testing.assert_close(estimate_elbo(*programs, [(x,)], num_particles=3).value, expected, **near)
    torch.testing.assert_close(estimate_elbo(*programs, [(x,)]).value, expected, **near)
    torch.testing.assert_close(log_likelihood(*programs, x, 5, max_memory=1e9).value, expected, **near)


def test_plates_inside_the_rows_are_summed():
    found = estimate_elbo(in_columns, guide, [(X,)], max_plate_nesting=2)
    torch.testing.assert_close(found.value, EXACT.double(), rtol=0, atol=1e-4)


# Programs without an answer.


def delta(x, wrap=lambda d: d):
    with pyro.plate("data", len(x)):
        pyro.sample("z", wrap(dist.Delta(x[:, :L]).to_event(1)))


def at_site(distribution, name="z"):
    """Return a guide with one site, sampled from a function of the rows."""

    def program(x):
        with pyro.plate("data", len(x)):
            pyro.sample(name, distribution(x))

    return program


def prior_is(distribution, event=0):
    """Return a model with this prior, whose rows are noise around the sum of z."""

    def program(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", distribution)
            loc = (z.flatten(z.ndim - event).sum(-1) if event else z).unsqueeze(-1).float()
            pyro.sample("x", dist.Normal(loc.expand(*loc.shape[:-1], D), 1.0).to_event(1), obs=x)

    return program


def relaxed(x):
    return dist.RelaxedOneHotCategoricalStraightThrough(x.new_tensor(0.5), logits=x[:, :3])


PAIR = dist.Normal(torch.zeros(2), 1.0).to_event(1)
ONE_HOT = dist.OneHotCategorical(logits=torch.zeros(3))


def outside_the_plate(x):
    z = standard(x)
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(z @ WEIGHT.T, 1.0).to_event(1), obs=x)


def sequential(x):
    for row in pyro.plate("data", len(x)):
        standard(x, f"z{row}")


def no_event(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x[:, :L], 1.0))


def observes(value):
    def program(x):
        with pyro.plate("data", len(x)):
            z = standard(x)
            pyro.sample("x", dist.Normal(z @ WEIGHT.T, 1.0).to_event(1), obs=value(x))

    return program


def targets(x):
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(standard(x).sum(-1), 1.0), obs=x[:, :1])


def part_of_the_columns(x):
    with pyro.plate("data", len(x), dim=-1):
        z = standard(x)
        with pyro.plate("columns", D, subsample_size=2, dim=-2) as chosen:
            pyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=x.T[chosen])


class Channels(nn.Module):
    def __init__(self, channels, width=L):
        super().__init__()
        self.norm, self.last = nn.BatchNorm1d(channels), nn.Linear(width, D)
        self.norm.running_mean.copy_(torch.arange(float(channels)))
        self.norm.running_var.copy_(1 + torch.arange(float(channels)))

    def forward(self, z):
        return self.last(self.norm(z))


def flattened(z):
    return z.flatten(1)[..., :L] @ WEIGHT.T


def centred(z):
    return (z - z.mean(-2, keepdim=True)) @ WEIGHT.T


def one_after_another(z):
    return z.view(-1, 1, L).squeeze(1) @ WEIGHT.T


def normal(x):
    return dist.Normal(x[:, 0], 1.0)


REFUSED = [
    ("a point guide", (model, delta), "'z'; the guide's Delta has a point mass .* no density"),
    ("a wrapped point", (model, partial(delta, wrap=lambda d: d.mask(True))), "point mass"),
    ("Pyro's point guide", (model, AutoDelta(model)), "point mass"),
    ("a relaxed guide", (prior_is(ONE_HOT, 1), at_site(relaxed)), "rounds its samples to codes"),
    ("a discrete guide", (prior_is(dist.Normal(0.0, 1.0)), at_site(lambda x: dist.Poisson(1 + 0 * x[:, 0]))),
     "Poisson has a probability mass and the model's Normal a density"),
    ("another event shape", (prior_is(PAIR, 1), at_site(lambda x: dist.Normal(x[:, :1], 1.0).to_event(1))),
     r"event shapes at the site 'z'; the guide has \(1,\) and the model \(2,\)"),
    ("another size", (prior_is(PAIR, 1), at_site(lambda x: dist.Normal(x[:, :3], 1.0).to_event(1))),
     r"on the data given, of shape \(9, 4\); got RuntimeError: The size of tensor a \(3\)"),
    ("another event", (model, at_site(normal)), "event shapes at the site 'z'|cannot be multiplied"),
    ("no event", (model, no_event), r"`.to_event\(...\)`"),
    ("a guide with another site", (model, at_site(normal, "w")), r"latent sites \['z'\]; it samples \['w'\]"),
    ("a guide without sites", (model, lambda x: None), r"it samples \[\]"),
    ("a model without sites", (lambda x: None, lambda x: None), "with sample sites; it has none"),
    ("a latent outside the plate", (outside_the_plate, guide), "'z' is outside"),
    ("a sequential plate", (sequential, sequential), "'z0' is outside"),
    ("a subsample", plated(subsample_size=3), "of size 9, the number of rows; got 3"),
    ("a subsample inside", (part_of_the_columns, guide), "'columns' at the site 'x' uses 2 of 4"),
    ("observed rows that broadcast", (observes(lambda x: x[:1]), guide), r"got values of shape \(1, 4\)"),
    ("observed columns that broadcast", (observes(lambda x: x[:, :1]), guide), r"got values of shape \(9, 1\)"),
    ("targets that broadcast", (targets, guide), r"got values of shape \(9, 1\)"),
    ("a wrong width", (observes(lambda x: x[:, :3]), guide), "on the data given, of shape .*size of tensor"),
    ("a bounded prior", (prior_is(dist.Exponential(1.0)), at_site(normal)), "Normal has the support .* minus infinity"),
]  # fmt: skip
PARTICLES = [
    ("flattened particles", around(flattened), "several samples of z|depend on that row"),
    ("rows that are joined", around(one_after_another), "several samples of z"),
    ("channels for rows", around(Channels(L).eval()), "several samples of z|depend on that row"),
    ("centred rows", around(centred), r"log p\(x \| z\) of a row to depend on that row and its z alone"),
    (
        "batch statistics",
        around(nn.Sequential(nn.BatchNorm1d(L), NETWORK)),
        "several samples|depend on that row",
    ),
    ("dropout", around(nn.Sequential(nn.Dropout(0.5), NETWORK)), "A network in the program is random"),
]


@pytest.mark.parametrize(("programs", "message"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_programs_without_an_elbo_are_refused_in_one_sentence(programs, message):
    nesting = 2 if programs[0] is part_of_the_columns else 1
    with pytest.raises(InputError, match=message) as raised:
        estimate_elbo(*programs, [(X,)], max_plate_nesting=nesting)
    assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match=message):
        ELBO(max_plate_nesting=nesting)(*programs)(X)


@pytest.mark.parametrize(("program", "message"), [p[1:] for p in PARTICLES], ids=[p[0] for p in PARTICLES])
def test_networks_that_mix_rows_and_particles_are_refused(program, message):
    with pytest.raises(InputError, match=message):
        log_likelihood(program, guide, X, 20)
    with pytest.raises(InputError, match=message):
        estimate_elbo(program, guide, [(X,)], num_particles=N)


def test_batch_statistics_are_refused_with_one_particle_too():
    with pytest.raises(InputError, match="depend on that row and its z alone"):
        estimate_elbo(around(nn.Sequential(nn.BatchNorm1d(L), NETWORK)), guide, [(X,)])


def test_channels_are_detected_if_there_are_as_many_as_rows():
    with pytest.raises(InputError, match="depend on that row"):
        estimate_elbo(
            around(nn.Sequential(nn.Linear(L, N), Channels(N, N)).eval()), guide, [(X,)], num_particles=4
        )


def test_plates_nested_deeper_than_declared():
    with pytest.raises(InputError, match="max_plate_nesting of 2"):
        estimate_elbo(in_columns, guide, [(X,)], num_particles=3)


# Supports.


def test_samples_outside_of_the_prior_weigh_nothing():
    programs = prior_is(dist.Exponential(1.0)), at_site(lambda x: dist.Normal(0.0 * x[:, 0] + 0.3, 1.0))
    weights = log_weights(*programs, X, 400)
    share = (weights == -math.inf).double().mean()
    assert abs(share - dist.Normal(0.3, 1.0).cdf(torch.tensor(0.0))) < 0.04
    found = log_likelihood(*programs, X, 4000)
    z = torch.linspace(1e-4, 12, 20_000)
    density = dist.Normal(z.unsqueeze(-1), 1.0).log_prob(X.unsqueeze(1)).sum(-1) - z
    expected = torch.trapezoid(density.double().exp(), z.double(), dim=1).log()
    assert ((found.value - expected).abs() < 5 * found.se + 1e-3).all()
    assert (found.elbo == -math.inf).all()


@pytest.mark.parametrize(
    "narrow", [dist.Gamma(2.0, 1.0), dist.Uniform(-1.0, 1.0), dist.Beta(2.0, 2.0)], ids=["gamma", "uniform", "beta"]
)  # fmt: skip
def test_a_guide_that_cannot_reach_all_of_the_prior_has_an_elbo_and_no_importance_estimate(narrow):
    programs = prior_is(dist.Normal(0.0, 1.0)), at_site(lambda x: narrow.expand([len(x)]))
    assert (estimate_elbo(*programs, [(X,)], 50).value < EXACT + 10).all()
    for estimate in (log_likelihood, log_weights, iwae_curve, annealed_log_likelihood, inference_gaps):
        with pytest.raises(
            InputError,
            match=r"covers the support of 'z' under the model's Normal|have the support of the model's",
        ):
            estimate(*programs, X)


def test_bounds_that_differ_by_row_are_detected_from_the_samples():
    low = torch.zeros(1)
    uniform = prior_is(dist.Uniform(low, low + 1))
    inside = at_site(lambda x: dist.Uniform(torch.zeros(len(x)), torch.ones(len(x))))
    assert log_likelihood(uniform, inside, X, 500).value.isfinite().all()
    with pytest.raises(InputError, match="covers the support of 'z' under the model's Uniform"):
        log_likelihood(
            uniform, at_site(lambda x: dist.Uniform(torch.full((len(x),), 0.9), torch.ones(len(x)))), X, 500
        )
    wide = at_site(
        lambda x: dist.Uniform(torch.zeros(len(x)), pyro.param("high", torch.full((), 9.0)).expand(len(x)))
    )
    with pytest.raises(NonFiniteLossError, match="site 'z'"):
        fit(uniform, wide, X, epochs=2, progress=False, device="cpu")


def test_a_defensive_proposal_reaches_all_of_the_prior():
    class Positive(nn.Module):
        def posterior(self, x):
            return dist.Gamma(2.0 + 0 * x[:, :L], 1.0).to_event(1)

        def forward(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("z", self.posterior(x))

    proposal = DefensiveGuide(Positive(), StandardNormal(L), 0.5)
    found = log_likelihood(model, proposal, X, 20_000)
    assert ((found.value - EXACT).abs() < 5 * found.se).all()


# Other sites than "z" and "x".


class Named(DiagonalNormalGuide):
    """A guide module with another site name."""

    def forward(self, x, *_):
        with pyro.plate("data", len(x)):
            pyro.sample("code", self.posterior(x))


def named_guide():
    torch.manual_seed(0)
    return Named(nn.Linear(D, 2 * L))


@pytest.mark.parametrize(
    "widen", [lambda g: WidenedGuide(g, 2.0), lambda g: DefensiveGuide(g, StandardNormal(L), 0.5)]
)
def test_proposals_take_the_guides_own_site(widen):
    renamed, _ = plated(name="code", observed="pixels")
    found = log_likelihood(renamed, widen(named_guide()), X, 20_000)
    assert ((found.value - EXACT).abs() < 5 * found.se + 0.01).all()


@pytest.mark.slow
def test_wake_sleep_dreams_at_the_models_own_site():
    renamed, _ = plated(name="code", observed="pixels")
    guide = named_guide()
    before = log_likelihood(renamed, guide, X, 500, seed=1).elbo.mean()
    adam = partial(torch.optim.Adam, lr=0.05)
    objective = ReweightedWakeSleep(5, insomnia=0.5)
    fit(renamed, guide, X, objective=objective, epochs=60, optimizer=adam, progress=False, device="cpu")
    assert log_likelihood(renamed, guide, X, 500, seed=1).elbo.mean() > before + 0.1
    with pytest.raises(InputError, match="one observed site of the shape of x"):
        ReweightedWakeSleep(2, insomnia=0.5)(in_two_sites, guide_of_two)(X)


def guide_of_two(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(pyro.param("loc", torch.zeros(L)), 1.0).to_event(1))


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_other_evaluations_are_without_scales_and_take_any_name(scale):
    programs = plated(name="code", observed="pixels", scale=scale, size=5 * N)
    quick = Annealing(4, num_chains=4, num_warmup=4, hmc=HMC(num_leapfrog=1))
    annealed = annealed_log_likelihood(*programs, X, quick, num_simulated=0)
    torch.testing.assert_close(annealed.value, EXACT.double(), rtol=0, atol=1e-3)
    gaps = inference_gaps(*programs, X, fit=RowFit(2), num_samples=4)
    torch.testing.assert_close(gaps.amortized.value, EXACT.double(), rtol=0, atol=1e-4)
    summary = latent_summary(*programs, X)
    q = dist.MultivariateNormal(X @ WEIGHT @ COVARIANCE, COVARIANCE)
    kl = torch.distributions.kl_divergence(q, dist.MultivariateNormal(torch.zeros(L), torch.eye(L)))
    assert abs(summary.kl - kl.mean()) < 0.3
    curve = iwae_curve(*programs, X, (1, 2))
    torch.testing.assert_close(curve.value[1], EXACT.double(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "posterior", [ResampledPosterior(20, 1, 40), NUTSPosterior(20, 1, 5)], ids=["guide", "nuts"]
)
def test_what_arviz_gets_is_without_scales(posterior):
    programs = plated(scale=0.01, where="x", size=3 * N)
    found = to_arviz(*programs, X, posterior=posterior)
    z = torch.as_tensor(found["posterior"]["z"].values)
    expected = dist.Normal(z @ WEIGHT.T, 1.0).log_prob(X).sum(-1)
    given = torch.as_tensor(found["log_likelihood"]["x"].values)
    torch.testing.assert_close(given, expected, rtol=0, atol=1e-3)
    assert z.mean((0, 1)).sub(X @ WEIGHT @ COVARIANCE).abs().mean() < 0.4  # the posterior's, not the prior's


def test_the_loss_keeps_the_users_scale_and_the_terms_do_not():
    torch.manual_seed(3)
    plain = ELBO(num_particles=4)(*plated()).terms(X)
    for scaled in (plated(scale=10.0), plated(scale=10.0, size=7 * N)):
        torch.manual_seed(3)
        terms = ELBO(num_particles=4)(*scaled).terms(X)
        torch.testing.assert_close(terms.kl, plain.kl)
        torch.testing.assert_close(terms.reconstruction, plain.reconstruction)
        torch.testing.assert_close(terms.loss, -(plain.reconstruction - 10 * plain.kl).mean())


# Networks of layers that know rows and channels.


class Convolution(nn.Module):
    def __init__(self, size, out):
        super().__init__()
        self.size, self.first = size, nn.Linear(size, 8)
        self.layers = nn.Sequential(nn.Conv1d(1, 3, 3, padding=1), nn.BatchNorm1d(3), nn.ReLU(), nn.Flatten())
        self.last = nn.Linear(24, out)

    def forward(self, inputs):
        return self.last(self.layers(self.first(inputs).view(-1, 1, 8)))


def network(kind, size, out):
    if kind == "convolution":
        return Convolution(size, out)
    return nn.Sequential(nn.Linear(size, N), nn.BatchNorm1d(N), nn.ReLU(), nn.Dropout(0.3), nn.Linear(N, out))


@pytest.mark.parametrize("kind", ["convolution", "batch norm"])
def test_decoders_and_encoders_process_rows_independently(kind):
    torch.manual_seed(0)
    likelihood = GaussianWithFixedScale(X.mean(0), X.std(0), 0.7)
    vae = GenerativeModel(StandardNormal(L), network(kind, L, D), likelihood)
    guide = DiagonalNormalGuide(network(kind, D, 2 * L))
    for objective in (ELBO(), DReG(N), STL(3), IWAE(3)):
        fit(vae, guide, X, objective=objective, epochs=3, batch_size=N, progress=False, device="cpu")
    vae.eval(), guide.eval()
    expected = estimate_elbo(vae, guide, [(X,)] * 200, num_particles=1).value.reshape(200, N)
    vae.train(), guide.train()
    found = estimate_elbo(vae, guide, [(X,)], num_particles=N * 20)
    se = expected.std(0) / 200**0.5
    assert ((found.value - expected.mean(0)).abs() < 7 * se).all()
    assert log_likelihood(vae, guide, X, 50).value.isfinite().all()
    assert vae.training
    assert guide.training
    assert guide.posterior(X.expand(3, N, D)).batch_shape == (3, N)


# Rows that cannot be scored.


def spoiled(dtype=torch.float32):
    x = X.to(dtype).clone()
    x[2, 1], x[4], x[7, 0] = math.nan, 1e30, math.inf
    return x


LOST = torch.tensor([2, 4, 7])
KEPT = torch.tensor([row for row in range(N) if row not in LOST.tolist()])


def small_pair(kind):
    torch.manual_seed(0)
    vae = GenerativeModel(
        StandardNormal(L), nn.Linear(L, D), GaussianWithFixedScale(X.mean(0), X.std(0), 0.7)
    )
    if kind == "mixture":  # whose samples cannot be drawn where its weights are NaN
        return vae, MixtureGuide(nn.Linear(D, MixtureGuide.num_outputs(L)), L)
    return vae, DiagonalNormalGuide(nn.Linear(D, 2 * L))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["normal", "mixture"])
def test_rows_that_cannot_be_scored_leave_the_others_as_they_are(kind):
    pair = small_pair(kind)
    quick = Annealing(3, num_chains=2, num_warmup=2, hmc=HMC(num_leapfrog=1))

    def every(x):
        yield log_likelihood(*pair, x, 40)
        yield estimate_elbo(*pair, [(x,)], num_particles=3)
        yield iwae_curve(*pair, x, (1, 3))
        yield annealed_log_likelihood(*pair, x, quick, num_simulated=0)

    for whole, found in zip(every(X), every(spoiled()), strict=True):
        atol = (
            0.5 if isinstance(found, AnnealedLogLikelihood) else 0
        )  # all rows of a batch share their search
        torch.testing.assert_close(whole.value[..., KEPT], found.value[..., KEPT], rtol=0, atol=atol)
        assert not found.value[..., LOST].isfinite().any()
        assert "3 of 9 rows could not be scored" in found.warning
        assert "2, 4, 7" in found.warning
        assert "could not be scored" not in (whole.warning or "")
        assert torch.equal(found.scored.value, found.value[..., KEPT])
        assert torch.as_tensor(found.scored.mean).isfinite().all()
    with pytest.warns(UserWarning, match="3 of 9 rows could not be scored"):
        weights = log_weights(*pair, spoiled(), 10)
    assert torch.equal(weights[:, KEPT], log_weights(*pair, X, 10)[:, KEPT])


def test_summaries_leave_rows_out_that_cannot_be_scored():
    pair = small_pair("normal")
    found = latent_summary(*pair, spoiled())
    assert (found.num_rows, found.unscored_rows) == (6, (2, 4, 7))
    assert "3 of 9 rows could not be scored" in found.warning
    assert math.isfinite(found.kl)
    gaps = inference_gaps(*pair, spoiled(), fit=RowFit(2), num_samples=4)
    whole = inference_gaps(*pair, X, fit=RowFit(2), num_samples=4)
    assert torch.equal(gaps.inference_gap.value[KEPT], whole.inference_gap.value[KEPT])
    assert gaps.inference_gap.value[LOST].isnan().all()
    assert "3 of 9" in gaps.warning
    assert math.isfinite(gaps.scored.summary()["inference_gap"]["mean"])
    with pytest.warns(UserWarning, match=r"left out \(3 of 9: \[2, 4, 7\]\)"):
        exported = to_arviz(*pair, spoiled(), posterior=ResampledPosterior(5, 1, 10))
    assert exported["posterior"]["data"].values.tolist() == KEPT.tolist()


def bounded(law):
    """Return a model whose rows have the law `law(z)`, with a prior as guide: every draw gives the same density."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
            pyro.sample("x", law(0 * z), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))

    return model, guide


@pytest.mark.parametrize(
    ("law", "inside", "outside"),
    [
        (lambda z: dist.Exponential(z.exp()), 2.0, -1.0),
        (lambda z: dist.Gamma(2 + z, 1.0), 2.0, -1.0),
        (lambda z: dist.Beta(2 + z, 2.0), 0.25, 1.5),
        (lambda z: dist.Bernoulli(logits=z), 1.0, 0.3),
        (lambda z: dist.Poisson(z.exp()), 3.0, 2.5),
        (lambda z: dist.Poisson(z.exp()), 3.0, -1.0),
        (lambda z: dist.LogNormal(z, 1.0), 2.0, -2.0),
        (lambda z: dist.Uniform(z, 1 + z), 0.5, 1.5),
    ],
)
def test_rows_outside_the_support_have_probability_zero(law, inside, outside):
    programs, x = bounded(law), torch.tensor([inside, outside, inside])
    exact = float(law(torch.zeros(())).log_prob(torch.tensor(inside)))
    expected = torch.tensor([exact, -math.inf, exact], dtype=torch.float64)
    for found in (estimate_elbo(*programs, x), log_likelihood(*programs, x, 30)):
        torch.testing.assert_close(found.value, expected, atol=1e-5, rtol=1e-5)
        assert "1 of 3 rows" in found.warning
        assert found.scored.mean == pytest.approx(exact, abs=1e-5)


def test_training_on_values_outside_the_support_warns():
    """Grey values under a Bernoulli likelihood are trained as in other libraries, with a warning that they are not
    probabilities."""
    likelihood = BernoulliLikelihood(torch.full((6,), 0.5), torch.full((6,), 0.5))
    model = GenerativeModel(StandardNormal(2), nn.Linear(2, 6), likelihood)
    guide = DiagonalNormalGuide(nn.Linear(6, 4))
    with pytest.warns(UserWarning, match="outside the support .* Binarize grey values"):
        fit(model, guide, torch.rand(20, 6), epochs=1, progress=False, seed=0)
