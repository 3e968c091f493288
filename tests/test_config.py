"""The command line: choices, help, JSON, what is chosen from the data, and how fast it answers."""

import json
import resource
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pyro_vae
from pyro_vae._checks import InputError
from pyro_vae.data import DATASETS, load_dataset
from pyro_vae.experiment.build import build, starting_rows
from pyro_vae.experiment.config import (
    Config,
    DataConfig,
    ModelConfig,
    RunConfig,
    TrainingConfig,
    from_json,
    to_json,
)
from pyro_vae.experiment.resolve import default_patience, fit_settings, objective, resolve
from pyro_vae.guides import GUIDES
from pyro_vae.likelihoods import LIKELIHOODS
from pyro_vae.networks import ACTIVATIONS
from pyro_vae.objectives import OBJECTIVES
from pyro_vae.priors import PRIORS
from pyro_vae.settings import PARTS
from pyro_vae.settings.declare import setting_of
from pyro_vae.settings.part import DataFacts
from pyro_vae.training import KEEP, Schedule

SCRIPT = Path(__file__).parent.parent / "scripts" / "svi_train.py"


REGISTRIES = {"likelihood": LIKELIHOODS, "guide": GUIDES, "prior": PRIORS, "objective": OBJECTIVES}


@pytest.mark.parametrize("kind", REGISTRIES)
def test_registries_hold_the_parts_that_are_declared(kind):
    assert list(REGISTRIES[kind]) == list(PARTS[kind])
    group = TrainingConfig if kind == "objective" else ModelConfig
    assert get_args(group.types[kind]) == tuple(PARTS[kind])


def test_choices_are_those_of_what_is_built():
    assert set(get_args(ModelConfig.types["activation"])) == set(ACTIVATIONS)
    assert get_args(TrainingConfig.types["keep"]) == KEEP
    for kind in get_args(TrainingConfig.types["schedule"])[1:]:
        Schedule(kind)


def test_objectives_are_made_with_their_settings():
    values = {"beta": 0.7, "kl_warmup": 0.2, "free_bits": 0.1, "alpha": 0.3}
    values |= {"temperature": 0.8, "final_temperature": 0.4, "enumeration_gib": 2.0}
    values |= {"mi_weight": 0.5, "tc_weight": 3.0, "dimension_weight": 2.0, "tc_sampling": "weighted"}
    for name, part in PARTS["objective"].items():
        own = {field.name: values[field.name] for field in part.settings()}
        num_particles = 3 if OBJECTIVES[name].is_bound else 1
        made = objective(TrainingConfig(objective=name, num_particles=num_particles, **own))
        assert type(made) is OBJECTIVES[name]
        assert made.num_particles == num_particles
        for field in part.settings():
            assert getattr(made, setting_of(field).argument or field.name) == values[field.name]


def test_every_setting_has_help_and_a_default_that_passes_its_own_check():
    for group in (DataConfig, ModelConfig, TrainingConfig, RunConfig):
        for field in fields(group):
            assert len(setting_of(field).help) >= 10
        for kind in group.kinds:
            for name in PARTS[kind] if group.types[kind] != tuple[str, ...] else ():
                alone = name in ("point", "reconstruction")
                discrete = "gaussian" not in getattr(PARTS[kind][name], "latents", ("gaussian",))
                config = Config(
                    model=ModelConfig(
                        guide="point" if alone else "diagonal",
                        latent="bernoulli" if discrete else "gaussian",
                        latent_dim=4,
                    ),
                    training=TrainingConfig(num_particles=1 if alone else 2),
                )
                part = "training" if kind == "objective" else "model"
                replace(config, **{part: replace(getattr(config, part), **{kind: name})}).check()


def test_help_names_every_data_set_and_loads_nothing_heavy():
    code = (
        "import sys; from pyro_vae.experiment.command_line import from_command_line\n"
        "try: from_command_line(args=['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'pyro', 'sklearn', 'arviz', 'torchvision', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "HEAVY []" in out
    for name in (*DATASETS, *LIKELIHOODS):
        assert name in out, name
    # Each choice is listed, and explained with its flag.
    for name in (*GUIDES, *PRIORS, *OBJECTIVES):
        assert out.count(name) >= 2, name


def test_import_of_the_package_loads_nothing():
    code = "import sys, pyro_vae; print({'torch', 'numpy', 'pyro', 'tyro', 'tqdm'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


def test_every_name_of_the_package_is_found():
    for name in pyro_vae.__all__:
        value = getattr(pyro_vae, name)
        assert name.isupper() or value.__name__ == name
    assert set(pyro_vae.__all__) <= set(dir(pyro_vae))
    with pytest.raises(AttributeError, match="no attribute 'Vae'"):
        _ = pyro_vae.Vae


@pytest.mark.slow
def test_help_answers_soon():
    """It takes 0.3 to 0.55 s of one core; a busy machine gets some room."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.8


names = st.sampled_from(sorted(LIKELIHOODS))
positive = st.floats(1e-6, 1e6)


@pytest.mark.slow
@given(
    likelihood=names,
    hidden=st.lists(st.integers(1, 2000), min_size=1, max_size=4),
    floor=st.none() | positive,
    lr=positive,
    seed=st.integers(0, 2**31),
    out=st.none() | st.just(Path("some/folder")),
)
def test_json_there_and_back(likelihood, hidden, floor, lr, seed, out):
    takes_floor = "scale_floor" in {field.name for field in PARTS["likelihood"][likelihood].settings()}
    config = Config(
        model=ModelConfig(
            likelihood=likelihood, hidden=tuple(hidden), scale_floor=floor if takes_floor else None
        ),
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
        lambda v: v["training"].update(seed=True),
        lambda v: v["model"].update(hidden=[4.5]),
        lambda v: v["model"].update(latent_dim=None),
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
        ("training", {"average": 1.5}, r"--average in \[0, 1\], a share of the steps so far; got 1.5"),
        ("training", {"patience": -2}, "--patience to be a whole number"),
        ("training", {"clip_norm": -1.0}, "--clip-norm to be a finite number above 0"),
        ("training", {"num_particles": 0}, "--num-particles to be a whole number"),
        ("training", {"beta": -1.0}, "--beta to be a finite number of at least 0; got -1.0"),
        ("training", {"kl_warmup": 2.0}, r"--kl-warmup in \[0, 1\], a share of all steps; got 2.0"),
        ("training", {"free_bits": -0.1}, "--free-bits to be a finite number of at least 0; got -0.1"),
        ("training", {"alpha": float("nan")}, "--alpha to be a finite number; got nan"),
        ("training", {"objective": "iwae"}, "--num-particles of at least 2 with --objective iwae"),
        (
            "training",
            {"objective": "iwae", "num_particles": 5, "beta": 2.0},
            "no --beta with --objective iwae, which does not use one; got 2.0. Leave it out.",
        ),
        ("training", {"alpha": 0.1}, "no --alpha with --objective elbo"),
        ("model", {"guide": "iaf", "latent_dim": 1}, "--latent-dim of at least 2 with --guide iaf"),
        ("model", {"prior": "flow", "latent_dim": 1}, "--latent-dim of at least 2 with --prior flow"),
        ("model", {"prior_components": 5}, "no --prior-components with --prior standard-normal"),
        ("model", {"prior": "mixture", "prior_components": 0}, "--prior-components to be a whole number"),
        ("training", {"seed": -1}, "--seed to be a whole number of at least 0"),
        ("run", {"checkpoint_seconds": -1.0}, "--checkpoint-seconds to be a finite number of at least 0"),
    ],
)
def test_values_out_of_range_are_refused(part, change, message):
    config = Config()
    with pytest.raises(InputError, match=message):
        replace(config, **{part: replace(getattr(config, part), **change)}).check()


def test_open_settings_are_chosen():
    dataset = load_dataset("digits")
    _, std = dataset.statistics()
    for likelihood in LIKELIHOODS:
        config = resolve(Config(model=ModelConfig(likelihood=likelihood)), dataset, std, "cpu")
        assert config.training.device == "cpu"
        assert config.training.epochs is not None
        uses_floor = "scale_floor" in {field.name for field in PARTS["likelihood"][likelihood].settings()}
        assert (config.model.scale_floor is not None) == uses_floor
        assert (config.model.fixed_scale is not None) == (likelihood == "gaussian-fixed")
        assert resolve(config, dataset, std, "cpu") == config


def test_a_fixed_scale_is_a_geometric_mean_where_columns_have_different_units():
    facts = DataFacts(typical_scale=2.0, geometric_scale=0.3, smallest_scale=0.1, one_unit=False, num_rows=10)
    fixed = PARTS["likelihood"]["gaussian-fixed"]()
    assert fixed.resolved(facts) == {"fixed_scale": 0.3}
    assert fixed.resolved(replace(facts, one_unit=True)) == {"fixed_scale": 1.0}


def test_zeros_and_ones_enter_the_encoder_unscaled():
    mean, std = torch.tensor([0.5, 0.001]), torch.tensor([0.5, 0.03])
    for likelihood, expected in (("bernoulli", torch.ones(2)), ("gaussian", std)):
        _, guide = build(ModelConfig(likelihood=likelihood, scale_floor=0.1), mean, std)
        assert torch.equal(guide.encoder[0].scale, expected)


def test_a_scale_that_would_not_be_used_is_refused():
    config = Config(model=ModelConfig(likelihood="bernoulli", scale_floor=0.1))
    with pytest.raises(InputError, match="no --scale-floor with --likelihood bernoulli"):
        resolve(config, load_dataset("digits"), torch.ones(64), "cpu")


def test_the_components_of_a_prior_are_chosen_and_bounded_by_the_rows():
    dataset = load_dataset("digits")
    _, std = dataset.statistics()

    def resolved(**model):
        return resolve(Config(model=ModelConfig(**model)), dataset, std, "cpu").model.prior_components

    assert resolved() is None
    assert resolved(prior="mixture") == 10
    assert resolved(prior="vampprior") == 500
    with pytest.raises(InputError, match=r"--prior-components of at most the \d+ training rows"):
        resolved(prior="vampprior", prior_components=10**6)


@pytest.mark.parametrize(
    ("guide", "prior"), [("iaf", "mixture"), ("mixture", "vampprior"), ("spline", "flow")]
)
def test_any_guide_is_built_with_any_prior(guide, prior):
    dataset = load_dataset("digits")
    mean, std = dataset.statistics()
    config = ModelConfig(
        guide=guide, prior=prior, latent_dim=3, hidden=(8,), prior_components=4, scale_floor=0.01
    )
    rows = starting_rows(config, dataset.train)
    model, made = build(config, mean, std, rows=rows)
    if prior == "vampprior":
        assert model.prior.guide is made
        torch.testing.assert_close(model.prior.pseudo_inputs, rows)
        assert torch.equal(rows[[0, -1]], dataset.train.tensor()[[0, -1]])
    again, twin = build(config, mean, std, rows=rows)
    for a, b in zip(
        (*model.parameters(), *made.parameters()), (*again.parameters(), *twin.parameters()), strict=True
    ):
        assert torch.equal(a, b)


def test_flags_are_flat_and_have_no_namesakes():
    flags = [
        field.name for part in (DataConfig, ModelConfig, TrainingConfig, RunConfig) for field in fields(part)
    ]
    assert len(flags) == len(set(flags))


def test_the_models_of_a_comparison_are_those_that_can_be_fitted():
    from pyro_vae.cli.compare_baselines import ModelName
    from pyro_vae.experiment.comparison import MODELS

    assert get_args(ModelName) == MODELS


def ends(**training):
    dataset = load_dataset("digits")
    config = resolve(Config(training=TrainingConfig(**training)), dataset, dataset.statistics()[1], "cpu")
    made = config.training
    return made.lr, made.epochs, made.schedule, made.average, made.patience, made.keep


def test_training_stops_early_only_if_no_epochs_are_given():
    assert ends() == (2e-3, 227, "cooldown", 0.05, 28, "best-elbo")
    assert ends(lr=1e-3) == (1e-3, 455, "cooldown", 0.05, 57, "best-elbo")
    assert ends(epochs=455) == (1e-3, 455, "cosine", 0.0, "none", "best-elbo")
    assert ends(batch_size=10)[:2] == (1e-3, 38)  # 130 batches: 20 epochs take 2600 steps
    assert ends(batch_size=32, accumulate=4) == ends()
    assert ends(beta=2.0)[-1] == "best-loss"
    assert ends(keep="last", patience="none", schedule="constant", average=0.2) == (
        2e-3,
        227,
        "constant",
        0.2,
        "none",
        "last",
    )
    assert ends(epochs=3, patience=2)[4] == 2
    assert [default_patience(epochs) for epochs in (20, 80, 1000)] == [10, 10, 125]
    settings = fit_settings(
        TrainingConfig(epochs=3, lr=1e-3, patience="none", average=0.0, schedule="cosine")
    )
    assert (settings["patience"], settings["schedule"], settings["average"]) == (
        None,
        Schedule("cosine"),
        0.0,
    )


def test_a_configuration_of_version_0_1_0_keeps_its_meaning():
    values = to_json(Config())
    values["training"] |= {"epochs": 6, "schedule": "cosine", "average": 0.0, "patience": None, "beta": 2.0}
    del values["training"]["keep"]
    training = from_json(values).training
    assert (training.patience, training.keep) == ("none", "best-elbo")
