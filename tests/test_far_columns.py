"""Columns of tables far from 0, such as time stamps: their digits are kept from reading to writing."""

import json

import numpy as np
import pandas as pd
import pytest
from helpers import script

from pyro_vae._checks import InputError
from pyro_vae.data import Centre, load_dataset
from pyro_vae.data.new_rows import rows_like
from pyro_vae.data.row_format import RowFormat
from pyro_vae.experiment.provenance import check_same_data
from pyro_vae.experiment.uses.output import Output

N = 200
T = 1.7e9 + 0.5 * np.arange(N)
FRAME = pd.DataFrame(
    {
        "t": [f"{value:.1f}" for value in T],
        "v": np.sin(np.arange(N)).round(4),
        "town": np.tile(["Aarhus", "Bonn"], N // 2),
    }
)
FRAME.loc[::9, "t"] = None


def test_time_stamps_in_a_table_keep_their_digits():
    data = load_dataset(FRAME, likelihood_kind="table")
    assert isinstance(data.preprocessing, Centre)
    assert any("digits of column 't'" in note for note in data.notes)
    index = data.train.index
    observed = T[index][FRAME.t.notna()[index]]
    mean, std = data.statistics()
    np.testing.assert_allclose(std[0], observed.std(), rtol=1e-12)
    np.testing.assert_allclose(mean[0] + data.preprocessing.offset[0], observed.mean(), rtol=1e-15)
    assert data.train.tensor()[:, 0].nan_to_num(-1e3).unique().numel() == len(observed) + 1
    rows, _ = rows_like(FRAME, RowFormat.from_json(RowFormat.of(data).to_json()), "table")
    np.testing.assert_array_equal(rows.tensor()[index], data.train.tensor())


def test_rows_are_written_with_their_digits_and_dates(tmp_path):
    days = pd.date_range("2024-01-01", periods=N, freq="D")
    frame = FRAME.assign(day=days.strftime("%d/%m/%Y"))
    data = load_dataset(frame, likelihood_kind="table")
    row_format = RowFormat.of(data)
    x = data.train.tensor().nan_to_num(0.0)
    Output.at(tmp_path / "x.csv", row_format).write_rows(x, row_format, lambda: None, drawn=True)
    written = pd.read_csv(tmp_path / "x.csv")
    seen = frame.t.notna()[data.train.index].to_numpy()
    np.testing.assert_array_equal(written.t[seen], T[data.train.index][seen])
    assert written.day.tolist() == frame.day[data.train.index].tolist()


@pytest.mark.slow
def test_a_run_imputes_time_stamps_in_the_unit_of_the_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    FRAME.to_csv("t.csv", index=False)
    settings = (
        "--epochs 2 --hidden 8 --latent-dim 2 --compile off --evaluate none --likelihood table --out run"
    )
    assert script("--dataset", "t.csv", *settings.split()) == 0
    assert script("run", "t.csv", "-o", "full.csv", "--num-samples", 20, "--draws", 1, name="impute.py") == 0
    capsys.readouterr()
    assert script("run", "t.csv", "--top", 3, "--num-samples", 20, name="anomalies.py") == 0
    assert " 17000000" in capsys.readouterr().out
    missing = FRAME.t.isna()
    for name in ("full.csv", "full.draw1.csv"):
        full = pd.read_csv(name, dtype={"t": str})
        assert full.t[~missing].tolist() == FRAME.t[~missing].tolist()
        assert full.t[missing].astype(float).between(T.min() - 500, T.max() + 500).all()
    cells = pd.read_csv("full.cells.csv")
    assert (cells.value - T.mean()).abs().max() < 500
    assert cells.sd.max() < 500


def _former(rows, what):
    """Return the format of rows as an earlier version stored it: without offsets, or with another kind of column."""
    rows = json.loads(json.dumps(rows))
    if what == "offsets":
        rows["preprocessing"] = {"kind": "AsFloat"}
    else:
        rows["columns"][1]["kind"] = "student-t"
    return rows


@pytest.mark.parametrize("what", ["offsets", "kinds"])
def test_a_run_whose_file_was_read_otherwise_is_refused(what):
    data = load_dataset(FRAME, likelihood_kind="table")
    rows = RowFormat.of(data).to_json()
    info = {"data": {"sha256": data.sha256}, "rows": json.loads(json.dumps(rows))}
    check_same_data(data, info, "runs/a")
    with pytest.raises(
        InputError, match=r"reads other values or kinds of columns.*Train a new run, or name a file"
    ):
        check_same_data(data, info | {"rows": _former(rows, what)}, "runs/a", "name a file")
