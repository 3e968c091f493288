"""Latents and predictions in ArviZ: the right numbers under the right names, and its functions on them."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import assert_within_sigma
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import ExactGuide, exact_log_prob, linear_problem, rows, small_vae

import pyro_vae
from pyro_vae._checks import InputError
from pyro_vae.evaluate import NUTSPosterior, ResampledPosterior, to_arviz
from pyro_vae.evaluate.posteriors import resample

ROWS = [7, 3]
QUICK = ResampledPosterior(num_samples=100, num_chains=2, num_proposals=200)


def wide_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x.new_zeros(2), 1.5).to_event(1))


@pytest.fixture(scope="module")
def problem():
    model, x = linear_problem()
    exact = ExactGuide(model)
    return model, x, ((x - exact.mean) @ exact.gain.T)[ROWS], exact.covariance


@pytest.fixture(scope="module")
def resampled(problem):
    model, x, *_ = problem
    return to_arviz(model, wide_guide, x, rows=ROWS, posterior=ResampledPosterior(500, 4, 20000))


def test_the_resampled_posterior_is_the_posterior(problem, resampled):
    _, _, loc, covariance = problem
    z = torch.from_numpy(resampled.posterior["z"].values).flatten(0, 1)
    scale = covariance.diagonal().sqrt()
    # Systematic draws from many proposals: no worse than as many independent ones.
    assert_within_sigma(z.mean(0), loc, scale / 2000**0.5)
    for row in range(2):
        assert_within_sigma(z[:, row].T.cov(), covariance, 0.3 * covariance.diagonal().max(), sigmas=0.5)
    ess = resampled.constant_data["importance_ess"].values
    assert ((ess > 2000) & (ess < 80000)).all()


def test_names_and_coordinates(resampled):
    assert resampled.posterior["z"].dims == ("chain", "draw", "data", "z_dim")
    assert resampled.posterior["z"].shape == (4, 500, 2, 2)
    assert resampled.posterior["data"].values.tolist() == ROWS
    assert resampled.posterior_predictive["x"].dims == ("chain", "draw", "data", "x_dim")
    assert resampled.log_likelihood["x"].dims == ("chain", "draw", "data")
    assert resampled.prior["z"].shape == (1, 500, 2, 2)
    assert resampled.prior_predictive["x"].shape == (1, 500, 2, 5)
    assert resampled.observed_data["x"].dims == ("data", "x_dim")


def test_every_group_has_the_numbers_of_the_model(problem, resampled):
    model, x, loc, covariance = problem
    np.testing.assert_array_equal(resampled.observed_data["x"].values, x[ROWS].numpy())
    z = torch.from_numpy(resampled.posterior["z"].values)
    expected = dist.Normal(z @ model.weight.T + model.mean, 0.3**0.5).to_event(1).log_prob(x[ROWS])
    np.testing.assert_allclose(resampled.log_likelihood["x"].values, expected.detach().numpy())
    predicted = torch.from_numpy(resampled.posterior_predictive["x"].values).flatten(0, 1)
    weight = model.weight.detach()
    variance = (weight @ covariance @ weight.T).diagonal() + 0.3
    assert_within_sigma(predicted.mean(0), loc @ weight.T + model.mean.detach(), (variance / 2000).sqrt())
    assert_within_sigma(predicted.var(0), variance, variance * (2 / 2000) ** 0.5, sigmas=5)
    prior = torch.from_numpy(resampled.prior["z"].values)
    assert_within_sigma(prior.mean(), 0, 1 / 2000**0.5)
    assert_within_sigma(prior.var(), 1, (2 / 2000) ** 0.5)
    marginal = (weight @ weight.T).diagonal() + 0.3
    drawn = torch.from_numpy(resampled.prior_predictive["x"].values).flatten(0, 2)
    assert_within_sigma(drawn.var(0), marginal, marginal * (2 / 1000) ** 0.5, sigmas=5)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), num_proposals=st.integers(2, 30), count=st.integers(1, 60))
def test_proposals_are_chosen_as_often_as_their_weights_say(seed, num_proposals, count):
    generator = torch.Generator().manual_seed(seed)
    weights = (4 * torch.randn(num_proposals, 3, generator=generator, dtype=torch.float64)).softmax(0)
    chosen = resample(weights, count)
    assert chosen.shape == (count, 3)
    times = torch.stack([(chosen == number).sum(0) for number in range(num_proposals)])
    assert ((times - count * weights).abs() < 1 + 1e-9).all()


@pytest.mark.slow
def test_nuts_agrees_with_the_posterior(problem):
    model, x, loc, covariance = problem
    found = to_arviz(model, wide_guide, x, rows=ROWS, posterior=NUTSPosterior(100, 2, 50))
    z = torch.from_numpy(found.posterior["z"].values).flatten(0, 1)
    assert_within_sigma(z.mean(0), loc, (covariance.diagonal() / 40).sqrt())
    assert found.sample_stats["diverging"].shape == (2, 100)
    assert not found.sample_stats["diverging"].values.any()
    assert "constant_data" not in found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Passing a dict or None as alias_mapping")  # ArviZ 0.23, matplotlib 3.11
def test_arviz_accepts_the_export(resampled):
    from pyro_vae.evaluate._arviz import MODERN, az

    summary = az.summary(resampled)
    assert len(summary) == 4
    assert (summary["r_hat"].astype(float) < 1.03).all()
    if MODERN:
        of_z, of_x = (az.plot_dist, az.plot_trace, az.plot_forest, az.plot_prior_posterior), az.plot_ppc_dist
    else:
        of_z, of_x = (az.plot_posterior, az.plot_trace, az.plot_forest, az.plot_dist_comparison), az.plot_ppc
    for plot in of_z:
        plot(resampled, var_names=["z"])
        plt.close("all")
    of_x(resampled)
    plt.close("all")


@pytest.fixture(scope="module")
def held_out():
    model, x = linear_problem(num_rows=100)
    exact = exact_log_prob(model, x)
    options = {"posterior": ResampledPosterior(num_samples=200, num_proposals=2000)}
    of_z = to_arviz(model, wide_guide, x, **options)
    return exact, of_z, to_arviz(model, wide_guide, x, marginal_samples=20000, **options)


@pytest.mark.slow
def test_the_pointwise_log_likelihood_may_be_log_p_x(held_out):
    exact, _, marginal = held_out
    value = marginal.log_likelihood["x"]
    assert value.dims == ("chain", "draw", "data")
    se = marginal.constant_data["log_likelihood_se"].values
    assert_within_sigma(value.mean(("chain", "draw")).values, exact, se, sigmas=5)
    assert float((value.max(("chain", "draw")) - value.min(("chain", "draw"))).max()) <= 2.1e-9
    assert (marginal.constant_data["log_likelihood_pareto_k"].values < 0.7).all()


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:Estimated shape parameter of Pareto"
)  # of log p(x | z), which is the point
@pytest.mark.filterwarnings("ignore:The inplace keyword")  # ArviZ 0.23, pandas 3
def test_loo_of_it_is_the_exact_log_likelihood(held_out):
    from pyro_vae.evaluate._arviz import az

    exact, of_z, marginal = held_out

    def elpd(data):
        found = az.loo(data)
        return float(found.elpd_loo if hasattr(found, "elpd_loo") else found.elpd)

    assert elpd(marginal) / 100 == pytest.approx(float(exact.mean()), abs=0.02)
    assert elpd(of_z) / 100 > float(exact.mean()) + 0.5
    compared = az.compare({"as it is": marginal, "of z": of_z})
    assert compared.index[0] == "of z"  # which is why the export says what it holds


@pytest.mark.slow
def test_the_export_names_its_log_likelihood(held_out):
    _, of_z, marginal = held_out
    assert "too high" in of_z.log_likelihood.attrs["meaning"]
    assert "marginal_samples" in of_z.log_likelihood.attrs["meaning"]
    assert "log p(x)" in marginal.log_likelihood.attrs["meaning"]
    assert "20000 samples" in marginal.log_likelihood.attrs["meaning"]


@pytest.mark.slow
def test_loo_of_log_p_x_warns_of_nothing(held_out):
    from pyro_vae.evaluate._arviz import az

    az.loo(held_out[2])  # a warning is an error


def test_dimensions_may_be_named():
    model, guide = small_vae()
    found = to_arviz(
        model, guide, rows(), rows=[0], posterior=QUICK, dims={"x": ["column"]}, coords={"column": list("abcdef")}
    )  # fmt: skip
    assert found.observed_data["x"].dims == ("data", "column")
    assert found.posterior_predictive["column"].values.tolist() == list("abcdef")


def test_several_sites_and_a_discrete_one():
    def model(x, y):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Bernoulli(0.5))
            z = pyro.sample("z", dist.Normal(y + 4 * k, 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1).expand(*z.shape, 2), 1.0).to_event(1), obs=x)

    def guide(x, y):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Bernoulli(torch.full((len(x),), 0.5)))
            pyro.sample("z", dist.Normal(y + 4 * k, 1.5))

    x, y = torch.tensor([[4.0, 4.0], [0.0, 0.0], [3.0, 3.0]]), torch.tensor([0.0, 0.0, 1.0])
    found = to_arviz(model, guide, (x, y), posterior=ResampledPosterior(400, 2, 4000))
    # N(x; mean, [[2, 1], [1, 2]]) with k = 1 and with k = 0: odds exp of half the squares over 3, times two.
    odds = torch.exp(((x[:, 0] - y) ** 2 - (x[:, 0] - y - 4) ** 2) / 3)
    probability = odds / (1 + odds)
    assert found.posterior["k"].dims == ("chain", "draw", "data")
    k = torch.from_numpy(found.posterior["k"].values).flatten(0, 1)
    assert_within_sigma(k.mean(0), probability, (probability * (1 - probability) / 800).sqrt() + 1e-3)


def test_nothing_is_left_changed():
    model, guide = small_vae()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    x = rows()[:2]
    for posterior in (QUICK, NUTSPosterior(4, 1, 3)):
        found = to_arviz(model, guide, x, posterior=posterior)
        again = to_arviz(model, guide, x, posterior=posterior)
        np.testing.assert_array_equal(found.posterior["z"].values, again.posterior["z"].values)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)
    assert model.training
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.slow
def test_the_import_of_arviz_is_silent(tmp_path):
    # ArviZ notes in its cache that it has warned today: an empty one makes it warn.
    adapter = Path(pyro_vae.evaluate.__file__).parent / "_arviz.py"
    run = subprocess.run(
        [sys.executable, "-W", "default::FutureWarning", adapter], capture_output=True, text=True, timeout=120,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "ArviZ" not in run.stderr


def found_with(**options):
    model, x = linear_problem(num_rows=3)
    return to_arviz(model, wide_guide, x, **({"posterior": QUICK} | options))


BAD = [
    ("no samples", lambda: ResampledPosterior(num_samples=0), "num_samples"),
    ("one proposal", lambda: ResampledPosterior(num_proposals=1), "num_proposals"),
    ("no warm-up", lambda: NUTSPosterior(num_warmup=0), "num_warmup"),
    ("row beyond", lambda: found_with(rows=[3]), "rows as numbers from 0 to 2"),
    ("no rows", lambda: found_with(rows=[]), "at least one"),
    ("names", lambda: found_with(dims={"z": ["a", "b"]}), "1 names for the dimensions of 'z'"),
    ("coordinates", lambda: found_with(coords={"z_dim": ["a"]}), "2 coordinates along 'z_dim'"),
]


@pytest.mark.parametrize(("call", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
