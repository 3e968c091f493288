"""Likelihoods of integer levels and on [0, 1]: sums, samples, means and values against float64 by hand."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from helpers import assert_within_sigma
from scipy.special import log_softmax, logsumexp

from pyro_vae._checks import InputError
from pyro_vae.data import Dequantize, IntegerLevels
from pyro_vae.data.units import bits_per_dim
from pyro_vae.distributions.continuous_bernoulli import LogitContinuousBernoulli
from pyro_vae.distributions.discretized_logistic import DiscretizedLogistic, censored_mean, to_levels
from pyro_vae.likelihoods import (
    LIKELIHOODS,
    CategoricalLikelihood,
    ContinuousBernoulliLikelihood,
    DiscretizedLogisticLikelihood,
    LogisticMixtureLikelihood,
)

OF_INTEGERS = [name for name, made in LIKELIHOODS.items() if made.kind == "integer"]
SHAPES = [(3,), (1, 3), (3, 1, 1)]
FEW = 4


def make(name, shape=(3, 1, 1), levels=FEW, mean=None, std=None):
    size = math.prod(shape)
    mean = torch.linspace(0.2, 0.7, size) if mean is None else mean
    std = torch.linspace(0.1, 0.3, size) if std is None else std
    more = {"data_shape": shape, "num_components": 3} if name == "logistic-mixture" else {}
    return LIKELIHOODS[name](mean, std, levels=levels, **more)


def distribution(name, shape=(3, 1, 1), levels=FEW, size=1.0, rows=()):
    likelihood = make(name, shape, levels)
    generator = torch.Generator().manual_seed(1)
    return likelihood(size * torch.randn(*rows, likelihood.num_outputs, generator=generator))


def all_rows(columns=3, levels=FEW):
    return torch.tensor(list(itertools.product(range(levels), repeat=columns))) / (levels - 1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OF_INTEGERS)
def test_probabilities_of_all_rows_sum_to_one(name, shape):
    p = distribution(name, shape, size=3)
    assert p.log_prob(all_rows()).double().exp().sum().item() == pytest.approx(1, abs=2e-6)


@pytest.mark.parametrize("name", OF_INTEGERS)
@pytest.mark.parametrize("levels", [1, 2, 256])
def test_probabilities_of_one_column_sum_to_one(name, levels):
    p = distribution(name, (1,), levels, size=3)
    x = torch.linspace(0, 1, levels)[:, None]
    assert p.log_prob(x).double().exp().sum().item() == pytest.approx(1, abs=2e-6)


@pytest.mark.parametrize("name", OF_INTEGERS)
def test_samples_come_as_often_as_they_are_probable(name):
    p, count = distribution(name), 20_000
    torch.manual_seed(0)
    x = p.sample((count,))
    assert x.shape == (count, 3)
    expected = p.log_prob(all_rows()).double().exp()
    number = ((x * (FEW - 1)).round().long() * FEW ** torch.arange(2, -1, -1)).sum(1)
    found = torch.bincount(number, minlength=FEW**3) / count
    assert_within_sigma(found, expected, (expected * (1 - expected) / count).sqrt() + 1 / count)


@pytest.mark.parametrize("name", OF_INTEGERS)
def test_the_mean_is_the_sum_over_all_rows(name):
    p, x = distribution(name), all_rows()
    expected = (p.log_prob(x).double().exp()[:, None] * x).sum(0)
    tolerance = 0.1 / (FEW - 1) if name == "logistic-mixture" else 1e-6
    np.testing.assert_allclose(p.mean, expected, rtol=0, atol=tolerance)


def test_the_mean_of_a_mixture_of_many_levels_is_that_of_its_samples():
    p = distribution("logistic-mixture", (3, 2, 5), 256)
    torch.manual_seed(0)
    x = p.sample((10_000,)).double()
    assert_within_sigma(p.mean, x.mean(0), x.std(0) / 100 + 0.1 / 255)


@pytest.mark.parametrize(("in_levels", "error"), [(0.1, 0.2), (0.5, 0.03), (1.0, 0.02)])
def test_the_censored_mean_has_the_stated_accuracy(in_levels, error):
    loc, scale = torch.linspace(-0.1, 1.1, 999, dtype=torch.float64), torch.tensor(in_levels / 255)
    exact = DiscretizedLogistic(loc, scale.double().expand_as(loc), 256).mean
    assert ((censored_mean(loc, scale) - exact).abs().max() * 255).item() < error


def test_the_mean_of_very_many_levels_needs_no_sum():
    p = DiscretizedLogistic(torch.tensor([0.3]), torch.tensor([0.05]), 2**16)
    assert p.mean.item() == pytest.approx(0.3, abs=2e-4)


# Values against float64 by hand.


def interval(x, loc, scale, levels):
    """log P of levels x under a discretized logistic, in float64."""
    half = 0.5 / (levels - 1)
    upper, lower = np.where(x > 1 - half, np.inf, x + half - loc), np.where(x < half, -np.inf, x - half - loc)
    left = scipy.stats.logistic.cdf(upper / scale) - scipy.stats.logistic.cdf(lower / scale)
    right = scipy.stats.logistic.sf(lower / scale) - scipy.stats.logistic.sf(upper / scale)
    return np.log(np.where(x < loc, left, right))


def softplus(raw):
    return np.logaddexp(0, raw + math.log(math.e - 1))


def scales(raw, std, levels, share=1.0):
    typical = np.maximum(std * math.sqrt(3) / math.pi, 0.5 / (levels - 1))
    return 0.1 / (levels - 1) + share * typical * softplus(raw)


LEVELS, SHAPE = 16, (3, 2, 2)
GENERATOR = np.random.default_rng(0)
X = GENERATOR.integers(0, LEVELS, (5, 12)) / (LEVELS - 1)
MEAN, STD = np.linspace(0.2, 0.7, 12), np.linspace(0.1, 0.3, 12)


def by_hand(name, outputs):
    if name == "discretized-logistic":
        loc, raw = np.split(outputs, 2, axis=1)
        return interval(X, MEAN + STD * loc, scales(raw, STD, LEVELS), LEVELS).sum(1)
    if name == "categorical":
        grid = np.arange(LEVELS)[:, None] / (LEVELS - 1)
        typical = np.maximum(STD * math.sqrt(3) / math.pi, 0.5 / (LEVELS - 1))
        start = np.log(0.99 * np.exp(interval(grid, MEAN, typical, LEVELS)) + 0.01 / LEVELS)
        logits = log_softmax(start + outputs.reshape(5, LEVELS, 12), axis=1)
        level = np.rint(X * (LEVELS - 1)).astype(int)
        return np.take_along_axis(logits, level[:, None], axis=1).sum((1, 2))
    quantiles = scipy.stats.logistic.ppf((np.arange(3) + 0.5) / 3)
    spread = quantiles / np.sqrt(np.mean(quantiles**2)) * math.sqrt(0.75)
    maps, mean, std = outputs.reshape(5, 10, 3, 4), MEAN.reshape(3, 4), STD.reshape(3, 4)
    weights = log_softmax(maps[:, 0], axis=1)
    total = np.zeros(5)
    for row, pixel in itertools.product(range(5), range(4)):
        x, joint = X[row].reshape(3, 4)[:, pixel], weights[row, :, pixel].copy()
        for k in range(3):
            group = maps[row, :, k, pixel]
            slopes = {(1, 0): group[7], (2, 0): group[8], (2, 1): group[9]}
            for c in range(3):
                loc = mean[c, pixel] + std[c, pixel] * (group[1 + c] + spread[k])
                for j in range(c):
                    loc += 2 * np.tanh(slopes[c, j] / 2) * (x[j] - mean[j, pixel])
                scale = scales(group[4 + c], std[c, pixel], LEVELS, 0.5)
                joint[k] += interval(x[c], loc, scale, LEVELS)
        total[row] += logsumexp(joint)
    return total


@pytest.mark.parametrize("name", OF_INTEGERS)
def test_log_prob_is_that_by_hand(name):
    likelihood = make(name, SHAPE, LEVELS, torch.from_numpy(MEAN), torch.from_numpy(STD))
    outputs = torch.from_numpy(GENERATOR.normal(size=(5, likelihood.num_outputs)))
    got = likelihood(outputs.float()).log_prob(torch.from_numpy(X).float())
    np.testing.assert_allclose(got.detach(), by_hand(name, outputs.numpy()), rtol=1e-5)


@pytest.mark.parametrize("name", [*OF_INTEGERS, "continuous-bernoulli"])
@pytest.mark.parametrize("size", [0.0, 1e2, 1e4])
def test_values_and_gradients_are_finite_however_large_the_outputs(name, size):
    mean, std = torch.tensor([0.0, 0.5, 1.0]), torch.tensor([0.0, 0.3, 0.0])
    made = (
        ContinuousBernoulliLikelihood(mean, std)
        if name not in OF_INTEGERS
        else make(name, (3,), 256, mean, std)
    )
    generator = torch.Generator().manual_seed(0)
    outputs = (size * torch.randn(6, made.num_outputs, generator=generator)).requires_grad_()
    x = torch.tensor([0.0, 128 / 255, 1.0])[torch.arange(18).reshape(6, 3) % 3]
    value = made(outputs).log_prob(x)
    value.sum().backward()
    assert value.isfinite().all()
    assert outputs.grad.isfinite().all()


@pytest.mark.parametrize("name", [*OF_INTEGERS, "continuous-bernoulli"])
def test_particles_are_scored_one_by_one(name):
    mean, std = torch.full((6,), 0.4), torch.full((6,), 0.2)
    made = (
        ContinuousBernoulliLikelihood(mean, std)
        if name not in OF_INTEGERS
        else make(name, (3, 2, 1), FEW, mean, std)
    )
    outputs = torch.randn(2, 5, made.num_outputs)
    x = torch.randint(0, FEW, (5, 6)) / (FEW - 1)
    together = made(outputs)
    each = torch.stack(
        [torch.stack([made(o).log_prob(row) for o, row in zip(p, x, strict=True)]) for p in outputs]
    )
    torch.testing.assert_close(together.log_prob(x), each, rtol=1e-4, atol=1e-5)
    assert together.sample().shape == together.mean.shape == (2, 5, 6)
    assert together.sample((3,)).shape == (3, 2, 5, 6)
    expanded = made(outputs[0]).expand((2, 5))
    torch.testing.assert_close(expanded.log_prob(x)[1], made(outputs[0]).log_prob(x))


@pytest.mark.parametrize("name", OF_INTEGERS)
def test_zero_outputs_have_the_mean_and_spread_of_the_columns(name):
    mean, std = torch.tensor([0.3, 0.5, 0.6]), torch.tensor([0.05, 0.1, 0.08])
    p = make(name, (3, 1, 1), 256, mean, std)(torch.zeros(make(name, levels=256).num_outputs))
    torch.manual_seed(0)
    x = p.sample((4000,))
    slack = 0.01 if name == "categorical" else 1e-3  # a hundredth of the uniform distribution
    torch.testing.assert_close(p.mean, mean, rtol=0, atol=slack)
    torch.testing.assert_close(x.std(0), std, rtol=0.35 if name == "categorical" else 0.06, atol=0)


def test_noise_between_levels_is_refused():
    p = distribution("discretized-logistic", (3,), 256)
    with pytest.raises(ValueError, match="support"):
        p.log_prob(torch.tensor([0.5, 0.5, 0.5]))
    assert to_levels(torch.tensor([-3.0, 0.501, 7.0]), 256).tolist() == pytest.approx([0, 128 / 255, 1])


# Units.


def test_uniform_integers_have_eight_bits_as_probabilities_and_as_a_density():
    made = make("categorical", (4,), 256)
    outputs = -made.start().detach().flatten()
    log_prob = made(outputs).log_prob(torch.rand(4).mul(255).round() / 255).item()
    assert bits_per_dim(log_prob, 4, IntegerLevels(256)) == pytest.approx(8)
    assert bits_per_dim(0.0, 4, Dequantize(256)) == pytest.approx(8)


def test_a_density_flat_within_levels_has_the_bits_of_its_probabilities():
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(17, generator=generator).double().softmax(0)
    k = torch.randint(0, 17, (50, 1), generator=generator)
    x = Dequantize(17)(k, torch.rand(k.shape, generator=generator))
    density = 17 * p[(17 * x).long()]
    probability = p[(IntegerLevels(17)(k) * 16).round().long()]
    bits = [
        bits_per_dim(value.log().mean().item(), 1, preprocessing)
        for value, preprocessing in ((density, Dequantize(17)), (probability, IntegerLevels(17)))
    ]
    assert bits[0] == pytest.approx(bits[1])


# The continuous Bernoulli.

LOGITS = torch.tensor([-9e3, -512, -20, -1, -0.49, -1e-4, 0, 1e-3, 0.51, 5, 100], dtype=torch.float64)


def test_the_continuous_bernoulli_is_a_density_with_its_mean_and_variance():
    p = LogitContinuousBernoulli(logits=LOGITS)
    x = torch.logspace(-8, 0, 40_001, dtype=torch.float64)[:, None]
    x = torch.cat([torch.zeros(1, 1, dtype=torch.float64), x, 1 - x.flip(0)]).unique(dim=0)
    density = p.log_prob(x).exp()
    moments = [torch.trapezoid(density * x**power, x, dim=0) for power in range(3)]
    torch.testing.assert_close(moments[0], torch.ones_like(LOGITS), rtol=1e-5, atol=0)
    torch.testing.assert_close(moments[1], p.mean, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(moments[2] - moments[1] ** 2, p.variance, rtol=1e-3, atol=1e-9)


def test_the_continuous_bernoulli_in_float32_is_that_in_float64_and_torchs_own():
    x = torch.linspace(0, 1, 11, dtype=torch.float64)[:, None]
    exact, single = (LogitContinuousBernoulli(logits=LOGITS.to(t)) for t in (torch.float64, torch.float32))
    torch.testing.assert_close(single.log_prob(x.float()).double(), exact.log_prob(x), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(single.mean.double(), exact.mean, rtol=1e-5, atol=1e-7)
    middle = LOGITS[2:-1]
    torch.testing.assert_close(
        LogitContinuousBernoulli(logits=middle).log_prob(x),
        torch.distributions.ContinuousBernoulli(logits=middle).log_prob(x),
        rtol=1e-6,
        atol=1e-6,
    )


def test_samples_of_the_continuous_bernoulli_have_its_distribution():
    torch.manual_seed(0)
    p = LogitContinuousBernoulli(logits=LOGITS.float())
    x = p.sample((20_000,)).double()
    assert ((x >= 0) & (x <= 1)).all()
    assert_within_sigma(x.mean(0), p.mean, (p.variance.double() / len(x)).sqrt())
    torch.testing.assert_close(p.icdf(torch.tensor(0.5)).median(), p.icdf(torch.tensor([0.5] * 11)).median())
    gradient = torch.autograd.functional.jacobian(
        lambda logits: (
            LogitContinuousBernoulli(logits=logits).log_prob(torch.tensor(0.3, dtype=torch.float64)).sum()
        ),
        LOGITS,
    )
    torch.testing.assert_close(gradient, 0.3 - LogitContinuousBernoulli(logits=LOGITS).mean)


def test_a_black_pixel_starts_black():
    mean = torch.tensor([1 / 512, 0.5, 0.999, 0.0])
    p = ContinuousBernoulliLikelihood(mean, torch.full((4,), 0.1))(torch.zeros(4))
    torch.testing.assert_close(p.mean[:3], mean[:3], rtol=1e-4, atol=0)
    assert p.mean[3] < 2e-4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: make("categorical", levels=1025),
            "at most 1024 levels for the categorical likelihood.* got 1025",
        ),
        (lambda: make("discretized-logistic", levels=0), "levels"),
        (lambda: make("discretized-logistic", levels=2**16 + 1), "levels"),
        (lambda: DiscretizedLogisticLikelihood(torch.zeros(3), torch.ones(2), 4), "one shape"),
        (
            lambda: LogisticMixtureLikelihood(torch.zeros(3), torch.ones(3), 4, (3, 2, 2)),
            r"data_shape of 3 entries, as many as mean has; got \(3, 2, 2\)",
        ),
        (lambda: LogisticMixtureLikelihood(torch.zeros(3), torch.ones(3), 4, (3,), 0), "num_components"),
        (lambda: ContinuousBernoulliLikelihood(torch.tensor([1.5]), torch.ones(1)), r"values in \[0, 1\]"),
        (lambda: CategoricalLikelihood(torch.zeros(2), torch.ones(2), 2.5), "levels"),
    ],
)
def test_bad_settings_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
