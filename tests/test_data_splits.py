"""Splits, fixed draws, batches and statistics: the same rows and noise for every run, whatever the blocks."""

import hashlib
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_vae.data import AsFloat, BinarizeDynamic, BinarizeStatic, Dequantize, Split, load_dataset
from pyro_vae.data.batch_order import uniform_noise
from pyro_vae.data.fixed_draws import draw_splits, fixed_noise
from pyro_vae.data.row_tensors import MappedRows, TensorRows
from pyro_vae.data.stored import Stored, rows_of


def random_rows(count=50, dim=6):
    return np.random.default_rng(3).integers(0, 256, (count, dim), dtype=np.uint8)


def split_of(rows, preprocessing, index=None):
    """A split of the even rows by default."""
    return Split("train", rows, np.arange(0, len(rows), 2) if index is None else index, preprocessing)


def mapped(rows, tmp_path):
    np.save(tmp_path / "rows.npy", rows)
    return rows_of(np.load(tmp_path / "rows.npy", mmap_mode="r"), 0, 255)


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@given(count=st.integers(3, 400))
def test_splits_are_disjoint_cover_all_rows_and_never_change(count):
    stored = Stored("rows", np.zeros((count, 1)))
    splits = draw_splits(stored)
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(count))
    assert len(splits["test"]) == len(splits["validation"]) == max(1, count // 10)
    again = draw_splits(Stored("rows", np.ones((count, 1))))
    assert all(np.array_equal(splits[name], again[name]) for name in splits)


def test_own_splits_are_kept_and_only_the_missing_one_is_drawn():
    own = {"train": np.arange(40), "test": np.arange(40, 60)}
    splits = draw_splits(Stored("rows", np.zeros((60, 1)), given=own))
    assert np.array_equal(splits["test"], own["test"])
    assert np.array_equal(np.union1d(splits["train"], splits["validation"]), own["train"])
    assert len(splits["validation"]) == 4


def test_digits_are_split_once_and_for_all(digits):
    assert (len(digits.train), len(digits.validation), len(digits.test)) == (1297, 250, 250)
    index = np.concatenate([digits.train.index, digits.validation.index, digits.test.index])
    # A changed split makes all published numbers incomparable.
    assert hashlib.sha256(index.tobytes()).hexdigest()[:12] == "6b63f9b0fb66"
    assert hashlib.sha256(fixed_noise(index, 64).numpy().tobytes()).hexdigest()[:12] == "2fc64fe12c69"


def test_fixed_noise_depends_on_the_row_and_nothing_else():
    index = np.array([7, 0, 2**40, 7])
    noise = fixed_noise(index, 5)
    assert torch.equal(noise[0], noise[3])
    assert torch.equal(noise[1:2], fixed_noise(np.array([0]), 5))
    assert torch.equal(
        noise[0], torch.from_numpy(np.random.Generator(np.random.Philox(key=[0, 7])).random(5, np.float32))
    )
    assert len(noise[:3].unique()) == 15


def test_fixed_noise_is_uniform():
    noise = fixed_noise(np.arange(4000), 25).double().numpy()
    count = noise.size
    assert abs(noise.mean() - 1 / 2) < 4 * np.sqrt(1 / 12 / count)
    assert abs(noise.var() - 1 / 12) < 4 * np.sqrt(1 / 180 / count)
    neighbours = np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]
    assert abs(neighbours) < 4 / np.sqrt(count)


@pytest.mark.parametrize(
    "preprocessing", [Dequantize(256), BinarizeStatic(255), BinarizeDynamic(255), AsFloat()]
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_blocks_have_one_fixed_draw_whatever_their_size(preprocessing, size, tmp_path):
    rows = random_rows()
    split = split_of(rows_of(rows, 0, 255), preprocessing)
    x = split.tensor()
    assert x.dtype == torch.float32
    assert x.shape == (25, 6)
    assert torch.equal(torch.cat([block for (block,) in split.blocks(size)]), x)
    assert torch.equal(split_of(mapped(rows, tmp_path), preprocessing).tensor(), x)
    backwards = split_of(rows_of(rows, 0, 255), preprocessing, split.index[::-1].copy())
    assert torch.equal(backwards.tensor().flip(0), x)


def test_uniform_noise_is_uniform_and_open():
    noise = uniform_noise(torch.Size([501, 399]), torch.Generator().manual_seed(0)).double()
    count = noise.numel()
    assert 0 < noise.min() < 2**-12
    assert 1 - 2**-12 < noise.max() < 1
    assert abs(noise.mean() - 1 / 2) < 4 * np.sqrt(1 / 12 / count)
    assert abs(noise.var() - 1 / 12) < 4 * np.sqrt(1 / 180 / count)
    counts = torch.histc(noise, 64, 0, 1)
    assert ((counts - count / 64) ** 2 / (count / 64)).sum() < 63 + 4 * np.sqrt(2 * 63)


@settings(deadline=None, max_examples=30)
@given(
    count=st.integers(1, 40),
    batch_size=st.integers(1, 50),
    seed=st.integers(0, 2**63 - 1),
    epoch=st.integers(0, 99),
)
def test_an_epoch_is_a_permutation_of_the_rows(count, batch_size, seed, epoch):
    rows = TensorRows(torch.arange(2 * count)[:, None])
    batches = split_of(rows, AsFloat()).batches(batch_size, seed=seed)
    seen = [len(x) for (x,) in batches.epoch(epoch)]
    assert len(seen) == len(batches) == -(-count // batch_size)
    assert seen[:-1] == [batch_size] * (len(seen) - 1)
    assert batches.num_examples == count
    x = torch.cat([x for (x,) in batches.epoch(epoch)])
    assert sorted(x[:, 0].tolist()) == list(range(0, 2 * count, 2))


@pytest.mark.parametrize("where", ["memory", "file"])
@pytest.mark.parametrize(
    "preprocessing", [Dequantize(256), BinarizeDynamic(255), BinarizeStatic(255), AsFloat()]
)
def test_an_epoch_resumes_to_the_bit_from_any_step(preprocessing, where, tmp_path):
    stored = mapped(random_rows(), tmp_path) if where == "file" else rows_of(random_rows(), 0, 255)
    split = split_of(stored, preprocessing)
    whole = [x for (x,) in split.batches(4, seed=5).epoch(2)]
    assert [len(x) for x in whole] == [4] * 6 + [1]
    for start in range(len(whole) + 1):
        torch.manual_seed(start)  # the global random state plays no part
        rest = [x for (x,) in split.batches(4, seed=5).epoch(2, start)]
        assert len(rest) == len(whole) - start
        assert all(torch.equal(a, b) for a, b in zip(rest, whole[start:], strict=True))


def test_batches_leave_the_global_random_state_unchanged(digits):
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    next(digits.train.batches(8, seed=0).epoch(0))
    digits.test.tensor()
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_order_and_noise_change_with_epoch_and_seed(digits):
    def first(seed, epoch):
        return next(digits.train.batches(64, seed=seed).epoch(epoch))[0]

    drawn = [first(0, 0), first(0, 1), first(1, 0)]
    assert torch.equal(drawn[0], first(0, 0))
    for i in range(3):
        for j in range(i):
            assert not torch.equal((drawn[i] * 17).floor(), (drawn[j] * 17).floor())
    same_row = Split("one", digits.train.rows, digits.train.index[:1], digits.preprocessing).batches(
        1, seed=0
    )
    noises = torch.cat([x for epoch in range(3) for (x,) in same_row.epoch(epoch)])
    assert len((noises * 17).floor().unique(dim=0)) == 1
    assert len(noises.unique(dim=0)) == 3


def in_order(split, seed, epoch):
    """One epoch's x, rows sorted so that epochs can be compared."""
    x = torch.cat([x for (x,) in split.batches(7, seed=seed).epoch(epoch)])
    return x[np.lexsort(x.numpy().T)]


@pytest.mark.parametrize("where", ["memory", "file"])
def test_static_binarization_trains_on_the_fixed_draw_each_epoch(where, tmp_path):
    stored = mapped(random_rows(), tmp_path) if where == "file" else rows_of(random_rows(), 0, 255)
    split = split_of(stored, BinarizeStatic(255))
    x = split.tensor()
    for seed, epoch in [(0, 0), (0, 1), (9, 4)]:
        assert torch.equal(in_order(split, seed, epoch), x[np.lexsort(x.numpy().T)])


def test_dynamic_binarization_has_the_grey_mean_and_changes_each_epoch():
    grey = random_rows(40)
    split = split_of(rows_of(grey, 0, 255), BinarizeDynamic(255), np.arange(40))
    assert not torch.equal(in_order(split, 0, 0), in_order(split, 0, 1))
    epochs = 200
    sums = sum(
        x.double().sum(0) for epoch in range(epochs) for (x,) in split.batches(16, seed=0).epoch(epoch)
    )
    p = grey / 255.0
    standard_error = np.sqrt((p * (1 - p)).sum(0) / epochs) / 40
    assert (np.abs(sums.numpy() / epochs / 40 - p.mean(0)) < 4 * standard_error).all()


def test_statistics_are_those_of_the_integers(digits):
    from sklearn.datasets import load_digits

    mean, std = digits.statistics()
    integers = load_digits().data[digits.train.index]
    np.testing.assert_allclose(mean, (integers.mean(0) + 1 / 2) / 17, rtol=1e-13)
    np.testing.assert_allclose(std, np.sqrt(integers.var(0) + 1 / 12) / 17, rtol=1e-13)
    assert digits.notes == ("3 of 64 columns are constant in the training rows.",)


def test_statistics_of_floats_are_merged_over_chunks_without_loss(monkeypatch):
    rows = (1e4 + np.random.default_rng(0).normal(size=(1000, 3)) * [1, 10, 0]).astype(np.float32)
    monkeypatch.setattr("pyro_vae.data.stored.CHUNK", 100)
    mean, variance = split_of(rows_of(rows, 0, 0), AsFloat(), np.arange(1000)).stored_moments
    np.testing.assert_allclose(mean, rows.mean(0, dtype=np.float64), rtol=1e-13)
    np.testing.assert_allclose(variance, rows.astype(np.float64).var(0), rtol=1e-9)
    assert variance[2] == 0


def test_statistics_of_binarized_data_are_bernoulli_moments():
    data = load_dataset("digits", likelihood_kind="binary", binarize="dynamic")
    mean, std = data.statistics()
    grey = load_dataset("digits", dequantize="none").train.tensor().double().mean(0)
    torch.testing.assert_close(mean, grey)
    torch.testing.assert_close(std, (grey * (1 - grey)).sqrt())


def test_rows_are_held_in_the_smallest_type_that_fits():
    cases = {(0, 255): torch.uint8, (-1, 255): torch.int16, (0, 2**20): torch.int32, (0, 2**40): torch.int64}
    for (low, high), dtype in cases.items():
        rows = rows_of(np.array([[low], [high]]), low, high)
        assert rows.tensor.dtype == dtype
        assert rows.tensor.tolist() == [[low], [high]]
    assert rows_of(np.zeros((2, 3, 4)), 0, 0).tensor.dtype == torch.float32


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">i4", "float64", "float16", "bool"])
def test_mapped_rows_are_returned_in_the_requested_order(dtype, tmp_path):
    array = random_rows().astype(dtype).reshape(50, 2, 3)
    rows = mapped(array, tmp_path)
    assert isinstance(rows, MappedRows)
    index = torch.tensor([9, 0, 49, 9])
    assert torch.equal(
        rows.take(index).double(), torch.from_numpy(array[index].reshape(4, 6).astype(np.float64))
    )


@pytest.mark.slow
@pytest.mark.parametrize("binarize", ["none", "static"])
def test_a_memory_mapped_file_is_not_loaded_completely(tmp_path, binarize, monkeypatch):
    """48 MB on disk; reading, training and evaluating together stay under a sixth of it."""
    rows = np.lib.format.open_memmap(tmp_path / "large.npy", "w+", np.uint8, (60000, 800))
    rows[::7] = np.arange(800) % 256
    rows.flush()
    del rows
    monkeypatch.setattr("pyro_vae.data.stored.CHUNK", 2**17)
    kind = "continuous" if binarize == "none" else "binary"
    tracemalloc.start()
    data = load_dataset(tmp_path / "large.npy", likelihood_kind=kind, binarize=binarize)
    data.statistics()
    batches = data.train.batches(100, seed=0)
    seen = sum(len(x) for step, (x,) in zip(range(20), batches.epoch(0), strict=False))
    blocks = sum(len(x) for step, (x,) in zip(range(3), data.test.blocks(), strict=False))
    peak = tracemalloc.get_traced_memory()[1]  # numpy's allocations, which is where the file is read into
    tracemalloc.stop()
    assert (seen, blocks) == (2000, 3000)
    assert peak < 8e6
    assert isinstance(data.train.rows, MappedRows)
