"""Several latent layers: truth on linear Gaussian chains, one generic test over both guides, runs, what is refused."""

import copy
import itertools
from functools import partial

import pyro.distributions as dist
import pytest
import torch
from chains import D1, D2, DX, PARTS, Chain, ChainGuide, gaussian_kl
from helpers import assert_within_sigma
from programs import DATA_DIM, rows
from torch import nn

from pyro_vae import (
    ELBO,
    IWAE,
    STL,
    AnalyticELBO,
    DReG,
    FullCovarianceGuide,
    HierarchicalModel,
    HierarchicalPrior,
    NormalLayer,
    StandardNormal,
    estimate_elbo,
    fit,
    latent_summary,
    log_likelihood,
)
from pyro_vae._checks import InputError
from pyro_vae.compiled import CompiledGradients, Gradients, uncompiled
from pyro_vae.evaluate import Annealing, annealed_log_likelihood, site_summaries
from pyro_vae.evaluate.hmc import HMC
from pyro_vae.experiment.build import build
from pyro_vae.experiment.checkpoint import load_weights, save_weights
from pyro_vae.experiment.config import ModelConfig
from pyro_vae.experiment.layers_summary import Layers
from pyro_vae.guides import BottomUpGuide, LadderGuide
from pyro_vae.guides.ladder import product_of_normals
from pyro_vae.likelihoods import GaussianWithFixedScale
from pyro_vae.networks import UNIT, LeadingColumns


class Exact(Chain):
    """`Chain` with a scale of x, 0.5, that single precision holds exactly, as modules are made in it."""

    noise = 0.25


CHAIN = Exact()
SIZES = {"z1": D1, "z2": D2}


def linear(weight, bias):
    """Return a linear network of given weights, float64."""
    network = nn.Linear(weight.shape[1], weight.shape[0]).double()
    with torch.no_grad():
        network.weight.copy_(weight)
        network.bias.copy_(bias)
    return network


def raw(scale):
    """Return what `loc_and_scale` takes for a scale, without a floor."""
    return torch.as_tensor(scale).double().expm1().log() - UNIT


def library_chain(chain=CHAIN):
    """Return the library's model with the law of `Chain`: linear layers, constant scales."""
    layer = linear(
        torch.cat([chain.A, torch.zeros(D1, D2).double()]),
        torch.cat([torch.zeros(D1).double(), raw(chain.s)]),
    )
    prior = HierarchicalPrior(StandardNormal(D2).double(), [NormalLayer(layer, 0.0)], (D1, D2))
    mean, std = torch.zeros(DX).double(), torch.ones(DX).double()
    likelihood = GaussianWithFixedScale(mean, std, fixed_scale=chain.noise**0.5).double()
    decoder = LeadingColumns(linear(chain.B, chain.b), D1)
    return HierarchicalModel(prior, decoder, likelihood)


def full_covariance(gain, offset, covariance):
    """Return N(gain h + offset, covariance) as a `FullCovarianceGuide` of h."""
    factor = torch.linalg.cholesky(covariance)
    scale = factor.diagonal()
    size = len(scale)
    below = (factor / scale.unsqueeze(1))[tuple(torch.tril_indices(size, size, -1))]
    constant = torch.cat([offset, raw(scale), below])
    weight = torch.cat([gain, torch.zeros(len(constant) - size, gain.shape[1]).double()])
    return FullCovarianceGuide(linear(weight, constant), scale_floor=0.0)


def exact_bottom_up(chain=CHAIN):
    """Return the exact posterior of `Chain` from x upwards."""
    zero = torch.zeros(1, DX).double()
    (mean,), v = chain.posterior(zero)
    one, two = PARTS["z1"], PARTS["z2"]
    slope = v[two, one] @ torch.linalg.inv(v[one, one])
    first = full_covariance(chain.gain[one], mean[one], v[one, one])
    # z2 depends on x through z1 alone.
    second = full_covariance(slope, mean[two] - slope @ mean[one], v[two, two] - slope @ v[one, two])
    return BottomUpGuide([first, second], SIZES)


# Truth: a chain in which everything is Gaussian.


def test_the_library_model_is_the_chain():
    model, (x,) = library_chain(), CHAIN.rows(20)
    found = log_likelihood(model, ChainGuide(CHAIN, ("z2", "z1")), x, 3)
    torch.testing.assert_close(found.value, CHAIN.log_prob(x), rtol=0, atol=1e-9)
    z = model.sample_prior(4000)
    mean, v = CHAIN.prior(x[:1])
    assert_within_sigma(z.mean(0), mean[0], (v.diagonal() / 4000).sqrt())
    joint = dist.MultivariateNormal(mean[0], v)
    torch.testing.assert_close(model.prior().log_prob(z), joint.log_prob(z), rtol=0, atol=1e-9)
    loc, of_x = CHAIN.marginal(x[:1])
    assert_within_sigma(model.sample(4000).mean(0), loc[0], (of_x.diagonal() / 4000).sqrt())


@pytest.mark.parametrize("objective", [ELBO(3), STL(2), IWAE(4), DReG(4)], ids=lambda o: type(o).__name__)
def test_every_bound_of_the_exact_guide_is_the_closed_form(objective):
    model, guide, (x,) = library_chain(), exact_bottom_up(), CHAIN.rows(10)
    exact = CHAIN.log_prob(x)
    assert abs(float(objective(model, guide)(x).detach()) + float(exact.mean())) < 1e-9
    torch.testing.assert_close(estimate_elbo(model, guide, x).value, exact, rtol=0, atol=1e-9)
    posterior = dist.MultivariateNormal(*CHAIN.posterior(x))
    z = guide.encode(x).sample()
    torch.testing.assert_close(guide.encode(x).log_prob(z), posterior.log_prob(z), rtol=0, atol=1e-9)
    torch.testing.assert_close(guide.encode(x).mean, posterior.mean, rtol=0, atol=1e-9)


def test_the_exact_guide_gets_no_gradient_by_sticking_the_landing():
    model, guide, (x,) = library_chain(), exact_bottom_up(), CHAIN.rows(10)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    STL()(model, guide)(x).backward()
    assert all(parameter.grad.abs().max() < 1e-9 for parameter in guide.parameters())


def exact_ladder():
    """Return a model of orthogonal loadings and its exact posterior as a ladder: the merge is then Bayes' rule."""
    noise, a = 0.25, torch.tensor([[0.8], [-0.5]]).double()
    s, b = torch.tensor([0.5, 1.2]).double(), torch.tensor([[1.0, 0], [0, 2.0], [0.5, 0]]).double()
    zeros = torch.zeros(2, 1).double()
    layer = NormalLayer(linear(torch.cat([a, zeros]), torch.cat([zeros[:, 0], raw(s)])), 0.0)
    model = HierarchicalModel(
        HierarchicalPrior(StandardNormal(1).double(), [layer], (2, 1)),
        LeadingColumns(linear(b, torch.zeros(3).double()), 2),
        GaussianWithFixedScale(
            torch.zeros(3).double(), torch.ones(3).double(), fixed_scale=noise**0.5
        ).double(),
    )
    # Evidence of z1: b^+ x, of variance noise / |b_d|^2; of z2: p(z2 | x), by the covariance of x and z2.
    size = b.square().sum(0)
    of_x = b @ (a @ a.T + s.square().diag()) @ b.T + noise * torch.eye(3).double()
    gain = (b @ a).T @ torch.linalg.inv(of_x)
    variance = 1 - gain @ b @ a
    up, none = (b / size).T, torch.zeros(2, 3).double()
    encoder = linear(
        torch.cat([up, none, torch.eye(3).double()]),
        torch.cat([torch.zeros(2).double(), raw((noise / size).sqrt()), torch.zeros(3).double()]),
    )
    above = linear(
        torch.cat([gain, torch.zeros(1, 3).double()]),
        torch.cat([torch.zeros(1).double(), raw(variance.sqrt())[0]]),
    )
    guide = LadderGuide(encoder, [above], model.prior.layers, {"z1": 2, "z2": 1}, scale_floor=0.0)
    return model, guide, of_x


def test_a_ladder_whose_merge_is_bayes_rule_gives_the_closed_form():
    model, guide, of_x = exact_ladder()
    joint = dist.MultivariateNormal(torch.zeros(3).double(), of_x)
    x = joint.sample((10,))
    for objective in (ELBO(2), AnalyticELBO(500), IWAE(3), DReG(3)):
        # With the divergence in closed form the bound is exact in expectation.
        tolerance = 0.05 if isinstance(objective, AnalyticELBO) else 1e-9
        assert abs(float(objective(model, guide)(x).detach()) + float(joint.log_prob(x).mean())) < tolerance
    found = log_likelihood(model, guide, x, 5)
    torch.testing.assert_close(found.value, joint.log_prob(x), rtol=0, atol=1e-9)


def test_the_product_of_normals_is_the_normalised_product_of_their_densities():
    first, second = dist.Normal(torch.tensor(0.3), 0.7), dist.Normal(torch.tensor(-1.1), 1.9)
    merged = dist.Normal(*product_of_normals((first.loc, first.scale), (second.loc, second.scale)))
    z = torch.linspace(-2, 2, 5)
    ratio = first.log_prob(z) + second.log_prob(z) - merged.log_prob(z)
    torch.testing.assert_close(ratio, ratio[:1].expand(5))


@pytest.mark.slow
def test_estimates_with_another_guide_lie_within_their_errors():
    model, (x,) = library_chain(), CHAIN.rows(6)
    guide, exact = exact_bottom_up(), CHAIN.log_prob(x)
    with torch.no_grad():
        for part in guide.parts:
            part.encoder.bias[: D2 if part is guide.parts[1] else D1] += 0.2
    found = log_likelihood(model, guide, x, 2000)
    assert_within_sigma(found.value, exact, found.se + 1e-3)
    assert (found.elbo < exact).all()
    annealing = Annealing(20, num_chains=8, num_warmup=4, hmc=HMC(num_leapfrog=2))
    annealed = annealed_log_likelihood(model, guide, x, annealing, num_simulated=0)
    assert_within_sigma(annealed.value, exact, annealed.se + 0.05)


def test_the_analytic_elbo_samples_a_site_that_the_guide_draws_before_its_parents():
    # KL(q(z1 | x) || p(z1 | z2)) with z2 ~ q(z2 | z1) is not z1's part: the loss was 0.09 nats off here.
    (x,) = CHAIN.rows(6)
    exact = float(CHAIN.log_prob(x).mean())
    for order in (("z1", "z2"), ("z2", "z1")):
        objective = AnalyticELBO(2000)(CHAIN.model, ChainGuide(CHAIN, order))
        losses = torch.stack([objective(x) for _ in range(8)])
        assert_within_sigma(losses.mean(), -exact, losses.std() / 8**0.5)


def test_a_guide_of_several_sites_is_scored_under_the_dropout_that_it_is_drawn_under():
    # The guide ran twice for gradients along the path, each time with another mask: log q was that of another guide.
    (model, guide), x = make("ladder", dropout=0.5), rows(count=50)
    found = []
    for objective in (ELBO(2), STL(2)):
        torch.manual_seed(0)
        found.append(objective(model.train(), guide.train()).terms(x))
    torch.testing.assert_close(found[0].kl, found[1].kl)
    torch.testing.assert_close(found[0].loss, found[1].loss)


# One generic test over both guides, with and without skip paths.

VARIANTS = {
    "bottom-up": {},
    "bottom-up, skip": {"skip": True},
    "bottom-up, full-covariance, flow": {"guide": "full-covariance", "prior": "flow"},
    "ladder": {"inference": "ladder"},
    "ladder, skip, vampprior": {
        "inference": "ladder",
        "skip": True,
        "prior": "vampprior",
        "prior_components": 5,
    },
}
every_variant = pytest.mark.parametrize("name", VARIANTS)


def make(name, seed=0, **more):
    x = rows(count=100)
    settings = {"layers": (4, 3, 2), "hidden": (8,), "scale_floor": 0.01} | VARIANTS[name] | more
    return build(ModelConfig(**settings), x.mean(0), x.std(0), seed)


@every_variant
def test_shapes_gradients_saving_and_modes(name, tmp_path):
    (model, guide), x = make(name), rows(count=7)
    posterior = guide.posterior(x.expand(3, 7, DATA_DIM))
    assert (posterior.batch_shape, posterior.event_shape) == ((3, 7), (9,))
    assert posterior.rsample((5,)).shape == (5, 3, 7, 9)
    assert model.latent_dim == 9
    assert model.sample(4).shape == (4, DATA_DIM)
    assert model.reconstruct(x, guide).shape == x.shape
    assert not guide.encode(x).mean.requires_grad
    torch.testing.assert_close(guide.encode(x, batch_size=2).mean, guide.posterior(x).mean)
    for objective in (ELBO(), ELBO(3, free_bits=0.1), IWAE(3), STL(2), DReG(3)):
        for program in (model, guide):
            program.zero_grad()
        objective(model, guide)(x).backward()
        for program, (key, parameter) in itertools.product((model, guide), model.named_parameters()):
            assert parameter.grad is not None, (program, key)
    others = make(name, seed=1)
    save_weights(tmp_path / "w.safetensors", model, guide)
    load_weights(tmp_path / "w.safetensors", *others)
    estimates = [estimate_elbo(*pair, x).value for pair in ((model, guide), others)]
    assert torch.equal(*estimates)
    twin = copy.deepcopy(guide)
    assert all(torch.equal(a, b) for a, b in zip(twin.parameters(), guide.parameters(), strict=True))
    assert type(guide).__name__ in repr(guide)


@every_variant
def test_redrawn_layers_keep_those_above(name):
    model, _ = make(name)
    z = model.sample_prior(5)
    names = list(model.prior.sizes)
    for below in (1, 2, 3):
        new = model.prior().split(model.prior.redrawn(z, below))
        kept = [torch.equal(new[key], model.prior().split(z)[key]) for key in names]
        assert kept == [number >= below for number in (1, 2, 3)]
    with pytest.raises(InputError, match="from 1 to 3; got 4"):
        model.prior.redrawn(z, 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "objective"),
    [("bottom-up, skip", DReG(2)), ("ladder, skip, vampprior", STL(warmup=0.5))],
)
def test_the_recorded_graph_equals_the_handlers(name, objective):
    (model, guide), x = make(name, layers=(3, 2)), rows(count=16)
    loss = objective(model, guide)
    parameters = list({id(p): p for program in (model, guide) for p in program.parameters()}.values())
    recorded, plain = CompiledGradients(loss, parameters, (x,), uncompiled), Gradients(loss, parameters)
    found = []
    for way in (recorded, plain):
        torch.manual_seed(5)
        found.append(way(x, progress=torch.tensor(0.3)))
    assert recorded.note == ""
    for a, b in zip(found[0].gradients, found[1].gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bottom-up", "ladder"])
def test_training_gains(name):
    (model, guide), x = make(name), rows(count=200)
    before = estimate_elbo(model, guide, x).mean
    optimizer = partial(torch.optim.Adam, lr=0.02)
    fit(model, guide, x, epochs=15, batch_size=40, objective=ELBO(warmup=0.3), optimizer=optimizer)
    assert estimate_elbo(model, guide, x).mean > before + 1


def test_programs_of_other_numbers_of_layers_are_refused():
    part = exact_bottom_up().parts[0]
    with pytest.raises(InputError, match="a guide for each of the 3 layers; got 2"):
        BottomUpGuide([part, part], {"z1": 2, "z2": 2, "z3": 2})
    model, _, _ = exact_ladder()
    with pytest.raises(InputError, match=r"each of the 1 layers above z1.*got 0 and 1"):
        LadderGuide(nn.Linear(3, 4), [], model.prior.layers, {"z1": 2, "z2": 1})
    with pytest.raises(InputError, match="sizes of 1 layers and of the top one; got 1 sizes"):
        HierarchicalPrior(StandardNormal(1), model.prior.layers, (2,))


def test_site_summaries_are_those_of_the_whole_summary():
    model, (x,) = library_chain(), CHAIN.rows(12)
    for guide in (exact_bottom_up(), ChainGuide(CHAIN, ("z2", "z1"))):
        one, other = (
            found(model, guide, x, num_samples=2)
            for found in (site_summaries, lambda *a, **k: latent_summary(*a, **k).sites)
        )
        assert one.keys() == other.keys() == {"z1", "z2"}
        assert all(one[name].kl == other[name].kl for name in one)
        assert all(torch.equal(one[name].mean_variance, other[name].mean_variance) for name in one)
    total = sum(site.kl for site in one.values())
    exact = gaussian_kl(CHAIN.posterior(x), CHAIN.prior(x)).mean()
    assert_within_sigma(total, exact, 0.3)
    printed = Layers(12, one)
    assert printed.line().startswith("latent layers, 12 test rows: z1 KL ")
    assert printed.summary()["z2"]["latent_dim"] == D2


@pytest.mark.slow
def test_gradients_along_the_path_have_the_mean_of_all_also_for_layers_that_are_shared():
    (model, guide), x = make("ladder", layers=(3, 2), hidden=(4,), layer_hidden=(3,)), rows(count=10)
    parameters = list({id(p): p for program in (model, guide) for p in program.parameters()}.values())
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(0.3 * torch.randn_like(parameter))

    def gradients(objective):
        loss = objective(model, guide)
        draws = (torch.autograd.grad(loss(x), parameters) for _ in range(30))
        found = torch.stack([torch.cat([part.flatten() for part in parts]) for parts in draws])
        return found.mean(0), found.std(0) / 30**0.5

    mean, se = gradients(ELBO(200))
    for other in (STL(200), AnalyticELBO(200)):
        theirs, error = gradients(other)
        assert_within_sigma(theirs, mean, (se.square() + error.square()).sqrt() + 1e-6, sigmas=5)
