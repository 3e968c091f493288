"""Autoencoders: a point guide, trained and measured by the error of its reconstructions."""

from __future__ import annotations

import copy
import json
import math
import pickle

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import script
from programs import rows
from torch import nn

from pyro_vae import (
    ELBO,
    IWAE,
    STL,
    AnalyticELBO,
    DefensiveGuide,
    DiagonalNormalGuide,
    DReG,
    GenerativeModel,
    NUTSPosterior,
    PointGuide,
    Reconstruction,
    ReconstructionError,
    Renyi,
    ReweightedWakeSleep,
    Schedule,
    StandardNormal,
    annealed_log_likelihood,
    bidirectional_bounds,
    estimate_elbo,
    fit,
    inference_gaps,
    iwae_curve,
    latent_summary,
    load_run,
    log_likelihood,
    to_arviz,
    with_code_mixture,
)
from pyro_vae._checks import InputError
from pyro_vae.compiled import CompiledGradients, Gradients, uncompiled
from pyro_vae.evaluate import JointDefensiveGuide
from pyro_vae.evaluate.reconstruction import reconstruction_errors
from pyro_vae.likelihoods import BernoulliLikelihood, GaussianWithFixedScale, Noiseless, NoiselessShare
from pyro_vae.objectives import draw
from pyro_vae.training.fit import make_trainer

DIM, LATENT = 6, 2


def linear(output=Noiseless, x=None, dtype=torch.float64):
    """Return a linear autoencoder with the outputs of a likelihood or of none."""
    torch.manual_seed(0)
    x = rows().to(dtype) if x is None else x
    unit = torch.zeros(DIM), torch.ones(DIM)
    model = GenerativeModel(StandardNormal(LATENT), nn.Linear(LATENT, DIM), output(*unit))
    return model.to(dtype), PointGuide(nn.Linear(DIM, LATENT)).to(dtype)


def by_hand(model, guide, x):
    z = guide.encoder(x)
    return z, model.decoder(z)


@pytest.mark.parametrize("error", ["squared", "absolute"])
def test_the_loss_is_the_error_with_its_penalties(error):
    (model, guide), x = linear(), rows().double()
    z, d = by_hand(model, guide, x)
    e = (x - d).square() if error == "squared" else (x - d).abs()
    weights = sum(p.square().sum() for p in model.decoder.parameters())
    expected = e.sum(1).mean() + 0.3 * z.square().sum(1).mean() / 2 + 0.01 * weights
    terms = Reconstruction(error=error, code_penalty=0.3, decoder_penalty=0.01)(model, guide).terms(x)
    torch.testing.assert_close(terms.loss, expected)
    torch.testing.assert_close(terms.reconstruction, e.sum(1).detach())
    torch.testing.assert_close(terms.kl, z.square().sum(1).detach())


@pytest.mark.parametrize("output", [NoiselessShare, BernoulliLikelihood])
def test_cross_entropy_is_that_of_the_shares(output):
    def made(mean, std):
        return output(mean + 0.5, std)

    (model, guide), x = linear(made), torch.rand(20, DIM, dtype=torch.float64)
    with torch.no_grad():
        model.decoder.weight.mul_(30)  # saturated shares too
    share = by_hand(model, guide, x)[1].sigmoid()
    expected = -(x * share.log() + (1 - x) * (1 - share).log()).sum(1)
    terms = Reconstruction(error="cross-entropy")(model, guide).terms(x)
    torch.testing.assert_close(terms.reconstruction, expected.detach())


def test_principal_components_are_stationary_and_reach_the_discarded_variance():
    (model, guide), x = linear(), rows(count=200).double()
    values, axes = torch.linalg.eigh(torch.cov(x.T, correction=0))
    leading, mean = axes[:, -LATENT:], x.mean(0)
    with torch.no_grad():
        guide.encoder.weight.copy_(leading.T)
        guide.encoder.bias.copy_(-leading.T @ mean)
        model.decoder.weight.copy_(leading)
        model.decoder.bias.copy_(mean)
    loss = Reconstruction()(model, guide)(x)
    torch.testing.assert_close(loss, values[:-LATENT].sum())
    loss.backward()
    for program in (model, guide):
        assert all(p.grad.abs().max() < 1e-12 for p in program.parameters())


def test_a_table_counts_errors_in_standard_deviations_of_its_columns():
    scale = torch.logspace(-3, 3, DIM, dtype=torch.float64)
    model = GenerativeModel(
        StandardNormal(LATENT), nn.Linear(LATENT, DIM), Noiseless(torch.zeros(DIM), scale, one_unit=False)
    ).double()
    guide = PointGuide(nn.Linear(DIM, LATENT)).double()
    x = scale * rows().double()
    error = reconstruction_errors(model, guide, x)
    d = scale * model.decoder(guide.encoder(x))
    torch.testing.assert_close(error.value, ((x - d) / scale).square().sum(1))


def test_plain_pyro_programs_are_an_autoencoder_too():
    (model, guide), x = linear(), rows().double()
    encoder, decoder = guide.encoder, model.decoder

    def plain_model(x):
        pyro.module("decoder", decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(LATENT), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

    def plain_guide(x):
        pyro.module("encoder", encoder)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(encoder(x)).to_event(1))

    ours, plain = (Reconstruction()(*pair)(x) for pair in ((model, guide), (plain_model, plain_guide)))
    torch.testing.assert_close(ours, plain)
    result = fit(
        plain_model, plain_guide, x, x, objective=Reconstruction(), epochs=1, progress=False, device="cpu"
    )
    assert result.kept_by == "best-loss"


@pytest.mark.slow
def test_training_lowers_the_error_and_keeps_the_epoch_of_the_smallest_loss():
    x = rows(count=300)
    model, guide = linear(dtype=torch.float32)
    train, validation = x[:200] - x.mean(0), x[200:] - x.mean(0)
    result = fit(
        model,
        guide,
        train,
        validation,
        objective=Reconstruction(code_penalty=1e-4),
        epochs=15,
        batch_size=50,
        optimizer=lambda parameters: torch.optim.Adam(parameters, 0.1),
        progress=False,
        seed=0,
        device="cpu",
    )
    losses = [line["validation"]["loss"] for line in result.history]
    assert result.best_epoch == 1 + int(np.argmin(losses))
    assert set(result.history[0]["train"]) == {"error", "squared_norm"}
    least = float(torch.linalg.eigvalsh(torch.cov(train.T, correction=0))[:-LATENT].sum())
    reached = reconstruction_errors(model, guide, train).mean
    assert least < reached < 0.1 * float(train.square().sum(1).mean())
    assert math.isclose(
        ReconstructionError(validation)(model, guide),
        reconstruction_errors(model, guide, validation).mean,
        rel_tol=1e-5,
    )


@pytest.mark.slow
def test_traced_steps_are_those_of_the_handlers():
    (model, guide), x = linear(dtype=torch.float32), rows()
    loss = Reconstruction(code_penalty=0.1, decoder_penalty=0.01)(model, guide)
    parameters = [*model.parameters(), *guide.parameters()]
    half = torch.tensor(0.5)
    plain = Gradients(loss, parameters)(x, progress=half)
    made = CompiledGradients(loss, parameters, [x], uncompiled)
    traced = made(x, progress=half)
    assert made.note == ""
    torch.testing.assert_close(traced.terms.loss, plain.terms.loss)
    for got, expected in zip(traced.gradients, plain.gradients, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.slow
def test_training_continues_to_the_bit():
    settings = {
        "objective": Reconstruction(),
        "batch_size": 8,
        "device": "cpu",
        "compile": "off",
        "seed": 3,
        "optimizer": torch.optim.Adam,
        "clip_norm": None,
        "patience": None,
    }

    def trainer(epochs):
        return make_trainer(
            *linear(dtype=torch.float32),
            rows(),
            rows(),
            epochs=epochs,
            schedule=Schedule("constant"),
            **settings,
        )

    whole, first, second = trainer(4), trainer(2), trainer(4)
    whole.run()
    first.run()
    second.load_state_dict(first.state_dict())
    second.run()
    for a, b in zip(whole.parameters, second.parameters, strict=True):
        assert torch.equal(a, b)


def point(x):
    """Return a user's own point guide."""
    with pyro.plate("data", len(x)):
        return pyro.sample("z", dist.Delta(x[:, :LATENT]).to_event(1))


def normal_model():
    return linear(lambda mean, std: GaussianWithFixedScale(mean, std, 1.0), dtype=torch.float32)[0]


class UnknownSupport(dist.Normal):
    """A normal without location and scale attributes."""

    @property
    def support(self):
        raise NotImplementedError


def model_of_unknown_support(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", UnknownSupport(torch.zeros(LATENT), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z.sum(-1, keepdim=True), 1.0).expand([len(x), DIM]).to_event(1), obs=x)


X = rows(count=8)
NEEDS_DENSITY = {
    "ELBO": lambda: ELBO()(normal_model(), point)(X),
    "free bits": lambda: ELBO(free_bits=0.1)(normal_model(), point)(X),
    "analytic": lambda: AnalyticELBO()(normal_model(), point)(X),
    "STL": lambda: STL()(normal_model(), point)(X),
    "IWAE": lambda: IWAE()(normal_model(), point)(X),
    "DReG": lambda: DReG()(normal_model(), point)(X),
    "Renyi": lambda: Renyi()(normal_model(), point)(X),
    "wake-sleep": lambda: ReweightedWakeSleep()(normal_model(), point)(X),
    "fit": lambda: fit(normal_model(), point, X, epochs=1, progress=False),
    "estimate_elbo": lambda: estimate_elbo(normal_model(), point, X),
    "a prior of unknown support": lambda: estimate_elbo(model_of_unknown_support, point, X),
    "log_likelihood": lambda: log_likelihood(normal_model(), point, X, 10),
    "iwae_curve": lambda: iwae_curve(normal_model(), point, X),
    "latent_summary": lambda: latent_summary(normal_model(), point, X),
    "inference_gaps": lambda: inference_gaps(normal_model(), point, X),
    "to_arviz": lambda: to_arviz(normal_model(), point, X),
    "annealing": lambda: annealed_log_likelihood(normal_model(), point, X, num_simulated=0),
    "bidirectional": lambda: bidirectional_bounds(normal_model(), point, X),
    "defensive": lambda: log_likelihood(
        normal_model(), DefensiveGuide(point, normal_model().prior, 0.5), X, 10
    ),
    "jointly defensive": lambda: log_likelihood(
        normal_model(), JointDefensiveGuide(point, normal_model(), 0.5), X, 10
    ),
}


slowly = {"to_arviz"}  # ArviZ takes seconds to import


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in slowly else ()) for n in NEEDS_DENSITY]
)
def test_what_needs_a_density_refuses_a_users_point(name):
    with pytest.raises(InputError, match=r"point mass.*(Take|take) a guide with a density"):
        NEEDS_DENSITY[name]()


def dense_guide():
    return DiagonalNormalGuide(nn.Linear(DIM, 2 * LATENT))


def noiseless():
    return linear(dtype=torch.float32)[0]


NEEDS_LIKELIHOOD = {
    "estimate_elbo": lambda: estimate_elbo(noiseless(), dense_guide(), X),
    "log_likelihood": lambda: log_likelihood(noiseless(), dense_guide(), X, 10),
    "annealing": lambda: annealed_log_likelihood(noiseless(), dense_guide(), X, num_simulated=0),
    "NUTS": lambda: NUTSPosterior(4, 1, 4).draw(noiseless(), dense_guide(), (X,), 1),
}


@pytest.mark.parametrize("name", NEEDS_LIKELIHOOD)
def test_what_needs_a_likelihood_refuses_an_autoencoders_model(name):
    with pytest.raises(InputError, match="observed site 'x' to have a density"):
        NEEDS_LIKELIHOOD[name]()


def changed(x, change, log_density):
    """Return a guide that changes an auxiliary variable u into z."""

    def guide(x):
        with pyro.plate("data", len(x)):
            u = pyro.sample("u", dist.Normal(x[:, :LATENT], 1.0).to_event(1), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Delta(change(u), log_density=log_density, event_dim=1))

    return guide


def test_points_that_are_a_change_of_variables_have_a_density():
    model, x = normal_model(), rows()
    scaled = estimate_elbo(model, changed(x, lambda u: 2 * u, -LATENT * math.log(2)), x, 500)

    def plain(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(2 * x[:, :LATENT], 2.0).to_event(1))

    same = estimate_elbo(model, plain, x, 500)
    torch.testing.assert_close(scaled.value, same.value, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "log_density", "message"),
    [
        (lambda u: 2 * u, 0.0, "to be minus log"),
        (lambda u: X[:, :LATENT], 0.0, "invertible function of the auxiliary sites"),
        (lambda u: u.sum(-1, keepdim=True) + torch.zeros(LATENT), 0.0, "invertible function"),
    ],
)
def test_points_with_auxiliary_sites_without_a_density_are_refused(change, log_density, message):
    guide = changed(X, change, log_density)
    for use in (
        lambda: estimate_elbo(normal_model(), guide, X),
        lambda: log_likelihood(normal_model(), guide, X, 10),
        lambda: fit(normal_model(), guide, X, epochs=1, progress=False),
    ):
        with pytest.raises(InputError, match=message):
            use()


BAD = [
    (lambda: Reconstruction(num_particles=2), "num_particles of 1"),
    (lambda: Reconstruction(error="cubic"), "error"),
    (lambda: Reconstruction(code_penalty=-1.0), "code_penalty"),
    (lambda: Reconstruction()(normal_model(), dense_guide())(X), "Expected a point guide"),
    (lambda: reconstruction_errors(normal_model(), dense_guide(), X), "Expected a point guide"),
    (
        lambda: fit(*linear(), X, X, objective=Reconstruction(), keep="best-elbo", epochs=1),
        "which has no ELBO",
    ),
    (
        lambda: Reconstruction(decoder_penalty=1.0)(model_of_unknown_support, point)(X),
        "Expected a model that is a module",
    ),
    (lambda: NoiselessShare(torch.full((2,), 3.0), torch.ones(2)), r"values in \[0, 1\]"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.slow
def test_codes_have_a_mixture_to_sample_from():
    model, guide = linear(dtype=torch.float32)
    mixed = with_code_mixture(model, guide, rows(count=200), num_components=3)
    assert mixed.sample(5).shape == (5, DIM)
    draws = draw(model, guide, X, bound=False)
    assert torch.equal(draws.samples["z"], guide.encode(X).sample())


FLAGS = ["--guide", "point", "--epochs", 2, "--hidden", 8, "--latent-dim", 2, "--compile", "off", "--quiet"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    assert script(*FLAGS, "--code-penalty", 0.01, "--out", folder, "--evaluate", "quick", figures=True) == 0
    return folder


@pytest.mark.slow
def test_a_run_reports_errors_and_no_likelihood(run, capsys):
    summary = json.loads((run / "summary.json").read_text())
    assert summary["elbo"] is None
    assert summary["log_likelihood"] is None
    assert summary["objective"] == "reconstruction"
    assert summary["unit"] == "squared error in data units, summed over the 64 columns of a row"
    loaded = load_run(run)
    assert isinstance(loaded.guide, PointGuide)
    assert loaded.config.run.sample_from == ("mixture",)
    pictures = {path.stem for path in (run / "figures").iterdir()}
    assert {"training_curves", "best_and_worst", "samples", "reconstructions"} <= pictures
    assert script(run, name="evaluate.py") == 0
    printed = capsys.readouterr().out
    mean = summary["reconstruction_error"]["mean"]
    assert f"{mean:.5g}" in printed
    lines = (run / "scores.csv").read_text().splitlines()
    assert lines[0] == "row,reconstruction_error,squared_norm"
    scored = np.array([float(line.split(",")[1]) for line in lines[1:]])
    assert math.isclose(scored.mean(), mean, rel_tol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("evaluate.py", ["--ais"], "no --ais for"),
        ("evaluate.py", ["--num-samples", 10], "no --num-samples for"),
        ("compare_guides.py", [], "autoencoder"),
    ],
)
def test_scripts_that_need_a_likelihood_refuse_the_run(run, name, more, message, capsys):
    first = [run] if name == "evaluate.py" else ["--run", run]
    assert script(*first, *more, name=name) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--objective", "iwae", "--num-particles", 5], "--objective reconstruction"),
        (["--beta", 2], "no --beta with --objective reconstruction"),
        (["--prior", "flow"], "--prior standard-normal"),
        (["--num-particles", 3], "--num-particles 1"),
        (["--keep", "best-elbo"], "--keep best-loss"),
        (["--reconstruction", "cross-entropy"], "--likelihood bernoulli"),
    ],
)
def test_flags_that_cannot_serve_are_refused(more, message, capsys):
    assert script(*FLAGS, *more) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags", [["--objective", "reconstruction"], ["--code-penalty", 0.1], ["--reconstruction", "squared"]]
)
def test_settings_of_an_autoencoder_need_the_point_guide(flags, capsys):
    assert script(*flags) == 2
    assert "--guide point" in capsys.readouterr().err


def test_copies_have_the_same_errors():
    model, guide = linear(dtype=torch.float32)
    expected = reconstruction_errors(model, guide, X).value
    for copied in (copy.deepcopy((model, guide)), pickle.loads(pickle.dumps((model, guide)))):
        assert torch.equal(reconstruction_errors(*copied, X).value, expected)
