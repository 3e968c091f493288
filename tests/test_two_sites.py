"""Every estimator on a linear Gaussian chain of two latent sites, with and without context, against closed forms."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from chains import D1, D2, DX, DY, PARTS, Chain, ChainGuide, gaussian_kl
from helpers import assert_within_sigma
from torch import nn

from pyro_vae import plots
from pyro_vae._checks import InputError
from pyro_vae.evaluate import (
    Annealing,
    DefensiveGuide,
    JointDefensiveGuide,
    MCMCPosterior,
    NUTSPosterior,
    ResampledPosterior,
    WidenedGuide,
    annealed_log_likelihood,
    bidirectional_bounds,
    iwae_curve,
    latent_summary,
    log_likelihood,
    log_weights,
    to_arviz,
)
from pyro_vae.evaluate.gaps import RowFit, inference_gaps
from pyro_vae.evaluate.hmc import HMC
from pyro_vae.objectives import estimate_elbo
from pyro_vae.objectives.rows import draw

PLAIN, LABELLED = Chain(), Chain(labelled=True)
UP, DOWN = ("z1", "z2"), ("z2", "z1")
both_chains = pytest.mark.parametrize("chain", [PLAIN, LABELLED], ids=["x", "x and y"])
both_orders = pytest.mark.parametrize("order", [UP, DOWN], ids=["z1 then z2", "z2 then z1"])
QUICK = Annealing(6, num_chains=4, num_warmup=4, hmc=HMC(num_leapfrog=2))


# With the exact posterior as guide every bound is log p(x).


@pytest.mark.slow
@both_chains
@both_orders
def test_bounds_of_the_exact_posterior_are_the_exact_log_prob(chain, order):
    guide, data = ChainGuide(chain, order), chain.rows(6)
    exact = chain.log_prob(*data)
    found = log_likelihood(chain.model, guide, data, 20)
    curve = iwae_curve(chain.model, guide, data, (1, 5))
    weights = log_weights(chain.model, guide, data, 7)
    annealed = annealed_log_likelihood(chain.model, guide, data, QUICK, num_simulated=0)
    elbo = estimate_elbo(chain.model, guide, data)
    for value in (found.value, found.elbo, *curve.value, *weights, annealed.value, elbo.value):
        torch.testing.assert_close(value, exact, rtol=0, atol=1e-8)


@pytest.mark.slow
def test_annealing_from_the_prior_finds_log_prob_from_both_sides():
    chain = LABELLED
    annealing = Annealing(60, num_chains=16, num_warmup=12, start="prior", hmc=HMC(num_leapfrog=3))
    data, guide = chain.rows(4), ChainGuide(chain)
    found = annealed_log_likelihood(chain.model, guide, data, annealing, num_simulated=0)
    assert_within_sigma(found.value, chain.log_prob(*data), found.se + 0.03)
    simulated = bidirectional_bounds(chain.model, guide, data, annealing)
    exact = chain.log_prob(*simulated.data)
    assert all(map(torch.equal, simulated.data[1:], data[1:]))  # each row has its own context
    assert_within_sigma(simulated.lower, exact, simulated.lower_se + 0.03)
    assert_within_sigma(simulated.upper, exact, simulated.upper_se + 0.03)


# What the latents do.


def kl_parts(chain, guide, data):
    """Return by site the mean over rows of E_q[log q(z_s | ...) - log p(z_s | ...)]."""
    (mean, v), (prior_mean, _) = guide.law(*data), chain.prior(*data)
    one, two = (PARTS[name] for name in guide.order)
    entropy = {
        guide.order[0]: dist.MultivariateNormal(torch.zeros(len(v[one, one])).double(), v[one, one]).entropy()
    }
    rest = v[two, two] - v[two, one] @ torch.linalg.inv(v[one, one]) @ v[one, two]
    entropy[guide.order[1]] = dist.MultivariateNormal(torch.zeros(len(rest)).double(), rest).entropy()
    z1, z2 = PARTS["z1"], PARTS["z2"]
    above = (
        (mean[:, z2] - prior_mean[:, z2]).square().sum(-1) + v[z2, z2].trace() + D2 * math.log(2 * math.pi)
    )
    offset = mean[:, z1] - prior_mean[:, z1] - (mean[:, z2] - prior_mean[:, z2]) @ chain.A.T
    a = torch.cat([torch.eye(D1).double(), -chain.A], 1)
    spread = (a @ v @ a.T).diagonal()
    below = ((offset.square() + spread) / chain.s.square() + (2 * math.pi * chain.s.square()).log()).sum(-1)
    return {"z2": (above / 2 - entropy["z2"]).mean(), "z1": (below / 2 - entropy["z1"]).mean()}


def moments_of_means(chain, guide, data):
    """Return the covariance over all rows (and contexts, standard normal) of the guide's means."""
    _, of_x = chain.marginal(*data)
    means = chain.gain @ of_x @ chain.gain.T
    if chain.labelled:
        by_y = torch.cat([chain.A @ chain.E + chain.F, chain.E])
        means = means + by_y @ by_y.T
    return means


@pytest.mark.slow
@both_chains
@both_orders
def test_latent_summary_of_each_site_and_of_both(chain, order):
    guide, data = ChainGuide(chain, order, shift=0.3, spread=2.0), chain.rows(1000)
    found = latent_summary(chain.model, guide, data, num_samples=4)
    assert list(found.sites) == list(order)
    parts, (mean, v) = kl_parts(chain, guide, data), guide.law(*data)
    for name, site in found.sites.items():
        assert_within_sigma(site.kl, parts[name], 0.02)  # the rows are the same: the error of 4000 draws
        assert_within_sigma(site.mean_variance, mean[:, PARTS[name]].var(0), 0.005)
    total = gaussian_kl((mean, v), chain.prior(*data)).mean()
    torch.testing.assert_close(sum(parts.values()), total)
    assert_within_sigma(found.kl, total, 0.03)
    assert abs(found.kl - sum(site.kl for site in found.sites.values())) < 1e-9
    joined = torch.cat([found.sites[name].mean_variance for name in order])
    torch.testing.assert_close(found.mean_variance, joined, rtol=0, atol=0)
    assert found.active_units == D1 + D2
    means = moments_of_means(chain, guide, data)
    information = ((means + v).logdet() - v.logdet()) / 2
    printed = found.mutual_information
    assert printed.lower - 4 * printed.se < information < printed.upper + 4 * printed.se
    assert found.summary()["sites"]["z2"]["latent_dim"] == D2
    assert "z1 3 of 3" in repr(found)
    if chain.labelled:  # p(z) depends on y
        assert found.marginal_kl is None
        assert found.summary()["marginal_kl"] is None
    else:
        origin = torch.zeros(D1 + D2).double()
        aggregated = (origin + mean.mean(0), means + v)
        truth, printed = gaussian_kl(aggregated, (origin, chain.prior(*data)[1])), found.marginal_kl
        assert printed.lower - 4 * printed.se < truth < printed.upper + 4 * printed.se


@pytest.mark.slow
@both_chains
def test_divergence_of_each_dimension_given_the_sites_above(chain):
    guide, data = ChainGuide(chain, DOWN, shift=0.3, spread=2.0), chain.rows(500)
    found = latent_summary(chain.model, guide, data, num_samples=6)
    (mean, v), (prior_mean, _) = guide.law(*data), chain.prior(*data)
    one, two = PARTS["z1"], PARTS["z2"]
    diagonal, offset = v[two, two].diagonal(), (mean - prior_mean)[:, two]
    above = (offset.square() + diagonal - 1 - diagonal.log()) / 2
    torch.testing.assert_close(found.sites["z2"].kl_per_dimension, above.mean(0))
    # Given z2 ~ q(z2 | x) the locations of guide and model differ by a linear function of it.
    slope = v[one, two] @ torch.linalg.inv(v[two, two])
    ratio = (v[one, one] - slope @ v[two, one]).diagonal() / chain.s.square()
    offset = (mean - prior_mean)[:, one] - (mean - prior_mean)[:, two] @ chain.A.T
    spread = ((slope - chain.A) @ v[two, two] @ (slope - chain.A).T).diagonal()
    below = ((offset.square() + spread) / chain.s.square() + ratio - 1 - ratio.log()) / 2
    se = (spread / chain.s.square()) * (1 / 2 / 3000) ** 0.5 + (offset.square() * spread).mean(
        0
    ).sqrt() / 3000**0.5
    assert_within_sigma(found.sites["z1"].kl_per_dimension, below.mean(0), se)
    joined = torch.cat([site.kl_per_dimension for site in found.sites.values()])
    torch.testing.assert_close(found.kl_per_dimension, joined, rtol=0, atol=0)


@pytest.mark.slow
def test_a_site_drawn_before_what_the_model_draws_it_from_has_no_divergence_of_its_own():
    # The guide draws z1 and from it z2, the model z2 and from it z1.
    found = latent_summary(PLAIN.model, ChainGuide(PLAIN, UP), PLAIN.rows(20), num_samples=1)
    assert found.sites["z1"].kl_per_dimension is None
    assert found.sites["z2"].kl_per_dimension is not None
    assert found.kl_per_dimension is None

    def mean_field(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z1", dist.Normal(x[:, :D1], 0.5).to_event(1))
            pyro.sample("z2", dist.Normal(x[:, :D2], 0.5).to_event(1))

    (x,) = PLAIN.rows(300)
    found = latent_summary(PLAIN.model, mean_field, x, num_samples=20)
    variance = torch.tensor(0.25).double()
    below = x[:, :D1] - x[:, :D2] @ PLAIN.A.T
    spread = variance * PLAIN.A.square().sum(1)
    ratio = variance / PLAIN.s.square()
    expected = ((below.square() + spread) / PLAIN.s.square() + ratio - 1 - ratio.log()).mean(0) / 2
    se = (below.square() * spread).mean(0).sqrt() / PLAIN.s.square() / 6000**0.5
    assert_within_sigma(found.sites["z1"].kl_per_dimension, expected, 1.5 * se)


def test_a_collapsed_site_is_named():
    def ignores_above(x):
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", dist.Normal(x.new_zeros(D2), 1.0).to_event(1))
            pyro.sample("z1", dist.Normal(x[:, :D1] + z2[..., :1], 0.5).to_event(1))

    found = latent_summary(PLAIN.model, ignores_above, PLAIN.rows(200))
    assert found.sites["z2"].active_units == 0
    assert found.sites["z1"].active_units == D1
    assert "none of 2 dimensions of z2 is active" in found.warning
    assert "of z1" not in found.warning


@pytest.mark.slow
def test_discrete_sites():
    logits = torch.tensor([[0.5, 0.0, -1.0], [-1.0, 1.0, 0.0]], dtype=torch.float64)
    centres = torch.tensor([-2.0, 0.0, 2.0], dtype=torch.float64)

    def model(x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(logits=x.new_zeros(3)))
            z = pyro.sample("z", dist.Normal(centres[k], 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(logits=torch.where(x > 0, logits[0], logits[1])))
            pyro.sample("z", dist.Normal(0.5 * (x[:, 0] + centres[k]), 0.5**0.5))

    x = torch.tensor([[1.0], [-1.0]], dtype=torch.float64).repeat(200, 1)
    found = latent_summary(model, guide, x, num_samples=20)
    q = dist.Categorical(logits=logits)
    assert_within_sigma(found.sites["k"].kl, (math.log(3) - q.entropy()).mean(), 0.01)
    torch.testing.assert_close(
        found.sites["k"].kl_per_dimension, (math.log(3) - q.entropy()).mean().reshape(1)
    )
    torch.testing.assert_close(found.sites["k"].mean_variance, q.probs.repeat(200, 1).var(0).sum().reshape(1))
    # log q(z | k, x) against N(centre, 1): the exact posterior of z given k.
    offset = (x - centres).square() / 4
    truth = ((offset + 0.5 - 1 - math.log(0.5)) / 2 * q.probs.repeat(200, 1)).sum(-1).mean()
    assert_within_sigma(found.sites["z"].kl, truth, 0.02)
    assert_within_sigma(found.sites["z"].kl_per_dimension, truth, 0.01)


# Proposals made from a guide.


def proposals(chain, order=UP):
    narrow = ChainGuide(chain, order, shift=0.1, spread=0.3)
    return {
        "widened": WidenedGuide(narrow, 2.0),
        "mixed": JointDefensiveGuide(narrow, chain.model, 0.3),
        "both": JointDefensiveGuide(WidenedGuide(narrow, 1.8), chain.model, 0.1),
    }


@pytest.mark.slow
@both_chains
@both_orders
@pytest.mark.parametrize("name", ["widened", "mixed", "both"])
def test_proposals_are_unbiased(chain, order, name):
    proposal, data = proposals(chain, order)[name], chain.rows(20)
    found = log_likelihood(chain.model, proposal, data, 3000)
    assert_within_sigma(found.value, chain.log_prob(*data), found.se + 0.003)
    if name != "mixed":
        assert found.warning is None


def test_the_density_of_a_mixture_of_programs_is_that_of_both():
    guide, data = ChainGuide(LABELLED, UP, spread=0.5), LABELLED.rows(3)
    proposal = JointDefensiveGuide(guide, LABELLED.model, 0.25)
    drawn = draw(LABELLED.model, proposal, *data, num_particles=4000)
    z = torch.cat([drawn.samples["z1"], drawn.samples["z2"]], -1)
    (mean, v), (prior_mean, prior_v) = guide.law(*data), LABELLED.prior(*data)
    ours, theirs = dist.MultivariateNormal(mean, v), dist.MultivariateNormal(prior_mean, prior_v)
    expected = torch.logaddexp(ours.log_prob(z) + math.log(0.75), theirs.log_prob(z) + math.log(0.25))
    torch.testing.assert_close(drawn.reported.guide, expected, rtol=0, atol=1e-8)
    assert_within_sigma(z.mean(0), 0.75 * mean + 0.25 * prior_mean, z.std(0) / 4000**0.5)
    second = 0.75 * (mean.square() + v.diagonal()) + 0.25 * (prior_mean.square() + prior_v.diagonal())
    assert_within_sigma(z.square().mean(0), second, z.square().std(0) / 4000**0.5)


def test_a_widened_guide_is_wider_at_each_site_given_the_others():
    guide, data = ChainGuide(PLAIN, DOWN), PLAIN.rows(3)
    mean, v = guide.law(*data)
    drawn = draw(PLAIN.model, WidenedGuide(guide, 1.5), *data, num_particles=4000)
    one, two = PARTS["z2"], PARTS["z1"]
    slope = v[two, one] @ torch.linalg.inv(v[one, one])
    rest = v[two, two] - slope @ v[one, two]
    loc = mean[:, two] + (drawn.samples["z2"] - mean[:, one]) @ slope.T
    density = dist.MultivariateNormal(mean[:, one], 2.25 * v[one, one]).log_prob(drawn.samples["z2"])
    density = density + dist.MultivariateNormal(loc, 2.25 * rest).log_prob(drawn.samples["z1"])
    torch.testing.assert_close(drawn.reported.guide, density, rtol=0, atol=1e-8)
    away = (drawn.samples["z1"] - loc).square()
    assert_within_sigma(away.mean(0), 2.25 * rest.diagonal(), away.std(0) / 4000**0.5)


@pytest.mark.slow
def test_annealing_and_draws_start_from_a_mixture_of_programs():
    proposal, data = proposals(LABELLED)["both"], LABELLED.rows(4)
    annealing = Annealing(8, num_chains=16, num_warmup=4, hmc=HMC(num_leapfrog=2))
    found = annealed_log_likelihood(LABELLED.model, proposal, data, annealing, num_simulated=0)
    assert_within_sigma(found.value, LABELLED.log_prob(*data), found.se + 0.02)
    with pytest.raises(InputError, match="has one of all sites together"):
        latent_summary(LABELLED.model, proposal, data)


# Where the gap comes from.


class EncodedGuide(nn.Module):
    """`z1 | x ~ N(loc(x), diag scale(x)^2)` by an encoder, `z2 | z1 ~` the exact posterior given z1."""

    def __init__(self, chain):
        super().__init__()
        self.chain, (_, v) = chain, chain.posterior(*chain.rows(1))
        self.slope = v[D1:, :D1] @ torch.linalg.inv(v[:D1, :D1])
        self.rest = v[D1:, D1:] - self.slope @ v[:D1, D1:]
        self.encoder = nn.Linear(DX + DY * chain.labelled, 2 * D1).double()
        nn.init.normal_(self.encoder.weight, std=0.05)

    def outputs(self, x, *context):
        return self.encoder(torch.cat([x, *context], -1)).chunk(2, -1)

    def forward(self, x, *context):
        loc, raw = self.outputs(x, *context)
        prior_mean = self.chain.prior(x, *context)[0]
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", dist.Normal(loc, raw.exp()).to_event(1))
            above = prior_mean[:, D1:] + (z1 - prior_mean[:, :D1]) @ self.slope.T
            pyro.sample("z2", dist.MultivariateNormal(above, self.rest))


def loss_of_factors(v):
    """Return what the best diagonal Gaussian lacks of a Gaussian of covariance v."""
    precision = torch.linalg.inv(v)
    return (precision.diagonal().log().sum() - precision.logdet()) / 2


@pytest.mark.slow
def test_gaps_of_a_guide_with_an_encoder_are_taken_apart():
    chain = LABELLED
    torch.manual_seed(3)
    guide, data = EncodedGuide(chain), chain.rows(5)
    exact, (mean, v) = chain.log_prob(*data), chain.posterior(*data)
    gaps = inference_gaps(
        chain.model, guide, data, fit=RowFit(num_steps=250, learning_rate=0.15), num_samples=2000
    )
    assert_within_sigma(gaps.log_prob.value, exact, gaps.log_prob.se + 1e-4)
    assert_within_sigma(gaps.full_covariance.value, exact, 1e-3, sigmas=1)
    assert_within_sigma(gaps.diagonal.value, exact - loss_of_factors(v), gaps.diagonal.se + 0.004)
    # z2 is exact given z1, so that the family lacks what a diagonal Gaussian lacks of p(z1 | x).
    below = v[:D1, :D1]
    assert_within_sigma(
        gaps.approximation_gap.value, loss_of_factors(below), gaps.approximation_gap.se + 0.004
    )
    loc, raw = (part.detach() for part in guide.outputs(*data))
    whole = gaussian_kl((loc, torch.diag_embed((2 * raw).exp())), (mean[:, :D1], below))
    assert_within_sigma(gaps.inference_gap.value, whole, gaps.inference_gap.se)
    both = gaps.approximation_gap.value + gaps.amortization_gap.value
    torch.testing.assert_close(both, gaps.inference_gap.value)


@pytest.mark.slow
@both_orders
def test_the_gap_of_a_wrong_guide_is_its_divergence_from_the_posterior(order):
    guide, data = ChainGuide(LABELLED, order, shift=0.4, spread=1.5), LABELLED.rows(5)
    truth = gaussian_kl(guide.law(*data), LABELLED.posterior(*data))
    gaps = inference_gaps(LABELLED.model, guide, data, fit=RowFit(num_steps=40), num_samples=3000)
    assert_within_sigma(gaps.inference_gap.value, truth, gaps.inference_gap.se + 1e-4)
    assert gaps.own_family is None
    assert "has no `encoder`" in gaps.table()


@pytest.mark.slow
@both_orders
def test_the_exact_guide_has_no_gap(order):
    guide, data = ChainGuide(LABELLED, order), LABELLED.rows(5)
    gaps = inference_gaps(LABELLED.model, guide, data, fit=RowFit(num_steps=50), num_samples=100)
    torch.testing.assert_close(gaps.amortized.value, LABELLED.log_prob(*data), rtol=0, atol=1e-8)
    assert gaps.inference_gap.value.abs().max() < 1e-8
    assert gaps.inference_gap.se.max() < 1e-8


def test_an_encoder_that_does_not_name_the_family_is_not_taken_for_one():
    class Twice(EncodedGuide):
        def forward(self, x, *context):
            self.encoder(torch.cat([x, *context], -1))
            super().forward(x, *context)

    class Unused(EncodedGuide):
        def outputs(self, x, *context):
            return x[:, :D1], 0.3 * x[:, :D1]

    for kind in (Twice, Unused):
        gaps = inference_gaps(PLAIN.model, kind(PLAIN), PLAIN.rows(2), fit=RowFit(num_steps=2), num_samples=4)
        assert gaps.own_family is None


# Figures.


def test_figures_of_two_sites():
    x, y = LABELLED.rows(50)
    mean, _ = LABELLED.posterior(x, y)
    z1, z2 = mean[:, :D1], mean[:, D1:]
    dims = plots.widest_dimensions(z1, 2)
    assert dims == tuple(z1.var(0).argsort(descending=True)[:2].tolist())
    ax = plots.latent_space(z1, y[:, 0] > 0, dims=dims, site="z1")
    assert (ax.get_xlabel(), ax.get_title()) == (f"z1[{dims[0]}]", "Latent space of z1")
    assert plots.latent_space(z2[:, :1], site="z2").get_xlabel() == "z2[0]"
    assert plots.latent_space_3d(z1, site="z1").get_zlabel() == "z1[2]"
    assert plots.latent_space(z2).get_title() == "Latent space"
    ax = plots.guide_gaps({"apart": ((0.3, 0.1), (1.0, 0.2), [1.3]), "whole": (None, (0.9, 0.1), [0.9])})
    assert [(bar.get_x(), bar.get_width()) for bar in ax.patches] == [(0, -0.3), (-0.3, -1.0), (0, -0.9)]
    assert [text.get_text() for text in ax.get_legend().get_texts()][-1] == "not decomposed"


# Draws of the posterior.


@pytest.mark.parametrize(
    "sampler",
    [
        ResampledPosterior(num_samples=400, num_chains=2, num_proposals=4000),
        pytest.param(
            MCMCPosterior(num_samples=150, num_chains=4, num_warmup=60, hmc=HMC(num_leapfrog=6)),
            marks=pytest.mark.slow,
        ),
        pytest.param(NUTSPosterior(num_samples=80, num_chains=1, num_warmup=50), marks=pytest.mark.slow),
    ],
    ids=["resampled", "HMC", "NUTS"],
)
def test_arviz_of_two_sites(sampler):
    guide, data = ChainGuide(LABELLED, UP, spread=1.5), LABELLED.rows(6)
    found = to_arviz(LABELLED.model, guide, data, rows=[0, 2, 5], posterior=sampler)
    chains, draws = sampler.num_chains, sampler.num_samples
    assert dict(found.posterior["z1"].sizes) == {"chain": chains, "draw": draws, "data": 3, "z1_dim": D1}
    assert dict(found.posterior["z2"].sizes) == {"chain": chains, "draw": draws, "data": 3, "z2_dim": D2}
    assert found.posterior_predictive["x"].shape == (chains, draws, 3, DX)
    assert found.prior["z2"].shape == (1, draws, 3, D2)
    assert found.posterior["data"].values.tolist() == [0, 2, 5]
    rows = tuple(part[[0, 2, 5]] for part in data)
    mean, v = LABELLED.posterior(*rows)
    z = torch.cat([torch.from_numpy(found.posterior[name].values) for name in ("z1", "z2")], -1)
    se = v.diagonal().sqrt() / 50**0.5  # fifty independent draws at least
    assert_within_sigma(z.mean((0, 1)), mean, se)
    # The context of the chosen rows, not of the first ones, is behind the predictions.
    expected = LABELLED.marginal(*rows)[0]
    assert_within_sigma(
        torch.from_numpy(found.prior_predictive["x"].values).mean((0, 1)), expected, 3.5 / draws**0.5
    )
    exact = LABELLED.log_prob(*rows)
    marginal = to_arviz(
        LABELLED.model, guide, rows, posterior=ResampledPosterior(4, 1, 10), marginal_samples=500
    )
    se = torch.from_numpy(marginal.constant_data["log_likelihood_se"].values)
    assert_within_sigma(torch.from_numpy(marginal.log_likelihood["x"].values)[0, 0], exact, se)


# What has no answer is refused.


def bounded_by_another(x):
    with pyro.plate("data", len(x)):
        top = pyro.sample("top", dist.Gamma(x.new_tensor(3.0), 1.0))
        z = pyro.sample("z", dist.Uniform(0.0, top))
        pyro.sample("x", dist.Normal(z.unsqueeze(-1), 0.5).to_event(1), obs=x)


def prior_of_bounded(x):
    with pyro.plate("data", len(x)):
        top = pyro.sample("top", dist.Gamma(3.0 * x.new_ones(len(x)), 1.0))
        pyro.sample("z", dist.Uniform(0.0, top))


def switched(x):
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Bernoulli(x.new_tensor(0.5)))
        z = pyro.sample("z", dist.Normal(2 * k, 1.0))
        pyro.sample("x", dist.Normal(z.unsqueeze(-1), 0.5).to_event(1), obs=x)


def guide_of_switched(x):
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Bernoulli(0.5 * x.new_ones(len(x))))
        pyro.sample("z", dist.Normal(k + x[:, 0] / 2, 1.0))


def with_noise(x):
    with pyro.plate("data", len(x)):
        noise = pyro.sample(
            "noise", dist.Normal(x.new_zeros(D1), 1.0).to_event(1), infer={"is_auxiliary": True}
        )
        z1 = pyro.sample("z1", dist.Normal(noise, 1.0).to_event(1))
        pyro.sample("z2", dist.Normal(z1[..., :D2], 1.0).to_event(1))


BOUNDED, SWITCHED = (bounded_by_another, prior_of_bounded), (switched, guide_of_switched)
ONE = torch.tensor([[0.3], [0.6]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: annealed_log_likelihood(*BOUNDED, ONE, QUICK), "supports do not depend on other latents"),
        (lambda: to_arviz(*BOUNDED, ONE, posterior=NUTSPosterior(4, 1, 2)), "'z' does"),
        (lambda: to_arviz(*SWITCHED, ONE, posterior=NUTSPosterior(4, 1, 2)), "'k' is discrete"),
        (lambda: inference_gaps(*SWITCHED, ONE), "'k' is discrete"),
        (lambda: log_likelihood(switched, WidenedGuide(guide_of_switched, 2.0), ONE), "'k' is discrete"),
        (
            lambda: annealed_log_likelihood(PLAIN.model, with_noise, PLAIN.rows(3), QUICK, num_simulated=0),
            r"no others.*also samples \['noise'\]",
        ),
        (
            lambda: log_likelihood(
                PLAIN.model, DefensiveGuide(ChainGuide(PLAIN), lambda: None), PLAIN.rows(3)
            ),
            r"guide of one site.*\['z1', 'z2'\]. Take JointDefensiveGuide",
        ),
        (
            lambda: log_likelihood(PLAIN.model, JointDefensiveGuide(with_noise, PLAIN.model), PLAIN.rows(3)),
            "names of the model's",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_importance_sampling_takes_discrete_sites_and_bounds_that_depend_on_others():
    for model, guide in (SWITCHED, BOUNDED):
        plain = log_likelihood(model, guide, ONE, 20_000)
        mixed = log_likelihood(model, JointDefensiveGuide(guide, model, 0.4), ONE, 20_000, seed=1)
        assert_within_sigma(mixed.value, plain.value, (plain.se.square() + mixed.se.square()).sqrt())
    density = dist.Normal(torch.tensor([0.0, 2.0]).double(), 1.25**0.5).log_prob(ONE).exp().mean(-1)
    exact, plain = density.log(), log_likelihood(*SWITCHED, ONE, 20_000)
    assert_within_sigma(plain.value, exact, plain.se)
