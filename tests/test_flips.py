"""Random flips of training images: each row as itself or mirrored, evenly, as a function of the seed."""

import numpy as np
import pytest
import torch
from helpers import assert_within_sigma

from pyro_vae.data import AsFloat, BinarizeDynamic, BinarizeStatic, Dequantize, Split, load_dataset
from pyro_vae.data.augmentation import HorizontalFlip
from pyro_vae.data.stored import rows_of
from pyro_vae.processes import Processes

N, EPOCHS = 40, 50
SHAPES = {"grey": (4, 6), "colour": (3, 4, 6), "one pixel wide": (5, 1), "odd width": (2, 5)}
PREPROCESSINGS = [AsFloat(), Dequantize(256), BinarizeStatic(255), BinarizeDynamic(255)]


def images(shape):
    """Images of which no two are alike, nor mirror images of one another."""
    return np.random.default_rng(1).integers(0, 256, (N, *shape), dtype=np.uint8)


def split_of(array, preprocessing, tmp_path=None, flip=True):
    if tmp_path is not None:
        np.save(tmp_path / "x.npy", array)
        array = np.load(tmp_path / "x.npy", mmap_mode="r")
    augmentation = HorizontalFlip(array.shape[-1]) if flip else None
    return Split("train", rows_of(array, 0, 255), np.arange(N), preprocessing, augmentation=augmentation)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_mirrored_is_numpy_fliplr(shape):
    array = images(shape)
    rows = torch.from_numpy(array.reshape(N, -1))
    expected = array[..., ::-1].reshape(N, -1)
    assert np.array_equal(HorizontalFlip(shape[-1]).mirrored(rows), expected)


@pytest.mark.parametrize("shape", [(4, 6), (3, 4, 6)])
def test_each_row_is_mirrored_about_half_of_the_time(shape):
    array = images(shape)
    batches = split_of(array, AsFloat()).batches(7, seed=3)
    own, mirrored = (x.reshape(N, -1).astype(np.float32) for x in (array, array[..., ::-1]))
    seen = np.zeros((N, 2))
    for epoch in range(EPOCHS):
        x = torch.cat([x for (x,) in batches.epoch(epoch)]).numpy()
        as_itself, as_mirror = ((x[:, None] == known).all(2) for known in (own, mirrored))
        assert (as_itself ^ as_mirror).sum(1).tolist() == [1] * N  # one known image, in one of its two forms
        seen[:, 0] += as_itself.any(0)
        seen[:, 1] += as_mirror.any(0)
    assert (seen.sum(1) == EPOCHS).all()
    assert_within_sigma(seen[:, 1] / EPOCHS, 1 / 2, np.sqrt(1 / 4 / EPOCHS))
    assert_within_sigma(seen[:, 1].mean() / EPOCHS, 1 / 2, np.sqrt(1 / 4 / EPOCHS / N))


@pytest.mark.parametrize("where", ["memory", "file"])
@pytest.mark.parametrize("preprocessing", PREPROCESSINGS)
def test_pixels_are_those_of_the_image_or_its_mirror_image_under_every_preprocessing(
    preprocessing, where, tmp_path
):
    """Black and white, so that no noise changes a pixel's integer."""
    array = np.where(images((4, 6)) > 127, 255, 0).astype(np.uint8)
    split = split_of(array, preprocessing, tmp_path if where == "file" else None)
    (x,) = next(iter(split.batches(N, seed=0).epoch(1)))
    known = torch.from_numpy(np.concatenate([array, array[..., ::-1]])).flatten(1) == 255
    matches = (x[:, None] > x.max() / 2).eq(known).all(2)
    assert (matches.sum(1) == 1).all()
    assert 0 < matches[:, N:].any(1).sum() < N


@pytest.mark.parametrize("where", ["memory", "file"])
@pytest.mark.parametrize("preprocessing", PREPROCESSINGS)
def test_an_epoch_with_flips_resumes_to_the_bit_from_any_step(preprocessing, where, tmp_path):
    split = split_of(images((4, 6)), preprocessing, tmp_path if where == "file" else None)
    whole = [x for (x,) in split.batches(9, seed=5).epoch(2)]
    for start in range(len(whole) + 1):
        torch.manual_seed(start)  # the global random state plays no part
        rest = [x for (x,) in split.batches(9, seed=5).epoch(2, start)]
        assert all(torch.equal(a, b) for a, b in zip(rest, whole[start:], strict=True))
    assert not torch.equal(torch.cat(whole), torch.cat([x for (x,) in split.batches(9, seed=6).epoch(2)]))


def test_evaluation_has_no_flips_and_training_without_them_is_unchanged():
    array = images((4, 6))
    flipped, plain = split_of(array, Dequantize(256)), split_of(array, Dequantize(256), flip=False)
    assert torch.equal(flipped.tensor(), plain.tensor())
    assert flipped.select(slice(0, 9)).augmentation == HorizontalFlip(6)
    assert plain.description == Dequantize(256).description
    assert flipped.description == f"{plain.description}, training rows flipped left-right at random"
    # The order of the rows is the same; the noise is not, since the flips are drawn before it.
    pairs = zip(flipped.batches(8, seed=0).epoch(0), plain.batches(8, seed=0).epoch(0), strict=True)
    for (a,), (b,) in pairs:
        a, b = ((x.reshape(-1, 4, 6) * 256).floor() for x in (a, b))
        assert torch.equal(a.sum((1, 2)), b.sum((1, 2)))


def test_each_process_flips_its_own_rows():
    class One(Processes):
        count = 2

        def __init__(self, rank):
            self.rank = rank

    flipped, plain = (split_of(images((4, 6)), AsFloat(), flip=flip) for flip in (True, False))
    parts = [[x for (x,) in flipped.batches(8, seed=0, processes=One(rank)).epoch(0)] for rank in (0, 1)]
    together = torch.cat([torch.cat(pair) for pair in zip(*parts, strict=True)]).reshape(N, 4, 6)
    order = torch.cat([x for (x,) in plain.batches(8, seed=0).epoch(0)]).reshape(N, 4, 6)
    as_itself, as_mirror = ((together == form).flatten(1).all(1) for form in (order, order.flip(2)))
    assert (as_itself ^ as_mirror).all()
    first, second = as_mirror.reshape(-1, 2, 4).movedim(1, 0)
    assert not torch.equal(first, second)


def test_statistics_are_those_of_rows_and_mirror_images_together():
    data = load_dataset("digits", flip="horizontal")
    rows = data.train.rows.tensor[data.train.index].double().numpy().reshape(-1, 8, 8)
    both = np.concatenate([rows, rows[..., ::-1]]).reshape(-1, 64)
    mean, std = data.statistics()
    np.testing.assert_allclose(mean, (both.mean(0) + 1 / 2) / 17, rtol=1e-12)
    np.testing.assert_allclose(std, np.sqrt(both.var(0) + 1 / 12) / 17, rtol=1e-12)
    binary = load_dataset("digits", flip="horizontal", likelihood_kind="binary", binarize="dynamic")
    p = both.mean(0) / 16
    mean, std = binary.statistics()
    np.testing.assert_allclose(mean, p, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(std, np.sqrt(p * (1 - p)), rtol=1e-9, atol=1e-9)


def test_the_hash_of_the_data_does_not_depend_on_flips():
    assert load_dataset("digits", flip="horizontal").sha256 == load_dataset("digits").sha256
