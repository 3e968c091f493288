"""The closing stage: how much is evaluated, and that nothing in it can lose the trained run."""

import json
import os
import signal

import numpy as np
import pytest
import torch
from helpers import script
from PIL import Image

from pyro_vae import load_dataset, load_run, plots
from pyro_vae.experiment import evaluation as closing
from pyro_vae.experiment import extent
from pyro_vae.experiment.comparison import score_rows
from pyro_vae.experiment.extent import LARGEST_COST, Extent, extent_of, full_cost
from pyro_vae.experiment.figures import write_figures

SMALL = ["--epochs", 2, "--hidden", 8, "--latent-dim", 2, "--compile", "off"]
TABLE = ["--dataset", "table.npy", *SMALL]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("table.npy", np.random.default_rng(0).normal(size=(200, 3)))


def summary(folder):
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def test_the_cost_is_rows_times_samples_times_weights():
    digits = load_dataset("digits")
    assert full_cost(digits, 3) == 3 * (1797 * 10 + 250 * 1000)


@pytest.mark.parametrize(("weights", "kind"), [(1, "full"), (int(LARGEST_COST // 267970) + 1, "quick")])
def test_the_size_decides_and_nothing_else(weights, kind):
    program = torch.nn.Linear(1, 1, bias=False)
    program.weight = torch.nn.Parameter(torch.empty(weights, device="meta"))
    digits = load_dataset("digits")
    assert extent_of("auto", digits, program, program).kind == kind  # a shared weight counts once
    assert extent_of("full", digits, program) == Extent("full")
    assert extent_of("none", digits, program) == Extent("none")


@pytest.mark.slow
def test_a_large_run_is_evaluated_quickly_with_a_hint_on_full_evaluation(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(extent, "LARGEST_COST", 1e6)
    assert script(*SMALL, "--out", tmp_path / "run") == 0
    out = capsys.readouterr().out
    assert "Quick evaluation, because rows x samples x products of weights of a full one are " in out
    assert f"svi_train.py --resume {tmp_path / 'run'} --evaluate full" in out
    assert "PPCA" not in out
    found = summary(tmp_path / "run")
    assert found["evaluation"] == "quick"
    assert found["baselines"] == {}
    assert found["log_likelihood"]["num_examples"] == 100
    assert found["elbo"]["num_examples"] == 250


@pytest.mark.slow
def test_quick_takes_evenly_spaced_rows(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(extent, "QUICK_ROWS", 50)
    assert script(*SMALL, "--evaluate", "quick", "--out", tmp_path / "run") == 0
    table = capsys.readouterr().out
    run, test = load_run(tmp_path / "run"), load_dataset("digits").test.evenly_spaced(50)
    assert test.index[0] == load_dataset("digits").test.index[0]
    assert test.index[-1] == load_dataset("digits").test.index[-1]
    expected = closing.estimate_elbo(run.model, run.guide, [(test.tensor(),)], closing.PARTICLES)
    assert summary(tmp_path / "run")["elbo"]["mean"] == pytest.approx(expected.mean, rel=1e-6)
    assert f"{expected.mean:.2f}" in table


@pytest.mark.slow
def test_none_trains_only_and_full_follows_on_resume(tmp_path, capsys):
    folder = tmp_path / "run"
    assert script(*TABLE, "--evaluate", "none", "--out", folder) == 0
    out = capsys.readouterr().out
    assert "Not evaluated (--evaluate none)." in out
    assert f"evaluate.py {folder}" in out
    assert "log p(x) of" not in out
    found = summary(folder)
    assert found["evaluation"] == "none"
    assert found["elbo"] is None
    assert found["best_epoch"] == 2
    assert not (folder / "figures").exists()
    assert script(folder, "--num-samples", 5, name="evaluate.py") == 0
    weights = (folder / "model.safetensors").read_bytes()
    assert script("--resume", folder, "--evaluate", "full") == 0
    assert summary(folder)["evaluation"] == "full"
    assert summary(folder)["log_likelihood"]["num_examples"] == 20
    assert (folder / "model.safetensors").read_bytes() == weights


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "number", "status"),
    [
        ("estimate_elbo", signal.SIGINT, 130),
        ("score_rows", signal.SIGTERM, 143),
        ("linear_baselines", signal.SIGINT, 130),
    ],
)
def test_a_signal_in_the_closing_stage_keeps_the_trained_run(
    step, number, status, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "run"
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]

    def interrupted(*args, **settings):
        os.kill(os.getpid(), number)
        raise AssertionError("the signal was not heard")

    with monkeypatch.context() as patch:
        patch.setattr(closing, step, interrupted)
        assert script(*TABLE, "--out", folder) == status
    out = capsys.readouterr().out
    assert f"Stopped by {number.name} while evaluating. The trained run is kept in {folder}." in out
    assert f"evaluate.py {folder}, or" in out
    assert summary(folder)["evaluation"] == "none"
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    assert script(folder, "--num-samples", 5, name="evaluate.py") == 0
    assert script("--resume", folder) == 0
    assert summary(folder)["evaluation"] == "full"


def test_a_signal_while_drawing_keeps_the_numbers(tmp_path, monkeypatch):
    def interrupted(*args):
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(plots, "save", interrupted)
        assert script(*TABLE, "--out", tmp_path / "run", figures=True) == 130
    assert summary(tmp_path / "run")["evaluation"] == "full"


@pytest.mark.slow
def test_a_test_row_beyond_all_bounds_is_a_note(tmp_path, capsys):
    rows = {name: np.random.default_rng(1).normal(size=(30, 3)) for name in ("train", "validation", "test")}
    rows["test"][4, 1] = 1e38
    np.savez("x.npz", **rows)
    assert script(*SMALL, "--dataset", "x.npz", "--out", "run") == 0
    out = capsys.readouterr().out
    assert "note: The ELBO is not finite for 1 of 30 test rows (number 4); the mean of the others is -" in out
    assert summary(tmp_path / "run")["evaluation"] == "full"


@pytest.mark.slow
@pytest.mark.parametrize("step", ["score_rows", "linear_baselines"])
def test_a_step_without_memory_is_a_note(step, tmp_path, monkeypatch, capsys):
    def out_of_memory(*args, **settings):
        raise MemoryError("Unable to allocate 3 TiB")

    target = (
        "pyro_vae.experiment.evaluation.score_rows" if step == "score_rows" else "pyro_vae.baselines.PPCA.fit"
    )
    monkeypatch.setattr(target, out_of_memory)
    assert script(*TABLE, "--out", "run") == 0
    assert "Unable to allocate 3 TiB" in capsys.readouterr().out
    assert summary(tmp_path / "run")["elbo"]["mean"] < 100


@pytest.mark.slow
def test_a_picture_that_cannot_be_drawn_is_a_note_and_the_old_one_is_removed(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    assert script(*SMALL, "--evaluate", "quick", "--out", folder, figures=True) == 0
    assert (folder / "figures" / "samples.png").exists()

    def broken(*args, **settings):
        raise ValueError("no such colour")

    monkeypatch.setattr(plots, "samples_and_means", broken)
    assert script("--resume", folder, "--epochs", 3, figures=True) == 0
    assert "note: samples.png could not be drawn: no such colour." in capsys.readouterr().out
    assert not (folder / "figures" / "samples.png").exists()
    assert (folder / "figures" / "reconstructions.png").exists()


def touch(figure, path):
    path.parent.mkdir(exist_ok=True)
    path.touch()


IMAGES = {"reconstructions", "best_and_worst", "samples", "traversal"}
TABLES = {"marginals", "pair_plot"}


SHAPES = {
    (6, 4): IMAGES,
    (4, 6, 6): IMAGES,
    (1, 6, 6): IMAGES,
    (6, 4, 4): IMAGES,  # four channels last
    (2, 5, 5): TABLES,
    (6, 5, 2): TABLES,
    (7, 7, 7): TABLES,
    (30, 1): IMAGES,
    (1, 30): IMAGES,
}
RENDERED = [(4, 6, 6), (2, 5, 5), (30, 1)]
"""Shapes whose figures are written as files, which takes most of the time; the others' are made only."""


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows_of_every_shape_are_drawn(shape, tmp_path, monkeypatch, capsys):
    if shape not in RENDERED:
        monkeypatch.setattr(plots, "save", touch)
    np.save("x.npy", np.random.default_rng(0).integers(0, 256, (40, *shape)).astype(np.uint8))
    assert script(*SMALL, "--dataset", "x.npy", "--evaluate", "quick", "--out", "run", figures=True) == 0
    assert "could not be drawn" not in capsys.readouterr().out
    found = {path.stem for path in (tmp_path / "run" / "figures").iterdir()}
    assert found == {"training_curves", "latent_space"} | SHAPES[shape]


@pytest.mark.slow
def test_floats_beyond_zero_and_one_are_not_all_black_and_white(tmp_path):
    images = np.random.default_rng(0).normal(size=(60, 8, 8)) * 50
    np.save("x.npy", images)
    assert script(*SMALL, "--dataset", "x.npy", "--evaluate", "quick", "--out", "run", figures=True) == 0
    grey = np.asarray(Image.open("run/figures/reconstructions.png").convert("L"))
    assert ((grey > 20) & (grey < 235)).mean() > 0.2


def test_an_image_with_opacity_is_composited_on_white():
    pixels = np.zeros((1, 4, 1, 2))
    pixels[0, 0, 0] = 1  # red
    pixels[0, 3, 0] = [1, 0]  # opaque, and not at all
    picture = plots.samples(pixels, (4, 1, 2)).images[0].get_array()
    assert picture[0, 0].tolist() == [1, 0, 0]
    assert picture[0, 1].tolist() == [1, 1, 1]


def test_a_very_tall_picture_is_of_bounded_size():
    figure = plots.samples(np.zeros((40, 4000)), (2000, 2)).figure
    assert figure.get_size_inches().max() <= 20


@pytest.mark.slow
def test_figures_of_a_folder_that_cannot_be_made_are_one_note(tmp_path):
    digits = load_dataset("digits")
    (tmp_path / "file").write_text("")
    run = load_run_of_digits(tmp_path)
    notes = write_figures(tmp_path / "file" / "figures", run.model, run.guide, digits, HISTORY)
    assert len(notes) == 1
    assert "training_curves.png, latent_space.png" in notes[0]


@pytest.mark.slow
def test_both_sources_of_samples_and_given_scores_are_drawn(tmp_path, monkeypatch):
    digits, run, titles = load_dataset("digits"), load_run_of_digits(tmp_path), {}
    scores = score_rows(run.model, run.guide, digits.test, num_rows=30)

    def save(figure, path):
        titles[path.stem] = [figure.get_suptitle(), *(ax.get_title() for ax in figure.axes)]

    monkeypatch.setattr(plots, "save", save)
    sources = ("prior", "mixture")
    assert (
        write_figures(tmp_path, run.model, run.guide, digits, HISTORY, scores=scores, sample_from=sources)
        == []
    )
    assert (
        titles["best_and_worst"][0]
        == "digits: 30 test rows by log p(x), nats (importance sampling, K = 1000)"
    )
    assert "draws x ~ p(x|z), z ~ mixture fitted to codes" in titles["samples"]


HISTORY = [{"epoch": 1, "train": {"elbo": -1.0, "reconstruction": -1.0, "kl": 0.0}}]


def load_run_of_digits(place):
    assert script(*SMALL, "--evaluate", "none", "--out", place / "digits") == 0
    return load_run(place / "digits")


@pytest.mark.slow
def test_quiet_shows_nothing_on_stderr(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert script(*TABLE, "--out", "loud") == 0
    assert "training" in capsys.readouterr().err
    assert script(*TABLE, "--quiet", "--out", "quiet") == 0
    assert script("quiet", "--num-samples", 5, "--quiet", name="evaluate.py") == 0
    assert capsys.readouterr().err == ""


def test_an_extent_that_is_none_is_refused(capsys):
    assert script(*SMALL, "--evaluate", "everything") == 2
    assert "everything" in capsys.readouterr().err
