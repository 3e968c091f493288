"""A mixture fitted to the codes of training rows, and samples drawn from it."""

import numpy as np
import pytest
import torch
from helpers import assert_within_sigma
from programs import rows, small_vae
from torch import nn

from pyro_vae import build, log_likelihood
from pyro_vae._checks import InputError
from pyro_vae.evaluate.samples import CodeMixture, sampling_model, training_codes, with_code_mixture
from pyro_vae.experiment.config import ModelConfig

X = rows(count=200)


def two_normals(count=4000):
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(count, 2, generator=generator) @ torch.tensor([[1.0, 0.9], [0.0, 0.3]])
    narrow = 0.3 * torch.randn(3 * count, 2, generator=generator) + 5
    return torch.cat([narrow, wide])


def test_fit_finds_weights_locations_and_covariances():
    mixture = CodeMixture.fit(two_normals(), 2)
    order = mixture.weights.argsort()
    covariance = (mixture.scale_tril @ mixture.scale_tril.mT)[order]
    torch.testing.assert_close(mixture.weights[order], torch.tensor([0.25, 0.75]), atol=0.01, rtol=0)
    torch.testing.assert_close(mixture.loc[order], torch.tensor([[0.0, 0], [5, 5]]), atol=0.06, rtol=0)
    expected = torch.tensor([[[1.0, 0.9], [0.9, 0.9]], [[0.09, 0], [0, 0.09]]])
    torch.testing.assert_close(covariance, expected, atol=0.08, rtol=0)


def test_draws_have_the_moments_of_the_codes():
    codes = two_normals(1000)
    torch.manual_seed(0)
    drawn = CodeMixture.fit(codes, 3)().sample((20_000,))
    assert drawn.shape == (20_000, 2)
    assert_within_sigma(drawn.mean(0), codes.mean(0), drawn.std(0) / 20_000**0.5 + 1e-3)
    assert_within_sigma(drawn.var(0), codes.var(0), 0.02 * codes.var(0))


def test_one_component_is_the_normal_of_the_codes():
    codes = two_normals(500).double()
    mixture = CodeMixture.fit(codes, 1)()
    expected = torch.distributions.MultivariateNormal(codes.mean(0), codes.T.cov(correction=0))
    z = codes[:50].float()
    torch.testing.assert_close(
        mixture.log_prob(z), expected.log_prob(z.double()).float(), atol=1e-3, rtol=1e-4
    )


def test_codes_are_draws_and_the_random_state_is_put_back():
    model, guide = small_vae()
    before = torch.get_rng_state()
    codes = training_codes(model, guide, X, num_rows=150)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(codes, training_codes(model, guide, X, num_rows=150))
    assert codes.shape == (150, 2)
    chosen = X[np.linspace(0, 199, 150).round()]
    posterior = guide.encode(chosen)
    assert_within_sigma((codes - posterior.mean).mean(0), 0, posterior.stddev.mean(0) / 150**0.5, 5)
    assert not torch.equal(codes, posterior.mean)


def test_the_model_of_a_mixture_is_a_model_like_any_other():
    model, guide = small_vae()
    mixed = with_code_mixture(model, guide, X, num_components=3)
    assert mixed.decoder is model.decoder
    assert mixed.latent_dim == model.latent_dim
    assert mixed.sample(7).shape == (7, X.shape[1])
    assert torch.isfinite(log_likelihood(mixed, guide, X[:10], num_samples=50).value).all()
    assert sampling_model(model, guide, X, "prior") is model
    assert isinstance(sampling_model(model, guide, X, "mixture").prior, CodeMixture)


class Program(nn.Module):
    def forward(self, x):
        return x


def of_context():
    config = ModelConfig(latent_dim=2, hidden=(4,), scale_floor=0.01)
    return build(config, X.mean(0).double(), X.std(0).double(), context_dim=3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m, g: sampling_model(m, g, X, "codes"),
            r"Expected the source of samples to be one of prior, mix",
        ),
        (
            lambda m, g: with_code_mixture(m, g, X[:5]),
            r"Expected codes .* with at least 10 rows.*got \(5, 2\)",
        ),
        (lambda m, g: with_code_mixture(Program(), g, X), r"Expected a `GenerativeModel`.*got Program"),
        (
            lambda m, g: with_code_mixture(m, Program(), X),
            r"Expected a guide with `encode`.*Program has none",
        ),
        (
            lambda m, g: CodeMixture.fit(torch.full((20, 2), torch.nan)),
            r"Expected finite data; got nan in row 0",
        ),
        (
            lambda m, g: with_code_mixture(*of_context(), (X, torch.zeros(len(X), 3))),
            r"Expected a model and a guide of x alone",
        ),
    ],
)
def test_bad_calls_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call(*small_vae())
