"""Means with errors, evenly spaced rows, derived seeds: each in one place."""

import math

import numpy as np
import pytest
import torch
from helpers import assert_within_sigma
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import sem

from pyro_vae.evenly_spaced import evenly_spaced_rows
from pyro_vae.processes import Processes
from pyro_vae.seeds import derive_seed, derive_seeds
from pyro_vae.statistics import mean_and_se, se_of_mean


@pytest.mark.parametrize(
    "kind", [np.asarray, list, np.ndarray.tolist, torch.from_numpy, lambda x: torch.from_numpy(x).float()]
)
def test_mean_and_error_are_those_of_scipy(kind):
    values = np.random.default_rng(0).normal(-100, 3, 50)
    relative = 1e-6 if getattr(kind(values), "dtype", None) == torch.float32 else 1e-12
    assert mean_and_se(kind(values)) == pytest.approx((values.mean(), sem(values)), rel=relative)


def test_one_value_has_no_error():
    mean, se = mean_and_se([2])
    assert mean == 2
    assert math.isnan(se)


def test_errors_of_estimates_add_in_squares():
    assert se_of_mean(torch.tensor([3.0, 4.0])) == pytest.approx(2.5)
    noise = np.random.default_rng(1).normal(0, [1.0, 2.0, 0.5], (20_000, 3)).mean(1)
    expected = se_of_mean(torch.tensor([1.0, 2.0, 0.5]))
    assert_within_sigma(noise.std(ddof=1), expected, expected / math.sqrt(2 * len(noise)))


@given(st.integers(1, 500), st.integers(1, 500))
def test_evenly_spaced_rows_rise_from_the_first_to_the_last(num_rows, count):
    rows = evenly_spaced_rows(num_rows, count)
    assert len(rows) == min(num_rows, count)
    assert rows[0] == 0
    assert count == 1 or rows[-1] == num_rows - 1
    steps = np.diff(rows)
    assert (steps > 0).all()
    assert len(steps) == 0 or steps.max() - steps.min() <= 1


def test_derived_seeds_are_what_they_were():
    # Numbers of version 0.1.0: with others, runs and scores would not be repeatable.
    assert derive_seed(0, 0) == 7896617691693857887
    assert derive_seed(5, 1, 2, 3) == 5935399399268843021
    assert derive_seeds(7, 128, count=2) == [6050877242927248351, 5957222933398540296]


def test_derived_seeds_differ_from_place_to_place():
    seeds = {
        derive_seed(seed, *place) for seed in range(20) for place in [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2)]
    }
    assert len(seeds) == 100
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seeds(3, 4, count=3)[0] == derive_seed(3, 4)


def test_the_first_process_keeps_the_seed_of_the_run():
    class Second(Processes):
        rank, count = 1, 2

    assert Processes().seed(3) == 3
    assert Second().seed(3) == derive_seed(3, 1)
    assert Second().seed(3, 4, 5) == derive_seed(3, 1, 4, 5)
