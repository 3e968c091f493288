"""Linear Gaussian models as Pyro programs, against the exact estimators."""

import copy

import numpy as np
import pytest
import torch
from helpers import assert_within_sigma
from sklearn.datasets import load_digits

from pyro_vae import ELBO, estimate_elbo, fit
from pyro_vae.baselines import PPCA, FactorAnalysis
from pyro_vae.experiment.checkpoint import load_weights, save_weights
from pyro_vae.guides.exact_linear import ExactLinearGuide
from pyro_vae.likelihoods import GaussianWithIsotropicScale, GaussianWithSharedScale
from pyro_vae.models.linear import LinearGaussianModel
from pyro_vae.objectives import row_log_probs


@pytest.fixture(scope="module")
def rows():
    digits = load_digits().data[:600]
    return (digits + np.random.default_rng(0).random(digits.shape)) / 17


both = pytest.mark.parametrize("baseline", [PPCA(6), FactorAnalysis(6)], ids=["ppca", "factor-analysis"])


@both
def test_the_elbo_under_the_exact_guide_is_the_exact_log_likelihood_with_no_variance(baseline, rows):
    baseline.fit(rows)
    model = LinearGaussianModel.from_baseline(baseline)
    x = torch.from_numpy(rows)
    weights = row_log_probs(model, ExactLinearGuide(model), x, num_particles=5).log_weights.detach()
    exact = torch.from_numpy(baseline.score_samples(rows))
    torch.testing.assert_close(weights, exact.expand(5, -1), rtol=0, atol=1e-9)


@both
def test_there_and_back_is_the_same_density(baseline, rows):
    baseline.fit(rows)
    back = LinearGaussianModel.from_baseline(baseline).to_baseline()
    assert type(back) is type(baseline)
    np.testing.assert_allclose(back.score_samples(rows), baseline.score_samples(rows), rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(np.abs(back.components_), np.abs(baseline.components_), atol=1e-9)
    np.testing.assert_allclose(back.noise_variance_, baseline.noise_variance_, rtol=1e-12)


@pytest.mark.slow
@both
def test_samples_have_the_model_covariance(baseline, rows):
    baseline.fit(rows)
    drawn = LinearGaussianModel.from_baseline(baseline).sample(50000)
    covariance = torch.from_numpy(baseline.get_covariance())
    # The variance of a sample covariance of a Gaussian: (s_ii s_jj + s_ij^2) / n.
    variance = covariance.diagonal().outer(covariance.diagonal()) + covariance.square()
    assert_within_sigma(drawn.T.cov(), covariance, (variance / 50000).sqrt(), sigmas=5)


@both
def test_the_gradient_of_the_elbo_is_that_of_the_log_likelihood(baseline, rows):
    baseline.fit(rows)
    model = LinearGaussianModel.from_baseline(baseline)
    with torch.no_grad():
        model.decoder.weight.add_(0.1 * torch.randn_like(model.decoder.weight))
    guide, x = ExactLinearGuide(model), torch.from_numpy(rows[:50])
    parameters = list(model.parameters())
    ours = torch.autograd.grad(ELBO()(model, guide)(x), parameters)
    covariance = model.weight @ model.weight.T + torch.diag(model.noise_variance)
    density = torch.distributions.MultivariateNormal(model.loc, covariance)
    exact = torch.autograd.grad(-density.log_prob(x).mean(), parameters)
    torch.testing.assert_close(ours, exact, rtol=1e-7, atol=1e-8)


@pytest.mark.slow
def test_training_with_the_exact_guide_climbs_to_the_closed_form():
    generator = np.random.default_rng(3)
    data = generator.normal(size=(300, 2)) @ generator.normal(size=(2, 5)) + 0.4 * generator.normal(
        size=(300, 5)
    )
    x = torch.from_numpy(data)
    likelihood = GaussianWithIsotropicScale(x.mean(0), x.std(0), scale_floor=1e-3)
    model = LinearGaussianModel(2, likelihood).double()
    guide = ExactLinearGuide(model)
    fit(
        model, guide, x, epochs=300, batch_size=300, progress=False, seed=0,
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.05),
    )  # fmt: skip
    reached = estimate_elbo(model, guide, [(x.float().double(),)]).mean
    best = PPCA(2).fit(data).score(data)
    assert best - 1e-3 < reached < best + 1e-6


def test_the_parameters_of_model_and_guide_are_one_when_saved_copied_and_loaded(tmp_path, rows):
    model = LinearGaussianModel.from_baseline(PPCA(3).fit(rows))
    guide = ExactLinearGuide(model)
    save_weights(tmp_path / "w.safetensors", model, guide)
    assert (tmp_path / "w.safetensors").stat().st_size < 8 * 64 * (3 + 1 + 2) + 2000
    likelihood = GaussianWithIsotropicScale(torch.zeros(64), torch.ones(64), 0.1)
    other = LinearGaussianModel(3, likelihood).double()
    load_weights(tmp_path / "w.safetensors", other, ExactLinearGuide(other))
    torch.testing.assert_close(other.weight, model.weight)
    twin, twin_guide = copy.deepcopy((model, guide))
    assert twin_guide.model is twin


def test_single_precision_is_near(rows):
    fa = FactorAnalysis(4).fit(rows)
    model = LinearGaussianModel.from_baseline(fa).float()
    estimate = estimate_elbo(model, ExactLinearGuide(model), [(torch.from_numpy(rows).float(),)])
    np.testing.assert_allclose(estimate.value, fa.score_samples(rows), atol=0.05)


def test_the_shared_scale_makes_factor_analysis():
    likelihood = GaussianWithSharedScale(torch.zeros(4), torch.ones(4), 0.1)
    assert isinstance(LinearGaussianModel(2, likelihood).to_baseline(), FactorAnalysis)
