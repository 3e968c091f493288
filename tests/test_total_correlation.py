"""The divergence in three parts: exact identities, a Gaussian of known covariance, minibatch estimators, runs."""

import itertools
import json
from functools import partial

import pyro.distributions as dist
import pytest
import torch
from helpers import assert_within_sigma, script
from programs import rows, small_vae

from pyro_vae import ELBO, DiagonalNormalGuide, GenerativeModel, StandardNormal, TotalCorrelation, fit
from pyro_vae._checks import InputError
from pyro_vae.compiled import CompiledGradients, Gradients, uncompiled
from pyro_vae.evaluate import divergence_in_parts
from pyro_vae.experiment.build import build
from pyro_vae.experiment.config import Config, ModelConfig, TrainingConfig
from pyro_vae.guides import FullCovarianceGuide
from pyro_vae.likelihoods import GaussianWithFixedScale
from pyro_vae.networks import MLP, UNIT
from pyro_vae.objectives import draw
from pyro_vae.objectives.total_correlation import SAMPLING, divergence_parts, log_shares

GAIN = torch.tensor([[0.9, 0.4, 0.0], [-0.3, 0.8, 0.5]], dtype=torch.float64)
SCALE = torch.tensor([0.7, 0.5], dtype=torch.float64)
COVARIANCE = GAIN @ GAIN.T + SCALE.square().diag()
"""Of z ~ q(z | x) = N(GAIN x, diag SCALE^2) over rows x ~ N(0, I)."""


FAST = {"optimizer": partial(torch.optim.Adam, lr=0.01)}


def gaussian_programs():
    """Return a model of a standard normal z and the guide N(GAIN x, diag SCALE^2), float64."""
    encoder = torch.nn.Linear(3, 4).double()
    with torch.no_grad():
        encoder.weight.copy_(torch.cat([GAIN, torch.zeros(2, 3)]))
        encoder.bias.copy_(torch.cat([torch.zeros(2), SCALE.expm1().log() - UNIT]))
    likelihood = GaussianWithFixedScale(torch.zeros(3), torch.ones(3), fixed_scale=1.0).double()
    model = GenerativeModel(StandardNormal(2).double(), torch.nn.Linear(2, 3).double(), likelihood)
    return model, DiagonalNormalGuide(encoder, scale_floor=0.0)


def gaussian_parts():
    """Return mutual information, total correlation and dimension-wise divergence in closed form, nats."""
    variance = COVARIANCE.diagonal()
    information = (COVARIANCE.logdet() - 2 * SCALE.log().sum()) / 2
    correlation = (variance.log().sum() - COVARIANCE.logdet()) / 2
    return information, correlation, ((variance - 1 - variance.log()) / 2).sum()


def gaussian_rows(count, seed=0):
    return torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.slow
def test_parts_over_all_rows_are_those_of_a_gaussian_of_known_covariance():
    x = gaussian_rows(4000)
    found = divergence_in_parts(*gaussian_programs(), x)
    # The mixture over 4000 rows differs from its limit by what they differ from their law.
    for (mean, se), truth in zip(
        (found.mutual_information, found.total_correlation, found.dimensions), gaussian_parts(), strict=True
    ):
        assert_within_sigma(mean, truth, se + 0.01)
    total = sum(pair[0] for pair in (found.mutual_information, found.total_correlation, found.dimensions))
    model, guide = gaussian_programs()
    kl = (
        torch.distributions.kl_divergence(guide.posterior(x).base_dist, model.prior().base_dist)
        .sum(-1)
        .detach()
    )
    assert_within_sigma(total, kl.mean(), 1.5 * 4000**-0.5)
    assert "total correlation" in found.line()


@pytest.mark.parametrize("sampling", SAMPLING)
@pytest.mark.parametrize("num_particles", [1, 3])
def test_the_parts_add_up_to_the_divergence_and_weights_of_one_give_the_elbo(sampling, num_particles):
    (model, guide), x = small_vae(), rows(count=20)
    found = []
    ones = {"mi_weight": 1.0, "tc_weight": 1.0, "dimension_weight": 1.0}
    for objective in (
        ELBO(num_particles),
        TotalCorrelation(num_particles, num_rows=500, sampling=sampling, **ones),
    ):
        assert objective.is_elbo
        torch.manual_seed(3)
        found.append(objective(model, guide).terms(x))
    torch.testing.assert_close(found[0].loss, found[1].loss)
    torch.testing.assert_close(found[0].kl, found[1].kl)


def test_weights_only_change_the_loss():
    (model, guide), x = small_vae(), rows(count=20)
    weights = {"mi_weight": 0.5, "tc_weight": 3.0, "dimension_weight": 2.0}
    torch.manual_seed(3)
    terms = TotalCorrelation(num_rows=50, **weights)(model, guide).terms(x)
    torch.manual_seed(3)
    draws = draw(model, guide, x)
    parts = divergence_parts(draws, log_shares(20, 50).float())
    weighed = sum(w * part.mean() for w, part in zip(weights.values(), parts, strict=True))
    torch.testing.assert_close(terms.loss, weighed - terms.reconstruction.mean())
    torch.testing.assert_close(terms.kl, draws.log_probs.log_weights.neg()[0].detach() + terms.reconstruction)


def test_stratified_shares_give_q_of_z_without_bias_over_all_batches():
    x, size = gaussian_rows(6), 3
    loc = x @ GAIN.T
    z = dist.Normal(loc[0], SCALE).sample()
    densities = dist.Normal(loc, SCALE).to_event(1).log_prob(z).exp()
    shares = log_shares(size, 6)[0].exp()
    batches = [(0, *others) for others in itertools.combinations(range(1, 6), size - 1)]
    estimates = torch.stack([(shares * densities[list(batch)]).sum() for batch in batches])
    torch.testing.assert_close(estimates.mean(), densities.mean())
    # All rows in one batch: nothing is estimated.
    torch.testing.assert_close(log_shares(6, 6).exp(), torch.full((6, 6), 1 / 6, dtype=torch.float64))


def test_weighted_shares_are_those_of_equation_3():
    torch.testing.assert_close(
        log_shares(4, 100, "weighted").exp(), torch.full((4, 4), 1 / 400, dtype=torch.float64)
    )


@pytest.mark.slow
def test_batches_estimate_the_parts_of_all_rows():
    model, guide = gaussian_programs()
    x, size = gaussian_rows(3000), 600
    torch.manual_seed(0)
    found = []
    for batch in x.split(size):
        parts = divergence_parts(draw(model, guide, batch, num_particles=2), log_shares(size, len(x)))
        found.append(torch.stack([part.mean() for part in parts]).detach())
    # 600 rows give a density of two dimensions nearly without bias.
    assert_within_sigma(torch.stack(found).mean(0), torch.stack(gaussian_parts()), 0.03, sigmas=2)


@pytest.mark.slow
def test_a_larger_weight_of_the_total_correlation_lowers_it():
    x = rows(count=200)
    found = []
    for weight in (1.0, 20.0):
        torch.manual_seed(0)
        model, guide = build(ModelConfig(latent_dim=3, hidden=(16,), scale_floor=0.1), x.mean(0), x.std(0))
        objective = TotalCorrelation(num_rows=len(x), tc_weight=weight)
        fit(model, guide, x, epochs=15, batch_size=50, objective=objective, **FAST)
        found.append(divergence_in_parts(model, guide, x, num_samples=3).total_correlation[0])
    assert found[1] < 0.7 * found[0]


@pytest.mark.slow
def test_the_recorded_graph_equals_the_handlers():
    (model, guide), x = small_vae(), rows(count=16)
    loss = TotalCorrelation(2, num_rows=40)(model, guide)
    parameters = [*model.parameters(), *guide.parameters()]
    found = []
    for way in (CompiledGradients(loss, parameters, (x,), uncompiled), Gradients(loss, parameters)):
        torch.manual_seed(5)
        found.append(way(x, progress=torch.tensor(0.3)).gradients)
        assert way.note == ""
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_run_reports_the_true_elbo_and_the_parts(tmp_path, capsys):
    tiny = ("--hidden", 8, "--latent-dim", 2, "--quiet", "--device", "cpu", "--evaluate", "quick")
    more = ("--objective", "tc", "--tc-weight", 4, "--metrics", "kl-parts", "--epochs", 2)
    assert script(*tiny, *more, "--out", tmp_path / "a") == 0
    out = capsys.readouterr().out
    assert (
        "loss       minus tc, mutual information x 1, total correlation x 4, dimensions x 1, stratified sampling"
        in out
    )
    assert "KL of 250 test rows in parts: mutual information of row and z" in out
    parts = json.loads((tmp_path / "a" / "summary.json").read_text())["divergence"]
    line = json.loads((tmp_path / "a" / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"mutual-information", "total-correlation", "dimension-kl"} <= parts.keys() & line[
        "metrics"
    ].keys()
    assert line["validation"]["elbo"] == pytest.approx(
        line["validation"]["reconstruction"] - line["validation"]["kl"]
    )
    assert script("--resume", tmp_path / "a", "--epochs", 3, "--evaluate", "none", "--quiet") == 0


def full_covariance_programs():
    model, _ = small_vae()
    return model, FullCovarianceGuide(MLP(6, (8,), FullCovarianceGuide.num_outputs(2)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TotalCorrelation()(*small_vae())(rows()), r"Expected num_rows.*num_rows=len\(train\)"),
        (lambda: TotalCorrelation(num_rows=1), "num_rows.*got 1"),
        (lambda: TotalCorrelation(num_rows=9, tc_weight=-1.0), "tc_weight.*got -1"),
        (lambda: TotalCorrelation(num_rows=9, sampling="all"), "sampling.*stratified, weighted.*got 'all'"),
        (lambda: TotalCorrelation(num_rows=9)(*small_vae())(rows(count=1)), "at least two rows.*got 1"),
        (lambda: TotalCorrelation(num_rows=9)(*full_covariance_programs())(rows()), "Take a diagonal guide"),
        (lambda: divergence_in_parts(*full_covariance_programs(), rows()), "See latent_summary for others"),
        (lambda: divergence_in_parts(*small_vae(), rows(count=1)), "at least two rows x"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    ("model", "training", "message"),
    [
        (
            {"guide": "iaf"},
            {"objective": "tc"},
            "--guide diagonal and one latent layer with --objective tc.*iaf",
        ),
        ({"layers": (4, 2)}, {"objective": "tc"}, "--objective tc.*and --layers"),
        (
            {"prior": "flow"},
            {"objective": "tc"},
            "standard-normal or diagonal-normal with --objective tc.*flow",
        ),
        (
            {"guide": "low-rank"},
            {"metrics": ("kl-parts",)},
            "--guide diagonal and one latent layer with --metrics",
        ),
        ({}, {"tc_weight": 2.0}, "Expected no --tc-weight with --objective elbo"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(model, training, message):
    with pytest.raises(InputError, match=message):
        Config(model=ModelConfig(**model), training=TrainingConfig(**training)).check()


def test_a_batch_of_one_row_is_refused_before_training(capsys):
    assert script("--objective", "tc", "--batch-size", 16, "--quiet") == 2
    assert (
        "leaves no batch of one row with --objective tc; 1297 training rows in batches of 16"
        in capsys.readouterr().err
    )
