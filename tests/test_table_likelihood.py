"""The likelihood of tables: each kind of column against SciPy, and missing entries against exact marginals."""

import math
from functools import partial

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats
from torch import nn

from pyro_vae import DiagonalNormalGuide, GenerativeModel, StandardNormal, estimate_elbo, fit, log_likelihood
from pyro_vae._checks import InputError
from pyro_vae.data.columns import Column
from pyro_vae.likelihoods.table import TableLikelihood, log_moments
from pyro_vae.networks.mlp import MLP
from pyro_vae.networks.table_features import TableFeatures
from pyro_vae.training.optimizer import FusedAdamW

COLUMNS = (
    Column("length", "real"),
    Column("colour", "categorical", ("blue", "green", "red")),
    Column("price", "positive"),
    Column("visits", "count"),
    Column("member", "binary", ("no", "yes")),
    Column("grade", "ordinal", ("a", "b", "c", "d")),
    Column("width", "real"),
)
MEAN = torch.tensor([2.0, 1.0, 30.0, 4.0, 0.3, 1.5, -1.0])
STD = torch.tensor([0.5, 0.8, 20.0, 3.0, 0.46, 1.0, 5.0])
ROWS = torch.tensor([[2.2, 0, 12.0, 3, 1, 2, -3.0], [1.0, 2, 80.0, 0, 0, 0, 4.0]])


def table(outputs_seed=0, rows=2):
    likelihood = TableLikelihood(MEAN, STD, COLUMNS).double()
    torch.manual_seed(outputs_seed)
    return likelihood, torch.randn(rows, likelihood.num_outputs, dtype=torch.float64)


def test_each_kind_is_scipys():
    likelihood, outputs = table()
    cells = likelihood(outputs).cell_log_prob(ROWS.double()).detach().numpy()
    softplus = lambda v: np.logaddexp(0, v + math.log(math.e - 1))  # noqa: E731
    for n, (row, out) in enumerate(zip(ROWS.double().numpy(), outputs.numpy(), strict=True)):
        loc, raw = out[:2], out[2:4]
        scale = 0.01 + softplus(raw)
        mean, std = MEAN.double().numpy()[[0, 6]], STD.double().numpy()[[0, 6]]
        expected = stats.norm(mean + std * loc, std * scale).logpdf(row[[0, 6]])
        np.testing.assert_allclose(cells[n, [0, 6]], expected, rtol=1e-6)
        m, s = (float(v) for v in log_moments(MEAN[2].double(), STD[2].double()))
        expected = stats.lognorm(s * (0.01 + softplus(out[5])), scale=math.exp(m + s * out[4])).logpdf(row[2])
        assert cells[n, 2] == pytest.approx(expected)
        failures = 0.1 + 10 * softplus(out[7])
        mean = 4 * (1 + 3 / 4) ** out[6]
        expected = stats.nbinom(failures, failures / (failures + mean)).logpmf(row[3])
        assert cells[n, 3] == pytest.approx(expected)
        logit = math.log(0.3 / 0.7) + out[8]
        assert cells[n, 4] == pytest.approx(
            stats.bernoulli(1 / (1 + math.exp(-logit))).logpmf(row[4]), rel=1e-6
        )
        cuts = np.array([-1, 0, 1]) - out[9]
        below = np.concatenate([[0], 1 / (1 + np.exp(-cuts)), [1]])
        assert cells[n, 5] == pytest.approx(np.log(np.diff(below)[int(row[5])]))
        weights = np.exp(out[10:13])
        assert cells[n, 1] == pytest.approx(np.log(weights / weights.sum())[int(row[1])])


OTHER_KINDS = (
    Column("a", "poisson"),
    Column("b", "student-t"),
    Column("c", "real"),
    Column("d", "student-t"),
)


def test_poisson_and_student_t_columns_are_scipys():
    mean, std = torch.tensor([4.0, 1.0, 0.0, -2.0]), torch.tensor([3.0, 2.0, 1.0, 5.0])
    likelihood = TableLikelihood(mean, std, OTHER_KINDS).double()
    with torch.no_grad():
        likelihood.raw_degrees[1].fill_(2.0)
    torch.manual_seed(0)
    outputs = torch.randn(1, likelihood.num_outputs, dtype=torch.float64)
    rows = torch.tensor([[7.0, 40.0, 0.3, -9.0]], dtype=torch.float64)
    p = likelihood(outputs)
    cells, out = p.cell_log_prob(rows).detach().numpy()[0], outputs.numpy()[0]
    softplus = lambda v: np.logaddexp(0, v + math.log(math.e - 1))  # noqa: E731
    df = 2 + 8 * softplus(np.array([0.0, 2.0]))
    loc, scale = (
        np.array([1, -2]) + np.array([2, 5]) * out[2:4],
        np.array([2, 5]) * (0.01 + softplus(out[4:6])),
    )
    np.testing.assert_allclose(cells[[1, 3]], stats.t(df, loc, scale).logpdf(rows[0, [1, 3]]), rtol=1e-6)
    rate = 4 * (1 + 3 / 4) ** out[6]
    assert cells[0] == pytest.approx(stats.poisson(rate).logpmf(7), rel=1e-6)
    exact = [rate, loc[0], out[0], loc[1]]
    np.testing.assert_allclose(p.mean.detach().numpy()[0], exact, rtol=1e-6)
    wide = p.expand((3, 1)).log_prob(rows)
    torch.testing.assert_close(wide, p.log_prob(rows).expand(3, 1))
    wide.sum().backward()
    assert all(degrees.grad.isfinite() for degrees in likelihood.raw_degrees)
    assert p.support.check(p.sample((50,))).all()


def test_probabilities_and_densities_sum_to_one():
    likelihood, outputs = table(rows=1)
    p = likelihood(outputs)

    def total(place, values, widths=1.0):
        rows = ROWS[:1].double().repeat(len(values), 1)
        rows[:, place] = values
        return float((p.cell_log_prob(rows)[:, place].exp().detach() * widths).sum())

    for place, count in ((1, 3), (4, 2), (5, 4), (3, 3000)):
        assert total(place, torch.arange(count).double()) == pytest.approx(1, abs=1e-6)
    grid = torch.linspace(-12, 12, 20001, dtype=torch.float64)
    step = float(grid[1] - grid[0])
    assert total(2, grid.exp(), grid.exp() * step) == pytest.approx(1, abs=1e-4)
    assert total(0, 2 + 20 * grid, 20 * step) == pytest.approx(1, abs=1e-4)


def test_missing_entries_are_left_out_and_have_no_gradient():
    likelihood, outputs = table()
    outputs.requires_grad_()
    rows = ROWS.double()
    cells = likelihood(outputs).cell_log_prob(rows)
    holes = rows.clone()
    holes[0, 2], holes[1, 5], holes[1, 0] = torch.nan, torch.nan, torch.nan
    left = likelihood(outputs).log_prob(holes)
    torch.testing.assert_close(left, (cells * ~holes.isnan()).sum(-1))
    (gradient,) = torch.autograd.grad(left.sum(), outputs)
    assert gradient.isfinite().all()
    assert (gradient[0, 4:6] == 0).all()


def test_units_shift_the_log_density_by_their_logarithm():
    likelihood, outputs = table()
    factor = torch.tensor([1000.0, 1, 0.5, 1, 1, 1, 1])
    scaled = TableLikelihood(MEAN * factor, STD * factor, COLUMNS).double()
    torch.testing.assert_close(
        scaled(outputs).log_prob(ROWS.double() * factor),
        likelihood(outputs).log_prob(ROWS.double()) - factor.double().log().sum(),
        rtol=1e-6,
        atol=1e-5,
    )


def test_samples_have_the_stated_means_and_lie_in_the_support():
    likelihood, outputs = table(rows=1)
    p = likelihood(outputs)
    torch.manual_seed(1)
    draws = p.sample((20_000,))[:, 0]
    assert p.support.check(draws).all()
    ordered = [0, 2, 3, 4, 5, 6]
    error = (draws.double().mean(0) - p.mean[0]).abs() / (p.variance[0] / len(draws)).sqrt()
    assert (error[ordered] < 4.5).all()
    assert not p.support.check(torch.tensor([[0, 3.0, 1, 0, 0, 0, 0]]).double())  # there is no fourth colour
    assert p.support.check(torch.full((1, 7), torch.nan).double())


def test_a_particle_dimension_and_expanding():
    likelihood, _ = table()
    outputs = torch.randn(5, 2, likelihood.num_outputs, dtype=torch.float64)
    together = likelihood(outputs).log_prob(ROWS.double())
    assert together.shape == (5, 2)
    torch.testing.assert_close(together[3], likelihood(outputs[3]).log_prob(ROWS.double()))
    wide = likelihood(outputs[0]).expand((5, 2))
    torch.testing.assert_close(
        wide.log_prob(ROWS.double())[4], likelihood(outputs[0]).log_prob(ROWS.double())
    )


def linear_model(data_dim=4, latent_dim=2):
    """A linear decoder with one scale per column, and the exact p(z given observed entries)."""
    torch.manual_seed(3)
    columns = [Column(f"x{j}", "real") for j in range(data_dim)]
    mean, std = torch.randn(data_dim), torch.rand(data_dim) + 0.5
    likelihood = TableLikelihood(mean, std, columns).double()
    decoder = nn.Linear(latent_dim, likelihood.num_outputs).double()
    with torch.no_grad():
        decoder.weight[data_dim:] = 0
    model = GenerativeModel(StandardNormal(latent_dim), decoder, likelihood).double()
    with torch.no_grad():
        zero = likelihood(decoder(torch.zeros(latent_dim, dtype=torch.float64)))
        loading = std.double()[:, None] * decoder.weight[:data_dim]
    return model, loading, zero.mean, zero.variance


def test_holes_under_a_linear_decoder_are_the_exact_marginal_row_by_row():
    model, loading, mean, variance = linear_model()
    torch.manual_seed(4)
    x = mean + torch.randn(12, 4, dtype=torch.float64)
    x[torch.rand(12, 4) < 0.4] = torch.nan
    x[0] = torch.nan

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            seen = (~x.isnan()).double()
            weighted = loading / variance[:, None]
            precision = torch.eye(2) + torch.einsum("nd,di,dj->nij", seen, weighted, loading)
            centred = (x - mean).nan_to_num(0.0) * seen
            loc = torch.linalg.solve(precision, (centred @ weighted).unsqueeze(-1)).squeeze(-1)
            return pyro.sample("z", dist.MultivariateNormal(loc, precision_matrix=precision))

    got = estimate_elbo(model, guide, x).value
    covariance = (loading @ loading.T + variance.diag()).numpy()
    for row, value in zip(x.numpy(), got.tolist(), strict=True):
        seen = ~np.isnan(row)
        exact = (
            stats.multivariate_normal(mean.numpy()[seen], covariance[np.ix_(seen, seen)]).logpdf(row[seen])
            if seen.any()
            else 0.0
        )
        assert value == pytest.approx(exact, abs=1e-9)


def test_features_hide_what_is_missing_and_say_so():
    features = TableFeatures(MEAN, STD, COLUMNS)
    rows = ROWS.clone()
    rows[0, 1] = torch.nan
    made = features(rows)
    assert made.shape == (2, features.num_features)
    assert made.isfinite().all()
    assert made[0, 1:4].tolist() == [0, 0, 0]
    assert made[1, 1:4].tolist() == [0, 0, 1]
    assert made[0, -7:].tolist() == [1, 0, 1, 1, 1, 1, 1]


@pytest.mark.slow
def test_a_table_with_holes_is_trained_and_scored():
    torch.manual_seed(0)
    z = torch.randn(300, 1)
    x = torch.cat([z + 0.1 * torch.randn(300, 1), (z > 0).float(), (1.5 * z + 3).exp()], dim=1)
    x[torch.rand(300, 3) < 0.2] = torch.nan
    columns = (Column("a", "real"), Column("b", "binary", ("n", "y")), Column("c", "positive"))
    mean, std = x.nanmean(0), (x - x.nanmean(0)).square().nanmean(0).sqrt()
    likelihood = TableLikelihood(mean, std, columns)
    features = TableFeatures(mean, std, columns)
    model = GenerativeModel(StandardNormal(1), MLP(1, (16,), likelihood.num_outputs, "tanh"), likelihood)
    guide = DiagonalNormalGuide(nn.Sequential(features, MLP(features.num_features, (16,), 2, "tanh")))
    before = estimate_elbo(model, guide, x).mean
    adam = partial(FusedAdamW, lr=1e-2)
    fit(model, guide, x, epochs=60, batch_size=50, optimizer=adam, seed=0, compile="off", progress=False)
    assert estimate_elbo(model, guide, x).mean > before + 1
    assert log_likelihood(model, guide, x[:20], num_samples=100).value.isfinite().all()


def test_bad_tables_are_reported():
    with pytest.raises(InputError, match="a column for each of the 7 entries"):
        TableLikelihood(MEAN, STD, COLUMNS[:3])
    with pytest.raises(InputError, match="means above 0 of positive columns"):
        TableLikelihood(-MEAN, STD, COLUMNS)
    with pytest.raises(InputError, match="one entry a column"):
        TableFeatures(MEAN[:2], STD[:2], COLUMNS)
