"""Discrete latents in programs, runs, evaluation and pictures."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from helpers import assert_within_sigma, script
from programs import rows
from safetensors.torch import load_file

from pyro_vae import build, estimate_elbo, fit, inference_gaps, load_run, with_code_mixture
from pyro_vae._checks import InputError
from pyro_vae.compiled import CompiledGradients, Gradients, uncompiled
from pyro_vae.distributions.discrete_variables import Bernoullis, Categoricals
from pyro_vae.evaluate import (
    DefensiveGuide,
    MCMCPosterior,
    NUTSPosterior,
    WidenedGuide,
    annealed_log_likelihood,
    code_usage,
    log_likelihood,
    to_arviz,
)
from pyro_vae.experiment.checkpoint import load_weights, save_weights
from pyro_vae.experiment.config import Config, ModelConfig, RunConfig, TrainingConfig
from pyro_vae.objectives import RLOO, EnumeratedELBO, GumbelSoftmax, ReweightedWakeSleep, StraightThrough
from pyro_vae.plots import code_tiles
from pyro_vae.plots import code_usage as draw_usage

LATENTS = {
    "categorical": {"latent": "categorical", "latent_dim": 2, "states": 4},
    "bernoulli": {"latent": "bernoulli", "latent_dim": 4},
}
every_latent = pytest.mark.parametrize("name", LATENTS)
OBJECTIVES = {
    "enumerated": EnumeratedELBO(),
    "rloo": RLOO(3),
    "gumbel-softmax": GumbelSoftmax(2),
    "straight-through": StraightThrough(free_bits=0.1),
    "wake-sleep": ReweightedWakeSleep(3, insomnia=0.5),
}


def make(name, prior="learned", seed=0, **more):
    x = rows(count=100)
    settings = {"hidden": (8,), "scale_floor": 0.01, "prior": prior} | LATENTS[name] | more
    return build(ModelConfig(**settings), x.mean(0), x.std(0), seed)


@every_latent
@pytest.mark.parametrize("prior", ["uniform", "learned"])
def test_shapes_saving_and_modes(name, prior, tmp_path):
    (model, guide), x = make(name, prior), rows(count=7)
    width = guide.variables.width
    posterior = guide.posterior(x.expand(3, 7, 6))
    assert (posterior.batch_shape, posterior.event_shape) == ((3, 7), (width,))
    assert posterior.sample((5,)).shape == (5, 3, 7, width)
    assert model.latent_dim == width
    assert model.sample(4).shape == (4, 6)
    torch.testing.assert_close(guide.encode(x, batch_size=2).mean, guide.posterior(x).mean)
    mode = guide.encode(x).mode
    assert bool(((mode == 0) | (mode == 1)).all())
    torch.testing.assert_close(model.reconstruct(x, guide), model.decode(mode).mean)
    others = make(name, prior, seed=1)
    save_weights(tmp_path / "w.safetensors", model, guide)
    load_weights(tmp_path / "w.safetensors", *others)
    estimates = [estimate_elbo(*pair, x).value for pair in ((model, guide), others)]
    assert torch.equal(*estimates)
    twin = copy.deepcopy(guide)
    assert all(torch.equal(a, b) for a, b in zip(twin.parameters(), guide.parameters(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_the_recorded_graph_equals_the_handlers(objective):
    (model, guide), x = make("bernoulli" if isinstance(objective, RLOO) else "categorical"), rows(count=16)
    loss = objective(model, guide)
    parameters = list(loss.parameters())
    found = []
    for gradients in (CompiledGradients(loss, parameters, (x,), uncompiled), Gradients(loss, parameters)):
        torch.manual_seed(0)
        found.append(gradients(x, progress=torch.tensor(0.4)))
        assert gradients.note == ""
        assert all(gradient is not None for gradient in found[-1].gradients)
    torch.testing.assert_close(found[0].terms, found[1].terms)
    for a, b in zip(found[0].gradients, found[1].gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("objective", [EnumeratedELBO(), RLOO(3), GumbelSoftmax()])
def test_training_gains_and_keeps_the_best_bound_of_the_discrete_model(objective):
    (model, guide), x = make("categorical"), rows(count=200)
    before = estimate_elbo(model, guide, x).mean
    optimizer = partial(torch.optim.Adam, lr=0.02)
    settings = {"epochs": 10, "batch_size": 40, "optimizer": optimizer, "progress": False, "seed": 0}
    result = fit(model, guide, x, x, objective=objective, **settings)
    assert estimate_elbo(model, guide, x).mean > before + 0.5
    assert result.kept_by == "best-elbo"
    best = max(line["validation"]["elbo"] for line in result.history)
    assert_within_sigma(estimate_elbo(model, guide, x, 200).mean, best, 0.2)


TINY = ("--epochs", 2, "--hidden", 8, "--quiet", "--device", "cpu", "--schedule", "constant")
RUNS = {
    "categorical, gumbel-softmax": ("--latent", "categorical", "--latent-dim", 3, "--states", 4),
    "bernoulli, rloo": (
        *("--latent", "bernoulli", "--latent-dim", 5, "--prior", "learned"),
        *("--objective", "rloo", "--num-particles", 2),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("more", RUNS.values(), ids=RUNS)
def test_a_run_is_scored_and_resumed_to_the_bit(more, tmp_path, capsys):
    constant = ("--objective", "gumbel-softmax", "--final-temperature", 1) if "rloo" not in more else ()
    plain = (*TINY, *more, *constant, "--evaluate", "none")
    assert script(*plain, "--epochs", 1, "--out", tmp_path / "a") == 0
    assert script("--resume", tmp_path / "a", "--epochs", 2, "--quiet") == 0
    assert script(*plain, "--out", tmp_path / "b") == 0
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert all(torch.equal(one[key], other[key]) for key in one | other)
    assert script(tmp_path / "a", "--num-samples", 30, "--quiet", name="evaluate.py") == 0
    run = load_run(tmp_path / "b")
    assert run.config.model.guide == "independent"
    assert run.guide.encode(torch.rand(5, 64)).mean.shape == (5, run.model.latent_dim)


@pytest.mark.slow
def test_a_run_has_pictures_of_its_codes(tmp_path, capsys):
    words = [*TINY, *RUNS["categorical, gumbel-softmax"], "--out", tmp_path / "a", "--epochs", 1]
    assert script(*words, figures=True) == 0
    out = capsys.readouterr().out
    assert "guide independent, categorical z; prior uniform" in out
    assert "minus gumbel-softmax, temperature 1, falling to 0.5, 1 particle" in out
    assert "latent 3 x 4; nats per example" in out
    names = {path.name for path in (tmp_path / "a" / "figures").iterdir()}
    assert {"codes.png", "code_usage.png", "samples.png"} <= names
    assert not names & {"traversal.png", "latent_space.png", "latent_space_3d.png"}


@every_latent
def test_usage_and_perplexity(name):
    """A guide with a distinct state for every row has the information of the rows, and a constant guide has none."""
    (_, guide), x = make(name), rows(count=40)
    probs = guide.encode(x).mean.double()
    found = code_usage(guide, x)
    count, states = (2, 4) if name == "categorical" else (4, 2)
    assert found.usage.shape == (count, states)
    mean = probs.mean(0)
    usage = mean.reshape(2, 4) if name == "categorical" else torch.stack([1 - mean, mean], -1)
    torch.testing.assert_close(found.usage, usage)
    torch.testing.assert_close(found.perplexity, (-(usage * usage.log()).sum(-1)).exp())
    assert bool((found.information >= 0).all())
    with torch.no_grad():
        for parameter in guide.encoder.parameters():
            parameter.zero_()
    none = code_usage(guide, x)
    torch.testing.assert_close(none.perplexity, torch.full((count,), float(states), dtype=torch.float64))
    assert float(none.information.abs().max()) < 1e-12
    assert none.summary()["perplexity"]["mean"] == pytest.approx(states)


def test_tiles_of_codes():
    """Each tile is the decoded code with one variable changed; the tile of the code itself is at its state."""
    seen = []

    def decode(states):
        seen.append(states)
        return np.repeat(states.sum(1, keepdims=True) / 10, 4, axis=1)

    usage = np.full((3, 4), 0.25)
    ax = code_tiles(decode, [0, 1, 2], usage, (2, 2), variables=[2, 0])
    expected = [[0, 1, s] for s in range(4)] + [[s, 1, 2] for s in range(4)]
    assert seen[0].tolist() == expected
    assert [text.get_text() for text in ax.get_yticklabels()] == ["z[2]", "z[0]"]
    ax = code_tiles(decode, [0, 1], usage[:2, :2] * 2, (2, 2), variables=[0, 1])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["0", "1", "1 \N{MINUS SIGN} 0"]
    for arguments, message in (
        (([0, 1, 4], usage, (2, 2)), "from 0 to 3"),
        (([0, 1, 2], usage, (2, 2), [3]), "variables from 0 to 2"),
    ):
        with pytest.raises(InputError, match=message):
            code_tiles(decode, *arguments[:3], variables=arguments[3] if len(arguments) > 3 else [0])
    for shape in ((3, 4), (50, 4), (5, 2)):
        shares = np.full(shape, 1 / shape[1])
        assert draw_usage(shares, np.zeros(len(shares))).figure is not None


@every_latent
def test_evaluation_that_serves_discrete_codes_and_that_does_not(name):
    (model, guide), x = make(name), rows(count=5)
    scores = log_likelihood(model, guide, x, 200)
    assert bool((scores.value > scores.elbo - 1e-9).all())
    defensive = DefensiveGuide(guide, model.prior, 0.2)
    wider = log_likelihood(model, defensive, x, 2000)
    exact = log_likelihood(model, guide, x, 2000)
    assert_within_sigma(wider.value, exact.value, (wider.se**2 + exact.se**2).sqrt())
    groups = to_arviz(model, guide, x, marginal_samples=100)
    z = np.asarray(groups["posterior"]["z"])
    assert z.shape[-2:] == (5, guide.variables.width)
    assert set(np.unique(z)) <= {0.0, 1.0}
    refused = {
        lambda: annealed_log_likelihood(model, guide, x): "continuous latents",
        lambda: inference_gaps(model, guide, x): "continuous latents",
        lambda: to_arviz(model, guide, x, posterior=MCMCPosterior(10, 1, 1)): "continuous latents",
        lambda: to_arviz(model, guide, x, posterior=NUTSPosterior(10, 1, 1)): "continuous latents",
        lambda: log_likelihood(model, WidenedGuide(guide, 1.5), x, 10): "continuous sites to widen",
        lambda: with_code_mixture(model, guide, x): "a continuous z",
    }
    for call, message in refused.items():
        with pytest.raises(InputError, match=message):
            call()


@pytest.mark.parametrize(
    ("model", "training", "message"),
    [
        ({"guide": "iaf"}, {}, "--guide independent with --latent categorical; got iaf"),
        ({"prior": "flow"}, {}, "--prior uniform or learned with --latent categorical; got flow"),
        ({"layers": (4, 2)}, {}, "one latent layer with --latent categorical"),
        ({"states": 1}, {}, "--states .* at least 2; got 1"),
        ({}, {"objective": "stl"}, "with --latent categorical; got stl"),
        ({}, {"objective": "rloo"}, "--num-particles of at least 2, such as 4, with --objective rloo"),
        ({}, {"objective": "gumbel-softmax", "temperature": 0.0}, "--temperature .* above 0"),
        ({}, {"objective": "straight-through", "final_temperature": -1.0}, "--final-temperature .* above 0"),
        ({"latent_dim": 20}, {"objective": "enumerated"}, r"1e\+20, and z alone would take 9.54e\+15 GiB"),
        ({"latent": "bernoulli", "states": 3}, {}, "no --states with --latent bernoulli"),
        ({"latent": "gaussian", "guide": "independent"}, {}, "with --latent gaussian; got independent"),
        ({"latent": "gaussian"}, {"objective": "gumbel-softmax"}, "got gumbel-softmax"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(model, training, message):
    with pytest.raises(InputError, match=message):
        config = Config(
            model=ModelConfig(**{"latent": "categorical"} | model), training=TrainingConfig(**training)
        )
        config.check()


def test_other_settings_that_are_for_real_numbers():
    for model, run, message in (
        ({"context": "label", "context_prior": True}, {}, "a prior without context"),
        ({"context": "label", "missing_labels": 0.5}, {}, "all labels or none"),
        ({}, {"sample_from": ("mixture",)}, "--sample-from prior with --latent bernoulli"),
    ):
        with pytest.raises(InputError, match=message):
            Config(model=ModelConfig(latent="bernoulli", **model), run=RunConfig(**run)).check()


def test_variables_are_checked():
    for call, message in {
        lambda: Categoricals(0, 3): "count",
        lambda: Categoricals(2, 1): "states",
        lambda: Bernoullis(0): "count",
        lambda: code_usage(*_continuous()): "Expected a discrete z",
    }.items():
        with pytest.raises(InputError, match=message):
            call()


def _continuous():
    x = rows()
    return build(ModelConfig(hidden=(8,), scale_floor=0.01), x.mean(0), x.std(0))[1], x
