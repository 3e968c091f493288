"""What a run says of itself."""

import math

import pytest
import scipy.stats

from pyro_vae.report import bits_per_dim, format_table


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


def test_tables_are_aligned():
    text = format_table([["split", "rows"], ["validation", "5"], ["test", "12345"]])
    lines = text.splitlines()
    assert lines[0] == "split        rows"
    assert set(lines[1]) == {"-"}
    assert lines[2] == "validation      5"
    assert len({len(line) for line in lines}) == 1
