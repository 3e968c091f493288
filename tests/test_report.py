"""The report of a run."""

import math
from dataclasses import replace

import pytest
import scipy.stats
import torch

from pyro_vae.data import load_dataset
from pyro_vae.experiment.text_table import bits_per_dim, format_table, nats


def test_bits_per_dimension_of_the_uniform_density_are_those_of_uniform_integers():
    assert bits_per_dim(0.0, data_dim=784, levels=256) == pytest.approx(8)


def test_bits_per_dimension_bound_the_entropy_of_the_integers():
    """A density that is constant on each integer's cell reaches the integers' own code length."""
    probabilities = [0.5, 0.25, 0.125, 0.125]
    # E log p(x) of the density 4 P(k) on [k / 4, (k + 1) / 4).
    elbo = sum(p * math.log(4 * p) for p in probabilities)
    assert bits_per_dim(elbo, data_dim=1, levels=4) == pytest.approx(
        scipy.stats.entropy(probabilities, base=2)
    )


def test_pictures_show_rows_from_all_over_a_sorted_split():
    digits = load_dataset("digits").test
    order = torch.argsort(digits.labels, stable=True)
    by_class = replace(digits, index=digits.index[order.numpy()], labels=digits.labels[order])
    spaced = by_class.evenly_spaced(20)
    shown, labels = spaced.tensor(), spaced.labels
    assert labels.unique().tolist() == list(range(10))
    assert torch.equal(shown[0], by_class.tensor()[0])
    assert torch.equal(shown[-1], by_class.tensor()[-1])


def test_tables_are_aligned():
    text = format_table([["split", "rows"], ["validation", "5"], ["test", "12345"]])
    lines = text.splitlines()
    assert lines[0] == "split        rows"
    assert set(lines[1]) == {"-"}
    assert lines[2] == "validation      5"
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-1.234, "-1.23"),
        (1234567.0, "1234567.00"),
        (-5.65e36, "-5.65e+36"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_numbers_of_nats_fit_into_a_table(value, text):
    assert nats(value) == text
