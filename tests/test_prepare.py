"""One way from a configuration to trained programs, and the metrics in the outputs of a run."""

import json
import math
from dataclasses import replace

import pytest
import torch
from helpers import script

from pyro_vae import ReconstructionError, load_dataset, load_run
from pyro_vae.experiment.closing_table import closing_table
from pyro_vae.experiment.config import Config, DataConfig, ModelConfig, TrainingConfig
from pyro_vae.experiment.evaluation import Evaluation
from pyro_vae.experiment.extent import Extent
from pyro_vae.experiment.load_data import load_data
from pyro_vae.experiment.prepare import prepare
from pyro_vae.experiment.run_folder import RunFolder
from pyro_vae.experiment.summary import write_summary

CONFIG = Config(
    data=DataConfig("digits"),
    model=ModelConfig(hidden=(8,), latent_dim=2),
    training=TrainingConfig(epochs=2, device="cpu", compile="off"),
)


@pytest.fixture(scope="module")
def digits():
    data = load_data(CONFIG)
    return replace(data, train=data.train.head(300), validation=data.validation.head(50))


def test_fit_and_trainer_are_the_same_training(digits):
    one, other = prepare(CONFIG, digits), prepare(CONFIG, digits)
    fitted, run = one.fit(progress=False), other.trainer().run()
    assert [line["loss"] for line in fitted.history] == [line["loss"] for line in run.history]
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert one.config.training.keep == "best-elbo"
    assert one.config.model.scale_floor > 0


def test_what_is_prepared_can_be_prepared_again(digits):
    once = prepare(CONFIG, digits)
    twice = prepare(once.config, digits)
    assert twice.config == once.config
    assert all(map(torch.equal, once.guide.parameters(), twice.guide.parameters()))


def test_metrics_are_in_the_summary_and_in_the_closing_table(digits, tmp_path):
    prepared = prepare(CONFIG, digits)
    metrics = {"error": ReconstructionError(digits.validation), "odd": lambda *_: math.inf}
    with pytest.warns(UserWarning, match="'odd' in 2 of 2 epochs"):
        result = prepared.fit(progress=False, metrics=metrics)
    x = digits.validation.tensor()
    mean = prepared.model.reconstruct(x, prepared.guide)
    expected = float((x - mean).double().square().sum(1).mean())

    folder, evaluation = RunFolder(tmp_path), Evaluation(Extent("none"))
    write_summary(folder, prepared.config, digits, evaluation, result)
    summary = json.loads(folder.summary.read_text())
    assert summary["metrics"] == {"error": pytest.approx(expected, rel=1e-6), "odd": None}
    assert summary["notes"] == [result.metrics_note]
    table = closing_table(prepared.config, digits, evaluation, result, tmp_path)
    assert f"metrics at these weights: error {result.metrics['error']:.6g}, odd inf" in table
    assert f"note: {result.metrics_note}" in table


def test_metrics_are_chosen_by_name(tmp_path):
    out = tmp_path / "run"
    small = ["--epochs", 2, "--hidden", 8, "--latent-dim", 2, "--evaluate", "none", "--out", out]
    assert script(*small, "--metrics", "reconstruction-error") == 0
    summary = json.loads((out / "summary.json").read_text())
    run, validation = load_run(out), load_dataset("digits").validation
    expected = (
        (validation.tensor() - run.model.reconstruct(validation.tensor(), run.guide)).square().sum(1).mean()
    )
    assert summary["metrics"]["reconstruction-error"] == pytest.approx(float(expected), rel=1e-5)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert all(line["metrics"]["reconstruction-error"] > 0 for line in lines)


def test_an_unknown_metric_is_refused(tmp_path, capsys):
    assert script("--metrics", "speed", "--out", tmp_path / "run") == 2
    message = (
        "Expected --metrics to be one of reconstruction-error, kl-parts, accuracy, fid, kid, "
        "precision-recall; got 'speed'."
    )
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
