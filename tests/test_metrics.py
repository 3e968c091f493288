"""Metrics by epoch: measured on the kept weights, without an effect on training, and kept with the history."""

import io
import json
import math
import random

import numpy as np
import pytest
import torch
from helpers import script
from programs import rows, small_vae
from test_training import trainer_of

from pyro_vae import Callback, ReconstructionError, fit, load_dataset, load_run
from pyro_vae._checks import InputError
from pyro_vae.plots import training_curves
from pyro_vae.processes import Processes
from pyro_vae.training import Measurement

X = rows(count=40)
V = rows(count=15, seed=3)
SETTINGS = {"epochs": 4, "batch_size": 10, "progress": False, "seed": 0}


def greedy(model, guide):
    """A metric that draws from every global random state, and that would break training in training mode."""
    assert not model.training
    assert not guide.training
    assert not torch.is_grad_enabled()
    return float(torch.rand(())) + random.random() + np.random.rand()  # noqa: NPY002


def lines(result):
    return [
        {name: part for name, part in line.items() if name not in ("seconds", "metrics")}
        for line in result.history
    ]


def test_reconstruction_error_of_kept_weights_is_the_mean_squared_distance():
    model, guide = small_vae()
    result = fit(model, guide, X, V, metrics={"error": ReconstructionError(V)}, **SETTINGS)
    with torch.no_grad():
        mean = model.decode(guide.encode(V).mean).mean
    expected = float((V - mean).double().square().sum() / len(V))
    assert result.metrics == {"error": pytest.approx(expected, rel=1e-6)}
    assert result.metrics == result.history[result.best_epoch - 1]["metrics"]
    assert len({line["metrics"]["error"] for line in result.history}) == 4


class Shifts:
    """A model that reconstructs x + context."""

    def __call__(self, x, shift):
        raise AssertionError("a metric of reconstructions runs no program")

    def reconstruct(self, x, guide, shift):
        return x + shift


def test_error_of_known_shifts_is_their_squared_length():
    shift = torch.linspace(-1, 1, len(V))[:, None].expand_as(V)
    found = ReconstructionError((V, shift))(Shifts(), lambda x, shift: None)
    assert found == pytest.approx(float(V.shape[1] * shift[:, 0].double().square().mean()))
    with pytest.raises(InputError, match=r"Expected a model with `reconstruct`.*function has none"):
        ReconstructionError(V)(lambda x: None, lambda x: None)


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_training_is_the_same_to_the_bit_with_and_without_metrics(average):
    plain, measured = small_vae(), small_vae()
    metrics = {"greedy": greedy, "error": ReconstructionError(V)}
    expected = fit(*plain, X, V, average=average, **SETTINGS)
    torch.manual_seed(5)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    result = fit(*measured, X, V, average=average, metrics=metrics, **SETTINGS)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert (np.random.get_state()[1] == before[2]).all()  # noqa: NPY002
    assert lines(result) == lines(expected)
    for a, b in zip(
        (*plain[0].parameters(), *plain[1].parameters()),
        (*measured[0].parameters(), *measured[1].parameters()),
        strict=True,
    ):
        assert torch.equal(a, b)
    assert (
        len({line["metrics"]["greedy"] for line in result.history}) == 1
    )  # the same random state in every epoch


def test_metrics_see_the_averaged_weights_that_are_validated():
    model, guide = small_vae()
    seen = []

    def first_weight(model, guide):
        seen.append(float(next(model.parameters()).flatten()[0]))
        return seen[-1]

    result = fit(model, guide, X, V, average=0.9, metrics={"weight": first_weight}, **SETTINGS, keep="last")
    assert float(next(model.parameters()).detach().flatten()[0]) == pytest.approx(
        result.metrics["weight"], rel=1e-7
    )


def test_metrics_without_validation_rows_are_those_of_the_last_epoch():
    result = fit(*small_vae(), X, metrics={"error": ReconstructionError(V)}, **SETTINGS)
    assert result.best_epoch == 4
    assert result.metrics == result.history[-1]["metrics"]
    assert fit(*small_vae(), X, **SETTINGS).metrics == {}


@pytest.mark.parametrize(
    ("value", "expected"), [(3, 3.0), (np.float32(2.5), 2.5), (torch.tensor([1.5]), 1.5), (np.array(4), 4.0)]
)
def test_numbers_of_any_kind_are_taken(value, expected):
    result = fit(*small_vae(), X, metrics={"m": lambda model, guide: value}, **SETTINGS | {"epochs": 1})
    assert result.metrics == {"m": expected}


def fails(model, guide):
    raise RuntimeError("no such\nlayer")


def refuses(model, guide):
    raise InputError("Expected rows; got none.")


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (
            {"bad": fails},
            r"Expected metric 'bad' to return a number; it raised RuntimeError: no such layer\. Correct",
        ),
        (
            {"bad": refuses},
            r"Expected metric 'bad' to return a number; it raised InputError: Expected rows; got none",
        ),
        ({"m": lambda *_: None}, r"Expected metric 'm' to return a number; got NoneType\. Return a float"),
        ({"m": lambda *_: "3"}, r"Expected metric 'm' to return a number; got str"),
        (
            {"m": lambda *_: torch.zeros(2)},
            r"Expected metric 'm' to return a number; got Tensor of shape \(2,\)",
        ),
        ({"m": 3}, r"Expected metric 'm' to be a function \(model, guide\) -> float; got int"),
        ({"": fails}, r"Expected the names of metrics to be text; got ''"),
        ([fails], r"Expected metrics as a dict of functions by name; got list"),
    ],
)
def test_a_metric_that_gives_no_number_is_named(metrics, message):
    with pytest.raises(InputError, match=message):
        fit(*small_vae(), X, metrics=metrics, **SETTINGS)


def test_values_that_are_not_finite_are_recorded_and_training_continues():
    values = iter([1.0, math.nan, 2.0, math.inf])
    with pytest.warns(
        UserWarning, match=r"Metrics without a finite value: 'm' in 2 of 4 epochs \(first in 2\)"
    ):
        result = fit(*small_vae(), X, metrics={"m": lambda *_: next(values)}, **SETTINGS)
    assert [math.isfinite(line["metrics"]["m"]) for line in result.history] == [True, False, True, False]


class StopAfterTwo(Callback):
    def on_epoch(self, trainer):
        if trainer.epoch == 2:
            trainer.stop("enough")


def test_a_resumed_run_keeps_the_metrics_of_its_epochs():
    settings = {"metrics": {"error": ReconstructionError(V), "greedy": greedy}}
    expected = trainer_of(small_vae(), X, V, **settings).run()
    first = trainer_of(small_vae(), X, V, callbacks=(StopAfterTwo(),), **settings)
    assert len(first.run().history) == 2
    saved = io.BytesIO()
    torch.save(first.state_dict(), saved)
    saved.seek(0)
    second = trainer_of(small_vae(seed=7), X, V, **settings)
    second.load_state_dict(torch.load(saved, weights_only=True))
    result = second.run()
    assert [line["metrics"] for line in result.history] == [line["metrics"] for line in expected.history]


def test_all_processes_get_the_number_of_the_first():
    class Second(Processes):
        """The second of two, whose sums are what the first one gives."""

        rank, count = 1, 2

        def sum(self, values):
            return torch.full_like(values, 7.0)

    assert Measurement({"m": lambda *_: 3.0}, processes=Second())(None, None) == {"m": 7.0}


def test_curves_have_a_panel_for_each_metric():
    part = {"elbo": -1.0, "reconstruction": -1.0, "kl": 0.0}
    history = [
        {"epoch": e, "train": part, "metrics": {"fid": 10.0 - e, "odd": None if e == 2 else e}}
        for e in (1, 2, 3)
    ]
    history.append({"epoch": 4, "train": part})
    axes = training_curves(history, best_epoch=3).axes
    assert [ax.get_title() for ax in axes][3:] == ["fid", "odd"]
    np.testing.assert_array_equal(axes[3].lines[0].get_ydata(), [9.0, 8.0, 7.0])
    np.testing.assert_array_equal(axes[4].lines[0].get_ydata(), [1.0, np.nan, 3.0])
    assert axes[3].get_ylabel() == ""
    assert len(training_curves(history[3:]).axes) == 3


@pytest.mark.slow
def test_a_run_keeps_its_metrics_in_every_file(tmp_path, capsys):
    tiny = (
        "--epochs",
        2,
        "--hidden",
        8,
        "--latent-dim",
        2,
        "--compile",
        "off",
        "--quiet",
        "--evaluate",
        "none",
    )
    run = tmp_path / "run"
    assert script(*tiny, "--metrics", "reconstruction-error", "--out", run) == 0
    values = [json.loads(line)["metrics"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((run / "summary.json").read_text())
    assert summary["metrics"] == values[summary["best_epoch"] - 1]
    assert (
        f"metrics at these weights: reconstruction-error {summary['metrics']['reconstruction-error']:.6g}"
        in (capsys.readouterr().out)
    )
    assert script("--resume", run, "--epochs", 3) == 0
    longer = [json.loads(line)["metrics"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert longer[:2] == values
    loaded, validation = load_run(run), load_dataset("digits").validation
    summary = json.loads((run / "summary.json").read_text())
    expected = ReconstructionError(validation)(loaded.model, loaded.guide)
    assert summary["metrics"]["reconstruction-error"] == pytest.approx(expected, rel=1e-6)
    assert script(*tiny, "--metrics", "nothing", "--out", tmp_path / "other") == 2
    assert (
        "Expected --metrics to be one of reconstruction-error, kl-parts, accuracy, fid, kid, "
        "precision-recall; got 'nothing'" in capsys.readouterr().err
    )


@pytest.mark.slow
def test_a_run_continues_after_a_metric_that_fails_late(tmp_path, monkeypatch, capsys):
    tiny = (
        "--epochs",
        3,
        "--hidden",
        8,
        "--latent-dim",
        2,
        "--compile",
        "off",
        "--quiet",
        "--evaluate",
        "none",
    )
    measured = (*tiny, "--metrics", "reconstruction-error", "--out")
    assert script(*measured, tmp_path / "whole") == 0
    count, original = 0, ReconstructionError.__call__

    def fails_in_second_epoch(self, model, guide):
        nonlocal count
        count += 1
        return original(self, model, guide) if count != 2 else None

    with monkeypatch.context() as patch:
        patch.setattr(ReconstructionError, "__call__", fails_in_second_epoch)
        assert script(*measured, tmp_path / "run") == 2
    assert (
        "Expected metric 'reconstruction-error' to return a number; got NoneType" in capsys.readouterr().err
    )
    assert script("--resume", tmp_path / "run") == 0
    whole, run = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "run")
    )
    assert [(one["loss"], one["metrics"]) for one in run] == [(one["loss"], one["metrics"]) for one in whole]
