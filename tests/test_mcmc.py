"""Hamiltonian Monte Carlo against closed forms, its own symmetries, and Pyro's NUTS.

Tolerances are in standard errors. Chains are independent of each other, so the error of a time average is the
spread of the chains' averages over the square root of their number, whatever the autocorrelation within them.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyro.ops.dual_averaging import DualAveraging
from torch.distributions import Gamma, MultivariateNormal, Normal

from pyro_vae._checks import InputError
from pyro_vae.evaluate.hmc import GAMMA, HMC
from pyro_vae.evaluate.leapfrog import init, leapfrog, transition

F64 = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0, dtype=F64):
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def rings(z):
    """A target far from Gaussian, bounded below everywhere: mass on a ring in each pair of dimensions."""
    return -2 * (z.square().sum(-1).sqrt() - 1.5).square() - 0.1 * (z**4).sum(-1) + z[..., 0].sin()


class LinearGaussian:
    """z ~ N(0, I), x | z ~ N(W z, scale_n^2 I): the posterior of each row in closed form."""

    def __init__(self, scales, latent_dim=3, data_dim=6):
        self.scale = torch.as_tensor(scales, dtype=F64)
        self.W = randn(data_dim, latent_dim, seed=1)
        self.x = randn(len(self.scale), data_dim, seed=2) * 2
        precision = torch.eye(latent_dim, dtype=F64) + self.W.T @ self.W / self.scale[:, None, None] ** 2
        self.covariance = torch.linalg.inv(precision)
        self.mean = (self.covariance @ (self.x @ self.W / self.scale[:, None] ** 2).unsqueeze(-1)).squeeze(-1)

    def log_density(self, z):
        residual = (self.x - z @ self.W.T) / self.scale[:, None]
        return -0.5 * z.square().sum(-1) - 0.5 * residual.square().sum(-1)

    def exact(self, *shape, seed=3):
        return (
            self.mean
            + (torch.linalg.cholesky(self.covariance) @ randn(*shape, *self.mean.shape, 1, seed=seed))[..., 0]
        )


def z_scores(averages, truth):
    """(mean over chains - truth) / standard error, from averages of shape (chains, ...)."""
    return (averages.mean(0) - truth) / (averages.std(0) / math.sqrt(len(averages)))


def assert_standard(scores, limit=5.0):
    """That z-scores of shape (rows, ...) look standard normal: none far out, no bias shared by the rows.

    Rows are independent: the root mean square over R of them is 1 with a standard error of at most 1/sqrt(2 R).
    """
    worst, rms = scores.abs().max().item(), scores.square().mean().sqrt().item()
    assert worst < limit, f"a deviation of {worst:.1f} standard errors"
    allowed = 1 + 4 / math.sqrt(2 * len(scores))
    assert rms < allowed, f"{rms:.2f} standard errors, root mean square, over {allowed:.2f}"


# --- the leapfrog ------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.001, 0.2), st.integers(1, 40))
def test_leapfrog_is_reversible(seed, step, count):
    state, momentum = init(rings, randn(2, 5, 4, seed=seed)), randn(2, 5, 4, seed=seed + 1)
    z0, r0 = state.z, momentum
    for _ in range(count):
        state, momentum = leapfrog(rings, state, momentum, torch.tensor(step))
    assert (state.z - z0).abs().max() > 1e-4
    momentum = -momentum
    for _ in range(count):
        state, momentum = leapfrog(rings, state, momentum, torch.tensor(step))
    assert (state.z - z0).abs().max() < 1e-10
    assert (momentum + r0).abs().max() < 1e-10


def test_leapfrog_keeps_volume():
    step_size = torch.tensor([0.3, 0.1, 0.7], dtype=F64)
    for seed in range(5):
        point = randn(2, 1, 3, seed=seed)

        def move(flat):
            # Written out, because the library's states are detached from the graph.
            z, r = flat[:3], flat[3:]
            grad = torch.func.grad(rings)
            r = r + 0.5 * step_size * grad(z)
            z = z + step_size * r
            return torch.cat([z, r + 0.5 * step_size * grad(z)])

        state, momentum = leapfrog(rings, init(rings, point[0]), point[1], step_size)
        assert torch.allclose(torch.cat([state.z, momentum], -1)[0], move(point.flatten()), atol=1e-14)
        jacobian = torch.autograd.functional.jacobian(move, point.flatten())
        assert abs(torch.linalg.det(jacobian) - 1) < 1e-12


def test_half_the_step_gives_a_quarter_of_the_energy_error():
    z, r = randn(2000, 3), randn(2000, 3, seed=1)

    def energy_error(step, count):
        state, momentum = init(rings, z), r
        start = 0.5 * r.square().sum(-1) - state.log_density
        for _ in range(count):
            state, momentum = leapfrog(rings, state, momentum, torch.tensor(step, dtype=F64))
        return (0.5 * momentum.square().sum(-1) - state.log_density - start).abs().median()

    errors = [energy_error(0.8 / count, count) for count in (32, 64, 128)]
    assert 3.8 < errors[0] / errors[1] < 4.2
    assert 3.9 < errors[1] / errors[2] < 4.1


def test_step_sizes_by_dimension_are_a_diagonal_mass_matrix():
    step, mass = 0.1, torch.tensor([0.5, 2.0, 30.0], dtype=F64)
    z, r = randn(6, 3), randn(6, 3, seed=1)
    state, momentum = init(rings, z), r
    for _ in range(7):
        state, momentum = leapfrog(rings, state, momentum, step / mass.sqrt())
    q, p = z, r * mass.sqrt()
    for _ in range(7):
        p = p + 0.5 * step * init(rings, q).gradient
        q = q + step * p / mass
        p = p + 0.5 * step * init(rings, q).gradient
    assert torch.allclose(state.z, q, atol=1e-12)
    assert torch.allclose(momentum * mass.sqrt(), p, atol=1e-12)


# --- the kernel leaves its target as it is -----------------------------------------------------------------


def test_one_step_keeps_the_target_and_is_reversible():
    """From exact draws: E[f(z0) g(z1)] = E[g(z0) f(z1)], E[exp(-dH)] = 1, only because of rejections."""
    shape, rate, rows = 3.0, 2.0, 200_000
    exact = Gamma(torch.tensor(shape, dtype=F64), rate)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        u0 = exact.sample((rows, 1)).log()

    def log_density(u):  # of u = log v for v ~ Gamma: skewed, with tails of two kinds
        return (shape * u - rate * u.exp()).sum(-1)

    hmc = HMC(num_leapfrog=3)
    state = init(log_density, u0)
    moved, info = hmc.step(log_density, state, torch.tensor(0.75, dtype=F64), seeded(1))
    assert 0.75 < info.accept_prob.mean() < 0.95
    a, b = u0[:, 0], moved.z[:, 0]
    pairs = {
        "stationary, mean": b - a,
        "stationary, square": b**2 - a**2,
        "stationary, tail": (b > 1.2) * 1.0 - (a > 1.2) * 1.0,
    }
    pairs["reversible"] = a * b**3 - a**3 * b
    for name, values in pairs.items():
        score = values.mean() / (values.std() / math.sqrt(rows))
        assert abs(score) < 4, f"{name}: {score:.1f} standard errors"

    unfiltered = _end(log_density, state, 0.75)[0][:, 0] ** 2 - a**2
    assert abs(unfiltered.mean() / (unfiltered.std() / math.sqrt(rows))) > 10
    weight = (
        -_end(log_density, state, 0.4)[1]
    ).exp()  # a shorter step: at 0.75 its variance is without bounds
    assert abs((weight.mean() - 1) / (weight.std() / math.sqrt(rows))) < 4


def _end(log_density, state, step_size):
    """Where three leapfrogs lead, accepted or not, and the energy they gain."""
    momentum = randn(*state.z.shape, seed=2)
    energy = 0.5 * momentum.square().sum(-1) - state.log_density
    for _ in range(3):
        state, momentum = leapfrog(log_density, state, momentum, torch.tensor(step_size, dtype=F64))
    return state.z, 0.5 * momentum.square().sum(-1) - state.log_density - energy


@pytest.mark.slow
@pytest.mark.parametrize("diagonal_mass", [True, False])
def test_posteriors_of_a_linear_model_with_scales_from_tiny_to_large(diagonal_mass):
    model = LinearGaussian(torch.logspace(-1.5, 1, 25))
    hmc = HMC(num_leapfrog=8, diagonal_mass=diagonal_mass)
    drawn = hmc.sample(model.log_density, randn(48, 25, 3), 60, 100, seeded(4))
    assert_standard(z_scores(drawn.z.mean(0), model.mean))
    away = drawn.z - model.mean
    products = (away.unsqueeze(-1) * away.unsqueeze(-2)).mean(0)
    upper = torch.triu_indices(3, 3)
    assert_standard(z_scores(products, model.covariance)[:, upper[0], upper[1]])
    assert drawn.divergences.sum() == 0
    if diagonal_mass:
        ratio = drawn.step_size / model.covariance.diagonal(dim1=-2, dim2=-1).sqrt()
        assert (ratio.amax(-1) / ratio.amin(-1)).max() < 1.6


@pytest.mark.slow
def test_jitter_breaks_periods():
    """Without it a Gaussian whose period the trajectory hits never mixes; with it the variance is right."""
    period = 2 * math.asin(
        0.5
    )  # leapfrog's phase a step is 2 asin(e / 2); with e = 1, six steps are one period
    assert 6 * period == pytest.approx(2 * math.pi)

    def standard(z):
        return -0.5 * z.square().sum(-1)

    z0 = torch.full((500, 4, 1), 3.0, dtype=F64)
    still = HMC(6, step_size=1.0, jitter=0.0).sample(standard, z0, 20, 0, seeded())
    assert (still.z - 3.0).abs().max() < 1e-9
    mixed = HMC(6, step_size=1.0, jitter=0.2).sample(standard, z0, 100, 0, seeded())
    assert_standard(z_scores(mixed.z[50:].square().mean(0), torch.ones(4, 1, dtype=F64)), limit=4)


# --- adaptation --------------------------------------------------------------------------------------------


def test_dual_averaging_solves_for_the_target_per_row():
    """On a noiseless acceptance curve a(e) = exp(-(e / s)^2) the step must come to s sqrt(-log target)."""
    s = torch.logspace(-3, 3, 13, dtype=F64)
    log_step = (s * torch.logspace(-0.5, 0.5, 13, dtype=F64).flip(0)).log()
    tuner = DualAveraging(prox_center=log_step, gamma=GAMMA)
    for _ in range(400):
        tuner.step(0.8 - (-((log_step.exp() / s) ** 2)).exp())
        log_step, average = tuner.get_state()
    assert torch.allclose(average.exp(), s * math.sqrt(-math.log(0.8)), rtol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_every_row_of_a_thousand_scales_reaches_its_acceptance(dtype):
    scale = torch.logspace(-2, 1, 1000, dtype=dtype)[:, None]
    drawn = HMC(num_leapfrog=5).sample(
        lambda z: -0.5 * (z / scale).square().sum(-1), randn(1000, 3, dtype=dtype), 200, 200, seeded()
    )
    assert drawn.z.dtype == drawn.accept_rate.dtype == drawn.step_size.dtype == dtype
    assert abs(drawn.accept_rate.mean() - 0.8) < 0.05
    assert drawn.accept_rate.min() > 0.6
    assert drawn.accept_rate.max() < 0.95
    log_ratio = (drawn.step_size / scale).log().mean(-1)
    x = torch.logspace(-2, 1, 1000, dtype=dtype).log()
    slope = (((x - x.mean()) * (log_ratio - log_ratio.mean())).mean() / x.var()).item()
    assert abs(slope) < 0.03, "step sizes grow in proportion to the scale"
    assert log_ratio.std() < 0.35
    variance = (drawn.z / scale).square().mean(0)
    assert abs(variance.mean() - 1) < 5 * variance.std() / math.sqrt(variance.numel())


@pytest.mark.slow
def test_chains_of_a_row_share_its_step_size_and_frozen_ones_serve_other_chains():
    model = LinearGaussian([0.05, 1.0])
    hmc = HMC()
    _, step_size = hmc.adapt(model.log_density, randn(8, 2, 3), 120, seeded())
    assert step_size.shape == (2, 3)
    state, rates = init(model.log_density, model.exact(3, 100)), []
    for _ in range(30):
        state, info = hmc.step(model.log_density, state, step_size, seeded(7 + len(rates)))
        rates.append(info.accept_prob.mean((0, 1)))
    assert (torch.stack(rates).mean(0) - 0.8).abs().max() < 0.1


def test_without_warm_up_the_given_step_size_is_used():
    drawn = HMC(step_size=0.25).sample(rings, randn(3, 4, 2), 2, 0, seeded())
    assert (drawn.step_size == 0.25).all()
    assert drawn.step_size.shape == (4, 2)


@pytest.mark.parametrize("num_warmup", [1, 3, 4, 7])
def test_short_warm_ups_give_finite_step_sizes(num_warmup):
    _, step_size = HMC(num_leapfrog=2).adapt(rings, randn(4, 2), num_warmup, seeded())
    assert ((step_size > 0) & step_size.isfinite()).all()


# --- rows --------------------------------------------------------------------------------------------------


def test_a_row_moves_independently_of_other_rows():
    """With the same noise a row takes the same step to the bit, alone or together with rows that diverge."""
    scale = torch.tensor([1.0, 1e-4, 3.0, 1e6], dtype=F64)[:, None]
    z, r, u = randn(5, 4, 3), randn(5, 4, 3, seed=1), torch.rand(5, 4, generator=seeded(2), dtype=F64)

    def target(rows):
        return lambda z: -0.5 * (z / scale[rows]).square().sum(-1)

    whole, info = transition(target(slice(None)), init(target(slice(None)), z), torch.tensor(0.3), (r, u), 9)
    assert info.divergent[:, 1].all()
    assert not info.divergent[:, [0, 2, 3]].any()
    for n in range(4):
        rows = slice(n, n + 1)
        state = init(target(rows), z[:, rows])
        alone, _ = transition(target(rows), state, torch.tensor(0.3), (r[:, rows], u[:, rows]), 9)
        assert all(torch.equal(a, b[:, rows]) for a, b in zip(alone, whole, strict=True))


def test_only_accepted_rows_move_and_the_state_stays_consistent():
    state = init(rings, randn(400, 3))
    moved, info = HMC().step(rings, state, torch.tensor(0.45, dtype=F64), seeded())
    still = (moved.z == state.z).all(-1)
    assert 0.02 < still.double().mean() < 0.9
    assert abs((~still).double().mean() - info.accept_prob.mean()) < 0.08
    again = init(rings, moved.z)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(moved, again, strict=True))


def test_a_step_costs_as_many_gradients_as_leapfrogs():
    calls = []

    def counted(z):
        calls.append(z.shape)
        return rings(z)

    HMC(num_leapfrog=7).step(counted, init(rings, randn(2, 3, 2)), torch.tensor(0.1), seeded())
    assert calls == [(2, 3, 2)] * 7


def test_parameters_get_no_gradient_and_global_state_is_left_unchanged():
    decoder = torch.nn.Linear(2, 5)
    x, state = torch.zeros(3, 5), torch.random.get_rng_state()

    def log_density(z):
        return Normal(decoder(z), 1.0).log_prob(x).sum(-1) - 0.5 * z.square().sum(-1)

    with torch.no_grad():
        drawn = HMC(num_leapfrog=2).sample(log_density, torch.zeros(4, 3, 2), 3, 8, seeded())
    assert all(p.grad is None for p in decoder.parameters())
    assert not drawn.z.requires_grad
    assert not drawn.state.gradient.requires_grad
    assert torch.equal(torch.random.get_rng_state(), state)
    again = HMC(num_leapfrog=2).sample(log_density, torch.zeros(4, 3, 2), 3, 8, seeded())
    assert torch.equal(drawn.z, again.z)


# --- where numbers end -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("outside", [-math.inf, math.nan])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_proposals_outside_the_support_are_rejected(outside, dtype):
    """Gamma(3, 1) on z > 0, minus infinity or NaN beyond: the mean is 3, no NaN gets into the chain."""

    def log_density(z):
        inside = 2 * z.clamp_min(1e-30).log() - z
        return torch.where(z > 0, inside, outside).sum(-1)

    drawn = HMC(num_leapfrog=4).sample(
        log_density, torch.full((60, 4, 1), 3.0, dtype=dtype), 120, 80, seeded()
    )
    assert (drawn.z > 0).all()
    assert drawn.divergences.sum() > 0
    assert all(part.isfinite().all() for part in (drawn.accept_rate, drawn.step_size, *drawn.state))
    assert_standard(z_scores(drawn.z.double().mean(0), torch.full((4, 1), 3.0, dtype=F64)), limit=4)


def test_a_finite_density_with_a_broken_gradient_is_rejected():
    def log_density(z):  # where() hides the NaN of the square root, but its gradient is NaN left of 0
        return torch.where(z < 0, 0.0, 0 * z.sqrt() - z**2).sum(-1)

    state = init(log_density, torch.full((50, 1), 0.5, dtype=F64))
    beyond = init(log_density, torch.full((1, 1), -0.5, dtype=F64))
    assert beyond.log_density.isfinite().all()
    assert beyond.gradient.isnan().all()
    generator, lost = seeded(), 0
    for _ in range(20):
        state, info = HMC(num_leapfrog=1).step(log_density, state, torch.tensor(1.0, dtype=F64), generator)
        lost += info.divergent.sum()
    assert lost > 50
    assert state.gradient.isfinite().all()
    assert (state.z > 0).all()


def test_overflow_is_a_rejection_and_the_density_is_evaluated_at_finite_points_only():
    def log_density(z):
        assert z.isfinite().all()
        return -(z**4).sum(-1)

    state = init(log_density, torch.full((20, 2), 1e8))
    moved, info = HMC().step(log_density, state, torch.tensor(1e20), seeded())
    assert info.divergent.all()
    assert torch.equal(moved.z, state.z)
    assert (info.accept_prob == 0).all()


# --- against Pyro ------------------------------------------------------------------------------------------


class SmallDecoder:
    """z of two dimensions through a tanh layer: a skewed posterior, with two modes if the noise is small."""

    def __init__(self, noise):
        self.first, self.second, self.noise = randn(2, 8, seed=5) / 2, randn(8, 4, seed=6), noise
        self.x = torch.tensor([0.9, -1.3, 0.4, 2.0], dtype=F64)

    def log_density(self, z):
        residual = (self.x - torch.tanh(z @ self.first) @ self.second) / self.noise
        return -0.5 * z.square().sum(-1) - 0.5 * residual.square().sum(-1)


def moments(z):
    return torch.cat([z, z**2], -1)


@pytest.mark.slow
def test_a_nonlinear_posterior_of_two_modes_against_quadrature():
    target = SmallDecoder(1.0)
    grid = torch.linspace(-6, 6, 301, dtype=F64)
    points = torch.cartesian_prod(grid, grid)
    weights = torch.softmax(target.log_density(points), 0)
    drawn = HMC(num_leapfrog=8).sample(target.log_density, randn(150, 1, 2), 80, 80, seeded())
    assert_standard(z_scores(moments(drawn.z).mean(0), weights @ moments(points)), limit=4)


@pytest.mark.slow
def test_a_nonlinear_row_against_pyros_nuts():
    """Means and second moments agree within their standard errors."""
    from pyro.infer import MCMC, NUTS
    from pyro.ops.stats import effective_sample_size

    target = SmallDecoder(2.5)
    ours = moments(
        HMC(num_leapfrog=8).sample(target.log_density, randn(100, 1, 2), 80, 80, seeded()).z[:, :, 0]
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kernel = NUTS(potential_fn=lambda params: -target.log_density(params["z"]))
        start = {"z": torch.zeros(2, dtype=F64)}
        run = MCMC(kernel, num_samples=150, warmup_steps=60, initial_params=start, disable_progbar=True)
        run.run()
    theirs = moments(run.get_samples()["z"])
    variance = ours.mean(0).var(0) / 100 + theirs.var(0) / effective_sample_size(theirs[None])
    score = (ours.mean((0, 1)) - theirs.mean(0)) / variance.sqrt()
    assert score.abs().max() < 4, f"{score.tolist()} standard errors"


@pytest.mark.slow
def test_correlated_normal_in_twenty_dimensions():
    root = randn(20, 20, seed=8) / 6 + torch.eye(20, dtype=F64)
    target = MultivariateNormal(torch.arange(20, dtype=F64), root @ root.T)
    drawn = HMC().sample(target.log_prob, torch.zeros(40, 1, 20, dtype=F64), 60, 120, seeded())
    assert_standard(z_scores(drawn.z.mean(0), target.mean))
    assert_standard(z_scores((drawn.z - target.mean).square().mean(0), target.variance))


@pytest.mark.slow
def test_chains_that_start_far_out_converge():
    """With the step size of the other chains, one that starts on a steep slope would never move."""
    z0 = randn(20, 3, 2)
    z0[0] = 60.0
    drawn = HMC().sample(lambda z: -(z**4).sum(-1), z0, 20, 200, seeded())
    assert drawn.z.abs().max() < 3
    assert drawn.accept_rate.min() > 0.5


# --- bad input ---------------------------------------------------------------------------------------------

Z = torch.zeros(3, 2)
BAD_CALLS = {
    "no leapfrogs": (lambda: HMC(num_leapfrog=0), "num_leapfrog"),
    "negative step": (lambda: HMC(step_size=-1.0), "step_size"),
    "target 1": (lambda: HMC(target_accept=1.0), "target_accept"),
    "jitter 1": (lambda: HMC(jitter=1.0), "jitter"),
    "no samples": (lambda: HMC().sample(rings, Z, 0, 5, seeded()), "num_samples"),
    "negative warm-up": (lambda: HMC().adapt(rings, Z, -1, seeded()), "num_warmup"),
    "one vector": (lambda: HMC().adapt(rings, Z[0], 5, seeded()), "latent_dim"),
    "whole numbers": (lambda: HMC().adapt(rings, Z.long(), 5, seeded()), "int64"),
    "summed over rows": (
        lambda: HMC().adapt(lambda z: -z.square().sum(), Z, 5, seeded()),
        r"\(3,\); got \(\)",
    ),
    "not summed": (lambda: HMC().adapt(lambda z: -z.square(), Z, 5, seeded()), r"got \(3, 2\)"),
    "start outside": (lambda: HMC().adapt(lambda z: z.log().sum(-1), Z - 1, 5, seeded()), "3 have none"),
}


@pytest.mark.parametrize(("call", "message"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_bad_calls_end_in_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()
