"""Private names of other libraries are in one package, and without them results are the same.

Other tests remove the kernel of AdamW (test_training), that of oneDNN (test_compiled) and the processor's instructions
(test_precision).
"""

import ast
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pyro.distributions as dist
import pytest
import torch
from programs import rows, small_vae
from pyro.nn import PyroModule
from torch import nn

from pyro_vae import ELBO, fit, log_likelihood
from pyro_vae import _compat as compat
from pyro_vae.compiled import CompiledGradients, Gradients, inductor
from pyro_vae.distributions.bernoulli import LogitBernoulli

ROOT = Path(__file__).parent.parent
FILES = sorted(path for folder in ("pyro_vae", "scripts") for path in (ROOT / folder).rglob("*.py"))
NAMEDTUPLE = {"_asdict", "_replace", "_fields", "_make"}
"""Public, whatever the underscore."""
HALF = torch.tensor(0.5)


def is_private(name):
    return name.startswith("_") and not name.startswith("__") and name not in NAMEDTUPLE


def own_names(trees):
    """Return the names that are defined somewhere in the project, methods and attributes too."""
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def named_by(node):
    """Return the names that a piece of code uses from outside its file."""
    if isinstance(node, ast.Attribute):
        return [node.attr]
    if isinstance(node, ast.Import):
        return [part for alias in node.names for part in alias.name.split(".")]
    if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith(
        ("pyro_vae", "benchmarks", "_clone", "_run_state")
    ):
        return [*(node.module or "").split("."), *(alias.name for alias in node.names)]
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
        "getattr",
        "hasattr",
        "setattr",
        "delattr",
    ):
        texts = [part for part in ast.walk(node.args[1]) if isinstance(part, ast.Constant)]
        return [str(texts[0].value)] if texts else []
    return []


def foreign_private_names(trees):
    """Yield line and name of what starts with an underscore and is defined nowhere in the project."""
    own = set(own_names(trees))
    for tree in trees:
        for node in ast.walk(tree):
            for name in named_by(node):
                if is_private(name) and name not in own:
                    yield f"{tree.path}:{node.lineno}: {name}"


def parsed(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.path = path.relative_to(ROOT)
    return tree


@pytest.mark.slow
def test_private_names_of_other_libraries_are_in_one_package():
    trees = [parsed(path) for path in FILES if path.parent != Path(compat.__file__).parent]
    assert not list(foreign_private_names(trees))


@pytest.mark.parametrize(
    "code",
    [
        "torch._fused_adamw_",
        "import torch._inductor",
        "from torch._inductor import config",
        "from torch.utils import _pytree",
        "getattr(torch, '_C')",
        "getattr(torch.cpu, f'_is_{name}_supported')",
    ],
)
def test_a_private_name_elsewhere_is_found(code):
    tree = ast.parse(code)
    tree.path = "a file"
    assert len(list(foreign_private_names([tree]))) == 1


def trained(optimizer):
    model, guide = small_vae()
    fit(
        model,
        guide,
        rows(),
        epochs=3,
        batch_size=10,
        optimizer=optimizer,
        clip_norm=0.5,
        seed=0,
        progress=False,
    )
    return [*model.parameters(), *guide.parameters()]


def test_an_optimizer_without_the_scaling_attribute_takes_the_same_steps():
    def silent(parameters):
        adam = torch.optim.Adam(parameters, lr=1e-2, fused=True)
        assert compat.takes_scale(adam)
        del adam._step_supports_amp_scaling
        assert not compat.takes_scale(adam)
        return adam

    spoken = trained(partial(torch.optim.Adam, lr=1e-2, fused=True))
    torch.testing.assert_close(trained(silent), spoken, rtol=1e-4, atol=1e-6)


def test_without_its_names_a_sample_is_not_validated():
    inside, outside = torch.tensor([0.0, 1.0]), torch.tensor([0.5, 2.0])
    bernoulli = LogitBernoulli(logits=torch.zeros(2), validate_args=True)
    compat.validate_sample(bernoulli, inside)
    with pytest.raises(ValueError, match="support"):
        compat.validate_sample(bernoulli, outside)
    compat.validate_sample(SimpleNamespace(_validate_args=True), outside)
    compat.validate_sample(SimpleNamespace(), outside)
    torch.testing.assert_close(
        bernoulli.log_prob(inside), dist.Bernoulli(logits=torch.zeros(2)).log_prob(inside)
    )


def test_a_module_without_pyros_context_is_left_unchanged():
    class Program(PyroModule):
        pass

    program, plain = Program(), nn.Linear(2, 2)
    for module in (program, plain):
        compat.give_local_state(module)
    assert vars(plain).keys() == vars(nn.Linear(2, 2)).keys()
    assert program._pyro_context.param_state == {"params": {}, "constraints": {}}


def test_without_the_dispatch_mode_estimates_are_the_same(monkeypatch):
    model, guide = small_vae()
    x = rows(count=5)
    expected = log_likelihood(model, guide, x, num_samples=50)
    monkeypatch.setitem(sys.modules, "torch.utils._python_dispatch", None)
    found = log_likelihood(model, guide, x, num_samples=50)
    torch.testing.assert_close(found.value, expected.value, rtol=0, atol=0)


@pytest.mark.parametrize("name", [None, "torch.utils._python_dispatch"])
def test_every_new_tensor_is_observed(name, monkeypatch):
    if name is not None:
        monkeypatch.setitem(sys.modules, name, None)
    seen = []
    with compat.observe_tensors(lambda tensor: seen.append(tuple(tensor.shape))):
        a = torch.ones(3, 2)
        parts = (a @ torch.ones(2, 5)).exp().max(0)
    assert parts.values.shape == (5,)
    assert [shape for shape in seen if shape in ((3, 5), (5,))] == [(3, 5), (3, 5), (5,), (5,)]


@pytest.mark.parametrize("name", ["torch.fx.experimental.proxy_tensor", "torch._inductor"])
def test_without_the_tracer_or_the_compiler_loss_and_gradients_are_the_same(name, monkeypatch):
    model, guide = small_vae()
    loss, x = ELBO()(model, guide), rows()
    parameters = [*model.parameters(), *guide.parameters()]
    monkeypatch.setitem(sys.modules, name, None)
    compiled = CompiledGradients(loss, parameters, [x], inductor)
    results = []
    for gradients in (Gradients(loss, parameters), compiled):
        torch.manual_seed(1)
        evaluation = gradients(x, progress=HALF)
        results.append([evaluation.terms.loss, evaluation.norm, *evaluation.gradients])
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)
    assert ("no make_fx" in compiled.note) == ("proxy_tensor" in name)


@pytest.mark.parametrize("one", [True, False])
def test_a_trace_describes_its_results_by_one_fake_mode_or_by_many(one, monkeypatch):
    if not one:
        monkeypatch.delattr("torch._guards.tracing")
    x = torch.ones(2, 3)
    graph = compat.record(lambda x: [x.sin() + 2, x.cumsum(1)], x)
    values = [node.meta["val"] for node in graph.graph.nodes if "val" in node.meta]
    assert [tuple(value.shape) for value in values] == 4 * [(2, 3)]
    assert (len({id(value.fake_mode) for value in values}) == 1) == one
    torch.testing.assert_close(graph(x), [x.sin() + 2, x.cumsum(1)])


@pytest.mark.parametrize(("chosen", "expected"), [(None, [True, None]), (False, [False])])
def test_vectors_that_the_compiler_lacks_are_looked_for(chosen, expected, monkeypatch):
    """What the user has set stays; a compiler that fails with the vectors of torch is tested for its own."""
    inductor = pytest.importorskip("torch._inductor")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    tried = []

    def compiler(graph, inputs):
        tried.append(inductor.config.cpp.vec_isa_ok)
        if tried[-1]:
            raise RuntimeError("unrecognized command-line option '-mavx512f'")
        return graph

    monkeypatch.setattr(inductor, "compile", compiler)
    graph = compat.record(lambda x: 2 * x, HALF)
    with inductor.config.patch({"cpp.vec_isa_ok": chosen}):
        assert compat.compile_graph(graph, [HALF], {})(HALF) == 1
    assert tried == expected


def test_a_module_with_unknown_tables_is_not_traced():
    assert len(compat.module_tables(nn.Linear(2, 2))) == 5
    with pytest.raises(NotImplementedError, match="parts of a module"):
        compat.module_tables(SimpleNamespace(_parameters={}))
