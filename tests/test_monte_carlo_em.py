"""Monte Carlo EM against exact answers: the likelihood it climbs to, and the posterior its chains end at."""

import copy
import json
import math
import sys
from functools import partial

import numpy as np
import pyro
import pytest
import torch
from helpers import assert_within_sigma
from programs import copied, rows, small_vae

from pyro_vae import Schedule, estimate_elbo, fit, load_dataset
from pyro_vae._checks import InputError, NonFiniteLossError
from pyro_vae.baselines import PPCA
from pyro_vae.evaluate.hmc import HMC
from pyro_vae.guides import DiagonalNormalGuide
from pyro_vae.guides.exact_linear import ExactLinearGuide
from pyro_vae.likelihoods import LIKELIHOODS, GaussianWithIsotropicScale
from pyro_vae.models.linear import LinearGaussianModel
from pyro_vae.networks import mlp_encoder
from pyro_vae.training import FitResult
from pyro_vae.training.monte_carlo_em import MonteCarloEM

NUM_ROWS = 400
quick = {"epochs": 3, "batch_size": 10, "progress": False, "seed": 0}
small = MonteCarloEM(HMC(num_leapfrog=2), num_warmup=4)


def adam(lr):
    return partial(torch.optim.Adam, lr=lr)


def linear_rows():
    generator = np.random.default_rng(0)
    z, noise = generator.normal(size=(NUM_ROWS, 2)), generator.normal(size=(NUM_ROWS, 5))
    x = z @ (1.5 * generator.normal(size=(2, 5))) + 0.4 * noise
    return torch.from_numpy(x).float().double()


def linear_model(x):
    return LinearGaussianModel(2, GaussianWithIsotropicScale(x.mean(0), x.std(0), scale_floor=1e-3)).double()


def climb(x, model, **changes):
    settings = {"epochs": 200, "batch_size": NUM_ROWS, "optimizer": adam(0.05), "progress": False, "seed": 0}
    return MonteCarloEM(HMC(num_leapfrog=5)).fit(model, x, **settings | changes)


@pytest.fixture(scope="module")
def linear():
    """Return rows, and the linear model and the result that Monte Carlo EM comes to from random weights."""
    torch.manual_seed(0)
    x = linear_rows()
    model = linear_model(x)
    return x, model, climb(x, model)


# --- the truth ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_linear_decoder_reaches_the_exact_maximum_of_the_likelihood(linear):
    """Within 0.02 nats per example (eight seeds ended 0.001 to 0.004 below), from over 1 nat below, never above."""
    x, model, _ = linear
    best = PPCA(2).fit(x.numpy()).score(x.numpy())
    assert linear_model(x).to_baseline().score(x.numpy()) < best - 1
    assert best - 0.02 < model.to_baseline().score(x.numpy()) <= best + 1e-9


@pytest.mark.slow
def test_the_chains_end_at_the_posterior(linear):
    """Whitened by the exact posterior, the draws are standard normal, independently for each row."""
    x, model, result = linear
    posterior = ExactLinearGuide(model).posterior(x)
    factor = torch.linalg.cholesky(posterior.covariance_matrix.detach())
    white = torch.linalg.solve_triangular(
        factor, (result.z - posterior.mean.detach()).unsqueeze(-1), upper=False
    )
    white = white.squeeze(-1)
    assert_within_sigma(white.mean(0), 0, NUM_ROWS**-0.5)
    error = (torch.ones(2, 2) + torch.eye(2)).div(NUM_ROWS).sqrt()
    assert_within_sigma(white.T @ white / NUM_ROWS, torch.eye(2), error)


@pytest.mark.slow
def test_a_guide_fitted_to_the_frozen_decoder_reaches_the_bound_of_the_best_diagonal_guide(linear):
    """The best diagonal normal has the posterior's mean and the precision's diagonal (Bishop 2006, section 10.1.2)."""
    x, model, _ = linear
    model, before = copy.deepcopy(model).requires_grad_(False), copied(model)
    guide = DiagonalNormalGuide(mlp_encoder(x.mean(0), x.std(0), (), 4, "tanh")).double()
    decay = Schedule("cosine")
    fit(
        model,
        guide,
        x,
        epochs=80,
        batch_size=50,
        optimizer=adam(0.05),
        schedule=decay,
        progress=False,
        seed=0,
    )
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    precision = ExactLinearGuide(model).posterior(x).precision_matrix[0]
    gap = 0.5 * float(precision.diagonal().log().sum() - precision.logdet())
    exact = model.to_baseline().score_samples(x.numpy())
    estimate = estimate_elbo(model, guide, [(x,)], num_particles=100)
    below = exact - estimate.value.numpy()
    error = below.std() / NUM_ROWS**0.5
    assert gap - 4 * error < below.mean() < gap + 0.03


@pytest.mark.slow
def test_step_sizes_follow_a_posterior_that_narrows(linear):
    """Those of the first epoch are soon too long; with a gain each row's chain keeps being accepted."""
    x, _, result = linear
    assert abs(result.history[-1]["train"]["accept_rate"] - 0.8) < 0.05
    fixed = MonteCarloEM(HMC(num_leapfrog=5), gain=0)
    held = fixed.fit(
        linear_model(x), x, epochs=50, batch_size=NUM_ROWS, optimizer=adam(0.05), progress=False, seed=0
    )
    assert held.history[-1]["train"]["accept_rate"] < 0.5
    assert (result.step_size < held.step_size).float().mean() > 0.95


def quadrature(model, x):
    """Return the mean of log p(x) over the rows for one latent dimension, by a sum over a grid."""
    z = torch.linspace(-8, 8, 2001)[:, None, None]
    with torch.no_grad():
        log_joint = model.prior().log_prob(z) + model.likelihood(model.decoder(z)).log_prob(x)
    return float((log_joint.logsumexp(0) + math.log(16 / 2000)).mean())


@pytest.mark.slow
def test_a_neural_decoder_ends_higher_than_with_a_diagonal_guide():
    """By log p(x) itself, from quadrature; four seeds ended 0.07 to 0.11 nats above, of some 5 gained."""
    x, ends = rows(count=300), []
    settings = {"epochs": 40, "batch_size": 50, "optimizer": adam(0.01), "progress": False, "seed": 0}
    for train in (MonteCarloEM(HMC(num_leapfrog=5)).fit, None):
        model, guide = small_vae("gaussian-shared", latent_dim=1)
        start = quadrature(model, x)
        if train:
            train(model, x, **settings)
        else:
            fit(model, guide, x, **settings)
        ends.append(quadrature(model, x))
    assert ends[0] > start + 4
    assert ends[0] > ends[1]


# --- what it returns and what it leaves alone --------------------------------------------------------------


def test_the_result_is_that_of_fit_with_the_chains():
    model, _ = small_vae()
    x = rows(count=25)
    result = small.fit(model, x, rows(count=7, seed=1), **quick)
    assert isinstance(result, FitResult)
    assert (result.best_epoch, result.stopped) == (3, "epochs")
    assert [line["epoch"] for line in result.history] == [1, 2, 3]
    assert set(result.history[0]) == {"epoch", "seconds", "learning_rate", "train", "validation"}
    for line in result.history:
        for part in (line["train"], line["validation"]):
            assert set(part) == {"reconstruction", "log_prior", "accept_rate"}
            assert 0 < part["accept_rate"] <= 1
    assert 0 < result.history[0]["seconds"] <= result.history[-1]["seconds"] <= result.seconds + 1e-3
    assert result.z.shape == result.step_size.shape == (25, 2)
    assert not result.z.requires_grad
    json.dumps(result.history)
    assert not model.training


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 7, 10, 64])
def test_terms_are_means_over_rows_at_the_draws_of_the_epoch(batch_size):
    """At a learning rate of 0 they can be had again from the chains; the last partial batch counts by its rows."""
    model, _ = small_vae()
    x = rows(count=10)
    still = partial(torch.optim.SGD, lr=0.0)
    result = small.fit(model, x, **quick | {"batch_size": batch_size, "optimizer": still})
    last = result.history[-1]["train"]
    assert last["log_prior"] == pytest.approx(model.prior().log_prob(result.z).mean().item(), rel=1e-5)
    likelihood = model.likelihood(model.decoder(result.z)).log_prob(x)
    assert last["reconstruction"] == pytest.approx(likelihood.mean().item(), rel=1e-5)


@pytest.mark.slow
def test_a_seed_repeats_to_the_bit_whether_or_not_there_is_validation():
    x, runs = rows(), []
    for seed, validation in ((0, None), (0, rows(count=9, seed=1)), (1, None)):
        model, _ = small_vae()
        result = small.fit(model, x, validation, **quick | {"seed": seed})
        runs.append((copied(model), result))
    (first, one), (second, two), (third, _) = runs
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(one.z, two.z)
    assert [line["train"] for line in one.history] == [line["train"] for line in two.history]
    assert not all(torch.equal(first[name], third[name]) for name in first)


@pytest.mark.slow
def test_without_a_seed_torchs_own_decides():
    finals = []
    for _ in range(2):
        torch.manual_seed(5)
        finals.append(small.fit(small_vae()[0], rows(), **quick | {"seed": None}).z)
    assert torch.equal(*finals)


def test_global_state_is_left_unchanged():
    state, validated = torch.get_rng_state(), torch.distributions.Distribution._validate_args
    small.fit(small_vae()[0], rows(), **quick)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.distributions.Distribution._validate_args == validated
    assert not list(pyro.get_param_store().keys())


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_likelihood_trains_all_parameters(likelihood):
    model, _ = small_vae(likelihood)
    before = copied(model)
    result = small.fit(model, rows(likelihood), **quick)
    assert all(not torch.equal(before[name], p) for name, p in model.named_parameters())
    assert all(math.isfinite(value) for value in result.history[-1]["train"].values())


def test_a_frozen_part_is_unchanged_and_a_double_model_trains_in_double():
    model, _ = small_vae("gaussian-shared")
    model.double().likelihood.requires_grad_(False)
    before = copied(model)
    assert small.fit(model, rows(), **quick).z.dtype == torch.float64
    moved = {name for name, p in model.named_parameters() if not torch.equal(before[name], p)}
    assert moved == {name for name, _ in model.named_parameters() if name.startswith("decoder.")}


def test_the_learning_rate_follows_the_schedule():
    schedule = Schedule("cosine", 0.3)
    result = small.fit(
        small_vae()[0], rows(count=20), **quick | {"schedule": schedule, "optimizer": adam(0.2)}
    )
    expected = [0.2 * schedule(step, 6) for step in (1, 3, 5)]
    assert [line["learning_rate"] for line in result.history] == pytest.approx(expected)


@pytest.mark.slow
def test_arrays_tensors_and_splits_are_equivalent_and_a_split_keeps_its_fixed_draw():
    split = load_dataset("digits").validation
    x, ends = split.tensor(), []
    model = LinearGaussianModel(2, GaussianWithIsotropicScale(x.mean(0), x.std(0), 0.1))
    start = copied(model)
    for data in (split, x, x.numpy(), x.clone().requires_grad_()):
        model.load_state_dict(start)
        ends.append(small.fit(model, data, **quick | {"batch_size": 125}).z)
    assert all(torch.equal(end, ends[0]) for end in ends[1:])


def test_the_progress_bar_shows_the_terms(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    small.fit(small_vae()[0], rows(), **quick | {"progress": True})
    err = capsys.readouterr().err
    assert "rows/s" in err
    assert "accept_rate" in err


# --- failures ----------------------------------------------------------------------------------------------


def test_a_density_that_is_not_finite_raises_with_its_position():
    model, _ = small_vae()
    model.likelihood.mean.fill_(torch.inf)
    with pytest.raises(NonFiniteLossError, match=r"epoch 1, step 1: first at site 'x'"):
        small.fit(model, rows(), **quick)
    model, _ = small_vae()
    model.prior.loc.fill_(torch.nan)
    with pytest.raises(NonFiniteLossError, match=r"first at site 'z'"):
        small.fit(model, rows(), **quick)


class Root(torch.nn.Module):
    """Adds the square root of a parameter that is 0: a finite value with a gradient that is not."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.power = torch.nn.Parameter(torch.zeros(()))

    def forward(self, z):
        return self.network(z) + self.power.sqrt()


def test_a_gradient_that_is_not_finite_names_its_parameter_and_keeps_the_weights():
    model, _ = small_vae()
    model.decoder = Root(model.decoder)
    before = copied(model)
    with pytest.raises(
        NonFiniteLossError, match=r"gradient .* epoch 1, step 1: first at parameter 'decoder.power'"
    ):
        small.fit(model, rows(), **quick)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def program(x):
    return x


BAD_FITS = {
    "list": ({"train": [1, 2]}, r"train of shape \(N, 6\); got \(2,\)"),
    "images": ({"train": torch.zeros(4, 2, 4)}, r"shape \(N, 6\); got \(4, 8\)"),
    "columns": ({"train": torch.zeros(4, 5)}, r"train of shape \(N, 6\); got \(4, 5\)"),
    "validation columns": ({"validation": torch.zeros(4, 5)}, r"validation of shape \(N, 6\)"),
    "no rows": ({"train": torch.zeros(0, 6)}, "at least one row"),
    "NaN": ({"train": torch.full((3, 6), torch.nan)}, "finite data"),
    "epochs": ({"epochs": 0}, "epochs to be a whole number of at least 1; got 0"),
    "batch_size": ({"batch_size": 0}, "batch_size to be a whole number of at least 1; got 0"),
    "seed": ({"seed": -1}, "seed to be a whole number of at least 0; got -1"),
    "device": ({"device": "tpu"}, "device to be one of auto, cpu, cuda; got 'tpu'"),
    "a function": ({"model": program}, "Expected a GenerativeModel, .*; got function"),
    "frozen": ({"model": small_vae()[0].requires_grad_(False)}, "parameters to train; got none"),
}


@pytest.mark.parametrize(("change", "message"), BAD_FITS.values(), ids=BAD_FITS)
def test_bad_fits_end_in_one_sentence(change, message):
    arguments = {"model": small_vae()[0], "train": rows()} | quick | change
    with pytest.raises(InputError, match=message):
        small.fit(**arguments)


@pytest.mark.parametrize(
    "change", [{"num_steps": 0}, {"num_warmup": -1}, {"num_warmup": 1.5}, {"gain": -1.0}, {"gain": math.nan}]
)
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(InputError, match=f"Expected {next(iter(change))} to be"):
        MonteCarloEM(**change)


@pytest.mark.gpu
def test_on_cuda_it_repeats():
    ends = []
    for _ in range(2):
        model, _ = small_vae()
        ends.append(small.fit(model, rows(), rows(count=9), **quick | {"device": "cuda"}))
        assert not next(model.parameters()).is_cuda
    assert torch.equal(ends[0].z, ends[1].z)
