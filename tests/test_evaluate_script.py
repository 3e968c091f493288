"""Rows scored by a finished run: the numbers, interruption, and what is refused."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from helpers import script

from pyro_vae import load_dataset, load_run
from pyro_vae.evaluate import log_likelihood
from pyro_vae.experiment.text_table import bits_per_dim


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert script("--epochs", 2, "--hidden", 16, "--latent-dim", 3, "--out", folder) == 0
    return folder


def evaluate(*args):
    return script(*args, name="evaluate.py")


def lines(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.mark.slow
def test_scores_are_those_of_log_likelihood_row_by_row(run, tmp_path, capsys):
    assert evaluate(run, "--num-samples", 40, "--out", tmp_path) == 0
    scores = lines(tmp_path / "scores.csv")
    loaded, test = load_run(run), load_dataset("digits").test.tensor()
    first = log_likelihood(loaded.model, loaded.guide, test[:50], 40)
    assert [int(line["row"]) for line in scores] == list(range(250))
    for name, column in zip(("log_likelihood", "se", "ess", "khat", "elbo"), first.columns(), strict=True):
        np.testing.assert_array_equal([float(line[name]) for line in scores[:50]], column.numpy())
    bits = bits_per_dim(first.value[7].item(), 64, 17)
    assert float(scores[7]["bits_per_dim"]) == pytest.approx(bits)
    summary = json.loads((tmp_path / "evaluation.json").read_text())
    values = np.array([float(line["log_likelihood"]) for line in scores])
    assert summary["log_likelihood"]["mean"] == pytest.approx(values.mean())
    assert summary["log_likelihood"]["se"] == pytest.approx(values.std(ddof=1) / 250**0.5)
    assert f"{int(values.argmin())} ({values.min():.1f})" in capsys.readouterr().out


@pytest.mark.slow
def test_an_interrupted_scoring_continues_to_the_same_numbers(run, tmp_path, monkeypatch, capsys):
    assert evaluate(run, "--num-samples", 25, "--out", tmp_path / "whole") == 0
    calls = []

    def interrupted(*args, **kwargs):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return log_likelihood(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr("pyro_vae.experiment.scoring.scoring.log_likelihood", interrupted)
        assert evaluate(run, "--num-samples", 25, "--out", tmp_path / "parts") == 130
    assert "continues" in capsys.readouterr().out
    partial = (tmp_path / "parts" / "scores.csv").read_text()
    assert len(partial.splitlines()) == 101
    # The last line may be truncated by an interruption: its block is scored again.
    (tmp_path / "parts" / "scores.csv").write_text(partial[:-7])
    assert evaluate(run, "--num-samples", 25, "--out", tmp_path / "parts") == 0
    texts = [(tmp_path / part / "scores.csv").read_text() for part in ("whole", "parts")]
    assert texts[0] == texts[1]


@pytest.mark.slow
def test_other_settings_begin_again(run, tmp_path):
    for samples in (21, 22):
        assert evaluate(run, "--num-samples", samples, "--out", tmp_path) == 0
    loaded, test = load_run(run), load_dataset("digits").test.tensor()
    expected = log_likelihood(loaded.model, loaded.guide, test[:50], 22)
    assert float(lines(tmp_path / "scores.csv")[0]["log_likelihood"]) == expected.value[0].item()


def test_rows_of_a_file_are_scored_and_an_outlier_is_least_likely(run, tmp_path):
    x = load_dataset("digits").test
    rows = x.rows.take(torch.from_numpy(x.index[:20])).numpy().copy()
    rows[13] = 16 - rows[13]
    np.save(tmp_path / "new.npy", rows)
    assert evaluate(run, "--data", tmp_path / "new.npy", "--num-samples", 100) == 0
    scores = lines(run / "scores-new" / "scores.csv")
    assert len(scores) == 20
    assert np.argmin([float(line["log_likelihood"]) for line in scores]) == 13


def test_rows_that_cannot_be_scored_are_named_with_the_mean_of_the_others(run, tmp_path, monkeypatch, capsys):
    def two_lost(*args, **kwargs):
        found = log_likelihood(*args, **kwargs)
        found.value[[3, 7]] = torch.tensor([-torch.inf, torch.nan], dtype=found.value.dtype)
        return found

    monkeypatch.setattr("pyro_vae.experiment.scoring.scoring.log_likelihood", two_lost)
    np.save(tmp_path / "new.npy", load_dataset("digits").test.rows.take(torch.arange(12)).numpy())
    assert evaluate(run, "--data", tmp_path / "new.npy", "--num-samples", 25, "--out", tmp_path) == 0
    printed = json.loads((tmp_path / "evaluation.json").read_text())["log_likelihood"]
    assert printed["num_unscored"] == 2
    assert printed["unscored_rows"] == [3, 7]
    values = np.array([float(line["log_likelihood"]) for line in lines(tmp_path / "scores.csv")])
    mean = values[np.isfinite(values)].mean()
    assert printed["mean"] == pytest.approx(mean)
    out = capsys.readouterr().out
    assert "2 of 12 rows could not be scored and have NaN or minus infinity (from 0: 3, 7)" in out
    assert f"{mean:.2f}" in out


@pytest.mark.slow
def test_a_wider_proposal_gives_other_samples_of_the_same_numbers(run, tmp_path):
    np.save(tmp_path / "some.npy", load_dataset("digits").test.rows.take(torch.arange(60)).numpy())
    means, errors = [], []
    for arguments in ([], ["--widen", 1.2], ["--defensive", 0.1]):
        settings = ["--data", tmp_path / "some.npy", "--num-samples", 2000, *arguments, "--out", tmp_path]
        assert evaluate(run, *settings) == 0
        printed = json.loads((tmp_path / "evaluation.json").read_text())["log_likelihood"]
        means.append(printed["mean"])
        errors.append(printed["monte_carlo_se"])
    assert len(set(means)) == 3
    assert np.ptp(means) < 6 * max(errors) + 0.05


def test_the_end_of_training_reports_the_likelihood(run):
    printed = json.loads((run / "summary.json").read_text())
    likelihood = printed["log_likelihood"]
    assert likelihood["num_samples"] == 1000
    assert likelihood["num_examples"] == 250
    assert likelihood["mean"] > likelihood["elbo_mean"]
    assert likelihood["elbo_mean"] == pytest.approx(printed["elbo"]["mean"], abs=0.3)


def without_weights(run, place):
    shutil.copytree(run, place / "run")
    (place / "run" / "model.safetensors").unlink()
    return [place / "run"]


def other_shape(run, place):
    np.save(place / "x.npy", np.zeros((5, 63)))
    return [run, "--data", place / "x.npy"]


def other_range(run, place):
    np.save(place / "x.npy", np.full((5, 64), 200))
    return [run, "--data", place / "x.npy"]


def fractions(run, place):
    np.save(place / "x.npy", np.full((5, 64), 0.5))
    return [run, "--data", place / "x.npy"]


BAD = {
    "no run": (lambda run, place: [place / "nothing"], "nothing"),
    "no weights": (without_weights, "model.safetensors"),
    "no samples": (lambda run, place: [run, "--num-samples", 0], "num-samples"),
    "other shape": (other_shape, "63"),
    "other range": (other_range, "200"),
    "fractions": (fractions, "whole numbers"),
    "no such data": (lambda run, place: [run, "--data", place / "none.npy"], "none.npy"),
    "negative seed": (lambda run, place: [run, "--seed", -1], "seed"),
    "no width": (lambda run, place: [run, "--widen", 0], "widen"),
    "all from the prior": (lambda run, place: [run, "--defensive", 1], "defensive"),
    "no rows to check": (lambda run, place: [run, "--check-rows", 0], "check-rows"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_call_is_one_sentence(case, run, tmp_path, capsys):
    arguments, named = BAD[case]
    before = {path.name for path in run.iterdir()}
    assert evaluate(*arguments(run, tmp_path)) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert named in err
    assert "Traceback" not in err
    assert {path.name for path in run.iterdir()} == before
