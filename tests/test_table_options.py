"""Options for tables: each takes effect, or one sentence says why not."""

import numpy as np
import pandas as pd
import pytest

from pyro_vae._checks import InputError
from pyro_vae.data import load_dataset
from pyro_vae.data.column_kinds import infer_column
from pyro_vae.data.column_values import observed_text
from pyro_vae.data.mixed_tables import read_table
from pyro_vae.data.new_rows import rows_like
from pyro_vae.data.row_format import RowFormat
from pyro_vae.data.table_options import TableOptions

rng = np.random.default_rng(0)
N = 120
FRAME = pd.DataFrame(
    {
        "id": rng.permutation(N) * 7,
        "size": rng.normal(size=N).round(3),
        "town": rng.choice(["Aarhus", "Bonn", "Cork"], N),
        "class": rng.integers(0, 3, N),
        "name": [f"person {i}" for i in range(N)],
    }
)
CONTRADICTIONS = {
    "drop and kind": ({"drop": ("size",), "kinds": ("size:real",)}, "'size'; got --drop and --columns"),
    "id and kind": ({"id_column": "id", "kinds": ("id:real",)}, "'id'; got --id-column and --columns"),
    "label and kind": (
        {"label_column": "town", "kinds": ("town:categorical",)},
        "'town'; got --label-column and --columns",
    ),
    "drop and label": ({"drop": ("town",), "label_column": "town"}, "'town'; got --drop and --label-column"),
    "id and label": ({"id_column": "id", "label_column": "id"}, "'id'; got --label-column and --id-column"),
}


@pytest.mark.parametrize(("options", "message"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_options_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(
        InputError, match=rf"at most one of the options for column {message}, which contradict"
    ):
        TableOptions(**options)


def test_a_given_kind_or_role_wins_over_what_is_inferred():
    kinds = ("id:real", "class:ordinal", "name:categorical")
    stored = read_table(FRAME, TableOptions(kinds=kinds))
    assert [f"{c.name}:{c.kind}" for c in stored.columns] == [
        "id:real",
        "size:real",
        "town:categorical",
        *kinds[1:],
    ]
    stored = read_table(FRAME, TableOptions(id_column="class"))
    assert stored.labels is None
    assert "id, by --id-column" in "\n".join(stored.kinds)


def test_marks_of_missing_values_that_do_not_occur_are_named():
    frame = FRAME.assign(size=FRAME["size"].where(FRAME.index != 3, -200.0))
    stored = read_table(frame, TableOptions(missing=("-200.00", "-999", "none", "Bonn")))
    assert np.isnan(stored.array[3, 0])
    assert stored.notes == ("No entry of the DataFrame is '-999' or 'none', named by --missing.",)


WITHOUT_EFFECT = {
    "separator": ({"table": TableOptions(separator="semicolon")}, "text table for --separator"),
    "encoding": (
        {"table": TableOptions(encoding="cp1252", header="no")},
        "for --encoding and --header no; .*Leave them",
    ),
    "flip": ({"flip": "horizontal"}, "Expected images for --flip horizontal"),
    "grey": ({"grey": True}, "--grey only with a folder of images"),
    "size": ({"image_size": 8}, "--image-size 8 8 only with a folder of images"),
    "packed bits": ({"packed_bits": 8}, "--packed-bits only with"),
    "binarize": (
        {"binarize": "dynamic"},
        r"--binarize none under a table likelihood; got dynamic\. Leave it out",
    ),
    "kinds": (
        {"table": TableOptions(kinds=("size:student-t",)), "likelihood_kind": "continuous"},
        "no kinds by --columns but real .*got others for 'size'",
    ),
}


@pytest.mark.parametrize(("options", "message"), WITHOUT_EFFECT.values(), ids=WITHOUT_EFFECT)
def test_options_without_effect_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        load_dataset(FRAME, **{"likelihood_kind": "table"} | options)


@pytest.mark.parametrize("kind", ["continuous", "unit-interval", "binary", "integer"])
def test_a_table_of_numbers_is_the_same_under_every_ending(tmp_path, kind):
    """Tab-separated numbers give the x of the same numbers in a .csv file, whatever a table's kinds would be."""
    values = rng.random((N, 3)) if kind == "unit-interval" else rng.integers(0, 2, (N, 3))
    if kind == "continuous":
        values = values + rng.normal(size=(N, 3)) * [0, 1, 1]
    frame = pd.DataFrame(values, columns=list("abc"))
    frame.to_csv(tmp_path / "x.csv", index=False)
    frame.to_csv(tmp_path / "x.tsv", index=False, sep="\t")
    expected, data = (load_dataset(tmp_path / f"x.{e}", likelihood_kind=kind) for e in ("csv", "tsv"))
    np.testing.assert_array_equal(data.train.tensor(), expected.train.tensor())
    known = RowFormat.from_json(RowFormat.of(data).to_json())
    rows, _ = rows_like(tmp_path / "x.tsv", known, kind)
    np.testing.assert_array_equal(rows.tensor()[data.train.index], data.train.tensor())
    if kind != "continuous":
        (frame + 5).to_csv(tmp_path / "y.tsv", index=False, sep="\t")
        with pytest.raises(InputError, match="from 0 to 1 in"):
            rows_like(tmp_path / "y.tsv", known, kind)


NUMBERS = {
    "decimal commas": ("1,5 2,25 -3", "auto", [1.5, 2.25, -3]),
    "given decimal commas": ("1,500 2,250", "comma", [1.5, 2.25]),
    "thousands": ("1,500 12,345 999", "point", [1500, 12345, 999]),
    "thousands and points": ("1,500.25 12", "point", [1500.25, 12]),
    "thousands and commas": ("1.500,25 12.345.678 999,5", "comma", [1500.25, 12345678, 999.5]),
    "points under a decimal comma": ("1.5 12,25", "comma", [1.5, 12.25]),
    "three decimals": ("0,125 1,234", "auto", [0.125, 1.234]),
}


@pytest.mark.parametrize(("texts", "decimal", "values"), NUMBERS.values(), ids=NUMBERS)
def test_decimal_marks_and_thousands(texts, decimal, values):
    frame = pd.DataFrame({"x": texts.split(), "y": np.arange(len(values)) / 7})
    found = infer_column("x", observed_text(frame.x, TableOptions()), decimal, "real")
    np.testing.assert_array_equal(found.values, values)


def test_a_comma_with_two_meanings_is_refused(tmp_path):
    frame = pd.DataFrame({"price": ["1,234", "12,500", "999"] * 20, "y": rng.normal(size=60).round(2)})
    frame.to_csv(tmp_path / "t.csv", index=False)
    message = r"one meaning in column 'price'; '1,234' may have .*Give --decimal comma or --decimal point, or numbers"
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / "t.csv")
    for decimal, first in (("comma", 1.234), ("point", 1234.0)):
        stored = read_table(tmp_path / "t.csv", TableOptions(decimal=decimal, kinds=("price:real",)))
        assert stored.array[0, 0] == first
    frame.to_csv(tmp_path / "s.csv", index=False, sep=";", decimal=",")
    stored = read_table(tmp_path / "s.csv", TableOptions(kinds=("price:real",)))
    assert stored.array[0, 0] == 1.234
    assert "separator semicolon, decimal comma" in stored.notes[0]
