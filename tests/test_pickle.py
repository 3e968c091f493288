"""Programs, their parts and results can be pickled, saved whole and copied, whatever has used them."""

import copy
import io
import pickle

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from programs import DENSE_GUIDES, rows, small_vae
from pyro.infer import SVI, Predictive, Trace_ELBO

from pyro_vae import (
    Annealing,
    DefensiveGuide,
    ExactLinearGuide,
    FlowPrior,
    JointDefensiveGuide,
    LinearGaussianModel,
    LocalGuide,
    MCMCPosterior,
    RowFit,
    SemiAmortizedGuide,
    WidenedGuide,
    annealed_log_likelihood,
    fit,
    inference_gaps,
    iwae_curve,
    latent_summary,
    log_likelihood,
    log_weights,
)
from pyro_vae.baselines import PPCA, PPCAEM, FactorAnalysis, MixtureOfPPCA
from pyro_vae.guides import GUIDES
from pyro_vae.likelihoods import LIKELIHOODS
from pyro_vae.networks import mlp_encoder
from pyro_vae.networks.linear import LinearEncoder
from pyro_vae.priors import PRIORS
from pyro_vae.settings.latents import names_for_latent

X = rows(count=20)


def svi(model, guide, x=X):
    SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), Trace_ELBO()).step(x)


def predictive(model, guide, x=X):
    Predictive(model, guide=guide, num_samples=2)(x)


def fitted(model, guide, **options):
    settings = {"epochs": 2, "batch_size": 10, "progress": False, "device": "cpu"}
    return fit(model, guide, X, **(settings | options))


def saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "save": saved,
    "deepcopy": copy.deepcopy,
}


def assert_copies_are_the_same(model, guide, x=X):
    expected = log_weights(model, guide, x, 3)
    for name, copied in COPIES.items():
        again = copied((model, guide))
        torch.testing.assert_close(log_weights(*again, x, 3), expected, rtol=0, atol=0, msg=name)
        assert not {id(p) for part in again for p in part.parameters()} & {id(p) for p in model.parameters()}


def with_guide(make):
    model, _ = small_vae()
    return model, make(lambda outputs: mlp_encoder(X.mean(0), X.std(0), (4,), outputs, "tanh"), 2)


def with_prior(make):
    model, guide = small_vae()
    model.prior = make(2, guide, X[:3])
    return model, guide


def linear():
    model = LinearGaussianModel.from_baseline(PPCA(2).fit(X)).float()
    return model, ExactLinearGuide(model)


def linear_vae():
    model, guide = linear()[0], small_vae()[1]
    guide.encoder = LinearEncoder(X.mean(0), X.std(0), 2)
    return model, guide


def pair_with(change):
    model, guide = small_vae()
    return model, change(model, guide)


PROGRAMS = (
    {f"guide {name}": lambda name=name: with_guide(GUIDES[name]) for name in DENSE_GUIDES}
    | {f"prior {name}": lambda name=name: with_prior(PRIORS[name]) for name in names_for_latent("prior")}
    | {f"likelihood {name}": lambda name=name: small_vae(name) for name in LIKELIHOODS}
    | {
        "semi-amortized": lambda: pair_with(lambda model, guide: SemiAmortizedGuide(guide, model)),
        "local": lambda: pair_with(lambda model, guide: LocalGuide(X, 2)),
        "widened": lambda: pair_with(lambda model, guide: WidenedGuide(guide, 1.5)),
        "defensive": lambda: pair_with(lambda model, guide: DefensiveGuide(guide, model.prior)),
        "jointly defensive": lambda: pair_with(lambda model, guide: JointDefensiveGuide(guide, model)),
        "linear": linear,
        "linear VAE": linear_vae,
    }
)


@pytest.mark.slow
@pytest.mark.parametrize("make", PROGRAMS.values(), ids=PROGRAMS)
def test_programs_are_copied_after_svi(make):
    model, guide = make()
    kind = model.likelihood.kind
    fitting = next(name for name, likelihood in LIKELIHOODS.items() if likelihood.kind == kind)
    x = X if kind == "continuous" else rows(fitting, 20)
    svi(model, guide, x)
    assert all(torch.isfinite(value).all() for value in pyro.get_param_store().values())
    assert_copies_are_the_same(model, guide, x)


FEW = Annealing(num_temperatures=3, num_chains=2, num_warmup=2)
USES = {
    "Predictive": predictive,
    "fit": fitted,
    "compiled": lambda *programs: fitted(*programs, compile="on"),
    "log_likelihood": lambda *programs: log_likelihood(*programs, X, 3),
    "annealing": lambda *programs: annealed_log_likelihood(*programs, X[:2], FEW, num_simulated=1),
    "pyro.module": lambda model, guide: svi(lambda x: pyro.module("m", model)(x), guide),
}


@pytest.mark.slow
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_programs_are_copied_after_every_use(use):
    model, guide = small_vae()
    use(model, guide)
    assert_copies_are_the_same(model, guide)


def test_parts_are_copied_after_pyros_own_inference():
    model, guide = small_vae()
    model.prior = FlowPrior(2)
    svi(model, guide)
    for part in (model.prior, model.decoder, model.likelihood, guide.encoder):
        for copied in COPIES.values():
            state = copied(part).state_dict()
            assert all(torch.equal(state[name], value) for name, value in part.state_dict().items())


def test_a_copy_made_after_svi_is_trained_by_svi_only():
    programs = small_vae()
    svi(*programs)
    for copied in COPIES.values():
        again = copied(programs)
        before = [value.clone() for part in programs for value in part.parameters()]
        svi(*again)
        moved = [value for part in again for value in part.parameters()]
        kept = [value for part in programs for value in part.parameters()]
        assert all(torch.equal(a, b) for a, b in zip(before, kept, strict=True))
        assert not any(torch.equal(a, b) for a, b in zip(before, moved, strict=True))
        svi(*programs)  # and the original trains on
        assert not any(torch.equal(a, b.detach()) for a, b in zip(before, kept, strict=True))


class Wrapped(pyro.nn.PyroModule):
    """A program of this library inside a module of Pyro's."""

    def __init__(self):
        super().__init__()
        self.inner = small_vae()[0]
        self.shift = pyro.nn.PyroParam(torch.ones(6), constraint=dist.constraints.positive)

    def forward(self, x):
        return self.inner(x - self.shift)


@pytest.mark.parametrize("use", [svi, predictive, fitted, USES["log_likelihood"]])
def test_pyro_modules_around_programs_are_copied(use):
    model, guide = Wrapped(), small_vae()[1]
    use(model, guide)
    assert_copies_are_the_same(model, guide)


RESULTS = {
    "FitResult": fitted,
    "LogLikelihood": lambda *programs: log_likelihood(*programs, X, 3),
    "IWAECurve": lambda *programs: iwae_curve(*programs, X, (1, 2), num_draws=4),
    "AnnealedLogLikelihood": USES["annealing"],
    "LatentSummary": lambda *programs: latent_summary(*programs, X, num_samples=4),
    "InferenceGaps": lambda *programs: inference_gaps(
        *programs, X[:2], annealing=FEW, fit=RowFit(num_steps=2), num_samples=4
    ),
    "MCMCPosterior": lambda *programs: MCMCPosterior(),
}


@pytest.mark.slow
@pytest.mark.parametrize("make", RESULTS.values(), ids=RESULTS)
def test_results_are_pickled(make):
    result = make(*small_vae())
    assert repr(COPIES["pickle"](result)) == repr(result)


@pytest.mark.parametrize("kind", [PPCA, PPCAEM, FactorAnalysis, MixtureOfPPCA])
def test_baselines_are_copied(kind):
    baseline = kind(1).fit(X)
    for copied in COPIES.values():
        np.testing.assert_array_equal(copied(baseline).score_samples(X), baseline.score_samples(X))
