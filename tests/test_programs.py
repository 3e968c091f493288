"""Stock Pyro trains our modules: each instance its own parameters and no others."""

import copy
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from programs import changed, copied, rows, small_vae
from pyro.infer import SVI, Predictive, Trace_ELBO
from pyro.optim import ClippedAdam

from pyro_vae import fit
from pyro_vae._programs import local_parameters
from pyro_vae.likelihoods import LIKELIHOODS


def svi_steps(model, guide, x, steps=3):
    svi = SVI(model, guide, ClippedAdam({"lr": 0.01}), Trace_ELBO())
    return [svi.step(x) for _ in range(steps)]


def fit_steps(model, guide, x):
    fit(model, guide, x, epochs=3, batch_size=16, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("train", [svi_steps, fit_steps])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_second_model_a_copy_and_a_reloaded_one_each_move_all_of_their_own(train, likelihood):
    x = rows(likelihood)
    first = small_vae(likelihood)
    train(*first, x)
    second = small_vae(likelihood, seed=1)
    deepcopy = copy.deepcopy(first)
    reloaded = small_vae(likelihood, seed=2)
    for fresh, trained in zip(reloaded, first, strict=True):
        fresh.load_state_dict(trained.state_dict())
    everybody = [first, second, deepcopy, reloaded]
    for moving in everybody:
        before = [[copied(program) for program in pair] for pair in everybody]
        train(*moving, x)
        for pair, states in zip(everybody, before, strict=True):
            for program, state in zip(pair, states, strict=True):
                names = {name for name, _ in program.named_parameters()}
                assert changed(state, program) == (names if pair is moving else set())


def test_a_model_and_its_copy_in_one_process_train_on_after_the_store_is_cleared():
    model, guide = small_vae()
    svi_steps(model, guide, rows())
    pyro.clear_param_store()
    before = copied(model)
    svi_steps(model, guide, rows())
    assert changed(before, model) == {name for name, _ in model.named_parameters()}


@pytest.mark.slow
def test_svi_lowers_the_loss():
    model, guide = small_vae()
    losses = svi_steps(model, guide, rows(count=256), steps=150)
    assert sum(losses[-20:]) < sum(losses[:20]) - 20 * 256 * 0.1


def test_frozen_parameters_stay_without_a_warning():
    model, guide = small_vae()
    model.requires_grad_(False)
    before = copied(model)
    svi_steps(model, guide, rows())
    fit_steps(model, guide, rows())
    assert not changed(before, model)


def test_fit_leaves_the_parameter_store_and_the_settings_unchanged():
    pyro.param("mine", torch.tensor(1.0))
    validation = pyro.settings.get("validate_poutine")
    model, guide = small_vae()
    fit_steps(model, guide, rows())
    assert set(pyro.get_param_store()) == {"mine"}
    assert pyro.settings.get("validate_poutine") == validation
    assert pyro.settings.get("module_local_params") is False


def test_calling_a_model_outside_of_inference_leaves_the_store_empty():
    model, guide = small_vae()
    model(rows())
    guide(rows())
    assert not set(pyro.get_param_store())


@pytest.mark.slow
def test_functions_train_by_fit_through_pyro_param():
    x = rows(count=400)

    def model(x):
        loc = pyro.param("loc", torch.zeros(6))
        scale = pyro.param("scale", torch.ones(6), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(loc + 0 * z, scale).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))

    adam = partial(torch.optim.Adam, lr=0.3)
    fit(model, guide, x, epochs=200, batch_size=400, progress=False, optimizer=adam)
    torch.testing.assert_close(pyro.param("loc").detach(), x.mean(0), rtol=0, atol=0.05)
    torch.testing.assert_close(pyro.param("scale").detach(), x.std(0), rtol=0, atol=0.05)


@pytest.mark.parametrize("parallel", [True, False])
def test_predictive_gives_prior_posterior_and_posterior_predictive_samples(parallel):
    model, guide = small_vae()
    x = rows(count=9)
    prior = Predictive(model, num_samples=4, parallel=parallel)()
    assert prior["x"].shape[-1] == 6
    posterior = Predictive(model, guide=guide, num_samples=5, parallel=parallel)(x)
    assert posterior["z"].shape == (5, 9, 2)
    unseen = pyro.poutine.uncondition(model)
    predictive = Predictive(unseen, guide=guide, num_samples=5, parallel=parallel)(x)
    assert predictive["x"].shape == (5, 9, 6)


def test_local_parameters_put_everything_back_after_an_error():
    before = pyro.settings.get()
    with pytest.raises(RuntimeError, match="boom"), local_parameters():
        raise RuntimeError("boom")
    assert pyro.settings.get() == before
    programs = small_vae()
    weights = copied(programs[0])
    svi_steps(*programs, rows())  # Pyro's own inference sees the parameters again
    assert changed(weights, programs[0]) == set(weights) & {
        name for name, _ in programs[0].named_parameters()
    }
