"""Imputation and scores of single entries against the exact conditionals of a linear Gaussian model."""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from missing import LinearPrograms
from scipy.stats import norm

import pyro_vae.evaluate._weighted_runs as weighted_runs
from pyro_vae import GenerativeModel, StandardNormal
from pyro_vae._checks import InputError
from pyro_vae.baselines import PPCA
from pyro_vae.data.columns import Column
from pyro_vae.evaluate import cell_log_likelihood, impute
from pyro_vae.likelihoods.table import TableLikelihood


@pytest.fixture(scope="module")
def problem():
    """A fitted PPCA, rows with holes, and their exact conditional means and standard deviations."""
    rng = np.random.default_rng(0)
    rows = (
        rng.standard_normal((60, 2)) @ rng.standard_normal((2, 5)) + 0.5 * rng.standard_normal((60, 5)) + 100
    )
    fitted = PPCA(2).fit(rows)
    rows = rows[:12]
    rows[:8][rng.random((8, 5)) < 0.5] = np.nan
    rows[3] = np.nan
    covariance, mean, sd = fitted.get_covariance(), fitted.impute(rows), np.zeros_like(rows)
    for n, row in enumerate(rows):
        o, m = np.flatnonzero(~np.isnan(row)), np.flatnonzero(np.isnan(row))
        gain = np.linalg.solve(covariance[np.ix_(o, o)], covariance[np.ix_(o, m)]).T
        sd[n, m] = np.sqrt(np.diag(covariance)[m] - (gain * covariance[np.ix_(m, o)]).sum(1))
    return fitted, rows, mean, sd


def programs(fitted, widen=1.0):
    both = LinearPrograms(fitted, widen)
    return both.model, both.guide


@pytest.mark.slow
@pytest.mark.parametrize("widen", [1.0, 1.3])
def test_means_and_spread_are_the_exact_conditionals(problem, widen):
    fitted, rows, mean, sd = problem
    found = impute(*programs(fitted, widen), torch.tensor(rows), 8000)
    missing = np.isnan(rows)
    np.testing.assert_array_equal(found.value.numpy()[~missing], rows[~missing])
    assert (found.sd.numpy()[~missing] == 0).all()
    error = sd / np.sqrt(found.ess.clamp_max(1e6).numpy())[:, None]
    assert (np.abs(found.value.numpy() - mean)[missing] < 4 * error[missing]).all()
    # The standard error of a standard deviation is its share 1 / sqrt(2 ess).
    assert (np.abs(found.sd.numpy() - sd)[missing] < 4 * error[missing]).all()
    assert torch.isinf(found.ess[8:]).all()
    assert (found.ess[:8] > (7999 if widen == 1 else 3000)).all()


def test_draws_are_of_the_conditional(problem):
    fitted, rows, mean, sd = problem
    found = impute(*programs(fitted, 1.3), torch.tensor(rows), 2000, num_draws=500)
    missing = np.isnan(rows)
    draws = found.draws.numpy()
    assert draws.shape == (500, *rows.shape)
    assert (draws[:, ~missing] == rows[~missing]).all()
    error = sd[missing] * np.sqrt(1 / 500 + 1 / 1000)
    assert (np.abs(draws.mean(0) - mean)[missing] < 4 * error).all()
    assert (np.abs(draws.std(0) - sd)[missing] < 4 * error).all()


def test_chunks_are_weighed_as_one(problem, monkeypatch):
    fitted, rows, mean, sd = problem
    monkeypatch.setattr(weighted_runs, "ENTRIES", 40 * 60)
    found = impute(*programs(fitted, 1.3), torch.tensor(rows), 3000, num_draws=200)
    missing = np.isnan(rows)
    assert (np.abs(found.value.numpy() - mean)[missing] < 4 * sd[missing] / np.sqrt(1000)).all()
    assert (np.abs(found.draws.numpy().mean(0) - mean)[missing] < 4 * sd[missing] / np.sqrt(120)).all()


def test_a_seed_gives_the_same_and_the_random_state_is_unchanged(problem):
    fitted, rows, *_ = problem
    torch.manual_seed(1)
    first = impute(*programs(fitted), torch.tensor(rows), 50, num_draws=2, seed=3)
    assert torch.initial_seed() == 1
    again = impute(*programs(fitted), torch.tensor(rows), 50, num_draws=2, seed=3)
    assert torch.equal(first.value, again.value)
    assert torch.equal(first.draws, again.draws)
    other = impute(*programs(fitted), torch.tensor(rows), 50, seed=4)
    assert not torch.equal(first.value, other.value)


def test_entries_given_the_others_are_the_exact_conditionals(problem):
    fitted, rows, *_ = problem
    found = cell_log_likelihood(*programs(fitted, 1.5), torch.tensor(rows), 8000)
    covariance = fitted.get_covariance()
    for n, row in enumerate(rows):
        for j in range(5):
            if np.isnan(row[j]):
                assert torch.isnan(found.value[n, j])
                continue
            o = np.setdiff1d(np.flatnonzero(~np.isnan(row)), [j])
            gain = np.linalg.solve(covariance[np.ix_(o, o)], covariance[o, j])
            loc = fitted.mean_[j] + gain @ (row - fitted.mean_)[o]
            sd = np.sqrt(covariance[j, j] - gain @ covariance[o, j])
            assert float(found.value[n, j]) == pytest.approx(
                norm(loc, sd).logpdf(row[j]), abs=5 * float(found.se[n, j])
            )
            assert float(found.expected[n, j]) == pytest.approx(
                loc, abs=5 * sd / float(found.ess[n, j]) ** 0.5
            )
    known = found.se[~torch.isnan(found.se)]
    assert float(known.max()) < 0.2


class _Levels:
    levels = ("a", "b", "c")


class _Real:
    levels = ()


def test_levels_are_the_most_probable_ones():
    # x = (level, number): a latent of three values decides both, so p(level | number) is Bayes' rule.
    chances, centres = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.0, 1.0, 3.0])
    table = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7]])

    class Row(dist.TorchDistribution):
        support = dist.constraints.real_vector
        arg_constraints = {}  # noqa: RUF012

        def __init__(self, z):
            self.levels, self.number = dist.Categorical(table[z]), dist.Normal(centres[z], 0.7)
            super().__init__(z.shape, torch.Size([2]), validate_args=False)

        @property
        def mean(self):
            return torch.stack([self.levels.probs.argmax(-1).float(), self.number.mean], -1)

        def sample(self, sample_shape=()):
            return torch.stack([self.levels.sample().float(), self.number.sample()], -1)

        def cell_log_prob(self, x):
            whole = x.nan_to_num()
            cells = torch.stack(
                [self.levels.log_prob(whole[..., 0].long()), self.number.log_prob(whole[..., 1])], -1
            )
            return torch.where(x.isnan(), 0.0, cells)

        def log_prob(self, x):
            return self.cell_log_prob(x).sum(-1)

    def model(x):
        with pyro.plate("data", x.shape[-2], dim=-1):
            z = pyro.sample("z", dist.Categorical(chances))
            pyro.sample("x", Row(z), obs=x)

    def guide(x):
        with pyro.plate("data", x.shape[-2], dim=-1):
            pyro.sample("z", dist.Categorical(torch.full((len(x), 3), 1 / 3)))

    x = torch.tensor([[torch.nan, 0.2], [torch.nan, 2.5], [1.0, torch.nan]])
    found = impute(model, guide, x, 20_000, num_draws=400, columns=[_Levels, _Real])
    posterior = chances * torch.exp(dist.Normal(centres, 0.7).log_prob(x[:2, 1:]))
    levels = (posterior / posterior.sum(1, keepdim=True)) @ table
    assert found.value[:2, 0].tolist() == levels.argmax(1).tolist()
    np.testing.assert_allclose(found.probability[:2, 0], levels.amax(1), atol=0.02)
    assert found.probability[2, 0] == 1
    assert torch.isnan(found.sd[:, 0]).all()
    drawn = torch.stack([(found.draws[:, :2, 0] == level).double().mean(0) for level in range(3)], 1)
    np.testing.assert_allclose(drawn, levels, atol=0.1)
    # The number given the level: a mixture of three normals, whose spread is estimated from draws.
    weights = chances * table[:, 1] / (chances * table[:, 1]).sum()
    mean = float(weights @ centres)
    assert float(found.value[2, 1]) == pytest.approx(mean, abs=0.05)
    spread = float((weights @ (centres**2 + 0.49)) - mean**2) ** 0.5
    assert float(found.sd[2, 1]) == pytest.approx(spread, abs=0.05)


def test_complete_rows_run_nothing():
    def never(x):
        raise AssertionError("complete rows have nothing to impute")

    x = torch.ones(3, 2)
    found = impute(never, never, x, num_draws=2)
    assert torch.equal(found.value, x.double())
    assert found.draws.shape == (2, 3, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 1}, "num_samples to be a whole number of at least 2"),
        ({"num_draws": -1}, "num_draws to be a whole number of at least 0"),
        ({"columns": [_Real]}, "`columns` with one entry for each of the 5 columns of x; got 1"),
    ],
)
def test_bad_arguments_end_in_one_sentence(problem, options, message):
    fitted, rows, *_ = problem
    with pytest.raises(InputError, match=message):
        impute(*programs(fitted), torch.tensor(rows), **options)


def test_a_table_of_all_kinds_is_imputed_as_by_a_grid_over_z():
    torch.manual_seed(0)
    columns = [
        Column("length", "real"),
        Column("price", "positive"),
        Column("visits", "count"),
        Column("smoker", "binary", ("no", "yes")),
        Column("grade", "ordinal", ("low", "mid", "high")),
        Column("colour", "categorical", ("red", "green", "blue")),
    ]
    mean, std = torch.tensor([5.0, 20, 3, 0.5, 1, 1]), torch.tensor([2.0, 10, 2, 0.5, 1, 1])
    likelihood = TableLikelihood(mean, std, columns)
    model = GenerativeModel(
        StandardNormal(1), torch.nn.Linear(1, likelihood.num_outputs), likelihood
    ).double()

    def guide(x):
        with pyro.plate("data", x.shape[-2], dim=-1):
            pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))

    nan = torch.nan
    x = torch.tensor([[6.0, nan, nan, 1, nan, nan], [nan, 30, 2, nan, 2, 1], [nan] * 6], dtype=torch.float64)
    found = impute(model, guide, x, 20_000)
    z = torch.linspace(-6, 6, 2001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        at_z = likelihood(model.decoder(z[:, None]))
        log_weights = at_z.log_prob(x) - z**2 / 2
        weights = log_weights.softmax(0)
        expected = torch.einsum("zn,zd->nd", weights, at_z.mean.squeeze(1)[:, :3])
        for j in range(3):
            missing = x[:, j].isnan()
            error = 5 * found.sd[missing, j] / found.ess[missing].sqrt()
            assert ((found.value[missing, j] - expected[missing, j]).abs() < error).all(), columns[j].kind
        for j in range(3, 6):
            chances = []
            for level in range(len(columns[j].levels)):
                put = x.clone()
                put[:, j] = level
                chances.append((weights * at_z.cell_log_prob(put)[..., j].exp()).sum(0))
            missing = x[:, j].isnan()
            chance, level = torch.stack(chances).max(0)
            np.testing.assert_allclose(found.probability[missing, j], chance[missing], atol=0.03)
            assert found.value[missing, j].tolist() == level[missing].tolist()
