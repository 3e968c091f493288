"""Folders of images under options, and packed bits: known pixels in, known rows out, in training and in scoring."""

import re

import numpy as np
import pytest
import torch
from helpers import script
from PIL import Image

from pyro_vae._checks import InputError
from pyro_vae.data import load_dataset
from pyro_vae.data.image_options import ImageOptions
from pyro_vae.data.new_rows import rows_like
from pyro_vae.data.row_format import RowFormat

rng = np.random.default_rng(0)
N = 12
GREY = rng.integers(0, 256, (N, 6, 5), dtype=np.uint8)
RGB = rng.integers(0, 256, (N, 6, 5, 3), dtype=np.uint8)
BITS = rng.random((N, 20, 12)).cumsum(2) % 3 < 1.5  # runs of several equal pixels


def write(folder, arrays, start=0, ending="png", **options):
    folder.mkdir(parents=True, exist_ok=True)
    for i, array in enumerate(arrays, start):
        Image.fromarray(array).save(folder / f"{i:03}.{ending}", **options)
    return folder


def stored_rows(data):
    """All rows of all splits in the order they are stored in, without noise."""
    splits = (data.train, data.validation, data.test)
    rows = torch.cat([split.rows.take(torch.from_numpy(split.index)) for split in splits])
    order = np.argsort(np.concatenate([split.index for split in splits]))
    return rows[order].numpy().reshape(-1, *data.data_shape)


def test_an_image_of_blocks_is_averaged_block_by_block(tmp_path):
    """Of an image that is constant over 8 x 8 blocks, the bilinear filter at an eighth keeps each block's middle."""
    small = rng.integers(0, 256, (4, 3), dtype=np.uint8)
    write(tmp_path, [np.full((32, 24), 99, np.uint8), np.kron(small, np.ones((8, 8), np.uint8))] * 2)
    rows = stored_rows(load_dataset(tmp_path, image_size=(4, 3)))
    assert rows.shape == (4, 4, 3)
    assert (rows[0] == 99).all()
    # The triangle of half-width 8 holds 3/4 of its weight within the block, an eighth in each neighbour.
    kernel = np.array([1, 6, 1]) / 8
    expected = np.pad(small.astype(float), 1, "edge")
    for axis in (0, 1):
        expected = np.apply_along_axis(np.convolve, axis, expected, kernel, "valid")
    assert np.abs(rows[1][1:-1, 1:-1] - expected[1:-1, 1:-1]).max() <= 1


def test_sizes_and_kinds_that_differ_become_one(tmp_path):
    write(tmp_path, [np.full((9, 16), 40, np.uint8), np.full((30, 20, 3), 80, np.uint8)])
    write(tmp_path, [np.full((9, 9, 3), 120, np.uint8)], 2, "jpg", quality=100)
    data = load_dataset(tmp_path, image_size=8)
    assert data.data_shape == (3, 8, 8)
    assert data.train.rows.tensor.dtype == torch.uint8
    assert np.array_equal(stored_rows(data).reshape(3, -1), np.repeat([[40], [80], [120]], 192, 1))
    assert data.notes[:2] == ("1 grey images became RGB.", "3 images were brought to 8 x 8 pixels.")
    grey = load_dataset(tmp_path, image_size=(8, 4), crop="center", grey=True)
    assert grey.data_shape == (8, 4)
    assert "2 images with colours became grey." in grey.notes
    assert "3 images were cut to their central part and brought to 8 x 4 pixels." in grey.notes


@pytest.mark.parametrize(
    ("shape", "size", "part"),
    [
        ((6, 10), None, (slice(0, 6), slice(2, 8))),
        ((10, 6), None, (slice(2, 8), slice(0, 6))),
        ((7, 10), None, (slice(0, 7), slice(1, 8))),
        ((6, 10), (3, 2), (slice(0, 6), slice(3, 7))),
        ((6, 10), (6, 10), (slice(0, 6), slice(0, 10))),
        ((6, 10), (2, 5), (slice(1, 5), slice(0, 10))),
    ],
)
def test_the_central_part_has_the_proportions_that_are_wanted(tmp_path, shape, size, part):
    images = rng.integers(0, 256, (3, *shape), dtype=np.uint8)
    rows = stored_rows(load_dataset(write(tmp_path, images), image_size=size, crop="center"))
    expected = images[(slice(None), *part)]
    if size is not None and size != expected.shape[1:]:
        shrunk = [Image.fromarray(one).resize(size[::-1], Image.Resampling.BILINEAR) for one in expected]
        expected = np.stack([np.asarray(image) for image in shrunk])
    assert np.array_equal(rows, expected)


def test_colours_become_grey_by_their_luminance(tmp_path):
    rows = stored_rows(load_dataset(write(tmp_path, RGB), grey=True))
    luminance = RGB @ [0.299, 0.587, 0.114]  # ITU-R 601-2
    assert np.abs(rows - luminance).max() <= 0.51


def test_16_bit_grey_is_kept_alone_and_resized_at_its_own_depth(tmp_path):
    deep = np.repeat(np.uint16([0, 300, 65535]), 64).reshape(3, 8, 8)
    write(tmp_path / "deep", deep)
    assert stored_rows(load_dataset(tmp_path / "deep", image_size=4)).max((1, 2)).tolist() == [0, 300, 65535]
    write(write(tmp_path / "both", deep), [np.full((8, 8, 3), 7, np.uint8)], 3)
    data = load_dataset(tmp_path / "both", grey=True)
    assert stored_rows(data).max((1, 2)).tolist() == [0, 1, 255, 7]
    assert "3 16-bit grey images were reduced to 8 bits." in data.notes


def test_black_and_white_images_that_are_resized_have_grey_levels(tmp_path):
    folder = write(tmp_path, GREY > 99)
    assert stored_rows(load_dataset(folder, image_size=(6, 5))).max() == 1
    grey = load_dataset(folder, image_size=3)
    assert grey.preprocessing.levels == 256
    assert "12 black-and-white images became grey, 0 and 255." in grey.notes


def test_a_photo_is_turned_before_it_is_cropped(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photos = np.repeat(np.repeat(RGB[:3], 16, 1), 16, 2)
    write(tmp_path / "photos", photos, ending="jpg", exif=exif, quality=100, subsampling=0)
    rows = stored_rows(load_dataset(tmp_path / "photos", image_size=(3, 3), crop="center"))
    upright = np.rot90(photos, -1, (1, 2))
    write(tmp_path / "upright", upright, ending="jpg", quality=100, subsampling=0)
    expected = stored_rows(load_dataset(tmp_path / "upright", image_size=(3, 3), crop="center"))
    assert np.abs(rows.astype(int) - expected).max() <= 2


def test_a_png_file_with_its_orientation_behind_its_pixels_is_turned_or_named(tmp_path):
    """Pillow writes EXIF data before the pixels; here their chunk is moved to the end."""
    exif = Image.Exif()
    exif[0x0112] = 6
    write(tmp_path, RGB)
    write(tmp_path, RGB[:1], exif=exif)
    content = (tmp_path / "000.png").read_bytes()
    start = content.index(b"eXIf") - 4
    chunk = content[start : start + 12 + int.from_bytes(content[start : start + 4], "big")]
    end = content.index(b"IEND") - 4
    moved = content[:end].replace(chunk, b"") + chunk + content[end:]
    (tmp_path / "000.png").write_bytes(moved)
    data = load_dataset(tmp_path)
    assert any("000.png (EXIF data after the pixels rotate it)" in note for note in data.notes)
    square = stored_rows(load_dataset(tmp_path, image_size=5, crop="center"))
    upright = write(tmp_path / "upright", [np.rot90(RGB[0], -1)] * 3)
    expected = stored_rows(load_dataset(upright, image_size=5, crop="center"))
    assert np.array_equal(square[0], expected[0])


def test_a_large_photo_is_decoded_at_a_smaller_scale_with_the_same_averages(tmp_path):
    height, width = np.mgrid[:480, :640]
    photo = np.stack([height / 480, width / 640, height * 0 + 0.5], 2) * 255
    write(tmp_path, [photo.astype(np.uint8)] * 3, ending="jpg", quality=95)
    rows = stored_rows(load_dataset(tmp_path, image_size=(6, 8)))
    averages = photo.reshape(6, 80, 8, 80, 3).mean((1, 3)).transpose(2, 0, 1)
    assert np.abs(rows[0, :, 1:-1, 1:-1] - averages[:, 1:-1, 1:-1]).max() < 3


def test_one_broken_image_in_many_is_left_out_of_its_split_and_class(tmp_path):
    for split, rows in {"train": GREY, "val": GREY[:4], "test": GREY[:6]}.items():
        write(tmp_path / split / "a", rows[:3])
        write(tmp_path / split / "b", rows[3:], 3)
    file = tmp_path / "train" / "b" / "004.png"
    file.write_bytes(file.read_bytes()[:60])  # the header is whole
    (tmp_path / "test" / "a" / "001.png").write_bytes(b"")
    data = load_dataset(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (11, 4, 5)
    assert data.train.labels.tolist() == [0] * 3 + [1] * 8
    assert data.test.labels.tolist() == [0, 0, 1, 1, 1]
    assert np.array_equal(data.train.tensor().mul(256).floor().reshape(11, 6, 5), np.delete(GREY, 4, 0))
    (note,) = [note for note in data.notes if "could not be read" in note]
    assert re.search(r"2 of 22 images .*test/a/001\.png \(.*, .*train/b/004\.png \(", note)


def test_options_have_text_forms_and_read_back():
    options = ImageOptions.of(64, "center", True)
    assert options == ImageOptions((64, 64), "center", "grey")
    assert ImageOptions.from_json({"size": [64, 64], "crop": "center", "colours": "grey"}) == options
    assert ImageOptions.of((3, 4)).final(9, 9) == (3, 4)
    assert ImageOptions.of((), packed_bits=()) == ImageOptions.from_json({}) == ImageOptions()


def test_packed_bits_are_unpacked(tmp_path):
    packed = np.packbits(BITS.reshape(N, -1), axis=1)
    np.savez(tmp_path / "x.npz", images=packed, volume=np.zeros(N))
    data = load_dataset(tmp_path / "x.npz", packed_bits=(20, 12), likelihood_kind="binary")
    assert np.array_equal(stored_rows(data), BITS)
    assert data.preprocessing.description == "binary as stored"
    assert "Arrays volume of x.npz were not used." in data.notes
    assert "30 bytes a row were unpacked to 20 x 12 zeros and ones." in data.notes


def test_bits_beyond_the_last_pixel_are_left_out(tmp_path):
    bits = BITS[:, :5, :5]
    np.save(tmp_path / "x.npy", np.packbits(bits.reshape(N, 25), axis=1))
    assert np.array_equal(stored_rows(load_dataset(tmp_path / "x.npy", packed_bits=5)), bits)


DISCS = np.hypot(*np.mgrid[-16:16, -16:16]) < rng.uniform(4, 15, (200, 1, 1))
LEVELS = rng.choice(np.uint8([0, 128, 255]), (200, 16, 16))


@pytest.mark.parametrize(
    ("array", "way"),
    [
        (np.packbits(DISCS.reshape(200, -1), axis=1), "--packed-bits 32 32"),
        (np.packbits(DISCS, axis=2), "--packed-bits 32 32"),
        (np.packbits(DISCS[:, 4:28].reshape(200, -1), axis=1), "--packed-bits HEIGHT WIDTH"),
    ],
)
@pytest.mark.parametrize("kind", ["continuous", "binary"])
def test_packed_pictures_are_refused_without_the_option(tmp_path, array, way, kind):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(InputError, match=f"look like bits, eight pixels a byte. Pass {way}"):
        load_dataset(tmp_path / "x.npy", likelihood_kind=kind)


@pytest.mark.parametrize(
    "array",
    [
        LEVELS,
        rng.poisson(2, (200, 128)).astype(np.uint8),
        (DISCS * np.uint8(255))[:, ::2, ::2],
        rng.normal(100, 30, (200, 512)).clip(0, 255).astype(np.uint8),
        rng.exponential(30, (200, 128)).clip(0, 255).astype(np.uint8),
    ],
    ids=["three levels", "counts", "black and white as 0 and 255", "grey", "descriptors"],
)
def test_grey_values_are_not_taken_for_bits(tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    assert np.array_equal(stored_rows(load_dataset(tmp_path / "x.npy")), array)


def test_the_hint_on_packed_bits_is_part_of_the_error_of_a_binary_likelihood(tmp_path):
    np.save(tmp_path / "x.npy", rng.integers(0, 256, (20, 32), dtype=np.uint8))
    with pytest.raises(InputError, match=r"--binarize static.*If they are bits, pass --packed-bits 16 16\."):
        load_dataset(tmp_path / "x.npy", likelihood_kind="binary")


def table(folder):
    np.save(folder / "x.npy", GREY.reshape(N, 30))
    return folder / "x.npy"


def folder_of_images(folder):
    return write(folder / "images", GREY)


BAD_OPTIONS = {
    "a size of a table": (table, {"image_size": 8}, "--image-size 8 8 only with a folder of images or celeba"),
    "several of a table": (table, {"crop": "center", "grey": True}, "--crop center, --grey only with a folder"),
    "grey digits": ("digits", {"grey": True}, "--grey only with a folder .*the data set digits. Leave it out"),
    "packed digits": ("digits", {"packed_bits": 8}, "--packed-bits only with a file of packed bits .*digits"),
    "packed images": (folder_of_images, {"packed_bits": 8}, "--packed-bits only with a file .*the folder"),
    "another packed size": (table, {"packed_bits": (9, 9)}, r"rows of 11 bytes \(uint8\).*got 30 values of type uint8"),
    "three sides": (folder_of_images, {"image_size": (3, 4, 5)}, "height and width, or one number .*got 3 4 5"),
    "no side": (folder_of_images, {"image_size": 0}, "every side of --image-size to be a whole number of at least 1"),
    "half a pixel": (folder_of_images, {"image_size": 2.5}, "every side of --image-size .*got 2.5"),
    "another crop": (folder_of_images, {"crop": "left"}, "crop to be one of none, center"),
    "another flip": ("digits", {"flip": "vertical"}, "flip to be one of none, horizontal"),
    "a flipped table": (table, {"flip": "horizontal"}, r"images for --flip horizontal; got rows of shape \(30,\)"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "options", "message"), BAD_OPTIONS.values(), ids=BAD_OPTIONS)
def test_options_that_do_nothing_are_refused(tmp_path, make, options, message):
    with pytest.raises(InputError, match=message) as error:
        load_dataset(make if isinstance(make, str) else make(tmp_path), **options)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


def test_new_images_are_read_as_those_of_training(tmp_path):
    mixed = [*np.repeat(RGB, 4, 1), *GREY[:3]]
    data = load_dataset(write(tmp_path / "train", mixed), image_size=(4, 6), crop="center")
    expected = RowFormat.from_json(RowFormat.of(data).to_json())
    assert expected.image_options == ImageOptions((4, 6), "center")
    split, notes = rows_like(write(tmp_path / "new", GREY[3:9]), expected)
    assert "6 grey images became RGB." in notes
    again = load_dataset(write(tmp_path / "again", [*GREY[3:9], RGB[0]]), image_size=(4, 6), crop="center")
    assert np.array_equal(split.rows.tensor.reshape(-1, *data.data_shape), stored_rows(again)[:6])


@pytest.mark.parametrize("form", ["packed", "unpacked"])
def test_new_rows_of_bits_may_be_packed_or_not(tmp_path, form):
    packed = np.packbits(BITS.reshape(N, -1), axis=1)
    np.save(tmp_path / "x.npy", packed)
    data = load_dataset(tmp_path / "x.npy", packed_bits=(20, 12), likelihood_kind="binary")
    np.save(tmp_path / "new.npy", packed[:5] if form == "packed" else BITS[:5])
    expected = RowFormat.from_json(RowFormat.of(data).to_json())
    split, _ = rows_like(tmp_path / "new.npy", expected, "binary")
    assert np.array_equal(split.tensor().reshape(-1, 20, 12), BITS[:5])


@pytest.mark.slow
def test_a_run_scores_a_folder_of_other_images_with_its_own_treatment(tmp_path, capsys):
    """From the command line: training with options, resuming, and scoring images of other sizes and kinds."""
    folder = write(tmp_path / "train", [*RGB, *np.repeat(GREY, 3, 2)] * 2)
    flags = ["--image-size", 6, "--crop", "center", "--grey", "--flip", "horizontal"]
    small = ["--epochs", 1, "--hidden", 4, "--latent-dim", 2, "--compile", "off", "--evaluate", "none"]
    assert script("--dataset", folder, *flags, *small, "--out", tmp_path / "run") == 0
    assert "x in [0, 1), training rows flipped left-right at random" in capsys.readouterr().out
    assert script("--resume", tmp_path / "run", "--epochs", 2) == 0
    assert script("--resume", tmp_path / "run", "--epochs", 3, "--flip", "none") == 2
    assert "--flip horizontal (now none)" in capsys.readouterr().err
    write(tmp_path / "new", np.repeat(RGB, 5, 1))
    arguments = (tmp_path / "run", "--data", tmp_path / "new", "--num-samples", 10)
    assert script(*arguments, "--out", tmp_path / "scores", name="evaluate.py") == 0
    assert len((tmp_path / "scores" / "scores.csv").read_text().splitlines()) == 1 + N
