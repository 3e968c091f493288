"""Guides compared on one fixed model whose log p(x) is known: bounds, gaps and what the command line calls them."""

import runpy
from typing import get_args

import pytest
import torch
from helpers import SCRIPTS, script

from pyro_vae import plots
from pyro_vae._checks import InputError
from pyro_vae.baselines import PPCA
from pyro_vae.building import resolve
from pyro_vae.comparison.guides import COMPARED, fit_guides, score_guides
from pyro_vae.config import Config, ModelConfig, TrainingConfig
from pyro_vae.data import load_dataset
from pyro_vae.gaps import RowFit
from pyro_vae.linear import LinearGaussianModel


def settings(**training):
    """Return digits and a small configuration for them."""
    dataset = load_dataset("digits")
    _, std = dataset.statistics()
    model = ModelConfig(latent_dim=2, hidden=(32,))
    config = Config(model=model, training=TrainingConfig(device="cpu", compile="off", **training))
    return resolve(config, dataset, std, "cpu"), dataset


@pytest.fixture(scope="module")
def linear_scores():
    """PPCA of the digits, mixed so that the posterior is not along the axes, with guides of two families."""
    config, dataset = settings(epochs=12, lr=5e-3, num_particles=2)
    x = dataset.test.tensor()[:80]
    model = LinearGaussianModel.from_baseline(PPCA(2).fit(dataset.train.tensor().double())).float()
    with torch.no_grad():
        model.decoder.weight.copy_(model.decoder.weight @ torch.tensor([[1.0, 0.8], [0.0, 0.6]]))
    exact = model.to_baseline()
    before = [p.clone() for p in model.parameters()]
    fitted = fit_guides(config, dataset, ("diagonal", "full-covariance"), (0,), model)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    scores = score_guides(fitted, x, num_samples=300, gap_rows=30, row_fit=RowFit(100))
    return scores, float(exact.score(x.double()))


def test_no_bound_lies_above_the_exact_likelihood_and_richer_is_not_below(linear_scores):
    (diagonal, full), exact = linear_scores
    for score in (diagonal, full):
        assert score.elbo[0] < exact
        assert score.elbo[0] + score.approximation_gap[0] + score.amortization_gap[0] == pytest.approx(
            exact, abs=4 * score.amortization_gap[1] + 0.2
        )
        assert score.amortization_gap[0] > -0.01
    assert full.log_likelihood[0] == pytest.approx(exact, abs=0.1)
    assert diagonal.log_likelihood[0] < exact + 0.1
    assert diagonal.gain == (0.0, 0.0)
    assert full.gain[0] > 0


def test_the_full_covariance_holds_the_posterior_and_the_diagonal_does_not(linear_scores):
    (diagonal, full), _ = linear_scores
    assert abs(full.approximation_gap[0]) < 4 * full.approximation_gap[1] + 0.01
    assert diagonal.approximation_gap[0] > 4 * diagonal.approximation_gap[1]


def test_guides_are_counted_by_seed_and_size():
    config, dataset = settings(epochs=1)
    fitted = fit_guides(config, dataset, ("diagonal", "full-covariance"), (0, 1))
    assert [(f.name, f.seed) for f in fitted] == [
        (n, s) for n in ("diagonal", "full-covariance") for s in (0, 1)
    ]
    x = dataset.test.tensor()[:4]
    diagonal, full = score_guides(fitted, x, num_samples=20, gap_rows=2, row_fit=RowFit(2))
    assert full.parameters - diagonal.parameters == 33  # one more output of a layer of 32
    assert diagonal.seed_spread > 0


def test_joint_training_gives_each_guide_a_model_of_its_own():
    config, dataset = settings(epochs=1)
    first, second = fit_guides(config, dataset, ("diagonal", "semi-amortized"))
    assert first.model is not second.model
    assert second.guide.encoder.model is second.model
    assert second.parameters == first.parameters + 3  # the rates of its steps


def test_an_unknown_guide_is_refused():
    with pytest.raises(InputError, match=r"guides to be one of diagonal, .*; got 'exact'"):
        fit_guides(*settings(epochs=1), ("exact",))


def test_the_script_names_the_guides_there_are():
    names = runpy.run_path(str(SCRIPTS / "compare_guides.py"))["ComparedName"]
    assert get_args(names) == COMPARED


def test_a_run_is_compared_and_left_as_it_is(tmp_path, capsys):
    run = tmp_path / "run"
    assert script("--epochs", 1, "--hidden", 8, "--latent-dim", 2, "--compile", "off", "--out", run) == 0
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    few = ("--num-samples", 20, "--gap-rows", 2, "--gap-steps", 2, "--guides", "diagonal", "low-rank")
    assert script("--run", run, *few, "--out", tmp_path / "out", name="compare_guides.py") == 0
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"gaps.png", "guides.json"}
    assert "one fixed model, 1 seed(s); nats per example" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--gap-rows", 1), "--gap-rows to be a whole number of at least 2; got 1"),
        (("--seeds", -1), "every one of --seeds to be a whole number of at least 0; got -1"),
        (("--guide-epochs", 0), "--guide-epochs to be a whole number of at least 1; got 0"),
        (("--run", "nowhere"), "nowhere"),
    ],
)
def test_bad_arguments_end_in_one_sentence(args, message, capsys):
    assert script(*args, name="compare_guides.py") == 2
    assert message in capsys.readouterr().err


def test_bars_hang_from_log_p():
    ax = plots.guide_gaps({"a": ((0.3, 0.1), (1.0, 0.2)), "b": ((0.0, 0.0), (0.5, 0.1))})
    lengths = [bar.get_width() for bar in ax.patches]
    assert lengths == [-0.3, 0.0, -1.0, -0.5]
    assert [bar.get_x() for bar in ax.patches] == [0, 0, -0.3, 0]
    with pytest.raises(InputError, match="at least one guide"):
        plots.guide_gaps({})
