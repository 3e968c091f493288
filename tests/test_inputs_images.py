"""Images in folders and archives, as people have them: right values, a note on each choice, or one sentence."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from pyro_vae._checks import InputError
from pyro_vae.data import AsFloat, Dequantize, load_dataset

rng = np.random.default_rng(0)
N = 12
GREY = rng.integers(0, 256, (N, 6, 5), dtype=np.uint8)
RGB = rng.integers(0, 256, (N, 6, 5, 3), dtype=np.uint8)
RGBA = rng.integers(0, 256, (N, 6, 5, 4), dtype=np.uint8)
FIRST = RGB.transpose(0, 3, 1, 2)


def stored_rows(data):
    """All rows of all splits in the order they are stored in, without noise."""
    splits = (data.train, data.validation, data.test)
    rows = torch.cat([split.rows.take(torch.from_numpy(split.index)) for split in splits])
    order = np.argsort(np.concatenate([split.index for split in splits]))
    return rows[order].numpy().reshape(-1, *data.data_shape)


def images(arrays, where="", ending="png", change=lambda image: image, **options):
    def make(folder):
        place = folder / where
        place.mkdir(parents=True, exist_ok=True)
        for i, array in enumerate(arrays):
            change(Image.fromarray(array)).save(place / f"{i:03}.{ending}", **options)

    return make


def npz(**arrays):
    return lambda folder: np.savez(folder / "x.npz", **arrays)


def npy(array):
    return lambda folder: np.save(folder / "x.npy", array)


def files(*names):
    def make(folder):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("x")

    return make


def all_of(*makes):
    return lambda folder: [make(folder) for make in makes]


def turned(folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    images(GREY, exif=exif)(folder)


def animated(folder):
    for i in range(N):
        frames = [Image.fromarray(GREY[(i + j) % N]) for j in range(3)]
        frames[0].save(folder / f"{i:03}.tiff", save_all=True, append_images=frames[1:])


def palette(transparent):
    def make(folder):
        for i in range(N):
            image = Image.new("P", (5, 6))
            image.putpalette([10, 20, 30, 200, 100, 50])
            image.putdata((GREY[i] // 128).ravel().tolist())
            image.save(folder / f"{i:03}.png", **({"transparency": 0} if transparent else {}))

    return make


def with_broken(folder):
    images(GREY)(folder)
    (folder / "005.png").write_bytes((folder / "005.png").read_bytes()[:50])


def cmyk(folder):
    for i in range(N):
        inks = np.concatenate([RGB[i], np.zeros_like(RGB[i, ..., :1])], 2)
        Image.fromarray(inks, "CMYK").save(folder / f"{i:03}.tiff")


def on_white(colours, alpha):
    """Colours (N, H, W, C) of opacity alpha (N, H, W, 1) in 0 to 255, composited on white and rounded."""
    share = alpha / 255
    return np.round(colours * share + 255 * (1 - share)).astype(np.uint8)


COLOURS = np.array([[10, 20, 30], [200, 100, 50]], np.uint8)
PALETTE = COLOURS[GREY // 128].transpose(0, 3, 1, 2)
ON_WHITE = on_white(RGBA[..., :3], RGBA[..., 3:]).transpose(0, 3, 1, 2)
DEEP = rng.integers(0, 60000, (N, 6, 5)).astype(np.uint16)
SPLIT = all_of(images(GREY[:8], "Train"), images(GREY[8:10], "VAL"), images(GREY[10:], "Test"))

# name: how it is made, the rows that are expected, a pattern of one note or None for no note
READ = {
    "grey": (images(GREY), GREY, None),
    "RGB": (images(RGB), FIRST, None),
    "RGBA": (images(RGBA), ON_WHITE, "12 images with transparency were composited on white: 000"),
    "opaque RGBA": (images(np.concatenate([RGB, np.full_like(RGB[..., :1], 255)], 3)), FIRST, "composited on white"),
    "grey with alpha": (
        images(RGBA[..., :2], change=lambda image: image),
        on_white(RGBA[..., :1], RGBA[..., 1:2])[..., 0],
        "composited on white",
    ),
    "CMYK": (cmyk, 255 - FIRST, "12 images of mode CMYK became RGB"),
    "grey among colours": (
        all_of(images(RGB), images(GREY[:2])),
        np.concatenate([GREY[:2, None].repeat(3, 1), FIRST[2:]]),
        "2 grey images became RGB",
    ),
    "a broken image": (with_broken, np.delete(GREY, 5, 0), r"1 of 12 images could not be read .*: .*005\.png \("),
    "a file of another kind": (
        all_of(images(GREY), files("005.png")),
        np.delete(GREY, 5, 0),
        r"1 of 12 images could not be read .*005\.png \(cannot identify",
    ),
    "upper-case endings": (images(GREY, ending="PNG"), GREY, None),
    "16-bit grey": (images(DEEP), DEEP, None),
    "float tiff": (images(GREY.astype(np.float32) / 7, ending="tiff"), GREY.astype(np.float32) / 7, None),
    "black and white": (images(GREY > 99), (GREY > 99).astype(np.uint8), "are zeros and ones"),
    "some black and white": (
        all_of(images(GREY), images([GREY[0] > 99])),
        np.concatenate([[np.where(GREY[0] > 99, 255, 0)], GREY[1:]]),
        "1 black-and-white images became grey",
    ),
    "palette": (palette(False), PALETTE, "12 images with a palette became RGB"),
    "palette, transparent": (
        palette(True),
        np.where(GREY[:, None] // 128, PALETTE, 255),
        "12 images with transparency were composited on white",
    ),
    "EXIF orientation": (turned, np.rot90(GREY, -1, (1, 2)), r"12 images were rotated .* 000\.png, 001\.png.* and 9"),
    "several frames": (animated, GREY, r"12 files hold several frames, of which the first was used: 000\.tiff"),
    "other files": (
        all_of(images(GREY), files("notes.txt", ".DS_Store", "._000.png")),
        GREY,
        r"3 files are hidden or not images and were not used: \.DS_Store, \._000\.png, notes\.txt",
    ),
    "classes in sub-folders": (
        all_of(images(GREY[:9], "cat"), images(GREY[9:], "dog/deep"), images(GREY[9:], "dog")),
        GREY,
        r"3 images lie too deep .*: dog/deep/000\.png",
    ),
    "an empty class": (all_of(images(GREY, "cat"), files("dog/x.txt")), GREY, "not classes: dog"),
    "splits in any case": (SPLIT, GREY, None),
    "a folder beside the splits": (
        all_of(SPLIT, images(GREY, "dev"), images(GREY, "raw")),
        GREY,
        "Folders dev, raw of .* were not used. If dev should be a split, rename",
    ),
    "a class in one split alone": (
        all_of(images(GREY[:6], "train/a"), images(GREY[6:9], "train/b"), images(GREY[9:], "test/a")),
        GREY,
        "The test split has no images of the classes b",
    ),
    "channels last": (npy(RGB), FIRST, r"6 x 5 pixels with 3 channels, channels last"),
    "channels first": (npy(FIRST), FIRST, None),
    "one channel last": (npy(GREY[..., None]), GREY, "6 x 5 pixels with 1 channel, channels last"),
    "one channel first": (npy(GREY[:, None]), GREY, None),
    "Fortran order": (npy(np.asfortranarray(GREY)), GREY, None),
    "negative strides": (npy(GREY[::-1, ::-1]), GREY[::-1, ::-1], None),
    "big-endian": (npy(GREY.astype(">i4")), GREY, None),
    "half precision": (npy((GREY / 255).astype(np.float16)), (GREY / 255).astype(np.float16), None),
    "MedMNIST": (
        npz(
            train_images=GREY[:8], val_images=GREY[8:10], test_images=GREY[10:],
            train_labels=np.ones((8, 1)), val_labels=np.ones((2, 1)), test_labels=np.ones((2, 1)),
        ),
        GREY,
        None,
    ),
    "Keras": (
        npz(x_train=GREY[:9], x_test=GREY[9:], y_train=np.ones((9, 1), int), y_test=np.ones((3, 1), int)),
        GREY,
        None,
    ),
    "keys in any case": (npz(X_Train=GREY[:9], Y_train=np.ones(9), X_TEST=GREY[9:], y_TEST=np.ones(3)), GREY, None),
    "keys left": (
        npz(train=GREY[:9], test=GREY[9:], dev_x=GREY, extra=GREY),
        GREY,
        "Arrays dev_x, extra of x.npz were not used. If dev_x should be a split, rename",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "expected", "note"), READ.values(), ids=READ)
def test_images_are_read_and_each_choice_is_reported(tmp_path, make, expected, note):
    make(tmp_path)
    path = next((tmp_path / name for name in ("x.npz", "x.npy") if (tmp_path / name).exists()), tmp_path)
    data = load_dataset(path)
    notes = [text for text in data.notes if "training rows" not in text and "whole numbers" not in text]
    assert np.array_equal(stored_rows(data), expected)
    if note is None:
        assert notes == []
    else:
        assert len([text for text in notes if re.search(note, text)]) == 1, notes
    if "Labels" in str(notes) or data.train.labels is not None:
        assert data.train.labels.shape == (len(data.train),)


SQUARE = rng.integers(0, 256, (N, 3, 4, 4), dtype=np.uint8)
REFUSED = {
    "mixed sizes": (
        all_of(images(GREY, "a"), images(RGB[:3, :4], "b")),
        r"12 of 6 x 5 L \(such as .*000\.png\), 3 of 4 x 5 RGB .*Resize",
    ),
    "bits of 8 and of 16": (all_of(images(GREY), images(DEEP[:3])), r"9 of 6 x 5 L .*3 of 6 x 5 I;16.*Pass --grey"),
    "colours and floats": (
        all_of(images(RGB), images([GREY[0] / np.float32(7)], "", "tiff")),
        r"one kind; got 12 of 6 x 5 RGB .*, 1 of 6 x 5 F .*Convert",
    ),
    "two of twelve broken": (all_of(with_broken, files("006.png")), "Could not read 2 of the 12 .*005.png.*006.png"),
    "all broken": (files("1.png", "2.jpg"), "Could not read 2 of the 2 images .*Fetch them again, or remove"),
    "near names of splits": (all_of(images(GREY, "training"), images(GREY, "testing")), "training|testing.*Rename"),
    "test without train": (all_of(images(GREY, "test"), images(GREY, "val")), "test, val. Rename"),
    "two validation folders": (all_of(SPLIT, images(GREY, "valid")), "one folder for each split .* VAL and valid"),
    "an image beside splits": (all_of(SPLIT, images(GREY)), "either all in its splits .*train.* or none; got both"),
    "classes in one split": (all_of(images(GREY, "train/a"), images(GREY, "test")), "all in sub-folders.*both"),
    "no images": (files("a.txt"), "Expected images"),
    "ambiguous axes": (npy(SQUARE), r"\(12, 3, 4, 4\) can be read as both"),
    "units of splits": (npz(train=GREY / 255, test=GREY * 1.0), "one unit; train holds float64 from 0 to 1 but test"),
    "units, the other way": (npz(train=GREY * 1.0, test=GREY / 255), "test holds float64 .* to 1"),
    "a standardized split": (npz(train=rng.normal(size=(50, 4)), test=90 + rng.normal(size=(9, 4))), "in one unit"),
    "bytes and floats": (npz(train=GREY, test=GREY[:3] * 1.0), "test holds float64 .* but train holds uint8"),
    "zeros and ones, and bytes": (npz(train=GREY // 128, test=np.uint8([[[0] * 5] * 5 + [[255] * 5]])), "one unit"),
    "two arrays for a split": (npz(train=GREY, x_train=GREY, test=GREY), "one array for each split .*train, x_train"),
    "near keys": (npz(training=GREY, testing=GREY), "Rename training, testing to train"),
    "two arrays": (npz(arr_0=GREY, arr_1=GREY), r"numpy\.savez\(path, x=x"),
    "one-hot labels": (npz(x=GREY, y=np.eye(N)), r"shape \(N,\) or \(N, 1\).*y\.argmax\(1\)"),
    "labels of one split": (npz(train=GREY, test=GREY, y_train=np.ones(N)), "got 1 of 2"),
    "swapped labels": (
        npz(train=GREY[:9], test=GREY[9:], train_labels=np.ones(3), test_labels=np.ones(9)),
        "each of the 9 rows of train",
    ),
    "a mask": (npz(x=GREY, mask=GREY > 9), "'mask'. Missing values are not modelled yet: fill"),
    "a masked array": (npz(data=GREY * 1.0, x_mask=GREY > 9), "'x_mask'"),
    "sparse": (
        npz(data=np.ones(3), indices=np.arange(3), indptr=np.arange(4), shape=[3, 3], format=np.array(b"csr")),
        r"a sparse matrix of SciPy.*load_npz\(.*\)\.toarray\(\)",
    ),
    "complex": (npy(GREY[:, 0] * 1j), r"concatenate\(\[x.real, x.imag\], 1\)"),
    "dates": (npy(GREY[:, 0].astype("M8[s]")), "Store seconds"),
    "a number": (npy(np.float32(3)), "One number is no data set"),
    "missing": (npy(np.where(GREY > 9, GREY, np.nan)), "Missing values are not modelled in arrays"),
    "beyond int64": (npy(GREY.astype(np.uint64) + 2**63), "up to 9.22e"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_images_that_are_not_read_say_why_and_what_to_do(tmp_path, make, message):
    make(tmp_path)
    path = next((tmp_path / name for name in ("x.npz", "x.npy") if (tmp_path / name).exists()), tmp_path)
    with pytest.raises(InputError, match=message) as error:
        load_dataset(path)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


def test_black_and_white_images_suit_a_binary_likelihood(tmp_path):
    images(GREY > 99)(tmp_path)
    assert load_dataset(tmp_path, likelihood_kind="binary").preprocessing == AsFloat("binary as stored")
    assert load_dataset(tmp_path).preprocessing == Dequantize(2)


def test_scipy_and_masked_arrays_as_their_libraries_write_them(tmp_path):
    import scipy.sparse

    scipy.sparse.save_npz(tmp_path / "x.npz", scipy.sparse.csr_array(np.eye(5)))
    with pytest.raises(InputError, match="sparse matrix of SciPy"):
        load_dataset(tmp_path / "x.npz")


def test_the_home_folder_and_names_that_are_shadowed(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    npy(GREY)(tmp_path)
    assert load_dataset("~/x.npy").data_shape == (6, 5)
    with pytest.raises(InputError, match=str(tmp_path / "root")):
        load_dataset("frey-face", data_root="~/root")
    with pytest.raises(InputError, match="home folder is not known"):
        load_dataset("~no-such-user/x.npy")
    with pytest.raises(InputError, match="got '', which is neither"):
        load_dataset("")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert any(
        re.search(r"built-in data set digits was read, not \./digits", n)
        for n in load_dataset("digits").notes
    )
