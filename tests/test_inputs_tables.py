"""Tables in files, as people have them: the right values, a note on each choice, or one sentence with the way round."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pyro_vae._checks import InputError
from pyro_vae.data import Dequantize, load_dataset
from pyro_vae.data.table_options import TableOptions

rng = np.random.default_rng(0)
N = 120
FRAME = pd.DataFrame(rng.normal(size=(N, 3)), columns=["a", "b", "c"])
INTEGERS = pd.DataFrame(rng.integers(0, 50, (N, 3)), columns=["u", "v", "w"])


def csv(frame, **options):
    return lambda path: frame.to_csv(path, index=options.pop("index", False), **options)


def text(content, encoding="utf-8"):
    return lambda path: path.write_text(content, encoding=encoding)


def frame_text(frame=FRAME, **options):
    return frame.to_csv(index=False, **options)


# name: how the file is made, names of the columns of x, a pattern of one of the notes (or that there is none)
READ = {
    "plain": ("x.csv", csv(FRAME), "abc", None),
    "upper-case ending": ("x.CSV", csv(FRAME), "abc", None),
    "one column": ("x.csv", csv(FRAME[["a"]]), "a", None),
    "numpy.savetxt": (
        "x.csv",
        lambda path: np.savetxt(path, FRAME, delimiter=",", header="a,b,c"),
        "abc",
        "mark # before the header",
    ),
    "blanks after commas": ("x.csv", text(frame_text().replace(",", ", ")), "abc", None),
    "CRLF and a byte order mark": (
        "x.csv",
        text("\ufeff" + frame_text(lineterminator="\r\n"), "utf-8"),
        "abc",
        None,
    ),
    "quoted numbers": ("x.csv", csv(FRAME, quoting=1), "abc", None),
    "separators in a name": ("x.csv", csv(FRAME.rename(columns={"a": "a;|"})), ["a;|", "b", "c"], None),
    "a label": (
        "x.csv",
        csv(FRAME.assign(Class=["s", "t"] * 60)),
        "abc",
        r"'Class' was taken as the class of each row \(2 classes\).*left out of x. Rename it",
    ),
    "y as a label": ("x.csv", csv(FRAME.assign(y=np.arange(N) % 3)), "abc", r"'y' was taken .*3 classes"),
    "x, y, z": (
        "x.csv",
        csv(INTEGERS.set_axis(["x", "y", "z"], axis=1)),
        "xyz",
        "'y' was kept as data .*rename it to 'label'",
    ),
    "x, y": ("x.csv", csv(FRAME[["a", "b"]].set_axis(["x", "y"], axis=1)), "xy", "'y' was kept as data"),
    "nearly a label": (
        "x.csv",
        csv(FRAME.assign(labels=rng.integers(0, 30, N))),
        ["a", "b", "c", "labels"],
        "'labels' was kept as data",
    ),
    "a saved index": (
        "x.csv",
        csv(FRAME.reset_index().rename(columns={"index": "Unnamed: 0"})),
        ["Unnamed: 0", "a", "b", "c"],
        r"look like an index: column 'Unnamed: 0' \(it counts the rows\)",
    ),
    "a number a row": ("x.csv", csv(FRAME.assign(t=np.arange(1, N + 1))), "abct", "an index: column 't'"),
    "an id": (
        "x.csv",
        csv(FRAME.assign(PatientId=rng.permutation(N) * 7)),
        [*"abc", "PatientId"],
        "'PatientId'",
    ),
    "two index columns": (
        "x.csv",
        csv(FRAME.assign(id=rng.permutation(N), n=np.arange(N))),
        [*"abc", "id", "n"],
        "columns 'id', 'n'. Leave",
    ),
    "few levels": (
        "x.csv",
        csv(FRAME.assign(sex=np.arange(N) % 2, cp=1 + np.arange(N) % 4)),
        [*"abc", "sex", "cp"],
        r"few whole numbers under a continuous likelihood: 'sex' \(0, 1\), 'cp' \(1 to 4\); a density can rise",
    ),
    "few levels among integers": (
        "x.csv",
        csv(INTEGERS.assign(sex=np.arange(N) % 2)),
        [*"uvw", "sex"],
        r"'sex' \(0, 1\); they are dequantized",
    ),
    "zeros and ones": (
        "x.csv",
        csv((FRAME > 0).astype(int)),
        "abc",
        "All values are 0 or 1: the bernoulli likelihood",
    ),
    "truth values": ("x.csv", csv(FRAME > 0), "abc", "All values are 0 or 1"),
    "time stamps": ("x.csv", csv(FRAME.assign(t=1.7e9 + FRAME.a)), "abct", "float32 would round away .*'t'"),
}


@pytest.mark.parametrize(("name", "make", "columns", "note"), READ.values(), ids=READ)
def test_a_table_is_read_and_each_choice_is_reported(tmp_path, name, make, columns, note):
    make(tmp_path / name)
    data = load_dataset(tmp_path / name)
    assert data.column_names == tuple(columns)
    notes = [text for text in data.notes if "training rows" not in text]
    if note is None:
        assert notes == []
    else:
        assert len([text for text in notes if pd.Series([text]).str.contains(note)[0]]) == 1, notes
    expected = pd.read_csv(tmp_path / name, skipinitialspace=True, encoding="utf-8-sig")
    expected = expected.rename(columns={"# a": "a"})[list(columns)].to_numpy(float)
    x = data.train.tensor().double().numpy()
    if isinstance(data.preprocessing, Dequantize):
        x = np.floor(x * data.preprocessing.levels) + data.preprocessing.low
    else:
        x = x + np.array(getattr(data.preprocessing, "offset", 0.0))
    np.testing.assert_allclose(x, expected[data.train.index], rtol=1e-6)


SEPARATED = {
    "semicolons": ({"sep": ";"}, "semicolon"),
    "semicolons and decimal commas": ({"sep": ";", "decimal": ","}, "semicolon"),
    "quoted semicolons and decimal commas": ({"sep": ";", "decimal": ",", "quoting": 1}, "semicolon"),
    "tabs": ({"sep": "\t"}, "tab"),
    "bars": ({"sep": "|"}, "bar"),
}


@pytest.mark.parametrize("frame", [FRAME, INTEGERS.assign(label=np.arange(N) % 3)], ids=["real", "integer"])
@pytest.mark.parametrize(("options", "word"), SEPARATED.values(), ids=SEPARATED)
def test_other_separators_are_read_as_commas_are(tmp_path, frame, options, word):
    frame.to_csv(tmp_path / "comma.csv", index=False)
    frame.to_csv(tmp_path / "x.csv", index=False, **options)
    data, expected = load_dataset(tmp_path / "x.csv"), load_dataset(tmp_path / "comma.csv")
    assert data.preprocessing == expected.preprocessing
    assert data.column_names == expected.column_names
    torch.testing.assert_close(data.train.tensor(), expected.train.tensor(), rtol=0, atol=0)
    assert data.notes == (f"x.csv was read with separator {word}.", *expected.notes)
    (tmp_path / "x.csv").write_text(f"# {(tmp_path / 'x.csv').read_text()}")
    assert load_dataset(tmp_path / "x.csv").column_names == expected.column_names


def test_options_that_messages_name_are_enough(tmp_path):
    """A table without header, in another encoding or with blanks is read with the option that its message names."""
    FRAME.to_csv(tmp_path / "h.csv", index=False, header=False)
    FRAME.to_csv(tmp_path / "b.csv", index=False, sep=" ")
    FRAME.rename(columns={"a": "größe"}).to_csv(tmp_path / "l.csv", index=False, encoding="cp1252")
    FRAME.to_csv(tmp_path / "u.csv", index=False, encoding="utf-16")
    options = {
        "h.csv": {"header": "no"},
        "b.csv": {"separator": "blank"},
        "l.csv": {"encoding": "cp1252"},
        "u.csv": {"encoding": "utf-16"},
    }
    for name, given in options.items():
        ((option, value),) = given.items()
        with pytest.raises(InputError, match=f"--{option} {value}"):
            load_dataset(tmp_path / name)
        data = load_dataset(tmp_path / name, table=TableOptions(**given))
        np.testing.assert_allclose(data.train.tensor(), FRAME.to_numpy()[data.train.index], rtol=1e-6)


REFUSED = {
    "blanks": ("x.csv", csv(FRAME, sep=" "), r"got blanks .*Give --separator blank\."),
    "a comment first": (
        "x.csv",
        text("# by instrument 7\n" + frame_text()),
        "a comment, '# by inst.*comment='#'",
    ),
    "a comment with commas": ("x.csv", text("# 7, 8\n" + frame_text()), "a comment, '# 7, 8'"),
    "a comment later": ("x.csv", text(frame_text() + "# end\n"), "got 1 in row 120 .*a comment: delete"),
    "UTF-16": ("x.csv", text(frame_text(), "utf-16"), r"got UTF-16\. Give --encoding utf-16\."),
    "Latin-1": ("x.csv", text("größe,b\n1,2\n", "latin-1"), "UTF-8 text.*such as --encoding cp1252"),
    "no header": ("x.csv", text("1,2\n3,4\n"), r"got numbers\. Give --header no, or names by --names\."),
    "an index without a name": ("x.csv", csv(FRAME, index=True), r"column 0 has none.*index=False"),
    "categories": (
        "x.csv",
        csv(FRAME.assign(d=["red", "blue"] * 60)),
        r"'red' in row 0, column d .*2 different values.*get_dummies\(frame, columns=\['d'\]",
    ),
    "free text": (
        "x.csv",
        csv(FRAME.assign(d=[f"n{i}" for i in range(N)])),
        "Drop it .120 different.*--likelihood table",
    ),
    "dates": ("x.csv", csv(FRAME.assign(d="2024-01-31")), "a date, choose --likelihood table"),
    "quoted decimal commas": (
        "x.csv",
        text('a,b\n"1,5",2\n' * 1 + '"2,5",3\n'),
        "a decimal comma, give --decimal comma",
    ),
    "thousands": ("x.csv", text('a,b\n"1,234,567",2\n"2,345,678",3\n'), "separators of thousands"),
    "per cent": ("x.csv", text("a,b\n5%,2\n6%,3\n"), "units, signs"),
    "question marks": ("x.csv", text("a,b\n1,?\n2,3\n"), r"'\?' marks a missing value.*na_values='\?'"),
    "gaps": (
        "x.csv",
        text("a,b,c\n1,,2\n2,3,\n"),
        "an empty field in row 0, column b.*fillna.*More columns .*: c",
    ),
    "UCI data": ("x.data", text("1.5, 2, a\n2.5, 3, b\n" * 9), "levels in .*'c2'.*--likelihood table"),
    "Excel file": ("x.xlsx", text("PK"), "openpyxl.*or save the table as CSV|to be a table"),
    "Parquet": ("x.parquet", text("PAR1"), "pyarrow.*or save the table as CSV|to be a table"),
    "compressed": ("x.csv.gz", text("x"), "compressed by gzip"),
    "pickle": ("x.pkl", text("x"), "never loaded"),
    "MATLAB": ("x.mat", text("x"), "scipy.io.loadmat"),
    "one image": ("x.png", text("x"), "give the folder"),
}


@pytest.mark.parametrize(("name", "make", "message"), REFUSED.values(), ids=REFUSED)
def test_an_unsupported_table_has_a_hint_on_its_conversion(tmp_path, name, make, message):
    make(tmp_path / name)
    with pytest.raises(InputError, match=message) as error:
        load_dataset(tmp_path / name)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


CONVERTED = [
    ("a comment first", "abc"),
]


@pytest.mark.parametrize(("name", "columns"), CONVERTED)
def test_the_line_that_is_named_converts_the_table(tmp_path, monkeypatch, name, columns):
    file, make, _ = REFUSED[name]
    monkeypatch.chdir(tmp_path)
    make(Path(file))
    with pytest.raises(InputError) as error:
        load_dataset(file)
    line = str(error.value).split("Convert it: pandas")[1].rstrip(".")
    eval(f"pd{line}", {"pd": pd})
    assert load_dataset("table.csv").column_names == tuple(columns)


@pytest.mark.slow
@pytest.mark.skipif("PYRO_VAE_DATA" not in os.environ, reason="needs the data folder")
def test_every_table_of_the_data_folder_is_read_or_has_a_reason():
    seen = []
    for path in sorted((Path(os.environ["PYRO_VAE_DATA"]) / "tables").glob("*.[cdt]*")):
        try:
            seen.append(load_dataset(path).name)
        except InputError as error:
            hints = ("Convert it: pandas", "--likelihood table")
            assert any(hint in str(error) for hint in hints), error  # noqa: PT017 - some are read
    assert len(seen) >= 5


def test_bytes_that_may_be_packed_bits_are_mentioned(tmp_path):
    np.save(tmp_path / "x.npy", np.packbits(rng.integers(0, 2, (20, 256)), axis=1))
    assert any("--packed-bits 16 16" in note for note in load_dataset(tmp_path / "x.npy").notes)
