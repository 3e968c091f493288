"""Integers under a likelihood that gives them probabilities: how they become x, and one scale in every table."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import script
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_vae import load_dataset, load_run
from pyro_vae._checks import InputError
from pyro_vae.data import Dequantize, IntegerLevels, Rescale
from pyro_vae.data.units import bits_per_dim
from pyro_vae.experiment.build import build
from pyro_vae.experiment.comparison import compare, linear_baselines
from pyro_vae.experiment.config import Config, ModelConfig, TrainingConfig
from pyro_vae.likelihoods import LIKELIHOODS

DIM = 75
SMALL = [
    "--epochs",
    2,
    "--hidden",
    8,
    "--latent-dim",
    2,
    "--batch-size",
    64,
    "--compile",
    "off",
    "--device",
    "cpu",
]


@pytest.fixture(autouse=True)
def _quick_and_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pyro_vae.experiment.comparison.scored_rows.SCORED_SAMPLES", 20)


def save(name, array):
    np.save(name, array)
    return name


def colour(count=160, size=5):
    """Return small colour images whose channels vary together."""
    generator = np.random.default_rng(0)
    light = generator.normal(128, 40, (count, 1, 1, 1)) + generator.normal(0, 20, (count, 1, size, size))
    return (light + generator.normal(0, 10, (count, 3, size, size))).clip(0, 255).astype(np.uint8)


@settings(deadline=None, max_examples=30)
@given(levels=st.integers(1, 2**16), low=st.sampled_from([0, -7, 10**12]))
def test_levels_are_distinct_in_float32(levels, low):
    k = torch.tensor(sorted({0, 1, levels // 2, levels - 2, levels - 1} & set(range(levels))))
    x = IntegerLevels(levels, low)((low + k)[:, None])
    assert x.dtype == torch.float32
    assert torch.equal((x * (levels - 1)).round().long()[:, 0], k)


def test_integer_levels_are_rescaled_and_say_what_they_are():
    preprocessing = IntegerLevels(9, -3)
    assert preprocessing.description == "probabilities of 9 levels, (x + 3) / 8"
    assert (preprocessing.levels, preprocessing.log_width, preprocessing.random) == (9, 0.0, False)
    values = torch.tensor([-3.0, 2.0], dtype=torch.float64), torch.tensor([1.0, 4.0], dtype=torch.float64)
    for found, expected in zip(preprocessing.moments(*values), Rescale(5, -3).moments(*values), strict=True):
        assert torch.equal(found, expected)
    assert Dequantize(17).log_width == -math.log(17)
    assert Rescale(255).log_width is None


@pytest.mark.parametrize(
    ("values", "preprocessing"),
    [
        (np.arange(40, dtype=np.uint8).reshape(20, 2), IntegerLevels(256)),
        (np.arange(40).reshape(20, 2) - 7, IntegerLevels(40, -7)),
        (np.arange(40).reshape(20, 2) % 2 == 0, IntegerLevels(2)),
        (np.full((20, 2), 3), IntegerLevels(1, 3)),
    ],
)
def test_stored_integers_become_levels(values, preprocessing):
    data = load_dataset(save("x.npy", values), likelihood_kind="integer")
    assert data.preprocessing == preprocessing
    noisy = data.as_density()
    assert noisy.preprocessing == Dequantize(preprocessing.levels, preprocessing.low)
    assert noisy.as_density() is noisy
    x, u = (split.tensor() for split in (data.train, noisy.train))
    levels = preprocessing.levels
    assert torch.equal((x * (levels - 1)).round(), (u * levels).floor())


TABLE = np.random.default_rng(0).normal(size=(50, 3))


@pytest.mark.parametrize(
    ("values", "kind", "more", "message"),
    [
        (
            TABLE,
            "integer",
            {},
            "Expected integers in .*got floats from .* They are no integers: choose a continuous",
        ),
        (TABLE.round(), "integer", {}, r"Store them as integers, x.astype\(int\), or choose a continuous"),
        (np.abs(TABLE.round()), "integer", {}, r"x.astype\(numpy.uint8\), or choose"),
        (
            np.arange(80000).reshape(-1, 2),
            "integer",
            {},
            "at most 65536 levels in .*got 0 to 79999. Choose a contin",
        ),
        (
            np.eye(50, dtype=np.uint8),
            "integer",
            {"binarize": "static"},
            "--binarize none under an integer likelihood",
        ),
        (
            np.eye(50, dtype=np.uint8),
            "integer",
            {"dequantize": "none"},
            "--dequantize auto .*got none. Leave it out",
        ),
        (
            TABLE,
            "unit-interval",
            {},
            r"float values of .*in \[0, 1\].* got -.*Rescale them first, or choose the gauss",
        ),
    ],
)
def test_data_that_does_not_fit_is_refused(values, kind, more, message):
    with pytest.raises(InputError, match=message):
        load_dataset(save("x.npy", values), likelihood_kind=kind, **more)


def test_a_density_on_the_unit_interval_takes_shares_and_dequantized_integers():
    shares = load_dataset(save("shares.npy", np.abs(TABLE) / 9), likelihood_kind="unit-interval")
    assert shares.preprocessing.levels is None
    assert load_dataset("digits", likelihood_kind="unit-interval").preprocessing == Dequantize(17)
    grey = load_dataset("digits", likelihood_kind="unit-interval", dequantize="none")
    assert grey.preprocessing == Rescale(16)


def test_without_levels_nothing_is_built():
    with pytest.raises(InputError, match="Expected levels for the categorical likelihood"):
        build(ModelConfig(likelihood="categorical"), torch.full((3,), 0.5), torch.ones(3))


# One scale.


def test_baselines_of_integers_are_those_of_dequantized_x_on_the_scale_of_probabilities():
    data = load_dataset(save("x.npy", colour()), likelihood_kind="integer")
    found, dense = (linear_baselines(one, 4) for one in (data, data.as_density()))
    for key, entry in found.items():
        assert entry.test[0] == pytest.approx(dense[key].test[0] - data.data_dim * math.log(256))
        assert entry.test[1] == dense[key].test[1]
        bits = [
            bits_per_dim(one[key].test[0], DIM, of.preprocessing)
            for one, of in ((found, data), (dense, data.as_density()))
        ]
        assert bits[0] == pytest.approx(bits[1])
        assert 3 < bits[0] < 8


@pytest.mark.slow
def test_a_comparison_has_one_scale():
    data = load_dataset(save("x.npy", colour()), likelihood_kind="integer")
    model = ModelConfig(likelihood="discretized-logistic", latent_dim=2, hidden=(8,))
    config = Config(model=model, training=TrainingConfig(epochs=2, device="cpu", compile="off"))
    quick = {"epochs": 2, "progress": False}
    found = compare(config, data, ("ppca", "linear_vae", "vae"), linear_settings=quick)
    for entry in found.summary()["entries"].values():
        assert entry["bits_per_dim"] == pytest.approx(-entry["test"][0] / DIM / math.log(2))
        assert 3 < entry["bits_per_dim"] < 9
    assert found.linear.optimum == pytest.approx(found.entries["ppca"].train)
    assert found.linear.entry.train < found.linear.optimum < 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "likelihood", ["categorical", "discretized-logistic", "logistic-mixture", "continuous-bernoulli"]
)
def test_a_run_reports_nats_and_bits_on_one_scale(likelihood, capsys):
    save("x.npy", colour())
    assert (
        script("--dataset", "x.npy", "--likelihood", likelihood, "--evaluate", "full", "--out", "run", *SMALL)
        == 0
    )
    out = capsys.readouterr().out
    summary = json.loads(Path("run/summary.json").read_text())
    offset = 0 if LIKELIHOODS[likelihood].kind == "integer" else math.log(256)
    parts = (summary["elbo"], summary["log_likelihood"], *summary["baselines"].values())
    assert len(parts) == 4
    for part in parts:
        bits = (offset - part["mean"] / DIM) / math.log(2)
        assert part["bits_per_dim"] == pytest.approx(bits)
        assert 3 < bits < 10
    assert f"{summary['elbo']['bits_per_dim']:.3f}" in out
    ppca = summary["baselines"]["ppca"]
    assert (
        f"PPCA, closed form {ppca['mean']:.2f} ± {ppca['se']:.2f} ({ppca['bits_per_dim']:.3f} bits/dim)"
        in out
    )
    printed = (
        "a bound on log P(x), of the same test rows"
        if offset == 0
        else "exact log p(x) of the same test rows"
    )
    assert printed in out

    run = load_run("run")
    assert run.model.likelihood.outputs_per_position((3, 5, 5)) * 25 == run.model.likelihood.num_outputs
    x = run.model.sample(5)
    assert ((x >= 0) & (x <= 1)).all()
    capsys.readouterr()
    assert script("run", "--num-samples", 20, name="evaluate.py") == 0
    evaluated = json.loads(Path("run/evaluation.json").read_text())
    bits = (offset - evaluated["log_likelihood"]["mean"] / DIM) / math.log(2)
    assert evaluated["bits_per_dim"] == pytest.approx(bits)
    assert f"bits per dimension: {bits:.3f}" in capsys.readouterr().out


def test_new_rows_of_other_levels_are_refused(capsys):
    save("x.npy", colour() // 2)
    command = [
        "--dataset",
        "x.npy",
        "--likelihood",
        "discretized-logistic",
        "--evaluate",
        "none",
        "--out",
        "run",
    ]
    assert script(*command, *SMALL) == 0
    save("more.npy", colour(30).astype(np.int64) + 100)
    capsys.readouterr()
    assert script("run", "--data", "more.npy", "--num-samples", 5, name="evaluate.py") == 2
    assert "Expected whole numbers from 0 to 255 in more.npy" in capsys.readouterr().err
