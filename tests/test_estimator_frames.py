"""`VAE` on data frames of mixed columns: kinds, levels, dates, missing entries, and scikit-learn's compositions."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pyro_vae import VAE

FAST = {"epochs": 3, "hidden": (4,), "num_samples": 10, "compile": "off", "random_state": 0}


def frame(count=80):
    """Return text, truth values, a category, a date, counts and numbers, an identifier and a constant, with holes."""
    rng = np.random.default_rng(0)
    kind = rng.choice(["a", "b", "c"], count)
    table = pd.DataFrame(
        {
            "id": np.arange(count) + 1000,
            "kind": kind,
            "flag": kind == "a",
            "grade": pd.Categorical(kind, categories=["c", "b", "a"]),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 300, count), unit="D"),
            "written": [f"{d:02d}/03/2021" for d in rng.integers(1, 29, count)],
            "visits": rng.geometric(0.05, count) - 1,
            "size": rng.normal(5, 2, count),
            "same": "x",
        },
        index=np.arange(count)[::-1],
    )
    for name in ("kind", "day", "written", "size"):
        table.loc[rng.random(count) < 0.1, name] = None
    return table


TABLE = frame()


@pytest.fixture(scope="module")
def fitted():
    return VAE(2, likelihood="table", **FAST).fit(TABLE)


def test_kinds_are_inferred_and_other_columns_are_left_out(fitted):
    kinds = {column.name: column.kind for column in fitted.columns_}
    assert kinds["kind"] == kinds["grade"] == "categorical"
    assert kinds["flag"] == "binary"
    assert kinds["day"] == kinds["written"] == kinds["size"] == "real"
    assert set(fitted.frame_.left_out) == {"id", "same"}
    assert fitted.ppca_comparison_ is None  # probabilities beside densities
    assert fitted.n_features_in_ == TABLE.shape[1]
    named = VAE(2, likelihood="table", kinds={"visits": "real", "kind": "ordinal"}, **FAST).fit(TABLE)
    assert {c.name: c.kind for c in named.columns_}["kind"] == "ordinal"


def test_imputations_come_back_as_they_were_given(fitted):
    completed = fitted.impute(TABLE)
    assert completed.notna().all().all()
    pd.testing.assert_series_equal(completed.dtypes, TABLE.dtypes)
    assert completed.index.equals(TABLE.index)
    observed = TABLE.notna()
    assert (completed.where(observed).astype(object) == TABLE.where(observed).astype(object))[
        observed
    ].sum().sum() == (observed.sum().sum())
    assert set(completed["kind"]) == {"a", "b", "c"}
    assert completed["written"].str.fullmatch(r"\d\d/\d\d/2021").all()


def test_draws_of_missing_entries_come_back_as_they_were_given(fitted):
    drawn = fitted.sample_imputations(TABLE, 3, random_state=0)
    assert len(drawn) == 3
    for completed in drawn:
        assert completed.notna().all().all()
        pd.testing.assert_series_equal(completed.dtypes, TABLE.dtypes)
        assert completed.index.equals(TABLE.index)
    missing = TABLE["size"].isna()
    assert (drawn[0]["size"] != drawn[1]["size"])[missing].any()


def test_samples_and_means_are_frames_of_the_modelled_columns(fitted):
    for made in (fitted.sample(7, random_state=0), fitted.inverse_transform(fitted.transform(TABLE.head(7)))):
        assert list(made.columns) == [column.name for column in fitted.columns_]
        assert made.shape[0] == 7
        assert set(made["kind"]) <= {"a", "b", "c"}
        assert made["flag"].dtype == bool
        assert made["grade"].dtype == TABLE["grade"].dtype
        assert made["visits"].dtype == TABLE["visits"].dtype


def test_a_row_has_the_same_score_alone_and_after_pickling(fitted):
    scores = fitted.score_samples(TABLE)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_allclose(again.score_samples(TABLE.iloc[5:7]), scores[5:7], atol=1e-7)
    np.testing.assert_array_equal(clone(fitted).fit(TABLE).score_samples(TABLE), scores)


def test_a_row_with_nothing_observed_has_probability_one(fitted):
    empty = TABLE.head(2).astype(object)
    empty.iloc[0] = None
    assert fitted.score_samples(empty)[0] == 0


def test_unseen_levels_are_reported_and_not_observed(fitted):
    other, hidden = TABLE.head(3).copy(), TABLE.head(3).copy()
    other.iloc[0, 1], hidden.iloc[0, 1] = "new", None
    with pytest.warns(UserWarning, match=r"'kind' holds levels that the training rows do not have: 'new'"):
        scores = fitted.score_samples(other)
    np.testing.assert_array_equal(scores, fitted.score_samples(hidden))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="kind"), "yet now missing:\n- kind"),
        (lambda t: t.rename(columns={"kind": "sort"}), "unseen at fit time:\n- sort"),
        (lambda t: t[t.columns[::-1]], "same order"),
        (lambda t: t.assign(size="large"), "'size'"),
        (lambda t: t.head(0), "at least one row"),
        (lambda t: t.to_numpy(), "as a DataFrame"),
    ],
)
def test_other_columns_are_refused(fitted, change, words):
    with pytest.raises(ValueError, match=words):
        fitted.score_samples(change(TABLE))


def test_kinds_that_do_not_fit_are_refused():
    for kinds, words in (
        ({"colour": "real"}, "from columns of X"),
        ({"kind": "count"}, "'kind'"),
        (["real", "binary"], r"as a dict from columns of X, .*got \['real', 'binary'\]"),
    ):
        with pytest.raises(ValueError, match=words):
            VAE(2, likelihood="table", kinds=kinds, **FAST).fit(TABLE)
    for names in (range(TABLE.shape[1]), ["kind"] * TABLE.shape[1]):
        with pytest.raises(ValueError, match="different texts as names"):
            VAE(2, likelihood="table", **FAST).fit(TABLE.set_axis(list(names), axis=1))
    with pytest.raises(ValueError, match="a column to model"):
        VAE(1, likelihood="table", **FAST).fit(TABLE[["same"]])


def test_numbers_stay_real_unless_kinds_are_requested():
    numbers = TABLE[["size", "visits"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert VAE(1, likelihood="table", **FAST).fit(numbers).frame_ is None
        kinds = [column.kind for column in VAE(1, likelihood="table", kinds={}, **FAST).fit(numbers).columns_]
    assert kinds == ["real", "count"]


@pytest.mark.slow
def test_it_works_in_compositions():
    search = GridSearchCV(VAE(likelihood="table", **FAST), {"n_components": [1, 2]}, cv=2).fit(TABLE)
    assert np.isfinite(search.best_score_)
    parts = ColumnTransformer(
        [
            ("codes", VAE(2, likelihood="table", **FAST), ["kind", "flag", "size"]),
            ("numbers", StandardScaler(), ["visits"]),
        ]
    ).set_output(transform="pandas")
    codes = make_pipeline(parts).fit_transform(TABLE)
    assert codes.shape == (len(TABLE), 3)
    assert codes.index.equals(TABLE.index)


def test_dates_are_read_as_in_training_when_they_do_not_say_which_is_the_month():
    days = pd.Timestamp("2021-01-01") + pd.to_timedelta(np.arange(80) * 3, unit="D")
    table = pd.DataFrame({"kind": np.tile(["a", "b"], 40), "day": days.strftime("%m/%d/%Y")})
    fitted = VAE(2, likelihood="table", **FAST).fit(table)
    scores = fitted.score_samples(table)
    early = np.flatnonzero(days.day <= 12)
    np.testing.assert_allclose(fitted.score_samples(table.iloc[early]), scores[early], atol=1e-7)
    other = table.assign(day=days.strftime("%Y-%m-%d"))
    np.testing.assert_allclose(fitted.score_samples(other), scores, atol=1e-7)
    with pytest.raises(ValueError, match="'day'"):
        fitted.score_samples(table.assign(day=days.strftime("%d.%m.%Y")))
