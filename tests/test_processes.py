"""Two processes that train and evaluate as one, started by torchrun; and one that is alone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from helpers import SCRIPTS, script
from safetensors.torch import load_file

from pyro_vae._checks import InputError, LostProcessError
from pyro_vae.data.batch_order import Batches
from pyro_vae.processes import SINGLE_PROCESS, Processes, ProcessGroup, started_processes
from pyro_vae.training import fit

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
TRAIN = ["--hidden", 16, "--latent-dim", 3, "--batch-size", 100, "--compile", "off"]
SCORE = ["--num-samples", 20]


def launch(*command):
    """Start a script in two processes."""
    return subprocess.Popen(
        [*TORCHRUN, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=ENVIRONMENT,
    )


def launch_training(folder, *more):
    """Start training in two processes and wait for its first checkpoint; return the launcher and its workers."""
    begun = time.time()
    launcher = launch(SCRIPTS / "svi_train.py", *TRAIN, "--checkpoint-seconds", 0.1, "--out", folder, *more)
    state = folder / "checkpoint" / "state.pt"
    while not state.exists():
        assert launcher.poll() is None, launcher.communicate()[0][-2000:]
        assert time.time() < begun + 120
        time.sleep(0.02)
    workers = [
        p for p in psutil.Process(launcher.pid).children(recursive=True) if "svi_train" in str(p.cmdline())
    ]
    return launcher, sorted(workers, key=lambda p: int(p.environ()["RANK"]))


class Some(Processes):
    """One of several, without a network."""

    def __init__(self, rank, count):
        self.rank, self.count = rank, count


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run of two processes whose launcher got a signal."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    launcher, _ = launch_training(folder, "--epochs", 30)
    launcher.send_signal(signal.SIGTERM)
    launcher.communicate(timeout=60)
    return folder


@pytest.fixture(scope="module")
def together(tmp_path_factory, stopped):
    """What two processes have done: `found.json`, the run `two`, what it printed, its scores, and `stopped` resumed.

    One start of two processes serves for all, since it takes 15 s.
    """
    folder = tmp_path_factory.mktemp("together")
    scripts = {
        "trained": [*TRAIN, "--epochs", 30, "--out", folder / "two"],
        "scored": [folder / "two", *SCORE, "--out", folder / "scores-two"],
        "resumed": ["--resume", stopped, "--evaluate", "none", "--out", folder / "resumed"],
    }
    (folder / "scripts.json").write_text(json.dumps(scripts, default=str))
    launcher = launch(Path(__file__).with_name("together.py"), folder)
    printed, _ = launcher.communicate(timeout=250)
    assert launcher.returncode == 0, printed[-2000:]
    (folder / "told.txt").write_text(printed)
    return folder


@pytest.fixture(scope="module")
def found(together):
    return json.loads((together / "found.json").read_text())


@pytest.fixture(scope="module")
def alone(together):
    """The run of one process of the same settings as `two`, without its figures."""
    assert script(*TRAIN, "--epochs", 30, "--out", together / "one") == 0
    return together / "one"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["handlers", "traced"])
def test_averaged_gradients_are_those_of_the_whole_batch(found, kind):
    # Loss, norm, the three sums and every gradient, of 7 rows in shares of 3 and 4 under replayed noise.
    assert len(found[kind]) == 5 + 2 + 3
    assert all(np.isfinite(found[kind]))
    assert max(found[kind]) < 1e-5


@pytest.mark.slow
def test_a_step_of_two_is_a_step_of_one(found):
    assert found["count"] == 2
    assert found["one_step_apart"] < 1e-6
    assert np.isfinite(found["validated"])
    assert found["accumulated_apart"] < 1e-6  # in three batches of 8, 8 and 7 rows


@pytest.mark.slow
def test_all_processes_have_the_same_weights(found):
    assert found["weights_apart"] == 0


@pytest.mark.slow
def test_what_processes_give_is_put_together_in_order(found):
    assert found["gathered"] == [0, 1, 2, 10, 11, 12, 13]
    assert found["shares"] == list(range(7))
    assert found["from_first"] == 5
    assert found["seeds_differ"]


@pytest.mark.slow
def test_ppca_of_all_shares_is_that_of_all_rows(found):
    assert found["ppca"] < 1e-10


@pytest.mark.slow
def test_all_keep_the_same_epoch_by_the_loss_of_all_rows(found):
    assert found["kept_by"] == "best-loss"
    assert found["losses_apart"] < 1e-4
    assert len(found["kept"]) == 2
    assert len(set(found["kept"])) == 1


@pytest.mark.slow
def test_all_have_the_metrics_of_the_first(found):
    assert len(found["metrics"]) == 2 * 3  # both processes, three epochs
    assert all(one == found["metrics"][0] for one in found["metrics"])
    assert found["metrics"][0][0] == 0


@pytest.mark.slow
def test_all_stop_after_the_same_step(found):
    # The second process requested it in its fifth step; the first one received it in the sixth.
    assert found["steps"] == [6, 6]
    assert found["stopped"] == "another process"


@pytest.mark.slow
def test_two_processes_leave_one_run_as_good_as_that_of_one(together, alone):
    printed = (together / "told.txt").read_text()
    assert printed.count(f"run in {together / 'two'}") == 1
    assert "2 processes share the rows of every batch" in printed
    one, two = (json.loads((path / "summary.json").read_text()) for path in (alone, together / "two"))
    files = [{path.name for path in folder.iterdir()} for folder in (alone, together / "two")]
    assert files[1] == files[0] | {"figures"}
    se = np.hypot(one["elbo"]["se"], two["elbo"]["se"])
    assert abs(one["elbo"]["mean"] - two["elbo"]["mean"]) < 2 * se
    ppca = [summary["baselines"]["ppca"]["mean"] for summary in (one, two)]
    assert ppca[0] == pytest.approx(ppca[1], abs=1e-9)
    assert json.loads((together / "two" / "config.json").read_text())["processes"] == 2


@pytest.mark.slow
def test_scores_do_not_depend_on_the_number_of_processes(together):
    assert script(together / "two", *SCORE, "--out", together / "scores-one", name="evaluate.py") == 0
    one, two = ((together / f"scores-{name}" / "scores.csv").read_text() for name in ("one", "two"))
    assert one == two
    assert len(one.splitlines()) == 251


@pytest.mark.slow
def test_a_killed_process_ends_the_job_and_resume_continues(tmp_path, capsys):
    folder = tmp_path / "run"
    launcher, workers = launch_training(folder, "--epochs", 100_000)
    workers[1].kill()
    printed, _ = launcher.communicate(timeout=60)
    assert launcher.returncode == 1
    assert "error: Process 1 of 2 lost the connection to another one, so it stops" in printed
    assert "Continue a run from its last checkpoint by --resume" in printed
    done = len((folder / "metrics.jsonl").read_text().splitlines())
    assert script("--resume", folder, "--epochs", done + 2, "--evaluate", "none") == 0
    assert "number of processes, 2 (now 1)" in capsys.readouterr().out
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == done + 2


@pytest.mark.slow
def test_a_signal_to_the_launcher_saves_and_resumes_to_the_bit(stopped, together):
    assert not (stopped / "summary.json").exists()
    whole, parts = (load_file(together / name / "model.safetensors") for name in ("two", "resumed"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.slow
def test_training_loads_only_what_it_needs(found):
    assert found["loaded"] == []


def test_shares_are_all_rows_once_and_nearly_equal():
    for count in (1, 2, 3, 7):
        for num_rows in (7, 8, 100):
            rows = [list(range(num_rows))[Some(rank, count).share(num_rows)] for rank in range(count)]
            assert [row for own in rows for row in own] == list(range(num_rows))
            assert max(map(len, rows)) - min(map(len, rows)) <= 1


def test_batches_are_shared_and_their_noise_is_each_process_s_own():
    def fetch(index, generator):
        return torch.stack([index.float(), torch.rand(len(index), generator=generator)], 1)

    alone = Batches(fetch, torch.arange(23), 7, seed=5)
    shares = [Batches(fetch, torch.arange(23), 7, seed=5, processes=Some(rank, 3)) for rank in range(3)]
    # The last batch, of two rows, is too small for three.
    assert [len(batches) for batches in (alone, *shares)] == [4, 3, 3, 3]
    for (whole,), *parts in zip(alone.epoch(1), *(batches.epoch(1) for batches in shares), strict=False):
        together = torch.cat([part for (part,) in parts])
        assert torch.equal(whole[:, 0], together[:, 0])
        assert len(set(together[:, 1].tolist())) == 7


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            "[/a/pair.cc:561] Connection closed by peer [127.0.0.1]:1. This is typical.\nMore",
            "Connection closed by peer",
        ),
        ("Timed out after 30 s.", "Timed out after 30 s"),
        ("", "RuntimeError"),
    ],
)
def test_a_lost_process_is_reported_in_one_sentence(message, reason, monkeypatch):
    def broken(values):
        raise RuntimeError(message)

    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", broken)
    with pytest.raises(LostProcessError) as caught:
        ProcessGroup(torch.device("cpu")).sum(torch.zeros(2))
    assert f"Process 1 of 2 lost the connection to another one, so it stops ({reason}). Continue" in str(
        caught.value
    )


def test_one_process_needs_no_launcher(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert started_processes() is SINGLE_PROCESS
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert started_processes() is SINGLE_PROCESS
    values = torch.randn(3, 2)
    assert torch.equal(SINGLE_PROCESS.gather(values), values)


def test_processes_that_torchrun_has_not_started_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(
        InputError, match=r"started by torchrun; WORLD_SIZE is set, but not RANK.*Start them by"
    ):
        started_processes()


def test_too_few_rows_and_unshared_data_are_refused():
    model = guide = torch.nn.Linear(2, 2)
    with pytest.raises(
        InputError, match=r"at least one row for each of the 3 processes; got 2\. Start fewer"
    ):
        fit(model, guide, torch.zeros(2, 2), processes=Some(0, 3), seed=0)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.zeros(9, 2)))
    with pytest.raises(
        InputError, match=r"shared among several processes; got DataLoader, whose order is its own"
    ):
        fit(model, guide, loader, processes=Some(0, 3), seed=0)
