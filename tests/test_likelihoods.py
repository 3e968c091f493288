"""Likelihoods against scipy, their start from the data, and their floors."""

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from programs import DATA_DIM, LEVELS, rows

from pyro_vae._checks import InputError
from pyro_vae.data import load_dataset
from pyro_vae.data.columns import Column
from pyro_vae.distributions.bernoulli import LogitBernoulli
from pyro_vae.experiment.config import Config, ModelConfig
from pyro_vae.experiment.opening_lines import opening_lines
from pyro_vae.experiment.resolve import resolve
from pyro_vae.likelihoods import LIKELIHOODS, GaussianLikelihood, geometric_scale, typical_scale

FLOOR = 0.01
SETTINGS = {
    "gaussian-fixed": {"fixed_scale": 0.5},
    "bernoulli": {},
    "continuous-bernoulli": {},
    "categorical": {"levels": LEVELS},
    "discretized-logistic": {"levels": LEVELS},
    "logistic-mixture": {"levels": LEVELS, "data_shape": (DATA_DIM,)},
    "table": {"columns": [Column(f"x{number}", "real") for number in range(DATA_DIM)]},
}
OF_INTEGERS = [name for name, made in LIKELIHOODS.items() if made.kind == "integer"]


def make(name, x):
    settings = SETTINGS.get(name, {"scale_floor": FLOOR})
    return LIKELIHOODS[name](x.double().mean(0), x.double().std(0, correction=0), **settings)


@pytest.mark.parametrize("name", [name for name in LIKELIHOODS if name not in OF_INTEGERS])
def test_zero_outputs_mean_the_independent_distribution_of_the_data(name):
    x = rows(name, 400)
    likelihood = make(name, x)
    p = likelihood(torch.zeros(likelihood.num_outputs))
    torch.testing.assert_close(p.mean, x.mean(0), rtol=0, atol=1e-3)
    if name in ("gaussian", "gaussian-shared", "laplace"):
        torch.testing.assert_close(p.stddev, x.std(0), rtol=0, atol=0.02)
    if name == "gaussian-isotropic":
        torch.testing.assert_close(p.stddev, x.var(0).mean().sqrt().expand(DATA_DIM), rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("gaussian", lambda x, loc, scale: scipy.stats.norm.logpdf(x, loc, scale)),
        ("gaussian-shared", lambda x, loc, scale: scipy.stats.norm.logpdf(x, loc, scale)),
        ("gaussian-isotropic", lambda x, loc, scale: scipy.stats.norm.logpdf(x, loc, scale)),
        ("gaussian-fixed", lambda x, loc, scale: scipy.stats.norm.logpdf(x, loc, 0.5)),
        ("laplace", lambda x, loc, scale: scipy.stats.laplace.logpdf(x, loc, scale / math.sqrt(2))),
        ("bernoulli", lambda x, loc, scale: scipy.stats.bernoulli.logpmf(x, loc)),
    ],
)
def test_log_prob_is_scipys(name, oracle):
    x = rows(name)
    likelihood = make(name, x)
    p = likelihood(torch.randn(len(x), likelihood.num_outputs))
    loc, scale = (value.detach().double().numpy() for value in (p.mean, p.stddev))
    expected = oracle(x.double().numpy(), loc, scale).sum(1)
    np.testing.assert_allclose(p.log_prob(x).detach().numpy(), expected, rtol=2e-5)


@pytest.mark.parametrize("name", ["gaussian", "gaussian-shared", "gaussian-isotropic", "laplace"])
@pytest.mark.parametrize("raw", [-1e4, -50.0])
def test_the_standard_deviation_never_falls_below_its_floor(name, raw):
    likelihood = make(name, rows())
    with torch.no_grad():
        for parameter in likelihood.parameters():
            parameter.fill_(raw)
    p = likelihood(torch.full((likelihood.num_outputs,), raw))
    assert p.stddev.min().item() == pytest.approx(FLOOR, rel=1e-5)


def test_student_t_is_scipys_and_with_many_degrees_of_freedom_the_normal():
    x = rows()
    student_t, normal = make("student-t", x), make("gaussian", x)
    outputs = torch.randn(len(x), student_t.num_outputs)
    loc, raw_scale = outputs.chunk(2, dim=-1)
    loc, scale = student_t.mean + student_t.std * loc, student_t.scale(raw_scale)
    expected = scipy.stats.t.logpdf(x.double(), 10, loc.double(), scale.double()).sum(1)
    np.testing.assert_allclose(student_t(outputs).log_prob(x).detach().numpy(), expected, rtol=2e-5)
    spread = student_t(outputs).stddev
    torch.testing.assert_close(spread, scale * math.sqrt(10 / 8))
    with torch.no_grad():
        student_t.raw_degrees.fill_(1e5)
    torch.testing.assert_close(
        student_t(outputs).log_prob(x), normal(outputs).log_prob(x), rtol=1e-5, atol=1e-3
    )


@pytest.mark.slow
def test_student_t_finds_the_degrees_of_freedom_of_its_rows():
    generator = np.random.default_rng(0)
    true = torch.tensor([3.0, 6.0, 30.0])
    x = torch.from_numpy(scipy.stats.t.rvs(true, size=(20_000, 3), random_state=generator)).float()
    likelihood = LIKELIHOODS["student-t"](torch.zeros(3), torch.ones(3), scale_floor=FLOOR)
    outputs = torch.zeros(6, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [outputs, *likelihood.parameters()], max_iter=60, line_search_fn="strong_wolfe"
    )

    def loss():
        optimizer.zero_grad()
        value = -likelihood(outputs).log_prob(x).mean()
        value.backward()
        return value

    optimizer.step(loss)
    found = likelihood.degrees_of_freedom.detach()
    fitted = [scipy.stats.t.fit(column.double())[0] for column in x.T]
    np.testing.assert_allclose(found, fitted, rtol=0.02)


def test_the_scale_of_student_t_never_falls_below_its_floor():
    likelihood = make("student-t", rows())
    p = likelihood(torch.full((likelihood.num_outputs,), -1e4))
    assert p.base_dist.scale.min().item() == pytest.approx(FLOOR, rel=1e-5)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_constant_columns_have_a_finite_density_at_the_start(name):
    x = rows(name)
    x[:, 0] = 1  # the highest level, where x has levels
    likelihood = make(name, x)
    assert torch.isfinite(likelihood(torch.zeros(likelihood.num_outputs)).log_prob(x)).all()


def test_all_columns_constant_have_the_typical_scale_one():
    assert typical_scale(torch.zeros(3)) == 1
    assert typical_scale(torch.tensor([3.0, 4.0])) == pytest.approx(math.sqrt(12.5))
    assert geometric_scale(torch.zeros(3)) == 1
    assert geometric_scale(torch.tensor([2.0, 0.0, 8.0])) == pytest.approx(4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: GaussianLikelihood(torch.zeros(3), torch.ones(2), 0.1),
            r"one shape .* got \(3,\) and \(2,\)",
        ),
        (lambda: GaussianLikelihood(torch.zeros(3), torch.full((3,), -1.0), 0.1), "at least 0"),
        (lambda: GaussianLikelihood(torch.full((3,), torch.nan), torch.ones(3), 0.1), "finite means"),
        (
            lambda: GaussianLikelihood(torch.zeros(3), torch.ones(3), 0.0),
            "scale_floor to be a finite number above 0",
        ),
        (lambda: LIKELIHOODS["gaussian-fixed"](torch.zeros(3), torch.ones(3), fixed_scale=-1), "fixed_scale"),
        (lambda: LIKELIHOODS["bernoulli"](torch.full((3,), 2.0), torch.ones(3)), r"column means in \[0, 1\]"),
    ],
)
def test_bad_settings_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_the_opening_lines_say_what_the_floor_bounds():
    dataset = load_dataset("digits")
    config = Config(model=ModelConfig(likelihood="laplace", scale_floor=0.25))
    config = resolve(config, dataset, dataset.statistics()[1], "cpu")
    lines = "\n".join(opening_lines(config, dataset, Path("run")))
    assert "laplace, standard deviation of at least 0.25 in data units" in lines


@pytest.mark.parametrize("batch", [(4, 1), (1,), (4, 3)], ids=["samples", "shared", "same"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bernoulli_log_prob_is_the_same_with_and_without_gradients(batch, dtype):
    torch.manual_seed(0)
    logits = 5 * torch.randn(4, 3, 7)
    value = (torch.rand(*batch, 7) < 0.4).to(dtype)
    bernoulli = LogitBernoulli(logits=logits)
    with_gradients = bernoulli.log_prob(value)
    with torch.no_grad():
        assert torch.equal(bernoulli.log_prob(value), with_gradients)
        wider = LogitBernoulli(logits=logits[0])  # several values for the same logits
        assert wider.log_prob(value.expand(4, 3, 7)).shape == (4, 3, 7)
