"""One generic test over all priors, and what is particular to each."""

import copy

import pyro
import pytest
import torch
from helpers import assert_within_sigma
from programs import DATA_DIM, rows, small_vae

from pyro_vae import MLP, GenerativeModel
from pyro_vae._checks import InputError
from pyro_vae.experiment.checkpoint import load_weights, save_weights
from pyro_vae.likelihoods import GaussianWithIsotropicScale
from pyro_vae.networks import UNIT
from pyro_vae.objectives import ELBO, estimate_elbo
from pyro_vae.priors import (
    PRIORS,
    DiagonalNormal,
    FlowPrior,
    MixtureOfNormals,
    StandardNormal,
    VampPrior,
)
from pyro_vae.priors.normal import SCALE_FLOOR
from pyro_vae.settings.latents import names_for_latent
from pyro_vae.training import fit

every_prior = pytest.mark.parametrize("name", names_for_latent("prior"))


def make(name, seed=0, latent_dim=2, stir=0.0):
    """Return a model with the prior of that name, and its guide."""
    plain, guide = small_vae(seed=seed, latent_dim=latent_dim)
    torch.manual_seed(seed)
    prior = PRIORS[name](latent_dim, guide, rows(count=5))
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter += stir * torch.randn_like(parameter)
    return GenerativeModel(prior, plain.decoder, plain.likelihood), guide


@every_prior
def test_shapes_and_a_particle_dimension(name):
    model, guide = make(name)
    p = model.prior()
    assert p.batch_shape == ()
    assert p.event_shape == (2,)
    assert torch.distributions.biject_to(p.support).domain.event_dim == 1  # which Pyro's NUTS asks for
    assert model.latent_dim == 2
    assert p.log_prob(p.sample((3, 4))).shape == (3, 4)
    assert model.sample(7).shape == (7, DATA_DIM)
    assert ELBO(num_particles=3)(model, guide).terms(rows()).kl.shape == (32,)


@every_prior
def test_every_parameter_gets_a_gradient(name):
    model, guide = make(name)
    ELBO(2)(model, guide)(rows()).backward()
    for parameter_name, parameter in (*model.named_parameters(), *guide.named_parameters()):
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@every_prior
def test_the_density_integrates_to_one_and_samples_follow_it(name):
    model, _ = make(name, stir=0.1)
    p = model.double().prior()
    z = p.sample((20000,))
    lo, hi = z.min(0).values - 0.5, z.max(0).values + 0.5
    axes = [torch.linspace(a, b, 300, dtype=z.dtype) for a, b in zip(lo.tolist(), hi.tolist(), strict=True)]
    grid = torch.cartesian_prod(*axes)
    mass = p.log_prob(grid).exp().detach() * ((hi - lo) / 299).prod()
    assert mass.sum().item() == pytest.approx(1, abs=2e-3)
    for f in (torch.sin, torch.square, torch.cos):
        assert_within_sigma(f(z).mean(0), (mass * f(grid).T).sum(1), f(z).std(0) / 20000**0.5)


@pytest.mark.slow
@every_prior
def test_a_prior_learns_where_the_latents_are(name):
    """Maximum likelihood of points that are far from the standard normal."""
    model, _ = make(name)
    z = torch.tensor([2.0, -1.0]) + 0.4 * torch.randn(500, 2)
    parameters = list(model.prior.parameters())
    if not parameters:
        return
    before = model.prior().log_prob(z).mean().item()
    optimizer = torch.optim.Adam(parameters, lr=0.03)
    for _ in range(150):
        optimizer.zero_grad()
        (-model.prior().log_prob(z).mean()).backward()
        optimizer.step()
    assert model.prior().log_prob(z).mean() > before + 1


@every_prior
def test_saved_and_loaded_weights_give_the_same_loss_to_the_bit(name, tmp_path):
    pair, others = make(name, stir=0.1), make(name, seed=1)
    save_weights(tmp_path / "w.safetensors", *pair)
    load_weights(tmp_path / "w.safetensors", *others)

    def loss(pair):
        torch.manual_seed(2)
        return ELBO()(*pair)(rows())

    assert torch.equal(loss(pair), loss(others))


@every_prior
def test_copies_are_independent(name):
    model, guide = make(name)
    before = [p.clone() for p in model.parameters()]
    twin, twin_guide = copy.deepcopy((model, guide))
    fit(twin, twin_guide, rows(), epochs=1, seed=0, progress=False, device="cpu")
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("name", ["diagonal-normal", "mixture", "flow"])
def test_learned_priors_start_near_the_standard_normal(name):
    prior = make(name)[0].prior if name != "mixture" else MixtureOfNormals(2, 300)
    z = torch.randn(2000, 2)
    kl = (StandardNormal(2)().log_prob(z) - prior().log_prob(z)).mean().item()
    assert abs(kl) < 0.03


def test_the_vampprior_is_the_average_of_the_guides_posteriors():
    model, guide = make("vampprior")
    u = rows(count=5)
    torch.testing.assert_close(model.prior.pseudo_inputs, u)
    z = torch.randn(7, 2)
    each = guide.posterior(u).log_prob(z.unsqueeze(1))
    expected = each.logsumexp(1) - torch.log(torch.tensor(5.0))
    torch.testing.assert_close(model.prior().log_prob(z), expected)


@pytest.mark.parametrize("scale", [1.0, 0.003])
def test_densities_by_matrix_products_are_those_of_the_mixture(scale):
    """Also for z within narrow normals far from 0, where squares cancel, and under a plate."""
    prior = MixtureOfNormals(3, 20)
    with torch.no_grad():
        prior.loc.add_(5)
        prior.logits.normal_()
        prior.raw_scale.copy_(torch.tensor(scale - SCALE_FLOOR).expm1().log() - UNIT)
    z = prior.loc.detach() + scale * torch.randn(4, 20, 3)
    p = prior()
    exact = copy.deepcopy(prior).double()()
    expected = torch.distributions.MixtureSameFamily(exact.mixture_distribution, exact.component_distribution)
    for one in (p, p.expand((20,))):
        torch.testing.assert_close(
            one.log_prob(z).double(), expected.log_prob(z.double()), rtol=1e-6, atol=1e-5
        )
    assert p.expand((20,)).batch_shape == (20,)
    assert p.expand((20,)).sample((4,)).shape == (4, 20, 3)

    def slopes(log_prob):
        return torch.autograd.grad(log_prob.sum(), tuple(prior.parameters()))

    own, q = slopes(p.log_prob(z)), prior()
    plain = torch.distributions.MixtureSameFamily(q.mixture_distribution, q.component_distribution)
    for a, b in zip(own, slopes(plain.log_prob(z)), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-3, atol=1e-3 * float(b.abs().max()))


def test_the_vampprior_shares_the_guide_which_is_trained_and_saved_once(tmp_path):
    model, guide = make("vampprior")
    path = tmp_path / "w.safetensors"
    save_weights(path, model, guide)
    import safetensors.torch

    names = list(safetensors.torch.load_file(path))
    encoder = [n for n in names if "encoder" in n]
    assert len(encoder) == len(guide.encoder.state_dict())
    others = make("vampprior", seed=1)
    load_weights(path, *others)
    assert others[0].prior.guide is others[1]
    fit(model, guide, rows(), epochs=3, seed=0, progress=False, device="cpu")
    for a, b in zip(model.prior.guide.parameters(), guide.parameters(), strict=True):
        assert a is b
    x = rows()
    assert not torch.equal(guide.posterior(x).mean, others[1].posterior(x).mean)


@pytest.mark.slow
def test_the_average_posterior_is_the_best_of_priors():
    """With pseudo-inputs at all rows the divergence from the prior is least on average (Tomczak & Welling, eq. 8)."""
    plain, guide = small_vae()
    x = rows()
    fit(plain, guide, x, epochs=100, seed=0, progress=False, device="cpu")
    vamp = GenerativeModel(VampPrior(guide, x), plain.decoder, plain.likelihood)
    kl = {m: estimate_elbo(m, guide, [(x,)], 100).kl for m in (plain, vamp)}
    assert kl[vamp].mean() < kl[plain].mean()


def test_a_flow_scores_its_samples():
    prior = FlowPrior(3).double()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    p = prior()
    z = p.sample((50,))
    torch.testing.assert_close(p.log_prob(z), prior().log_prob(z.clone()), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DiagonalNormal(0), "latent_dim to be a whole number of at least 1; got 0"),
        (lambda: MixtureOfNormals(2, 0), "num_components to be a whole number of at least 1; got 0"),
        (lambda: FlowPrior(1), "latent_dim of a flow to be a whole number of at least 2; got 1"),
        (lambda: VampPrior(small_vae()[1], torch.zeros(6)), r"pseudo-inputs of shape \(K, data_dim\)"),
    ],
)
def test_bad_calls_end_in_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.slow
def test_a_mixture_prior_finds_clusters():
    """Two far groups of rows: a mixture of two normals explains them better than one normal."""
    torch.manual_seed(0)
    x = torch.randn(400, DATA_DIM) * 0.3 + 3 * torch.sign(torch.randn(400, 1))
    elbos = {}
    for prior in (StandardNormal(2), MixtureOfNormals(2, 2)):
        torch.manual_seed(1)
        likelihood = GaussianWithIsotropicScale(x.mean(0), x.std(0), scale_floor=0.01)
        model = GenerativeModel(prior, MLP(2, (), DATA_DIM), likelihood)
        _, guide = small_vae()
        optimizer = lambda parameters: torch.optim.Adam(parameters, lr=0.02)  # noqa: E731
        fit(model, guide, x, epochs=60, seed=0, progress=False, device="cpu", optimizer=optimizer)
        elbos[type(prior)] = estimate_elbo(model, guide, [(x,)], 20).mean
    assert elbos[MixtureOfNormals] > elbos[StandardNormal]


@every_prior
def test_pyros_own_svi_trains_it(name):
    model, guide = make(name)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), pyro.infer.Trace_ELBO())
    svi.step(rows())
    for key, parameter in model.named_parameters():
        assert not torch.equal(before[key], parameter), key
