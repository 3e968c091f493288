"""Labels as context, end to end: values against a conditional linear model, which is PPCA on residuals.

With context y, one-hot, `z ~ N(0, I)`, `x | z, y ~ N(W z + B y, s^2 I)`: then `p(x | y)` is that of PPCA for the
residuals x - B y, and with W's columns orthogonal the posterior of z is the diagonal normal
`N((W^T W + s^2 I)^-1 W^T (x - B y), s^2 (W^T W + s^2 I)^-1)`.
"""

import dataclasses

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import assert_within_sigma
from programs import copied
from pyro.infer import SVI, Predictive, Trace_ELBO
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pyro_vae import (
    ELBO,
    IWAE,
    Annealing,
    DefensiveGuide,
    DiagonalNormalGuide,
    GenerativeModel,
    LocalGuide,
    MixtureGuide,
    MonteCarloEM,
    ReconstructionError,
    RowFit,
    SemiAmortizedGuide,
    StandardNormal,
    VampPrior,
    WidenedGuide,
    annealed_log_likelihood,
    estimate_elbo,
    fit,
    inference_gaps,
    iwae_curve,
    latent_summary,
    load_dataset,
    log_likelihood,
)
from pyro_vae._checks import InputError
from pyro_vae.baselines import PPCA
from pyro_vae.compiled import CompiledGradients, Gradients, uncompiled
from pyro_vae.data import AsFloat, Split
from pyro_vae.data.stored import rows_of
from pyro_vae.evaluate.hmc import HMC
from pyro_vae.experiment.build import build
from pyro_vae.experiment.config import ModelConfig
from pyro_vae.experiment.figures import write_figures
from pyro_vae.likelihoods import GaussianWithFixedScale
from pyro_vae.networks.positive import UNIT

N, D, L, CLASSES, NOISE = 60, 5, 2, 3, 0.4
QUICK = {"epochs": 2, "batch_size": 16, "progress": False, "seed": 0, "device": "cpu"}


def made():
    """Return W with orthogonal columns, B, labels, one-hot labels and rows; float64."""
    random = np.random.default_rng(0)
    axes, _ = np.linalg.qr(random.normal(size=(D, L)))
    weight, shifts = axes * [2.0, 0.7], random.normal(size=(D, CLASSES))
    labels = np.arange(N) % CLASSES
    one_hot = np.eye(CLASSES)[labels]
    z, noise = random.normal(size=(N, L)), random.normal(size=(N, D))
    x = z @ weight.T + one_hot @ shifts.T + NOISE * noise
    return (
        *map(torch.from_numpy, (weight, shifts)),
        torch.from_numpy(labels),
        *map(torch.from_numpy, (one_hot, x)),
    )


WEIGHT, SHIFTS, LABELS, Y, X = made()


def exact_baseline():
    """Return the PPCA that the residuals of the true model follow."""
    baseline = PPCA(L).fit(X.numpy())
    baseline.components_, baseline.mean_, baseline.noise_variance_ = WEIGHT.T.numpy(), np.zeros(D), NOISE**2
    return baseline


EXACT = torch.from_numpy(exact_baseline().score_samples((X - Y @ SHIFTS.T).numpy()))
PRECISION = (WEIGHT.T @ WEIGHT + NOISE**2 * torch.eye(L, dtype=torch.float64)).diagonal()


def posterior_of(x, y):
    loc = (x - y @ SHIFTS.T) @ WEIGHT / PRECISION
    return dist.Normal(loc, (NOISE / PRECISION.sqrt()).expand_as(loc)).to_event(1)


class Decoder(nn.Module):
    """`W z + B y`, with labels as numbers or one-hot."""

    def __init__(self, weight=WEIGHT, shifts=SHIFTS):
        super().__init__()
        self.weight, self.shifts = nn.Parameter(weight.clone()), nn.Parameter(shifts.clone())

    def forward(self, z, y):
        assert z.ndim == y.ndim == 2
        return z @ self.weight.T + y @ self.shifts.T


class Encoder(nn.Module):
    """The posterior's location, and its scale as the guide takes it."""

    def __init__(self):
        super().__init__()
        self.gain, self.shifts = nn.Parameter(WEIGHT / PRECISION), nn.Parameter(SHIFTS.clone())
        self.raw_scale = nn.Parameter((NOISE / PRECISION.sqrt() - 1e-6).expm1().log() - UNIT)

    def forward(self, x, y):
        assert x.ndim == y.ndim == 2
        loc = (x - y @ self.shifts.T) @ self.gain
        return torch.cat([loc, self.raw_scale.expand_as(loc)], dim=-1)


def likelihood():
    zeros, ones = torch.zeros(D, dtype=torch.float64), torch.ones(D, dtype=torch.float64)
    return GaussianWithFixedScale(zeros, ones, NOISE).double()


def modules():
    """Return our programs around networks of a user's own, at the truth."""
    model = GenerativeModel(StandardNormal(L), Decoder(), likelihood()).double()
    model.likelihood.fixed_scale.fill_(NOISE)  # made in single precision
    return model, DiagonalNormalGuide(Encoder()).double()


def functions():
    """Return plain Pyro programs, at the truth."""

    def model(x, y):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(L), 1.0).to_event(1))
            shifts = pyro.param("shifts", SHIFTS.clone())
            loc = z @ WEIGHT.to(x).T + (y @ shifts.T).to(x)
            pyro.sample("x", dist.Normal(loc, NOISE).to_event(1), obs=x)

    def guide(x, y):
        with pyro.plate("data", len(x)):
            posterior = posterior_of(x, y)
            pyro.sample("z", dist.Normal(posterior.mean.to(x), posterior.stddev.to(x)).to_event(1))

    return model, guide


def as_split(x, *context):
    """Return rows as a `Split`, which holds them in single precision."""
    rows = rows_of(x.float().numpy(), float(x.min()), float(x.max()))
    return Split("test", rows, np.arange(len(x)), AsFloat(), LABELS[: len(x)]).with_context(*context)


CONTAINERS = {
    "tuple of tensors": lambda: (X, Y),
    "tuple of arrays": lambda: (X.numpy(), Y.numpy()),
    "Dataset": lambda: TensorDataset(X, Y),
    "DataLoader": lambda: DataLoader(TensorDataset(X, Y), batch_size=7),
    "batches": lambda: [(X[:50], Y[:50]), (X[50:], Y[50:])],
    "Split": lambda: as_split(X, Y),
}
every_container = pytest.mark.parametrize("data", CONTAINERS.values(), ids=CONTAINERS)
both_kinds = pytest.mark.parametrize("programs", [modules, functions], ids=["modules", "functions"])


def close(found, expected, data=None, atol=1e-9):
    atol = 2e-5 if data is CONTAINERS["Split"] else atol
    torch.testing.assert_close(found, expected, atol=atol, rtol=0, check_dtype=False)


# Values against closed forms, from every container.


@both_kinds
@every_container
def test_the_elbo_of_the_exact_posterior_is_log_p_of_x_given_y(programs, data):
    pair = programs()
    close(estimate_elbo(*pair, data(), num_particles=3).value, EXACT, data)
    close(log_likelihood(*pair, data(), 7).value, EXACT, data)


@both_kinds
@every_container
def test_fit_measures_the_bound_and_stays_at_the_optimum(programs, data):
    """At the exact posterior the gradient is noise around the truth; at a rate of 0 nothing moves."""
    pair = programs()
    still = lambda parameters: torch.optim.SGD(parameters, lr=0.0)  # noqa: E731
    result = fit(*pair, data(), data(), optimizer=still, **QUICK)
    for part in ("train", "validation"):
        assert result.history[-1][part]["elbo"] == pytest.approx(float(EXACT.mean()), abs=1e-4)


@both_kinds
@every_container
def test_another_context_gives_another_bound(programs, data):
    """The labels reach both programs: of all classes the true one has by far the largest p(x | y), on average."""
    wrong = Y.roll(1, dims=1)
    found = estimate_elbo(*programs(), (X, wrong), num_particles=3).value
    expected = torch.from_numpy(exact_baseline().score_samples((X - wrong @ SHIFTS.T).numpy()))
    close(found, expected)
    assert expected.mean() < EXACT.mean() - 1


def test_encode_posterior_decode_reconstruct():
    model, guide = modules()
    expected = posterior_of(X, Y)
    for found in (
        guide.posterior(X, Y),
        guide.encode(X, Y),
        guide.encode(X.numpy(), Y.tolist(), batch_size=7),
    ):
        close(found.mean, expected.mean)
        close(found.stddev, expected.stddev)
    for name, data in CONTAINERS.items():
        close(guide.encode(data()).mean, expected.mean, data)
        close(
            model.reconstruct(data(), guide, batch_size=9),
            expected.mean @ WEIGHT.T + Y @ SHIFTS.T,
            data,
            1e-8,
        )
        assert name
    z = expected.mean
    close(model.decode(z, Y, batch_size=7).mean, z @ WEIGHT.T + Y @ SHIFTS.T)
    close(model.reconstruct(X, guide, Y), model.decode(z, Y).mean, atol=1e-8)


def test_samples_have_the_moments_of_their_class():
    torch.manual_seed(0)
    model, _ = modules()
    count = 30_000
    y = torch.eye(CLASSES, dtype=torch.float64)[torch.arange(count) % CLASSES]
    draws = {
        "sample": model.sample(count, y),
        "program": model(None, y),
        "Predictive": Predictive(model, num_samples=1)(None, y)["x"][0],
    }
    covariance = WEIGHT @ WEIGHT.T + NOISE**2 * torch.eye(D)
    for x in draws.values():
        for k in range(CLASSES):
            own = x[k::CLASSES]
            error = (covariance.diagonal() / len(own)).sqrt()
            assert_within_sigma(own.mean(0), SHIFTS[:, k], error)
            centred = (own - SHIFTS[:, k]).T @ (own - SHIFTS[:, k]) / len(own)
            variance = covariance.diagonal()[:, None] * covariance.diagonal() + covariance**2
            assert_within_sigma(centred, covariance, (variance / len(own)).sqrt())


@pytest.mark.slow
def test_pyros_own_inference_takes_it():
    pyro.clear_param_store()
    torch.manual_seed(0)
    model, guide = modules()
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.0}), Trace_ELBO())
    assert -svi.step(X, Y) / N == pytest.approx(float(EXACT.mean()), abs=1e-9)
    drawn = Predictive(model, guide=guide, num_samples=400)(X, Y)["z"]
    assert_within_sigma(drawn.mean(0), posterior_of(X, Y).mean, posterior_of(X, Y).stddev / 20, sigmas=5)
    pyro.clear_param_store()


@pytest.mark.parametrize("leading", [(), (4,), (3, 1)])
def test_particles_see_each_rows_own_context(leading):
    model, guide = modules()
    q = guide.posterior(X.expand(*leading, N, D), Y)
    assert q.batch_shape == (*leading, N)
    close(q.mean, posterior_of(X, Y).mean.expand(*leading, N, L))
    for objective in (ELBO(3), IWAE(3)):
        close(objective(model, guide)(X, Y), -EXACT.mean())


@pytest.mark.slow
def test_training_reaches_the_maximum_of_the_likelihood():
    """From no shift at all to that of the class means, which PPCA on residuals has in closed form."""
    torch.manual_seed(0)
    model, guide = modules()
    means = torch.stack([X[k == LABELS].mean(0) for k in range(CLASSES)], dim=1)
    best = exact_baseline().score_samples((X - Y @ means.T).numpy()).mean()
    for program in (model.decoder, guide.encoder):
        nn.init.zeros_(program.shifts)
        program.requires_grad_(False).shifts.requires_grad_(True)
    adam = lambda parameters: torch.optim.Adam(parameters, lr=0.1)  # noqa: E731
    before = estimate_elbo(model, guide, (X, Y), 20).mean
    fit(model, guide, (X, Y), optimizer=adam, **QUICK | {"epochs": 300, "batch_size": N})
    after = estimate_elbo(model, guide, (X, Y), 20).mean
    assert before < best - 2
    assert best - 0.05 < after <= best + 0.02  # the Monte Carlo error is below 0.02


def test_the_batches_of_a_split_keep_rows_and_context_together():
    split = as_split(X, Y, LABELS)
    for x, y, labels in split.batches(7, seed=3).epoch(2):
        rows = [int((X.float() == row).all(1).nonzero()) for row in x]
        assert torch.equal(y, Y[rows])
        assert torch.equal(labels, LABELS[rows])
    spaced = split.evenly_spaced(7)
    assert torch.equal(spaced.context[1], spaced.labels)
    assert [part.shape[0] for part in split.head(5).tensors()] == [5, 5, 5]
    assert torch.equal(split.with_labels_as_context().context[0], LABELS)
    blocks = [torch.cat(column) for column in zip(*split.blocks(11), strict=True)]
    assert torch.equal(blocks[1], Y)


def test_array_and_split_train_alike():
    ends = []
    for data in ((X.float(), Y), as_split(X, Y)):
        torch.manual_seed(0)
        pair = modules()
        fit(*pair, data, **QUICK)
        ends.append(copied(pair[0]))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


# Monte Carlo EM, and what else takes context.


@pytest.mark.slow
def test_monte_carlo_em_learns_the_shifts():
    torch.manual_seed(0)
    model, _ = modules()
    nn.init.zeros_(model.decoder.shifts)
    model.decoder.weight.requires_grad_(False)
    adam = lambda parameters: torch.optim.Adam(parameters, lr=0.1)  # noqa: E731
    settings = QUICK | {"epochs": 300, "batch_size": N, "optimizer": adam}
    result = MonteCarloEM(HMC(num_leapfrog=5)).fit(model, (X, Y), **settings)
    means = torch.stack([X[k == LABELS].mean(0) for k in range(CLASSES)], dim=1)
    residuals = X - Y @ model.decoder.shifts.detach().T
    best = exact_baseline().score_samples((X - Y @ means.T).numpy()).mean()
    assert exact_baseline().score_samples(residuals.numpy()).mean() > best - 0.05
    assert result.z.shape == (N, L)


def test_guides_with_other_parameters_take_it():
    model, guide = modules()
    local = LocalGuide.from_guide(guide, X, Y)
    close(local.posterior(X, Y).mean, posterior_of(X, Y).mean)
    with pytest.raises(InputError, match="60 of 60 are others"):
        local.posterior(X, Y.roll(1, dims=1))
    climbing = SemiAmortizedGuide(guide, model, num_steps=2).double()
    close(estimate_elbo(model, climbing, (X, Y), 2).value, EXACT, atol=1e-6)

    class TwoNormals(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(D + CLASSES, MixtureGuide.num_outputs(L, 2))

        def forward(self, x, y):
            return self.linear(torch.cat([x, y], dim=-1))

    mixture = MixtureGuide(TwoNormals(), L, 2).double()
    assert (estimate_elbo(model, mixture, (X, Y)).value < EXACT + 1e-6).float().mean() > 0.5


class Prior(nn.Module):
    """`z | y ~ N(A y, I)`."""

    latent_dim = L

    def __init__(self):
        super().__init__()
        self.shifts = nn.Parameter(SHIFTS[:L].clone())

    def forward(self, y):
        return dist.Normal(y @ self.shifts.T, 1.0).to_event(1)


def test_a_conditional_prior():
    """`x | y ~ N(W A y, W W^T + s^2 I)` with a decoder of z alone: the bound, samples, chains.

    The posterior is that of the other model at x - W A y, moved by A y.
    """
    torch.manual_seed(0)
    decoder = nn.Linear(L, D, bias=False)
    decoder.weight.data = WEIGHT.clone()
    model, (_, guide) = GenerativeModel(Prior(), decoder, likelihood()), modules()
    model.likelihood.fixed_scale.fill_(NOISE)
    shrinkage = (WEIGHT.T @ WEIGHT).diagonal() / PRECISION
    guide.encoder.shifts.data = WEIGHT @ ((1 - 1 / shrinkage)[:, None] * SHIFTS[:L])
    assert model.latent_dim == L
    means = Y @ SHIFTS[:L].T @ WEIGHT.T
    x = means + exact_residuals()
    exact = torch.from_numpy(exact_baseline().score_samples((x - means).numpy()))
    close(log_likelihood(model, guide, (x, Y), 7).value, exact)
    close(IWAE(3)(model, guide)(x, Y), -exact.mean())
    y = Y[:1].expand(20_000, -1)
    drawn = model.sample(20_000, y)
    assert_within_sigma(drawn.mean(0), means[0], (drawn.var(0) / 20_000).sqrt())
    assert model.decode(torch.zeros(3, L)).mean.shape == (3, D)
    chains = MonteCarloEM(HMC(num_leapfrog=3), num_warmup=2).fit(model, (x, Y), **QUICK)
    assert chains.z.shape == (N, L)


def exact_residuals():
    return X - Y @ SHIFTS.T


# Every estimator.


@pytest.mark.slow
@both_kinds
def test_every_estimate_of_log_p_is_exact_at_the_exact_posterior(programs):
    model, guide = programs()
    close(iwae_curve(model, guide, (X, Y), (1, 4)).value, EXACT.expand(2, N))
    quick = Annealing(4, num_chains=2, num_warmup=4, hmc=HMC(num_leapfrog=2))
    few = X[:9], Y[:9]
    close(annealed_log_likelihood(model, guide, few, quick, num_simulated=0).value, EXACT[:9], atol=1e-6)
    gaps = inference_gaps(model, guide, few, fit=RowFit(2), num_samples=8)
    close(gaps.amortized.value, EXACT[:9], atol=1e-6)
    q = posterior_of(X, Y)
    kl = torch.distributions.kl_divergence(q, dist.Normal(torch.zeros_like(q.mean), 1.0).to_event(1)).mean()
    assert latent_summary(model, guide, (X, Y), num_samples=400).kl == pytest.approx(float(kl), abs=0.05)


@pytest.mark.slow
def test_wider_proposals_and_the_reconstruction_error():
    model, guide = modules()
    for proposal in (WidenedGuide(guide, 1.3), DefensiveGuide(guide, model.prior, 0.3)):
        found = log_likelihood(model, proposal, (X, Y), 3000)
        assert_within_sigma(found.value, EXACT, found.se, sigmas=5)
    residuals = X - posterior_of(X, Y).mean @ WEIGHT.T - Y @ SHIFTS.T
    for data in CONTAINERS.values():
        expected = float(residuals.square().sum(-1).mean())
        assert ReconstructionError(data())(model, guide) == pytest.approx(expected, rel=1e-5)


# Figures.


HISTORY = [{"epoch": 1, "train": {"elbo": -1.0, "reconstruction": -1.0, "kl": 0.0}}]


class ShownPrior(nn.Module):
    """`z | y ~ N(y in every dimension, I)`, of labels as numbers."""

    latent_dim = 3

    def forward(self, y):
        return dist.Normal(y.float()[:, None].expand(-1, 3), 1.0).to_event(1)


@pytest.mark.slow
@pytest.mark.parametrize("conditional", [False, True])
def test_figures_of_labelled_images(tmp_path, conditional):
    digits = load_dataset("digits")
    test = digits.test.head(30).with_labels_as_context()
    config = ModelConfig(latent_dim=3, hidden=(8,), scale_floor=0.1)
    model, guide = build(config, *digits.statistics(), data_shape=digits.data_shape, context_dim=10)
    if conditional:
        model.prior = ShownPrior()
    dataset = dataclasses.replace(digits, test=test)
    assert write_figures(tmp_path, model.eval(), guide.eval(), dataset, HISTORY) == []
    names = {path.stem for path in tmp_path.iterdir()}
    assert {"latent_space", "reconstructions", "samples", "traversal", "training_curves"} <= names


@pytest.mark.slow
def test_figures_of_a_labelled_table(tmp_path):
    np.savez(tmp_path / "table.npz", x=X.numpy(), y=LABELS.numpy())
    table = load_dataset(tmp_path / "table.npz")
    splits = {name: getattr(table, name).with_labels_as_context() for name in ("train", "validation", "test")}
    config = ModelConfig(latent_dim=2, hidden=(8,), scale_floor=0.1)
    model, guide = build(config, *table.statistics(), context_dim=CLASSES)
    result = fit(model, guide, splits["train"], splits["validation"], **QUICK)
    dataset = dataclasses.replace(table, **splits)
    assert write_figures(tmp_path, model, guide, dataset, result.history) == []
    assert (tmp_path / "pair_plot.png").exists()


# One of the two takes context, or neither does.


def without_context():
    model = GenerativeModel(StandardNormal(L), nn.Linear(L, D), likelihood())
    return model.double(), DiagonalNormalGuide(nn.Linear(D, 2 * L)).double()


def test_one_of_the_two_may_take_it():
    (model, guide), (plain_model, plain_guide) = modules(), without_context()
    for pair in ((plain_model, guide), (model, plain_guide)):
        assert estimate_elbo(*pair, (X, Y), 5).value.isfinite().all()
        fit(*pair, (X, Y), (X, Y), **QUICK)
        assert pair[0].reconstruct(X, pair[1], Y).shape == (N, D)
    assert torch.equal(plain_guide.encode(X, Y).mean, plain_guide.encode(X).mean)
    user_model, _ = functions()
    assert estimate_elbo(user_model, plain_guide, (X, Y)).value.isfinite().all()


def test_networks_of_one_input_run_without_y_and_say_so_once():
    pair = without_context()
    with pytest.warns(UserWarning, match="they run without y") as printed:
        fit(*pair, as_split(X, Y), **QUICK)
    assert len(printed) == 1
    with pytest.warns(UserWarning, match="they run without y"):
        with_y = estimate_elbo(*pair, (X, Y)).value
    assert torch.equal(with_y, estimate_elbo(*pair, X).value)


class Optional(Decoder):
    def forward(self, z, y=None):
        return z @ self.weight.T if y is None else super().forward(z, y)


class Counted(nn.Module):
    """Any number of context tensors."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(D, 2 * L)
        self.seen = None

    def forward(self, x, *context):
        self.seen = [tuple(part.shape) for part in context]
        return self.linear(x)


def test_signatures_say_what_networks_take():
    model = GenerativeModel(StandardNormal(L), Optional(), likelihood()).double()
    close(model.decode(X[:, :L]).mean, X[:, :L] @ WEIGHT.T)
    close(model.decode(X[:, :L], Y).mean, X[:, :L] @ WEIGHT.T + Y @ SHIFTS.T)
    guide = DiagonalNormalGuide(Counted()).double()
    guide.encode(X, Y, LABELS)
    assert guide.encoder.seen == [(N, CLASSES), (N,)]
    compiled = DiagonalNormalGuide(torch.compile(nn.Linear(D, 2 * L).double(), backend="eager"))
    assert torch.equal(compiled.posterior(X, Y).mean, compiled.posterior(X).mean)


BAD_CALLS = {
    "encode without": (lambda m, g: g.encode(X), "Expected 2 inputs, x and context, .* got 1"),
    "decode without": (
        lambda m, g: m.decode(X[:, :L]),
        r"Expected 2 inputs, z and context, .* \(z, \*context\)",
    ),
    "sample without": (lambda m, g: m.sample(3), "Expected 2 inputs, z and context"),
    "posterior without": (
        lambda m, g: g.posterior(X),
        "Expected 1 context tensors, which Encoder takes",
    ),
    "fit without": (lambda m, g: fit(m, g, X, **QUICK), "Expected 2 inputs, x and context"),
    "too few rows": (
        lambda m, g: g.encode(X, Y[:3]),
        r"context 1 with one entry for each of the 60 rows; .*\(3, 3\)",
    ),
    "too few in posterior": (
        lambda m, g: g.posterior(X, Y[:3]),
        "context 1 with one entry for each of the 60 rows",
    ),
    "too few samples": (lambda m, g: m.sample(5, Y), "one entry for each of the 5 rows"),
    "a size by position": (lambda m, g: g.encode(X, 500), "the number 500. .* by name: batch_size=500"),
    "in decode": (lambda m, g: m.decode(X[:, :L], 500), "the number 500. .* by name: batch_size=500"),
    "in sample": (lambda m, g: m.sample(5, 500), "the number 500. .* by name: batch_size=500"),
    "in reconstruct": (lambda m, g: m.reconstruct(X, g, 500), "the number 500. .* by name: batch_size=500"),
    "pseudo-inputs": (
        lambda m, g: VampPrior(g, X[:3]),
        "a guide without context, because pseudo-inputs have none",
    ),
    "a split's": (lambda m, g: as_split(X, Y[:3]), "context 1 with one entry for each of the 60 test rows"),
    "a prior without a size": (
        lambda m, g: GenerativeModel(Nameless(), Decoder(), likelihood()).latent_dim,
        "an attribute latent_dim, the size of z; Nameless has none",
    ),
}


class Nameless(nn.Module):
    def forward(self, y):
        return dist.Normal(y, 1.0).to_event(1)


@pytest.mark.parametrize(("call", "message"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_bad_calls_end_in_one_sentence(call, message):
    with pytest.raises(InputError, match=message) as raised:
        call(*modules())
    assert "\n" not in str(raised.value)


def test_two_functions_that_take_different_inputs_are_refused():
    model, _ = functions()

    def guide(x):
        raise AssertionError

    with pytest.raises(InputError, match="Expected model and guide to take the same inputs"):
        estimate_elbo(model, guide, (X, Y))


# Traced; compiled in test_compiled.py.


@pytest.mark.parametrize("labels", [Y, LABELS], ids=["one-hot", "numbers"])
def test_traced_gradients_are_those_of_pyro(labels):
    config = ModelConfig(latent_dim=L, hidden=(4,), scale_floor=0.1)
    loss = ELBO()(*build(config, X.mean(0), X.std(0), context_dim=CLASSES))
    parameters, data, others = (
        list(loss.parameters()),
        (X.float(), labels),
        (X.float().flip(0), labels.roll(1, 0)),
    )
    if labels is Y:
        data, others = ((x, y.float()) for x, y in (data, others))
    compiled = CompiledGradients(loss, parameters, data, uncompiled)
    for batch in (data, others):
        found = []
        for gradients in (compiled, Gradients(loss, parameters)):
            torch.manual_seed(1)
            found.append(gradients(*batch, progress=torch.ones(())))
        assert compiled.note == ""
        torch.testing.assert_close(*(each.terms for each in found), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(*(list(each.gradients) for each in found), rtol=1e-4, atol=1e-5)
