"""Columns far from 0 keep their digits on the way to float32."""

import numpy as np
import pytest
import torch

from pyro_vae.data import AsFloat, Centre, Rescale, load_dataset

N = 400
rng = np.random.default_rng(0)
NOISE = rng.normal(size=N)


def load(tmp_path, *columns, **options):
    np.save(tmp_path / "x.npy", np.stack(columns, axis=1))
    return load_dataset(tmp_path / "x.npy", **options)


KEPT = {
    "time stamps": 1.7e9 + 0.5 * np.arange(N),
    "a large offset": 1e9 + NOISE,
    "a larger one": 1e12 + NOISE,
    "negative": -1e9 + NOISE,
    "projected coordinates": 5.3e6 + 10 * NOISE,
    "zeros for missing": np.where(np.arange(N) % 4 == 0, 0.0, 1.7e9 + NOISE),
    "mostly zeros": np.where(np.arange(N) % 4 == 0, 1.7e9 + NOISE, 0.0),
    "one outlier": np.where(np.arange(N) == 7, -1e3, 1e9 + NOISE),
    "two values": 1e9 + np.arange(N) % 2,
    "extended precision": (1e9 + NOISE).astype(np.longdouble),
    "big-endian": (1e9 + NOISE).astype(">f8"),
}


@pytest.mark.parametrize("column", KEPT.values(), ids=KEPT)
def test_float_columns_far_from_zero_are_centred_first(tmp_path, column):
    data = load(tmp_path, column, NOISE.astype(column.dtype))
    assert isinstance(data.preprocessing, Centre)
    (shift, none), train = data.preprocessing.offset, column[data.train.index].astype(np.float64)
    assert none == 0
    x = data.train.tensor()
    assert x.dtype == torch.float32
    assert len(x[:, 0].unique()) == len(np.unique(train))
    np.testing.assert_allclose(x[:, 0], train - shift, rtol=1e-6, atol=1e-9 * np.abs(shift))
    mean, std = data.statistics()
    assert mean[0].item() == pytest.approx((train - shift).mean(), abs=1e-6 * std[0].item())
    assert std[0].item() == pytest.approx((train - shift).std(), rel=1e-9)
    assert any("float32 would round away digits of column 0 " in note for note in data.notes)
    assert not any("Even so" in note for note in data.notes)


def test_memory_mapped_tables_and_batches_are_centred_too(tmp_path):
    data = load(tmp_path, KEPT["a large offset"], NOISE)
    fixed = data.train.tensor()
    drawn = torch.cat([x for (x,) in data.train.batches(32, seed=0).epoch(0)])
    assert torch.equal(drawn[drawn[:, 0].argsort()], fixed[fixed[:, 0].argsort()])
    lines = [f"{a!r},{b!r}" for a, b in zip(KEPT["a large offset"].tolist(), NOISE.tolist(), strict=True)]
    (tmp_path / "x.csv").write_text("\n".join(["a,b", *lines]), encoding="utf-8")
    table = load_dataset(tmp_path / "x.csv")
    # pandas before 3.1 may read the last bit of a double differently, which moves the last bit of a float32
    torch.testing.assert_close(table.train.tensor(), fixed, rtol=0, atol=6e-7)
    assert any("digits of column 'a', whose" in note for note in table.notes)


def test_what_float32_cannot_hold_even_so_is_mentioned(tmp_path):
    data = load(tmp_path, np.arange(N) % 2 * 1e9 + NOISE)
    assert isinstance(data.preprocessing, Centre)
    assert any(note.startswith("Even then float32 cannot hold all digits of column 0") for note in data.notes)


@pytest.mark.parametrize(
    "column",
    [
        NOISE,
        100 + NOISE,
        np.full(N, 1e9 + 0.1),
        0.3 + 1e-16 * (np.arange(N) % 3),
        np.exp(5 * NOISE),
        NOISE * 1e-30,
    ],
    ids=["standard", "near", "constant", "rounding", "heavy tails", "tiny"],
)
def test_other_columns_stay_as_stored(tmp_path, column):
    assert load(tmp_path, column, NOISE).preprocessing == AsFloat()


@pytest.mark.parametrize("start", [1_700_000_000, 1_700_000_000_000_000_000, 0])
def test_integers_without_noise_keep_their_digits(tmp_path, start):
    stamps = start + np.arange(N)
    data = load(tmp_path, stamps, np.arange(N) % 7, dequantize="none")
    x = data.train.tensor().double().numpy()
    if start == 0:
        assert data.preprocessing == Rescale(N - 1)
    else:
        difference = (stamps - int(data.preprocessing.offset[0]))[data.train.index]
        assert np.array_equal(x[:, 0], difference)
        assert np.array_equal(x[:, 1], data.train.index % 7)
