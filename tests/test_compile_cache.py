"""Kept graphs: the same to the bit, found for the same operations only, read from the user's folder only."""

import json
import os
import sys
from functools import partial

import pytest
import torch
from programs import rows, small_vae
from torch import nn

from pyro_vae import ELBO
from pyro_vae._compat import observe_operations
from pyro_vae._programs import parameters_of
from pyro_vae.compiled import Cache, CompiledGradients, Gradients, inductor, uncompiled
from pyro_vae.compiled.recording import Recording

HALF = torch.tensor(0.5)
pytestmark = pytest.mark.skipif(
    not hasattr(os, "getuid"), reason="without owners of folders there is no cache"
)


def gradients(cache, x, backend, seed=0):
    torch.manual_seed(seed)
    model, guide = small_vae()
    loss = ELBO()(model, guide)
    return CompiledGradients(loss, parameters_of(model, guide, x), [x], backend, cache)


def results(made, x):
    torch.manual_seed(7)
    evaluation = made(x, progress=HALF)
    assert made.note == ""
    return [*evaluation.terms, evaluation.sums, evaluation.norm, *evaluation.gradients]


def unusable(graph, inputs):
    raise RuntimeError("nothing is compiled where a graph is kept")


@pytest.mark.slow
def test_a_kept_graph_gives_the_same_results_to_the_bit_and_a_damaged_one_is_compiled_again(tmp_path):
    x = rows()
    cold = results(gradients(Cache(tmp_path / "own"), x, inductor), x)
    (library,) = (tmp_path / "own").glob("*.so")
    warm = results(gradients(Cache(tmp_path / "own"), x, unusable), x)
    compiled = results(gradients(None, x, inductor), x)
    for found in (cold, warm):
        assert all(torch.equal(a, b) for a, b in zip(found, compiled, strict=True))
    content = library.read_bytes()
    library.unlink()  # the file that this process has loaded stays whole
    library.write_bytes(content[:1000])
    library.chmod(0o600)
    again = []
    damaged = gradients(Cache(tmp_path / "own"), x, lambda *given: again.append(1) or uncompiled(*given))
    for found, expected in zip(results(damaged, x), compiled, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert again


def recorded(function, *inputs):
    recording = Recording(inputs)
    with recording.running():
        outputs = function(*inputs)
    return recording.digest(outputs), recording


def test_recordings_are_equal_if_the_operations_are():
    x = torch.randn(3, 4)
    digests = [
        recorded(function, given)[0]
        for function, given in (
            (lambda x: [torch.tanh(x) * 2.0], x),
            (lambda x: [torch.tanh(x) * 2.0], x + 1),
            (lambda x: [torch.tanh(x) * 2.5], x),
            (lambda x: [torch.relu(x) * 2.0], x),
            (lambda x: [torch.tanh(x) * torch.tensor(2.0)], x),
            (lambda x: [torch.tanh(x) * torch.tensor(3.0)], x),
            (lambda x: [torch.tanh(x) * 2.0], torch.randn(4, 3).t()),
            (lambda x: [torch.tanh(x) * 2.0], x.double()),
            (lambda x: [x, torch.tanh(x) * 2.0], x),
        )
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == len(digests) - 1


def test_recordings_do_not_depend_on_when_tensors_are_freed():
    weights = [torch.randn(3), torch.randn(3)]
    kept = []

    def function(keep):
        def run(x):
            part = x.sin()
            total = part * weights[0]
            kept.append(part if keep else None)
            del part
            return [total.cos() * weights[1]]

        return run

    digests = {recorded(function(keep), torch.randn(3))[0] for keep in (True, False)}
    assert len(digests) == 1


def test_a_recording_finds_what_a_trace_captures():
    weight, x = nn.Parameter(torch.randn(2, 3)), torch.randn(4, 3)
    _, recording = recorded(lambda x: [torch.tensor([1.0, 2.0]) + x @ weight.t()], x)
    assert recording.is_complete
    places = recording.places([torch.tensor([1.0, 2.0]), weight])
    assert places is not None
    assert torch.equal(recording.externals[places[0]], torch.tensor([1.0, 2.0]))
    assert recording.externals[places[1]].data_ptr() == weight.data_ptr()
    assert recording.places([torch.tensor([1.0, 3.0])]) is None


def test_an_operator_of_others_may_change_under_its_name_and_is_not_recorded():
    library = torch.library.Library("some_users_own", "DEF")
    library.define("double(Tensor x) -> Tensor")
    library.impl("double", lambda x: 2 * x, "CompositeExplicitAutograd")
    _, recording = recorded(lambda x: [torch.ops.some_users_own.double(x)], torch.ones(2))
    assert not recording.is_complete


def test_gradients_that_cannot_be_kept_are_the_same(tmp_path):
    x = rows()
    made = gradients(Cache(tmp_path / "own"), x, uncompiled)
    plain = Gradients(made.loss, made.parameters)
    for ours, theirs in zip(results(made, x), results(plain, x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert not list((tmp_path / "own").glob("*.so"))


def test_a_graph_has_another_name_if_its_code_would_differ(tmp_path, monkeypatch):
    cache, inputs = Cache(tmp_path / "own"), [torch.ones(2, 3)]
    name = cache.key("recording", inputs)
    assert name == cache.key("recording", inputs)
    assert name != cache.key("another", inputs)
    assert name != cache.key("recording", [torch.ones(3, 2)])
    assert name != cache.key("recording", [torch.ones(3, 2).t()])
    for change in (
        partial(monkeypatch.setattr, torch, "__version__", "0"),
        partial(monkeypatch.setattr, torch, "get_num_threads", lambda: 1000),
        partial(monkeypatch.setenv, "TORCHINDUCTOR_CPP_SIMDLEN", "1"),
        partial(monkeypatch.setenv, "CXX", "another"),
        partial(monkeypatch.setattr, "pyro_vae.compiled.cache.processor", lambda: "another"),
    ):
        change()
        assert cache.key("recording", inputs) != name
        monkeypatch.undo()
        assert cache.key("recording", inputs) == name


@pytest.mark.parametrize("fault", ["content", "mode", "about", "missing", "no library"])
def test_what_is_not_as_it_was_written_is_not_loaded(fault, tmp_path, monkeypatch):
    cache = Cache(tmp_path / "own")
    library = tmp_path / "graph.so"
    library.write_bytes(b"code")
    library.with_suffix(".cpp").write_text("steal_from_raw_handles_to_raii_handles(input_handles, 2);")
    cache.store("name", library, 3, places=[0], tolerance=1e-4)
    assert cache.load("name") is None
    assert not list(cache.folder.glob("name*"))  # of another number of inputs
    cache.store("name", library, 2, places=[0], tolerance=1e-4)
    if fault != "no library":
        monkeypatch.setattr("pyro_vae.compiled.cache.open_library", lambda path: len)
        kept = cache.load("name")
        assert kept is not None
        assert (kept.run, kept.places, kept.tolerance) == (len, [0], 1e-4)
    file = cache.folder / "name.so"
    if fault == "content":
        file.write_bytes(b"evil")
    elif fault == "mode":
        file.chmod(0o666)
    elif fault == "about":
        (cache.folder / "name.json").write_text(json.dumps({"sha256": 3}))
    elif fault == "missing":
        file.unlink()
    assert cache.load("name") is None


@pytest.mark.parametrize("fault", ["readable", "link", "others"])
def test_only_a_private_folder_is_used(fault, tmp_path, monkeypatch):
    folder = tmp_path / "own"
    if fault == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.mkdir(mode=0o755 if fault == "readable" else 0o700)
    if fault == "others":
        user = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: user + 1)
    monkeypatch.setenv("PYRO_VAE_CACHE", str(folder))
    with pytest.warns(UserWarning, match="mode 0700 that you own.*PYRO_VAE_CACHE"):
        assert Cache.of_user() is None


def test_the_folder_is_the_users_choice(tmp_path, monkeypatch):
    monkeypatch.setenv("PYRO_VAE_CACHE", "off")
    assert Cache.of_user() is None
    monkeypatch.delenv("PYRO_VAE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = Cache.of_user()
    assert cache is not None
    assert cache.folder == (tmp_path / "pyro_vae").resolve()
    assert cache.folder.stat().st_mode & 0o777 == 0o700


def test_the_least_recently_used_graphs_go(tmp_path, monkeypatch):
    monkeypatch.setattr("pyro_vae.compiled.cache.MOST_GRAPHS", 2)
    cache, library = Cache(tmp_path / "own"), tmp_path / "graph.so"
    library.write_bytes(b"code")
    library.with_suffix(".cpp").write_text("steal_from_raw_handles_to_raii_handles(input_handles, 2);")
    for number in range(3):
        cache.store(str(number), library, 2, places=[], tolerance=1e-4)
        os.utime(cache.folder / f"{number}.json", (number, number))
    cache.store("3", library, 2, places=[], tolerance=1e-4)
    assert sorted(path.name for path in cache.folder.glob("*.so")) == ["2.so", "3.so"]


def test_without_the_dispatch_mode_nothing_is_kept(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils._python_dispatch", None)
    with observe_operations(lambda *seen: None) as can_observe:
        pass
    assert not can_observe
    assert not recorded(lambda x: [x + 1], torch.ones(2))[1].is_complete
