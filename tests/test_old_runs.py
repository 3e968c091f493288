"""Run folders of earlier versions load, score and resume: `data/digits-0.1.0` was written by version 0.1.0."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers import script
from safetensors.torch import load_file

from pyro_vae import estimate_elbo, load_run
from pyro_vae.data import load_dataset

OLD = Path(__file__).parent / "data" / "digits-0.1.0"
SUMMARY = json.loads((OLD / "summary.json").read_text(encoding="utf-8"))


@pytest.fixture
def run(tmp_path):
    """Return a copy of the run, which may be written to."""
    return Path(shutil.copytree(OLD, tmp_path / "run"))


def test_an_old_run_loads_with_its_test_elbo():
    model, guide, config, _ = load_run(OLD)
    x = load_dataset(config.data.dataset).test.tensor()
    estimate = estimate_elbo(model, guide, [(x,)], num_particles=10)
    assert estimate.mean == pytest.approx(SUMMARY["elbo"]["mean"], abs=1e-4)
    assert estimate.se == pytest.approx(SUMMARY["elbo"]["se"], abs=1e-4)


def test_an_old_run_scores_its_test_rows(run):
    assert script(run, "--num-samples", 200, name="evaluate.py") == 0
    found = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))["log_likelihood"]
    was = SUMMARY["log_likelihood"]
    assert found["mean"] == pytest.approx(was["mean"], abs=4 * 5**0.5 * was["monte_carlo_se"])


@pytest.mark.slow
def test_a_command_that_names_its_epochs_does_what_it_did(tmp_path):
    """The same schedule, no patience, no averaging, the same epoch kept: the same weights (to rounding elsewhere)."""
    settings = ["--hidden", 8, "--latent-dim", 2, "--epochs", 2, "--evaluate", "none"]
    assert script(*settings, "--out", tmp_path / "now") == 0
    was, now = (load_file(folder / "model.safetensors") for folder in (OLD, tmp_path / "now"))
    assert was.keys() == now.keys()
    for name, value in was.items():
        torch.testing.assert_close(now[name], value, rtol=1e-3, atol=1e-4)
    training = json.loads((tmp_path / "now" / "config.json").read_text(encoding="utf-8"))["config"][
        "training"
    ]
    assert training["schedule"] == "cosine"
    assert (training["patience"], training["average"], training["keep"]) == ("none", 0.0, "best-elbo")


@pytest.mark.slow
def test_an_old_run_is_resumed(run):
    assert script("--resume", run, "--epochs", 4) == 0
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines[:2] == (OLD / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4]
    after = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert after["elbo"]["mean"] > SUMMARY["elbo"]["mean"]
