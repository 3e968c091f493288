"""Attributes as scikit-learn names them, extreme and unusual input, and how near to the maximum a fit ends."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from sklearn.decomposition import PCA

from pyro_vae import LinearGaussianModel
from pyro_vae._checks import InputError
from pyro_vae.baselines import PPCA, PPCAEM, FactorAnalysis, MixtureOfPPCA, Moments

ALL = [PPCA, PPCAEM, FactorAnalysis, MixtureOfPPCA]


def table(num_rows=150, size=6, factors=3, seed=0):
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(num_rows, factors)) @ rng.normal(size=(factors, size))
    return signal + np.exp(rng.normal(size=size) - 1) * rng.normal(size=(num_rows, size)) + 5


X = table()
LINEAR = [PPCA, PPCAEM, FactorAnalysis]


@pytest.mark.parametrize("shape", [(150, 6), (5, 9)], ids=["long", "wide"])
@pytest.mark.parametrize("kind", [PPCA, PPCAEM])
def test_attributes_equal_those_of_scikit_learns_pca(kind, shape):
    x = table(*shape)
    ours, pca = kind(2).fit(x), PCA(2).fit(x)
    settings = {"rtol": 1e-8 if kind is PPCA else 2e-3}
    assert ours.n_components_ == pca.n_components_ == 2
    assert ours.n_samples_seen_ == pca.n_samples_
    np.testing.assert_allclose(ours.singular_values_, pca.singular_values_, **settings)
    np.testing.assert_allclose(ours.explained_variance_ratio_, pca.explained_variance_ratio_, **settings)
    # N - 1 in place of N.
    unbiased = len(x) / (len(x) - 1)
    np.testing.assert_allclose(unbiased * ours.explained_variance_, pca.explained_variance_, **settings)
    if shape == (150, 6):
        np.testing.assert_allclose(unbiased * ours.noise_variance_, pca.noise_variance_, **settings)
        np.testing.assert_allclose(unbiased * ours.get_covariance(), pca.get_covariance(), rtol=1e-2)


def test_attributes_of_factor_analysis():
    model = FactorAnalysis(2).fit(X)
    assert model.n_components_ == 2
    explained = np.diag(model.components_ @ model.components_.T) / np.trace(model.get_covariance())
    np.testing.assert_allclose(model.explained_variance_ratio_, explained)
    np.testing.assert_allclose(np.trace(model.get_covariance()), X.var(0).sum(), rtol=1e-4)
    scaled = (X - X.mean(0)) / np.sqrt(model.noise_variance_)
    np.testing.assert_allclose(model.singular_values_, np.linalg.svd(scaled)[1][:2], rtol=1e-6)


@pytest.mark.parametrize("kind", ALL)
def test_the_size_that_was_chosen_is_known(kind):
    model = kind(None).fit(X)
    assert model.n_components_ == model.components_.shape[-2] == model.transform(X).shape[1]
    assert len(model.get_feature_names_out()) == model.n_components_
    assert not hasattr(kind(2), "n_components_")
    if kind in LINEAR:
        assert model.singular_values_.shape == model.explained_variance_ratio_.shape == (model.n_components_,)


def test_a_model_that_becomes_a_baseline_has_the_attributes():
    fitted = PPCA(2).fit(X)
    again = LinearGaussianModel.from_baseline(fitted).to_baseline()
    assert again.n_components_ == 2
    np.testing.assert_allclose(again.explained_variance_ratio_, fitted.explained_variance_ratio_)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("factor", [1e160, 1e154, 1.2e307, 1e-150, 1e-160, 1e-310])
def test_variances_beyond_double_precision_are_refused_in_one_sentence(kind, factor):
    for x in (X * factor, (X * factor)[:4]):
        with pytest.raises(
            InputError, match="variances that double precision can hold, from 1e-280 to 1e\\+300"
        ):
            kind(1).fit(x)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("factor", [1e140, 1e-130, 3.0])
def test_scores_shift_by_the_logarithm_of_a_factor(kind, factor):
    settings = {} if kind is PPCA else {"random_state": 0}
    expected = kind(2, **settings).fit(X).score(X) - X.shape[1] * np.log(factor)
    assert kind(2, **settings).fit(X * factor).score(X * factor) == pytest.approx(expected, abs=1e-5)


def test_partial_fit_refuses_them_too():
    with pytest.raises(InputError, match="double precision"):
        PPCA(1).partial_fit(X * 1e160)


def test_a_column_too_small_for_double_precision_is_not_taken_for_a_constant():
    x = X.copy()
    x[:, 1] = (x[:, 1] - 5) * 1e-200
    with pytest.raises(InputError, match=r"of columns \[1\] are smaller"):
        FactorAnalysis(1).fit(x)
    x[:, 1] = 1e-200
    assert np.isfinite(FactorAnalysis(1).fit(x).score(x))
    # With one noise for all columns it makes no difference.
    x[:, 1] = (X[:, 1] - 5) * 1e-200
    assert np.isfinite(PPCA(1).fit(x).score(x))


@pytest.mark.parametrize("kind", ALL)
def test_a_mask_means_missing(kind):
    settings = {} if kind is PPCA else {"random_state": 0, "tol": 1e-3}
    masked, as_nan = np.ma.array(X, mask=X > 8), np.where(X > 8, np.nan, X)
    fits = [kind(1, **settings).fit(x).score_samples(as_nan) for x in (masked, as_nan)]
    np.testing.assert_array_equal(*fits)
    unmasked = np.ma.array(X, mask=False)
    expected = kind(2, **settings).fit(X).score(X)
    assert kind(2, **settings).fit(unmasked).score(unmasked) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", ALL)
def test_complex_numbers_are_refused(kind):
    for x in (X + 1j, torch.from_numpy(X + 1j)):
        with pytest.raises(InputError, match="expected X of real numbers"):
            kind(2).fit(x)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.astype(int),
        lambda x: x.astype(np.uint8),
        lambda x: x.astype(">f4"),
        lambda x: x[:, ::-1],
        lambda x: np.asfortranarray(x),
        lambda x: x.tolist(),
        lambda x: pd.DataFrame(x, columns=list("abcdef")),
        lambda x: torch.from_numpy(x).float().requires_grad_(),
    ],
    ids=["int", "uint8", "big-endian", "reversed", "columns first", "list", "frame", "tensor"],
)
def test_every_kind_of_array_scores_as_its_float64_values(kind, convert):
    x = convert(np.abs(np.round(10 * X)))
    plain = np.array(x.detach().numpy() if hasattr(x, "detach") else x, dtype=np.float64)
    settings = {} if kind is PPCA else {"random_state": 0}
    expected = kind(2, **settings).fit(plain).score(plain)
    assert kind(2, **settings).fit(x).score(x) == pytest.approx(expected, abs=1e-5)


SLOW = {  # EM alone ended 1e-4 to 2e-4 nats a row below these maxima
    "many factors": (table(100, 20, 8), 8),
    "noise alone": (np.random.default_rng(1).normal(size=(60, 12)), 3),
    "more factors than there are": (table(200, 8, 3), 4),
}


@pytest.mark.parametrize("name", SLOW)
def test_factor_analysis_ends_at_the_maximum(name):
    x, q = SLOW[name]
    model = FactorAnalysis(q, n_init=1).fit(x)
    assert (np.diff(model.loglike_) >= -1e-9 * len(x)).all()
    assert model.loglike_[-1] == pytest.approx(len(x) * model.score(x), abs=1e-6)
    # The gradient in every log noise variance is zero, or points below the floor of a variance at its floor.
    noise, floor = model.noise_variance_, 1e-6 * x.var(0)
    gradient = ((x.var(0) - (model.components_**2).sum(0)) / noise - 1) / 2
    free = noise > 1.001 * floor
    assert np.abs(gradient[free]).max() < 1e-3
    assert (gradient[~free] < 1e-3).all()
    # A long run from there finds nothing.
    long = FactorAnalysis(q, n_init=1, tol=0.0).fit(x)
    assert abs(long.score(x) - model.score(x)) < 1e-6


@pytest.mark.slow
def test_factor_analysis_gains_nothing_from_thousands_of_steps_of_em():
    x, q = SLOW["noise alone"]
    model = FactorAnalysis(q, n_init=1).fit(x)
    covariance, noise = np.cov(x.T, bias=True), x.var(0)
    for _ in range(5000):  # Rubin & Thayer (1982), with the best W for each Psi
        values, axes = np.linalg.eigh(covariance / np.sqrt(np.outer(noise, noise)))
        weight = axes[:, -q:] * np.sqrt(np.maximum(values[-q:] - 1, 0)) * np.sqrt(noise)[:, None]
        noise = np.maximum(np.diag(covariance) - (weight**2).sum(1), 1e-6 * x.var(0))
    total = weight @ weight.T + np.diag(noise)
    log_prob = scipy.stats.multivariate_normal(x.mean(0), total).logpdf(x).mean()
    assert model.score(x) > log_prob - 1e-7


def test_ppca_of_moments_is_ppca_of_their_rows():
    first, second = Moments.of(X[:100]), Moments.of(X[100:])
    pooled = Moments(X.shape[1])
    pooled.count, pooled.mean = len(X), (100 * first.mean + 50 * second.mean) / 150
    pooled.scatter = first.scatter_about(pooled.mean) + second.scatter_about(pooled.mean)
    whole, ours = PPCA(2).fit(X), PPCA(2).fit_moments(pooled)
    np.testing.assert_allclose(ours.components_, whole.components_, rtol=1e-9)
    np.testing.assert_allclose(ours.score_samples(X), whole.score_samples(X), rtol=1e-10)
    assert ours.loglike_ == pytest.approx(whole.loglike_)
    assert (ours.n_features_in_, ours.n_samples_seen_) == (6, 150)
    ours.partial_fit(X[:40] + 1)
    assert pooled.count == 150
    np.testing.assert_allclose(
        ours.components_, PPCA(2).fit(np.vstack([X, X[:40] + 1])).components_, rtol=1e-9
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones((5, 3)), "rows that are all equal"),
        (np.full((5, 3), np.nan), r"Expected finite moments of at least one row; got those of 5 rows"),
        (np.eye(3)[:1], "Expected n_components below 1 for n_samples=1"),
        (1e200 * X, "variances that double precision can hold|finite moments"),
    ],
)
def test_moments_that_have_no_ppca_are_refused(rows, message):
    with pytest.raises(InputError, match=message):
        PPCA(1).fit_moments(Moments.of(rows))
    with pytest.raises(
        AttributeError, match=r"replaced: sum the moments .*pooled_moments.* PPCA\.fit_moments"
    ):
        PPCA(1).fit_share(rows, None)
