"""The examples in docstrings print what they say."""

import doctest
import importlib
from pathlib import Path

import pytest
import torch

import pyro_vae

ROOT = Path(pyro_vae.__file__).parent
MODULES = [path for path in sorted(ROOT.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]


def name_of(path):
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)


@pytest.mark.slow
@pytest.mark.parametrize("module", [name_of(path) for path in MODULES])
def test_examples(module):
    torch.manual_seed(0)
    results = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


def test_what_users_meet_first_has_examples():
    counts = [path.read_text(encoding="utf-8").count("    Example:\n") for path in MODULES]
    assert sum(counts) >= 30
