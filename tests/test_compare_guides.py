"""Guides compared on one fixed model whose log p(x) is known: bounds, gaps, their order, and the command line."""

import dataclasses
import json
from typing import get_args

import numpy as np
import pytest
import torch
from helpers import script

from pyro_vae import plots
from pyro_vae._checks import InputError
from pyro_vae.baselines import PPCA
from pyro_vae.cli.compare_guides_arguments import ComparedName
from pyro_vae.data import load_dataset
from pyro_vae.evaluate import LogLikelihood
from pyro_vae.evaluate.gaps import RowFit
from pyro_vae.experiment.comparison.guide_order import CONTAINED, Claim, check_order
from pyro_vae.experiment.comparison.guide_scores import Mean, crossed_mean, score_guides
from pyro_vae.experiment.comparison.guides import (
    COMPARED,
    MeasuredGuide,
    fit_guides,
    measure_guide,
)
from pyro_vae.experiment.config import Config, ModelConfig, TrainingConfig
from pyro_vae.experiment.resolve import resolve
from pyro_vae.models.linear import LinearGaussianModel


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
    train = dataset.train.tensor()[:80]
    measured = [measure_guide(f, x, train, num_samples=300, gap_rows=30, row_fit=RowFit(100)) for f in fitted]
    return measured, float(exact.score(x.double()))


@pytest.mark.slow
def test_no_bound_lies_above_the_exact_likelihood_and_richer_is_not_below(linear_scores):
    measured, exact = linear_scores
    diagonal, full = score_guides(measured)
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


@pytest.mark.slow
def test_the_full_covariance_holds_the_posterior_and_the_diagonal_does_not(linear_scores):
    diagonal, full = score_guides(linear_scores[0])
    assert abs(full.approximation_gap[0]) < 4 * full.approximation_gap[1] + 0.01
    assert diagonal.approximation_gap[0] > 4 * diagonal.approximation_gap[1]


@pytest.mark.slow
def test_the_order_of_fitted_guides_is_as_it_must_be(linear_scores):
    claims = check_order(linear_scores[0])
    assert len(claims) == 2 + 3 * 2
    assert all(claim.holds for claim in claims), [str(claim) for claim in claims if not claim.holds]


@pytest.mark.slow
def test_guides_are_counted_by_seed_and_size():
    config, dataset = settings(epochs=1)
    fitted = fit_guides(config, dataset, ("diagonal", "full-covariance"), (0, 1))
    assert [(f.name, f.seed) for f in fitted] == [
        (n, s) for n in ("diagonal", "full-covariance") for s in (0, 1)
    ]
    x, train = dataset.test.tensor()[:4], dataset.train.tensor()[:3]
    measured = [measure_guide(f, x, train, num_samples=20, gap_rows=2, row_fit=RowFit(2)) for f in fitted]
    assert [m.seconds for m in measured] == [f.seconds for f in fitted]
    assert all(len(m.train_elbo) == 3 and m.chosen.tolist() == [0, 3] for m in measured)
    diagonal, full = score_guides(measured)
    assert full.parameters - diagonal.parameters == 33  # one more output of a layer of 32
    assert diagonal.seed_spread > 0


@pytest.mark.slow
def test_joint_training_gives_each_guide_a_model_of_its_own():
    config, dataset = settings(epochs=1)
    first, second = fit_guides(config, dataset, ("diagonal", "semi-amortized"))
    assert first.model is not second.model
    assert second.guide.encoder.model is second.model
    assert second.parameters == first.parameters + 3  # the rates of its steps


def test_an_unknown_guide_is_refused():
    with pytest.raises(InputError, match=r"guides to be one of diagonal, .*; got 'exact'"):
        fit_guides(*settings(epochs=1), ("exact",))


def test_the_command_names_the_guides_there_are():
    assert get_args(ComparedName) == COMPARED


@pytest.mark.slow
def test_a_run_is_compared_and_unchanged(tmp_path, capsys):
    run = tmp_path / "run"
    assert script("--epochs", 1, "--hidden", 8, "--latent-dim", 2, "--compile", "off", "--out", run) == 0
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    few = ("--num-samples", 20, "--gap-rows", 2, "--gap-steps", 2, "--guides", "diagonal", "low-rank")
    assert script("--run", run, *few, "--out", tmp_path / "out", name="compare_guides.py") == 0
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    kept = {"arguments.json", "diagonal-0.npz", "low-rank-0.npz"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"gaps.png", "guides.json"} | kept
    printed = capsys.readouterr().out
    assert "one fixed model, 1 epochs, 1 seed(s); nats per example" in printed
    assert "of 8 inequalities hold within two standard errors" in printed


@pytest.mark.slow
def test_a_comparison_continues_and_accepts_more_guides_and_seeds(tmp_path, capsys):
    """The second call has the first one's settings, fits what is not there yet, and keeps what is."""
    out = tmp_path / "out"
    few = ("--epochs", 1, "--hidden", 8, "--latent-dim", 2, "--test-rows", 9, "--num-samples", 20)
    few += ("--gap-rows", 2, "--gap-steps", 2, "--guides", "diagonal", "iaf")
    assert script(*few, "--out", out, name="compare_guides.py") == 0
    whole = json.loads((out / "guides.json").read_text())
    stamps = {path: path.stat().st_mtime_ns for path in (out / "diagonal-0.npz", out / "model.safetensors")}
    fitted_before = MeasuredGuide.load(out / "iaf-0.npz")
    (out / "iaf-0.npz").unlink()
    capsys.readouterr()
    assert script("--resume", out, name="compare_guides.py") == 0
    assert "Training the model" not in (printed := capsys.readouterr().out)
    assert "Fitting iaf, seed 0" in printed
    assert "Fitting diagonal" not in printed
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    again = MeasuredGuide.load(out / "iaf-0.npz")
    assert torch.equal(again.likelihood.value, fitted_before.likelihood.value)
    assert json.loads((out / "guides.json").read_text())["order"] == whole["order"]
    assert script("--resume", out, "--guides", "diagonal", "--seeds", 0, 1, name="compare_guides.py") == 0
    assert {path.name for path in out.glob("*.npz")} == {"diagonal-0.npz", "diagonal-1.npz", "iaf-0.npz"}
    assert script("--resume", out, "--num-samples", 30, name="compare_guides.py") == 2
    assert "only --guides and --seeds may change" in capsys.readouterr().err


def made(name, seed, elbo, *, train=0.0, optimum=None, log_prob=0.0):
    """Return measurements of 4 rows with the given means, and differences between rows."""
    rows = torch.tensor([-1.0, 1.0, -2.0, 2.0], dtype=torch.float64)
    elbo = elbo + rows
    zero, chosen = torch.zeros_like(rows), torch.arange(4)
    likelihood = LogLikelihood(log_prob + rows, zero + 0.01, zero + 9, zero, elbo, 10)
    optimum = elbo if optimum is None else optimum + rows
    return MeasuredGuide(
        name, seed, 5, 0.5, likelihood, train + rows, chosen, log_prob + rows, zero + 0.01, optimum, elbo
    )


def test_scores_in_order_pass_the_checks():
    measured = [made("diagonal", s, -3.0 + 0.1 * s, optimum=-2.0) for s in range(3)]
    measured += [made("iaf", s, -2.5 + 0.1 * s, optimum=-1.0) for s in range(3)]
    claims = check_order(measured)
    assert len(claims) == 1 + 3 * 2  # row by row a flow, its maps being fixed, does not contain the diagonal
    assert all(claim.holds for claim in claims)
    iaf = score_guides(measured)[1]
    assert iaf.gain == pytest.approx((0.5, 0.0), abs=1e-9)
    assert iaf.elbo.value == pytest.approx(-2.4)
    assert iaf.seed_spread == pytest.approx(0.1)
    assert iaf.approximation_gap == pytest.approx((1.0, 0.0), abs=1e-9)
    assert iaf.inference_gaps == pytest.approx([2.5, 2.4, 2.3])


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"elbo": -3.2}, "full-covariance is 0.200 ± 0.000 below diagonal, which it contains"),
        ({"optimum": -2.1}, "the best full-covariance of a row is 0.100 ± 0.000 below the best diagonal"),
        (
            {"optimum": -2.9, "elbo": -2.8},
            "the best full-covariance of a row is 0.100 ± 0.000 below its guide",
        ),
        ({"optimum": 0.3}, "log p(x) is 0.300 ± 0.000 below the best full-covariance of a row"),
    ],
)
def test_what_is_out_of_order_is_named(changed, named):
    full = {"elbo": -2.5, "optimum": -1.0} | changed
    measured = [made("diagonal", 0, -3.0, optimum=-2.0), made("full-covariance", 0, **full)]
    printed = [str(claim) for claim in check_order(measured) if not claim.holds]
    assert any(sentence.startswith(named) for sentence in printed), printed


def test_a_guide_that_falls_behind_on_test_rows_is_looked_at_on_training_rows():
    poor = made("diagonal", 0, -3.0, train=-3.0)
    overfitted, short = made("iaf", 0, -3.2, train=-2.5), made("iaf", 0, -3.2, train=-3.5)
    assert "though not on training rows (+0.500" in str(check_order([poor, overfitted])[0])
    assert "on training rows too (-0.500" in str(check_order([poor, short])[0])


def test_a_claim_states_its_standard_errors():
    claim = Claim("a", "b", Mean(-0.5, 0.1))
    assert not claim.holds
    assert str(claim) == "a is 0.500 ± 0.100 below b (5.0 standard errors)."
    assert Claim("a", "b", Mean(-0.19, 0.1)).holds


def test_seeds_that_differ_widen_the_error():
    """With rows that all shift alike by seed, 3 seeds say as much as 3 numbers."""
    measured = [made("diagonal", s, -3.0 + s) for s in range(3)]
    rows = torch.tensor([-1.0, 1.0, -2.0, 2.0]).double().var() / 4
    assert score_guides(measured)[0].elbo.se == pytest.approx(float((rows + 1 / 3).sqrt()))
    assert score_guides(measured[:1])[0].elbo.se == pytest.approx(float(rows.sqrt()))


@pytest.mark.slow
def test_the_error_of_a_mean_over_seeds_and_rows_is_that_of_repetitions():
    """4000 repetitions of 4 seeds on 10 rows: their mean's variance is what the squared errors average."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    values = 0.7 * noise(4000, 4, 1) + noise(4000, 1, 10) + 0.5 * noise(4000, 4, 10)
    means, errors = np.array([crossed_mean(one) for one in values]).T
    squares = errors**2
    # The variance of 4000 means is known to 1 part in 45; the average square to its own standard error.
    tolerance = 4 * np.hypot(means.var() * (2 / 4000) ** 0.5, squares.std() / 4000**0.5)
    assert abs(squares.mean() - means.var()) < tolerance
    assert crossed_mean(values[0][:1]) == pytest.approx(
        (float(values[0, 0].mean()), float(values[0, 0].std() / 10**0.5))
    )


def test_the_pairs_are_of_guides_that_there_are():
    assert {name for pair in CONTAINED for name in pair} == set(COMPARED)


def test_measurements_come_back_from_disk(tmp_path):
    kept = made("iaf", 3, -2.0)
    kept.save(tmp_path / "iaf-3.npz")
    back = MeasuredGuide.load(tmp_path / "iaf-3.npz")
    assert (back.name, back.seed, back.parameters, back.seconds) == ("iaf", 3, 5, 0.5)
    for name, tensor in vars(kept).items():
        if isinstance(tensor, torch.Tensor):
            assert torch.equal(getattr(back, name), tensor)
    assert all(
        torch.equal(a, b) for a, b in zip(back.likelihood.columns(), kept.likelihood.columns(), strict=True)
    )
    assert check_order([back]) == check_order([kept])
    (tmp_path / "iaf-3.npz").write_bytes((tmp_path / "iaf-3.npz").read_bytes()[:300])
    with pytest.raises(InputError, match=r"Expected the measurements of a guide in .*damaged"):
        MeasuredGuide.load(tmp_path / "iaf-3.npz")


def test_gaps_of_other_rows_are_not_compared():
    one, other = made("diagonal", 0, -3.0), made("iaf", 0, -2.5)
    with pytest.raises(InputError, match="Expected gaps that were measured on the same rows for all guides"):
        check_order([one, dataclasses.replace(other, chosen=other.chosen + 1)])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--gap-rows", 1), "--gap-rows to be a whole number of at least 2; got 1"),
        (("--seeds", -1), "every one of --seeds to be a whole number of at least 0; got -1"),
        (("--guide-epochs", 0), "--guide-epochs to be a whole number of at least 1; got 0"),
        (("--test-rows", 1), "--test-rows to be a whole number of at least 2; got 1"),
        (("--run", "nowhere"), "nowhere"),
        (("--resume", "nowhere"), "there is no readable arguments.json in nowhere"),
    ],
)
def test_bad_arguments_end_in_one_sentence(args, message, capsys):
    assert script(*args, name="compare_guides.py") == 2
    assert message in capsys.readouterr().err


def test_bars_hang_from_log_p():
    ax = plots.guide_gaps({"a": ((0.3, 0.1), (1.0, 0.2), [1.2, 1.4]), "b": ((0.0, 0.0), (0.5, 0.1), [0.5])})
    lengths = [bar.get_width() for bar in ax.patches]
    assert lengths == [-0.3, 0.0, -1.0, -0.5]
    assert [bar.get_x() for bar in ax.patches] == [0, 0, -0.3, 0]
    (seeds,) = (line for line in ax.lines if line.get_label() == "each seed")
    assert list(seeds.get_xdata()) == [-1.2, -1.4, -0.5]
    with pytest.raises(InputError, match="at least one guide"):
        plots.guide_gaps({})
