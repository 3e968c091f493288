"""A run folder holds all that new rows are scored with, wherever it is used from and whatever became of the data."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import script

from pyro_vae import load_dataset, load_run
from pyro_vae._checks import InputError
from pyro_vae.data import AsFloat, BinarizeDynamic, BinarizeStatic, Centre, Dequantize, IntegerLevels, Rescale
from pyro_vae.data.preprocessing import PREPROCESSINGS
from pyro_vae.data.row_format import RowFormat
from pyro_vae.experiment.saved_config import saved_config

SMALL = ["--epochs", 2, "--hidden", 8, "--latent-dim", 2, "--compile", "off"]
NAMES = ["width", "height", "weight"]


def write_csv(path, rows, names=NAMES):
    lines = [",".join(names), *(",".join(map(repr, row)) for row in np.asarray(rows).tolist())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def table(rows=80, seed=0):
    return np.random.default_rng(seed).normal([1.0, 5.0, -3.0], [1.0, 2.0, 0.5], (rows, 3))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Return a folder with a table, a run trained on it under a relative path, and the new rows' scores."""
    place = tmp_path_factory.mktemp("work")
    write_csv(place / "table.csv", table())
    write_csv(place / "new.csv", table(7, seed=1))
    before = Path.cwd()
    os.chdir(place)
    try:
        assert script("--dataset", "table.csv", *SMALL, "--out", "run") == 0
    finally:
        os.chdir(before)
    assert evaluate(place / "run", place / "new.csv", place / "expected") == 0
    return place


def evaluate(run, data, out, *more):
    return script(run, "--data", data, "--num-samples", 20, "--out", out, *more, name="evaluate.py")


def scores(folder):
    return (folder / "scores.csv").read_text(encoding="utf-8")


def test_the_folder_describes_its_rows(work):
    rows = json.loads((work / "run" / "config.json").read_text(encoding="utf-8"))["rows"]
    assert rows["data_shape"] == [3]
    assert rows["axes"] == ["columns"]
    assert rows["column_names"] == NAMES
    assert rows["class_names"] is None
    assert rows["preprocessing"] == {"kind": "AsFloat", "description": "as stored"}
    mean, std = load_dataset(work / "table.csv").statistics()
    assert rows["mean"] == mean.tolist()
    assert rows["std"] == std.tolist()
    found = load_run(work / "run").row_format
    assert found.data_dim == 3
    assert found.mean.dtype == torch.float64


@pytest.mark.parametrize("fate", ["deleted", "moved", "changed", "elsewhere"])
def test_new_rows_are_scored_without_the_training_file(work, tmp_path, monkeypatch, fate):
    place = tmp_path
    monkeypatch.chdir(place)
    path = work / "table.csv"
    content = path.read_bytes()
    try:
        if fate in ("deleted", "moved"):
            path.unlink()
        elif fate == "changed":
            write_csv(path, 100 * table(seed=3), ["a", "b", "c"])
        assert evaluate(os.path.relpath(work / "run"), os.path.relpath(work / "new.csv"), "out") == 0
    finally:
        path.write_bytes(content)
    assert scores(place / "out") == scores(work / "expected")


def test_columns_are_matched_by_name(work, tmp_path):
    order = [2, 0, 1]
    write_csv(tmp_path / "new.csv", table(7, seed=1)[:, order], [NAMES[i] for i in order])
    assert evaluate(work / "run", tmp_path / "new.csv", tmp_path / "out") == 0
    assert scores(tmp_path / "out") == scores(work / "expected")


def test_columns_without_names_are_matched_by_place(work, tmp_path):
    np.save(tmp_path / "new.npy", table(7, seed=1))
    assert evaluate(work / "run", tmp_path / "new.npy", tmp_path / "out") == 0
    assert scores(tmp_path / "out") == scores(work / "expected")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["width", "height"], "it lacks 'weight'."),
        ([*NAMES, "age"], "it has 'age' besides."),
        (["width", "height", "age"], "it lacks 'weight' and has 'age' besides."),
    ],
)
def test_other_columns_are_one_sentence(work, tmp_path, capsys, names, message):
    write_csv(tmp_path / "new.csv", np.zeros((5, len(names))) + 1.5, names)
    assert evaluate(work / "run", tmp_path / "new.csv", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert message in err
    assert "in any order" in err
    assert not (tmp_path / "out").exists()


def test_rows_in_another_unit_are_refused_by_the_saved_statistics(work, tmp_path, capsys):
    write_csv(tmp_path / "new.csv", 1000 * table(7, seed=1))
    assert evaluate(work / "run", tmp_path / "new.csv", tmp_path / "out") == 2
    assert "Bring them to the same unit" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_is_resumed_from_another_folder(work, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = os.path.relpath(work / "run")
    assert script("--resume", run, "--epochs", 3, "--out", "longer") == 0
    config = saved_config(tmp_path / "longer")
    assert config.data.dataset == str(work / "table.csv")
    assert json.loads((tmp_path / "longer" / "config.json").read_text())["config"]["run"]["resume"] == str(
        work / "run"
    )
    # The same file by another path is no other setting.
    assert script("--resume", "longer", "--dataset", os.path.relpath(work / "table.csv"), "--epochs", 4) == 0
    assert script("--resume", "longer", "--dataset", "table.csv", "--epochs", 5) == 2


def test_scoring_the_test_rows_still_needs_the_data(work, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [work / "run", "--num-samples", 5, "--out", "out"]
    assert script(*arguments, name="evaluate.py") == 0
    content = (work / "table.csv").read_bytes()
    try:
        write_csv(work / "table.csv", table(seed=4))
        assert script(*arguments, name="evaluate.py") == 2
    finally:
        (work / "table.csv").write_bytes(content)
    assert "has changed since" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("form", ["--out=~/run", "--out ~/run"])
def test_home_folders_are_expanded(work, tmp_path, monkeypatch, form):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(work)
    write_csv(tmp_path / "x.csv", table())
    quick = [*SMALL, "--evaluate", "none"]
    assert script("--dataset", "~/x.csv", *quick, *form.split()) == 0
    assert (tmp_path / "run" / "summary.json").exists()
    assert not (work / "~").exists()
    assert saved_config(tmp_path / "run").data.dataset == str(tmp_path / "x.csv")
    assert evaluate("~/run", "~/x.csv", "~/scores") == 0
    assert (tmp_path / "scores" / "scores.csv").exists()
    start = ["--start=~/run", "--out=~/other"]
    assert script("--dataset=~/x.csv", *quick, *start) == 0
    assert saved_config(tmp_path / "other").run.start == tmp_path / "run"
    assert script("--resume=~/run", "--epochs", 3) == 0
    assert load_run("~/run").config.training.epochs == 3
    assert not (work / "~").exists()


def test_a_home_folder_that_is_not_there_is_one_sentence(capsys):
    assert script("--out=~no-such-user/run") == 2
    assert "~no-such-user/run names a home folder that does not exist" in capsys.readouterr().err


PREPARED = [
    AsFloat("binary as stored"),
    Dequantize(17, -3),
    Rescale(255, 1),
    BinarizeStatic(255),
    BinarizeDynamic(16, 2),
    Centre((1e9, 0.0, 0.1)),
    IntegerLevels(17, -3),
]


@pytest.mark.parametrize("preprocessing", PREPARED, ids=lambda p: type(p).__name__)
def test_a_format_of_rows_goes_to_json_and_back(preprocessing):
    found = replace(RowFormat.of(load_dataset("digits")), preprocessing=preprocessing)
    again = RowFormat.from_json(json.loads(json.dumps(found.to_json())))
    assert again.preprocessing == preprocessing
    for name in ("name", "data_shape", "class_names", "column_names"):
        assert getattr(again, name) == getattr(found, name)
    assert torch.equal(again.mean, found.mean)
    assert torch.equal(again.std, found.std)


def test_every_preprocessing_has_a_name():
    assert {type(p).__name__ for p in PREPARED} <= set(PREPROCESSINGS)


@pytest.mark.parametrize(
    "damage",
    [
        {"preprocessing": {"kind": "RunCode"}},
        {"preprocessing": {"kind": "Dequantize", "steps": 3}},
        {"mean": [1.0]},
        {"data_shape": None},
        {"column_names": 3},
    ],
)
def test_a_damaged_format_is_refused(damage):
    values = RowFormat.of(load_dataset("digits")).to_json()
    with pytest.raises(InputError, match="Expected the saved format of rows"):
        RowFormat.from_json(values | damage)
