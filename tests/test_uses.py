"""Uses of a trained model: closed forms of the linear Gaussian model, paths, and what families have no formula for."""

from __future__ import annotations

import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from helpers import assert_within_sigma
from programs import small_vae

from pyro_vae import DiagonalNormalGuide, GenerativeModel, LinearGaussianModel, StandardNormal
from pyro_vae._checks import InputError
from pyro_vae.baselines import PPCA
from pyro_vae.data.columns import Column
from pyro_vae.data.preprocessing import (
    AsFloat,
    BinarizeDynamic,
    Centre,
    Dequantize,
    IntegerLevels,
    Rescale,
)
from pyro_vae.data.stored_units import in_stored_units, stored_scale
from pyro_vae.guides import AmortizedGuide, PointGuide
from pyro_vae.guides.exact_linear import ExactLinearGuide
from pyro_vae.likelihoods.table import TableLikelihood
from pyro_vae.uses import denoise_rows, encode_rows, generate_rows, great_circle, straight_line
from pyro_vae.uses._blocks import rows_at_once


@pytest.fixture(scope="module")
def linear():
    """A linear Gaussian model of 6 columns, its exact posterior as guide, the baseline that it is, and rows."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 6)) + 0.5 * rng.normal(size=(400, 6)) + 3
    ppca = PPCA(2).fit(x)
    model = LinearGaussianModel.from_baseline(ppca)
    return model, ExactLinearGuide(model), ppca, torch.from_numpy(x[:20])


def test_codes_are_mean_and_standard_deviation_of_the_exact_posterior(linear):
    model, guide, ppca, x = linear
    codes = encode_rows(model, guide, x)
    mean, covariance = ppca.posterior(x)
    np.testing.assert_allclose(codes.mean, mean, atol=1e-10)
    np.testing.assert_allclose(codes.sd, np.tile(np.sqrt(np.diag(covariance)), (20, 1)), atol=1e-10)
    assert codes.names == ("z_0", "z_1")
    assert not codes.drawn


def test_codes_in_blocks_are_the_guides_own():
    model, guide = small_vae()
    x = torch.randn(1203, 6, generator=torch.Generator().manual_seed(0))
    q = guide.eval().encode(x)
    codes = encode_rows(model, guide, x)
    torch.testing.assert_close(codes.mean, q.mean)
    torch.testing.assert_close(codes.sd, q.stddev)


def test_moments_without_a_formula_are_estimated_and_repeat():
    class Shifted(AmortizedGuide):
        def family(self, outputs):
            shift = dist.transforms.AffineTransform(1.0, 2.0)
            return dist.TransformedDistribution(diagonal.family(outputs), [shift])

    model, diagonal = small_vae()
    guide = Shifted(diagonal.encoder)
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    found, again = (encode_rows(model, guide, x, num_samples=2000, seed=3) for _ in range(2))
    q = diagonal.encode(x)
    assert found.drawn
    assert_within_sigma(found.mean, 1 + 2 * q.mean, 2 * q.stddev / math.sqrt(2000))
    assert_within_sigma(found.sd, 2 * q.stddev, 2 * q.stddev / math.sqrt(4000))
    assert torch.equal(found.mean, again.mean)


def test_codes_of_an_autoencoder_are_points():
    model, _ = small_vae()
    codes = encode_rows(model, PointGuide(torch.nn.Linear(6, 2)), torch.zeros(3, 6))
    assert codes.sd is None
    assert codes.mean.shape == (3, 2)


def test_generated_rows_have_the_moments_of_the_model(linear):
    model, _, ppca, _ = linear
    num_rows = 20_000
    x = generate_rows(model, num_rows, seed=1)
    covariance = ppca.get_covariance()
    assert_within_sigma(x.mean(0), ppca.mean_, np.sqrt(np.diag(covariance) / num_rows))
    # Var of an entry of the sample covariance of a normal: (C_ii C_jj + C_ij^2) / N.
    diagonal = np.diag(covariance)
    se = np.sqrt((np.outer(diagonal, diagonal) + covariance**2) / num_rows)
    assert_within_sigma(np.cov(x.numpy().T), covariance, se)
    means = generate_rows(model, num_rows, means=True, seed=1)
    without_noise = covariance - ppca.noise_variance_ * np.eye(6)
    assert_within_sigma(np.cov(means.numpy().T), without_noise, se)
    assert torch.equal(x[:10], generate_rows(model, num_rows, seed=1)[:10])


def test_denoising_of_a_linear_model_is_its_closed_form(linear):
    model, guide, ppca, x = linear
    particles = 4000
    found = denoise_rows(model, guide, x, num_particles=particles)
    mean, covariance = ppca.posterior(x)
    sd = np.sqrt(np.diag(ppca.components_.T @ covariance @ ppca.components_))
    assert_within_sigma(found.mean, ppca.inverse_transform(mean), sd / math.sqrt(particles))
    assert_within_sigma(found.sd, np.tile(sd, (20, 1)), sd / math.sqrt(2 * particles), sigmas=5)


def test_levels_without_order_are_not_averaged():
    """Level 0 for z > 0.2 and 2 below: their mean, level 1, is never probable."""
    columns = (Column("kind", "categorical", ("a", "b", "c")), Column("size", "real"))
    likelihood = TableLikelihood(torch.zeros(2), torch.ones(2), columns)
    decoder, encoder = torch.nn.Linear(1, likelihood.num_outputs), torch.nn.Linear(2, 2)
    with torch.no_grad():
        decoder.weight[:], decoder.bias[:] = 0.0, 0.0
        decoder.weight[-3:, 0], decoder.bias[-3:] = torch.tensor([9.0, 0, -9]), torch.tensor([-1.8, -1, 1.8])
        encoder.weight[:], encoder.bias[:] = 0.0, 0.0
    model = GenerativeModel(StandardNormal(1), decoder, likelihood)
    found = denoise_rows(model, DiagonalNormalGuide(encoder), torch.zeros(5, 2), num_particles=200)
    assert found.mean[:, 0].tolist() == [2.0] * 5
    assert found.sd[:, 0].isnan().all()
    assert found.sd[:, 1].isfinite().all()


def test_an_autoencoder_denoises_to_its_reconstruction():
    model, _ = small_vae()
    guide, x = PointGuide(torch.nn.Linear(6, 2)), torch.zeros(3, 6)
    found = denoise_rows(model, guide, x)
    assert found.sd is None
    torch.testing.assert_close(found.mean, model.eval().reconstruct(x, guide))


def test_paths_begin_and_end_at_the_codes():
    start, end = torch.tensor([[3.0, 0.0, 4.0], [0.0, 5.0, 0.0]], dtype=torch.float64)
    for path in (straight_line, great_circle):
        codes = path(start, end, 7)
        torch.testing.assert_close(codes[[0, -1]], torch.stack([start, end]))
    torch.testing.assert_close(straight_line(start, end, 3)[1], (start + end) / 2)


def test_a_great_circle_keeps_the_norm_and_turns_evenly():
    generator = torch.Generator().manual_seed(0)
    start, end = torch.randn(2, 40, generator=generator, dtype=torch.float64)
    codes = great_circle(start, end * start.norm() / end.norm(), 9)
    torch.testing.assert_close(codes.norm(dim=1), start.norm().expand(9))
    cosines = torch.cosine_similarity(codes[1:], codes[:-1])
    torch.testing.assert_close(cosines, cosines[:1].expand(8))
    longer = great_circle(start, 3 * end, 5).norm(dim=1)
    torch.testing.assert_close(longer.diff(), longer.diff()[:1].expand(4))
    torch.testing.assert_close(great_circle(start, 2 * start, 3)[1], 1.5 * start)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: great_circle(torch.zeros(2), torch.ones(2), 3), "codes other than 0"),
        (lambda: great_circle(-torch.ones(2), torch.ones(2), 3), "not opposite"),
        (
            lambda: straight_line(torch.ones(2), torch.ones(3), 3),
            r"one shape \(latent_dim,\); got \(2,\) and",
        ),
        (
            lambda: straight_line(torch.ones(2), torch.ones(2), 1),
            "num_steps to be a whole number of at least 2",
        ),
        (lambda: denoise_rows(*small_vae(), torch.ones(2, 6), num_particles=1), "num_particles"),
        (lambda: generate_rows(small_vae()[0], 0), "num_rows"),
        (lambda: encode_rows(small_vae()[0], lambda x: x, torch.ones(2, 6)), "a guide with `encode`"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    ("preprocessing", "stored"),
    [
        (AsFloat(), torch.tensor([[0.25, -3.0]])),
        (Centre((1e9, 1e9)), torch.tensor([[1e9 + 3, 1e9 + 4.5]], dtype=torch.float64)),
        (Dequantize(17, -2), torch.tensor([[-2, 14]])),
        (Rescale(255), torch.tensor([[0, 255]])),
        (IntegerLevels(300, 5), torch.tensor([[5, 304]])),
        (BinarizeDynamic(255), torch.tensor([[0, 255]])),
    ],
    ids=lambda value: type(value).__name__,
)
def test_rows_go_back_to_the_units_of_the_file(preprocessing, stored):
    noise = torch.full(stored.shape, 0.5) if preprocessing.random else None
    x = preprocessing(stored, noise)
    back = in_stored_units(x, preprocessing, drawn=True)
    np.testing.assert_array_equal(back, stored)
    assert back.dtype.kind in ("iu" if not stored.is_floating_point() else "f")
    # A mean in the middle of the range is there in both units.
    middle = in_stored_units(x.mean(1, keepdim=True).expand(-1, 2), preprocessing, drawn=False)
    np.testing.assert_allclose(middle[:, 0], stored.double().mean(1), rtol=1e-6)
    assert stored_scale(preprocessing) == pytest.approx(
        float((stored[0, 1] - stored[0, 0]) / (x[0, 1] - x[0, 0])), rel=1e-5
    )


def test_fewer_rows_are_decoded_together_where_rows_are_large():
    model, _ = small_vae()
    outputs = model.likelihood.num_outputs
    assert rows_at_once(model, 1, 500) == 500
    assert rows_at_once(model, 2**25 // (7 * outputs), 500) == 7
    assert rows_at_once(model, 2**30, 500) == 1
