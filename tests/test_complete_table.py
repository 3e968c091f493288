"""Completed tables: every byte but those of missing cells as it was, in formats found in the wild."""

from __future__ import annotations

import csv
import gzip

import numpy as np
import pandas as pd
import pytest
import torch

from pyro_vae._checks import InputError
from pyro_vae.data.column_kinds import encoded
from pyro_vae.data.columns import Column
from pyro_vae.data.text_cells import TextCells
from pyro_vae.evaluate import Imputation
from pyro_vae.experiment.complete_table import CompletedTable, places_of

TITANIC = b'\xef\xbb\xbfId,Name,Age,Port\r\n1,"Owen, Mr. ""O""",22.5,S\r\n2,"Ann,\nMrs.",,\r\n\r\n3, B\xe9a , 7 ,C\r\n'


def cells(tmp_path, text, separator=None):
    path = tmp_path / "rows.data"
    path.write_bytes(text)
    return TextCells(path, separator)


@pytest.mark.parametrize(
    "text",
    [
        TITANIC,
        b"2,1,?,?\n1,1,39.2,00000\n2,,,7",
        b"Date;CO;;\n10/03/2004;2,6;;\n11/03/2004;-200;;\n",
        b"39, State-gov, 77516, <=50K\n50, ?, 83311, >50K\n",
        b"ADT1_YEAST  0.58  0.61  MIT\nADT2_YEAST  0.43  0.67  MIT\n",
        b"a\tb\n1\t\n\t2\n",
        b"one\n1\n2\n",
        b"a|b\n1|2\n",
    ],
)
def test_other_cells_are_unchanged_to_the_byte(tmp_path, text):
    found = cells(tmp_path, text)
    found.write(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == text


def test_compressed_tables_are_read_and_written(tmp_path):
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(TITANIC))
    found = TextCells(path)
    found.write(tmp_path / "again.csv.gz")
    assert gzip.decompress((tmp_path / "again.csv.gz").read_bytes()) == TITANIC
    found.write(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == TITANIC


def test_fields_are_found_and_replaced_one_by_one(tmp_path):
    found = cells(tmp_path, TITANIC)
    assert (found.separator, found.first_row) == (",", ["Id", "Name", "Age", "Port"])
    found.skip_header()
    assert [found.get(row, 1)[:3] for row in range(len(found))] == ["Owe", "Ann", "B\udce9a"]
    assert found.get(0, 1) == 'Owen, Mr. "O"'
    assert found.column(2) == ["22.5", "", "7"]
    found.put(1, 2, "30.1")
    found.put(1, 3, "S,x")
    found.put(2, 2, "8")
    found.write(tmp_path / "again")
    expected = TITANIC.replace(b'Mrs.",,\r', b'Mrs.",30.1,"S,x"\r').replace(b" 7 ", b" 8 ")
    assert (tmp_path / "again").read_bytes() == expected


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        (b"a;b\n1,5;2\n2,5;3\n", ";"),
        (b"a,b\n1;5,2\n2,3\n", ","),
        (b"39, State gov, 7\n50, ?, 8\n", ","),
        (b"x 1 2\ny  3  4\n", " "),
        (b"a\tb c\n1\t2 3\n", "\t"),
    ],
)
def test_the_separator_is_that_of_equal_lines(tmp_path, text, separator):
    assert cells(tmp_path, text).separator == separator


def test_lines_of_other_lengths_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"Expected 2 fields in every line of .*; got 3 in line 3\."):
        cells(tmp_path, b"a,b\n1,2\n1,2,3\n", ",")
    with pytest.raises(InputError, match="Could not read"):
        TextCells(tmp_path / "none.csv")
    with pytest.raises(InputError, match="Expected rows in"):
        cells(tmp_path, b"\n\n")


def test_columns_are_found_by_name_in_any_order_or_by_place(tmp_path):
    named = cells(tmp_path, b"a,b,c\n1,2,3\n")
    assert places_of(named, ["c", "a"], 1) == [2, 0]
    assert len(named) == 1
    unnamed = cells(tmp_path, b"1,2,3\n4,5,6\n")
    assert places_of(unnamed, ["c0", "c2"], 2) == [0, 2]
    assert len(unnamed) == 2
    with pytest.raises(InputError, match=r"Expected the columns .*, x, y; the table has a, b, c\."):
        places_of(cells(tmp_path, b"a,b,c\n1,2,3\n"), ["x", "y"], 1)


def test_a_table_is_completed_in_its_own_format(tmp_path):
    text = b'id;size;kind;count\nu;2,60;"red";3\nv;;?;\nw;-200;blue; ? \nx;1,5;green;4\n'
    path = tmp_path / "rows.csv"
    path.write_bytes(text)
    nan = torch.nan
    # kind green was not seen in training: no value for the model, and none that is missing in the table
    x = torch.tensor([[3, 2.6, 1], [nan, nan, nan], [nan, nan, 0], [4, 1.5, nan]], dtype=torch.float64)
    value = torch.tensor([[3, 2.6, 1], [2.6, 1.234, 0], [7.2, 0.5, 0], [4, 1.5, 1]], dtype=torch.float64)
    draws = torch.stack([value, value + torch.tensor([1.0, 1, 0])])
    found = Imputation(value, torch.full_like(x, 0.5), torch.full_like(x, 0.9), torch.full((4,), 80.0), draws)
    table = CompletedTable(
        path, ["count", "size", "kind"], [(), (), ("blue", "red")], x.isnan(), found, (-200,)
    )
    files = table.write(tmp_path / "full.csv")
    assert [file.name for file in files] == ["full.csv", "full.draw1.csv", "full.draw2.csv", "full.cells.csv"]
    completed = b'id;size;kind;count\nu;2,60;"red";3\nv;1,23;blue;3\nw;0,50;blue; 7 \nx;1,5;green;4\n'
    assert files[0].read_bytes() == files[1].read_bytes() == completed
    assert b"v;2,23;blue;4\n" in files[2].read_bytes()
    lines = list(csv.DictReader(files[3].read_text().splitlines()))
    assert lines[0] == {
        "row": "1", "column": "count", "value": "2.6", "sd": "0.5", "probability": "", "effective_samples": "80.0",
    }  # fmt: skip
    assert (lines[2]["column"], lines[2]["value"], lines[2]["probability"]) == ("kind", "blue", "0.9")


def test_other_rows_than_were_read_are_refused(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a\n1\n\n")
    x = torch.full((3, 1), torch.nan)
    found = Imputation(x, x, x, x[:, 0], torch.zeros(0, 3, 1))
    with pytest.raises(InputError, match="Expected 3 rows in the table, as were read; got 2"):
        CompletedTable(path, ["a"], [()], x.isnan(), found).write(tmp_path / "out.csv")


def test_missing_cells_of_a_column_with_levels_are_read_as_missing():
    # pandas gives NaN in place of None where a column has both
    column = Column("port", "categorical", ("S", "C"))
    values, unseen = encoded(column, pd.Series(["C", None, np.nan, "S"], dtype=object), "point")
    np.testing.assert_array_equal(values, [1, np.nan, np.nan, 0])
    assert list(unseen) == []
