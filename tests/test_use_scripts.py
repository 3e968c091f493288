"""The commands that use a run: what they write, and what they refuse."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers import script
from PIL import Image
from sklearn.datasets import load_digits

from pyro_vae import load_run
from pyro_vae.data.new_rows import rows_like
from pyro_vae.experiment.uses.open_use import open_rows
from pyro_vae.storage import write_folder

pytestmark = pytest.mark.slow

SMALL = ("--epochs", 2, "--hidden", 8, "--latent-dim", 2, "--evaluate", "none", "--compile", "off", "--quiet")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run on digits given their class."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    assert script(*SMALL, "--context", "label", "--out", folder) == 0
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A run on a table with an id, and the table."""
    place = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    columns = {
        "id": [f"r{number}" for number in range(60)],
        "port": rng.choice(["S", "C", "Q"], 60),
        "sex": rng.choice(["m", "f"], 60),
        "children": rng.poisson(2, 60),
        "fare": rng.lognormal(2, 1, 60).round(2),
    }
    pd.DataFrame(columns).to_csv(place / "rows.csv", index=False)
    settings = ("--dataset", place / "rows.csv", "--likelihood", "table", "--id-column", "id")
    assert script(*SMALL, *settings, "--out", place / "run") == 0
    return place / "run", place / "rows.csv"


def test_generated_tables_are_read_as_the_training_table(table, tmp_path):
    run, rows = table
    out = tmp_path / "new.csv"
    assert script(run, "-n", 40, "-o", out, name="generate.py") == 0
    new, old = pd.read_csv(out), pd.read_csv(rows)
    assert list(new) == [name for name in old if name != "id"]
    assert len(new) == 40
    for column in ("port", "sex"):
        assert set(new[column]) <= set(old[column])
    assert new["children"].dtype.kind == "i"
    assert (new["children"] >= 0).all()
    split, _ = rows_like(out, load_run(run).row_format, "table")
    assert split.tensor().isfinite().all()
    assert script(run, "-n", 40, "-o", tmp_path / "again.csv", name="generate.py") == 0
    assert (tmp_path / "again.csv").read_bytes() == out.read_bytes()


def test_codes_are_written_with_ids(table, tmp_path):
    run, rows = table
    out = tmp_path / "codes.csv"
    assert script(run, rows, "-o", out, name="encode.py") == 0
    found = pd.read_csv(out)
    assert list(found) == ["row", "id", "z_0", "z_1", "z_0_sd", "z_1_sd"]
    assert list(found["id"]) == list(pd.read_csv(rows)["id"])
    used = open_rows(run, rows)
    mean = used.run.guide.encode(used.split.tensor()).mean
    np.testing.assert_allclose(found[["z_0", "z_1"]], mean, rtol=1e-5, atol=1e-6)
    assert script(run, "-o", out, name="encode.py") == 0
    found = pd.read_csv(out)  # of test rows, with their numbers in the file
    assert [f"r{row}" for row in found["row"]] == list(found["id"])


def test_classes_are_generated_and_encoded(digits, tmp_path):
    out = tmp_path / "new.npy"
    assert script(digits, "-n", 7, "-o", out, "--class", 3, name="generate.py") == 0
    x = np.load(out)
    assert (x.shape, x.dtype) == ((7, 8, 8), np.uint8)
    assert x.max() <= 16
    assert script(digits, "-o", tmp_path / "codes.csv", name="encode.py") == 0
    assert set(pd.read_csv(tmp_path / "codes.csv")["label"]) == set(range(10))
    assert script(digits, "-o", tmp_path / "codes.npy", name="encode.py") == 0
    mean, sd = np.load(tmp_path / "codes.npy"), np.load(tmp_path / "codes.sd.npy")
    assert mean.shape == sd.shape == (250, 2)


def test_images_fill_a_new_folder(digits, tmp_path, capsys):
    out = tmp_path / "images"
    assert script(digits, "-n", 3, "-o", out, name="generate.py") == 0
    assert [path.name for path in sorted(out.iterdir())] == ["00000.png", "00001.png", "00002.png"]
    assert np.asarray(Image.open(out / "00000.png")).shape == (8, 8)
    assert script(digits, "-n", 3, "-o", out, name="generate.py") == 2
    assert "Expected a new or empty folder for -o" in capsys.readouterr().err


def test_paths_and_inpainted_halves_are_written(digits, tmp_path):
    out = tmp_path / "path.npy"
    words = ("--classes", 3, 8, "--path", "circle", "--steps", 5)
    assert script(digits, *words, "-o", out, name="interpolate.py") == 0
    assert np.load(out).shape == (5, 8, 8)
    out = tmp_path / "full.npy"
    words = ("--hide", "top", "--num-rows", 3, "--num-samples", 20, "--draws", 2, "-o", out)
    assert script(digits, *words, name="inpaint.py") == 0
    full, draws = np.load(out), np.load(tmp_path / "full.draws.npy")
    assert draws.shape == (2, 3, 8, 8)
    np.testing.assert_array_equal(full[:, 4:], draws[0, :, 4:])  # visible pixels are those of the rows
    assert len(pd.read_csv(tmp_path / "full.rows.csv")) == 3


def test_entries_that_are_context_stay(tmp_path):
    run, out = tmp_path / "run", tmp_path / "clean.npy"
    assert script(*SMALL, "--context", "quadrants", "--out", run) == 0
    assert script(run, "digits", "-o", out, name="denoise.py") == 0
    clean, sd = np.load(out), np.load(tmp_path / "clean.sd.npy")
    given = (sd == 0).all(0)
    assert given.sum() == 16
    x = load_digits().images[open_rows(run, None).split.index]
    assert np.abs(clean - x)[:, given].max() <= 0.5 + 1e-4  # of the noise of dequantization
    assert script(run, "-n", 5, "-o", tmp_path / "new.npy", name="generate.py") == 0
    assert np.load(tmp_path / "new.npy").shape == (5, 8, 8)


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        (
            "generate.py",
            "{digits} -o {place}/x.jpg",
            "Expected -o to end in .npy or .csv or .png or a folder",
        ),
        (
            "generate.py",
            "{table} -o {place}/x.png",
            "Expected -o to end in .npy or .csv, as rows are no images",
        ),
        ("generate.py", "{digits} -o {place}/no/x.png", "it does not exist"),
        ("generate.py", "{digits} -o {place}/x.png --class 11", "Expected --class to be one of 0, 1, 2"),
        ("generate.py", "{table} -o {place}/x.csv --class 1", "Expected no --class"),
        ("generate.py", "{digits} -o {place}/x.png -n 0", "Expected -n to be a whole number of at least 1"),
        ("encode.py", "{digits} mnist-none -o {place}/x.csv", "there is none"),
        ("encode.py", "{digits} -o {place}/x.png", "Expected -o to end in .npy or .csv; got"),
        ("interpolate.py", "{digits} -o {place}/x.png", "Expected either --rows"),
        ("interpolate.py", "{digits} -o {place}/x.png --rows 0 250", "Expected --rows from 0 to 249"),
        ("interpolate.py", "{digits} -o {place}/x.png --classes 3 z", "got 'z', of which there is no row"),
        ("interpolate.py", "{table} -o {place}/x.csv --classes 3 8", "Expected rows with labels"),
        ("denoise.py", "{digits} -o {place}/x.png", "Expected rows to denoise"),
        ("inpaint.py", "{table} --hide left -o {place}/x.npy", "Expected a run on images"),
        ("inpaint.py", "{digits} --hide middle -o {place}/x.npy", "Expected --hide to be left"),
    ],
)
def test_bad_input_ends_in_a_sentence(name, words, message, digits, table, tmp_path, capsys):
    assert script(*words.format(digits=digits, table=table[0], place=tmp_path).split(), name=name) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert message in printed
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_folder_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), write_folder(tmp_path / "images") as folder:
        (folder / "00000.png").write_bytes(b"")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
