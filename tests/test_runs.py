"""The run folder: what it holds, that it resumes to the bit however it was stopped, and that it breaks clearly."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import SCRIPTS, script
from safetensors.torch import load_file

from pyro_vae import load_run
from pyro_vae._checks import InputError
from pyro_vae.experiment import checkpoint
from pyro_vae.experiment.checkpoint import load_state, save_state
from pyro_vae.experiment.load_data import load_data
from pyro_vae.experiment.run_folder import RunFolder
from pyro_vae.experiment.saved_config import saved_config
from pyro_vae.objectives import estimate_elbo
from pyro_vae.storage import StorageError, write_atomically, write_json

TRAIN = SCRIPTS / "svi_train.py"
SMALL = ["--epochs", "6", "--hidden", "16", "--latent-dim", "2", "--batch-size", "64"]
WEIGHTS = [*SMALL, "--evaluate", "none"]
"""For tests of the weights: a run without tables and figures takes a fifth of the time."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the folder of a small finished run, which was not evaluated."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert script(*WEIGHTS, "--out", folder) == 0
    return folder


def same_weights(a, b):
    first, second = load_file(a / "model.safetensors"), load_file(b / "model.safetensors")
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_run_leaves_what_it_promises_and_gives_back_its_model(tmp_path):
    finished = tmp_path / "run"
    assert script(*SMALL, "--out", finished, figures=True) == 0
    there = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    figures = {"training_curves", "latent_space", "reconstructions", "best_and_worst", "samples", "traversal"}
    expected = {"config.json", "metrics.jsonl", "model.safetensors", "summary.json", "checkpoint/state.pt"}
    assert there == expected | {f"figures/{name}.png" for name in figures}
    assert [line["epoch"] for line in lines(finished)] == [1, 2, 3, 4, 5, 6]
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["unit"] == "nats per example"
    assert summary["preprocessing"] == "dequantized, 17 levels, x in [0, 1)"
    assert summary["num_examples"] == 250
    config = json.loads((finished / "config.json").read_text())
    assert len(config["data"]["sha256"]) == 64
    assert config["config"]["model"]["scale_floor"] > 0
    assert config["config"]["training"]["device"] in ("cpu", "cuda")

    run = load_run(finished)
    test = load_data(run.config).test
    estimate = estimate_elbo(run.model, run.guide, test, num_particles=10)
    assert estimate.mean == pytest.approx(summary["elbo"]["mean"], rel=1e-6)
    assert run.info["data"]["name"] == "digits"


@pytest.mark.slow
def test_the_same_command_makes_a_new_numbered_folder_and_the_same_weights(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [script(*WEIGHTS), script(*WEIGHTS)] == [0, 0]
    first, second = sorted(Path("runs").iterdir())
    assert (first.name, second.name) == ("digits-gaussian-001", "digits-gaussian-002")
    assert same_weights(first, second)
    assert same_weights(first, finished)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 7, 21, 50])
def test_a_run_stopped_by_a_signal_continues_to_the_same_weights(
    steps, finished, tmp_path, monkeypatch, capsys
):
    from pyro_vae.experiment.stop_on_signal import StopOnSignal

    count = 0
    original = StopOnSignal.on_step

    def on_step(self, trainer):
        nonlocal count
        count += 1
        if count == steps:
            os.kill(os.getpid(), signal.SIGTERM if steps % 2 else signal.SIGINT)
        original(self, trainer)

    monkeypatch.setattr(StopOnSignal, "on_step", on_step)
    folder = tmp_path / "run"
    assert script(*WEIGHTS, "--out", folder) == (143 if steps % 2 else 130)
    assert f"--resume {folder}" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert script("--resume", folder) == 0
    assert same_weights(folder, finished)
    assert [line["train"] for line in lines(folder)] == [line["train"] for line in lines(finished)]


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_weights(finished, tmp_path):
    """Two real kills of a process that checkpoints as often as it can."""
    folder = tmp_path / "run"
    command = [sys.executable, str(TRAIN), *WEIGHTS, "--checkpoint-seconds", "0", "--out", str(folder)]
    for number in range(2):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not (folder / "checkpoint" / "state.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.15 * number)
        process.kill()
        process.wait()
        load_state(folder / "checkpoint" / "state.pt")
        command = [sys.executable, str(TRAIN), "--resume", str(folder)]
    assert script("--resume", folder) == 0
    assert same_weights(folder, finished)
    assert not list(folder.rglob(".*"))


@pytest.mark.slow
def test_a_finished_run_resumed_changes_nothing(finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "copy")
    assert script("--resume", copy) == 0
    assert same_weights(copy, finished)


@pytest.fixture(scope="module")
def ended_early(tmp_path_factory):
    """Return the folder of a run on few rows whose epochs were not given, which soon overfits."""
    folder = tmp_path_factory.mktemp("early")
    np.save(folder / "rows.npy", np.random.default_rng(0).normal(size=(80, 5)))
    settings = [
        "--hidden",
        "32",
        "--latent-dim",
        "2",
        "--lr",
        "1e-2",
        "--evaluate",
        "none",
        "--out",
        folder / "run",
    ]
    assert script("--dataset", folder / "rows.npy", *settings) == 0
    return folder / "run"


@pytest.mark.slow
def test_a_run_without_epochs_stops_early_and_reports_the_reason(ended_early):
    training = json.loads((ended_early / "config.json").read_text())["config"]["training"]
    chosen = {name: training[name] for name in ("epochs", "schedule", "average", "patience", "keep")}
    assert chosen == {
        "epochs": 1000,
        "schedule": "cooldown",
        "average": 0.05,
        "patience": 125,
        "keep": "best-elbo",
    }
    summary = json.loads((ended_early / "summary.json").read_text())
    assert (summary["stopped"], summary["kept_by"]) == ("patience", "best-elbo")
    values = [line["validation"]["elbo"] for line in lines(ended_early)]
    assert summary["best_epoch"] == values.index(max(values)) + 1 == len(values) - 125


@pytest.mark.slow
def test_a_run_that_ended_early_continues_with_more_patience(ended_early, tmp_path, capsys):
    epochs = len(lines(ended_early))
    assert script("--resume", ended_early, "--out", tmp_path / "same") == 0
    assert same_weights(tmp_path / "same", ended_early)
    assert f"of {epochs}, ended by patience" in capsys.readouterr().out
    assert script("--resume", ended_early, "--patience", 130, "--out", tmp_path / "more") == 0
    out = capsys.readouterr().out
    assert "another --patience 125 (now 130)" in out
    assert "at most 1000 epochs" in out
    assert "each the mean over the last 0.05 of its steps; ends after 130 epochs without a better one" in out
    assert len(lines(tmp_path / "more")) >= epochs + 5


@pytest.mark.slow
def test_the_kept_epoch_follows_the_objective_or_the_setting(tmp_path, capsys):
    for number, (flags, kept) in enumerate(
        [(["--beta", "0"], "loss"), (["--beta", "0", "--keep", "best-elbo"], "ELBO")]
    ):
        assert script(*SMALL, *flags, "--evaluate", "quick", "--out", tmp_path / str(number)) == 0
        out = capsys.readouterr().out
        assert f"kept       weights of the epoch with the best validation {kept}\n" in out
        assert f"ELBO at the weights of the epoch with the best validation {kept} (epoch " in out
        assert ("loss" in lines(tmp_path / str(number))[0]["validation"]) is (kept == "loss")


@pytest.mark.slow
def test_more_epochs_continue_in_another_folder(finished, tmp_path, capsys):
    out = tmp_path / "longer"
    assert script("--resume", finished, "--epochs", 8, "--out", out) == 0
    assert (
        "Resumed with another --epochs 6 (now 8), which decides about the learning rate (cosine): the result is not, "
        "to the bit, that of one run."
    ) in capsys.readouterr().out
    assert [line["epoch"] for line in lines(out)] == list(range(1, 9))
    assert [line["epoch"] for line in lines(finished)] == list(range(1, 7))


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--average", "0.5"]], ids=["plain", "averaged"])
def test_six_epochs_and_two_more_are_eight_under_a_constant_rate(tmp_path, capsys, more):
    """The checkpoint of a finished run is the state after its last step, whichever epoch was the best."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(60, 3)))
    # So high a rate that the best epoch is not the last.
    settings = [
        "--dataset",
        tmp_path / "x.npy",
        *SMALL,
        "--batch-size",
        8,
        "--compile",
        "off",
        "--evaluate",
        "none",
    ]
    settings += ["--schedule", "constant", "--lr", "0.2", *more]
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    assert script(*settings, "--out", parts) == 0
    assert json.loads((parts / "summary.json").read_text())["best_epoch"] < 6
    capsys.readouterr()
    assert script("--resume", parts, "--epochs", 8) == 0
    assert "Resumed with another" not in capsys.readouterr().out
    assert script(*settings, "--epochs", 8, "--out", whole) == 0
    assert same_weights(parts, whole)
    states = [load_state(folder / "checkpoint" / "state.pt") for folder in (parts, whole)]
    for name, value in states[0]["weights"].items():
        assert torch.equal(value, states[1]["weights"][name])
    assert [line["validation"] for line in lines(parts)] == [line["validation"] for line in lines(whole)]


@pytest.mark.slow
def test_a_run_starts_from_the_weights_of_another(finished, tmp_path, capsys):
    folder = tmp_path / "iwae"
    objective = ["--objective", "iwae", "--num-particles", "3", "--lr", "1e-30", "--dropout", "0.1"]
    assert script(*WEIGHTS, *objective, "--start", finished, "--out", folder) == 0
    assert same_weights(folder, finished)  # so small a rate changes nothing
    assert saved_config(folder).run.start == finished
    before = {path.name: path.read_bytes() for path in finished.glob("*.*")}
    refused = {
        "--latent-dim": ("3", r"these differ: --latent-dim 2 (now 3). Give the same settings."),
        "--guide": ("full-covariance", "these differ: --guide diagonal (now full-covariance)."),
        "--start": (str(tmp_path), "Expected the folder of a run; there is no config.json"),
    }
    for flag, (value, message) in refused.items():
        capsys.readouterr()
        assert script(*SMALL, "--start", finished, "--out", tmp_path / "other", flag, value) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "other").exists()
    assert {path.name: path.read_bytes() for path in finished.glob("*.*")} == before


def broken_copy(finished, tmp_path, damage):
    folder = shutil.copytree(finished, tmp_path / "broken")
    damage(folder)
    return folder


def overwrite(name, content):
    return lambda folder: (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "arguments", "message"),
    [
        (overwrite("config.json", b'{"config": {'), [], "the file is damaged"),
        (overwrite("config.json", b"[]"), [], "the file is damaged"),
        (lambda f: (f / "config.json").unlink(), [], "there is no config.json in"),
        (
            overwrite("checkpoint/state.pt", b"PK\x03\x04 nonsense"),
            [],
            "the file is damaged or something else",
        ),
        (overwrite("checkpoint/state.pt", b""), [], "the file is damaged or something else"),
        (lambda f: torch.save({"a": 1}, f / "checkpoint" / "state.pt"), [], "the file holds something else"),
        (
            lambda f: save_state(f / "checkpoint" / "state.pt", {"weights": {}}),
            [],
            "it belongs to other settings",
        ),
        (lambda f: None, ["--latent-dim", "3"], r"these differ: --latent-dim 2 \(now 3\)"),
        (lambda f: None, ["--likelihood", "laplace"], "--likelihood gaussian"),
        (lambda f: None, ["--seed", "5"], "--seed 0"),
        (lambda f: None, ["--epochs", "3"], "--epochs of at least the 6 that .* has done; got 3"),
    ],
)
def test_a_damaged_or_other_run_is_refused_and_unchanged(
    finished, tmp_path, capsys, damage, arguments, message
):
    folder = broken_copy(finished, tmp_path, damage)
    before = {
        path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "config.json"
    }
    assert script("--resume", folder, *arguments) == 2
    import re

    err = capsys.readouterr().err
    assert re.search(message, err), err
    assert "Traceback" not in err
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.mark.slow
def test_changed_data_is_detected_on_resume(tmp_path, capsys):
    data = tmp_path / "rows.npy"
    np.save(data, np.random.default_rng(0).normal(size=(40, 3)))
    assert script("--dataset", data, *WEIGHTS, "--out", tmp_path / "run") == 0
    np.save(data, np.random.default_rng(1).normal(size=(40, 3)))
    assert script("--resume", tmp_path / "run") == 2
    assert "has changed since" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "there is no such file"),
        (overwrite("model.safetensors", b"\x08\x00\x00"), "the file is damaged"),
        (
            lambda f: write_json(f / "config.json", with_latents(f, 5)),
            r"\d+ tensors differ in name or shape",
        ),
    ],
)
def test_load_run_reports_errors(finished, tmp_path, damage, message):
    folder = broken_copy(finished, tmp_path, damage)
    with pytest.raises(InputError, match=message):
        load_run(folder)


def with_latents(folder, latent_dim):
    values = json.loads((folder / "config.json").read_text())
    values["config"]["model"]["latent_dim"] = latent_dim
    return values


def test_a_pickle_that_runs_code_is_not_run(tmp_path):
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (Path.touch, (ran,))

    torch.save({"format": checkpoint.FORMAT, "state": Evil()}, tmp_path / "state.pt")
    with pytest.raises(InputError, match="damaged or something else"):
        load_state(tmp_path / "state.pt")
    assert not ran.exists()


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), write_atomically(path) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_keeps_the_old_file_and_raises(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    save_state(path, {"a": torch.zeros(3)})
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(
        StorageError, match=r"Could not write .*: No space left on device\. The previous file is unchanged"
    ):
        save_state(path, {"a": torch.ones(3)})
    assert path.read_bytes() == before


def test_numbers_that_are_not_finite_become_null(tmp_path):
    write_json(tmp_path / "a.json", {"a": float("nan"), "b": [float("inf"), 1.5], "c": "text"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": None, "b": [None, 1.5], "c": "text"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be made or written"):
        RunFolder.create(tmp_path / "run", "")


def test_folders_that_cannot_be_used_are_refused(finished, tmp_path):
    with pytest.raises(InputError, match="a new or empty folder for --out"):
        RunFolder.create(finished, "")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made or written"):
        RunFolder.create(tmp_path / "file", "")
    with pytest.raises(InputError, match="cannot be made or written"):
        RunFolder.create(tmp_path / "file" / "below", "")


def test_a_saved_configuration_is_the_one_that_ran(finished):
    config = saved_config(finished)
    assert config.model.hidden == (16,)
    assert config.run.resume == finished
