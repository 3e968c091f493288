"""Bad calls end in one sentence and status 2 and leave nothing behind; odd but legal ones run to the end."""

import json
import math
import os
import pickle
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import script
from PIL import Image

from pyro_vae.experiment import checkpoint
from pyro_vae.experiment.checkpoint import load_state, save_state

SMALL = ["--epochs", "2", "--hidden", "8", "--latent-dim", "2"]
ROWS = np.random.default_rng(0).normal(size=(40, 3))
WHOLE = np.random.default_rng(0).integers(0, 9, (40, 3))
IDX_FILES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYRO_VAE_DATA", raising=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the folder of a small finished run on the digits."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert script(*SMALL, "--evaluate", "none", "--out", folder) == 0
    return folder


def files():
    """Return all files below the present folder with their content."""
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def assert_refused(arguments, message, capsys):
    before = files()
    assert script(*arguments) == 2
    err = capsys.readouterr().err
    assert re.search(message, err), err
    assert re.fullmatch(r"error: [^\n]+\.\n", err), err
    assert files() == before


def npy(array, **options):
    return lambda: np.save("x.npy", array, **options)


def text(name, content):
    return lambda: Path(name).write_text(content, encoding="utf-8")


def data(name, content):
    return lambda: Path(name).write_bytes(content)


def nothing():
    """Files of one's own are not needed."""


def with_entry(value):
    array = ROWS.copy()
    array[7, 2] = value
    return array


def cut_off():
    np.save("x.npy", np.zeros((1000, 8)))
    Path("x.npy").write_bytes(Path("x.npy").read_bytes()[:5000])


def truncated_idx():
    folder = Path("MNIST/raw")
    folder.mkdir(parents=True)
    for name in IDX_FILES:
        header = bytes([0, 0, 8, 3]) + np.array([12, 28, 28], ">u4").tobytes()
        (folder / f"{name}-ubyte").write_bytes(header + bytes(100))


def images(count, shape, broken=False):
    def make():
        Path("images").mkdir()
        for number in range(count):
            pixels = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(f"images/{number:02d}.png")
        if broken:
            path = Path("images/01.png")
            path.write_bytes(path.read_bytes()[:40])

    return make


def occupied():
    Path("full").mkdir()
    Path("full/notes.txt").write_text("mine")


X = ["--dataset", "x.npy"]
CSV = ["--dataset", "x.csv"]
BERNOULLI = ["--likelihood", "bernoulli"]

BAD_CALLS = {
    # rows
    "NaN": (npy(with_entry(np.nan)), X, "finite values in x.npy; got nan in row 7, column 2"),
    "infinite": (npy(with_entry(-np.inf)), X, "finite values in x.npy; got -inf in row 7, column 2"),
    "beyond float32": (npy(with_entry(1e39)), X, "up to 3.4e.*Rescale"),
    "one row": (npy(ROWS[:1]), X, "at least 3 training rows.*got 1"),
    "two rows": (npy(ROWS[:2]), X, "at least 3 training rows.*got 2"),
    "no rows": (npy(ROWS[:0]), X, r"Expected rows in x.npy; got none \(shape \(0, 3\)\)"),
    "no columns": (npy(ROWS[:, :0]), X, "at least one column"),
    "a vector": (npy(ROWS[:, 0]), X, r"shape \(N, D\).*got \(40,\)"),
    "complex numbers": (npy(ROWS * 1j), X, "got complex numbers"),
    "text in an array": (npy(np.full((5, 2), "a")), X, "got text"),
    # files
    "an empty file": (data("x.npy", b""), X, "the file is empty"),
    "a damaged npy": (data("x.npy", b"\x93NUMPY\x01\x00nonsense"), X, "Could not read x.npy"),
    "a cut-off npy": (cut_off, X, "Could not read x.npy"),
    "a pickled npy": (
        data("x.npy", pickle.dumps([1, 2])),
        X,
        "pickled Python objects, which are never loaded",
    ),
    "an array of objects": (
        npy(np.array([[1, "a"]], object), allow_pickle=True),
        X,
        "pickled Python objects",
    ),
    "a damaged npz": (data("x.npz", b"PK\x03\x04nonsense"), ["--dataset", "x.npz"], "Could not read x.npz"),
    "an empty csv": (text("x.csv", ""), CSV, "the file is empty"),
    "a ragged csv": (text("x.csv", "a,b\n1,2\n3\n"), CSV, "2 fields in every row of x.csv; got 1 in row 1"),
    "a csv of text": (text("x.csv", "a,b\n1,2\n3,x\n"), CSV, "numbers in x.csv; got 'x' in row 1, column b"),
    "a csv without header": (text("x.csv", "1,2\n3,4\n5,6\n"), CSV, "Expected a header.*got numbers"),
    "a csv with a gap": (text("x.csv", "a,b\n1,2\n,3\n"), CSV, "got an empty field in row 1, column a"),
    "a ragged amat": (
        text("x.amat", "1 2\n3 4\n5\n"),
        ["--dataset", "x.amat"],
        "empty field in row 2, column 1",
    ),
    "a broken image": (
        images(4, (6, 6), broken=True),
        ["--dataset", "images"],
        r"Could not read 1 of the 4 images of images: images.01\.png",
    ),
    "an empty folder": (lambda: Path("images").mkdir(), ["--dataset", "images"], "Expected images"),
    "a truncated idx file": (
        truncated_idx,
        ["--dataset", "mnist", "--data-root", "."],
        r"9408 entries of shape \(12, 28, 28\).*got 100\. The file is truncated",
    ),
    "an unknown ending": (text("x.feather", "x"), ["--dataset", "x.parquet"], r"ending in \.npy, \.npz"),
    "an unknown data set": (
        nothing,
        ["--dataset", "mnits"],
        "digits, mnist, .*got 'mnits', which is neither",
    ),
    "a name without end": (nothing, ["--dataset", "x" * 5000], "which is neither"),
    "a missing named set": (nothing, ["--dataset", "frey-face"], "Set --data-root or PYRO_VAE_DATA"),
    # what does not go together
    "grey pixels under bernoulli": (nothing, BERNOULLI, "do not sum to one.*Pass --binarize"),
    "grey floats under bernoulli": (npy(ROWS), [*X, *BERNOULLI], "Pass --binarize"),
    "binarize under gaussian": (nothing, ["--binarize", "dynamic"], "have no density"),
    "binarize twice": (
        npy(WHOLE % 2),
        [*X, *BERNOULLI, "--binarize", "static"],
        "holds zeros and ones already",
    ),
    "a scale floor under bernoulli": (
        nothing,
        [*BERNOULLI, "--binarize", "dynamic", "--scale-floor", "0.1"],
        "no --scale-floor with --likelihood bernoulli",
    ),
    "a fixed scale under gaussian": (nothing, ["--fixed-scale", "0.1"], "no --fixed-scale with --likelihood"),
    # settings
    "no hidden layer": (nothing, ["--hidden"], "--hidden with at least one width"),
    "a width of 0": (nothing, ["--hidden", "8", "0"], "every width of --hidden .* at least 1; got 0"),
    "a negative width": (nothing, ["--hidden", "-8"], "every width of --hidden .* at least 1; got -8"),
    "a width without end": (nothing, ["--hidden", "9" * 20], "every width of --hidden to be at most"),
    "more than fits in memory": (
        nothing,
        ["--hidden", "10000000", "10000000"],
        "Not enough memory to allocate 4\\d* bytes",
    ),
    "latent_dim 0": (nothing, ["--latent-dim", "0"], "--latent-dim .* at least 1; got 0"),
    "a negative latent_dim": (nothing, ["--latent-dim", "-2"], "--latent-dim .* at least 1; got -2"),
    "a batch size of 0": (nothing, ["--batch-size", "0"], "--batch-size .* at least 1; got 0"),
    "a negative batch size": (nothing, ["--batch-size", "-5"], "--batch-size .* at least 1; got -5"),
    "no epochs": (nothing, ["--epochs", "0"], "--epochs .* at least 1; got 0"),
    "no particles": (nothing, ["--num-particles", "0"], "--num-particles .* at least 1; got 0"),
    "no patience": (nothing, ["--patience", "0"], "--patience .* at least 1; got 0"),
    "a negative seed": (nothing, ["--seed", "-1"], "--seed .* at least 0; got -1"),
    "a seed without end": (nothing, ["--seed", "9" * 25], "--seed to be at most"),
    "a learning rate of 0": (nothing, ["--lr", "0"], "--lr to be a finite number above 0; got 0"),
    "a learning rate of NaN": (nothing, ["--lr", "nan"], "--lr to be a finite number above 0; got nan"),
    "an infinite learning rate": (nothing, ["--lr", "inf"], "--lr to be a finite number above 0; got inf"),
    "a warm-up beyond the end": (nothing, ["--warmup", "1.5"], r"--warmup in \[0, 1\).*got 1.5"),
    "a negative norm": (nothing, ["--clip-norm", "-1"], "--clip-norm to be a finite number above 0"),
    "a floor of 0": (nothing, ["--scale-floor", "0"], "--scale-floor to be a finite number above 0"),
    "a floor that float32 loses": (nothing, ["--scale-floor", "1e-50"], "--scale-floor from 1e-30 to"),
    "negative checkpoint seconds": (nothing, ["--checkpoint-seconds", "-1"], "of at least 0; got -1"),
    # the run folder
    "an existing folder": (occupied, ["--out", "full"], "a new or empty folder for --out; full holds files"),
    "a file for a folder": (npy(ROWS), ["--out", "x.npy"], "x.npy cannot be made or written"),
    "a folder below a file": (npy(ROWS), ["--out", "x.npy/run"], "x.npy/run cannot be made or written"),
    "a folder name without end": (nothing, ["--out", "x" * 5000], "cannot be made or written"),
    "no run to resume": (nothing, ["--resume", "nowhere"], "no config.json in nowhere"),
    "a file to resume": (npy(ROWS), ["--resume", "x.npy"], "no config.json in x.npy"),
    "a run name without end": (nothing, ["--resume", "x" * 5000], "Could not read"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("make", "arguments", "message"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_a_bad_call_ends_in_one_sentence(capsys, make, arguments, message):
    make()
    assert_refused([*SMALL, *arguments], message, capsys)


NOT_PARSED = {
    "an unknown flag": ["--latents", "3"],
    "an unknown likelihood": ["--likelihood", "cauchy"],
    "an unknown binarization": ["--binarize", "yes"],
    "an unknown device": ["--device", "tpu"],
    "text for a number": ["--epochs", "many"],
    "a fraction for a count": ["--latent-dim", "2.5"],
    "a missing value": ["--lr"],
}


@pytest.mark.parametrize("arguments", NOT_PARSED.values(), ids=NOT_PARSED)
def test_what_cannot_be_parsed_ends_in_status_2(capsys, arguments):
    assert script(*SMALL, *arguments) == 2
    err = capsys.readouterr().err
    assert arguments[0] in err
    assert "Traceback" not in err
    assert files() == {}


def test_cuda_where_there_is_none(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert_refused([*SMALL, "--device", "cuda"], "torch finds none. Use --device cpu", capsys)


def test_mnist_without_files_and_without_network(monkeypatch, capsys):
    mnist = pytest.importorskip("torchvision.datasets.mnist")

    def unreachable(url, *args, **kwargs):
        raise OSError(f"<urlopen error [Errno -2] Name or service not known> {url}")

    monkeypatch.setattr(mnist, "download_and_extract_archive", unreachable)
    assert_refused(
        [*SMALL, "--dataset", "mnist"], r"Could not download mnist \(.*Otherwise place train-images", capsys
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "failure", ["RuntimeError('operator torchvision::nms does not exist')", "ImportError('libcudart.so.13')"]
)
def test_a_broken_torchvision_says_what_to_install(tmp_path, monkeypatch, capsys, failure):
    package = tmp_path / "broken" / "torchvision"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"raise {failure}")
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert_refused(
        [*SMALL, "--dataset", "fashion-mnist"],
        "Install the one that belongs to your torch: pip install",
        capsys,
    )
    # All else works without it.
    assert script(*SMALL, "--epochs", "1", "--out", "run") == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder(tmp_path, capsys):
    Path("locked").mkdir(mode=0o500)
    for out in ("locked", "locked/run"):
        assert_refused([*SMALL, "--out", out], "cannot be made or written|Could not write", capsys)


def overwrite(name, content):
    return lambda: (Path("run") / name).write_bytes(content)


def changed_config(part, **values):
    def change():
        path = Path("run/config.json")
        config = json.loads(path.read_text())
        config["config"][part].update(values)
        path.write_text(json.dumps(config))

    return change


def changed_state(**values):
    path = Path("run/checkpoint/state.pt")
    return lambda: save_state(path, load_state(path) | values)


def foreign_pickle():
    torch.save({"format": checkpoint.FORMAT, "state": Path}, "run/checkpoint/state.pt")


STATE = "checkpoint/state.pt"
BAD_RUNS = {
    "a config cut off": (overwrite("config.json", b'{"config": {'), [], "config.json; the file is damaged"),
    "an empty config": (overwrite("config.json", b""), [], "config.json; the file is damaged"),
    "a config of bytes": (overwrite("config.json", b"\xff\xfe\x00"), [], "config.json; the file is damaged"),
    "a foreign config": (
        overwrite("config.json", b'{"name": "else"}'),
        [],
        "config.json; the file is damaged",
    ),
    "a config of another type": (
        changed_config("training", lr="fast"),
        [],
        "--lr to be a number or one of auto in the saved configuration; got 'fast'",
    ),
    "a config of another choice": (
        changed_config("training", device=5),
        [],
        "device to be one of auto, cpu, cuda",
    ),
    "a config of another name": (changed_config("model", depth=3), [], "Expected a saved configuration"),
    "no config": (lambda: Path("run/config.json").unlink(), [], "no config.json in run"),
    "an empty checkpoint": (overwrite(STATE, b""), [], "state.pt; the file is damaged"),
    "a damaged checkpoint": (overwrite(STATE, b"PK\x03\x04 nonsense"), [], "state.pt; the file is damaged"),
    "a cut-off checkpoint": (
        lambda: overwrite(STATE, Path("run", STATE).read_bytes()[:-500])(),
        [],
        "state.pt; the file is damaged",
    ),
    "a foreign checkpoint": (
        lambda: torch.save({"a": 1}, f"run/{STATE}"),
        [],
        "state.pt; the file holds something else",
    ),
    "a checkpoint that would run code": (
        foreign_pickle,
        [],
        "state.pt; the file is damaged or something else",
    ),
    "a checkpoint of other weights": (changed_state(weights={}), [], "it belongs to other settings"),
    "a checkpoint without optimizer": (changed_state(optimizer={}), [], "it belongs to other settings"),
    "other data": (
        changed_config("data", dataset="images"),
        ["--dataset", "images"],
        "images has changed since",
    ),
    "another latent_dim": (nothing, ["--latent-dim", "3"], r"these differ: --latent-dim 2 \(now 3\)"),
    "another data set": (nothing, ["--dataset", "mnist"], r"--dataset digits \(now mnist\)"),
    "another likelihood": (nothing, ["--likelihood", "laplace"], "--likelihood gaussian"),
    "another seed and rate": (nothing, ["--seed", "5", "--lr", "0.1"], "--lr 0.001 .*--seed 0"),
    "resumed into itself": (nothing, ["--out", "run/copy"], "outside of the run"),
    "resumed into an existing folder": (occupied, ["--out", "full"], "a new or empty folder for --out"),
    "a damaged checkpoint into a new folder": (
        overwrite(STATE, b"x"),
        ["--out", "new"],
        "the file is damaged",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("damage", "arguments", "message"), BAD_RUNS.values(), ids=BAD_RUNS)
def test_a_run_that_cannot_continue_is_unchanged(finished, capsys, damage, arguments, message):
    shutil.copytree(finished, "run")
    images(12, (8, 8))()
    damage()
    assert_refused(["--resume", "run", *arguments], message, capsys)


def test_a_copy_that_was_cut_off_is_no_run(finished, monkeypatch, capsys):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copy2", full)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", full)
        assert script("--resume", finished, "--out", "copy") == 2
    assert "Could not copy" in capsys.readouterr().err
    assert_refused(["--resume", "copy"], "no config.json in copy", capsys)


@pytest.mark.slow
def test_a_full_disk_while_drawing_is_a_note(monkeypatch, capsys):
    from pyro_vae import plots

    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(plots, "save", full)
        assert script(*SMALL, "--out", "run", figures=True) == 0
    assert re.search(
        r"run in run\nnote: training_curves.png, latent_space.png, .* could not be drawn: No space left on device\.\n$",
        capsys.readouterr().out,
    )
    assert script("--resume", "run", figures=True) == 0
    assert len(list(Path("run/figures").iterdir())) == 6


@pytest.mark.slow
def test_the_folder_of_a_run_killed_before_its_config_can_be_used(capsys):
    Path("run").mkdir()
    Path("run/.config.json.partial").write_text('{"conf')
    assert script(*SMALL, "--epochs", "1", "--out", "run") == 0
    assert not list(Path("run").glob(".*"))


def test_an_extreme_validation_row_ends_in_one_sentence(capsys):
    rows = {name: np.random.default_rng(1).normal(size=(30, 3)) for name in ("train", "validation", "test")}
    rows["validation"][4, 1] = 1e38
    np.savez("x.npz", **rows)
    assert script(*SMALL, "--dataset", "x.npz", "--out", "run") == 1
    err = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(r"error: The .*validation.* (finite|rows)\b.*\.", err), err


def constant():
    np.save("x.npy", np.column_stack([ROWS, np.zeros(40), np.full(40, 1e3)]))


def labelled():
    lines = ["a,b,label", *(f"{a:.4f},{b:.4f},{'even' if a > 0 else 'odd'}" for a, b, _ in ROWS)]
    Path("x.csv").write_text("\n".join(lines))


def amat():
    np.savetxt("x.amat", ROWS)


def mapped():
    np.save("x.npy", np.random.default_rng(0).integers(0, 256, (60, 6, 5), dtype=np.uint8))


ONE_HOT = np.eye(4, dtype=np.uint8)[np.random.default_rng(0).integers(0, 4, 60)]
FEW = "There are only"
ODD_CALLS = {
    "constant columns": (constant, X, ["2 of 5 columns are constant"]),
    "all rows alike": (npy(np.ones((40, 3)) * 0.5), X, ["All training rows are identical"]),
    "more latents than columns": (npy(ROWS), [*X, "--latent-dim", "5"], ["z has 5 dimensions.* the 3 of x"]),
    "a batch of all rows": (npy(ROWS), X, ["A batch of 128 holds all 32 training rows", FEW]),
    "three rows": (npy(ROWS[:3]), X, ["There are only 1 training rows"]),
    "one column and one latent": (npy(ROWS[:, :1]), [*X, "--latent-dim", "1"], [FEW]),
    "one latent for images": (images(20, (8, 8)), ["--dataset", "images", "--latent-dim", "1"], [FEW]),
    "one-hot columns": (npy(ONE_HOT), X, ["dequantized, 2 levels"]),
    "one-hot columns as floats": (npy(ONE_HOT.astype(float)), X, [FEW]),
    "tiny and huge units": (npy(ROWS * [1e-6, 1, 1e6]), [*X, "--likelihood", "laplace"], [FEW]),
    "a binary table": (npy(WHOLE % 2), [*X, *BERNOULLI], ["binary as stored"]),
    "constant binary columns": (
        npy(WHOLE % 2 * [0, 1, 1]),
        [*X, *BERNOULLI],
        ["1 of 3 columns are constant"],
    ),
    "colour images": (images(20, (8, 8, 3)), ["--dataset", "images"], ["256 levels"]),
    "labels in a csv": (labelled, CSV, [FEW]),
    "an amat": (amat, ["--dataset", "x.amat"], [FEW]),
    "a memory-mapped npy": (mapped, [*X, "--likelihood", "gaussian-shared"], ["256 levels"]),
}


def numbers(values):
    """Yield all numbers of a summary with their names; null comes as NaN."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from numbers(value)
        elif not isinstance(value, str | list):
            yield name, math.nan if value is None else value


DRAWN = ("constant columns", "three rows", "one latent for images", "one-hot columns", "colour images")
"""Odd calls whose figures are drawn; those of the others are of the same kinds."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD_CALLS)
def test_an_unusual_call_succeeds_and_reports_what_was_unusual(capsys, name):
    make, arguments, notes = ODD_CALLS[name]
    make()
    assert script(*SMALL, *arguments, "--out", "run", figures=name in DRAWN) == 0
    table = capsys.readouterr().out.partition("\n\n")[2]
    for sentence in notes:
        assert re.search(sentence, table), table
    summary = json.loads(Path("run/summary.json").read_text())
    # One test row has no standard error.
    unknown = {"se"} if summary["num_examples"] == 1 else set()
    assert {name for name, value in numbers(summary) if not math.isfinite(value)} == unknown
    for line in Path("run/metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    assert name not in DRAWN or len(list(Path("run/figures").iterdir())) >= 3
