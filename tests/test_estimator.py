"""`VAE` as a scikit-learn estimator: its contract, its scores against closed forms, and bad input."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import assert_within_sigma
from scipy import stats
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from pyro_vae import VAE
from pyro_vae.baselines import PPCA
from pyro_vae.estimator.comparison import compare_with_ppca
from pyro_vae.estimator.densities import elbo_of_rows, log_prob_of_rows
from pyro_vae.estimator.shared_noise import shared_draws
from pyro_vae.estimator.training import as_double, default_epochs, default_hidden
from pyro_vae.evaluate import impute
from pyro_vae.guides import ExactLinearGuide
from pyro_vae.models import LinearGaussianModel
from pyro_vae.objectives import estimate_elbo

ROWS = np.random.default_rng(0).normal(size=(60, 4)) @ np.array(
    [[1.0, 0.5, 0, 0], [0, 1, 0, 2], [0, 0, 0.3, 0], [0.5, 0, 0, 1]]
)
FAST = {"epochs": 2, "num_samples": 5, "hidden": (8,), "random_state": 0, "validation_fraction": 0}
FITTED = VAE(2, **FAST).fit(ROWS)


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", ["gaussian", "table"])
def test_scikit_learns_checks_pass(likelihood):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_estimator(VAE(likelihood=likelihood, epochs=1, num_samples=2, hidden=(4,)), on_skip=None)


def test_log_prob_is_exact_where_the_guide_is_the_posterior():
    ppca = PPCA(2).fit(ROWS)
    model = LinearGaussianModel.from_baseline(ppca)
    guide = ExactLinearGuide(model)
    found = log_prob_of_rows(as_double(model), as_double(guide), ROWS, 3, seed=0)
    np.testing.assert_allclose(found, ppca.score_samples(ROWS), atol=1e-5)
    bound = elbo_of_rows(as_double(model), as_double(guide), ROWS, 3, seed=0)
    np.testing.assert_allclose(bound, found, atol=1e-5)


def test_scores_by_the_elbo_bound_log_p_and_have_the_expectation_of_estimate_elbo():
    fitted = VAE(2, estimate="elbo", **FAST).fit(ROWS)
    bound = fitted.score_samples(ROWS)
    np.testing.assert_allclose(fitted.score_samples(ROWS[5:7]), bound[5:7], atol=1e-7, rtol=0)
    assert (FITTED.score_samples(ROWS) >= bound).all()  # the same weights and noise, and Jensen's inequality
    programs = fitted.model_, fitted.guide_
    means = [elbo_of_rows(*programs, ROWS, 100, seed).mean() for seed in range(20)]
    exact = estimate_elbo(*programs, torch.tensor(ROWS), num_particles=2000)
    assert_within_sigma(np.mean(means), exact.mean, np.std(means, ddof=1) / np.sqrt(20))


def test_the_offset_is_of_the_estimate_and_the_comparison_with_ppca_of_log_p():
    settings = FAST | {"validation_fraction": 0.3}
    fits = [VAE(2, estimate=name, **settings) for name in ("elbo", "log-likelihood")]
    with pytest.warns(UserWarning, match="PPCA"):
        by_bound, by_log_prob = (vae.fit(ROWS) for vae in fits)
    assert (by_bound.predict(ROWS) == -1).sum() == 6
    assert by_bound.offset_ < by_log_prob.offset_
    assert by_bound.ppca_comparison_ == by_log_prob.ppca_comparison_


@pytest.mark.parametrize("guide", ["diagonal", "full-covariance", "low-rank", "mixture", "iaf", "spline"])
def test_a_row_has_the_same_score_in_any_batch_and_order(guide):
    fitted = VAE(2, guide=guide, **FAST | {"epochs": 1}).fit(ROWS)
    scores, means = fitted.score_samples(ROWS), fitted.transform(ROWS)
    order = np.random.default_rng(1).permutation(60)[:7]
    np.testing.assert_allclose(fitted.score_samples(ROWS[order]), scores[order], atol=1e-7, rtol=0)
    np.testing.assert_allclose(fitted.transform(ROWS[order[:1]]), means[order[:1]], atol=1e-7, rtol=0)
    assert np.isfinite(scores).all()


def test_missing_entries_are_left_out_and_imputed_row_by_row():
    rows = np.where(np.random.default_rng(2).random(ROWS.shape) < 0.3, np.nan, ROWS)
    rows[0] = np.nan
    fitted = VAE(2, likelihood="table", **FAST).fit(rows)
    scores, completed = fitted.score_samples(rows), fitted.impute(rows)
    assert scores[0] == 0
    np.testing.assert_array_equal(completed[~np.isnan(rows)], rows[~np.isnan(rows)])
    assert np.isfinite(completed).all()
    np.testing.assert_allclose(fitted.impute(rows[7:9]), completed[7:9], atol=1e-7)
    np.testing.assert_allclose(fitted.score_samples(rows[7:9]), scores[7:9], atol=1e-7)


def test_imputations_and_their_draws_are_those_of_evaluate_impute():
    rows = coded_table()
    fitted = VAE(1, likelihood="table", kinds=["real", "binary", "ordinal", "count"], **FAST).fit(rows)
    fitted.set_params(num_samples=1000)
    rows = rows[np.isnan(rows).any(axis=1)][:12]
    expected = impute(fitted.model_, fitted.guide_, torch.tensor(rows), 4000)
    missing, coded = np.isnan(rows), np.isnan(expected.sd.numpy())
    real = missing & ~coded
    value, sd, ess = expected.value.numpy(), expected.sd.numpy(), expected.ess.numpy()
    error = sd / np.sqrt(np.minimum(ess, 1e6))[:, None] * np.sqrt(1 + 4)
    completed = fitted.impute(rows)
    assert (np.abs(completed - value)[real] < 4 * error[real]).all()
    draws = np.stack(fitted.sample_imputations(rows, 400, random_state=0))
    assert (draws[:, ~missing] == rows[~missing]).all()
    assert (np.abs(draws.mean(0) - value)[real] < 4 * np.hypot(error, sd / np.sqrt(400))[real]).all()
    chance = expected.probability.numpy()[missing & coded]
    found = (draws == value).mean(0)[missing & coded]
    assert (np.abs(found - chance) < 4 * np.sqrt(0.25 * (1 / 400 + 5 / ess.min()))).all()


def test_draws_of_a_row_depend_on_the_row_and_the_seed_alone():
    rows = np.where(np.random.default_rng(2).random(ROWS.shape) < 0.3, np.nan, ROWS)
    fitted = VAE(2, likelihood="table", **FAST).fit(rows)
    draws = np.stack(fitted.sample_imputations(rows, 3, random_state=1))
    part = np.stack(fitted.sample_imputations(rows[9:5:-1], 3, random_state=1))
    np.testing.assert_allclose(part, draws[:, 9:5:-1], atol=1e-7)
    missing = np.isnan(rows)
    for draw in draws:
        assert len(np.unique(draw[missing])) == missing.sum()  # no two rows share their noise
    assert (draws[0] != draws[1])[missing].any()
    assert (np.stack(fitted.sample_imputations(rows, 3, random_state=2)) != draws)[:, missing].all()


def coded_table():
    """Return rows of the kinds real, binary, ordinal and count, the second and third alike, some entries missing."""
    rng = np.random.default_rng(3)
    level = rng.integers(0, 2, 300)
    rows = np.stack([rng.normal(3.0 * level), level, 2 * level, rng.poisson(2, 300)], axis=1)
    rows[rng.random(rows.shape) < 0.05] = np.nan
    return rows


def test_a_column_that_is_constant_in_training_is_not_divided_by_a_rounding_error():
    rows = np.column_stack([ROWS, np.full(60, -0.061)])
    assert rows.std(axis=0)[-1] > 0  # by rounding
    fitted = VAE(2, likelihood="gaussian-fixed", **FAST).fit(rows)
    rows[0, -1] = 0.0
    assert (fitted.score_samples(rows) > -1000).all()


def test_the_fixed_scale_is_the_geometric_mean_of_the_columns():
    rows = np.column_stack([ROWS[:, 0] * 1000, ROWS[:, 1] / 10, np.ones(60)])
    fitted = VAE(1, likelihood="gaussian-fixed", **FAST).fit(rows)
    expected = np.sqrt(rows[:, 0].std() * rows[:, 1].std())
    assert float(fitted.model_.likelihood.fixed_scale) == pytest.approx(expected, rel=5e-3)  # three digits


KINDS = ["real", "binary", "ordinal", "count"]


@pytest.mark.slow
def test_columns_are_modelled_by_their_kind():
    rows = coded_table()
    settings = {"epochs": 60, "hidden": (8,), "random_state": 0, "compile": "off"}
    fitted = VAE(1, likelihood="table", kinds=KINDS, **settings).fit(rows)
    assert [len(column.levels) for column in fitted.columns_] == [0, 2, 3, 0]
    assert fitted.ppca_comparison_ is None  # probabilities beside densities
    # A cell alone has the marginal probability of its column: of a binary one the share of its level.
    alone = np.full((2, 4), np.nan)
    alone[:, 1] = [0, 1]
    chances = np.exp(fitted.score_samples(alone))
    assert chances.sum() == pytest.approx(1, abs=0.02)
    assert chances[1] == pytest.approx(np.nanmean(rows[:, 1]), abs=0.1)
    # The level given the other column's, which it is a function of.
    alone[:, 2] = [0, 2]
    alone[:, 1] = np.nan
    np.testing.assert_array_equal(fitted.impute(alone)[:, 1], [0, 1])
    assert set(np.unique(fitted.sample(50)[:, 2])) <= {0, 1, 2}


def test_values_that_a_kind_does_not_take_are_refused_in_fit_and_impossible_in_scores():
    rows = coded_table()
    for column, value in [(1, 2.0), (2, 0.5), (3, -1.0)]:
        other = rows.copy()
        other[4, column] = value
        with pytest.raises(
            ValueError, match=f"in column {column} of X, of kind '{KINDS[column]}'; got others"
        ):
            VAE(1, likelihood="table", kinds=KINDS, **FAST).fit(other)
        scores = VAE(1, likelihood="table", kinds=KINDS, **FAST).fit(rows).score_samples(other)
        np.testing.assert_array_equal(np.isneginf(scores), np.arange(300) == 4)


FAMILIES = {
    "normal": torch.distributions.Normal(torch.tensor([[1.0, -1.0]]), torch.tensor([[0.5, 2.0]])),
    "full": torch.distributions.MultivariateNormal(
        torch.ones(1, 2), torch.tensor([[[2.0, 0.9], [0.9, 1.0]]])
    ),
    "low rank": torch.distributions.LowRankMultivariateNormal(
        torch.ones(1, 2), torch.tensor([[[1.0], [-0.5]]]), torch.tensor([[0.3, 0.7]])
    ),
    "mixture": torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.tensor([[0.2, 0.8]])),
        torch.distributions.Independent(
            torch.distributions.Normal(torch.tensor([[[-2.0, 0.0], [1.0, 3.0]]]), torch.ones(1, 2, 2)), 1
        ),
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_shared_draws_have_the_moments_of_their_family(family):
    posterior = FAMILIES[family]
    torch.manual_seed(0)
    draws = shared_draws(posterior, 20_000)[:, 0]
    error = posterior.variance[0].sqrt() / 20_000**0.5
    assert ((draws.mean(0) - posterior.mean[0]).abs() < 4 * error).all()
    assert draws.var(0).numpy() == pytest.approx(posterior.variance[0].numpy(), rel=0.06)
    if family == "full":
        assert float(torch.cov(draws.T)[0, 1]) == pytest.approx(0.9, abs=0.06)


def test_predicts_the_contaminated_share_of_training_rows_as_outliers():
    assert (FITTED.predict(ROWS) == -1).sum() == 6
    np.testing.assert_allclose(FITTED.decision_function(ROWS), FITTED.score_samples(ROWS) - FITTED.offset_)
    assert FITTED.predict(ROWS + 100).tolist() == [-1] * 60
    np.testing.assert_array_equal(clone(FITTED).fit_predict(ROWS), FITTED.predict(ROWS))


def test_same_seed_same_model_and_the_random_states_stay():
    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    again = clone(FITTED).fit(ROWS)
    np.testing.assert_array_equal(again.score_samples(ROWS), FITTED.score_samples(ROWS))
    np.testing.assert_array_equal(FITTED.sample(5, 1), FITTED.sample(5, 1))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)


def test_pickles():
    again = pickle.loads(pickle.dumps(FITTED))
    np.testing.assert_array_equal(again.score_samples(ROWS), FITTED.score_samples(ROWS))


def test_names_outputs_and_takes_frames():
    frame = pd.DataFrame(ROWS, columns=list("abcd"))
    fitted = VAE(2, **FAST).set_output(transform="pandas").fit(frame)
    assert list(fitted.transform(frame).columns) == ["vae0", "vae1"]
    assert list(fitted.feature_names_in_) == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        fitted.transform(frame[list("dcba")])
    assert fitted.inverse_transform(np.zeros((3, 2))).shape == (3, 4)


def test_works_in_pipelines_and_column_transformers():
    pipeline = make_pipeline(StandardScaler(), VAE(2, **FAST)).fit(ROWS)
    assert pipeline.score_samples(ROWS).shape == (60,)
    columns = ColumnTransformer([("vae", VAE(1, **FAST), [0, 1, 2])], remainder="passthrough")
    assert columns.fit_transform(ROWS).shape == (60, 2)


@pytest.mark.slow
def test_grid_search_over_sizes_likelihoods_and_guides():
    grid = {"n_components": [1, 2], "likelihood": ["gaussian", "student-t"], "guide": ["diagonal"]}
    search = GridSearchCV(VAE(**FAST | {"epochs": 1}), grid, cv=2).fit(ROWS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_zeros_and_ones_by_bernoulli():
    binary = (ROWS > 0).astype(float)
    fitted = VAE(1, likelihood="bernoulli", **FAST).fit(binary)
    every = np.array([[(n >> j) & 1 for j in range(4)] for n in range(16)], dtype=float)
    total = np.exp(VAE.score_samples(fitted.set_params(num_samples=2000), every)).sum()
    assert total == pytest.approx(1, abs=0.02)
    assert fitted.ppca_comparison_ is None


def test_warns_if_ppca_is_better():
    validation = np.arange(60) % 3 == 0
    exact = _standardized_ppca(validation)
    with pytest.warns(
        UserWarning, match=r"PPCA of 2 components has a higher log p\(x\) of the 20 validation"
    ):
        worse = compare_with_ppca(ROWS, validation, exact - stats.uniform.rvs(1, size=60), 2, True)
    assert worse.difference < 0 < worse.difference_se
    better = compare_with_ppca(ROWS, validation, exact + 1, 2, True)
    assert better.difference == pytest.approx(1)


def _standardized_ppca(validation):
    mean, std = ROWS[~validation].mean(0), ROWS[~validation].std(0)
    scaled = (ROWS - mean) / std
    return PPCA(2).fit(scaled[~validation]).score_samples(scaled) - np.log(std).sum()


@pytest.mark.slow
def test_is_better_than_ppca_on_rows_of_a_curve():
    t = np.random.default_rng(0).uniform(-2, 2, size=(400, 1))
    rows = np.hstack([t, t**2, np.sin(2 * t)]) + 0.1 * np.random.default_rng(1).normal(size=(400, 3))
    compared = VAE(1, epochs=100, num_samples=20, random_state=0).fit(rows).ppca_comparison_
    assert compared.num_rows == 60
    assert compared.difference > 3 * compared.difference_se


def test_sizes_grow_with_the_table():
    assert default_hidden(151, 13) == (32,)
    assert default_hidden(100_000, 50) == (256, 256)
    assert (default_epochs(151, 128), default_epochs(100_000, 128)) == (300, 20)


BAD_CALLS = [
    (lambda: VAE(0).fit(ROWS), "n_components to be a whole number of at least 1; got 0"),
    (lambda: VAE(likelihood="poison").fit(ROWS), "likelihood to be one of gaussian, .*; got 'poison'"),
    (lambda: VAE(guide="point").fit(ROWS), "guide to be one of .*; got 'point'"),
    (lambda: VAE(contamination=0.7).fit(ROWS), r"contamination in \(0, 0.5\]; got 0.7"),
    (lambda: VAE(validation_fraction=1).fit(ROWS), r"validation_fraction in \[0, 1\); got 1"),
    (lambda: VAE(estimate="iwae").fit(ROWS), "estimate to be one of log-likelihood, elbo; got 'iwae'"),
    (lambda: VAE(objective="iwae").fit(ROWS), "num_particles of at least 2 with objective 'iwae'; got 1"),
    (
        lambda: VAE(1, guide="iaf").fit(ROWS),
        "n_components of at least 2 with guide 'iaf' and prior .*; got 1",
    ),
    (lambda: VAE(likelihood="bernoulli", **FAST).fit(ROWS), "zeros and ones"),
    (lambda: VAE(kinds=KINDS).fit(ROWS), "no kinds with likelihood 'gaussian'"),
    (
        lambda: VAE(likelihood="table", kinds=KINDS[:3]).fit(ROWS),
        r"for each of 4 columns of X; got .*, 3 in number",
    ),
    (
        lambda: VAE(likelihood="table", kinds=[*KINDS[:3], "text"]).fit(ROWS),
        "kinds to have one of real, student-t, positive",
    ),
    (lambda: VAE().fit(ROWS[:1]), "at least 2 rows; got n_samples=1"),
    (lambda: VAE().fit(np.where(ROWS > 1, np.nan, ROWS)), "without NaN or infinity; got"),
    (lambda: FITTED.score(ROWS[:, :3]), "3 features, but .* 4 features"),
    (lambda: FITTED.inverse_transform(ROWS), r"Z of shape \(N, 2\); got \(60, 4\)"),
    (lambda: FITTED.sample(0), "n_samples to be a whole number of at least 1"),
]


@pytest.mark.parametrize(("call", "message"), BAD_CALLS)
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("likelihood", "bad", "expected"),
    [("bernoulli", 0.3, "zeros and ones"), ("continuous-bernoulli", 1.5, "values from 0 to 1")],
)
def test_values_without_a_probability_are_refused_in_fit_and_impossible_in_scores(likelihood, bad, expected):
    rows = (np.random.default_rng(0).random((60, 4)) < 0.5).astype(float)
    others = rows.copy()
    others[3, 1] = bad
    vae = VAE(2, likelihood=likelihood, epochs=2, random_state=0)
    with pytest.raises(ValueError, match=f"Expected {expected} in X"):
        vae.fit(others)
    scores, whole = vae.fit(rows).score_samples(others), vae.score_samples(rows)
    assert scores[3] == -np.inf
    assert np.isfinite(whole).all()
    np.testing.assert_array_equal(np.delete(scores, 3), np.delete(whole, 3))
    assert vae.predict(others)[3] == -1
