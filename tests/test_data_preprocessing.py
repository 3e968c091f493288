"""What stored rows become: exact inverses, moments in closed form, binarization against its probabilities."""

import dataclasses
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_vae.data import AsFloat, BinarizeDynamic, BinarizeStatic, Centre, Dequantize, Rescale
from pyro_vae.data.preprocessing import PREPROCESSINGS

EXTREMES = torch.tensor([0.0, 2.0**-24, 1e-6, 0.5, 1 - 1e-6, 1 - 2.0**-24])


@pytest.mark.slow
@settings(deadline=None)
@given(levels=st.integers(1, 2**20), low=st.sampled_from([0, -7, 5, 10**12]))
def test_dequantized_values_floor_back_to_the_integers(levels, low):
    offsets = torch.tensor(sorted({0, 1, levels // 2, levels - 2, levels - 1} & set(range(levels))))
    rows = (low + offsets)[:, None].expand(-1, len(EXTREMES))
    x = Dequantize(levels, low)(rows, EXTREMES.expand(rows.shape))
    assert x.dtype == torch.float32
    assert (x >= 0).all()
    assert (x < 1).all()
    assert torch.equal((x.double() * levels).floor().long() + low, rows)
    assert torch.equal((x * levels).floor().long() + low, rows)


@pytest.mark.parametrize("levels", [2, 17, 256, 1000])
def test_dequantization_noise_is_neither_shrunk_nor_shifted(levels):
    """The density of u in its cell is 1: a shrunk cell would be worth -log2(share) bits per dimension."""
    cells = 2**16
    noise = ((torch.arange(cells) + 0.5) / cells)[:, None]
    for k in {0, levels // 2, levels - 1}:
        x = Dequantize(levels)(torch.full((cells, 1), k), noise).double() * levels - k
        inner = (noise > 0.001) & (noise < 0.999)
        slope = (x[inner][-1] - x[inner][0]) / (noise[inner][-1] - noise[inner][0])
        assert abs(math.log2(slope)) < levels * 2.0**-22
        assert abs(x.mean().item() - 1 / 2) < levels * 2.0**-22
        assert x.var(correction=0).item() == pytest.approx(1 / 12, rel=1e-5)


def test_dequantize_leaves_rows_and_noise_untouched():
    rows, noise = torch.tensor([[3, 200]], dtype=torch.uint8), torch.full((1, 2), 0.25)
    x = Dequantize(256)(rows, noise)
    torch.testing.assert_close(x, torch.tensor([[3.25, 200.25]]) / 256, atol=1e-6, rtol=0)
    assert rows.tolist() == [[3, 200]]
    assert noise.tolist() == [[0.25, 0.25]]


def test_dequantized_moments_are_those_of_the_integers_plus_uniform_noise():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(-3, 14, (20000, 1), generator=generator)
    noise = torch.rand(rows.shape, generator=generator)
    preprocessing = Dequantize(17, -3)
    mean, variance = preprocessing.moments(rows.double().mean(0), rows.double().var(0, correction=0))
    x = preprocessing(rows, noise).double()
    # Given the rows, only the noise is random: its mean has variance 1/12 / 17^2 / N.
    assert abs(x.mean() - mean).item() < 4 * math.sqrt(1 / 12 / 17**2 / len(rows))
    assert x.var(0, correction=0).item() == pytest.approx(variance.item(), rel=4 * math.sqrt(2 / len(rows)))


@pytest.mark.parametrize(
    ("preprocessing", "stored", "x"),
    [
        (AsFloat(), [-1.5, 2.0], [-1.5, 2.0]),
        (Centre((2.0, 0.0)), [-1.5, 2.0], [-3.5, 2.0]),
        (Centre((1.7e15, 0.0)), [17 * 10**14 + 3, 2], [3.0, 2.0]),
        (Rescale(16), [0, 8, 16], [0.0, 0.5, 1.0]),
        (Rescale(30, -10), [-10, 0, 30], [0.0, 0.25, 1.0]),
        (Rescale(10**12 + 4, 10**12), [10**12, 10**12 + 1], [0.0, 0.25]),
        (Rescale(7, 7), [7, 7], [0.0, 0.0]),
    ],
)
def test_values_without_noise(preprocessing, stored, x):
    rows = torch.tensor([stored])
    assert preprocessing(rows).tolist() == [x]
    constant = torch.zeros(len(stored), dtype=torch.float64)
    mean, variance = preprocessing.moments(rows[0].double(), constant)
    assert mean.tolist() == pytest.approx(x)
    assert variance.tolist() == [0.0] * len(x)


@pytest.mark.parametrize("kind", [BinarizeStatic, BinarizeDynamic])
def test_binarized_values_are_bernoulli_with_the_grey_probability(kind):
    rows = torch.tensor([[0, 51, 128, 255]], dtype=torch.uint8).expand(40000, 4)
    noise = torch.rand(rows.shape, generator=torch.Generator().manual_seed(0))
    x = kind(255)(rows, noise).double()
    grey = rows[0].double() / 255
    assert set(x.unique().tolist()) == {0.0, 1.0}
    standard_error = (grey * (1 - grey) / len(rows)).sqrt()
    assert ((x.mean(0) - grey).abs() <= 4 * standard_error).all()
    mean, variance = kind(255).moments(rows[0].double(), torch.zeros(4, dtype=torch.float64))
    torch.testing.assert_close(mean, grey)
    torch.testing.assert_close(variance, grey * (1 - grey))


def test_grey_floats_binarize_as_they_are():
    x = BinarizeStatic(1)(torch.tensor([[0.0, 0.5, 0.5, 1.0]]), torch.tensor([[0.0, 0.4, 0.6, 0.99]]))
    assert x.tolist() == [[0.0, 1.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    ("preprocessing", "description", "levels", "redrawn"),
    [
        (AsFloat(), "as stored", None, False),
        (
            Centre((0.0, 1e9)),
            "as stored, minus a constant in 1 of 2 columns (densities are unchanged)",
            None,
            False,
        ),
        (Dequantize(17), "dequantized, 17 levels, x in [0, 1)", 17, True),
        (Dequantize(31, 1990), "dequantized, 31 levels from 1990, x in [0, 1)", 31, True),
        (Rescale(255), "x / 255", None, False),
        (Rescale(5, -3), "(x + 3) / 8", None, False),
        (Rescale(5, 1), "(x - 1) / 4", None, False),
        (BinarizeStatic(255), "static binarization, own seed 0 (not Larochelle's)", None, False),
        (
            BinarizeDynamic(255),
            "dynamic binarization (one fixed draw, own seed 0, outside training)",
            None,
            True,
        ),
    ],
)
def test_each_names_itself(preprocessing, description, levels, redrawn):
    assert preprocessing.description == description
    assert preprocessing.levels == levels
    assert preprocessing.redrawn == redrawn


@pytest.mark.parametrize("kind", PREPROCESSINGS.values(), ids=PREPROCESSINGS)
def test_each_can_be_written_down_and_made_again(kind):
    made = kind(*{"Centre": [(0.0, 1e9)], "AsFloat": []}.get(kind.__name__, [255]))
    fields = json.loads(json.dumps(dataclasses.asdict(made)))
    again = kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()})
    assert again == made
    assert hash(again) == hash(made)
