"""Every script is run here once, small, and answers `--help`; one that is not listed fails."""

from functools import partial

import numpy as np
import pytest
from helpers import SCRIPTS, script
from sklearn.datasets import load_digits

from pyro_vae import Annealing, RowFit, annealed_log_likelihood, inference_gaps
from pyro_vae.experiment.compress import compress_rows

SMOKE = {
    "svi_train.py": "--epochs 1 --hidden 8 --latent-dim 2 --out {place}/run",
    "evaluate.py": "{run} --num-samples 30 --ais --gaps --check-rows 2",
    "anomalies.py": "{run} {place}/digits.npy --num-samples 30 --top 2",
    "calibration.py": "--models 1 --num-samples 30 --out {place}/out",
    "compare_baselines.py": "--epochs 1 --linear-epochs 1 --hidden 8 --latent-dim 2 --clusters 2 --out {place}/out",
    "compare_guides.py": "--epochs 1 --compile off --hidden 8 --latent-dim 2 --guides diagonal iaf "
    "--num-samples 20 --gap-rows 2 --gap-steps 2 --out {place}/out",
    "benchmark.py": "step --networks tiny --contenders pytorch --rounds 1 --seconds 0.01 --out {place}/out",
    "check_resume.py": "--kills 1 --dataset {place}/rows.npy --epochs 3 --hidden 8 --evaluate none --no-full-disk",
    "denoise.py": "{run} {place}/digits.npy -o {place}/clean.npy --particles 2",
    "encode.py": "{run} {place}/digits.npy -o {place}/codes.csv",
    "generate.py": "{run} -n 3 -o {place}/new.csv",
    "inpaint.py": "{run} {place}/digits.npy --hide left -o {place}/full.npy --num-rows 3 --num-samples 20",
    "interpolate.py": "{run} {place}/digits.npy --rows 0 1 -o {place}/path",
    "compress.py": "{discrete} --out {place}/rows.bits",
    "decompress.py": "{discrete} {discrete}/rows.bits --out {place}/rows.npy",
    "impute.py": "{run} {place}/digits.csv -o {place}/full.csv --num-samples 10",
    "make_sprites.py": "{place}/sprites",
    "report.py": "{run} -o {place}/report.html",
    "check_stability.py": "--quick --datasets digits one-hot --likelihoods gaussian bernoulli",
    "write_settings.py": "--root {place}",
}

TOLD = {
    "svi_train.py": "nats per example",
    "evaluate.py": "annealing minus importance sampling",
    "anomalies.py": "cells (drop in nats",
    "calibration.py": "true k",
    "compare_baselines.py": "nats per example",
    "compare_guides.py": "gain is the paired difference from diagonal",
    "benchmark.py": "PyTorch by hand",
    "check_resume.py": "different in any bit",
    "denoise.py": "30 rows of digits, mean over 2 particles",
    "encode.py": "30 rows of digits: 2 dimensions of z",
    "generate.py": "3 rows: draws x ~ p(x|z), z ~ p(z), seed 0",
    "inpaint.py": "mean given the visible pixels",
    "interpolate.py": "11 rows from row 0 to row 1",
    "compress.py": "minus the ELBO of these rows",
    "decompress.py": "rows of shape (250, 8, 8)",
    "impute.py": "0 of 1920 cells imputed",
    "report.py": "report in",
    "make_sprites.py": "6144 images of 32 x 32 pixels",
    "check_stability.py": "failed:\n  none",
    "write_settings.py": "settings.md",
}

QUICK = {"write_settings.py"}


def test_every_script_is_listed():
    assert {path.name for path in SCRIPTS.glob("[a-z]*.py")} == set(SMOKE) == set(TOLD)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert script("--epochs", 1, "--hidden", 8, "--latent-dim", 2, "--evaluate", "none", "--out", folder) == 0
    return folder


@pytest.fixture(scope="module")
def discrete(tmp_path_factory):
    """A run with a discrete likelihood, and its test rows compressed."""
    folder = tmp_path_factory.mktemp("discrete") / "run"
    small = ("--epochs", 1, "--hidden", 8, "--latent-dim", 2, "--evaluate", "none", "--out", folder)
    assert script("--likelihood", "discretized-logistic", *small) == 0
    compress_rows(folder, None, folder / "rows.bits")
    return folder


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in SMOKE]
)
def test_a_script_runs_to_its_end(name, tmp_path, capsys, run, discrete, monkeypatch):
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(60, 4)))
    digits = load_digits().data[:30].astype(int)
    np.save(tmp_path / "digits.npy", digits)
    header = ",".join(f"pixel{number}" for number in range(64))
    np.savetxt(tmp_path / "digits.csv", digits, fmt="%d", delimiter=",", header=header, comments="")
    scoring, short = "pyro_vae.experiment.scoring.scoring", Annealing(20, num_chains=2, num_warmup=5)
    monkeypatch.setattr(
        f"{scoring}.annealed_log_likelihood", partial(annealed_log_likelihood, annealing=short)
    )
    monkeypatch.setattr(f"{scoring}.inference_gaps", partial(inference_gaps, fit=RowFit(20)))
    assert script(*SMOKE[name].format(place=tmp_path, run=run, discrete=discrete).split(), name=name) == 0
    assert TOLD[name] in capsys.readouterr().out


@pytest.mark.parametrize("name", SMOKE)
def test_a_script_answers_help(name, capsys):
    subcommand = [word for word in SMOKE[name].split()[:1] if not word.startswith("--")]
    assert script(*subcommand, "--help", name=name) == 0
    out = capsys.readouterr().out
    assert "usage:" in out
    for flag in SMOKE[name].split():
        assert not flag.startswith("--") or flag.replace("--no-", "--") in out
