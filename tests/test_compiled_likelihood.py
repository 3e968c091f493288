"""Log-likelihoods by compiled graphs equal those by Pyro's handlers, and closed forms."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from programs import rows, small_vae
from torch.distributions import Bernoulli
from torch.fx.experimental.proxy_tensor import make_fx

from pyro_vae import DiagonalNormalGuide, GenerativeModel, StandardNormal, mlp_decoder, mlp_encoder
from pyro_vae.compiled import CompiledFunction
from pyro_vae.compiled.softplus import with_few_logarithms
from pyro_vae.distributions.bernoulli import LogitBernoulli
from pyro_vae.evaluate import iwae_curve, log_likelihood, log_weights
from pyro_vae.likelihoods import BernoulliLikelihood

SMALL = 2e4
"""Memory of a chunk that holds a part of the samples of one row."""


def rewritten(graph, inputs):
    with_few_logarithms(graph)
    return graph


@pytest.fixture
def traced(monkeypatch):
    """Trace without compiling, which takes seconds; returns the list of compiled functions."""
    made = []

    def function(*arguments, **settings):
        made.append(CompiledFunction(*arguments, **settings | {"backend": rewritten, "cache": None}))
        return made[-1]

    monkeypatch.setattr("pyro_vae.evaluate._streaming.CompiledFunction", function)
    return made


def binary_rows(count, dim):
    return (torch.rand(count, dim, generator=torch.Generator().manual_seed(0)) < 0.3).float()


def bernoulli_vae(x):
    torch.manual_seed(0)
    mean = x.mean(0)
    model = GenerativeModel(
        StandardNormal(2), mlp_decoder(2, [8], x.shape[1]), BernoulliLikelihood(mean, x.std(0))
    )
    return model, DiagonalNormalGuide(mlp_encoder(mean, torch.ones_like(mean), [8], 2 * 2))


@pytest.mark.parametrize("num_entries", [16, 20, 784, 3072, 1009])
@pytest.mark.parametrize("size", [1e-3, 1.0, 10.0, 60.0])
def test_sums_with_few_logarithms_are_as_accurate_as_softplus(num_entries, size):
    torch.manual_seed(0)
    logits, x = size * torch.randn(5, num_entries), binary_rows(1, num_entries)

    def log_prob(logits, x):
        with torch.no_grad():
            return LogitBernoulli(logits=logits, validate_args=False).to_event(1).log_prob(x)

    graph = make_fx(log_prob)(logits, x)
    with_few_logarithms(graph)
    targets = [node.target for node in graph.graph.nodes]
    assert (torch.ops.aten.softplus.default in targets) == (num_entries == 1009)
    exact = Bernoulli(logits=logits.double()).log_prob(x.double()).sum(-1)
    torch.testing.assert_close(graph(logits, x).double(), exact, rtol=2e-6, atol=1e-6)
    sure = torch.where(x == 1, 12.0, -12.0).expand(5, -1)  # 784 log-probabilities of -6e-6 each
    few = Bernoulli(logits=sure.double()).log_prob(x.double()).sum(-1)
    torch.testing.assert_close(graph(sure, x).double(), few, rtol=0.1, atol=0)


@pytest.mark.parametrize("num_entries", [784, 3072, 1009])
@pytest.mark.parametrize("size", [1e-3, 10.0, 200.0])
def test_gradients_of_sums_with_few_logarithms_are_as_accurate_as_softplus(num_entries, size):
    torch.manual_seed(0)
    logits, x = size * torch.randn(5, num_entries), binary_rows(1, num_entries)

    def weighted(logits, x):
        free = logits.requires_grad_()
        log_prob = LogitBernoulli(logits=free, validate_args=False).to_event(1).log_prob(x)
        (gradient,) = torch.autograd.grad((log_prob * torch.arange(1.0, 6.0)).sum(), free)
        return [log_prob.detach(), gradient]

    graph = make_fx(weighted)(logits, x)
    with_few_logarithms(graph)
    targets = [node.target for node in graph.graph.nodes]
    for left in (torch.ops.aten.softplus.default, torch.ops.aten.softplus_backward.default):
        assert (left in targets) == (num_entries == 1009)
    log_prob, gradient = graph(logits, x)
    exact = Bernoulli(logits=logits.detach().double()).log_prob(x.double()).sum(-1)
    torch.testing.assert_close(log_prob.double(), exact, rtol=2e-6, atol=1e-6)
    by_hand = torch.arange(1.0, 6.0)[:, None] * (x.double() - torch.sigmoid(logits.detach().double()))
    torch.testing.assert_close(gradient.double(), by_hand, rtol=1e-6, atol=1e-6)


def test_other_uses_of_softplus_are_unchanged():
    def others(x):
        kept = torch.nn.functional.softplus(x)
        return [kept.sum(-1), kept.neg_().addcmul_(x, x + 1).sum(-1), torch.addcmul(x, x, x).sum(-1)]

    x = torch.randn(2, 32)
    graph = make_fx(others)(x)
    before = str(graph.graph)
    with_few_logarithms(graph)
    assert str(graph.graph) == before


def _bernoulli_gradients(logits, x):
    free = logits.requires_grad_()
    log_prob = LogitBernoulli(logits=free, validate_args=False).to_event(1).log_prob(x)
    other = torch.nn.functional.softplus(free, beta=2.0).sum()
    return [log_prob.detach(), *torch.autograd.grad(log_prob.sum() + other, free)]


LOGITS = torch.linspace(-4.0, 5.0, 96).reshape(3, 32)
OTHER_PROGRAMS = {
    "another beta of the same logits": (_bernoulli_gradients, LOGITS, torch.ones(3, 32)),
    "rows in float64": (_bernoulli_gradients, LOGITS, torch.ones(3, 32).double()),
    "logits in bfloat16": (_bernoulli_gradients, LOGITS.bfloat16(), torch.ones(3, 32)),
    "a number is subtracted": (
        lambda logits, x: [(x * logits).sub_(1.0).sum(-1)],
        LOGITS,
        torch.ones(3, 32),
    ),
    "one number": (
        lambda logits, x: [(x * logits).sub_(torch.nn.functional.softplus(logits)).sum(-1)],
        torch.tensor(0.3),
        torch.tensor(1.0),
    ),
}


@pytest.mark.parametrize(("program", "logits", "x"), OTHER_PROGRAMS.values(), ids=OTHER_PROGRAMS)
def test_programs_near_the_pattern_keep_their_values_and_types(program, logits, x):
    graph = make_fx(program)(logits.clone(), x)
    with_few_logarithms(graph)
    for found, expected in zip(graph(logits.clone(), x), program(logits.clone(), x), strict=True):
        torch.testing.assert_close(found, expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("num_samples", [7, 100, 101])
def test_chunks_by_graphs_have_the_noise_and_the_weights_of_the_handlers(num_samples, traced):
    x = binary_rows(5, 32)
    settings = {"num_samples": num_samples, "max_memory": SMALL, "seed": 3}
    expected = log_weights(*bernoulli_vae(x), x, **settings, compile="off")
    assert traced == []
    found = log_weights(*bernoulli_vae(x), x, **settings, compile="on")
    assert traced
    assert all(function.note == "" for function in traced)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_a_likelihood_by_a_graph_is_the_closed_form(traced):
    """Without weights from z to x, log p(x) is known; the guide is the prior, so every weight is p(x)."""
    x = binary_rows(4, 48)
    model, _ = bernoulli_vae(x)
    with torch.no_grad():
        last = [module for module in model.decoder.modules() if isinstance(module, torch.nn.Linear)][-1]
        last.weight.zero_()
        last.bias.copy_(torch.linspace(-8, 8, 48))

    def guide(x):
        with pyro.plate("data", len(x)):
            return pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).expand([len(x), 2]).to_event(1))

    logits = (model.likelihood.offset + last.bias).double()
    exact = Bernoulli(logits=logits).log_prob(x.double()).sum(-1)
    found = log_likelihood(model, guide, x, 200, compile="on")
    assert traced[0].graph is not None
    torch.testing.assert_close(found.value, exact, rtol=1e-6, atol=0)


@pytest.mark.slow
def test_compiled_estimates_equal_uncompiled_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("PYRO_VAE_CACHE", str(tmp_path / "own"))
    x = binary_rows(6, 64)
    programs = bernoulli_vae(x)
    expected, found, kept = (log_likelihood(*programs, x, 300, compile=mode) for mode in ("off", "on", "on"))
    for name, rtol in (("value", 1e-5), ("elbo", 1e-5), ("se", 1e-3), ("ess", 1e-3)):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=rtol, atol=0)
        assert torch.equal(getattr(kept, name), getattr(found, name))


def test_programs_that_cannot_be_traced_run_uncompiled_with_the_same_result(traced):
    model, guide = small_vae()

    def reads(x):
        assert float(x.sum()) > -1e9
        return guide(x)

    x = rows(count=6)
    expected = log_likelihood(model, guide, x, 50, compile="off")
    with pytest.warns(UserWarning, match="could not be compiled"):
        found = log_likelihood(model, reads, x, 50, compile="on")
    assert torch.equal(found.value, expected.value)


def test_rows_that_cannot_be_scored_are_found_by_the_handlers(traced):
    x = binary_rows(6, 32)
    x[2, 3] = float("nan")
    programs = bernoulli_vae(x.nan_to_num(0))
    expected = log_likelihood(*programs, x, 100, max_memory=SMALL, compile="off")
    found = log_likelihood(*programs, x, 100, max_memory=SMALL, compile="on")
    torch.testing.assert_close(found.value, expected.value, rtol=1e-5, atol=1e-6, equal_nan=True)
    assert found.value.isnan().tolist() == [False, False, True, False, False, False]


def test_short_estimates_are_not_compiled_by_default(traced):
    x = binary_rows(4, 32)
    log_likelihood(*bernoulli_vae(x), x, 100)
    iwae_curve(*bernoulli_vae(x), x, num_samples=(1, 5))
    assert traced == []


def test_long_estimates_are_compiled_by_default(traced, monkeypatch):
    monkeypatch.setattr("pyro_vae.evaluate._streaming.COMPILED_BYTES", 1.0)
    x = binary_rows(4, 32)
    log_likelihood(*bernoulli_vae(x), x, 100)
    assert len(traced) == 1
