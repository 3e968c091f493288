"""Baselines and variational autoencoders side by side: orders that must hold, and gaps that add up."""

import json

import numpy as np
import pytest
import torch
from helpers import script
from sklearn.datasets import load_digits

from pyro_vae.baselines import PPCA
from pyro_vae.data import load_dataset
from pyro_vae.experiment.comparison import (
    compare,
    exact_baselines,
    fit_baseline,
    fit_linear_vae,
    fit_vae,
    linear_baselines,
)
from pyro_vae.experiment.config import Config, ModelConfig, TrainingConfig
from pyro_vae.objectives import estimate_elbo


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.mark.slow
def test_on_digits_the_nonlinear_vae_is_above_factor_analysis_above_ppca(digits):
    baselines = linear_baselines(digits, 8)
    training = TrainingConfig(epochs=20, device="cpu")
    vae = fit_vae(Config(model=ModelConfig(latent_dim=8), training=training), digits)
    ppca, factor_analysis = baselines["ppca"], baselines["factor_analysis"]
    assert vae.test[0] > factor_analysis.test[0] + 2 * factor_analysis.test[1]
    assert factor_analysis.test[0] > ppca.test[0] + 10
    assert vae.kind == "ELBO"
    assert ppca.kind == factor_analysis.kind == "exact"


@pytest.fixture(scope="module")
def linear(digits):
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(600, 3)) @ generator.normal(size=(3, 10)) + 0.5 * generator.normal(
        size=(600, 10)
    )
    train, test = torch.from_numpy(rows[:500]).float(), torch.from_numpy(rows[500:]).float()
    return fit_linear_vae(train, test, 3, epochs=150, batch_size=100, lr=1e-2, progress=False), train


@pytest.mark.slow
def test_the_linear_vae_approaches_the_closed_form_from_below(linear):
    vae, train = linear
    assert vae.optimum == pytest.approx(PPCA(3).fit(train.double()).score(train.double()))
    assert vae.reached <= vae.optimum + 1e-9
    assert 0 < vae.optimum - vae.entry.train < 0.2


@pytest.mark.slow
def test_the_two_gaps_add_up(linear):
    vae, _ = linear
    assert vae.parameter_gap + vae.posterior_gap == pytest.approx(vae.optimum - vae.entry.train)
    assert vae.parameter_gap >= -1e-9


@pytest.mark.slow
def test_the_leading_subspace_is_found(linear):
    vae, train = linear
    ours, _ = np.linalg.qr(vae.model.weight.detach().numpy())
    exact, _ = np.linalg.qr(PPCA(3).fit(train.double()).components_.T)
    # The sine of the largest angle is the largest part of a principal direction outside our subspace.
    outside = exact - ours @ (ours.T @ exact)
    sine = np.linalg.svd(outside)[1].max()
    assert vae.angle == pytest.approx(np.degrees(np.arcsin(sine)), abs=1e-4)
    assert vae.angle < 5


@pytest.mark.slow
def test_only_requested_models_are_fitted_on_the_requested_rows(tmp_path, capsys):
    arguments = [
        "--models",
        "ppca",
        "linear_vae",
        "--train-rows",
        200,
        "--linear-epochs",
        2,
        "--latent-dim",
        3,
    ]
    assert script(*arguments, "--out", tmp_path / "out", name="compare_baselines.py") == 0
    printed = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert set(printed["entries"]) == {"ppca", "linear_vae"}
    assert printed["linear_vae"]["gap"]["parameters"] > 0
    digits = load_dataset("digits")
    first = PPCA(3).fit(digits.train.tensor()[:200].double())
    assert printed["entries"]["ppca"]["test"][0] == pytest.approx(first.score(digits.test.tensor().double()))
    assert "200 training and 250 test rows" in capsys.readouterr().out


def test_without_a_linear_vae_nothing_climbs(digits):
    config = Config(model=ModelConfig(latent_dim=3))
    comparison = compare(config, digits, ("ppca",))
    assert comparison.linear is None
    assert list(comparison.entries) == ["ppca"]


def test_entries_say_what_the_estimators_say(digits):
    rows = [split.tensor().double().numpy() for split in (digits.train, digits.test)]
    for name, estimator in exact_baselines(4, 3, 0).values():
        entry = fit_baseline(estimator, name, *rows)
        scores = estimator.score_samples(rows[1])
        assert entry.test == pytest.approx((scores.mean(), scores.std(ddof=1) / len(scores) ** 0.5))
        assert entry.path[-1][1] == pytest.approx(entry.train, abs=1e-3)
        assert entry.path[-1][0] == pytest.approx(entry.seconds)


def test_the_closed_form_and_em_agree_on_digits(digits):
    rows = [split.tensor().double().numpy() for split in (digits.train, digits.test)]
    closed, em = (fit_baseline(e, n, *rows) for n, e in list(exact_baselines(8, 2, 0).values())[:2])
    assert em.train == pytest.approx(closed.train, rel=1e-6)
    assert closed.parameters == em.parameters == 64 * 8 + 64 + 1


@pytest.mark.slow
def test_a_small_table_with_two_factors_is_learned_and_does_not_collapse(tmp_path):
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(1000, 2)) @ generator.normal(size=(2, 4)) + 0.3 * generator.normal(
        size=(1000, 4)
    )
    np.save(tmp_path / "table.npy", rows)
    table = load_dataset(str(tmp_path / "table.npy"))
    config = Config(
        model=ModelConfig(latent_dim=2, hidden=(50,)),
        training=TrainingConfig(epochs=60, device="cpu", lr=1e-2),
    )
    vae, exact = fit_vae(config, table), linear_baselines(table, 2)["factor_analysis"]
    assert vae.test[0] > exact.test[0] - 0.2


def test_the_reason_is_given_if_a_baseline_is_not_defined(digits):
    baselines = linear_baselines(digits, 64)
    assert set(baselines) == {"ppca", "factor_analysis"}
    assert all(
        isinstance(entry, str) and entry.startswith("not defined here: ") for entry in baselines.values()
    )


def test_rows_beyond_memory_are_not_fitted(digits, monkeypatch):
    monkeypatch.setattr("pyro_vae.experiment.comparison.baseline_entries.BASELINE_BYTES", 1000)
    assert "in chunks" in linear_baselines(digits, 8)["ppca"]


@pytest.mark.slow
def test_the_end_of_a_run_reports_the_baselines(tmp_path, capsys, digits):
    assert script("--epochs", 2, "--hidden", 8, "--latent-dim", 4, "--out", tmp_path / "run") == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    ppca = PPCA(4).fit(digits.train.tensor().double())
    scores = ppca.score_samples(digits.test.tensor().double())
    assert summary["baselines"]["ppca"]["mean"] == pytest.approx(scores.mean())
    assert summary["baselines"]["ppca"]["se"] == pytest.approx(scores.std(ddof=1) / 250**0.5)
    assert f"PPCA, closed form {scores.mean():.2f} ±" in capsys.readouterr().out


@pytest.mark.slow
def test_a_binary_likelihood_has_no_continuous_baseline(tmp_path):
    rows = (load_digits().data[:100] > 8).astype(np.uint8)
    np.save(tmp_path / "binary.npy", rows)
    arguments = [
        "--dataset",
        tmp_path / "binary.npy",
        "--likelihood",
        "bernoulli",
        "--epochs",
        1,
        "--hidden",
        8,
    ]
    assert script(*arguments, "--out", tmp_path / "run") == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["baselines"] == {}


@pytest.mark.slow
def test_elbo_of_the_linear_vae_is_below_its_own_log_likelihood_row_by_row_in_expectation(linear):
    vae, train = linear
    from pyro_vae.guides.exact_linear import ExactLinearGuide

    exact = estimate_elbo(vae.model, ExactLinearGuide(vae.model), [(train.double(),)])
    assert exact.mean == pytest.approx(vae.reached, abs=1e-9)
    assert vae.entry.train < exact.mean


@pytest.mark.parametrize(("kind", "compared"), [("real", True), ("positive", True), ("count", False)])
def test_densities_are_compared_with_densities_only(kind, compared):
    from types import SimpleNamespace

    from pyro_vae.data.columns import Column
    from pyro_vae.experiment.comparison import no_density

    reason = no_density(SimpleNamespace(columns=(Column("a", "real"), Column("b", kind)), data_dim=2))
    assert (reason == "") is compared
