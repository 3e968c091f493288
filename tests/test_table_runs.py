"""Runs on tables: units of columns, compiled steps on rows with holes, and imputation from file to file."""

import csv
import math
from functools import partial

import numpy as np
import pytest
import torch
from helpers import script
from programs import copied
from torch import nn

from pyro_vae import ELBO, DiagonalNormalGuide, GenerativeModel, StandardNormal, fit
from pyro_vae._programs import parameters_of
from pyro_vae.compiled import CompiledGradients, Gradients, uncompiled
from pyro_vae.data.columns import Column
from pyro_vae.evaluate import log_likelihood
from pyro_vae.likelihoods.table import TableLikelihood
from pyro_vae.networks.mlp import MLP
from pyro_vae.networks.table_features import TableFeatures
from pyro_vae.training.optimizer import FusedAdamW

COLUMNS = (
    Column("a", "real"),
    Column("b", "student-t"),
    Column("c", "count"),
    Column("d", "categorical", ("x", "y", "z")),
    Column("e", "ordinal", ("1", "2", "3")),
    Column("f", "binary", ("n", "y")),
    Column("g", "poisson"),
)


def rows_with_holes(num_rows=60):
    torch.manual_seed(0)
    z = torch.randn(num_rows, 1, dtype=torch.float64)
    levels = torch.randint(3, (num_rows, 2)).double()
    counts = torch.poisson((z + 1).exp())
    x = torch.cat([z, z + torch.randn_like(z), counts, levels, (z > 0).double(), counts], dim=1)
    x[torch.rand(x.shape) < 0.2] = torch.nan
    return x


def programs(x, columns=COLUMNS):
    mean = x.nanmean(0)
    std = (x - mean).square().nanmean(0).sqrt()
    torch.manual_seed(1)
    likelihood, features = TableLikelihood(mean, std, columns), TableFeatures(mean, std, columns)
    decoder = MLP(1, (8,), likelihood.num_outputs, "tanh")
    encoder = nn.Sequential(features, MLP(features.num_features, (8,), 2, "tanh"))
    # Means and deviations are kept in float32 unless that is the default; the units of the test need more.
    model = GenerativeModel(StandardNormal(1), decoder, likelihood).double()
    guide = DiagonalNormalGuide(encoder).double()
    for part in (likelihood, features):
        part.mean.copy_(mean)
        part.std.copy_(std)
    return model, guide


@pytest.mark.slow
def test_the_unit_of_a_column_leaves_training_as_it_is_and_shifts_log_p_by_the_log_jacobian():
    x = rows_with_holes()
    other = x.clone()
    other[:, 0] = 1000 * x[:, 0] + 5
    other[:, 1] = x[:, 1] / 8 - 3
    found, states = [], []
    for rows in (x, other):
        model, guide = programs(rows)
        adam = partial(FusedAdamW, lr=1e-2)
        fit(
            model, guide, rows, epochs=3, batch_size=20, optimizer=adam, seed=0, compile="off", progress=False
        )
        found.append(log_likelihood(model, guide, rows, num_samples=20, seed=0).value)
        states.append(copied(nn.ModuleList([model.decoder, guide])))
    jacobian = math.log(1000) * ~x[:, 0].isnan() - math.log(8) * ~x[:, 1].isnan()
    torch.testing.assert_close(found[1], found[0] - jacobian, rtol=0, atol=1e-7)
    for name, value in states[0].items():
        if not name.endswith(("mean", "std")):
            torch.testing.assert_close(states[1][name], value, rtol=1e-7, atol=1e-9)


@pytest.mark.slow
def test_a_compiled_step_on_rows_with_holes_is_that_of_pyro():
    x = rows_with_holes()
    model, guide = programs(x)
    loss, parameters = ELBO()(model, guide), parameters_of(model, guide, x)
    values = []
    for gradients in (Gradients(loss, parameters), CompiledGradients(loss, parameters, [x], uncompiled)):
        for seed in range(2):
            torch.manual_seed(seed)
            values.append(gradients(x, progress=torch.tensor(0.5)))
    assert gradients.note == ""
    for plain, compiled in zip(values[:2], values[2:], strict=True):
        assert plain.norm.isfinite()
        torch.testing.assert_close(compiled.terms, plain.terms)
        torch.testing.assert_close(compiled.gradients, plain.gradients)


@pytest.mark.slow
def test_a_run_imputes_a_table_from_file_to_file(tmp_path, capsys):
    rng = np.random.default_rng(4)
    level = rng.integers(0, 3, 300)
    size = (10 * level + rng.normal(size=300)).round(2)
    lines = [f"{i};{'' if i % 9 == 0 else s};{'?' if i % 7 == 3 else 'abc'[k]};{rng.poisson(2)}"
             for i, (s, k) in enumerate(zip(size, level, strict=True))]  # fmt: skip
    table, out, run = tmp_path / "rows.csv", tmp_path / "full.csv", tmp_path / "run"
    table.write_text("\r\n".join(["id;size;level;visits", *lines]))
    options = "--likelihood table --hidden 16 --latent-dim 1 --epochs 60 --lr 0.02 --batch-size 64"
    words = [*options.split(), "--evaluate", "none", "--compile", "off", "--quiet", "--out", run]
    assert script("--dataset", table, *words) == 0
    words = [run, table, "-o", out, "--draws", 2, "--num-samples", 300, "--quiet"]
    assert script(*words, name="impute.py") == 0
    assert "77 of 900 cells imputed, in 72 rows" in capsys.readouterr().out
    given = [line.split(b";") for line in table.read_bytes().split(b"\n")]
    full = [line.split(b";") for line in out.read_bytes().split(b"\n")]
    for before, after in zip(given, full, strict=True):
        assert all(a == b for a, b in zip(after, before, strict=True) if b not in (b"", b"?"))
    known = [i for i in range(300) if i % 9 == 0 and i % 7 != 3]
    errors = [float(full[1 + i][1]) - size[i] for i in known]
    assert np.sqrt(np.mean(np.square(errors))) < 4  # of 8.2, the standard deviation
    assert {full[1 + i][2] for i in range(300)} == {b"a", b"b", b"c"}
    hits = [full[1 + i][2].decode() == "abc"[level[i]] for i in range(300) if i % 7 == 3 and i % 9]
    assert np.mean(hits) > 0.9
    with (tmp_path / "full.cells.csv").open() as file:
        cells = list(csv.DictReader(file))
    assert len(cells) == 77
    assert all(float(cell["sd"] or cell["probability"]) >= 0 for cell in cells)
    assert (tmp_path / "full.draw2.csv").exists()
