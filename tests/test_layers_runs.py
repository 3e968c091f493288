"""Several latent layers on the command line: runs, pictures, what is refused."""

import pytest
import torch
from helpers import script
from safetensors.torch import load_file

from pyro_vae import load_dataset, load_run
from pyro_vae._checks import InputError
from pyro_vae.experiment.build import build
from pyro_vae.experiment.config import Config, ModelConfig, TrainingConfig
from pyro_vae.experiment.layer_figures import latent_pictures, layer_pictures
from pyro_vae.experiment.shown import Shown
from pyro_vae.plots import redrawn_layers

TINY = ("--epochs", 2, "--hidden", 8, "--layers", 4, 3, "--quiet", "--device", "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--inference", "ladder", "--skip")], ids=["bottom-up", "ladder"])
def test_a_run_is_scored_and_resumed_to_the_bit(more, tmp_path, capsys):
    plain = (*TINY, *more, "--schedule", "constant", "--evaluate", "none")
    assert script(*plain, "--epochs", 1, "--out", tmp_path / "a") == 0
    assert script("--resume", tmp_path / "a", "--epochs", 2, "--quiet") == 0
    assert script(*plain, "--out", tmp_path / "b") == 0
    out = capsys.readouterr().out
    assert "64-8-z1(4)-100-100-z2(3), mirrored" in out
    assert "latent 4-3; nats per example" in out
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert all(torch.equal(one[key], other[key]) for key in one | other)
    scored = ("--num-samples", 5, "--widen", 1.2, "--defensive", 0.1, "--quiet")
    assert script(tmp_path / "a", *scored, name="evaluate.py") == 0
    run = load_run(tmp_path / "b")
    assert run.guide.encode(torch.rand(5, 64)).mean.shape == (5, 7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"layers": (4,)},
            "at least two latent layers.*got 4. For a single layer use --latent-dim",
        ),
        ({"layers": (4, 0)}, "every size of --layers.*got 0"),
        ({"layers": (4, 2), "latent_dim": 3}, "either --latent-dim or --layers"),
        ({"layer_hidden": (8,)}, "Expected --layers with --layer-hidden 8"),
        ({"inference": "ladder"}, "Expected --layers with --inference ladder"),
        ({"skip": True}, "Expected --layers with --skip"),
        ({"layers": (4, 2), "guide": "point"}, "one latent layer with --guide point"),
        (
            {"layers": (4, 2), "context": "label", "missing_labels": 0.9},
            "missing labels; got --layers",
        ),
        (
            {"layers": (4, 2), "inference": "ladder", "guide": "iaf"},
            "--guide diagonal with --inference ladder",
        ),
        (
            {"layers": (4, 2), "prior": "vampprior"},
            "another --prior than vampprior with --inference bottom-up",
        ),
        ({"layers": (4, 1), "prior": "flow"}, "--layers of at least 2 each with flow"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Config(model=ModelConfig(**settings)).check()


def test_wake_sleep_does_not_train_layers_that_guide_and_model_share():
    model = ModelConfig(layers=(4, 2), inference="ladder")
    training = TrainingConfig(objective="wake-sleep", num_particles=3)
    with pytest.raises(InputError, match="another --objective than wake-sleep with --inference ladder"):
        Config(model=model, training=training).check()


def test_the_figure_of_layers():
    groups = {"test row": torch.rand(3, 1, 16), "z2 kept": torch.rand(3, 2, 16)}
    ax = redrawn_layers(groups, (4, 4))
    assert [text.get_text() for text in ax.get_xticklabels()] == ["test row", "z2 kept"]
    # One image, a free place, two images.
    first, second = ax.get_xticks()
    assert second - first == pytest.approx(2.5 * 5, abs=0.6)
    with pytest.raises(InputError, match=r"\(rows, columns, D\)"):
        redrawn_layers({"a": torch.rand(3, 1, 16), "b": torch.rand(2, 1, 16)}, (4, 4))
    with pytest.raises(InputError, match="at least one group"):
        redrawn_layers({}, (4, 4))


@pytest.mark.slow
def test_pictures_of_a_model_of_layers():
    data = load_dataset("digits")
    mean, std = data.statistics()
    config = ModelConfig(layers=(3, 2, 1), hidden=(8,), scale_floor=0.01)
    programs = build(config, mean, std, data_shape=(8, 8))
    shown = Shown(*(program.eval() for program in programs), data)
    drawn = {name: draw() for name, draw in (*latent_pictures(shown), *layer_pictures(shown))}
    kinds = {f"{kind}_z{number}" for kind in ("latent_space", "traversal") for number in (1, 2, 3)}
    assert drawn.keys() == kinds | {"layers"}
    (ax,) = drawn["layers"].axes
    texts = [text.get_text() for text in ax.get_xticklabels()]
    assert texts == ["test row", "all kept", "z2, z3 kept", "z3 kept", "none kept"]
