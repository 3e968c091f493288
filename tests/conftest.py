"""Settings of the test run, and what many tests start from."""

import os

if os.environ.get("PYRO_VAE_TEST_DEVICE") != "cuda":  # as `make test-gpu` sets it
    os.environ["CUDA_VISIBLE_DEVICES"] = (
        ""  # what trains on "auto" does so on the CPU, whose numbers tests know
    )

from pyro_vae._environment import limit_thread_spinning

limit_thread_spinning()  # before anything imports torch
os.environ["PYRO_VAE_CACHE"] = "off"  # tests compile what they test

import gc

import matplotlib as mpl
import pyro
import pytest
import torch

mpl.use("Agg")

if not torch.cuda.is_available():
    # `torch.manual_seed` keeps a seed for each kind of GPU together with the formatted call stack, which is long under
    # pytest. Without a GPU nothing reads them, and formatting takes a twentieth of the tests' time.
    for device in (torch.cuda, torch.xpu, torch.mtia):
        device.manual_seed_all = lambda seed: None


def pytest_collection_modifyitems(items):
    """Skip tests that need a GPU if there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a GPU, and `make test-gpu`"))


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
