"""Runs with context: trained, resumed to the bit, read back, scored, drawn, refused."""

import json

import numpy as np
import pytest
import torch
from helpers import script

from pyro_vae import SemiSupervisedGuide, estimate_elbo, log_likelihood
from pyro_vae.baselines import PPCA
from pyro_vae.experiment.comparison import linear_baselines
from pyro_vae.experiment.config import Config, DataConfig, ModelConfig
from pyro_vae.experiment.load_data import load_data
from pyro_vae.experiment.load_run import load_run

ROWS = 60
QUICK = ("--hidden", 8, "--latent-dim", 2, "--batch-size", 16, "--schedule", "constant", "--compile", "off")
QUICK = (*QUICK, "--device", "cpu", "--quiet")
LABEL, PARTIAL = ("--context", "label"), ("--context", "label", "--labelled-rows", 9)
BINARY = ("--likelihood", "bernoulli", "--binarize", "dynamic")
CONVOLUTIONAL = ("--network", "convolutional", "--channels", 2, "--dense", 4)
KINDS = {
    "label": ("images.npz", LABEL),
    "embedded": ("images.npz", (*LABEL, *CONVOLUTIONAL, "--label-embedding", 2, "--context-prior")),
    "columns": ("table.csv", ("--context", "columns", "--context-columns", "v")),
    "quadrants": ("images.npz", ("--context", "quadrants", "--quadrants", 2, *BINARY)),
    "partial": ("images.npz", (*PARTIAL, "--metrics", "accuracy")),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("context"), np.random.default_rng(0)
    labels = np.arange(ROWS) % 3
    x = random.integers(0, 9, (ROWS, 4, 4)) + 3 * labels[:, None, None]
    np.savez(folder / "images.npz", x=x.astype(np.uint8), labels=labels)
    table = random.normal(size=(ROWS, 3)) + labels[:, None]
    lines = [",".join(map(str, [*row, "abc"[i % 3]])) for i, row in enumerate(table.round(3))]
    (folder / "table.csv").write_text("\n".join(["u,v,w,label", *lines]) + "\n")
    return folder


def trained(folder, name, *changes, out, figures=False):
    data, flags = KINDS[name]
    quick = tuple(flag for flag in QUICK if name != "embedded" or flag not in ("--hidden", 8))
    words = ["--dataset", folder / data, *flags, *quick, *changes, "--out", folder / out]
    assert script(*words, figures=figures) == 0
    return folder / out


def lines_of(run):
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in found]


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_run_is_resumed_to_the_bit_and_read_back(folder, name):
    whole = trained(folder, name, "--epochs", 3, "--evaluate", "quick", out=f"{name}-whole")
    parts = trained(folder, name, "--epochs", 1, "--evaluate", "none", out=f"{name}-parts")
    assert script("--resume", parts, "--epochs", 3, "--quiet", "--evaluate", "none") == 0
    weights = [(run / "model.safetensors").read_bytes() for run in (whole, parts)]
    assert lines_of(whole) == lines_of(parts)
    assert weights[0] == weights[1]
    run, summary = load_run(whole), json.loads((whole / "summary.json").read_text())
    test = load_data(run.config).test
    found = estimate_elbo(run.model, run.guide, test, 10)
    assert found.mean == pytest.approx(summary["elbo"]["mean"], abs=1e-4)
    assert isinstance(run.guide, SemiSupervisedGuide) == (name == "partial")
    assert bool(summary["accuracy"]) == (name == "partial")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["label", "quadrants", "partial", "columns"])
def test_test_rows_and_those_of_a_file_are_scored(folder, name, capsys):
    run = trained(folder, name, "--epochs", 1, "--evaluate", "none", out=f"{name}-scored")
    data, _ = KINDS[name]
    assert script(run, "--num-samples", 20, "--quiet", name="evaluate.py") == 0
    found = load_run(run)
    test = load_data(found.config).test
    scores = np.loadtxt(run / "scores.csv", delimiter=",", skiprows=1)[:, 1]
    own = log_likelihood(found.model, found.guide, test, 20, seed=0)
    assert np.allclose(scores, own.value, atol=1e-4)
    table = capsys.readouterr().out
    assert ("accuracy of the most probable class: test" in table) == (name == "partial")
    assert script(run, "--num-samples", 5, "--quiet", "--data", folder / data, name="evaluate.py") == 0
    assert len((run / f"scores-{(folder / data).stem}" / "scores.csv").read_text().splitlines()) == 1 + ROWS


@pytest.mark.slow
def test_rows_without_labels(folder, capsys):
    np.save(folder / "bare.npy", np.load(folder / "images.npz")["x"])
    conditional = trained(folder, "label", "--epochs", 1, "--evaluate", "none", out="label-bare")
    partial = trained(folder, "partial", "--epochs", 1, "--evaluate", "none", out="partial-bare")
    bare = ("--num-samples", 5, "--quiet", "--data", folder / "bare.npy")
    assert script(conditional, *bare, name="evaluate.py") == 2
    assert "Expected labels in" in capsys.readouterr().err
    assert script(partial, *bare, "--gaps", name="evaluate.py") == 2
    assert "Expected continuous latents for --ais and --gaps" in capsys.readouterr().err
    assert script(partial, *bare, name="evaluate.py") == 0
    assert "accuracy" not in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(("name", "picture"), [("partial", "classes"), ("quadrants", "completions")])
def test_pictures_of_context(folder, name, picture):
    run = trained(folder, name, "--epochs", 1, "--evaluate", "quick", out=f"{name}-drawn", figures=True)
    assert (run / "figures" / f"{picture}.png").stat().st_size > 1000


def test_baselines_are_those_of_residuals(folder):
    """By hand: PPCA of the rows less their class means of the training rows."""
    data = DataConfig(dataset=str(folder / "table.csv"))
    dataset = load_data(Config(data=data, model=ModelConfig(context="label")))
    x, labels = dataset.train.tensors()
    means = torch.stack([x[labels == k].double().mean(0) for k in range(3)])
    exact = PPCA(1).fit((x - means[labels]).numpy())
    new, known = dataset.test.tensors()
    truth = exact.score_samples((new - means[known]).double().numpy()).mean()
    assert linear_baselines(dataset, 1)["ppca"].test[0] == pytest.approx(truth, abs=1e-5)


REFUSED = {
    "no labels": (("--context", "label", "--dataset", "{bare}"), "Expected labels in"),
    "both": ((*PARTIAL, "--missing-labels", 0.5), "either --missing-labels or --labelled-rows"),
    "too many": (
        ("--context", "label", "--labelled-rows", 1000),
        "at most the 48 training rows with a label",
    ),
    "weight": (
        (*LABEL, "--classification-weight", 2),
        "missing labels with --classification-weight",
    ),
    "objective": ((*PARTIAL, "--objective", "iwae", "--num-particles", 3), "Expected --objective elbo"),
    "free bits": ((*PARTIAL, "--free-bits", 0.1), "no --free-bits"),
    "layers": ((*PARTIAL, "--layers", 2, 2), "one latent layer with missing labels"),
    "point": ((*PARTIAL, "--guide", "point"), "a guide with a density"),
    "prior": ((*PARTIAL, "--context-prior"), "one prior of z for all classes"),
    "two priors": ((*LABEL, "--context-prior", "--prior", "mixture"), "--context-prior or --prior, not both"),
    "latent": (
        (*LABEL, "--context-prior", "--latent", "categorical"),
        "a prior without context with --latent categorical",
    ),
    "unused": (("--labelled-rows", 9), "Expected no --labelled-rows with --context none"),
    "share": (("--context", "label", "--missing-labels", 1.5), "Expected --missing-labels in [0, 1]"),
    "accuracy": ((*LABEL, "--metrics", "accuracy"), "missing labels with --metrics accuracy"),
    "quadrants": (
        ("--context", "quadrants", "--quadrants", 4),
        "Expected --quadrants to be at most 3; got 4",
    ),
    "network": (("--context", "quadrants", "--network", "convolutional"), "Expected --network mlp"),
    "column": (("--context", "columns", "--context-columns", "x"), "a table for --context columns"),
    "mixture": ((*LABEL, "--sample-from", "mixture"), "--sample-from prior with context"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_serve_is_refused(folder, name, capsys, tmp_path):
    flags, message = REFUSED[name]
    np.save(tmp_path / "bare.npy", np.load(folder / "images.npz")["x"])
    flags = [str(flag).format(bare=tmp_path / "bare.npy") for flag in flags]
    quick = tuple(flag for flag in QUICK if name != "network" or flag not in ("--hidden", 8))
    dataset = () if "--dataset" in flags else ("--dataset", folder / "images.npz")
    assert script(*dataset, *flags, *quick, "--epochs", 1, "--out", tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()
