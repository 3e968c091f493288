"""The benchmarks' own arithmetic: what they report is what they say."""

import itertools
import json
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import SCRIPTS, assert_within_sigma, script
from scipy.stats import multivariate_normal, norm

sys.path.insert(0, str(SCRIPTS))

from benchmarks._scoring import Curve, Score, programs_of, score
from benchmarks._snapshots import Snapshots, learning_rates
from benchmarks.imputation import Completed, measured
from benchmarks.inpainting import METHODS, Halves
from benchmarks.levels import METHODS as COMPLETIONS
from benchmarks.networks import NETWORKS, Network, flops
from benchmarks.ours import trainer_of
from benchmarks.ours_profiled import parts_of
from benchmarks.processes_worker import step_of, timed
from benchmarks.pytorch import networks
from benchmarks.quality_ours import plain_layers
from benchmarks.quality_pytorch import linear_layers, start

from pyro_vae.compiled import Gradients
from pyro_vae.data.columns import Column
from pyro_vae.evaluate import log_likelihood
from pyro_vae.experiment.build import build
from pyro_vae.experiment.config import ModelConfig

SCALES_AT_ONE = {"exp": np.e, "variance": np.exp(0.5), "softplus": np.log1p(np.e)}


@pytest.fixture
def snapshots(tmp_path, monkeypatch):
    job = {"network": (12, (8, 6), 3, 20, "tanh"), "folder": str(tmp_path), "every": 60.0, "seconds": 600.0}
    monkeypatch.setattr(sys, "argv", ["", json.dumps(job)])
    return Snapshots()


@pytest.fixture
def rows():
    return (
        torch.rand(200, 12, generator=torch.Generator().manual_seed(0)) < torch.linspace(0.1, 0.6, 12)
    ).float()


@pytest.fixture
def programs(rows):
    config = ModelConfig(likelihood="bernoulli", latent_dim=3, hidden=(8, 6), activation="tanh")
    model, guide = build(config, rows.mean(0), rows.std(0), seed=1)
    return model.eval(), guide.eval()


@pytest.mark.slow
def test_the_weights_that_are_written_are_the_programs(snapshots, programs, rows):
    snapshots.write(lambda: plain_layers(*programs), "softplus")
    (path,) = snapshots.folder.glob("*.npz")
    read = programs_of(path, "tanh")
    expected = log_likelihood(*programs, rows, 50, seed=3).value
    torch.testing.assert_close(log_likelihood(*read, rows, 50, seed=3).value, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("scale", "at_one"), SCALES_AT_ONE.items())
def test_scales_match_their_names(snapshots, scale, at_one):
    encoder, decoder = torch.nn.Linear(12, 6), torch.nn.Linear(3, 12)
    torch.nn.init.zeros_(encoder.weight)
    torch.nn.init.ones_(encoder.bias)
    snapshots.write(lambda: (linear_layers(encoder), linear_layers(decoder)), scale)
    _, guide = programs_of(snapshots.folder / "0000.npz", "tanh")
    posterior = guide.encode(torch.zeros(1, 12)).base_dist
    np.testing.assert_allclose(posterior.scale, at_one, rtol=1e-6)
    np.testing.assert_allclose(posterior.loc, 1)


@pytest.mark.slow
def test_the_corrected_mean_is_that_of_all_rows(snapshots, programs, rows):
    snapshots.write(lambda: plain_layers(*programs), "softplus")
    path = snapshots.folder / "0000.npz"
    exact = log_likelihood(*programs_of(path, "tanh"), rows, 1000).mean
    few = score(path, "tanh", rows, num_samples=1000, num_rows=40)
    assert_within_sigma(few.mean, exact, few.se)
    assert few.se < 0.5 * rows.shape[0] ** -0.5 * log_likelihood(*programs, rows, 1000).value.std()
    assert score(path, "tanh", rows, num_samples=1000, num_rows=200) == (pytest.approx(exact, abs=1e-6), 0)


def test_a_level_is_found_on_the_curve(tmp_path):
    """log p(x) = -200 / seconds, at 1, 2, ..., 64 s: -10 after 20 s."""
    paths = []
    for second in range(1, 65):
        paths.append(tmp_path / f"{second:04d}.npz")
        np.savez(paths[-1], seconds=float(second))
    looked = []

    def scored(path):
        looked.append(path)
        return Score(-200 / int(path.stem), 0.0)

    curve = Curve(paths, scored)
    assert curve.seconds_to(-10.0) == pytest.approx(20)
    assert curve.seconds_to(-16.0) == pytest.approx(12.52)
    assert curve.seconds_to(-3.0) is None
    assert curve.seconds_to(-1e6) == 1.0
    assert len(looked) == len(set(looked)) < 16


def test_the_time_of_kernels_is_counted_by_part():
    names = {
        "aoti_torch_cpu_mm_out": 30.0,
        "aten::_fused_adamw_": 8.0,
        "aoti_torch_cpu_normal_functional": 1.0,
        "graph_0_cpp_fused_relu_1": 4.0,
        "aten::empty": 100.0,
    }
    events = [SimpleNamespace(key=name, self_cpu_time_total=time) for name, time in names.items()]
    parts = parts_of(events, count=2)
    assert parts == pytest.approx(
        {"products": 15e-6, "optimizer": 4e-6, "random numbers": 0.5e-6, "pointwise": 2e-6}
    )


def test_the_published_recipe():
    rates = list(learning_rates())
    assert len(rates) == 3280
    assert rates[0] == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(1e-4)
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates))


def test_a_peer_starts_at_the_data(rows):
    decoder = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 12))
    start(decoder, rows.mean(0))
    torch.testing.assert_close(decoder(torch.zeros(1, 3)).sigmoid()[0], rows.mean(0))


def test_the_operations_of_a_step_are_counted():
    """Of a layer from a to b: 2ab a row forwards, and 4ab backwards, 2ab where x needs no gradient."""
    linear = Network(10, [8], 2, 16)
    assert flops(linear) == 2 * 16 * (2 * 80 + 3 * (8 * 4 + 2 * 8) + 3 * 80)
    images = Network(64, [8], 2, 16, channels=[2, 4])
    maps = 16 * (1 * 2 * 16 + 2 * 4 * 4)
    assert flops(images) == 2 * 16 * (3 * (2 * maps + 16 * 8 + 8 * 4 + 2 * 8 + 8 * 16) - 16 * 2 * 16)


@pytest.mark.parametrize("name", ["tiny", "tiny-convolutional"])
def test_all_contenders_train_one_network(name):
    """The shapes of the weights by hand are those of ours, and so are the outputs."""
    network = NETWORKS[name]
    for ours, by_hand, columns in zip(
        trained_network(network), networks(network), (network.data_dim, network.latent_dim), strict=True
    ):
        own, other = ({tuple(w.shape) for w in module.parameters()} for module in (ours, by_hand))
        assert own == other
        inputs = torch.zeros(3, columns)
        assert ours(inputs).shape == by_hand(inputs).shape


def trained_network(network):
    """Return the encoder, without the standardization before it, and the decoder that our contender trains."""
    trainer = trainer_of(network, torch.eye(network.data_dim).repeat(2, 1))
    model, guide = trainer.modules()
    return guide.encoder[-1], model.decoder


@pytest.mark.slow
def test_quality_on_embedded_rows(tmp_path, capsys):
    epochs = "--far.epochs 2 --far.compile off --near.epochs 1 --near.compile off"
    small = f"--model.hidden 8 --model.latent-dim 2 {epochs} --snapshots 3"
    levels = "--levels -40 -1 --num-samples 50 --test-rows 20"
    words = f"quality --dataset digits --contenders ours --threads 1 --clock cpu {small} {levels} --out {tmp_path}"
    assert script(*words.split(), name="benchmark.py") == 0
    assert "| pyro_vae, compiled |" in capsys.readouterr().out
    (curve,) = json.loads((tmp_path / "quality.json").read_text())["seconds, log p(x), se"].values()
    seconds, mean, _ = curve[-1]
    assert 0 < seconds < 60
    assert -40 < mean < -20


@pytest.mark.slow
def test_an_epoch_is_timed(tmp_path, capsys):
    words = f"epoch --network tiny --num-rows 50 --contenders plain --rounds 2 --threads 1 --out {tmp_path}"
    assert script(*words.split(), name="benchmark.py") == 0
    assert "| pyro_vae, fit, Pyro's handlers |" in capsys.readouterr().out
    (times,) = json.loads((tmp_path / "epoch.json").read_text())["seconds"].values()
    assert len(times) == 2
    assert all(0 < seconds < 60 for seconds in times)


@pytest.mark.slow
def test_a_busy_neighbour_ends_with_its_turns(tmp_path, capsys):
    words = f"neighbour --network tiny --contenders pytorch --rounds 2 --seconds 0.01 --threads 1 --out {tmp_path}"
    assert script(*words.split(), name="benchmark.py") == 0
    assert "busy neighbour, ms" in capsys.readouterr().out
    found = json.loads((tmp_path / "neighbour.json").read_text())
    assert [len(*found[kind].values()) for kind in ("quiet", "busy")] == [2, 2]


def test_a_shared_step_is_taken_on_any_network(monkeypatch):
    monkeypatch.setattr(
        "benchmarks.processes_worker.CompiledGradients",
        lambda loss, parameters, _: Gradients(loss, parameters),
    )
    for network in NETWORKS["tiny"], NETWORKS["784-400-20"]:
        step = step_of(json.loads(json.dumps(network)), 8, None)
        assert timed(step, 2) > 0
        assert torch.isfinite(step().terms.loss)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["step", "--contenders", "ours", "jax"], "ours, bf16, plain, .*; got 'jax'"),
        (["step", "--networks", "tiny", "big"], "784-400-20, .*; got 'big'"),
        (["startup", "--contenders", "jax"], "ours, .*; got 'jax'"),
        (["epoch", "--contenders", "jax"], "ours, bare, .*; got 'jax'"),
        (["neighbour", "--contenders", "jax"], "ours, .*, spinning; got 'jax'"),
        (["likelihood", "--network", "big"], "784-400-20, .*; got 'big'"),
        (["quality", "--contenders", "jax"], "ours, pytorch-compiled, .*; got 'jax'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_names_that_there_are_not_end_in_a_sentence(arguments, names, capsys):
    assert script(*arguments, name="benchmark.py") == 2
    assert re.fullmatch(f"error: Expected one of {names}\\.\n", capsys.readouterr().err)


@pytest.mark.slow
def test_imputation_is_measured_in_standard_deviations_of_missing_entries(tmp_path, capsys):
    options = [
        "--datasets",
        "breast-cancer",
        "--methods",
        "mean",
        "ppca",
        "--masks",
        2,
        "--out",
        tmp_path,
    ]
    assert script("imputation", *options, name="benchmark.py") == 0
    found = json.loads((tmp_path / "imputation.json").read_text())["measures"]["breast-cancer"]
    # Of standardized columns the mean is wrong by one standard deviation; 8500 entries, of heavy tails.
    assert np.mean(found["squared_error"]["mean"]) == pytest.approx(1.0, abs=0.1)
    # A standard normal has -1.42 nats an entry, the correlations of this table are worth more than half of a nat.
    assert -0.9 < np.mean(found["log_p"]["ppca"]) < 0
    assert found["log_p"]["mean"] == []
    assert "| breast-cancer | " in capsys.readouterr().out


def test_hidden_halves_are_scored_by_independent_pixels():
    rng = np.random.default_rng(0)
    # The hidden half repeats the visible one, with one pixel in ten changed.
    visible = (rng.random((600, 8)) < np.linspace(0.2, 0.8, 8)).astype(float)
    flips = rng.random((600, 8)) < 0.1
    x, hidden = np.hstack([visible, np.abs(visible - flips)]), np.arange(16) >= 8
    train, validation, test = (
        Halves(x[rows], hidden) for rows in (slice(400), slice(400, 500), slice(500, 600))
    )
    scores = {name: method(train, validation, test) for name, method in METHODS.items()}
    changed = flips[500:]
    found = scores["nearest neighbour by the visible half"]
    assert found.error.mean() == pytest.approx(2 * 0.9 * 0.1, abs=0.08)  # two rows, each with its own changes
    mean = scores["mean image"]
    np.testing.assert_allclose(mean.error, ((train.wanted.mean(0) - test.wanted) ** 2).mean(1))
    probs = train.wanted.mean(0)
    expected = (test.wanted * np.log(probs) + (1 - test.wanted) * np.log1p(-probs)).sum(1)
    np.testing.assert_allclose(mean.log_prob, expected)
    best = scores["PPCA's conditional mean"]
    assert changed.mean() * 0.9 < best.error.mean() < 1.6 * changed.mean()
    assert best.log_prob.mean() > mean.log_prob.mean()


def test_log_p_of_missing_entries_is_that_of_a_conditional_normal():
    joint = multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]])
    x = joint.rvs(50, random_state=0)
    holes = x.copy()
    holes[::2, 1] = np.nan

    def score(rows):
        both = ~np.isnan(rows[:, 1])
        return np.where(both, joint.logpdf(np.nan_to_num(rows)), norm.logpdf(rows[:, 0]))

    truth = norm.logpdf(x[::2, 1], 0.8 * x[::2, 0], 0.6).mean()
    found = measured(Completed(np.where(np.isnan(holes), 0.8 * x[:, :1], holes), score), x, holes)
    assert found["log_p"] == pytest.approx(truth)
    assert found["squared_error"] == pytest.approx(np.mean((x[::2, 1] - 0.8 * x[::2, 0]) ** 2))


@pytest.mark.slow
def test_detection_by_autoencoders_is_measured(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    strange = rng.random(200) < 0.1
    rows = np.column_stack([rng.standard_normal((200, 3)), rng.random(200) < 0.3])
    rows[strange, 1] += 8
    (tmp_path / "tables").mkdir()
    table = np.column_stack([rows, strange])
    np.savetxt(
        tmp_path / "tables" / "mammography.csv", table, delimiter=",", header="a,b,c,d,label", comments=""
    )
    monkeypatch.setenv("PYRO_VAE_DATA", str(tmp_path))
    options = ["--datasets", "mammography", "--methods", "vae", "--seeds", 1, "--out", tmp_path]
    assert script("detection", *options, name="benchmark.py") == 0
    found = json.loads((tmp_path / "detection.json").read_text())["auroc_and_average_precision"]
    assert found["mammography"]["vae"][0][0] > 0.99
    assert "| mammography | " in capsys.readouterr().out


@pytest.mark.slow
def test_novelty_of_a_digit_left_out_is_measured(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 6000), ("t10k", 200)):
        labels = rng.integers(0, 2, count).astype(np.uint8)
        # A one is bright below, a zero above.
        images = np.zeros((count, 28, 28), np.uint8)
        images[labels == 0, :14] = 255
        images[labels == 1, 14:] = 255
        images = np.where(rng.random(images.shape) < 0.1, 255 - images, images)
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            head = b"\0\0\x08" + bytes([values.ndim]) + np.array(values.shape, ">u4").tobytes()
            (raw / f"{part}-{kind}-ubyte").write_bytes(head + values.tobytes())
    monkeypatch.setenv("PYRO_VAE_DATA", str(tmp_path))
    words = "novelty --sets 1 --methods vae ppca --epochs 2 --num-samples 5 --max-rows 300"
    assert script(*words.split(), "--out", tmp_path, name="benchmark.py") == 0
    areas = json.loads((tmp_path / "novelty.json").read_text())["auroc"]["1"]
    assert areas["vae, -log p(x)"] == areas["vae, -ELBO"] == areas["PPCA, -log p(x)"] == 1
    assert "| 1 | 1.000 |" in capsys.readouterr().out
    assert script("novelty", "--sets", "10", name="benchmark.py") == 2
    assert "Expected one of 0, 1, " in capsys.readouterr().err


def test_levels_are_completed_from_the_other_columns():
    rng = np.random.default_rng(0)
    level = rng.choice(3, 200, p=[0.5, 0.3, 0.2]).astype(float)
    rows = np.column_stack([level, 10 * level + rng.normal(size=200)])
    columns = (Column("level", "categorical", ("a", "b", "c")), Column("size", "real"))
    hidden = rows.copy()
    hidden[:60, 0] = np.nan
    assert (COMPLETIONS["most-frequent"](hidden, columns)[:60, 0] == 0).all()
    np.testing.assert_array_equal(COMPLETIONS["forest"](hidden, columns)[:, 0], level)
