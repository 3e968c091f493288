"""Bad calls: each gives one sentence, an `InputError`, and nothing else."""

import gzip
import pickle
import sys
import types

import numpy as np
import pytest
from PIL import Image

from pyro_vae._checks import InputError, MissingPackageError
from pyro_vae.data import load_dataset

ROWS = np.random.default_rng(0).integers(0, 9, (20, 3))
FLOATS = ROWS + 0.5


def npy(array, **options):
    return lambda folder: np.save(folder / "x.npy", array, **options)


def npz(**arrays):
    return lambda folder: np.savez(folder / "x.npz", **arrays)


def text(name, content):
    return lambda folder: (folder / name).write_bytes(
        content.encode() if isinstance(content, str) else content
    )


def under(name, save):
    """Save under another ending than NumPy's own."""

    def make(folder):
        with (folder / name).open("wb") as file:
            save(file, ROWS)

    return make


def cut_off(folder):
    np.save(folder / "x.npy", np.zeros((1000, 8)))
    whole = (folder / "x.npy").read_bytes()
    (folder / "x.npy").write_bytes(whole[:5000])


def pickled(folder):
    (folder / "x.npy").write_bytes(pickle.dumps(ROWS.tolist()))


def broken_image(folder):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "1.png")
    (folder / "2.png").write_bytes((folder / "1.png").read_bytes()[:40])


def sizes(folder):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "1.png")
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(folder / "2.png")


def modes(folder):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "1.png")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(folder / "2.png")


def both(folder):
    (folder / "class").mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "1.png")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "class" / "1.png")


def with_entry(value, row, column):
    array = FLOATS.copy()
    array[row, column] = value
    return array


BINARY = {"likelihood_kind": "binary"}
STATIC = BINARY | {"binarize": "static"}

BAD_FILES = {
    "NaN": (
        npy(with_entry(np.nan, 7, 2)),
        "x.npy",
        {},
        r"finite values in .*nan in row 7, column 2 .*1 such",
    ),
    "infinite": (npy(with_entry(-np.inf, 0, 0)), "x.npy", {}, r"finite values in .*-inf in row 0, column 0"),
    "beyond float32": (npy(with_entry(1e39, 0, 0)), "x.npy", {}, "up to 3.4e.*Rescale"),
    "beyond int64": (npy(np.full((9, 2), 2**63, np.uint64)), "x.npy", {}, "up to 9.22e"),
    "too many levels": (npy(ROWS * 10**7), "x.npy", {}, "at most 1048576 levels.*--dequantize none"),
    "two rows": (npy(FLOATS[:2]), "x.npy", {}, "at least 3 training rows.*test and validation.*got 2"),
    "one row": (npy(FLOATS[:1]), "x.npy", {}, "at least 3 training rows.*got 1"),
    "no rows": (npy(FLOATS[:0]), "x.npy", {}, r"rows in .*got none \(shape \(0, 3\)\)"),
    "no columns": (npy(FLOATS[:, :0]), "x.npy", {}, "at least one column"),
    "a vector": (npy(FLOATS[:, 0]), "x.npy", {}, r"shape \(N, D\).*got \(20,\).*reshape"),
    "a number": (npy(np.float64(3)), "x.npy", {}, r"shape \(N, D\).*got \(\)"),
    "complex": (npy(FLOATS * 1j), "x.npy", {}, "got complex numbers"),
    "text array": (npy(FLOATS.astype(str)), "x.npy", {}, "got text"),
    "records": (npy(np.zeros(5, [("a", "f4")])), "x.npy", {}, "got records"),
    "dates": (npy(np.zeros((5, 2), "M8[s]")), "x.npy", {}, "got datetime64"),
    "objects": (npy(ROWS.astype(object), allow_pickle=True), "x.npy", {}, "pickled Python objects"),
    "a pickle": (pickled, "x.npy", {}, "pickled Python objects"),
    "a cut-off npy": (cut_off, "x.npy", {}, "Could not read .* as a NumPy file"),
    "an empty npy": (text("x.npy", ""), "x.npy", {}, r"the file is empty \(0 bytes\)"),
    "npz is no zip": (text("x.npz", "zip"), "x.npz", {}, "Could not read|pickled"),
    "npz of objects": (npz(x=ROWS.astype(object)), "x.npz", {}, "pickled Python objects"),
    "npz keys": (npz(a=ROWS, b=ROWS), "x.npz", {}, "got the keys a, b"),
    "npz named npy": (under("x.npy", np.savez), "x.npy", {}, "Name it .npz"),
    "npy named npz": (under("x.npz", np.save), "x.npz", {}, "keys none"),
    "npz empty": (npz(), "x.npz", {}, "got the keys none"),
    "npz shapes": (npz(train=ROWS, test=ROWS[:, :2]), "x.npz", {}, r"test in .* rows of shape \(3,\)"),
    "npz labels": (npz(train=ROWS, test=ROWS, train_labels=ROWS[:, 0]), "x.npz", {}, "got 1 of 2"),
    "npz label count": (npz(x=ROWS, y=ROWS[:5, 0]), "x.npz", {}, r"label for each of the 20 rows"),
    "npz label shape": (npz(x=ROWS, y=ROWS), "x.npz", {}, r"labels in .* of shape \(N,\)"),
    "npz label names": (npz(x=ROWS, y=ROWS[:, 0], classes=["a"]), "x.npz", {}, "from 0 to 0"),
    "npz without test": (npz(train=ROWS, test=ROWS[:0]), "x.npz", {}, "at least one test row"),
    "npz without train": (
        npz(train=ROWS[:0], validation=ROWS, test=ROWS),
        "x.npz",
        {},
        "at least 1 training",
    ),
    "an empty csv": (text("x.csv", ""), "x.csv", {}, "the file is empty"),
    "csv without rows": (text("x.csv", "a,b\n"), "x.csv", {}, "rows below the header"),
    "csv of blanks": (text("x.csv", "\n\n"), "x.csv", {}, "Expected a header"),
    "csv without header": (text("x.csv", "1,2\n3,4\n"), "x.csv", {}, "Expected a header.*got numbers"),
    "csv too short": (text("x.csv", "a,b\n1,2\n3\n"), "x.csv", {}, "2 fields in every row.*got 1 in row 1"),
    "csv too long": (text("x.csv", "a,b\n1,2,3\n"), "x.csv", {}, "2 fields in every row.*got 3 in row 0"),
    "csv of text": (text("x.csv", "a,b\n1,2\n3,x\n"), "x.csv", {}, "got 'x' in row 1, column b"),
    "csv with a gap": (
        text("x.csv", "a,b\n1,2\n,3\n,4\n"),
        "x.csv",
        {},
        "empty field in row 1, column a .*2 such",
    ),
    "csv infinite": (text("x.csv", "a,b\n1,2\n1,inf\n0,1"), "x.csv", {}, r"inf in row 1, column 1 \('b'\)"),
    "csv of labels": (text("x.csv", "y\n1\n2\n3\n"), "x.csv", {}, "got labels alone"),
    "csv two labels": (text("x.csv", "y,label,a\n1,2,3\n"), "x.csv", {}, "at most one label column"),
    "csv label gap": (text("x.csv", "y,a\n1,2\n,3\n"), "x.csv", {}, "label in every row"),
    "csv target": (text("x.csv", "y,a\n1.5,2\n2,3\n"), "x.csv", {}, "classes.*got 1.5"),
    "csv semicolons": (text("x.csv", "a;b\n1;z\n2;u\n3;v\n"), "x.csv", {}, "got 'z' in row 0, column b"),
    "csv index": (text("x.csv", ",a\n0,2\n"), "x.csv", {}, "column 0 has none.*index"),
    "csv twice": (text("x.csv", "a,a\n0,2\n"), "x.csv", {}, "different column names.*'a' twice"),
    "csv bytes": (text("x.csv", b"a,b\n\xff\xfe,2\n"), "x.csv", {}, "UTF-8 text"),
    "amat ragged": (text("x.amat", "1 2\n3\n4 5\n"), "x.amat", {}, "empty field in row 1, column 1"),
    "amat long": (text("x.amat", "1 2\n3 4 5\n"), "x.amat", {}, "to be a text table"),
    "amat of text": (text("x.amat", "1 2\n3 a\n"), "x.amat", {}, "got 'a' in row 1, column 1"),
    "amat blank": (text("x.amat", "\n\n"), "x.amat", {}, "to be a text table"),
    "a broken image": (broken_image, "", {}, r"Could not read 1 of the 2 images of .*2\.png"),
    "image sizes": (sizes, "", {}, r"one size; .*2\.png"),
    "image modes": (modes, "", {}, r"1 of 4 x 4 L .*1 of 4 x 4 I;16 .*2\.png"),
    "images twice": (both, "", {}, "either all in sub-folders"),
    "an empty folder": (lambda folder: None, "", {}, "Expected images"),
    "an unknown ending": (text("x.feather", "x"), "x.parquet", {}, r"ending in \.npy, \.npz, \.csv, \.amat"),
    "grey pixels": (npy(ROWS), "x.npy", BINARY, "do not sum to one.*--binarize"),
    "floats to binarize": (npy(FLOATS), "x.npy", STATIC, r"in \[0, 1\] to binarize"),
    "binary twice": (npy(ROWS % 2), "x.npy", STATIC, "zeros and ones already"),
    "binarized density": (npy(ROWS), "x.npy", {"binarize": "static"}, "no density"),
}


@pytest.mark.parametrize(("make", "name", "options", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_ends_in_one_sentence(tmp_path, make, name, options, message):
    make(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        load_dataset(tmp_path / name, **options)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")


BAD_CALLS = {
    "an unknown name": (("mnits",), {}, "digits, mnist, .*got 'mnits', which is neither"),
    "a missing file": (("no/such.csv",), {}, "which is neither"),
    "a likelihood": (("digits",), {"likelihood_kind": "bernoulli"}, "likelihood_kind to be one of"),
    "a binarization": (("digits",), {"binarize": "yes"}, "binarize to be one of"),
    "a dequantization": (("digits",), {"dequantize": "yes"}, "dequantize to be one of"),
    "grey digits": (("digits",), BINARY, "from 0 to 16"),
}


@pytest.mark.parametrize(("arguments", "options", "message"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_a_bad_call_ends_in_one_sentence(arguments, options, message):
    with pytest.raises(InputError, match=message):
        load_dataset(*arguments, **options)


@pytest.mark.parametrize(
    ("size", "seed", "message"),
    [(0, 0, "batch_size"), (-3, 0, "batch_size"), (2.5, 0, "batch_size"), (8, -1, "seed"), (8, "a", "seed")],
)
def test_bad_batches(size, seed, message):
    with pytest.raises(InputError, match=f"Expected {message} to be a whole number"):
        load_dataset("digits").train.batches(size, seed=seed)


def idx(shape, values=None):
    values = np.zeros(shape, np.uint8) if values is None else values
    return bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes() + values.tobytes()


def place_mnist(root, **changed):
    """A tiny MNIST of 12 + 4 images; `changed` replaces files by the first word of their names."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 28, 28), dtype=np.uint8)
    files = {
        "train-images-idx3-ubyte": idx((12, 28, 28), pixels[:12]),
        "train-labels-idx1-ubyte": idx((12,), np.arange(12, dtype=np.uint8) % 10),
        "t10k-images-idx3-ubyte": idx((4, 28, 28), pixels[12:]),
        "t10k-labels-idx1-ubyte": idx((4,), np.arange(4, dtype=np.uint8)),
    }
    for name, content in files.items():
        (folder / name).write_bytes(changed.get(name.replace("-", "_").split("_idx")[0], content))
    return folder


BAD_IDX = {
    "cut off": ({"train_images": idx((12, 28, 28))[:-9]}, r"9408 entries of shape \(12, 28, 28\).*got 9399"),
    "too long": ({"t10k_labels": idx((4,)) + b"xx"}, "4 entries .*got 6"),
    "foreign": ({"train_labels": b"<html>"}, "an idx file of bytes; it begins with 3c 68 74 6d"),
    "empty": ({"train_labels": b""}, "begins with nothing"),
    "cut header": ({"t10k_images": idx((4, 28, 28))[:9]}, "an idx file"),
    "other size": ({"t10k_images": idx((4, 27, 28))}, "images of 28 x 28"),
    "fewer labels": ({"train_labels": idx((11,))}, "label for each of the 16 rows"),
    "too few rows": ({}, "at least 5001 training rows in mnist, from which validation rows"),
}


@pytest.mark.parametrize(("changed", "message"), BAD_IDX.values(), ids=BAD_IDX)
def test_bad_idx_files(tmp_path, changed, message):
    place_mnist(tmp_path, **changed)
    with pytest.raises(InputError, match=message):
        load_dataset("mnist", data_root=tmp_path)


def test_a_damaged_gz_file(tmp_path):
    path = place_mnist(tmp_path) / "train-images-idx3-ubyte"
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes())[:-20])
    path.unlink()
    with pytest.raises(InputError, match=r"Could not read .*ubyte\.gz"):
        load_dataset("mnist", data_root=tmp_path)


@pytest.mark.parametrize(
    "error", [ImportError("no module"), RuntimeError("operator torchvision::nms does not exist")]
)
def test_a_missing_or_broken_torchvision_says_what_to_install(tmp_path, monkeypatch, error):
    class Broken(types.ModuleType):
        def __getattr__(self, name):
            raise error

    monkeypatch.setitem(sys.modules, "torchvision", Broken("torchvision"))
    with pytest.raises(
        MissingPackageError, match=r"Install .*torchvision.*Otherwise place train-images.*MNIST.raw"
    ):
        load_dataset("mnist", data_root=tmp_path)


@pytest.mark.parametrize("error", [RuntimeError("Error downloading\nx"), OSError("no network")])
def test_a_failed_download_says_where_to_place_the_files(tmp_path, monkeypatch, error):
    def fail(root, download):
        raise error

    datasets = types.SimpleNamespace(FashionMNIST=fail)
    monkeypatch.setitem(sys.modules, "torchvision", types.SimpleNamespace(datasets=datasets))
    with pytest.raises(InputError, match=r"Could not download fashion-mnist .*FashionMNIST.raw") as caught:
        load_dataset("fashion-mnist", data_root=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["binarized-mnist", "frey-face"])
def test_missing_files_of_a_named_data_set_name_their_folder(tmp_path, name):
    with pytest.raises(InputError, match=rf"{name}.*found neither\. Set --data-root or PYRO_VAE_DATA"):
        load_dataset(name, data_root=tmp_path)


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0", b"x" * 500])
def test_a_damaged_mat_file(tmp_path, content):
    (tmp_path / "frey_rawface.mat").write_bytes(content)
    with pytest.raises(InputError, match="Could not read 'ff' from"):
        load_dataset("frey-face", data_root=tmp_path)


def test_a_mat_file_of_another_shape(tmp_path):
    from scipy.io import savemat

    savemat(tmp_path / "frey_rawface.mat", {"ff": np.zeros((4, 4))})
    with pytest.raises(InputError, match=r"'ff' of shape \(560, N\), uint8"):
        load_dataset("frey-face", data_root=tmp_path)


def test_binarized_mnist_of_another_width_or_with_other_values(tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / f"binarized_mnist_{split}.amat").write_text("0 1\n" * 3)
    with pytest.raises(InputError, match=r"rows of 784 values .*got shape \(3, 2\)"):
        load_dataset("binarized-mnist", data_root=tmp_path)
    for split in ("train", "valid", "test"):
        (tmp_path / f"binarized_mnist_{split}.amat").write_text(("0 2 " * 392 + "\n") * 3)
    with pytest.raises(InputError, match="zeros and ones"):
        load_dataset("binarized-mnist", data_root=tmp_path)
