"""The baselines as scikit-learn estimators: the contract, tensors, bad and odd input."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from pyro_vae import baselines
from pyro_vae._checks import InputError
from pyro_vae.baselines import PPCA, PPCAEM, FactorAnalysis, MixtureOfPPCA

ESTIMATORS = [kind for kind in map(vars(baselines).get, baselines.__all__) if issubclass(kind, BaseEstimator)]
EVERY = pytest.mark.parametrize("estimator", ESTIMATORS)

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((60, 3)) @ RNG.standard_normal((3, 6)) + RNG.standard_normal((60, 6))
RANK_3 = RNG.standard_normal((60, 3)) @ RNG.standard_normal((3, 6))
ALIKE = np.full((10, 6), 0.1)
WITH_NAN, WITH_INF, NO_COLUMN = ROWS.copy(), ROWS.copy(), ROWS.copy()
WITH_NAN[3, 2], WITH_INF[3, 2], NO_COLUMN[:, 4] = np.nan, np.inf, np.nan


@parametrize_with_checks([estimator() for estimator in ESTIMATORS])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@EVERY
def test_arrays_tensors_and_data_frames_are_equivalent(estimator):
    settings = {"random_state": 0} if "random_state" in estimator().get_params() else {}
    fitted = estimator(2, **settings).fit(ROWS)
    tensor = torch.tensor(ROWS, requires_grad=True)
    frame = pd.DataFrame(ROWS, columns=list("abcdef"))
    from_tensor, from_frame = (estimator(2, **settings).fit(rows) for rows in (tensor, frame))
    np.testing.assert_array_equal(from_tensor.components_, fitted.components_)
    np.testing.assert_allclose(from_frame.components_, fitted.components_, atol=1e-8)
    assert list(from_frame.feature_names_in_) == list("abcdef")
    np.testing.assert_array_equal(fitted.score_samples(tensor), fitted.score_samples(ROWS))
    np.testing.assert_array_equal(fitted.transform(tensor), fitted.transform(ROWS))
    coarse = torch.tensor(ROWS, dtype=torch.bfloat16)
    np.testing.assert_array_equal(fitted.score_samples(coarse), fitted.score_samples(coarse.double().numpy()))


@EVERY
def test_survives_pickling_and_cloning(estimator):
    fitted = estimator(2).fit(ROWS)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.score_samples(ROWS), fitted.score_samples(ROWS))
    assert clone(fitted).get_params() == fitted.get_params()


@EVERY
def test_names_its_outputs_and_the_size_of_its_latent(estimator):
    fitted = estimator(2).fit(ROWS)
    name = estimator.__name__.lower()
    assert list(fitted.get_feature_names_out()) == [f"{name}0", f"{name}1"]
    assert fitted.transform(ROWS).shape == (60, 2)
    assert fitted.score(ROWS) == pytest.approx(fitted.score_samples(ROWS).mean())


@EVERY
def test_random_state_is_a_seed_a_generator_or_none_and_global_state_is_unchanged(estimator):
    fitted = estimator(2).fit(ROWS)
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (the global state is what must stay)
    np.testing.assert_array_equal(fitted.sample(5, random_state=1), fitted.sample(5, random_state=1))
    generator = np.random.RandomState(1)
    np.testing.assert_array_equal(fitted.sample(5, generator), fitted.sample(5, random_state=1))
    assert not np.array_equal(fitted.sample(5, generator), fitted.sample(5, random_state=1))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


BAD_CALLS: list[tuple[str, Callable[[type], object], str]] = [
    ("one row", lambda e: e(2).fit(ROWS[:1]), r"at least 2 rows; got n_samples=1"),
    ("rows all alike", lambda e: e(2).fit(ALIKE), r"Expected X to vary"),
    ("components of min(N, D)", lambda e: e(6).fit(ROWS), r"n_components below 6 .*; got 6"),
    ("components of N of few rows", lambda e: e(4).fit(ROWS[:4]), r"n_components below [34] .*; got 4"),
    (
        "negative components",
        lambda e: e(-1).fit(ROWS),
        r"n_components to be a whole number of at least 0; got -1",
    ),
    ("components no whole number", lambda e: e(1.5).fit(ROWS), r"n_components to be a whole number"),
    ("infinity in fit", lambda e: e(2).fit(WITH_INF), r"without (NaN or )?infinity; got 1"),
    ("infinity in score", lambda e: e(2).fit(ROWS).score(WITH_INF), r"without (NaN or )?infinity; got 1"),
    (
        "infinity in transform",
        lambda e: e(2).fit(ROWS).transform(WITH_INF),
        r"without (NaN or )?infinity; got 1",
    ),
    (
        "column missing",
        lambda e: e(2).fit(NO_COLUMN),
        r"a value in every column of X; got none in columns \[4\]",
    ),
    ("one row as a vector", lambda e: e(2).fit(ROWS).score(ROWS[0]), r"shape \(N, D\); got \(6,\). Reshape"),
    ("images", lambda e: e(2).fit(ROWS.reshape(60, 2, 3)), r"shape \(N, D\); got \(60, 2, 3\). Reshape"),
    ("no rows", lambda e: e(2).fit(ROWS[:0]), r"0 sample"),
    ("text", lambda e: e(2).fit([["a", "b"], ["c", "d"]]), r"could not convert"),
    ("other features", lambda e: e(2).fit(ROWS).score_samples(ROWS[:, :3]), r"3 features, but .* 6 features"),
    (
        "no samples asked for",
        lambda e: e(2).fit(ROWS).sample(0),
        r"n_samples to be a whole number of at least 1",
    ),
]

BAD_SINGLE_CALLS: list[tuple[str, Callable[[], object], str]] = [
    ("rank", lambda: PPCA(3).fit(RANK_3), r"below the rank of the centred rows, 3; got 3.*choose at most 2"),
    ("rank by EM", lambda: PPCAEM(4).fit(RANK_3), r"below the rank of the data; 4 explain it fully"),
    ("N - 1 components", lambda: PPCA(3).fit(ROWS[:4]), r"rank of the centred rows, 3; got 3"),
    ("N - 1 by EM", lambda: PPCAEM(3).fit(ROWS[:4]), r"n_components below 3 for n_samples=4"),
    (
        "NaN in a chunk",
        lambda: PPCA(2).partial_fit(ROWS).partial_fit(WITH_NAN),
        r"without NaN or infinity; got 1 such.*`fit` takes NaN",
    ),
    (
        "chunk after missing values",
        lambda: PPCA(2).fit(WITH_NAN).partial_fit(ROWS),
        r"partial_fit after a fit to .* without missing values",
    ),
    (
        "chunk after wide fit",
        lambda: PPCA(2).fit(ROWS[:5]).partial_fit(ROWS),
        r"partial_fit after a fit to at least",
    ),
    (
        "latents of other size",
        lambda: PPCA(2).fit(ROWS).inverse_transform(ROWS),
        r"Z of shape \(N, 2\); got \(60, 6\)",
    ),
    ("negative tol", lambda: PPCAEM(2, tol=-1).fit(ROWS), r"tol to be a finite number of at least 0"),
    (
        "no iterations",
        lambda: FactorAnalysis(2, max_iter=0).fit(ROWS),
        r"max_iter to be a whole number of at least 1",
    ),
    (
        "no floor",
        lambda: FactorAnalysis(2, noise_floor=0).fit(ROWS),
        r"noise_floor to be a finite number above 0",
    ),
    ("floor of all", lambda: MixtureOfPPCA(2, noise_floor=1).fit(ROWS), r"noise_floor below 1"),
    (
        "clusters over rows",
        lambda: MixtureOfPPCA(2, n_clusters=61).fit(ROWS),
        r"n_clusters of at most n_samples=60",
    ),
    ("no clusters", lambda: MixtureOfPPCA(2, n_clusters=0).fit(ROWS), r"n_clusters to be a whole number"),
    ("no starts", lambda: MixtureOfPPCA(2, n_init=0).fit(ROWS), r"n_init to be a whole number"),
]


@EVERY
@pytest.mark.parametrize(("call", "message"), [case[1:] for case in BAD_CALLS], ids=[c[0] for c in BAD_CALLS])
def test_bad_input_ends_in_one_sentence(estimator, call, message):
    with pytest.raises(InputError, match=message):
        call(estimator)


@pytest.mark.parametrize(
    ("call", "message"), [case[1:] for case in BAD_SINGLE_CALLS], ids=[c[0] for c in BAD_SINGLE_CALLS]
)
def test_bad_input_of_one_estimator(call, message):
    with pytest.raises(InputError, match=message):
        call()


@EVERY
def test_unfitted_raises(estimator):
    for method in ("score_samples", "transform", "score"):
        with pytest.raises(NotFittedError):
            getattr(estimator(2), method)(ROWS)
    with pytest.raises(NotFittedError):
        estimator(2).sample()


def test_few_steps_warn_of_no_convergence():
    for estimator in (PPCAEM, FactorAnalysis, MixtureOfPPCA):
        with pytest.warns(
            ConvergenceWarning, match=f"{estimator.__name__} did not converge in max_iter=2 steps"
        ):
            fitted = estimator(2, max_iter=2).fit(ROWS)
        assert fitted.n_iter_ == len(fitted.loglike_) == 2


@EVERY
def test_no_components_is_the_gaussian_of_independent_columns(estimator):
    settings = {"n_clusters": 1} if estimator is MixtureOfPPCA else {}
    fitted = estimator(0, **settings).fit(ROWS)
    variance = ROWS.var(axis=0) if estimator is FactorAnalysis else ROWS.var(axis=0).mean()
    np.testing.assert_allclose(np.ravel(fitted.noise_variance_), variance, rtol=1e-6)
    assert fitted.transform(ROWS).shape == (60, 0)


def test_default_latent_sizes():
    assert PPCA().fit(ROWS).components_.shape == (5, 6)
    assert PPCA().fit(RANK_3).components_.shape == (2, 6)
    assert PPCA().fit(ROWS[:4]).components_.shape == (2, 6)
    assert PPCAEM().fit(ROWS).components_.shape == (5, 6)
    assert FactorAnalysis().fit(ROWS).components_.shape == (3, 6)  # (6 - 3)² >= 6 + 3
    assert MixtureOfPPCA().fit(ROWS).components_.shape == (2, 2, 6)


def test_constant_columns():
    constant = ROWS.copy()
    constant[:, 2] = 0.1
    varying = [0, 1, 3, 4, 5]
    for fitted in (PPCA(2).fit(constant), PPCAEM(2).fit(constant)):
        # The column is fitted without loadings, and takes its share of the one noise variance.
        np.testing.assert_allclose(fitted.components_[:, 2], 0, atol=1e-9)
        assert fitted.mean_[2] == pytest.approx(0.1)
    fitted = FactorAnalysis(2).fit(constant)
    floor = 1e-6 * ROWS[:, varying].var(axis=0).min()
    assert fitted.noise_variance_[2] == pytest.approx(floor)
    np.testing.assert_allclose(fitted.components_[:, 2], 0, atol=1e-15)
    without = FactorAnalysis(2).fit(ROWS[:, varying]).score(ROWS[:, varying])
    assert fitted.score(constant) == pytest.approx(without - 0.5 * np.log(2 * np.pi * floor), abs=1e-5)


def test_heywood_case_stops_at_the_floor():
    # Two columns that are one: the likelihood grows without bound as their noise goes to zero.
    rows = np.hstack([ROWS[:, :5], 3 * ROWS[:, :1]])
    scores = []
    for floor in (1e-2, 1e-4, 1e-6):
        fitted = FactorAnalysis(2, noise_floor=floor).fit(rows)
        np.testing.assert_allclose(
            fitted.noise_variance_[[0, 5]], floor * rows[:, [0, 5]].var(axis=0), rtol=1e-3
        )
        scores.append(fitted.score(rows))
    # Each hundredth of the floor is worth the log of one standard deviation less across the common line.
    np.testing.assert_allclose(np.diff(scores), np.log(10), rtol=0.05)


def test_empty_clusters_are_removed():
    rows = np.repeat([[0.0, 0, 0], [1, 2, 3], [5, 0, 1]], 20, axis=0)
    with pytest.warns(ConvergenceWarning, match="distinct clusters"):
        fitted = MixtureOfPPCA(1, n_clusters=5, random_state=0).fit(rows)
    assert fitted.weights_.shape == (3,)
    np.testing.assert_allclose(fitted.weights_, 1 / 3)
    np.testing.assert_allclose(fitted.noise_variance_, 1e-6 * rows.var(axis=0).mean())
