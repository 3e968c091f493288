"""Rows ranked by how strange they are: detection by enumeration, and planted cells found by the script."""

from __future__ import annotations

import csv
import itertools
import json

import numpy as np
import pytest
import torch
from helpers import script

from pyro_vae._checks import InputError
from pyro_vae.evaluate.anomalies import detection, typicality
from pyro_vae.experiment.anomalies import anomaly_labels


def test_detection_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    score, strange = torch.tensor(rng.integers(0, 8, 40) / 4), rng.random(40) < 0.3
    pairs = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(score[strange], score[~strange])]
    found = detection(score, strange)
    assert found.auroc == pytest.approx(np.mean([float(pair) for pair in pairs]))
    assert found.share == strange.mean()
    perfect = detection(torch.tensor(strange.astype(float)), strange)
    assert (perfect.auroc, perfect.auroc_se, perfect.average_precision) == (1, 0, 1)


@pytest.mark.slow
def test_the_error_of_auroc_is_its_spread_over_samples():
    rng = np.random.default_rng(1)
    strange = np.repeat([True, False], [40, 80])
    # Exponential scores, for which the formula of Hanley & McNeil is exact.
    found = [
        detection(torch.tensor(rng.exponential(np.where(strange, 3.0, 1.0))), strange) for _ in range(100)
    ]
    spread = np.std([each.auroc for each in found])
    assert np.mean([each.auroc_se for each in found]) == pytest.approx(spread, rel=4 / np.sqrt(200))


def test_rows_that_could_not_be_scored_rank_first():
    score = torch.tensor([torch.nan, 1.0, torch.inf, 0.0])
    assert detection(score, np.array([True, False, True, False])).auroc == 1


def test_detection_needs_both_kinds_of_rows():
    with pytest.raises(InputError, match="of anomalies and of normal rows; got 0 and 3"):
        detection(torch.zeros(3), np.zeros(3, bool))


def test_typicality_is_far_on_both_sides():
    reference = torch.tensor([-10.0, -12.0, torch.nan, -14.0])
    assert typicality(torch.tensor([-12.0, -2.0, -22.0]), reference).tolist() == [0, 10, 10]


def test_labels_are_read_by_name_and_the_rarest_one_is_the_anomaly(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,kind\n1,good\n2,bad\n3,good\n")
    labels, named = anomaly_labels(path, "kind", None)
    assert (labels.tolist(), named) == ([False, True, False], "bad")
    assert anomaly_labels(path, "kind", "good")[0].tolist() == [True, False, True]
    with pytest.raises(InputError, match=r"--label to name a column of .*; got 'c', and it has a, kind"):
        anomaly_labels(path, "c", None)
    with pytest.raises(InputError, match="--anomaly to be a label of column 'kind'; got 'ugly'"):
        anomaly_labels(path, "kind", "ugly")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of correlated columns, and a run on it."""
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((400, 1)) @ np.ones((1, 4)) + 0.3 * rng.standard_normal((400, 4))
    path, run = folder / "rows.csv", folder / "run"
    np.savetxt(path, rows, delimiter=",", header="a,b,c,d", comments="")
    options = "--hidden 16 --latent-dim 1 --epochs 30 --lr 0.02 --batch-size 64 --evaluate none --compile off"
    assert script("--dataset", path, *options.split(), "--out", run) == 0
    return rows, run


@pytest.mark.slow
def test_planted_cells_are_found_and_named(table, tmp_path, capsys):
    rows, run = table
    strange = rows[:50].copy()
    strange[7, 2] += 4
    strange[20, 0] -= 4
    labels = np.isin(np.arange(50), [7, 20]).astype(int)
    path = tmp_path / "new.csv"
    lines = [
        ",".join(map(repr, [*map(float, row), int(label)]))
        for row, label in zip(strange, labels, strict=True)
    ]
    path.write_text("\n".join(["a,b,c,d,label", *lines]))
    assert (
        script(run, path, "--label", "label", "--num-samples", 200, "--out", tmp_path, name="anomalies.py")
        == 0
    )
    found = list(csv.DictReader((tmp_path / "anomalies.csv").read_text().splitlines()))
    assert len(found) == 50
    assert {(line["row"], line["cell1"]) for line in found[:2]} == {("7", "c"), ("20", "a")}
    assert min(float(line["drop1"]) for line in found[:2]) > 5
    values = [float(line["log_likelihood"]) for line in found]
    assert values == sorted(values)
    summary = json.loads((tmp_path / "anomalies.json").read_text())
    assert summary["detection"]["-log p(x)"]["auroc"] == 1
    assert summary["detection"]["typicality"]["auroc"] > 0.9
    assert "anomalies are rows with label = 1" in capsys.readouterr().out


@pytest.mark.slow
def test_bad_arguments_end_in_one_sentence(table, tmp_path, capsys):
    _, run = table
    for arguments, message in [
        ([run, tmp_path / "none.csv"], "there is none"),
        ([run, tmp_path / "none.csv", "--anomaly", "1"], "Expected --label with --anomaly"),
        ([run, tmp_path / "none.csv", "--label", "c"], "there is none"),
        ([run, run.parent / "rows.csv", "--label", "none"], "Expected --label to name a column"),
        ([run, tmp_path / "none.csv", "--top", "0"], "--top to be a whole number of at least 1"),
    ]:
        assert script(*arguments, name="anomalies.py") == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_auroc_printed_is_that_of_the_ranking(tmp_path, capsys):
    rng = np.random.default_rng(5)
    level = rng.integers(0, 3, 300)
    value = level + 0.3 * rng.standard_normal(300)
    strange = rng.random(300) < 0.1
    level = np.where(strange, (level + rng.integers(1, 3, 300)) % 3, level)  # at odds with the value
    lines = [
        f"{v:.3f},{'abc'[k]},{rng.poisson(2)},{'odd' if bad else 'usual'}"
        for v, k, bad in zip(value, level, strange, strict=True)
    ]
    normal = [line for line in lines if line.endswith("usual")]
    train, new = tmp_path / "train.csv", tmp_path / "new.csv"
    train.write_text("\n".join(["value,level,visits", *(line.rsplit(",", 1)[0] for line in normal)]))
    new.write_text("\n".join(["level,state,value,visits", *(_reordered(line) for line in lines)]))
    options = (
        "--likelihood table --hidden 16 --latent-dim 1 --epochs 40 --lr 0.02 --batch-size 64 --evaluate none"
    )
    run = tmp_path / "run"
    assert script("--dataset", train, *options.split(), "--compile", "off", "--out", run) == 0
    capsys.readouterr()
    words = [run, new, "--label", "state", "--num-samples", 100, "--out", tmp_path]
    assert script(*words, name="anomalies.py") == 0
    printed = capsys.readouterr().out
    found = list(csv.DictReader((tmp_path / "anomalies.csv").read_text().splitlines()))
    score = {int(line["row"]): -float(line["log_likelihood"]) for line in found}
    assert sorted(score) == list(range(300))
    assert {int(line["row"]) for line in found if line["is_anomaly"] == "1"} == set(np.flatnonzero(strange))
    pairs = itertools.product(np.flatnonzero(strange), np.flatnonzero(~strange))
    truth = np.mean([(score[a] > score[b]) + 0.5 * (score[a] == score[b]) for a, b in pairs])
    (line,) = [line for line in printed.splitlines() if line.strip().startswith("-log p(x)")]
    assert line.split()[2] == f"{truth:.3f}"
    assert truth > 0.8
    assert "anomalies are rows with state = odd" in printed


def _reordered(line):
    value, level, visits, state = line.split(",")
    return f"{level},{state},{value},{visits}"
