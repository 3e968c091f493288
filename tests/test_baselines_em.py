"""EM: it never falls, it meets the closed form, it handles missing values exactly; against scikit-learn's optima."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import FactorAnalysis as ScikitLearnFactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from pyro_vae.baselines import PPCA, PPCAEM, FactorAnalysis, MixtureOfPPCA
from pyro_vae.baselines._em import climb, plain, squarem


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, int, np.random.Generator]:
    """Rows of a low-rank Gaussian with columns of unequal scales and an offset, and a latent size."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_rows, size = draw(st.integers(12, 40)), draw(st.integers(3, 8))
    rank = draw(st.integers(1, size))
    rows = rng.standard_normal((num_rows, rank)) @ rng.standard_normal((rank, size))
    rows = (rows + draw(st.floats(0.1, 2)) * rng.standard_normal((num_rows, size))) * rng.uniform(
        0.2, 5, size
    )
    return rows + 10 * rng.standard_normal(size), draw(st.integers(1, size - 2)), rng


def with_holes(rows: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """`rows` with a share of values missing at random, though no column loses all of its values."""
    missing = rng.random(rows.shape) < share
    missing[:2] = False
    return np.where(missing, np.nan, rows)


def quiet_fit(estimator, rows):
    """Fit with few steps and without the warning that they were few."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(rows)


@pytest.mark.slow
@given(problems(), st.floats(0, 0.4))
@settings(max_examples=20, deadline=None)
def test_the_log_likelihood_never_falls(problem, share):
    rows, q, rng = problem
    for estimator, data in [
        (PPCAEM(q, max_iter=60, random_state=0), rows),
        (PPCAEM(q, max_iter=60, random_state=0), with_holes(rows, share, rng)),
        (FactorAnalysis(q, max_iter=60, n_init=1), rows),
        (FactorAnalysis(q, max_iter=60, n_init=1), with_holes(rows, share, rng)),
        (MixtureOfPPCA(q, n_clusters=2, max_iter=60, random_state=0), rows),
        (MixtureOfPPCA(q, n_clusters=2, max_iter=60, random_state=0), with_holes(rows, share, rng)),
    ]:
        path = np.array(quiet_fit(estimator, data).loglike_)
        # Relative to the number of values where the log-likelihood passes through zero.
        scale = np.maximum(np.abs(path[1:]), rows.size)
        assert (np.diff(path) >= -1e-9 * scale).all(), (estimator, np.diff(path).min())


@pytest.mark.slow
@given(problems())
@settings(max_examples=50, deadline=None)
def test_em_reaches_the_closed_form(problem):
    rows, q, _ = problem
    by_em, exact = PPCAEM(q, random_state=0).fit(rows), PPCA(q).fit(rows)
    assert by_em.loglike_[-1] == pytest.approx(exact.loglike_[-1], rel=1e-6)
    np.testing.assert_allclose(by_em.mean_, exact.mean_, rtol=1e-6)


@pytest.mark.parametrize("load", [load_digits, load_wine, load_breast_cancer])
def test_em_reaches_the_closed_form_on_data(load):
    rows = load().data
    for q in (1, 2, 5):
        by_em, exact = PPCAEM(q, tol=1e-9, random_state=0).fit(rows), PPCA(q).fit(rows)
        assert by_em.loglike_[-1] == pytest.approx(exact.loglike_[-1], rel=1e-6)
        assert by_em.noise_variance_ == pytest.approx(exact.noise_variance_, rel=1e-4)
        np.testing.assert_allclose(by_em.explained_variance_, exact.explained_variance_, rtol=1e-4)
        scale = np.abs(exact.components_).max(axis=1, keepdims=True)
        np.testing.assert_allclose(by_em.components_ / scale, exact.components_ / scale, atol=0.01)


def plain_em_step(rows: np.ndarray):
    """PPCA's EM step as in Tipping & Bishop (1999), eq. 29-30, on (W, log σ²), by dense matrices."""
    centred = rows - rows.mean(axis=0)
    size = rows.shape[1]
    covariance = centred.T @ centred / len(rows)

    def step(theta: np.ndarray) -> tuple[np.ndarray, float]:
        w, noise = theta[:-1].reshape(size, -1), np.exp(theta[-1])
        dense = w @ w.T + noise * np.eye(size)
        loglike = multivariate_normal(np.zeros(size), dense).logpdf(centred).mean()
        inverse = np.linalg.inv(w.T @ w + noise * np.eye(w.shape[1]))
        moved = covariance @ w
        w_new = moved @ np.linalg.inv(noise * np.eye(w.shape[1]) + inverse @ w.T @ moved)
        noise_new = np.trace(covariance - moved @ inverse @ w_new.T) / size
        return np.append(w_new.ravel(), np.log(noise_new)), float(loglike)

    return step


@pytest.mark.slow
def test_squarem_climbs_to_the_fixed_point_of_plain_em_in_fewer_steps():
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((100, 2)) @ rng.standard_normal((2, 6)) * 3 + 0.3 * rng.standard_normal(
        (100, 6)
    )
    step, start = plain_em_step(rows), np.append(rng.standard_normal(12), 0.0)
    slow = climb(plain(step, start), tol=1e-9, max_iter=5000)
    fast = climb(squarem(step, start), tol=1e-9, max_iter=5000)
    exact = PPCA(2).fit(rows).score(rows)
    for run in (slow, fast):
        assert run.converged
        assert (np.diff(run.history) >= -1e-12).all()
        assert run.history[-1] == pytest.approx(exact, abs=1e-6)
    assert len(fast.history) < len(slow.history) / 3


def test_climb_stops_at_max_iter_and_warns():
    def endless() -> Iterator[tuple[int, float]]:
        for number in range(100):
            yield number, float(number)

    run = climb(endless(), tol=1e-3, max_iter=7)
    assert (run.theta, run.history, run.converged) == (6, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], False)


@pytest.fixture(scope="module")
def holes() -> tuple[np.ndarray, np.ndarray]:
    """Rows, and the same with holes: some patterns of many rows, many of one, a row without any value."""
    rng = np.random.default_rng(4)
    rows = rng.standard_normal((80, 2)) @ rng.standard_normal((2, 6)) * 2 + rng.standard_normal((80, 6)) + 3
    incomplete = rows.copy()
    incomplete[:20, [1, 4]] = np.nan
    incomplete[20:25, 0] = np.nan
    incomplete[40:] = with_holes(rows[40:], 0.4, rng)
    incomplete[70] = np.nan
    return rows, incomplete


def conditional(mean: np.ndarray, covariance: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, float]:
    """E[x given the observed part of one row] and log p of that part, by dense matrices."""
    o = np.flatnonzero(~np.isnan(row))
    if len(o) == 0:
        return mean, 0.0
    marginal = covariance[np.ix_(o, o)]
    expected = mean + covariance[:, o] @ np.linalg.solve(marginal, row[o] - mean[o])
    expected[o] = row[o]
    return expected, float(multivariate_normal(mean[o], marginal).logpdf(row[o]))


@pytest.mark.parametrize("kind", [PPCA, PPCAEM, FactorAnalysis])
def test_scores_and_posteriors_of_incomplete_rows_are_those_of_the_marginal_gaussian(kind, holes):
    _, rows = holes
    fitted = kind(2, **({"n_init": 1} if kind is FactorAnalysis else {})).fit(rows)
    covariance = fitted.get_covariance()
    scores, filled = fitted.score_samples(rows), fitted.impute(rows)
    loc, spread = fitted.posterior(rows)
    for n, row in enumerate(rows):
        expected, log_prob = conditional(fitted.mean_, covariance, row)
        assert scores[n] == pytest.approx(log_prob, rel=1e-9)
        np.testing.assert_allclose(filled[n], expected, atol=1e-9)
        o = np.flatnonzero(~np.isnan(row))
        gain = np.linalg.solve(covariance[np.ix_(o, o)], fitted.components_[:, o].T).T
        np.testing.assert_allclose(loc[n], gain @ (row - fitted.mean_)[o], atol=1e-9)
        np.testing.assert_allclose(spread[n], np.eye(2) - gain @ fitted.components_[:, o].T, atol=1e-9)
    np.testing.assert_array_equal(fitted.transform(rows), loc)
    assert fitted.loglike_[-1] == pytest.approx(scores.sum(), rel=1e-9)


def test_incomplete_rows_of_a_mixture_are_those_of_the_mixture_of_marginals(holes):
    _, rows = holes
    fitted = MixtureOfPPCA(1, n_clusters=2, random_state=0, tol=1e-4).fit(rows)
    scores, filled, shares = fitted.score_samples(rows), fitted.impute(rows), fitted.predict_proba(rows)
    parts = list(zip(fitted.weights_, fitted.means_, fitted.get_covariance(), strict=True))
    for n, row in enumerate(rows):
        each = [(weight, *conditional(mean, covariance, row)) for weight, mean, covariance in parts]
        joint = np.array([weight * np.exp(log_prob) for weight, _, log_prob in each])
        assert scores[n] == pytest.approx(np.log(joint.sum()), rel=1e-9)
        np.testing.assert_allclose(shares[n], joint / joint.sum(), atol=1e-12)
        expected = (joint / joint.sum()) @ np.stack([expected for _, expected, _ in each])
        np.testing.assert_allclose(filled[n], expected, atol=1e-9)
    assert fitted.loglike_[-1] == pytest.approx(scores.sum(), rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "estimator",
    [
        PPCAEM(2, tol=1e-12, random_state=0),
        FactorAnalysis(2, n_init=1),
        MixtureOfPPCA(1, n_clusters=2, tol=1e-10, max_iter=20000, random_state=0),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_the_fit_to_incomplete_rows_is_a_maximum(estimator, holes):
    _, rows = holes
    fitted = estimator.fit(rows)
    best = fitted.score(rows)
    rng = np.random.default_rng(5)
    floor = 1e-6 * np.nanvar(rows, axis=0) if isinstance(estimator, FactorAnalysis) else 0.0
    for name in ("components_", "mean_", "means_", "noise_variance_"):
        value = getattr(fitted, name, None)
        for _ in range(10 if value is not None else 0):
            change = rng.standard_normal(np.shape(value))
            moved = value + 1e-3 * change
            if name == "noise_variance_":
                moved = np.maximum(value * np.exp(0.01 * change), floor)
            setattr(fitted, name, moved)
            assert fitted.score(rows) < best, name
        setattr(fitted, name, value)


@pytest.mark.parametrize("kind", [PPCA, FactorAnalysis, MixtureOfPPCA])
def test_one_missing_value_changes_a_fit_little(kind):
    rng = np.random.default_rng(9)
    labels = rng.integers(2, size=300)
    rows = rng.standard_normal((300, 1)) @ rng.standard_normal((1, 5)) + 0.5 * rng.standard_normal((300, 5))
    rows += 6 * labels[:, None] * np.array([1, -1, 0, 0, 1])
    settings = {} if kind is PPCA else {"random_state": 0, "tol": 1e-6, "n_init": 1}
    one_hole = rows.copy()
    one_hole[7, 2] = np.nan
    complete, fitted = (kind(1, **settings).fit(x) for x in (rows, one_hole))
    # A row of 300 moves the maximum by its own log-likelihood, a few nats, over 300.
    assert abs(fitted.score(rows) - complete.score(rows)) < 1e-3
    assert complete.score_samples(one_hole)[:7] == pytest.approx(complete.score_samples(rows[:7]), rel=1e-12)


def test_blocks_of_rows_change_nothing(holes, monkeypatch):
    _, rows = holes
    whole = PPCAEM(2, random_state=0, tol=1e-10).fit(rows)
    monkeypatch.setattr("pyro_vae.baselines._missing_values.BLOCK", 40)
    cut = PPCAEM(2, random_state=1, tol=1e-10).fit(rows)
    np.testing.assert_allclose(cut.score_samples(rows), whole.score_samples(rows), atol=1e-3)
    np.testing.assert_allclose(cut.loglike_[-1], whole.loglike_[-1], rtol=1e-8)


def test_a_row_without_values_adds_nothing(holes):
    _, rows = holes
    fitted = PPCAEM(2, tol=1e-11, random_state=0).fit(rows)
    without = PPCAEM(2, tol=1e-11, random_state=0).fit(np.delete(rows, 70, axis=0))
    assert fitted.loglike_[-1] == pytest.approx(without.loglike_[-1], rel=1e-8)


@pytest.mark.slow
def test_a_third_of_digits_missing():
    rows = load_digits().data
    rng = np.random.default_rng(0)
    missing = rng.random(rows.shape) < 0.3
    incomplete = np.where(missing, np.nan, rows)
    fitted, complete = PPCAEM(15, random_state=0).fit(incomplete), PPCA(15).fit(rows)
    by_mean = np.where(missing, np.nanmean(incomplete, axis=0), rows)

    def error(filled: np.ndarray) -> float:
        return float(np.mean((filled - rows)[missing] ** 2))

    # Squared error. In its root no linear Gaussian comes to 0.6: the covariance of the complete rows gives 0.58
    # to 0.69, that of the holes 0.68 to 0.71 for 10 to 20 components.
    assert error(fitted.impute(incomplete)) < 0.6 * error(by_mean)
    assert abs(fitted.score(rows) - complete.score(rows)) < 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("load", "sizes"), [(load_digits, (2, 8)), (load_wine, (1, 2, 5)), (load_breast_cancer, (2, 5, 10))]
)
def test_factor_analysis_reaches_scikit_learn_or_better(load, sizes):
    rows = load().data
    rows = rows[:, rows.std(axis=0) > 0]
    for q in sizes:
        with threadpool_limits(1, user_api="blas"):  # thousands of small decompositions
            ours = FactorAnalysis(q).fit(rows)
            reference = ScikitLearnFactorAnalysis(q, svd_method="lapack", tol=1e-8, max_iter=300)
            theirs = quiet_fit(reference, rows)
        ours_mean, theirs_mean = ours.score(rows), theirs.score(rows)
        assert ours_mean >= theirs_mean - 1e-6 * abs(theirs_mean), (q, ours_mean, theirs_mean)


def test_factor_analysis_of_few_rows_agrees_with_the_covariance():
    # Zero columns appended turn the D x D problem into an N x N one.
    rng = np.random.default_rng(6)
    rows = rng.standard_normal((25, 2)) @ rng.standard_normal((2, 8)) + rng.standard_normal((25, 8))
    wide = np.hstack([rows, np.zeros((25, 30))])
    tall_fit, wide_fit = FactorAnalysis(2, n_init=1).fit(rows), FactorAnalysis(2, n_init=1).fit(wide)
    floor = 1e-6 * rows.var(axis=0).min()
    constant = -0.5 * 30 * np.log(2 * np.pi * floor)
    assert wide_fit.score(wide) == pytest.approx(tall_fit.score(rows) + constant, abs=1e-5)


def test_factor_analysis_is_free_of_the_units_of_columns():
    rows = load_wine().data
    units = np.logspace(-3, 3, rows.shape[1])
    ours, scaled = FactorAnalysis(2).fit(rows), FactorAnalysis(2).fit(rows * units)
    assert scaled.score(rows * units) == pytest.approx(ours.score(rows) - np.log(units).sum(), abs=1e-5)


def test_the_mixture_finds_clusters_and_beats_one_ppca():
    rng = np.random.default_rng(7)
    labels = np.repeat([0, 1, 2], [200, 150, 100])
    means = np.array([[0.0, 0, 0, 0, 0], [4, 4, 0, 0, 0], [0, 4, 4, 0, 0]])
    loadings = rng.standard_normal((3, 1, 5))
    rows = means[labels] + np.einsum("nq,nqd->nd", rng.standard_normal((450, 1)), loadings[labels])
    rows += 0.3 * rng.standard_normal(rows.shape)
    fitted = MixtureOfPPCA(1, n_clusters=3, n_init=3, random_state=0).fit(rows)
    order = [np.abs(fitted.means_ - mean).sum(axis=1).argmin() for mean in means]
    assert sorted(order) == [0, 1, 2]
    assert (fitted.predict(rows) == np.array(order)[labels]).mean() > 0.97
    np.testing.assert_allclose(fitted.noise_variance_, 0.09, rtol=0.15)
    np.testing.assert_allclose(fitted.weights_[order], np.array([200, 150, 100]) / 450, atol=0.03)
    assert fitted.score(rows) > PPCA(1).fit(rows).score(rows) + 1
    # The full-covariance mixture has the larger family, so its optimum is no lower.
    assert fitted.score(rows) < GaussianMixture(3, n_init=3, random_state=0).fit(rows).score(rows) + 1e-3


@pytest.mark.slow
def test_restarts_keep_the_best():
    rows = load_digits().data[:400] + np.random.default_rng(8).random((400, 64))
    rng = np.random.RandomState(0)
    single = [MixtureOfPPCA(2, n_clusters=8, random_state=rng).fit(rows).loglike_[-1] for _ in range(4)]
    several = MixtureOfPPCA(2, n_clusters=8, n_init=4, random_state=np.random.RandomState(0)).fit(rows)
    assert several.loglike_[-1] == max(single) > min(single)
