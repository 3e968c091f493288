"""`--seeds`: a run for each seed, their joint results, and resuming after an interruption."""

import json
import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from helpers import script
from safetensors.torch import load_file
from scipy.stats import sem

from pyro_vae import load_run
from pyro_vae._checks import InputError, NonFiniteLossError
from pyro_vae.experiment.config import Config, RunConfig
from pyro_vae.experiment.seeds_table import over_seeds, seeds_table
from pyro_vae.experiment.several_seeds import train_seeds
from pyro_vae.processes import SINGLE_PROCESS

TINY = ("--epochs", 2, "--hidden", 8, "--latent-dim", 2, "--compile", "off", "--quiet", "--device", "cpu")
MEASURED = (*TINY, "--evaluate", "quick", "--metrics", "reconstruction-error")


def read(path):
    return json.loads(path.read_text())


def same(one, other):
    a, b = (load_file(folder / "model.safetensors") for folder in (one, other))
    return all((a[name] == b[name]).all() for name in a | b)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """The runs of three seeds, with what they printed."""
    folder = tmp_path_factory.mktemp("seeds") / "runs"
    assert script(*MEASURED, "--seeds", 0, 1, 7, "--out", folder) == 0
    return folder


@pytest.mark.slow
def test_each_seed_is_the_run_of_that_seed(three, tmp_path):
    assert sorted(path.name for path in three.iterdir()) == ["seed-0", "seed-1", "seed-7", "seeds.json"]
    assert script(*TINY, "--evaluate", "none", "--seed", 7, "--out", tmp_path / "alone") == 0
    assert same(three / "seed-7", tmp_path / "alone")
    assert not same(three / "seed-7", three / "seed-1")
    assert load_run(three / "seed-7").config.training.seed == 7


@pytest.mark.slow
def test_moments_over_seeds_are_those_of_numpy(three):
    found, summaries = (
        read(three / "seeds.json"),
        [read(three / f"seed-{s}" / "summary.json") for s in (0, 1, 7)],
    )
    assert (found["dataset"], found["split"], found["unit"]) == ("digits", "test", "nats per example")
    expected = {
        "elbo": [one["elbo"]["mean"] for one in summaries],
        "log_likelihood": [one["log_likelihood"]["mean"] for one in summaries],
        "error": [one["metrics"]["reconstruction-error"] for one in summaries],
    }
    over = found["over_seeds"] | {"error": found["over_seeds"]["metrics"]["reconstruction-error"]}
    for name, values in expected.items():
        numbers = {"mean": np.mean(values), "std": np.std(values, ddof=1), "se": sem(values), "num_seeds": 3}
        assert over[name] == pytest.approx(numbers, rel=1e-9)
    assert [one["elbo"] for one in found["seeds"].values()] == expected["elbo"]


@pytest.mark.slow
def test_seeds_can_be_added_and_those_that_are_finished_stay(three, capsys):
    before = {seed: (three / f"seed-{seed}" / "summary.json").stat().st_mtime_ns for seed in (0, 1, 7)}
    capsys.readouterr()
    assert script("--resume", three, "--seeds", 0, 1, 7, 2) == 0
    printed = capsys.readouterr().out
    assert printed.count("finished before") == 3
    assert "4 seeds; nats per example" in printed
    assert before == {s: (three / f"seed-{s}" / "summary.json").stat().st_mtime_ns for s in before}
    assert read(three / "seeds.json")["over_seeds"]["elbo"]["num_seeds"] == 4
    assert read(three / "seed-2" / "config.json")["config"]["model"]["hidden"] == [8]


@pytest.mark.slow
def test_a_folder_of_several_seeds_is_no_run(three):
    with pytest.raises(
        InputError, match=r"Expected the folder of one run; .* holds the runs of several seeds"
    ):
        load_run(three)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_finished_seeds_and_resume_completes_the_rest(sent, tmp_path, monkeypatch, capsys):
    from pyro_vae.experiment.stop_on_signal import StopOnSignal

    count, original = 0, StopOnSignal.on_step

    def on_step(self, trainer):
        nonlocal count
        count += 1
        if count == 30:  # of 22 steps a seed: in the second one
            os.kill(os.getpid(), sent)
        original(self, trainer)

    monkeypatch.setattr(StopOnSignal, "on_step", on_step)
    folder = tmp_path / "runs"
    command = (*TINY, "--evaluate", "none", "--seeds", 0, 1, 2, "--out", folder)
    assert script(*command) == 128 + sent
    printed = capsys.readouterr().out
    assert "Continue with the remaining seeds: " in printed
    assert printed.endswith(f" --resume {folder}\n")
    assert set(read(folder / "seeds.json")["seeds"]) == {"0"}
    assert not (folder / "seed-2").exists()
    assert script("--resume", folder) == 0
    assert set(read(folder / "seeds.json")["seeds"]) == {"0", "1", "2"}
    assert script(*TINY, "--evaluate", "none", "--seed", 1, "--out", tmp_path / "alone") == 0
    assert same(folder / "seed-1", tmp_path / "alone")


@pytest.mark.slow
def test_more_epochs_train_all_seeds_on(tmp_path, capsys):
    folder = tmp_path / "runs"
    assert script(*TINY, "--evaluate", "none", "--seeds", 0, 1, "--out", folder) == 0
    assert script("--resume", folder, "--epochs", 3) == 0
    assert "finished before" not in capsys.readouterr().out
    assert [read(folder / f"seed-{s}" / "summary.json")["epochs"] for s in (0, 1)] == [3, 3]
    assert script("--resume", folder) == 0
    assert capsys.readouterr().out.count("finished before") == 2


def made(elbo, **more):
    """A summary as a run writes it."""
    facts = {"dataset": "made", "split": "test", "num_examples": 5, "preprocessing": "as given"}
    return facts | {
        "unit": "nats per example", "likelihood": "gaussian", "elbo": {"mean": elbo}, "log_likelihood": None,
        "metrics": {}, "best_epoch": 1, "epochs": 2, "stopped": "epochs", "evaluation": "full",
    } | more  # fmt: skip


def test_one_seed_has_no_spread_and_missing_numbers_are_left_out():
    alone = over_seeds({3: made(-1.5)})
    assert alone["elbo"]["mean"] == -1.5
    assert math.isnan(alone["elbo"]["std"])
    assert set(alone) == {"elbo", "metrics"}
    partly = {0: made(-1.0, metrics={"elbo": 3.0}), 1: made(-3.0)}
    assert over_seeds(partly)["metrics"] == {}
    assert over_seeds(partly)["elbo"] == pytest.approx({"mean": -2, "std": 2**0.5, "se": 1, "num_seeds": 2})
    lines = seeds_table(partly).splitlines()
    assert lines[2].split() == ["seed", "epoch", "kept", "test", "ELBO", "elbo"]
    assert lines[5].split() == ["1", "1", "-3.00", "-"]
    assert lines[6].split() == ["mean", "-2.000", "-"]


def test_a_seed_that_diverges_is_noted_and_the_others_go_on(tmp_path, capsys):
    trained = []

    def train_one(config, processes):
        trained.append(config.training.seed)
        if config.training.seed == 1:
            raise NonFiniteLossError("The loss is not finite.")
        config.run.out.mkdir()
        (config.run.out / "summary.json").write_text(json.dumps(made(-float(config.training.seed))))
        return 0

    config = Config(run=RunConfig(seeds=(0, 1, 2), out=tmp_path / "runs"))
    with pytest.raises(NonFiniteLossError, match=r"Seed 1: The loss is not finite\."):
        train_seeds(config, SINGLE_PROCESS, train_one)
    assert trained == [0, 1, 2]
    found = read(tmp_path / "runs" / "seeds.json")
    assert found["failed"] == {"1": "The loss is not finite."}
    assert found["over_seeds"]["elbo"]["num_seeds"] == 2
    assert "2 seeds" in capsys.readouterr().out


def test_ctrl_c_between_two_seeds_keeps_the_finished_one(tmp_path, capsys):
    def train_one(config, processes):
        if config.training.seed == 1:
            raise KeyboardInterrupt
        config.run.out.mkdir()
        (config.run.out / "summary.json").write_text(json.dumps(made(-1.0)))
        return 0

    config = Config(run=RunConfig(seeds=(0, 1, 2), out=tmp_path / "runs"))
    assert train_seeds(config, SINGLE_PROCESS, train_one) == 130
    assert set(read(tmp_path / "runs" / "seeds.json")["seeds"]) == {"0"}
    assert f"--resume {tmp_path / 'runs'}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--seeds", 1, 1), "Expected different --seeds; got 1 1."),
        (("--seeds", 0, -1), "Expected every one of --seeds to be a whole number of at least 0; got -1."),
        (("--seeds", 0, 1, "--seed", 3), "Expected either --seed or --seeds; got --seed 3 and --seeds 0 1."),
        (("--seeds", 0, 1, "--dataset", "nowhere.csv", "--out", "new"), "nowhere.csv"),
    ],
)
def test_bad_seeds_end_in_one_sentence_and_leave_nothing(args, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert script(*args) == 2
    assert message in capsys.readouterr().err
    assert list(Path().glob("new*")) == []


@pytest.mark.slow
def test_one_run_is_not_resumed_as_several(three, tmp_path, capsys):
    assert script("--resume", three / "seed-0", "--seeds", 0, 1) == 2
    assert "Expected a folder of several seeds to resume with --seeds" in capsys.readouterr().err
    assert script("--resume", three, "--out", tmp_path / "other") == 2
    assert "Expected no other folder for --out when several seeds are resumed" in capsys.readouterr().err
    assert script("--resume", three, "--hidden", 9) == 2
    assert "--hidden (8,) (now (9,))" in capsys.readouterr().err
