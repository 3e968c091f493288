"""Inpainting: the linear Gaussian model's conditional in closed form, several layers, discrete entries, masks."""

from __future__ import annotations

import math

import numpy as np
import pyro
import pytest
import torch
from helpers import assert_within_sigma
from programs import LEVELS, rows, small_vae

from pyro_vae import (
    Bernoullis,
    Categoricals,
    DiagonalNormalGuide,
    DiscreteGuide,
    GenerativeModel,
    LinearGaussianModel,
    PointGuide,
    RowFit,
    StandardNormal,
    UniformStates,
)
from pyro_vae._checks import InputError
from pyro_vae.baselines import PPCA
from pyro_vae.distributions.logistic_mixture import LogisticMixture
from pyro_vae.experiment.uses.inpaint import hidden_entries
from pyro_vae.likelihoods.normal import GaussianWithIsotropicScale
from pyro_vae.objectives import row_log_probs
from pyro_vae.uses import PseudoGibbs, fit_proposals, inpaint_rows
from pyro_vae.uses.observed_entries import ObservedEntries, _Observed
from pyro_vae.uses.row_gaussians import RowGaussians

QUICK = {"chains": PseudoGibbs(4, 15), "fit": RowFit(60, 8, 0.05)}


@pytest.fixture(scope="module")
def linear():
    """A linear Gaussian model of 6 columns, a rough guide of it, the baseline that it is, and rows with holes."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 6)) + 0.5 * rng.normal(size=(400, 6)) + 3
    ppca = PPCA(2).fit(x)
    model = LinearGaussianModel.from_baseline(ppca)
    encoder = torch.nn.Linear(6, 4).double()
    with torch.no_grad():
        slope = torch.from_numpy(np.linalg.pinv(ppca.components_.T))
        encoder.weight[:2], encoder.bias[:2] = 0.7 * slope, -0.7 * slope @ torch.from_numpy(ppca.mean_)
        encoder.weight[2:], encoder.bias[2:] = 0.0, -1.0
    rows = torch.from_numpy(x[:12].copy())
    rows[:, :3] = torch.nan
    rows[3] = torch.nan
    rows[4] = torch.from_numpy(x[4])
    return model, DiagonalNormalGuide(encoder), ppca, rows


@pytest.mark.slow
def test_inpainting_of_a_linear_model_is_ppca_s_conditional_mean(linear):
    model, guide, ppca, rows = linear
    num_samples = 4000
    found = inpaint_rows(model, guide, rows, num_samples, num_draws=400, seed=1, **QUICK)
    se = found.sd / found.ess.clamp_max(num_samples).sqrt().unsqueeze(1)
    assert_within_sigma(found.value, ppca.impute(rows), se + 1e-12)
    w, (_, covariance) = ppca.components_, ppca.posterior(rows.numpy())
    missing = rows.isnan()
    exact = np.sqrt(np.einsum("qd,nqr,rd->nd", w, covariance, w) + ppca.noise_variance_)[missing.numpy()]
    assert_within_sigma(found.sd[missing], exact, exact / math.sqrt(num_samples))
    assert (found.ess[missing.any(1)] > 0.5 * num_samples).all()
    assert torch.equal(found.value[~missing], rows[~missing])
    drawn = found.draws[:, missing]
    assert_within_sigma(drawn.mean(0), ppca.impute(rows)[missing.numpy()], exact / math.sqrt(300))


@pytest.mark.slow
def test_the_likelihood_of_observed_entries_is_exact(linear):
    model, guide, ppca, rows = linear
    proposals = fit_proposals(model, guide, rows, **QUICK)
    found = proposals.log_likelihood(2000)
    assert_within_sigma(
        found.value, ppca.score_samples(rows), found.per_row_se if hasattr(found, "per_row_se") else 0.05
    )


def test_missing_entries_are_left_out_of_the_likelihood():
    model, guide = small_vae("bernoulli")
    x = torch.tensor([[1.0, 0, 1, 0, 1, 1]])
    holes = x.clone()
    holes[0, [1, 4]] = torch.nan
    z = torch.tensor([[0.3, -0.2]])
    with torch.no_grad():
        cells = model.decode(z).base_dist.log_prob(x)
    expected = cells[0, [0, 2, 3, 5]].sum()
    torch.manual_seed(0)
    whole = row_log_probs(ObservedEntries(model), guide, x)
    torch.manual_seed(0)
    torch.testing.assert_close(whole.likelihood, row_log_probs(model, guide, x).likelihood)
    trace = pyro.poutine.trace(pyro.condition(ObservedEntries(model), data={"z": z})).get_trace(holes)
    trace.compute_log_prob()
    torch.testing.assert_close(trace.nodes["x"]["log_prob"][0], expected)
    slope = torch.autograd.grad(trace.nodes["x"]["log_prob"].sum(), list(model.decoder.parameters()))
    assert all(part.isfinite().all() for part in slope)


def test_row_gaussians_of_several_sites_are_the_joint_normal():
    generator = torch.Generator().manual_seed(0)
    factor = torch.randn(3, 5, 5, generator=generator, dtype=torch.float64).tril(-1) + 2 * torch.eye(5)
    loc = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    guide = RowGaussians({"z2": 2, "z1": 3})
    torch.manual_seed(0)
    trace = pyro.poutine.trace(guide).get_trace(torch.zeros(3, 4), loc, factor)
    trace.compute_log_prob()
    z = torch.cat([trace.nodes[name]["value"] for name in ("z2", "z1")], dim=-1)
    found = trace.nodes["z1"]["log_prob"] + trace.nodes["z2"]["log_prob"]
    expected = torch.distributions.MultivariateNormal(loc, scale_tril=factor).log_prob(z)
    torch.testing.assert_close(found, expected)


@pytest.mark.slow
def test_a_class_is_handed_on_to_model_and_guide():
    """Two linear models, one for each class, in one program: each row is completed by that of its class."""

    class Sign(torch.nn.Module):
        def forward(self, z, labels):
            return z * (2 * labels.double() - 1).unsqueeze(-1)

    class Encoder(torch.nn.Module):
        def forward(self, x, labels):
            return torch.cat(
                [0.7 * x[:, :1] * (2 * labels.double() - 1).unsqueeze(-1), -x[:, :1] * 0], dim=-1
            )

    likelihood = GaussianWithIsotropicScale(torch.zeros(2), torch.ones(2), 0.01).double()
    model = GenerativeModel(StandardNormal(1).double(), Both(Sign()), likelihood)
    x = torch.tensor([[2.0, torch.nan], [2.0, torch.nan]], dtype=torch.float64)
    found = inpaint_rows(model, DiagonalNormalGuide(Encoder()), (x, torch.tensor([0, 1])), 4000, **QUICK)
    # x1 = s z + e1, x2 = z + e2 with s = -1 or 1: E[x2 | x1] = s x1 / (1 + variance)
    expected = torch.tensor([-2.0, 2.0]) / (
        1 + float(likelihood.scale(likelihood.raw_scale.detach())[0]) ** 2
    )
    assert_within_sigma(found.value[:, 1], expected, found.sd[:, 1] / found.ess.sqrt())


class Both(torch.nn.Module):
    """z times the sign of its class, and z."""

    def __init__(self, sign):
        super().__init__()
        self.sign = sign

    def forward(self, z, labels):
        return torch.cat([self.sign(z, labels), z], dim=-1)


@pytest.mark.parametrize("likelihood", ["categorical", "discretized-logistic", "logistic-mixture"])
def test_levels_that_are_hidden_are_left_out(likelihood):
    """The hidden entry summed out over its levels: the densities of the others are what is left."""
    model, _ = small_vae(likelihood)
    x = rows(likelihood, 4)
    with torch.no_grad():
        p = model.decode(torch.randn(4, 2, generator=torch.Generator().manual_seed(0)))
    every = [x.index_fill(1, torch.tensor([2]), level / (LEVELS - 1)) for level in range(LEVELS)]
    expected = torch.stack([p.log_prob(one) for one in every]).logsumexp(0)
    found = _Observed(p).log_prob(x.index_fill(1, torch.tensor([2]), torch.nan))
    torch.testing.assert_close(found, expected)


def test_channels_that_depend_on_one_another_are_hidden_together():
    generator = torch.Generator().manual_seed(0)
    logits, loc = torch.randn(2, 4, generator=generator), torch.randn(2, 3, 4, generator=generator)
    p = LogisticMixture(logits, loc, torch.ones(2, 3, 4), 0.5 * torch.ones(2, 3, 4), torch.zeros(3, 4), 3)
    x = torch.randint(3, (3, 4), generator=generator) / 2
    pixels = torch.cartesian_prod(*[torch.tensor([0.0, 0.5, 1.0])] * 3)
    every = x.repeat(len(pixels), 1, 1)
    every[:, :, 1] = pixels
    hidden = x.clone()
    hidden[:, 1] = torch.nan
    expected = p.log_prob(every.flatten(1)).logsumexp(0)
    torch.testing.assert_close(_Observed(p).log_prob(hidden.flatten()), expected)
    hidden[0, 1] = 0.0
    with pytest.raises(InputError, match="Hide whole pixels"):
        _Observed(p).log_prob(hidden.flatten())


@pytest.mark.slow
@pytest.mark.parametrize("variables", [Bernoullis(4), Categoricals(2, 3)], ids=repr)
def test_discrete_latents_are_summed_out_as_by_enumeration(variables):
    torch.manual_seed(0)
    likelihood = GaussianWithIsotropicScale(torch.zeros(5), torch.ones(5), 0.01)
    decoder, encoder = torch.nn.Linear(variables.width, 5), torch.nn.Linear(5, variables.width)
    model = GenerativeModel(UniformStates(variables), decoder, likelihood)
    x = model.sample(6)
    holes = x.index_fill(1, torch.tensor([1, 3]), torch.nan)
    num_samples = 4000
    found = inpaint_rows(model, DiscreteGuide(encoder, variables), holes, num_samples, **QUICK)
    codes = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4)
    if isinstance(variables, Categoricals):
        pairs = torch.cartesian_prod(torch.arange(3), torch.arange(3))
        codes = torch.nn.functional.one_hot(pairs, 3).flatten(1).float()
    with torch.no_grad():
        p = model.decode(codes)
        cells = p.base_dist.log_prob(x.unsqueeze(1))[..., [0, 2, 4]].sum(-1)
        expected = cells.softmax(1) @ p.mean
    se = found.sd / found.ess.clamp_max(num_samples).sqrt().unsqueeze(1)
    assert_within_sigma(found.value[:, [1, 3]], expected[:, [1, 3]], se[:, [1, 3]])


@pytest.mark.parametrize(
    ("programs", "message"),
    [
        (lambda: (small_vae()[0], PointGuide(torch.nn.Linear(6, 2))), "a guide with a density"),
        (lambda: (lambda x: x, small_vae()[1]), "Expected a GenerativeModel"),
    ],
)
def test_programs_without_the_densities_are_refused(programs, message):
    with pytest.raises(InputError, match=message):
        inpaint_rows(*programs(), torch.full((2, 6), torch.nan), 10)


@pytest.mark.slow
def test_results_repeat_and_draws_of_bits_are_bits():
    model, guide = small_vae("bernoulli")
    x = torch.tensor([[1.0, 0, 1, 0, 1, 1], [0, 0, 1, 1, 0, 1]])
    x[:, 2:4] = torch.nan
    first, second = (inpaint_rows(model, guide, x, 100, num_draws=5, seed=4, **QUICK) for _ in range(2))
    assert torch.equal(first.draws, second.draws)
    assert torch.equal(first.value, second.value)
    assert set(first.draws.unique().tolist()) <= {0.0, 1.0}
    assert ((first.value >= 0) & (first.value <= 1)).all()


def test_halves_and_masks(tmp_path):
    assert hidden_entries("left", (2, 4)).tolist() == [True, True, False, False] * 2
    assert hidden_entries("right", (2, 3)).tolist() == [False, True, True] * 2
    assert hidden_entries("top", (3, 2, 1)).tolist() == [True, False] * 3
    assert hidden_entries("bottom", (2, 2)).tolist() == [False, False, True, True]
    path = tmp_path / "mask.npy"
    np.save(path, np.eye(2))
    assert hidden_entries(str(path), (3, 2, 2)).tolist() == [True, False, False, True] * 3
    for mask, message in ((np.zeros((2, 2)), "hides 0 of 4"), (np.ones(3), r"shape \(2, 2\) .*; got \(3,\)")):
        np.save(path, mask)
        with pytest.raises(InputError, match=message):
            hidden_entries(str(path), (2, 2))
    (tmp_path / "bad.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match="Could not read"):
        hidden_entries(str(tmp_path / "bad.npy"), (2, 2))
    with pytest.raises(InputError, match="Expected --hide to be left, right"):
        hidden_entries("middle", (2, 2))
