"""The command line: choices, help, JSON, what is chosen from the data, and how fast it answers."""

import json
import runpy
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from helpers import SCRIPTS
from hypothesis import given
from hypothesis import strategies as st

import pyro_vae
from pyro_vae import config as configuration
from pyro_vae._checks import InputError
from pyro_vae.building import resolve
from pyro_vae.config import (
    Config,
    DataConfig,
    ModelConfig,
    RunConfig,
    TrainingConfig,
    from_json,
    to_json,
)
from pyro_vae.data import DATASETS, load_dataset
from pyro_vae.likelihoods import LIKELIHOODS
from pyro_vae.networks import ACTIVATIONS

SCRIPT = Path(__file__).parent.parent / "scripts" / "svi_train.py"


def test_choices_are_the_registries():
    assert set(get_args(configuration.LikelihoodName)) == set(LIKELIHOODS)
    assert set(get_args(configuration.ActivationName)) == set(ACTIVATIONS)


def test_help_names_every_data_set_and_loads_nothing_heavy():
    code = (
        "import sys; from pyro_vae.config import from_command_line\n"
        "try: from_command_line(args=['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'pyro', 'sklearn', 'arviz', 'torchvision', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "HEAVY []" in out
    for name in (*DATASETS, *LIKELIHOODS):
        assert name in out, name


def test_import_of_the_package_loads_nothing():
    code = "import sys, pyro_vae; print({'torch', 'numpy', 'pyro', 'tyro', 'tqdm'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


def test_every_name_of_the_package_is_found():
    for name in pyro_vae.__all__:
        value = getattr(pyro_vae, name)
        assert name == "LIKELIHOODS" or value.__name__ == name
    assert set(pyro_vae.__all__) <= set(dir(pyro_vae))
    with pytest.raises(AttributeError, match="no attribute 'VAE'"):
        _ = pyro_vae.VAE


def test_help_answers_soon():
    """The bound is 0.7 s on an idle machine; the best of a few tries, with room for a busy one."""
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 2


names = st.sampled_from(sorted(LIKELIHOODS))
positive = st.floats(1e-6, 1e6)


@given(
    likelihood=names,
    hidden=st.lists(st.integers(1, 2000), min_size=1, max_size=4),
    floor=st.none() | positive,
    lr=positive,
    seed=st.integers(0, 2**31),
    out=st.none() | st.just(Path("some/folder")),
)
def test_json_there_and_back(likelihood, hidden, floor, lr, seed, out):
    config = Config(
        model=ModelConfig(likelihood=likelihood, hidden=tuple(hidden), scale_floor=floor),
        training=TrainingConfig(lr=lr, seed=seed),
        run=RunConfig(out=out),
    )
    assert from_json(json.loads(json.dumps(to_json(config)))) == config


@pytest.mark.parametrize(
    "damage",
    [
        lambda v: v.pop("model"),
        lambda v: v["model"].pop("likelihood") and v["model"].update(likelihod="gaussian"),
        lambda v: v.update(extra={}),
        lambda v: v.update(training=3),
        lambda v: v["training"].update(epochs="many"),
        lambda v: v["model"].update(hidden=[]),
    ],
)
def test_a_damaged_configuration_is_refused(damage):
    values = to_json(Config())
    damage(values)
    with pytest.raises(InputError):
        from_json(values)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("model", {"latent_dim": 0}, "--latent-dim to be a whole number of at least 1; got 0"),
        ("model", {"hidden": ()}, "--hidden with at least one width"),
        (
            "model",
            {"hidden": (400, -1)},
            "every width of --hidden to be a whole number of at least 1; got -1",
        ),
        ("model", {"scale_floor": 0.0}, "--scale-floor to be a finite number above 0; got 0.0"),
        ("model", {"fixed_scale": float("nan")}, "--fixed-scale to be a finite number above 0; got nan"),
        ("model", {"dropout": 1.0}, r"--dropout in \[0, 1\), a share of the columns; got 1.0"),
        ("training", {"epochs": 0}, "--epochs to be a whole number of at least 1; got 0"),
        ("training", {"batch_size": 0}, "--batch-size to be a whole number"),
        ("training", {"lr": float("inf")}, "--lr to be a finite number above 0; got inf"),
        ("training", {"weight_decay": -0.1}, "--weight-decay to be a finite number of at least 0; got -0.1"),
        ("training", {"warmup": 1.5}, r"--warmup in \[0, 1\)"),
        ("training", {"patience": -2}, "--patience to be a whole number"),
        ("training", {"clip_norm": -1.0}, "--clip-norm to be a finite number above 0"),
        ("training", {"num_particles": 0}, "--num-particles to be a whole number"),
        ("training", {"seed": -1}, "--seed to be a whole number of at least 0"),
        ("run", {"checkpoint_seconds": -1.0}, "--checkpoint-seconds to be a finite number of at least 0"),
    ],
)
def test_values_out_of_range_are_refused(part, change, message):
    config = Config()
    with pytest.raises(InputError, match=message):
        replace(config, **{part: replace(getattr(config, part), **change)}).check()


def test_everything_left_open_is_chosen():
    dataset = load_dataset("digits")
    _, std = dataset.statistics()
    for likelihood in LIKELIHOODS:
        config = resolve(Config(model=ModelConfig(likelihood=likelihood)), dataset, std, "cpu")
        assert config.training.device == "cpu"
        assert config.training.epochs is not None
        uses_floor = likelihood not in ("bernoulli", "gaussian-fixed")
        assert (config.model.scale_floor is not None) == uses_floor
        assert (config.model.fixed_scale is not None) == (likelihood == "gaussian-fixed")
        assert resolve(config, dataset, std, "cpu") == config


def test_a_scale_that_would_not_be_used_is_refused():
    config = Config(model=ModelConfig(likelihood="bernoulli", scale_floor=0.1))
    with pytest.raises(InputError, match="no --scale-floor with --likelihood bernoulli"):
        resolve(config, load_dataset("digits"), torch.ones(64), "cpu")


def test_flags_are_flat_and_have_no_namesakes():
    flags = [
        field.name for part in (DataConfig, ModelConfig, TrainingConfig, RunConfig) for field in fields(part)
    ]
    assert len(flags) == len(set(flags))


def test_the_models_of_a_comparison_are_those_that_can_be_fitted():
    from pyro_vae.comparison import MODELS

    script = runpy.run_path(str(SCRIPTS / "compare_baselines.py"))
    assert get_args(script["ModelName"]) == MODELS
