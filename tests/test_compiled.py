"""Traced loss and gradients equal Pyro's for many kinds of programs; programs that cannot be traced are reported."""

import importlib
import itertools
import math
import re
import sys
from types import SimpleNamespace

import pyro
import pyro.distributions as dist
import pytest
import torch
from programs import BOUNDS, DATA_DIM, DENSE_GUIDES, ExactGuide, copied, linear_problem, rows, small_vae
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from pyro_vae import ELBO
from pyro_vae._checks import InputError
from pyro_vae._programs import parameters_of
from pyro_vae.compiled import CompiledGradients, Gradients, inductor, uncompiled
from pyro_vae.compiled.graph import Graph, _replayed, trace
from pyro_vae.compiled.masks import without_mask_indexing
from pyro_vae.compiled.matmul import lower_linear, through_onednn, without_bias
from pyro_vae.experiment.build import build
from pyro_vae.experiment.config import ModelConfig
from pyro_vae.likelihoods import LIKELIHOODS
from pyro_vae.objectives import OBJECTIVES
from pyro_vae.settings.latents import names_for_latent

HALF = torch.tensor(0.5)


@pytest.fixture(autouse=True)
def small_products_too(monkeypatch):
    """Have the products of the tests' small networks go the way of those of large ones."""
    monkeypatch.setattr("pyro_vae.compiled.matmul.SMALL", 0)


@pytest.mark.slow
@pytest.mark.parametrize("fast_mkl", [True, False])
@pytest.mark.parametrize("backend", [uncompiled, inductor])
def test_products_of_both_libraries_with_bias_and_activation(backend, fast_mkl, monkeypatch):
    monkeypatch.setattr("pyro_vae.compiled.matmul.has_fast_mkl", lambda: fast_mkl)
    weight, bias = torch.randn(5, 4), torch.randn(5)

    def products(x):
        kept = torch.addmm(bias, x, weight.t())  # used twice: its tanh stays outside
        gone = torch.tanh(torch.addmm(bias, x, weight.t()))
        return [kept + torch.tanh(kept), gone, torch.relu(x @ x.t()), x.t() @ gone, gone @ weight]

    x = torch.randn(3, 4)
    graph = Graph(nn.Module(), [x], trace(products, [x], backend))
    for got, expected in zip(graph(2 * x), products(2 * x), strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["operator", "lowering"])
def test_without_the_private_names_torchs_own_product_is_used(missing, monkeypatch):
    if missing == "operator":
        monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(), raising=False)
    else:
        importlib.import_module("torch._inductor.mkldnn_ir")
        monkeypatch.delattr("torch._inductor.mkldnn_ir")
        monkeypatch.setitem(sys.modules, "torch._inductor.mkldnn_ir", None)
    lower_linear.cache_clear()
    lower_linear()
    x, weight = torch.randn(3, 4), torch.randn(5, 4)
    graph = Graph(nn.Module(), [x], trace(lambda x: [torch.tanh(x @ weight.t())], [x], uncompiled))
    torch.testing.assert_close(graph(x)[0], torch.tanh(x @ weight.t()))
    lower_linear.cache_clear()


def test_an_activation_is_fused_if_nothing_else_uses_the_product():
    weight, bias = torch.randn(5, 4), torch.randn(5)

    def layer(x):
        product = torch.addmm(bias, x, weight.t())
        return [torch.tanh(product), torch.relu(x @ weight.t()), torch.tanh(x @ x.t()) * (x @ x.t())]

    graph = make_fx(layer)(torch.randn(3, 4))
    through_onednn(graph)
    linear = [n for n in graph.graph.nodes if n.target is torch.ops.pyro_vae.linear.default]
    assert [node.args[-1] for node in linear] == ["tanh", "relu", "tanh", "none"]


def test_a_bias_is_added_apart_from_its_product():
    weight, bias, other = torch.randn(5, 4), torch.randn(5), torch.randn(3, 5)

    def layer(x):
        return [torch.relu(torch.addmm(bias, x, weight.t())), torch.addmm(other, x, weight.t())]

    x = torch.randn(3, 4)
    graph = make_fx(layer)(x)
    without_bias(graph)
    for got, expected in zip(graph(x), layer(x), strict=True):
        torch.testing.assert_close(got, expected)
    left = [
        node.args[0].meta["val"].shape
        for node in graph.graph.nodes
        if node.target is torch.ops.aten.addmm.default
    ]
    assert left == [other.shape]  # a whole matrix is not a bias


def test_products_through_onednn_have_no_gaps_between_the_entries_of_their_matrices():
    """A slice of columns, multiplied as it is, took oneDNN 100 times as long; so did its transpose in a gradient."""
    x, weight, outer = torch.randn(6, 9), torch.randn(4, 5), torch.randn(6, 3)

    def products(x, weight, outer):
        return [x[:, :4] @ weight, x[:, :4].t() @ outer, outer.t() @ x[:, 4:], outer[:, :1].expand(6, 6) @ x]

    graph = make_fx(products, tracing_mode="fake")(x, weight, outer)
    through_onednn(graph)
    dense = []

    class Recorded(torch.fx.Interpreter):
        def call_function(self, target, args, kwargs):
            if target is torch.ops.pyro_vae.linear.default:
                dense.extend(t.is_contiguous() or t.t().is_contiguous() for t in args[:2])
            return super().call_function(target, args, kwargs)

    for got, expected in zip(Recorded(graph).run(x, weight, outer), products(x, weight, outer), strict=True):
        torch.testing.assert_close(got, expected)
    assert len(dense) == 8
    assert all(dense)


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "most"), [(uncompiled, 0.5), (uncompiled, 1.1), (inductor, 1.1)])
def test_what_a_mask_picks_may_be_of_any_number(backend, most):
    def clipped(x, slope):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            y = slope * x**2
            y[x > 1] = x[x > 1]
            y[x < 0] = 0.0
            (gradient,) = torch.autograd.grad(y.sin().sum(), x)
            doubled = y.index_put((x > 0,), x[x > 0], accumulate=True)
        return [y.detach(), gradient, doubled.detach()]

    slope = torch.tensor(3.0)
    inputs = [torch.linspace(0, most, 6), slope]
    graph = Graph(nn.Module(), inputs, trace(clipped, inputs, backend))
    for x in (torch.linspace(-3, 3, 6), torch.linspace(2, 3, 6), torch.full((6,), -1.0)):
        for got, expected in zip(graph(x, slope), clipped(x, slope), strict=True):
            torch.testing.assert_close(got, expected)


def test_other_indices_stay():
    def indices(x, rows, mask):
        x = x.clone()
        x[rows] = 1.0
        x[mask] = 2.0  # whole rows: its mask is shorter than x
        positive = x > 0
        x[positive] = x[positive].sum()  # one number from however many
        return [x.index_put((rows,), x[rows]), x[mask].sum()]

    inputs = torch.randn(3, 2), torch.tensor([0, 2]), torch.tensor([True, False, True])
    graph = make_fx(indices)(*inputs)
    before = str(graph.graph)
    without_mask_indexing(graph)
    assert str(graph.graph) == before
    for got, expected in zip(graph(*inputs), indices(*inputs), strict=True):
        torch.testing.assert_close(got, expected)


def pair(model, guide, x, objective=None, backend=uncompiled):
    loss = (objective or ELBO())(model, guide)
    parameters = parameters_of(model, guide, x)
    return Gradients(loss, parameters), CompiledGradients(loss, parameters, [x], backend)


def evaluate(gradients, *data, progress=HALF, seed=7):
    torch.manual_seed(seed)
    return gradients(*data, progress=progress)


def assert_agree(ours, theirs, rtol=1e-5):
    """Relative to the size of each: entries near zero are differences of large ones."""
    pairs = [*zip(ours.terms, theirs.terms, strict=True), (ours.norm, theirs.norm)]
    pairs += list(zip(ours.gradients, theirs.gradients, strict=True))
    for got, expected in pairs:
        if expected is None:
            assert got is None
        else:
            assert (got - expected).norm() <= rtol * max(expected.norm(), 1e-3 * theirs.norm)


def check_traced(model, guide, x, objective=None, backend=uncompiled, **tolerance):
    plain, traced = pair(model, guide, x, objective, backend)
    for step in range(2):
        expected = evaluate(plain, x, seed=step)
        after = torch.get_rng_state()
        assert_agree(evaluate(traced, x, seed=step), expected, **tolerance)
        assert torch.equal(torch.get_rng_state(), after)
    assert traced.note == ""
    return plain, traced


@pytest.mark.slow
@pytest.mark.parametrize("objective", BOUNDS)
def test_every_objective_traces(objective):
    check_traced(*small_vae(), rows(), OBJECTIVES[objective](num_particles=2))


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_likelihood_traces(likelihood):
    check_traced(*small_vae(likelihood), rows(likelihood))


def named_programs(**names):
    config = ModelConfig(
        likelihood="bernoulli", latent_dim=3, hidden=(8,), activation="tanh", prior_components=4, **names
    )
    x = rows("bernoulli", 500).double()
    return build(config, x.mean(0), x.std(0))


@pytest.mark.slow
@pytest.mark.parametrize("guide", sorted(set(DENSE_GUIDES) - {"spline"}))  # which the next test traces
def test_every_guide_traces(guide):
    check_traced(*named_programs(guide=guide), rows("bernoulli"))


@pytest.mark.slow
def test_a_spline_is_replayed_beyond_its_bounds():
    graphs = []

    def keep(graph, inputs):
        graphs.append(graph)
        return graph

    model, guide = named_programs(guide="spline")
    # Many z lie where the spline is the identity, in each step others.
    with torch.no_grad():
        guide.encoder[-1][-1].weight.mul_(30)
    check_traced(model, guide, rows("bernoulli"), None, keep)
    picking = [node for node in graphs[0].graph.nodes if node.target is torch.ops.aten.index.Tensor]
    assert picking == []  # what TorchInductor does not compile


@pytest.mark.slow
@pytest.mark.parametrize("prior", names_for_latent("prior"))
def test_every_prior_traces(prior):
    check_traced(*named_programs(prior=prior), rows("bernoulli"))


@pytest.mark.slow
def test_the_compiled_graph_agrees():
    """Of programs with labels, whole numbers beside the rows; one graph, since compiling takes seconds."""
    objective = ELBO(num_particles=3, beta=0.5, warmup=0.8, free_bits=0.1)
    x, labels = rows("bernoulli"), torch.arange(32) % 3
    config = ModelConfig(likelihood="bernoulli", latent_dim=2, hidden=(8,))
    loss = objective(*build(config, x.mean(0), x.std(0), context_dim=3))
    parameters = list(loss.parameters())
    plain, compiled = Gradients(loss, parameters), CompiledGradients(loss, parameters, (x, labels), inductor)
    for seed, progress in enumerate((0.0, 0.3, 1.0)):
        data = rows("bernoulli", seed=seed), labels.roll(seed, 0)
        expected = evaluate(plain, *data, progress=torch.tensor(progress))
        after = torch.get_rng_state()
        assert_agree(evaluate(compiled, *data, progress=torch.tensor(progress)), expected)
        assert torch.equal(torch.get_rng_state(), after)
    assert compiled.note == ""


def test_what_a_replay_returns_is_its_own():
    # As a CUDA graph does: every run writes its results to the same place.
    place = torch.zeros(3)
    run = _replayed(lambda x: [place.copy_(x)])
    first, second = (run(torch.full((3,), value))[0] for value in (1.0, 2.0))
    assert first.tolist() == [1, 1, 1]
    assert second.tolist() == [2, 2, 2]


@pytest.mark.gpu
@pytest.mark.parametrize("objective", BOUNDS)
def test_replays_on_a_gpu_agree(objective):
    model, guide = (program.cuda() for program in small_vae("bernoulli"))
    plain, compiled = pair(
        model, guide, rows("bernoulli").cuda(), OBJECTIVES[objective](num_particles=2), inductor
    )
    kept = []
    for step in range(5):
        x, progress = rows("bernoulli", seed=step).cuda(), torch.tensor(step / 5, device="cuda")
        expected = evaluate(plain, x, progress=progress, seed=step)
        kept.append((evaluate(compiled, x, progress=progress, seed=step), expected))
    assert compiled.note == ""
    for got, expected in kept:
        assert_agree(got, expected, rtol=1e-4)


@pytest.mark.slow
def test_progress_is_not_baked_in():
    x = rows()
    plain, traced = pair(*small_vae(), x, ELBO(warmup=1.0))
    losses = []
    for share in (0.1, 0.9):
        progress = torch.tensor(share)
        losses.append(evaluate(traced, x, progress=progress).terms.loss)
        assert_agree(evaluate(traced, x, progress=progress), evaluate(plain, x, progress=progress))
    assert abs(losses[0] - losses[1]) > 1e-3


@pytest.mark.slow
def test_weights_are_read_in_place():
    model, guide = small_vae()
    x = rows()
    plain, traced = pair(model, guide, x)
    before = evaluate(traced, x)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
        model.likelihood.scale_floor.fill_(0.5)
    assert_agree(evaluate(traced, x), evaluate(plain, x))
    assert abs(evaluate(traced, x).terms.loss - before.terms.loss) > 1e-2


class StraightThrough(torch.autograd.Function):
    """Rounds forwards, three times the identity backwards."""

    @staticmethod
    def forward(context, value):
        return value.round()

    @staticmethod
    def backward(context, gradient):
        return 3 * gradient


class Awkward(nn.Module):
    """A model whose gradient is not that of its value."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.decoder = nn.Linear(2, DATA_DIM)
        self.slope = nn.Parameter(torch.tensor(0.7))
        if kind == "hook":
            self.decoder.weight.register_hook(lambda gradient: 2 * gradient)

    def loc(self, z):
        loc = self.slope * self.decoder(z)
        if self.kind == "detach":
            return loc + (loc**2).detach() * self.slope
        if self.kind == "no_grad":
            with torch.no_grad():
                shift = loc.mean(0)
            return loc - shift
        if self.kind == "function":
            return StraightThrough.apply(loc)
        return loc

    def forward(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.loc(z), 1.0).to_event(1), obs=x)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["detach", "no_grad", "hook", "function"])
def test_programs_whose_gradient_is_not_that_of_their_value(kind):
    model, (_, guide) = Awkward(kind), small_vae()
    x = rows()
    _, traced = check_traced(model, guide, x)
    ordinary, _ = pair(Awkward("ordinary"), guide, x)
    ordinary.loss.model.load_state_dict(model.state_dict())
    got, other = evaluate(traced, x), evaluate(ordinary, x)
    assert max((a - b).norm() for a, b in zip(got.gradients, other.gradients, strict=True)) > 0.01


@pytest.mark.slow
def test_double_precision_and_a_plain_function_with_parameters():
    model, x = linear_problem()

    def guide(x):
        loc = pyro.param("loc", torch.zeros(2, dtype=x.dtype))
        scale = pyro.param("scale", torch.ones(2, dtype=x.dtype), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, scale).to_event(1))

    check_traced(model, guide, x, rtol=1e-12)
    check_traced(model, ExactGuide(model), x, rtol=1e-12)


@pytest.mark.slow
def test_a_parameter_that_is_not_used_has_no_gradient():
    model, guide = small_vae()
    model.unused = nn.Parameter(torch.zeros(3))
    _, traced = check_traced(model, guide, rows())
    names = [name for name, _ in model.named_parameters()]
    assert evaluate(traced, rows()).gradients[names.index("unused")] is None


@pytest.mark.slow
def test_batch_norm_moves_its_buffers_once_a_step():
    model, guide = small_vae()
    guide.encoder.append(nn.BatchNorm1d(4))
    x = rows()
    start, after = copied(guide), []
    for gradients in pair(model, guide, x):
        guide.load_state_dict(start)
        for step in range(3):
            evaluate(gradients, x + step)
        assert gradients.note == ""
        after.append(copied(guide))
    torch.testing.assert_close(*after, rtol=1e-5, atol=1e-6)
    assert int(after[1]["encoder.3.num_batches_tracked"]) == 3


@pytest.mark.slow
def test_training_mode_attributes_and_dtype_are_detected():
    model, guide = small_vae()
    guide.encoder[1].p = 0.5
    x = rows()
    plain, traced = pair(model, guide, x)

    def evaluation_mode():
        guide.eval()

    def other_floor():
        guide.scale_floor = 0.3

    def in_double():
        model.double(), guide.double()

    losses = [float(evaluate(traced, x).terms.loss)]
    for change in (evaluation_mode, other_floor, in_double):
        change()
        y = x.to(next(model.parameters()).dtype)
        assert_agree(evaluate(traced, y), evaluate(plain, y))
        losses.append(float(evaluate(traced, y).terms.loss))
    assert len(set(losses)) == 4
    assert traced.note == ""


def test_programs_that_lose_or_gain_an_attribute_or_a_hook_are_detected():
    model, guide = small_vae()
    x = rows()
    inputs = (HALF, x)
    operations = trace(lambda progress, x: [guide.encoder(x)], inputs, uncompiled)
    graph = Graph(nn.ModuleList([model, guide]), inputs, operations)
    assert graph.is_current(inputs)
    guide.extra = 1
    assert not graph.is_current(inputs)
    del guide.extra
    assert graph.is_current(inputs)
    hook = guide.encoder.register_forward_hook(lambda *_: None)
    assert not graph.is_current(inputs)
    hook.remove()
    del guide.scale_floor
    assert not graph.is_current(inputs)


@pytest.mark.slow
def test_programs_declared_unchanged_are_not_checked():
    model, guide = small_vae()
    x = rows()
    _, traced = pair(model, guide, x)

    def loss(**unchanged):
        torch.manual_seed(7)
        return float(traced(x, progress=HALF, **unchanged).terms.loss)

    before = loss(unchanged=True)  # nothing has been traced yet, so it is
    guide.scale_floor = 0.3
    assert loss(unchanged=True) == before
    assert loss() != before


@pytest.mark.slow
def test_what_changes_in_every_step_ends_tracing_with_a_sentence():
    model, guide = small_vae()
    x = rows()
    plain, traced = pair(model, guide, x)
    for step in range(8):
        guide.scale_floor = 0.1 * (step + 1)
        assert_agree(evaluate(traced, x), evaluate(plain, x))
    assert "Keep values that change in a tensor" in traced.note


class ReadsValues(Awkward):
    def loc(self, z):
        return self.decoder(z) * (2.0 if z.sum() > 0 else 1.0)


class BakesValues(Awkward):
    def loc(self, z):
        return self.decoder(z) * float(z.detach().numpy().mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "message"),
    [(ReadsValues, "could not be compiled"), (BakesValues, "could not be compiled|differs from Pyro's by")],
)
def test_unsupported_operations_fall_back_to_the_handlers_with_a_note(model, message):
    program, (_, guide) = model("ordinary"), small_vae()
    x = rows()
    plain, traced = pair(program, guide, x)
    for step in range(3):
        assert_agree(evaluate(traced, x, seed=step), evaluate(plain, x, seed=step), rtol=0)
    assert re.search(message, traced.note)


@pytest.mark.slow
def test_a_backend_that_fails_is_reported():
    def broken(graph, inputs):
        raise OSError("no C++ compiler here")

    x = rows()
    plain, traced = pair(*small_vae(), x, backend=broken)
    assert_agree(evaluate(traced, x), evaluate(plain, x), rtol=0)
    assert traced.note == (
        "The programs could not be compiled (OSError: no C++ compiler here); falling back to Pyro's handlers."
    )


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [math.nan, 1.001])
def test_a_backend_with_other_results_is_reported(spoil):
    def wrong(graph, inputs):
        return lambda *values: [spoil * value for value in graph(*values)]

    x = rows()
    plain, traced = pair(*small_vae(), x, backend=wrong)
    assert_agree(evaluate(traced, x), evaluate(plain, x), rtol=0)
    assert "differs from Pyro's by" in traced.note


@pytest.mark.slow
@pytest.mark.parametrize(("wrong_calls", "is_usable"), [({0}, True), ({0, 2}, False)])
def test_a_graph_is_used_if_it_agrees_for_two_of_three_noises(wrong_calls, is_usable):
    """A rounding error can switch a unit with a kink, so one comparison in some hundred fails by chance."""

    def switched(graph, inputs):
        calls = itertools.count()
        return lambda *values: [
            1.001 * value if call in wrong_calls else value
            for call in [next(calls)]
            for value in graph(*values)
        ]

    x = rows()
    plain, traced = pair(*small_vae(), x, backend=switched)
    assert_agree(evaluate(traced, x), evaluate(plain, x))
    assert (traced.note == "") == is_usable


def test_invalid_programs_raise_the_same_error():
    model, guide = small_vae()
    _, traced = pair(model, guide, rows())
    with pytest.raises(InputError, match=r"x of shape \(N, 6\); got \(4, 5\)"):
        evaluate(traced, torch.zeros(4, 5))


@pytest.mark.slow
def test_other_shapes_go_through_the_handlers():
    x = rows()
    sizes = []

    def keep(graph, inputs):
        sizes.append(len(inputs[1]))
        return graph

    plain, traced = pair(*small_vae(), x, backend=keep)
    for part in (x, x[:5], x):
        assert_agree(evaluate(traced, part), evaluate(plain, part))
    assert sizes == [len(x)]  # one trace


@pytest.mark.slow
def test_a_first_batch_that_is_not_finite_is_not_compared():
    x = rows()
    plain, traced = pair(*small_vae(), x)
    assert not torch.isfinite(evaluate(traced, x / 0).terms.loss)
    assert_agree(evaluate(traced, x), evaluate(plain, x))
    assert traced.note == ""


@pytest.mark.slow
def test_tracing_leaves_no_trace():
    x, state = rows(), torch.get_rng_state()
    model, guide = small_vae()
    guide.encoder.append(nn.BatchNorm1d(4))
    before = copied(guide)
    plain, traced = pair(model, guide, x)
    torch.set_rng_state(state)
    plain(x, progress=HALF)
    expected, updated = torch.get_rng_state(), copied(guide)
    guide.load_state_dict(before)
    torch.set_rng_state(state)
    traced(x, progress=HALF)  # traces, and then takes the step
    assert torch.equal(torch.get_rng_state(), expected)
    for name, value in guide.state_dict().items():
        torch.testing.assert_close(value, updated[name], rtol=1e-5, atol=1e-6)
    assert traced.seconds > 0
    assert not math.isnan(float(evaluate(traced, x).norm))
