"""Settings of the test run, and what many tests start from."""

from pyro_vae._environment import calm_threads

calm_threads()  # before anything imports torch

import gc

import matplotlib as mpl
import pyro
import pytest
import torch
from helpers import without_figures

mpl.use("Agg")


def pytest_collection_finish():
    """Leave what was imported out of garbage collections, and collect less often: a tenth of the tests' time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(autouse=True)
def fresh_state():
    """Give each test the same random state and an empty parameter store, and no validation left switched."""
    torch.manual_seed(0)
    pyro.clear_param_store()
    yield
    pyro.clear_param_store()


@pytest.fixture
def no_figures():
    """Let training draw no figures."""
    with without_figures():
        yield
