"""Names of columns: of tables without a header line, and of new rows of such tables."""

from __future__ import annotations

import codecs

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import script

from pyro_vae._checks import InputError
from pyro_vae.data import load_dataset
from pyro_vae.data.mixed_tables import read_table
from pyro_vae.data.new_rows import rows_like
from pyro_vae.data.row_format import RowFormat
from pyro_vae.data.table_options import TableOptions
from pyro_vae.evaluate import Imputation
from pyro_vae.experiment.complete_table import CompletedTable

NAMES = ("species", "length", "town", "class")
ROWS = [(f"s{i % 3}", f"{i % 7 / 8 + i / 100:.2f}", "NK"[i % 2], i % 2) for i in range(60)]


def write(path, rows=ROWS, header=()):
    path.write_text("\n".join(",".join(map(str, row)) for row in [*([header] if header else []), *rows]))
    return path


def test_names_are_used_by_all_options_and_find_the_labels(tmp_path):
    path = write(tmp_path / "t.data")
    stored = read_table(path, TableOptions(names=NAMES, drop=("town",), kinds=("species:ordinal",)))
    assert stored.column_names == ("species", "length")
    assert stored.columns[0].kind == "ordinal"
    assert stored.labels.tolist() == [row[3] for row in ROWS]
    assert any("names of --names" in note for note in stored.notes)
    named = write(tmp_path / "named.data", header=NAMES)
    expected = read_table(named, TableOptions(drop=("town",), kinds=("species:ordinal",)))
    np.testing.assert_array_equal(stored.array, expected.array)


@pytest.fixture
def known(tmp_path):
    data = load_dataset(
        write(tmp_path / "train.data"), likelihood_kind="table", table=TableOptions(names=NAMES)
    )
    return RowFormat.from_json(RowFormat.of(data).to_json())


def without(rows, column):
    return [tuple(value for j, value in enumerate(row) if j != column) for row in rows]


NEW = {
    "all columns": (ROWS, ()),
    "the modelled columns alone": (without(ROWS, 3), ()),
    "a header in another order": ([row[::-1] for row in ROWS], NAMES[::-1]),
}


@pytest.mark.parametrize(("rows", "header"), NEW.values(), ids=NEW)
def test_new_rows_without_and_with_a_header_line(tmp_path, known, rows, header):
    expected, _ = rows_like(write(tmp_path / "same.data"), known, "table")
    found, _ = rows_like(write(tmp_path / "new.data", rows, header), known, "table")
    torch.testing.assert_close(found.tensor(), expected.tensor(), rtol=0, atol=0, equal_nan=True)
    frame = pd.DataFrame(rows, columns=header or NAMES[: len(rows[0])]).astype(str)
    torch.testing.assert_close(rows_like(frame, known, "table")[0].tensor(), expected.tensor())


def test_a_run_on_numbered_columns_reads_a_header_line_with_their_numbers(tmp_path):
    data = load_dataset(write(tmp_path / "train.data"), likelihood_kind="table")
    known = RowFormat.of(data)
    found, _ = rows_like(write(tmp_path / "new.data", header=[f"c{j}" for j in range(4)]), known, "table")
    assert len(found) == len(ROWS)


def test_new_rows_with_another_number_of_columns_are_refused(tmp_path, known):
    with pytest.raises(InputError, match=r"4 columns .*or the 3 that are modelled .*; got 2\. .*header line"):
        rows_like(write(tmp_path / "new.data", [row[:2] for row in ROWS]), known, "table")


REFUSED = {
    "too few": ({"names": ("a", "b")}, (), r"name for each of the 4 columns of .*; got 2 by --names\.$"),
    "twice": ({"names": ("a", "b", "a", "c")}, (), r"different names by --names; got 'a' twice\.$"),
    "empty": ({"names": ("a", "", "b", "c")}, (), r"none empty; got ''\.$"),
    "with a header": ({"names": NAMES}, ("p", "q", "r", "s"), r"no header line .*first line is 'p', 'q'.*--header no"),
    "and --header yes": ({"names": NAMES, "header": "yes"}, (), r"got --header yes\. Leave one of them out\.$"),
    "unknown column": ({"names": NAMES, "drop": ("c0",)}, (), r"got 'c0', but it has 'species'"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "header", "message"), REFUSED.values(), ids=REFUSED)
def test_names_that_do_not_fit(tmp_path, options, header, message):
    path = write(tmp_path / "t.data", header=header)
    with pytest.raises(InputError, match=message):
        read_table(path, TableOptions(**options))


def test_tables_with_a_header_take_no_other_names(tmp_path):
    frame = pd.DataFrame(ROWS, columns=NAMES)
    with pytest.raises(InputError, match="text table for --names; got the DataFrame"):
        read_table(frame, TableOptions(names=NAMES))
    (tmp_path / "t.parquet").write_bytes(b"")
    with pytest.raises(
        InputError, match=r"text table for --names; got .*t\.parquet, which has columns with names"
    ):
        read_table(tmp_path / "t.parquet", TableOptions(names=NAMES))


ENCODED = {"cp1252": "cp1252", "utf-16": "utf-16", "utf-8 with a mark": "utf-8-sig", "given": "cp1250"}


@pytest.mark.parametrize("encoding", ENCODED.values(), ids=ENCODED)
def test_completed_tables_keep_encoding_and_separator(tmp_path, encoding):
    path, text = tmp_path / "t.csv", "a~Größe\n1~Köln\n2~\n"
    path.write_bytes(text.encode(encoding))
    x = torch.tensor([[1.0, 0], [2, torch.nan]])
    value = torch.tensor([[1.0, 0], [2, 0]])
    found = Imputation(value, torch.ones(2, 2), torch.ones(2, 2), torch.ones(2), torch.zeros(0, 2, 2))
    options = TableOptions(separator="~", encoding=encoding)
    table = CompletedTable(
        path, ["a", "Größe"], [(), ("Köln", "Bonn")], x.isnan(), found, (), options, ["a", "Größe"]
    )
    (out, *_) = table.write(tmp_path / "full.csv")
    assert out.read_bytes().decode(encoding) == text.replace("2~\n", "2~Köln\n")
    assert out.read_bytes().startswith(codecs.BOM_UTF8) == (encoding == "utf-8-sig")


@pytest.mark.slow
def test_a_run_on_a_table_without_header_scores_imputes_and_resumes(tmp_path, capsys):
    rows = [("?" if i % 9 == 0 else s, length, town, c) for i, (s, length, town, c) in enumerate(ROWS)]
    table, run, out = write(tmp_path / "t.data", rows), tmp_path / "run", tmp_path / "full.data"
    options = "--likelihood table --hidden 8 --latent-dim 1 --evaluate none --compile off --quiet"
    words = ["--names", *NAMES, "--columns", "town:categorical", *options.split(), "--out", run]
    assert script("--dataset", table, *words, "--epochs", 1) == 0
    assert script("--resume", run, "--epochs", 2, "--evaluate", "none", "--quiet") == 0
    assert script(run, "--data", table, "--num-samples", 20, "--quiet", name="evaluate.py") == 0
    assert script(run, table, "-o", out, "--num-samples", 20, "--quiet", name="impute.py") == 0
    filled = [line.split(",") for line in out.read_text().splitlines()]
    assert {row[0] for row in filled} == {"s0", "s1", "s2"}
    assert [row[1:] for row in filled] == [list(map(str, row[1:])) for row in rows]
    words = [run, table, "--label", "class", "--num-samples", 20, "--quiet"]
    assert script(*words, name="anomalies.py") == 0
    assert "class = " in capsys.readouterr().out
