"""Columns of a table: kinds and levels belong together, and survive the saved format of rows."""

import dataclasses
import json

import pytest

from pyro_vae._checks import InputError
from pyro_vae.data import load_dataset
from pyro_vae.data.columns import Column
from pyro_vae.data.row_format import RowFormat

COLUMNS = (Column("age", "real"), Column("sex", "binary", ("f", "m")), Column("n", "count"))


def test_columns_are_saved_with_the_format_of_rows():
    known = dataclasses.replace(RowFormat.of(load_dataset("digits")), columns=COLUMNS)
    values = json.loads(json.dumps(known.to_json()))
    assert RowFormat.from_json(values).columns == COLUMNS
    del values["columns"]  # as runs of earlier versions wrote it
    assert RowFormat.from_json(values).columns is None


@pytest.mark.parametrize(
    ("kind", "levels", "message"),
    [
        ("binary", ("a",), "two levels"),
        ("binary", ("a", "b", "c"), "two levels"),
        ("real", ("a", "b"), "none of others"),
        ("text", (), "kind of column 'q'"),
    ],
)
def test_a_kind_and_levels_that_do_not_belong_together_are_refused(kind, levels, message):
    with pytest.raises(InputError, match=message):
        Column("q", kind, levels)
