"""A small calibration study: coverage for light tails, increasing k-hat, bounds in order."""

import runpy

import numpy as np
import pytest
import torch
from helpers import SCRIPTS, assert_within_sigma

from pyro_vae.evaluate import log_likelihood
from pyro_vae.guides.exact_linear import ExactLinearGuide


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)  # as Python does
        return runpy.run_path(str(SCRIPTS / "calibration.py"))


def test_the_narrowed_guide_has_the_variance_that_its_tail_index_says(script):
    model, x = script["drawn"](3)
    exact = ExactLinearGuide(model).posterior(x).covariance_matrix
    narrowed = script["NarrowedGuide"](model, 0.4).posterior(x).covariance_matrix
    ratios = torch.linalg.eigvals(narrowed @ exact.inverse()).real.sort().values
    torch.testing.assert_close(ratios, torch.tensor([0.6, 1.0], dtype=torch.float64).expand_as(ratios))


@pytest.mark.slow
def test_two_standard_errors_cover_where_the_tail_is_light_and_not_where_it_is_heavy(script):
    inside = {}
    for k in (0.2, 0.9):
        estimates, exact = script["scores"](k, 20, 500)
        inside[k] = (np.abs(estimates.value.numpy() - exact) <= 2 * estimates.se.numpy()).mean()
    assert_within_sigma(inside[0.2], 0.954, (0.954 * 0.046 / 200) ** 0.5)
    assert inside[0.9] < 0.6


@pytest.mark.slow
def test_median_khat_rises_with_the_true_tail_index(script):
    medians = [np.median(script["scores"](k, 6, 500)[0].khat.numpy()) for k in (-0.5, 0.2, 0.5, 0.8)]
    assert (np.diff(medians) > 0).all()


@pytest.mark.slow
def test_bounds_rise_to_the_exact_value(script):
    below, errors = script["bounds"](10)
    assert (np.diff(below) < 4 * errors[1:]).all()
    assert below[0] > 4 * errors[0]
    assert (below > -4 * errors).all()


def test_the_exact_guide_is_exact(script):
    for seed in (0, 1):
        model, x = script["drawn"](seed)
        found = log_likelihood(model, ExactLinearGuide(model), x, 50)
        exact = model.to_baseline().score_samples(x.numpy())
        np.testing.assert_allclose(found.value.numpy(), exact, atol=1e-9)
        assert (found.se == 0).all()
        assert (found.khat == 0).all()
