"""On a GPU: the numbers of closed forms and of the CPU, results on the CPU, runs that repeat."""

import copy
import json
import math

import numpy as np
import pytest
import torch
from helpers import assert_within_sigma, script
from programs import rows, small_vae

from pyro_vae import (
    Annealing,
    DiagonalNormalGuide,
    GenerativeModel,
    StandardNormal,
    annealed_log_likelihood,
    estimate_elbo,
    fit,
    inference_gaps,
    latent_summary,
    log_likelihood,
)
from pyro_vae.baselines import PPCA
from pyro_vae.evaluate import ResampledPosterior, iwae_curve, to_arviz
from pyro_vae.guides.exact_linear import ExactLinearGuide
from pyro_vae.likelihoods import LIKELIHOODS, BernoulliLikelihood
from pyro_vae.models.linear import LinearGaussianModel
from pyro_vae.networks import ConvolutionalArchitecture

pytestmark = pytest.mark.gpu

SHORT = Annealing(20, num_chains=4, num_warmup=5)


@pytest.fixture(scope="module")
def linear():
    """A PPCA model with its exact guide in float64 on the GPU, rows, and their exact log p(x)."""
    x = np.random.default_rng(0).normal(size=(60, 5)) @ np.random.default_rng(1).normal(size=(5, 5))
    model = LinearGaussianModel.from_baseline(ppca := PPCA(2).fit(x))
    return model.cuda(), ExactLinearGuide(model), x, torch.from_numpy(ppca.score_samples(x))


def test_every_estimator_is_exact_under_the_exact_guide_and_returns_on_the_cpu(linear):
    model, guide, x, exact = linear
    weighed = log_likelihood(model, guide, x, num_samples=20)
    annealed = annealed_log_likelihood(model, guide, x, SHORT, num_simulated=2)
    curve = iwae_curve(model, guide, x, (1, 10))
    for value in (weighed.value, annealed.value):
        torch.testing.assert_close(value, exact, rtol=0, atol=1e-8)
    assert curve.mean.tolist() == pytest.approx([float(exact.mean())] * 2, abs=1e-8)
    assert estimate_elbo(model, guide, x).mean == pytest.approx(float(exact.mean()), abs=1e-8)


def test_gaps_and_summaries_of_a_program_on_the_gpu(linear):
    model, guide, x, exact = linear
    gaps = inference_gaps(model, guide, x[:10], log_prob=exact[:10], num_samples=50)
    assert_within_sigma(gaps.inference_gap.value, 0, gaps.inference_gap.se + 1e-8)
    own = latent_summary(model, guide, x)
    here = latent_summary(copy.deepcopy(model).cpu(), ExactLinearGuide(copy.deepcopy(model).cpu()), x)
    assert own.kl == pytest.approx(here.kl, abs=4 * (own.kl_se + here.kl_se))
    assert own.sites["z"].mean_variance.device.type == "cpu"
    few = ResampledPosterior(num_samples=20, num_chains=2, num_proposals=40)
    found = to_arviz(model, guide, x[:5], posterior=few, marginal_samples=20)
    assert np.isfinite(found.posterior["z"].values).all()
    assert found.log_likelihood["x"].values.mean() == pytest.approx(float(exact[:5].mean()), abs=1e-8)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_compiled_training_is_that_of_the_handlers(likelihood):
    losses = []
    for compiled in ("off", "on"):
        torch.manual_seed(0)
        result = fit(
            *small_vae(likelihood), rows(likelihood), rows(likelihood), epochs=2, batch_size=50, seed=0,
            device="cuda", compile=compiled, progress=False,
        )  # fmt: skip
        assert not result.note
        losses.append([line["loss"] for line in result.history])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_convolutions_are_evaluated_in_float32():
    torch.manual_seed(0)
    made, x = ConvolutionalArchitecture((32, 64)), (torch.rand(50, 784) < 0.3).float()
    likelihood = BernoulliLikelihood(torch.full((784,), 0.3), torch.full((784,), 0.4))
    model = GenerativeModel(StandardNormal(8), made.decoder(8, 1, (28, 28)), likelihood)
    guide = DiagonalNormalGuide(made.encoder((28, 28), 16))
    here = guide.encode(x).mean
    exact = guide.double().encode(x.double()).mean
    guide.float().cuda()
    there = guide.encode(x).mean.cpu()
    size = exact.std()
    assert (here - exact).abs().max() / size < 1e-5
    assert (there - exact).abs().max() / size < 1e-5
    z = exact.float()
    means = [copy.deepcopy(model).to(device).decode(z).mean.cpu() for device in ("cpu", "cuda")]
    torch.testing.assert_close(*means, rtol=0, atol=1e-5)


def test_a_run_repeats_resumes_and_is_scored(tmp_path):
    common = ["--epochs", "4", "--hidden", "16", "--device", "cuda", "--quiet", "--evaluate", "quick"]
    for name, flags in {"one": ["--compile", "off"], "compiled": ["--compile", "on"]}.items():
        assert script(*common, *flags, "--out", tmp_path / name) == 0
    lines = [
        [json.loads(line)["loss"] for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "compiled")
    ]
    assert lines[0] == pytest.approx(lines[1], rel=1e-3)
    assert script("--resume", tmp_path / "one", "--epochs", "5", "--quiet", "--evaluate", "none") == 0
    checks = ["--ais", "--gaps", "--check-rows", "3", "--num-samples", "20", "--quiet"]
    for device in ("cuda", "cpu"):
        assert script(tmp_path / "one", *checks, "--device", device, name="evaluate.py") == 0
        found = json.loads((tmp_path / "one" / "evaluation.json").read_text())
        assert all(map(math.isfinite, (found["elbo"]["mean"], found["log_likelihood"]["mean"])))


@pytest.mark.parametrize(
    "flags",
    [
        "--layers 4 2 --objective iwae --num-particles 3",
        "--layers 4 2 --objective dreg --num-particles 3 --inference ladder",
        "--context label --labelled-rows 100 --binarize dynamic --likelihood bernoulli",
        "--latent categorical --states 3 --latent-dim 4",
    ],
)
def test_compiled_programs_of_several_sites_draw_their_noise_in_order(flags, tmp_path, capsys):
    # The compiler may change the order of operations, but not of those that draw: the check would not hold.
    common = ["--epochs", "1", "--hidden", "16", "--device", "cuda", "--compile", "on", "--evaluate", "none"]
    assert script(*common, *flags.split(), "--quiet", "--out", tmp_path / "run") == 0
    assert "handlers" not in capsys.readouterr().out
