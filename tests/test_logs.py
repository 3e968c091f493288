"""Logs of training: each epoch once, also in a resumed run."""

import csv
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from helpers import script
from programs import rows as gaussian_rows
from programs import small_vae

from pyro_vae import fit
from pyro_vae._checks import MissingPackageError
from pyro_vae.training import Callback, CSVLog, EpochLog, TensorBoardLog
from pyro_vae.training.logs import epoch_numbers, summary_writer

LINE = {
    "epoch": 2,
    "learning_rate": 0.1,
    "loss": 3.0,
    "train": {"elbo": -3.0, "kl": 1.0},
    "validation": {"elbo": -4.0},
    "metrics": {"reconstruction-error": 5.0},
    "seconds": 0.5,
}
FLAT = {
    "learning_rate": 0.1,
    "loss": 3.0,
    "train/elbo": -3.0,
    "train/kl": 1.0,
    "validation/elbo": -4.0,
    "metrics/reconstruction-error": 5.0,
    "seconds": 0.5,
}
TINY = ["--hidden", 4, "--latent-dim", 1, "--evaluate", "none", "--compile", "off"]


class Trainer:
    """The part of a trainer that a log uses."""

    def __init__(self, history=()):
        self.history = list(history)

    def run(self, log, lines):
        log.on_start(self)
        for line in lines:
            self.history.append(line)
            log.on_epoch(self)
        log.on_end(self)


def epochs(first, last, **more):
    return [
        {"epoch": epoch, "loss": float(epoch), "train": {"elbo": -1.0}, **more}
        for epoch in range(first, last + 1)
    ]


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_numbers_of_an_epoch_have_flat_names():
    assert epoch_numbers(LINE) == FLAT


def test_any_logger_is_a_function():
    logged = []
    Trainer().run(EpochLog(lambda epoch, numbers: logged.append((epoch, numbers))), [LINE])
    assert logged == [(2, FLAT)]


def test_fit_logs_the_numbers_of_its_history(tmp_path):
    x, logged = gaussian_rows(count=40), {}
    logs = [CSVLog(tmp_path / "new" / "log.csv"), EpochLog(logged.__setitem__)]
    result = fit(
        *small_vae(), x[:30], x[30:], epochs=2, compile="off", progress=False, callbacks=logs, batch_size=10
    )
    assert logged == {line["epoch"]: epoch_numbers(line) for line in result.history}
    written = rows(tmp_path / "new" / "log.csv")
    assert [{k: float(v) for k, v in row.items() if k != "epoch"} for row in written] == list(logged.values())


def test_a_csv_log_is_on_disk_after_each_epoch(tmp_path):
    seen = []

    class Look(Callback):
        def on_epoch(self, trainer):
            seen.append(len(rows(tmp_path / "log.csv")))

    log, trainer, look = CSVLog(tmp_path / "log.csv"), Trainer(), Look()
    log.on_start(trainer)
    for line in epochs(1, 3):
        trainer.history.append(line)
        log.on_epoch(trainer)
        look.on_epoch(trainer)
    assert seen == [1, 2, 3]


def test_a_number_first_measured_later_gets_a_column(tmp_path):
    Trainer().run(
        CSVLog(tmp_path / "log.csv"), [*epochs(1, 1), *epochs(2, 2, metrics={"m": 7.0}), *epochs(3, 3)]
    )
    assert [row["metrics/m"] for row in rows(tmp_path / "log.csv")] == ["", "7.0", ""]
    assert [row["epoch"] for row in rows(tmp_path / "log.csv")] == ["1", "2", "3"]


def test_a_resumed_csv_log_has_each_epoch_once(tmp_path):
    """The process was ended after epoch 4, its last checkpoint was of epoch 2."""
    Trainer().run(CSVLog(tmp_path / "log.csv"), epochs(1, 4))
    Trainer(epochs(1, 2)).run(CSVLog(tmp_path / "log.csv"), epochs(3, 6))
    assert [row["epoch"] for row in rows(tmp_path / "log.csv")] == list("123456")


class Writer:
    """Takes points as torch's `SummaryWriter` does."""

    def __init__(self, log_dir, purge_step=None):
        self.path = log_dir
        self.points = [("purge", purge_step)]

    def add_scalar(self, tag, scalar_value, global_step):
        self.points.append((tag, scalar_value, global_step))

    def flush(self):
        Path(self.path).mkdir(exist_ok=True)
        (Path(self.path) / "events.out.tfevents.0").write_text(json.dumps(self.points))

    def close(self):
        self.flush()


@pytest.fixture
def tensorboard(monkeypatch):
    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)


def points(folder):
    return [tuple(point) for point in json.loads((folder / "events.out.tfevents.0").read_text())]


def of_losses(found):
    return [point[1:] for point in found if point[0] in ("loss", "purge")]


def test_a_tensorboard_log_hides_the_epochs_that_a_checkpoint_has_not_seen(tmp_path, tensorboard):
    Trainer().run(TensorBoardLog(tmp_path / "tb"), epochs(1, 4))
    assert of_losses(points(tmp_path / "tb")) == [(None,), (1.0, 1), (2.0, 2), (3.0, 3), (4.0, 4)]
    Trainer(epochs(1, 2)).run(TensorBoardLog(tmp_path / "tb"), epochs(3, 3))
    assert of_losses(points(tmp_path / "tb")) == [(3,), (3.0, 3)]


def test_a_tensorboard_log_that_begins_with_a_resumed_run_has_the_epochs_before(tmp_path, tensorboard):
    Trainer(epochs(1, 2)).run(TensorBoardLog(tmp_path / "tb"), epochs(3, 3))
    assert of_losses(points(tmp_path / "tb")) == [(None,), (1.0, 1), (2.0, 2), (3.0, 3)]


def test_tensorboard_itself_reads_each_epoch_once(tmp_path):
    pytest.importorskip("tensorboard", reason="needs pyro_vae[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    Trainer().run(TensorBoardLog(tmp_path), epochs(1, 4))
    Trainer(epochs(1, 2)).run(TensorBoardLog(tmp_path), epochs(3, 6))
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_tensorboard_has_the_numbers_of_the_csv_log(tmp_path):
    pytest.importorskip("tensorboard", reason="needs pyro_vae[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(60, 3)))
    run = tmp_path / "run"
    both = [*TINY, "--log", "csv", "tensorboard", "--metrics", "reconstruction-error", "--metrics-every", 2]
    assert script("--dataset", tmp_path / "rows.npy", *both, "--epochs", 3, "--out", run) == 0
    assert script("--resume", run, "--epochs", 5) == 0
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    found = {
        (tag, point.step): np.float32(point.value)
        for tag in events.Tags()["scalars"]
        for point in events.Scalars(tag)
    }
    assert found == {
        (tag, int(row["epoch"])): np.float32(value)
        for row in rows(run / "log.csv")
        for tag, value in row.items()
        if tag != "epoch" and value
    }


def test_a_missing_tensorboard_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'pyro_vae\[tensorboard\]'"):
        summary_writer()


def test_a_run_that_cannot_log_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(60, 3)))
    small = [*TINY, "--epochs", 1, "--log", "tensorboard"]
    assert script("--dataset", tmp_path / "rows.npy", *small, "--out", tmp_path / "run") == 2
    assert "pyro_vae[tensorboard]" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_log_of_another_name_is_refused(tmp_path, capsys):
    assert script(*TINY, "--log", "wandb", "--out", tmp_path / "run") == 2
    assert "csv, tensorboard" in capsys.readouterr().err


def test_a_resumed_run_continues_with_its_log(tmp_path, tensorboard):
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(60, 3)))
    run = tmp_path / "run"
    both = [*TINY, "--log", "csv", "tensorboard"]
    assert script("--dataset", tmp_path / "rows.npy", *both, "--epochs", 2, "--out", run) == 0
    assert script("--resume", run, "--epochs", 4) == 0
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [float(row["loss"]) for row in rows(run / "log.csv")] == [line["loss"] for line in history]
    assert of_losses(points(run / "tensorboard"))[0] == (3,)
