"""Log-densities, posteriors and samples of the baselines against dense Gaussians and against scikit-learn."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from pyro_vae.baselines import PPCA, PPCAEM, FactorAnalysis, MixtureOfPPCA
from tests.helpers import assert_within_sigma

LINEAR = pytest.mark.parametrize("estimator", [PPCA, PPCAEM, FactorAnalysis])


def low_rank_rows(num_rows: int = 300, size: int = 7, rank: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((num_rows, rank)) @ rng.standard_normal(
        (rank, size)
    ) * 2 + rng.standard_normal((num_rows, size))


@LINEAR
@pytest.mark.parametrize("num_rows", [300, 5])
def test_scores_equal_the_dense_gaussian(estimator, num_rows):
    rows = low_rank_rows()
    fitted = estimator(2).fit(rows[:num_rows])
    dense = multivariate_normal(fitted.mean_, fitted.get_covariance())
    np.testing.assert_allclose(fitted.score_samples(rows), dense.logpdf(rows), rtol=1e-9)
    np.testing.assert_allclose(fitted.get_precision() @ fitted.get_covariance(), np.eye(7), atol=1e-9)
    noise = fitted.noise_variance_ * np.ones(7)
    covariance = fitted.components_.T @ fitted.components_ + np.diag(noise)
    np.testing.assert_allclose(fitted.get_covariance(), covariance, atol=1e-12)


@LINEAR
def test_posterior_is_the_conditional_of_the_joint_gaussian(estimator):
    rows = low_rank_rows()
    fitted = estimator(3).fit(rows)
    gain = np.linalg.solve(fitted.get_covariance(), fitted.components_.T)
    loc, covariance = fitted.posterior(rows)
    np.testing.assert_allclose(loc, (rows - fitted.mean_) @ gain, atol=1e-9)
    expected = np.eye(3) - fitted.components_ @ gain
    np.testing.assert_allclose(covariance, np.broadcast_to(expected, covariance.shape), atol=1e-10)
    np.testing.assert_array_equal(fitted.transform(rows), loc)
    np.testing.assert_allclose(fitted.inverse_transform(loc), loc @ fitted.components_ + fitted.mean_)


@LINEAR
def test_training_log_likelihood_is_the_sum_of_the_scores(estimator):
    rows = low_rank_rows()
    fitted = estimator(2).fit(rows)
    assert fitted.loglike_[-1] == pytest.approx(fitted.score_samples(rows).sum(), rel=1e-9)
    assert fitted.n_iter_ == len(fitted.loglike_)


@LINEAR
def test_samples_have_the_mean_and_covariance_of_the_model(estimator):
    fitted = estimator(2).fit(low_rank_rows() + 5)
    samples = fitted.sample(20000, random_state=0)
    covariance = fitted.get_covariance()
    variance = np.diag(covariance)
    assert_within_sigma(samples.mean(axis=0), fitted.mean_, np.sqrt(variance / 20000))
    # Var of a sample covariance of Gaussians: (c_ij² + c_ii c_jj) / n.
    error = np.sqrt((covariance**2 + np.outer(variance, variance)) / 20000)
    assert_within_sigma(np.cov(samples.T), covariance, error, sigmas=4.5)


def scikit_learn_ppca(rows: np.ndarray, q: int) -> PCA:
    """Scikit-learn's PCA with its n - 1 replaced by n, as maximum likelihood has it."""
    pca = PCA(q, svd_solver="full").fit(rows)
    share = (len(rows) - 1) / len(rows)
    pca.explained_variance_ *= share
    pca.noise_variance_ *= share
    return pca


@pytest.mark.parametrize(
    ("load", "sizes"), [(load_digits, (1, 8, 32)), (load_wine, (1, 3, 6)), (load_breast_cancer, (1, 2, 5))]
)
def test_ppca_equals_scikit_learn(load, sizes):
    rows = load().data
    for q in sizes:
        ours, theirs = PPCA(q).fit(rows), scikit_learn_ppca(rows, q)
        np.testing.assert_allclose(ours.score_samples(rows), theirs.score_samples(rows), rtol=1e-8)
        np.testing.assert_allclose(ours.explained_variance_, theirs.explained_variance_, rtol=1e-9)
        lengths = np.sqrt(ours.explained_variance_ - ours.noise_variance_)
        cosines = np.abs(np.sum(ours.components_ / lengths[:, None] * theirs.components_, axis=1))
        np.testing.assert_allclose(cosines, 1, rtol=1e-9)
        unadjusted = PCA(q, svd_solver="full").fit(rows).score(rows)
        assert ours.score(rows) > unadjusted


@pytest.mark.slow
@pytest.mark.skipif("PYRO_VAE_DATA" not in os.environ, reason="PYRO_VAE_DATA names no folder with MNIST")
def test_ppca_equals_scikit_learn_on_mnist():
    path = Path(os.environ["PYRO_VAE_DATA"], "MNIST", "raw", "train-images-idx3-ubyte")
    if not path.exists():
        pytest.skip(f"no {path}")
    rows = np.fromfile(path, dtype=np.uint8)[16:].reshape(-1, 784)[:1000] / 255
    for q in (20, 200):
        with threadpool_limits(1, user_api="blas"):
            ours, theirs = PPCA(q).fit(rows), scikit_learn_ppca(rows, q)
        np.testing.assert_allclose(ours.score_samples(rows), theirs.score_samples(rows), rtol=1e-8)


def test_ppca_is_the_optimum():
    rows = low_rank_rows()
    fitted = PPCA(2).fit(rows)
    best = fitted.score(rows)
    rng = np.random.default_rng(1)
    for _ in range(20):
        fitted.components_ += 1e-3 * rng.standard_normal(fitted.components_.shape)
        assert fitted.score(rows) < best


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_wide_and_tall_problems_agree(offset):
    # The same rows with columns of zeros appended: the eigenproblem is N x N instead of D x D.
    rows = low_rank_rows(num_rows=20) + offset
    wide = np.hstack([rows, np.full((20, 30), 3.0)])
    tall_fit, wide_fit = PPCA(2).fit(rows), PPCA(2).fit(wide)
    np.testing.assert_allclose(wide_fit.explained_variance_, tall_fit.explained_variance_, rtol=1e-8)
    np.testing.assert_allclose(wide_fit.noise_variance_ * 35, tall_fit.noise_variance_ * 5, rtol=1e-8)
    by_chunks = PPCA(2).partial_fit(wide[:9]).partial_fit(wide[9:])
    np.testing.assert_allclose(by_chunks.components_, wide_fit.components_, atol=1e-7)


@pytest.mark.parametrize("offset", [0.0, 1e7])
@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_chunks_give_what_all_rows_give(offset, chunk):
    rows = low_rank_rows(num_rows=203)
    whole = PPCA(2).fit(rows)
    chunked = PPCA(2)
    for start in range(0, len(rows), chunk):
        chunked.partial_fit(rows[start : start + chunk] + offset)
    assert chunked.n_samples_seen_ == 203
    # With an offset of 1e7 the data itself is rounded to 1e-9.
    tolerance = 1e-7 if offset else 1e-12
    np.testing.assert_allclose(chunked.components_, whole.components_, atol=tolerance)
    np.testing.assert_allclose(chunked.noise_variance_, whole.noise_variance_, rtol=tolerance)
    np.testing.assert_allclose(chunked.score_samples(rows + offset), whole.score_samples(rows), atol=1e-6)


def test_partial_fit_continues_from_fit_and_fit_starts_again():
    rows = low_rank_rows()
    whole = PPCA(2).fit(rows)
    np.testing.assert_allclose(PPCA(2).fit(rows[:100]).partial_fit(rows[100:]).components_, whole.components_)
    np.testing.assert_array_equal(
        PPCA(2).partial_fit(rows[:100] * 3).fit(rows).components_, whole.components_
    )


def mixture_rows(num_rows: int = 600) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    labels = rng.choice(3, size=num_rows, p=[0.5, 0.3, 0.2])
    loadings = rng.standard_normal((3, 2, 5)) * 1.5
    z = rng.standard_normal((num_rows, 2))
    means = 6 * rng.standard_normal((3, 5))
    noise = rng.standard_normal((num_rows, 5)) * np.array([0.3, 0.5, 0.8])[labels, None]
    return means[labels] + np.einsum("nq,nqd->nd", z, loadings[labels]) + noise, labels


def test_mixture_equals_dense_gaussians():
    rows, _ = mixture_rows()
    fitted = MixtureOfPPCA(2, n_clusters=3, random_state=0).fit(rows)
    covariances = fitted.get_covariance()
    joint = np.stack(
        [
            np.log(weight) + multivariate_normal(mean, covariance).logpdf(rows)
            for weight, mean, covariance in zip(fitted.weights_, fitted.means_, covariances, strict=True)
        ]
    )
    evidence = logsumexp(joint, axis=0)
    np.testing.assert_allclose(fitted.score_samples(rows), evidence, rtol=1e-9)
    assert fitted.loglike_[-1] == pytest.approx(evidence.sum(), rel=1e-9)
    responsibilities = np.exp(joint - evidence).T
    np.testing.assert_allclose(fitted.predict_proba(rows), responsibilities, atol=1e-9)
    np.testing.assert_array_equal(fitted.predict(rows), responsibilities.argmax(axis=1))
    np.testing.assert_allclose(
        fitted.get_precision() @ covariances, np.eye(5) * np.ones((3, 1, 1)), atol=1e-9
    )
    gain = np.linalg.solve(covariances, fitted.components_.swapaxes(1, 2))
    places = np.einsum("knd,kdq->knq", rows - fitted.means_[:, None], gain)
    np.testing.assert_allclose(
        fitted.transform(rows), np.einsum("nk,knq->nq", responsibilities, places), atol=1e-8
    )


def test_mixture_of_one_is_ppca():
    rows = low_rank_rows()
    single, ppca = MixtureOfPPCA(2, n_clusters=1, tol=1e-10).fit(rows), PPCA(2).fit(rows)
    np.testing.assert_allclose(single.score_samples(rows), ppca.score_samples(rows), rtol=1e-6)


def test_mixture_samples_have_its_moments():
    fitted = MixtureOfPPCA(2, n_clusters=3, random_state=0).fit(mixture_rows()[0])
    samples = fitted.sample(20000, random_state=1)
    mean = fitted.weights_ @ fitted.means_
    assert_within_sigma(samples.mean(axis=0), mean, samples.std(axis=0) / np.sqrt(20000))
    shares = np.bincount(fitted.predict(samples), minlength=3) / 20000
    expected = fitted.predict_proba(samples).mean(axis=0)
    np.testing.assert_allclose(shares, expected, atol=0.02)
    assert_within_sigma(expected, fitted.weights_, np.sqrt(fitted.weights_ * (1 - fitted.weights_) / 20000))


def test_a_density_that_underflows_is_minus_infinity_without_error():
    fitted = PPCA(2).fit(low_rank_rows())
    assert fitted.score_samples(np.full((1, 7), 1e200))[0] == -np.inf
