"""CIFAR-10 and CelebA by name: made-up files in each layout, damaged ones, and downloads that are only pretended."""

import os
import pickle
import sys
import types

import numpy as np
import pytest
from PIL import Image

from pyro_vae._checks import InputError, MissingPackageError
from pyro_vae.data import load_dataset
from pyro_vae.data.image_options import ImageOptions
from pyro_vae.data.named_datasets import read_named

rng = np.random.default_rng(0)
NAMES = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
PIXELS = rng.integers(0, 256, (6, 4, 3, 32, 32), dtype=np.uint8)
LABELS = rng.integers(0, 10, (6, 4), dtype=np.uint8)


def binary(labels, pixels):
    return np.concatenate([labels[:, None], pixels.reshape(len(pixels), -1)], 1).tobytes()


def pickled(labels, pixels, protocol=4):
    batch = {
        b"data": pixels.reshape(len(pixels), -1),
        b"labels": labels.tolist(),
        b"batch_label": b"one of six",
    }
    return pickle.dumps(batch, protocol)


def place_cifar(root, form=binary, **changed):
    """Six batches of four images; `changed` replaces the content of files by name."""
    folder = root / f"cifar-10-batches-{'bin' if form is binary else 'py'}"
    folder.mkdir(parents=True)
    for name, labels, pixels in zip(NAMES, LABELS, PIXELS, strict=True):
        content = changed.get(name, form(labels, pixels))
        (folder / (f"{name}.bin" if form is binary else name)).write_bytes(content)
    return folder


@pytest.mark.parametrize("form", [binary, pickled])
def test_cifar_10_in_each_layout(tmp_path, form):
    place_cifar(tmp_path, form)
    stored = read_named("cifar-10", tmp_path)
    assert np.array_equal(stored.array, PIXELS.reshape(24, 3, 32, 32))
    assert stored.array.dtype == np.uint8
    assert stored.labels.tolist() == LABELS.ravel().tolist()
    assert {name: len(rows) for name, rows in stored.given.items()} == {"train": 20, "test": 4}
    assert stored.given["test"].tolist() == [20, 21, 22, 23]
    assert stored.class_names[3] == "cat"
    assert stored.drawn == {"validation": 5000}


def test_the_binary_version_is_taken_before_pickles(tmp_path):
    place_cifar(tmp_path)
    (tmp_path / "cifar-10-batches-py").mkdir()
    assert len(read_named("cifar-10", tmp_path).array) == 24


class Dangerous:
    def __reduce__(self):
        return os.system, ("touch reached",)


class Partial:
    """A class of numpy's that is on no list."""

    def __reduce__(self):
        return np.memmap, ("reached", "uint8", "w+", 0, (3,))


ONE = LABELS[0], PIXELS[0]
BAD_CIFAR = {
    "cut off": (binary, binary(*ONE)[:-9], r"3073 bytes for each image in .*data_batch_2.bin; got 12283 bytes"),
    "cut at an image": (binary, binary(*ONE)[:-3073], r"as many images each; got \[4, 3, 4, 4, 4, 4\]"),
    "empty": (binary, b"", "got 0 bytes"),
    "another class": (binary, binary(LABELS[0] + 10, PIXELS[0]), "classes from 0 to 9 in .*data_batch_2"),
    "no pickle": (pickled, b"<html>", "Could not read .*data_batch_2 as a batch"),
    "cut pickle": (pickled, pickled(*ONE)[:-50], "Could not read .*data_batch_2 as a batch"),
    "no data": (pickled, pickle.dumps({b"labels": [1]}), "Could not read .*data_batch_2 as a batch"),
    "another shape": (pickled, pickled(LABELS[0], PIXELS[0, :, 0]), r"3072 bytes and a class .*\(4, 1024\)"),
    "another type": (pickled, pickled(LABELS[0], PIXELS[0].astype(float)), "3072 bytes .*float64"),
    "code": (pickled, pickle.dumps({b"data": Dangerous()}), "names posix.system, which is not loaded"),
    "more of numpy": (pickled, pickle.dumps({b"data": Partial()}), "names numpy.memmap, which is not loaded"),
}  # fmt: skip


@pytest.mark.parametrize(("form", "content", "message"), BAD_CIFAR.values(), ids=BAD_CIFAR)
def test_damaged_batches_are_refused_and_run_no_code(tmp_path, monkeypatch, form, content, message):
    monkeypatch.chdir(tmp_path)
    place_cifar(tmp_path, form, data_batch_2=content)
    with pytest.raises(InputError, match=message) as error:
        read_named("cifar-10", tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "reached").exists()


def pretend(monkeypatch, **datasets):
    """Put a torchvision in place that holds these data sets alone."""
    module = types.SimpleNamespace(**datasets)
    monkeypatch.setitem(sys.modules, "torchvision", types.SimpleNamespace(datasets=module))


def fetching(action):
    return types.SimpleNamespace(download_and_extract_archive=action)


def test_cifar_10_is_downloaded_as_its_binary_version(tmp_path, monkeypatch):
    def fetch(url, root, md5):
        assert url.endswith("/cifar-10-binary.tar.gz")
        assert len(md5) == 32
        place_cifar(tmp_path)

    pretend(monkeypatch, utils=fetching(fetch))
    assert len(read_named("cifar-10", tmp_path).array) == 24


def test_without_a_network_the_sentence_names_the_places_and_the_subset(tmp_path, monkeypatch):
    def fail(url, root, md5):
        raise OSError("no network\nat all")

    pretend(monkeypatch, utils=fetching(fail))
    with pytest.raises(InputError, match=r"download cifar-10 \(no network at all\).*cifar-10-batches-bin\.$"):
        load_dataset("cifar-10", data_root=tmp_path)
    (tmp_path / "cifar10").mkdir()
    np.savez(tmp_path / "cifar10" / "cifar10_subset.npz", train=PIXELS[0])
    with pytest.raises(
        InputError, match=r"A subset is there: give its path, --dataset .*cifar10_subset\.npz\."
    ):
        load_dataset("cifar-10", data_root=tmp_path)


def test_a_missing_torchvision_says_what_to_install(tmp_path, monkeypatch):
    class Broken(types.ModuleType):
        def __getattr__(self, name):
            raise ImportError("no module")

    monkeypatch.setitem(sys.modules, "torchvision", Broken("torchvision"))
    for name, place in {"cifar-10": "cifar-10-batches-bin", "celeba": "img_align_celeba"}.items():
        with pytest.raises(MissingPackageError, match=f"Install .*torchvision.*Otherwise place .*{place}"):
            load_dataset(name, data_root=tmp_path)


FACES = rng.integers(0, 256, (9, 218, 178, 3), dtype=np.uint8)


def place_celeba(
    root, partition="000001.jpg 0\n000002.jpg 0\n000003.jpg 2\n000004.jpg 1\n000005.jpg 0\n", count=5
):
    folder = root / "celeba" / "img_align_celeba"
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(FACES[number]).save(folder / f"{number + 1:06}.jpg", quality=50)
    if partition:
        (root / "celeba" / "list_eval_partition.txt").write_text(partition)
    return folder


def test_celeba_is_cropped_resized_and_split_as_listed(tmp_path):
    folder = place_celeba(tmp_path)
    data = load_dataset("celeba", data_root=tmp_path)
    assert data.data_shape == (3, 64, 64)
    assert [split.index.tolist() for split in (data.train, data.validation, data.test)] == [
        [0, 1, 4],
        [3],
        [2],
    ]
    with Image.open(folder / "000004.jpg") as face:
        part = face.crop((15, 35, 163, 183)).resize((64, 64), Image.Resampling.BILINEAR)
    assert np.array_equal(data.train.rows.tensor[3].reshape(3, 64, 64), np.asarray(part).transpose(2, 0, 1))
    assert "5 images were cut to their central 148 x 148 pixels and brought to 64 x 64 pixels." in data.notes
    assert data.image_options == ImageOptions((64, 64), 148, "rgb")
    assert load_dataset("celeba", data_root=tmp_path, image_size=(8, 6), grey=True).data_shape == (8, 6)


def test_celeba_without_a_list_or_with_another_one_has_a_note(tmp_path):
    place_celeba(tmp_path / "none", partition="")
    drawn = load_dataset("celeba", data_root=tmp_path / "none", image_size=4)
    assert (len(drawn.train), len(drawn.validation), len(drawn.test)) == (3, 1, 1)
    assert any("The official splits were not found" in note for note in drawn.notes)
    lines = "".join(
        f"{number:06}.jpg {place}\n" for number, place in [(1, 0), (2, 1), (4, 2), (7, 0), (8, 0)]
    )
    place_celeba(tmp_path / "part", partition=lines)
    part = load_dataset("celeba", data_root=tmp_path / "part", image_size=4)
    assert (len(part.train), len(part.validation), len(part.test)) == (1, 1, 1)
    assert "2 of the 5 images that list_eval_partition.txt lists are not there." in part.notes
    assert "2 images are not listed in list_eval_partition.txt and were not used." in part.notes


BAD_CELEBA = {
    "another list": ({"partition": "<html>\n"}, {}, 'lines such as "000001.jpg 0"'),
    "another split": ({"partition": "000001.jpg 7\n"}, {}, r"0 \(train\), 1 .* got 7"),
    "a crop": ({}, {"crop": "center"}, "no --crop with celeba"),
    "packed bits": ({}, {"packed_bits": 8}, "--packed-bits only with a file"),
}


@pytest.mark.parametrize(("files", "options", "message"), BAD_CELEBA.values(), ids=BAD_CELEBA)
def test_bad_celeba(tmp_path, files, options, message):
    place_celeba(tmp_path, count=1, **files)
    with pytest.raises(InputError, match=message):
        load_dataset("celeba", data_root=tmp_path, **options)


def test_faces_that_are_cropped_already_are_refused(tmp_path):
    folder = place_celeba(tmp_path, count=3)
    Image.fromarray(FACES[0, :64, :64]).save(folder / "000002.jpg")
    with pytest.raises(InputError, match=r"at least 148 x 148 pixels.*got 64 x 64"):
        load_dataset("celeba", data_root=tmp_path)


@pytest.mark.parametrize("error", [RuntimeError("quota"), ModuleNotFoundError("No module named 'gdown'")])
def test_celeba_that_cannot_be_downloaded_says_where_to_place_it(tmp_path, monkeypatch, error):
    def fail(root, download):
        raise error

    pretend(monkeypatch, CelebA=fail)
    with pytest.raises(InputError, match=r"Could not download celeba .*place the images 000001.jpg"):
        load_dataset("celeba", data_root=tmp_path)
    (tmp_path / "celeba").mkdir()
    (tmp_path / "celeba" / "img_align_celeba.zip").write_bytes(b"")
    with pytest.raises(InputError, match=r"img_align_celeba\.zip alone\. Unpack it there"):
        load_dataset("celeba", data_root=tmp_path)
