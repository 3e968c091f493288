"""Denoising: a guide of corrupted rows and a model of clean ones."""

from __future__ import annotations

import json

import pyro.distributions as dist
import pytest
import torch
from helpers import assert_within_sigma, script
from programs import ExactGuide, exact_log_prob, linear_problem, rows, small_vae
from torch import nn

from pyro_vae import (
    ELBO,
    Annealing,
    CorruptedInput,
    DiagonalNormalGuide,
    GaussianNoise,
    GenerativeModel,
    Masking,
    PointGuide,
    Reconstruction,
    SaltAndPepper,
    Schedule,
    StandardNormal,
    annealed_log_likelihood,
    denoise,
    estimate_elbo,
    load_run,
    log_likelihood,
)
from pyro_vae._checks import InputError
from pyro_vae.compiled import CompiledGradients, Gradients, uncompiled
from pyro_vae.evaluate.denoising import denoising_errors
from pyro_vae.experiment.build import build
from pyro_vae.experiment.config import ModelConfig
from pyro_vae.guides import AmortizedGuide
from pyro_vae.likelihoods import Noiseless
from pyro_vae.networks.corruption import rows_as_given
from pyro_vae.networks.row_noise import uniform_of_rows
from pyro_vae.training.fit import make_trainer

CORRUPTIONS = {
    "gaussian": lambda: GaussianNoise(0.5),
    "masking": lambda: Masking(0.3),
    "salt-and-pepper": lambda: SaltAndPepper(0.4),
}
every_corruption = pytest.mark.parametrize("name", CORRUPTIONS)


def test_the_noise_of_a_row_depends_on_that_row_alone():
    x = torch.rand(500, 8)
    noise = uniform_of_rows(x)
    shuffled = torch.randperm(500, generator=torch.Generator().manual_seed(0))
    assert torch.equal(uniform_of_rows(x[shuffled]), noise[shuffled])
    assert torch.equal(uniform_of_rows(x[7:8].expand(3, 1, 8)), noise[7:8].expand(3, 1, 8))
    assert torch.equal(uniform_of_rows(x.double()), noise.double())
    assert torch.equal(uniform_of_rows(-torch.zeros(1, 8)), uniform_of_rows(torch.zeros(1, 8)))


@pytest.mark.parametrize("binary", [False, True])
def test_the_noise_of_rows_is_uniform_and_independent(binary):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4000, 32, generator=generator)
    x = (x > 0.8).float() if binary else x
    noise = uniform_of_rows(x).double()
    assert 0 < float(noise.min()) <= float(noise.max()) < 1
    count = len(noise)
    for power in (1, 2, 3):  # E[u^p] = 1 / (p + 1)
        truth = 1 / (power + 1)
        se = ((1 / (2 * power + 1) - truth**2) / count) ** 0.5
        assert_within_sigma(noise.pow(power).mean(0), truth, se, sigmas=4.5)
    beside = torch.cat([noise, x.double()], dim=1).T
    correlations = torch.corrcoef(beside)[: noise.shape[1]].clone()
    correlations[:, : noise.shape[1]].fill_diagonal_(0)
    assert_within_sigma(correlations, 0.0, count**-0.5, sigmas=5)


@every_corruption
@pytest.mark.parametrize("fixed", [False, True])
def test_a_corruption_has_the_described_effect(name, fixed):
    torch.manual_seed(0)
    corruption, x = CORRUPTIONS[name](), 0.2 + 0.6 * torch.rand(20000, 3)
    seen = corruption.fixed(x) if fixed else corruption(x)
    count = len(x)
    if name == "gaussian":
        noise = (seen - x).double()
        assert_within_sigma(noise.mean(0), 0.0, 0.5 / count**0.5)
        assert_within_sigma(noise.square().mean(0), 0.25, 0.25 * (2 / count) ** 0.5)
        return
    shares = {"masking": {0.0: 0.3}, "salt-and-pepper": {0.0: 0.2, 1.0: 0.2}}[name]
    for value, share in shares.items():
        found = (seen == value).double().mean(0)
        assert_within_sigma(found, share, (share * (1 - share) / count) ** 0.5)
    replaced = torch.stack([seen == value for value in shares]).any(0)
    assert torch.equal(seen[~replaced], x[~replaced])


@every_corruption
def test_moments_are_those_of_corrupted_rows(name):
    torch.manual_seed(0)
    corruption, x = CORRUPTIONS[name](), 0.2 + 0.6 * torch.rand(200_000, 2).double()
    mean, variance = corruption.moments(x.mean(0), x.var(0, correction=0))
    seen = corruption(x)
    assert_within_sigma(seen.mean(0), mean, (variance / len(x)).sqrt())
    fourth = (seen - mean).pow(4).mean(0)
    assert_within_sigma(seen.var(0), variance, ((fourth - variance.square()) / len(x)).sqrt())


def test_the_encoder_is_standardized_for_corrupted_rows():
    """A column that is nearly constant would enter at hundreds of its standard deviations once there is noise."""
    mean, std = torch.full((4,), 0.1), torch.tensor([1e-3, 0.1, 0.2, 0.3])
    config = ModelConfig(likelihood="gaussian-fixed", fixed_scale=0.1, corrupt="gaussian", hidden=(8,))
    _, guide = build(config, mean, std, data_shape=(2, 2))
    torch.testing.assert_close(guide.encoder.network[0].scale, (std.square() + 0.09).sqrt())


class ExactAt(AmortizedGuide):
    """The exact posterior of a linear model at the input of its encoder."""

    def __init__(self, model, corruption, evaluation="corrupted"):
        exact = ExactGuide(model)
        linear = nn.Linear(*exact.gain.T.shape).double()
        with torch.no_grad():
            linear.weight.copy_(exact.gain)
            linear.bias.copy_(-exact.gain @ exact.mean)
        super().__init__(CorruptedInput(corruption, linear, evaluation))
        self.gain, self.covariance = exact.gain, exact.covariance

    def family(self, outputs):
        return dist.MultivariateNormal(outputs, self.covariance)

    def divergence(self, x, seen):
        """Return KL(q(z | input) || p(z | x)) of each row."""
        apart = (seen - x) @ self.gain.T
        return (apart * torch.linalg.solve(self.covariance, apart.T).T).sum(1) / 2


def test_training_climbs_the_mean_bound_over_corruptions():
    model, x = linear_problem(num_rows=4)
    level, copies = 0.3, 4000
    guide = ExactAt(model, GaussianNoise(level).double())
    torch.manual_seed(0)
    terms = ELBO()(model, guide).terms(x.repeat(copies, 1))
    bounds = (terms.reconstruction - terms.kl).reshape(copies, len(x))
    spread = torch.linalg.solve(guide.covariance, guide.gain @ guide.gain.T).trace()
    truth = exact_log_prob(model, x) - level**2 * spread / 2
    assert_within_sigma(bounds.mean(0), truth.detach(), bounds.std(0) / copies**0.5)


@pytest.mark.parametrize("evaluation", ["clean", "corrupted"])
def test_every_estimate_is_of_the_guide_that_is_evaluated(evaluation):
    model, x = linear_problem(num_rows=6)
    corruption, particles = GaussianNoise(0.3).double(), 4000
    guide = ExactAt(model, corruption, evaluation)
    exact = exact_log_prob(model, x)
    seen = x if evaluation == "clean" else corruption.fixed(x)
    gap = guide.divergence(x, seen)
    found = estimate_elbo(model, guide, x, particles)
    # log q - log p(z | x) is linear in z: its variance is twice its mean.
    se = (2 * gap / particles).sqrt().detach() + 1e-9
    assert_within_sigma(found.value, (exact - gap).detach(), se)
    assert (float(gap.mean()) > 0.05) == (evaluation == "corrupted")
    estimate = log_likelihood(model, guide, x, 1000)
    assert_within_sigma(estimate.value, exact, estimate.se + 1e-9)


@pytest.mark.slow
def test_annealing_from_a_guide_of_corrupted_rows():
    model, x = linear_problem(num_rows=3)
    guide = ExactAt(model, GaussianNoise(0.3).double(), "corrupted")
    found = annealed_log_likelihood(
        model, guide, x, Annealing(num_temperatures=10, num_chains=4), num_simulated=0
    )
    assert_within_sigma(found.value, exact_log_prob(model, x), found.se + 1e-3)


def corrupted_vae(corruption, evaluation="corrupted"):
    model, guide = small_vae()
    return model, DiagonalNormalGuide(CorruptedInput(corruption, guide.encoder, evaluation)), guide


@every_corruption
def test_the_guide_sees_corrupted_rows_and_the_model_clean_ones(name):
    corruption = CORRUPTIONS[name]()
    model, guide, plain = corrupted_vae(corruption)
    x = rows()
    torch.manual_seed(5)
    loss = ELBO()(model, guide)(x)
    torch.manual_seed(5)
    posterior = plain.posterior(corruption(x))
    z = posterior.rsample()
    likelihood = model.likelihood(model.decoder(z)).log_prob(x)
    expected = -(likelihood + model.prior().log_prob(z) - posterior.log_prob(z)).mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(p.grad is not None for p in guide.parameters())
    # With clean rows in evaluation it is the guide without corruption, to the bit.
    guide.encoder.evaluation = "clean"
    with_corruption, without = (estimate_elbo(model, one, x, seed=1).value for one in (guide, plain))
    assert torch.equal(with_corruption, without)


@pytest.mark.slow
@every_corruption
def test_traced_steps_are_those_of_the_handlers(name):
    model, guide, _ = corrupted_vae(CORRUPTIONS[name]())
    loss = ELBO()(model, guide)
    parameters, x, half = [*model.parameters(), *guide.parameters()], rows(), torch.tensor(0.5)
    traced = CompiledGradients(loss, parameters, [x], uncompiled)
    found = []
    for gradients in (Gradients(loss, parameters), traced):
        torch.manual_seed(7)
        found.append(gradients(x, progress=half))
        found.append(torch.get_rng_state())
    assert traced.note == ""
    torch.testing.assert_close(found[2].terms.loss, found[0].terms.loss)
    assert torch.equal(found[1], found[3])
    for got, expected in zip(found[2].gradients, found[0].gradients, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.slow
@pytest.mark.parametrize("point", [False, True])
def test_training_continues_to_the_bit(point):
    def trainer(epochs):
        model, guide, _ = corrupted_vae(Masking(0.3))
        objective = ELBO()
        if point:
            torch.manual_seed(0)
            x = rows()
            decoder = nn.Linear(2, x.shape[1])
            model = GenerativeModel(StandardNormal(2), decoder, Noiseless(x.mean(0), x.std(0)))
            guide = PointGuide(CorruptedInput(Masking(0.3), nn.Linear(x.shape[1], 2)))
            objective = Reconstruction()
        return make_trainer(
            model,
            guide,
            rows(),
            rows(),
            objective=objective,
            epochs=epochs,
            batch_size=8,
            schedule=Schedule("constant"),
            device="cpu",
            compile="off",
            seed=3,
            optimizer=torch.optim.Adam,
            clip_norm=None,
            patience=None,
        )

    whole, first, second = trainer(4), trainer(2), trainer(4)
    whole.run()
    first.run()
    second.load_state_dict(first.state_dict())
    second.run()
    for a, b in zip(whole.parameters, second.parameters, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("evaluation", ["clean", "corrupted"])
def test_denoise_does_not_corrupt_its_rows(evaluation):
    model, guide, plain = corrupted_vae(SaltAndPepper(0.4), evaluation)
    given = SaltAndPepper(0.4)(rows())
    expected = model.decode(plain.encode(given).mean).mean
    assert torch.equal(denoise(model, guide, given), expected)
    corrupting = guide.encoder
    assert (corrupting.training, corrupting.evaluation) == (True, evaluation)
    with rows_as_given(guide):
        assert torch.equal(guide.encode(given).mean, plain.encode(given).mean)
    found = denoising_errors(model, guide, rows())
    seen = corrupting.corruption.fixed(rows())
    torch.testing.assert_close(found.corrupted, (seen - rows()).double().square().sum(1))
    halved = denoising_errors(model, guide, rows(), torch.full((rows().shape[1],), 2.0))
    torch.testing.assert_close(halved.corrupted, found.corrupted / 4)
    torch.testing.assert_close(
        found.denoised, (denoise(model, guide, seen) - rows()).double().square().sum(1)
    )


def test_context_reaches_the_network_behind_a_corruption():
    class Sees(nn.Module):
        def forward(self, x, y):
            return torch.cat([x[:, :2], y], dim=1)

    guide = DiagonalNormalGuide(CorruptedInput(GaussianNoise(1.0), Sees(), "clean"))
    x, y = rows(), torch.rand(32, 2)
    guide.eval()
    torch.testing.assert_close(guide.posterior(x, y).mean, x[:, :2])


BAD = [
    (lambda: GaussianNoise(0.0), "level"),
    (lambda: Masking(1.0), "level below 1"),
    (lambda: SaltAndPepper(1.5), "level below 1"),
    (lambda: CorruptedInput(Masking(0.5), nn.Identity(), "both"), "evaluation to be one of corrupted, clean"),
    (lambda: denoising_errors(*small_vae(), rows()), "whose encoder is a CorruptedInput"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()


FLAGS = ["--epochs", 2, "--hidden", 8, "--latent-dim", 2, "--compile", "off", "--quiet"]


@pytest.mark.slow
def test_a_run_reports_the_input_of_the_guide(tmp_path, capsys):
    run = tmp_path / "run"
    more = ["--corrupt", "gaussian", "--corruption-level", 0.2, "--evaluate", "quick", "--out", run]
    assert script(*FLAGS, *more, figures=True) == 0
    printed = capsys.readouterr().out
    assert "guide sees gaussian corruption, level 0.2, in training; corrupted rows in evaluation" in printed
    assert "the guide saw gaussian corruption" in printed
    found = json.loads((run / "summary.json").read_text())
    assert found["guide_saw"].startswith("gaussian")
    assert_within_sigma(found["denoising"]["corrupted"]["mean"], 64 * 0.04, 0.1)
    assert (run / "figures" / "denoising.png").exists()
    loaded = load_run(run)
    assert isinstance(loaded.guide.encoder, CorruptedInput)
    assert not loaded.guide.encoder.training


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--corruption-level", 0.1], "--corrupt gaussian or masking or salt-and-pepper"),
        (["--corrupt", "masking", "--corruption-level", 1], "below 1"),
        (["--corrupt", "gaussian", "--corruption-level", 0], "--corruption-level"),
        (["--corrupt", "gaussian", "--prior", "vampprior"], "another prior than vampprior"),
    ],
)
def test_flags_that_cannot_serve_are_refused(flags, message, capsys):
    assert script(*FLAGS, *flags) == 2
    assert message in capsys.readouterr().err


def test_zeros_and_ones_are_no_noise_for_a_table(tmp_path, monkeypatch, capsys):
    import numpy as np

    monkeypatch.chdir(tmp_path)
    np.save("table.npy", np.random.default_rng(0).normal(size=(60, 4)))
    assert script(*FLAGS, "--dataset", "table.npy", "--corrupt", "salt-and-pepper") == 2
    assert "got a table" in capsys.readouterr().err
