"""Tables of mixed columns: what is determined from the file, kinds a person would agree with, and new rows by name."""

import gzip

import numpy as np
import pandas as pd
import pytest

from pyro_vae._checks import InputError
from pyro_vae.data import load_dataset
from pyro_vae.data.mixed_tables import read_table
from pyro_vae.data.new_rows import rows_like
from pyro_vae.data.row_format import RowFormat
from pyro_vae.data.table_options import TableOptions

rng = np.random.default_rng(0)
N = 200
FRAME = pd.DataFrame(
    {
        "id": rng.permutation(N) + 1000,
        "height": rng.normal(170, 10, N).round(2),
        "income": np.exp(rng.normal(8, 2, N)).round(3),
        "visits": rng.poisson(rng.gamma(1, 6, N)),
        "stars": rng.integers(1, 6, N),
        "sex": rng.choice(["f", "m"], N),
        "town": rng.choice(["Aarhus", "Bonn", "Cork"], N),
        "day": pd.Series(pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(N), "D")).dt.strftime(
            "%d/%m/%Y"
        ),
        "name": [f"person {i}" for i in range(N)],
        "code": rng.choice(["007", "012", "100"], N),
        "same": 1,
        "none": "",
    }
)
FRAME.loc[:9, "height"] = np.nan
FRAME.loc[5:7, "code"] = None
KINDS = {
    "height": "real",
    "income": "positive",
    "visits": "count",
    "stars": "ordinal",
    "sex": "binary",
    "town": "categorical",
    "day": "real",
    "code": "categorical",
}


def kinds(stored):
    return {column.name: column.kind for column in stored.columns}


def test_kinds_and_entries(tmp_path):
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    stored = read_table(tmp_path / "t.csv")
    assert kinds(stored) == KINDS
    by_name = dict(zip(stored.column_names, stored.array.T, strict=True))
    np.testing.assert_array_equal(by_name["height"], FRAME.height)
    np.testing.assert_array_equal(by_name["stars"], FRAME.stars - 1)
    np.testing.assert_array_equal(by_name["town"], FRAME.town.map({"Aarhus": 0, "Bonn": 1, "Cork": 2}))
    assert by_name["day"][0] == (pd.Timestamp("2024-01-01") - pd.Timestamp(0)).days
    table = "\n".join(stored.kinds)
    for said in (
        "id, nearly",
        "all values different",
        "constant ('1')",
        "empty (all missing)",
        "5.0 %",
        "date %d/%m/%Y",
    ):
        assert said in table


WRITTEN = {
    "tabs": ("t.tsv", {"sep": "\t"}, TableOptions()),
    "semicolons and decimal commas": ("t.csv", {"sep": ";", "decimal": ","}, TableOptions()),
    "bars": ("t.txt", {"sep": "|"}, TableOptions()),
    "Latin-1": ("t.csv", {"encoding": "latin-1"}, TableOptions()),
    "UTF-16": ("t.csv", {"encoding": "utf-16"}, TableOptions()),
    "no value": ("t.csv", {"na_rep": "NA"}, TableOptions()),
    "a number for missing": ("t.csv", {"na_rep": "-200"}, TableOptions(missing=("-200.0",))),
    "given": (
        "t.csv",
        {"sep": "~"},
        TableOptions(separator="~", encoding="utf-8", header="yes", decimal="point"),
    ),
}


@pytest.mark.parametrize(("name", "written", "options"), WRITTEN.values(), ids=WRITTEN)
def test_a_file_of_any_format_is_the_same_table(tmp_path, name, written, options):
    frame = FRAME.assign(town=FRAME.town.replace("Bonn", "Köln"))
    frame.to_csv(tmp_path / name, index=False, **written)
    stored, expected = read_table(tmp_path / name, options), read_table(frame)
    np.testing.assert_array_equal(stored.array, expected.array)
    assert kinds(stored) == KINDS
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    np.testing.assert_array_equal(read_table(tmp_path / f"{name}.gz", options).array, stored.array)


def test_a_table_without_header_and_with_blanks(tmp_path):
    (tmp_path / "t.data").write_text("".join(f"{i % 7 / 8}   {i % 3}  u{i % 2}\n" for i in range(60)))
    stored = read_table(tmp_path / "t.data")
    assert stored.column_names == ("c0", "c1", "c2")
    assert stored.columns[2].levels == ("u0", "u1")


GIVEN = {"stars": "real", "code": "ordinal", "id": "count", "visits": "poisson", "height": "student-t"}


def test_options(tmp_path):
    options = TableOptions(
        drop=("day",),
        label_column="town",
        id_column="name",
        kinds=tuple(f"{name}:{kind}" for name, kind in GIVEN.items()),
    )
    stored = read_table(FRAME, options)
    expected = KINDS | GIVEN
    assert kinds(stored) == {name: kind for name, kind in expected.items() if name not in ("day", "town")}
    assert stored.class_names == ("Aarhus", "Bonn", "Cork")


def test_new_rows_are_matched_by_name_and_unseen_levels_are_reported(tmp_path):
    data = load_dataset(FRAME, likelihood_kind="table")
    known = RowFormat.from_json(RowFormat.of(data).to_json())
    mixed = FRAME[list(FRAME.columns[::-1])].assign(further=1)
    mixed.loc[3, "town"] = "Delft"
    rows, notes = rows_like(mixed, known, "table")
    (note,) = notes
    assert "'town'" in note
    assert "'Delft'" in note
    whole = read_table(FRAME).array.astype(np.float32)
    whole[3, data.column_names.index("town")] = np.nan
    np.testing.assert_array_equal(rows.tensor().numpy(), whole)
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    again, _ = rows_like(tmp_path / "t.csv", known, "table")
    assert again.tensor().isnan().sum() == 13


def test_statistics_are_of_observed_entries():
    data = load_dataset(FRAME, likelihood_kind="table")
    mean, std = data.statistics()
    observed = FRAME.height[data.train.index].dropna().astype(np.float32).to_numpy(np.float64)
    np.testing.assert_allclose([mean[0], std[0]], [observed.mean(), observed.std()], rtol=1e-12)


def test_statistics_do_not_depend_on_validation_and_test_rows():
    data = load_dataset(FRAME, likelihood_kind="table")
    others = np.setdiff1d(np.arange(N), data.train.index)
    frame = FRAME.copy()
    frame.loc[others, ["height", "income"]] *= 3
    frame.loc[others, ["stars", "visits"]] = 1
    changed = load_dataset(frame, likelihood_kind="table")
    assert changed.columns == data.columns
    for found, expected in zip(changed.statistics(), data.statistics(), strict=True):
        np.testing.assert_array_equal(found, expected)


REFUSED = {
    "one column": (FRAME[["height"]], {}, "at least two columns"),
    "all ids": (FRAME[["id", "name"]], {}, "at least two columns .*left out were 'id' .*'name'"),
    "all missing": (FRAME[["height", "none"]].assign(height=np.nan), {}, "at least two columns.*all missing"),
    "one level": (FRAME, {"kinds": ("same:categorical",)}, "at least two levels in column 'same'"),
    "10 000 levels": (
        pd.DataFrame({"a": [f"v{i}" for i in range(10_000)], "b": np.arange(10_000) % 9}),
        {"kinds": ("a:categorical",)},
        "at most 1000 levels.*10000",
    ),
    "duplicate names": (
        pd.DataFrame(np.eye(3), columns=["a", "b", "a"]),
        {},
        "different column names.*'a' twice",
    ),
    "no numbers": (FRAME, {"kinds": ("town:real",)}, "Expected numbers in column 'town' of kind real; got '"),
    "no counts": (FRAME, {"kinds": ("height:count",)}, "whole numbers of at least 0 in column 'height'"),
    "no Poisson counts": (
        FRAME,
        {"kinds": ("height:poisson",)},
        "whole numbers of at least 0 in column 'height'",
    ),
    "not positive": (FRAME, {"kinds": ("visits:positive",)}, "numbers above 0 in column 'visits'.*got 0"),
    "not two levels": (
        FRAME,
        {"kinds": ("town:binary",)},
        "two levels in column 'town' of kind binary; got 3",
    ),
    "unknown name": (FRAME, {"drop": ("hight",)}, "names of columns .*got 'hight', but it has 'id'"),
    "no rows": (FRAME[:0], {}, "Expected rows"),
    "two kinds": (
        FRAME,
        {"kinds": ("stars:real", "stars:count")},
        "one kind of column 'stars' .*got real and count",
    ),
    "infinite": (
        FRAME.assign(height=np.where(FRAME.index == 3, np.inf, FRAME.height)),
        {},
        "finite numbers in column 'height'; got 'inf'. .*--missing",
    ),
}


@pytest.mark.parametrize(("frame", "options", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_tables(frame, options, message):
    with pytest.raises(InputError, match=message) as error:
        read_table(frame, TableOptions(**options))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (FRAME.drop(columns="town"), "it lacks 'town'"),
        (FRAME.rename(columns={"town": "city"}), "it lacks 'town' and has .*'city'"),
        (
            FRAME.assign(height="tall"),
            "numbers in column 'height' of kind real, as in training; got 'tall'.*leave it empty",
        ),
        (FRAME.assign(visits=-1), "whole numbers of at least 0 in column 'visits'.*got -1"),
    ],
)
def test_new_rows_that_do_not_fit(new, message):
    known = RowFormat.of(load_dataset(FRAME, likelihood_kind="table"))
    with pytest.raises(InputError, match=message):
        rows_like(new, known, "table")


def test_files_that_do_not_fit(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(InputError, match=r"2 fields in every line .*got 1 in line 3"):
        read_table(path, TableOptions(separator="comma"))
    path.write_text("a,b\n\n1,2\n\n3\n")
    with pytest.raises(InputError, match=r"got 1 in line 5\."):
        read_table(path, TableOptions(separator="comma"))
    path.write_text('a,b\n"1\n",2\n3\n')
    with pytest.raises(InputError, match=r"got 1 in row 3\."):
        read_table(path, TableOptions(separator="comma"))
    path.write_text("a,b,c\n" + "1,2,3\n" * 10 + '4,"5,6\n' + "1,2,3\n" * 10)
    with pytest.raises(InputError, match=r"to be a text table; got a quoted field that does not end\."):
        read_table(path)
    path.write_text("a,b,c\n" + "1,2,3\n" * 10 + "4,5\n")
    with pytest.raises(InputError, match=r"3 fields in every line .*got 2 in line 12\."):
        read_table(path)
    with pytest.raises(InputError, match=r"a table at '.*none\.csv'; there is no such file\."):
        load_dataset(tmp_path / "none.csv", likelihood_kind="table")
    with pytest.raises(InputError, match=r"COLUMN:KIND .*got 'a'"):
        TableOptions(kinds=("a",))
    for name, package in (("t.parquet", "pyarrow"), ("t.xlsx", "openpyxl")):
        (tmp_path / name).write_bytes(b"PK")
        with pytest.raises(InputError, match=f"{package}|Expected .* to be a table"):
            read_table(tmp_path / name)


def test_other_likelihoods_name_the_table_likelihood():
    with pytest.raises(InputError, match=r"levels in 'sex', 'town', 'code'.*--likelihood table"):
        load_dataset(FRAME)
    with pytest.raises(InputError, match=r"missing values.*--likelihood table"):
        load_dataset(FRAME[["height", "income"]])
    assert load_dataset(FRAME[["visits", "income"]]).data_dim == 2


def test_levels_are_those_of_training_rows():
    train = load_dataset(FRAME, likelihood_kind="table").train.index
    outside = np.setdiff1d(np.arange(N), train)
    frame = FRAME.copy()
    frame.loc[outside[:3], "town"] = "Delft"
    frame.loc[outside[3], "stars"] = 6
    frame["rare"] = np.where(np.arange(N) == outside[0], "yes", "no")
    data = load_dataset(frame, likelihood_kind="table")
    columns = {column.name: column for column in data.columns}
    assert columns["town"].levels == ("Aarhus", "Bonn", "Cork")
    assert columns["stars"].levels == ("1", "2", "3", "4", "5")
    assert "rare" not in columns
    assert "fewer than two levels in the training rows" in "\n".join(data.kinds)
    assert "'town' has levels that no training row has: 'Delft', in 3 validation and test rows." in "\n".join(
        data.notes
    )
    whole, before = read_table(frame), read_table(FRAME)
    place = whole.column_names.index("town")
    assert np.isnan(whole.array[outside[:3], place]).all()
    np.testing.assert_array_equal(whole.array[outside[4:], place], before.array[outside[4:], place])
    np.testing.assert_array_equal(whole.array[train], before.array[train])


NUMBERS = {
    "a rare species": (np.where(np.arange(N) < 3, [91, 107, 575] * 66 + [0, 0], 0), "count"),
    "a rare event": (np.arange(N) % 70 == 0, "binary"),
    "a percentage": (rng.normal(60, 20, N).round().clip(1, 100), "real"),
    "hours a week": (np.append(rng.normal(40, 8, N - 1).round(), 1), "real"),
    "a Poisson variable of mean 4": (np.append(rng.poisson(4, N - 2), [0, 17]), "count"),
    "numbers of subjects": (1 + np.arange(N) % 20, "categorical"),
    "doses": (np.repeat([0, 10, 20, 40], N // 4), "ordinal"),
}


@pytest.mark.parametrize(("values", "kind"), NUMBERS.values(), ids=NUMBERS)
def test_kinds_of_whole_numbers(values, kind):
    frame = pd.DataFrame({"x": np.asarray(values, int), "y": rng.normal(size=N)})
    assert kinds(read_table(frame))["x"] == kind
