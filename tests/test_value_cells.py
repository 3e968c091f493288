"""Parquet and Excel tables are completed in their own format; each needs the engine that pandas uses."""

import numpy as np
import pandas as pd
import pytest
import torch

from pyro_vae._checks import InputError
from pyro_vae.data.dates import as_date, as_dates, date_format
from pyro_vae.data.mixed_tables import read_table
from pyro_vae.evaluate import Imputation
from pyro_vae.experiment.complete_table import CompletedTable

nan = np.nan
FRAME = pd.DataFrame(
    {
        "name": ["u", "v", "w"],
        "size": [2.25, nan, 1.5],
        "count": pd.array([3, None, 5], dtype="Int64"),
        "kind": ["red", "blue", None],
        "day": pd.to_datetime(["2024-01-01", None, "2024-01-03"]),
    }
)
VALUE = torch.tensor([[2.25, 3, 1, 19723], [7.128, 4.4, 0, 19724], [1.5, 5, 1, 19725]], dtype=torch.float64)
ENGINES = {"parquet": "pyarrow", "xlsx": "openpyxl"}


def stored(path, frame=FRAME):
    getattr(frame, "to_parquet" if path.suffix == ".parquet" else "to_excel")(path, index=False)
    return path


def completed(path, out):
    missing = torch.from_numpy(FRAME[["size", "count", "kind", "day"]].isna().to_numpy())
    spread, draws = torch.ones_like(VALUE), torch.stack([VALUE + torch.tensor([1.0, 1, 0, 1])])
    found = Imputation(VALUE, spread, spread, spread[:, 0], draws)
    levels = [(), (), ("blue", "red"), ()]
    return CompletedTable(path, ["size", "count", "kind", "day"], levels, missing, found).write(out)


@pytest.mark.parametrize("ending", ENGINES)
def test_a_table_of_values_is_completed_in_its_types(tmp_path, ending):
    pytest.importorskip(ENGINES[ending])
    path = stored(tmp_path / f"rows.{ending}")
    files = completed(path, tmp_path / f"full.{ending}")
    assert [file.name for file in files] == [f"full.{ending}", f"full.draw1.{ending}", "full.cells.csv"]
    read = pd.read_parquet if ending == "parquet" else pd.read_excel
    full, draw = read(files[0]), read(files[1])
    for j, name in enumerate(FRAME.columns):
        observed = FRAME[name].notna()
        assert full[name][observed].tolist() == FRAME[name][observed].tolist(), (j, name)
    assert full["size"].tolist() == [2.25, 7.13, 1.5]
    assert full["count"].tolist() == [3, 4, 5]
    assert full.kind.tolist() == ["red", "blue", "red"]
    assert full.day[1] == pd.Timestamp("2024-01-02")
    assert (draw["size"][1], draw["count"][1], draw.day[1]) == (8.13, 5, pd.Timestamp("2024-01-03"))
    if ending == "parquet":
        import pyarrow.parquet as parquet

        assert parquet.read_schema(files[0]).equals(parquet.read_schema(path), check_metadata=True)


@pytest.mark.parametrize("ending", ENGINES)
def test_a_table_of_values_is_read_as_the_frame(tmp_path, ending):
    pytest.importorskip(ENGINES[ending])
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=40), "town": rng.choice(["Bonn", "Cork"], 40)})
    frame.loc[3, "x"] = nan
    read, expected = read_table(stored(tmp_path / f"t.{ending}", frame)), read_table(frame)
    np.testing.assert_allclose(read.array, expected.array, rtol=1e-14)  # Excel keeps 16 digits
    assert read.columns == expected.columns


@pytest.mark.parametrize(("ending", "package"), ENGINES.items())
def test_without_its_engine_a_table_is_refused(tmp_path, ending, package, monkeypatch):
    def missing(path):
        raise ImportError(f"No module named {package!r}")

    monkeypatch.setattr(pd, "read_parquet" if ending == "parquet" else "read_excel", missing)
    path = tmp_path / f"t.{ending}"
    path.write_bytes(b"PK")
    with pytest.raises(InputError, match=rf"needs the package {package}, .*pip install {package}.*as CSV\.$"):
        read_table(path)


def test_a_file_that_is_no_such_table_is_refused(tmp_path):
    for ending, package in ENGINES.items():
        pytest.importorskip(package)
        (tmp_path / f"t.{ending}").write_text("a,b\n1,2\n")
        with pytest.raises(InputError, match=r"Expected .* to be a table; got [^\n]*$"):
            read_table(tmp_path / f"t.{ending}")


@pytest.mark.parametrize(
    "texts",
    [["10/03/2004", "31/12/1969"], ["2024-01-05 10:30:00", "1999-12-31 23:59:59"], ["18.00.00", "07.30.15"]],
)
def test_imputed_dates_are_written_as_the_others(texts):
    form = date_format(["", *texts])
    values, _ = as_dates(pd.Series(texts, dtype=object))
    assert [as_date(value, form) for value in values] == texts
    assert date_format(["1.5", "2.5"]) is date_format([]) is None
