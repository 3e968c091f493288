"""bfloat16 is for the networks' products in training; everything else stays in float32."""

from dataclasses import replace

import pyro
import pytest
import torch
from helpers import assert_within_sigma
from programs import LEVELS, rows
from test_compiled import evaluate, pair

from pyro_vae import ELBO, build, estimate_elbo, fit, load_dataset
from pyro_vae.experiment.config import Config, ModelConfig
from pyro_vae.experiment.resolve import resolve
from pyro_vae.likelihoods import LIKELIHOODS
from pyro_vae.networks import has_fast_bfloat16

LOW = ModelConfig(hidden=(32,), latent_dim=3, scale_floor=0.01, fixed_scale=0.5, precision="bf16")


def programs(config, x):
    return build(config, x.double().mean(0), x.double().std(0).clamp_min(0.1), levels=LEVELS)


@pytest.mark.parametrize("names", [("amx_tile",), ("amx_tile", "avx512_bf16")])
def test_a_torch_that_does_not_tell_of_the_instructions_is_taken_to_lack_them(names, monkeypatch):
    for name in names:
        monkeypatch.delattr(torch.cpu, f"_is_{name}_supported")
    assert has_fast_bfloat16("cpu") in ((False,) if len(names) == 2 else (False, True))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_site_is_in_float32(likelihood):
    x = rows(likelihood)
    model, guide = programs(replace(LOW, likelihood=likelihood), x)
    products = set()
    for network in (model.decoder, guide.encoder):
        for layer in network.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.register_forward_hook(lambda _, __, output: products.add(output.dtype))
    guided = pyro.poutine.trace(guide).get_trace(x)
    trace = pyro.poutine.trace(pyro.poutine.replay(model, trace=guided)).get_trace(x)
    trace.compute_log_prob(), guided.compute_log_prob()
    for site in (trace.nodes["x"], trace.nodes["z"], guided.nodes["z"]):
        assert site["value"].dtype == site["log_prob"].dtype == torch.float32
    assert {parameter.dtype for parameter in [*model.parameters(), *guide.parameters()]} == {torch.float32}
    assert products == {torch.bfloat16}


def test_evaluation_is_in_float32():
    x = rows()
    model, guide = programs(LOW, x)
    exact, exact_guide = programs(replace(LOW, precision="fp32"), x)
    low, full = (
        estimate_elbo(m.eval(), g.eval(), [(x,)]).value for m, g in ((model, guide), (exact, exact_guide))
    )
    assert torch.equal(low, full)
    assert torch.equal(estimate_elbo(model.train(), guide.train(), [(x,)]).value, full)
    torch.manual_seed(0)
    _, reconstruction, kl = ELBO()(model, guide).terms(x)
    assert 0 < (reconstruction - kl - full).abs().max() < 0.5


@pytest.mark.slow
def test_traced_programs_in_bfloat16_agree():
    x = rows()
    plain, traced = pair(*programs(LOW, x), x)
    ours, theirs = evaluate(traced, x), evaluate(plain, x)
    assert traced.note == ""
    assert {gradient.dtype for gradient in ours.gradients} == {torch.float32}
    for got, expected in zip(ours.gradients, theirs.gradients, strict=True):
        assert (got - expected).norm() <= 1e-2 * theirs.norm


@pytest.mark.slow
def test_a_network_trained_in_bfloat16_reaches_the_same_elbo():
    data = load_dataset("digits")
    mean, std = data.statistics()
    estimates = []
    for precision in ("fp32", "bf16"):
        config = replace(LOW, precision=precision, hidden=(64,), scale_floor=0.003)
        model, guide = build(config, mean, std)
        fit(model, guide, data.train, objective=ELBO(), epochs=10, seed=0, progress=False, compile="off")
        estimates.append(estimate_elbo(model, guide, [(data.test.tensor(),)], num_particles=10))
    full, low = estimates
    assert_within_sigma(low.mean, full.mean, full.se, sigmas=1)


@pytest.mark.parametrize(("width", "gains"), [(1000, True), (64, False)])
def test_auto_is_resolved_by_processor_and_width(width, gains):
    data = load_dataset("digits")
    config = Config(model=replace(LOW, precision="auto", hidden=(width,), fixed_scale=None))
    chosen = resolve(config, data, data.statistics()[1], "cpu").model.precision
    assert chosen == ("bf16" if gains and has_fast_bfloat16("cpu") else "fp32")
