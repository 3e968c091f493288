"""Each format, written here and read back: values, shapes, splits, labels, names."""

import numpy as np
import pytest
import torch
from PIL import Image

from pyro_vae.data import AsFloat, Dequantize, Rescale, load_dataset

GREY = np.random.default_rng(0).integers(0, 256, (30, 6, 5), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (30, 6, 5, 3), dtype=np.uint8)


def stored_rows(data):
    """All rows of all splits in the order they are stored in, without noise."""
    splits = (data.train, data.validation, data.test)
    rows = torch.cat([split.rows.take(torch.from_numpy(split.index)) for split in splits])
    return rows[np.argsort(np.concatenate([split.index for split in splits]))].numpy()


def save(path, array):
    np.save(path, array)
    return path


def test_npy_tables_and_images(tmp_path):
    table = load_dataset(save(tmp_path / "table.npy", GREY.reshape(30, 30)))
    assert table.data_shape == (30,)
    assert not table.is_image
    assert table.preprocessing == Dequantize(256)
    grey = load_dataset(save(tmp_path / "grey.npy", GREY))
    assert grey.data_shape == (6, 5)
    assert grey.is_image
    assert np.array_equal(stored_rows(grey), GREY.reshape(30, 30))
    assert grey.name == str(tmp_path / "grey.npy")
    single = load_dataset(save(tmp_path / "single.npy", GREY[:, None]))
    assert single.data_shape == (6, 5)


def test_colour_images_come_out_channels_first(tmp_path):
    last = load_dataset(save(tmp_path / "last.npy", COLOUR))
    first = load_dataset(save(tmp_path / "first.npy", COLOUR.transpose(0, 3, 1, 2)))
    assert last.data_shape == first.data_shape == (3, 6, 5)
    assert last.is_image
    expected = COLOUR.transpose(0, 3, 1, 2).reshape(30, 90)
    assert np.array_equal(stored_rows(last), expected)
    assert np.array_equal(stored_rows(first), expected)


def test_arrays_stored_column_by_column(tmp_path):
    rows = np.asfortranarray(np.random.default_rng(0).normal(size=(30, 4)))
    assert np.array_equal(stored_rows(load_dataset(save(tmp_path / "f.npy", rows))), rows.astype(np.float32))


@pytest.mark.parametrize(
    ("values", "dequantize", "preprocessing"),
    [
        (np.uint8([0, 1]), "auto", Dequantize(2)),
        (np.uint8([0, 9]), "auto", Dequantize(256)),
        (np.bool_([0, 1]), "auto", Dequantize(2)),
        (np.int64([3, 9]), "auto", Dequantize(7, 3)),
        (np.int16([-300, 300]), "auto", Dequantize(601, -300)),
        (np.uint16([0, 1000]), "auto", Dequantize(1001)),
        (np.int64([0, 2**50]), "none", Rescale(2**50)),
        (np.uint8([0, 9]), "none", Rescale(255)),
        (np.float32([0, 9]), "auto", AsFloat()),
        (np.float64([0.5, 9]), "none", AsFloat()),
    ],
)
def test_levels_follow_from_type_and_values(tmp_path, values, dequantize, preprocessing):
    path = save(tmp_path / "x.npy", np.tile(values, 20)[:, None])
    data = load_dataset(path, dequantize=dequantize)
    assert data.preprocessing == preprocessing
    x = data.train.tensor()
    assert torch.isfinite(x).all()
    assert ((x >= 0) & (x <= 1)).all() or isinstance(preprocessing, AsFloat)


def test_whole_numbers_stored_as_floats_are_mentioned(tmp_path):
    path = save(tmp_path / "x.npy", np.arange(600.0).reshape(200, 3))
    assert any("whole numbers but stored as floats" in note for note in load_dataset(path).notes)


def test_odd_but_legal_rows_are_mentioned(tmp_path):
    alike = load_dataset(save(tmp_path / "alike.npy", np.full((9, 3), 2.5)))
    assert alike.notes == ("All training rows are identical.", "There are only 7 training rows.")
    assert (alike.statistics()[1] == 0).all()
    constant = load_dataset(save(tmp_path / "ones.npy", np.ones((300, 2), np.int64)))
    assert constant.preprocessing == Dequantize(1, 1)
    assert (len(alike.train), len(alike.validation), len(alike.test)) == (7, 1, 1)


def test_npz_with_own_splits_labels_and_class_names(tmp_path):
    labels = np.arange(30) % 2
    np.savez(
        tmp_path / "x.npz",
        train=COLOUR[:20],
        valid=COLOUR[20:24],
        test=COLOUR[24:],
        train_labels=labels[:20],
        valid_labels=labels[20:24],
        test_labels=labels[24:],
        classes=np.array(["a", "b"]),
    )
    data = load_dataset(tmp_path / "x.npz")
    assert (len(data.train), len(data.validation), len(data.test)) == (20, 4, 6)
    assert data.class_names == ("a", "b")
    assert data.data_shape == (3, 6, 5)
    assert data.test.labels.tolist() == labels[24:].tolist()
    assert data.test.labels.dtype == torch.int64
    assert np.array_equal(stored_rows(data), COLOUR.transpose(0, 3, 1, 2).reshape(30, 90))


def test_npz_with_only_a_test_split_draws_validation_rows_from_train(tmp_path):
    np.savez(
        tmp_path / "x.npz",
        x_train=GREY[:20],
        y_train=np.arange(20),
        x_test=GREY[20:],
        y_test=np.arange(20, 30),
    )
    data = load_dataset(tmp_path / "x.npz")
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, 10)
    assert np.array_equal(data.validation.labels, data.validation.index)
    assert np.array_equal(data.test.labels, np.arange(20, 30))


@pytest.mark.parametrize(
    "keys", [("x", "y"), ("X", "labels"), ("data", "target"), ("images", None), ("any", None)]
)
def test_npz_with_one_table(tmp_path, keys):
    arrays = {keys[0]: GREY} | ({keys[1]: np.array(["b", "a"] * 15)} if keys[1] else {})
    np.savez(tmp_path / "x.npz", **arrays)
    data = load_dataset(tmp_path / "x.npz")
    assert np.array_equal(stored_rows(data), GREY.reshape(30, 30))
    assert data.class_names == (("a", "b") if keys[1] else None)
    assert data.train.labels is None or np.array_equal(data.train.labels, (data.train.index + 1) % 2)


def test_npz_reports_unused_arrays(tmp_path):
    np.savez(tmp_path / "x.npz", images=GREY, volume=np.zeros(30))
    assert "Arrays volume of x.npz were not used." in load_dataset(tmp_path / "x.npz").notes


def csv(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_of_integers_with_text_labels(tmp_path):
    lines = [f"{i},{-i},{'cat' if i % 3 else 'ant'}" for i in range(20)]
    data = load_dataset(csv(tmp_path / "x.csv", "\n".join(["a, b,class", *lines])))
    assert data.column_names == ("a", "b")
    assert data.class_names == ("ant", "cat")
    assert data.preprocessing == Dequantize(39, -19)
    assert np.array_equal(stored_rows(data), [[i, -i] for i in range(20)])
    assert np.array_equal(data.train.labels, (data.train.index % 3 > 0).astype(int))


def test_csv_of_floats_with_numbered_labels(tmp_path):
    lines = [f"{i}.5,{i},{i % 4}" for i in range(20)]
    data = load_dataset(csv(tmp_path / "x.csv", "\ufeffu,v,Target\n\n" + "\n".join(lines) + "\n"))
    assert data.preprocessing == AsFloat()
    assert data.class_names is None
    assert data.column_names == ("u", "v")
    assert np.array_equal(stored_rows(data), [[i + 0.5, i] for i in range(20)])
    assert np.array_equal(data.test.labels, data.test.index % 4)


def test_csv_of_truth_values_is_binary(tmp_path):
    path = csv(tmp_path / "x.csv", "a,b\n" + "True,0\nFalse,1\n" * 5)
    data = load_dataset(path, likelihood_kind="binary")
    assert data.preprocessing.description == "binary as stored"
    assert np.array_equal(stored_rows(data), [[1, 0], [0, 1]] * 5)


def test_amat_text(tmp_path):
    path = csv(tmp_path / "x.amat", "0 1 0 \n1 1 0 \n0 0 1 \n" * 4)
    data = load_dataset(path, likelihood_kind="binary")
    assert np.array_equal(stored_rows(data), [[0, 1, 0], [1, 1, 0], [0, 0, 1]] * 4)
    floats = load_dataset(csv(tmp_path / "y.amat", "0.5 1\n.25 2e3\n  1 -1\n"))
    assert np.array_equal(stored_rows(floats), [[0.5, 1], [0.25, 2000], [1, -1]])


def images(folder, arrays, ending="png"):
    folder.mkdir(parents=True, exist_ok=True)
    for i, array in enumerate(arrays):
        Image.fromarray(array).save(folder / f"{i:03}.{ending}")
    return folder


def test_folder_of_images(tmp_path):
    folder = images(tmp_path / "flat", GREY)
    (folder / "notes.txt").write_text("passed over")
    data = load_dataset(folder)
    assert data.data_shape == (6, 5)
    assert np.array_equal(stored_rows(data), GREY.reshape(30, 30))
    assert data.train.labels is None
    assert data.preprocessing == Dequantize(256)


def test_folder_of_classes(tmp_path):
    images(tmp_path / "dog", COLOUR[:10])
    images(tmp_path / "cat", COLOUR[10:])
    data = load_dataset(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert data.data_shape == (3, 6, 5)
    expected = np.concatenate([COLOUR[10:], COLOUR[:10]]).transpose(0, 3, 1, 2).reshape(30, 90)
    assert np.array_equal(stored_rows(data), expected)
    assert np.array_equal(data.train.labels, (data.train.index >= 20).astype(int))


def test_folder_with_own_splits(tmp_path):
    for split, rows in {"train": GREY[:20], "val": GREY[20:24], "test": GREY[24:]}.items():
        images(tmp_path / split / "a", rows[:2])
        images(tmp_path / split / "b", rows[2:])
    data = load_dataset(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (20, 4, 6)
    assert data.class_names == ("a", "b")
    assert np.array_equal(data.test.tensor().mul(256).floor(), GREY[24:].reshape(6, 30))
    assert data.test.labels.tolist() == [0, 0, 1, 1, 1, 1]


def test_black_and_white_and_palette_images(tmp_path):
    folder = images(tmp_path / "bw", [])
    for i in range(4):
        Image.fromarray(GREY[i] > 128).save(folder / f"{i}.png")
    assert np.array_equal(stored_rows(load_dataset(folder)), (GREY[:4] > 128).reshape(4, 30))
    folder = images(tmp_path / "palette", [])
    for i in range(4):
        Image.fromarray(COLOUR[i]).convert("P").save(folder / f"{i}.png")
    assert load_dataset(folder).data_shape == (3, 6, 5)


def test_the_hash_follows_the_data_and_not_the_container(tmp_path):
    rows = GREY.reshape(30, 30)
    npy = load_dataset(save(tmp_path / "x.npy", rows)).sha256
    np.savez_compressed(tmp_path / "x.npz", rows)
    assert load_dataset(tmp_path / "x.npz").sha256 == npy
    changed = rows.copy()
    changed[-1, -1] ^= 1
    assert load_dataset(save(tmp_path / "y.npy", changed)).sha256 != npy
    assert load_dataset(save(tmp_path / "z.npy", rows.reshape(30, 6, 5))).sha256 != npy


def test_the_hash_follows_labels_and_own_splits(tmp_path):
    def digest(**arrays):
        np.savez(tmp_path / "x.npz", **arrays)
        return load_dataset(tmp_path / "x.npz").sha256

    labels = np.arange(30)
    variants = [
        digest(x=GREY),
        digest(x=GREY, y=labels),
        digest(x=GREY, y=labels[::-1]),
        digest(train=GREY[:20], test=GREY[20:]),
        digest(train=GREY[:18], test=GREY[18:]),
    ]
    assert len(set(variants)) == 5
