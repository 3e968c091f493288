"""The named data sets: small copies made here, and the real files where PYRO_VAE_DATA points at them."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from pyro_vae.data import DATASETS, Dequantize, load_dataset
from pyro_vae.data.named_datasets import read_named

FOLDERS = {
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "binarized-mnist": "binarized-mnist",
    "frey-face": "frey-face",
    "cifar-10": "cifar-10-batches-bin",
}


def test_digits_need_no_files():
    data = load_dataset("digits")
    assert data.data_shape == (8, 8)
    assert data.is_image
    assert data.preprocessing == Dequantize(17)
    assert data.class_names == tuple("0123456789")
    assert data.data_dim == data.train.data_dim == 64


def test_digits_binarize_with_a_description_of_their_own():
    data = load_dataset("digits", likelihood_kind="binary", binarize="static")
    assert set(data.test.tensor().unique().tolist()) == {0.0, 1.0}
    assert "not Larochelle's" in data.preprocessing.description


@pytest.mark.parametrize("compressed", [False, True])
def test_idx_files_plain_or_compressed(tmp_path, compressed):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    arrays = {
        "train-images-idx3": np.random.default_rng(0).integers(0, 256, (9, 28, 28), dtype=np.uint8),
        "train-labels-idx1": np.arange(9, dtype=np.uint8),
        "t10k-images-idx3": np.random.default_rng(1).integers(0, 256, (3, 28, 28), dtype=np.uint8),
        "t10k-labels-idx1": np.arange(3, dtype=np.uint8),
    }
    for name, array in arrays.items():
        content = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
        path = folder / f"{name}-ubyte{'.gz' if compressed else ''}"
        path.write_bytes(gzip.compress(content) if compressed else content)
    stored = read_named("mnist", tmp_path)
    assert np.array_equal(
        stored.array, np.concatenate([arrays["train-images-idx3"], arrays["t10k-images-idx3"]])
    )
    assert stored.labels.tolist() == [*range(9), *range(3)]
    assert stored.given["test"].tolist() == [9, 10, 11]


@pytest.mark.parametrize("layout", ["packed", "text", "text in the root"])
def test_binarized_mnist_in_each_layout(tmp_path, monkeypatch, layout):
    rows = np.random.default_rng(0).integers(0, 2, (12, 784), dtype=np.uint8)
    parts = {"train": rows[:6], "valid": rows[6:9], "test": rows[9:]}
    folder = tmp_path / ("" if "root" in layout else "binarized-mnist")
    folder.mkdir(exist_ok=True)
    if layout == "packed":
        np.savez(
            folder / "binarized_mnist.npz",
            **{name: np.packbits(part, axis=1) for name, part in parts.items()},
        )
    else:
        for name, part in parts.items():
            np.savetxt(folder / f"binarized_mnist_{name}.amat", part, "%d")
    monkeypatch.setenv("PYRO_VAE_DATA", str(tmp_path))
    data = load_dataset("binarized-mnist", likelihood_kind="binary")
    assert data.preprocessing.description == "static binarization (Larochelle)"
    assert data.data_shape == (28, 28)
    for split, part in zip((data.train, data.validation, data.test), parts.values(), strict=True):
        assert np.array_equal(split.tensor(), part)


def test_frey_face_is_upright(tmp_path):
    from scipy.io import savemat

    frames = np.random.default_rng(0).integers(0, 256, (20, 28, 20), dtype=np.uint8)
    savemat(tmp_path / "frey_rawface.mat", {"ff": frames.reshape(20, 560).T})
    stored = read_named("frey-face", tmp_path)
    assert np.array_equal(stored.array, frames)
    assert load_dataset("frey-face", data_root=tmp_path).data_shape == (28, 20)


@pytest.fixture(params=FOLDERS)
def real(request):
    root = os.environ.get("PYRO_VAE_DATA")
    if not root or not (Path(root) / FOLDERS[request.param]).is_dir():
        pytest.skip(f"no folder {FOLDERS[request.param]} under PYRO_VAE_DATA")
    return load_dataset(request.param)


SIZES = {
    "mnist": (55000, 5000, 10000),
    "fashion-mnist": (55000, 5000, 10000),
    "binarized-mnist": (50000, 10000, 10000),
    "frey-face": (1573, 196, 196),
    "cifar-10": (45000, 5000, 10000),
}


@pytest.mark.slow
def test_real_files(real):
    assert (len(real.train), len(real.validation), len(real.test)) == SIZES[real.name]
    assert real.is_image
    index = np.concatenate([split.index for split in (real.train, real.validation, real.test)])
    assert np.array_equal(np.sort(index), np.arange(sum(SIZES[real.name])))
    levels = real.preprocessing.levels
    assert levels == (2 if real.name == "binarized-mnist" else 256)
    mean, std = real.statistics()
    block = real.train.rows.tensor[real.train.index].numpy()
    np.testing.assert_allclose(mean, (block.mean(0, dtype=np.float64) + 1 / 2) / levels, rtol=1e-12)
    assert (std >= np.sqrt(1 / 12) / levels).all()
    (x,) = next(iter(real.test.blocks(100)))
    assert np.array_equal((x * levels).floor(), real.test.rows.tensor[real.test.index[:100]])


def test_every_name_is_explained():
    assert set(FOLDERS) | {"digits", "celeba"} == set(DATASETS)
    assert all(DATASETS.values())
