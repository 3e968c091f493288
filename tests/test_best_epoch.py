"""Which epoch's weights are kept, by what number, however training ends; and what callbacks see."""

import copy
import math
from functools import partial

import pytest
import torch
from programs import copied, rows, small_vae

from pyro_vae import ELBO, IWAE, STL, AnalyticELBO, Callback, DReG, Renyi, Schedule, estimate_elbo, fit
from pyro_vae._checks import InputError, NonFiniteLossError
from pyro_vae.objectives import ReweightedWakeSleep
from pyro_vae.training import FusedAdamW, kept_by, make_trainer

HELD_OUT = rows(count=50, seed=1)
# Trained on other data than validated on: the ELBO soon falls.
TRAINED = 5 * rows(count=50)
quick = {"epochs": 12, "batch_size": 10, "progress": False, "seed": 0, "device": "cpu", "compile": "off"}


class StopAt(Callback):
    """Ends training after a step or an epoch, in its own way."""

    def __init__(self, step=0, epoch=0, raises=None):
        self.at_step, self.at_epoch, self.raises, self.steps = step, epoch, raises, 0

    def end(self, trainer):
        if self.raises:
            raise self.raises
        trainer.stop("enough")

    def on_step(self, trainer):
        self.steps += 1
        if self.steps == self.at_step:
            self.end(trainer)

    def on_epoch(self, trainer):
        if trainer.epoch == self.at_epoch:
            self.end(trainer)


def elbo_of(model, guide):
    return estimate_elbo(model, guide, [(HELD_OUT,)], seed=0).mean


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (ELBO(), "best-elbo"),
        (ELBO(num_particles=3, warmup=0.5), "best-elbo"),
        (AnalyticELBO(), "best-elbo"),
        (STL(), "best-elbo"),
        (IWAE(1), "best-elbo"),
        (Renyi(5, alpha=1.0), "best-elbo"),
        (ELBO(beta=0.0), "best-loss"),
        (ELBO(beta=4.0, warmup=0.5), "best-loss"),
        (AnalyticELBO(free_bits=0.1), "best-loss"),
        (STL(beta=0.5), "best-loss"),
        (IWAE(5), "best-loss"),
        (DReG(5), "best-loss"),
        (Renyi(5), "best-loss"),
        (ReweightedWakeSleep(5), "best-loss"),
    ],
)
def test_epochs_are_compared_by_what_is_trained(objective, expected):
    assert kept_by("auto", objective, validated=True) == expected
    assert kept_by("auto", objective, validated=False) == "last"
    assert kept_by("best-elbo", objective, validated=True) == "best-elbo"
    result = fit(*small_vae(), TRAINED, HELD_OUT, objective=objective, **quick | {"epochs": 2})
    assert result.kept_by == expected
    assert all(("loss" in line["validation"]) == (expected == "best-loss") for line in result.history)


@pytest.mark.slow
@pytest.mark.parametrize("beta", [0.0, 3.0])
def test_the_validation_loss_is_that_of_the_objective_at_its_full_weight(beta):
    objective = ELBO(beta=beta, warmup=1.0)
    result = fit(*small_vae(), TRAINED, HELD_OUT, objective=objective, **quick)
    for line in result.history:
        validation = line["validation"]
        assert validation["loss"] == pytest.approx(beta * validation["kl"] - validation["reconstruction"])
    best = min(result.history, key=lambda line: line["validation"]["loss"])
    assert result.best_epoch == best["epoch"]


@pytest.mark.slow
def test_an_autoencoder_is_kept_by_its_reconstruction():
    """With beta = 0 the divergence, and so the ELBO, goes its own way."""
    x = rows(count=200)
    settings = quick | {"epochs": 100, "batch_size": 50, "objective": ELBO(beta=0.0)}
    settings["optimizer"] = partial(FusedAdamW, lr=3e-2)
    by_loss, by_elbo = (
        fit(*small_vae(), x, HELD_OUT, keep=keep, **settings) for keep in ("auto", "best-elbo")
    )
    assert by_loss.best_epoch > 20 > by_elbo.best_epoch
    assert (by_loss.early_note, by_elbo.kept_by) == ("", "best-elbo")
    assert by_elbo.early_note.startswith(f"The best epoch by validation ELBO is {by_elbo.best_epoch} of 100,")


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["best-elbo", "best-loss", "last"])
def test_the_epoch_requested_is_kept(keep):
    model, guide = small_vae()
    result = fit(model, guide, TRAINED, HELD_OUT, keep=keep, **quick)
    best = max(result.history, key=lambda line: line["validation"]["elbo"])["epoch"]
    assert best < 12
    assert result.best_epoch == (12 if keep == "last" else best)  # the loss is minus the ELBO here
    assert elbo_of(model, guide) == pytest.approx(
        result.history[result.best_epoch - 1]["validation"]["elbo"], rel=1e-6
    )


@pytest.mark.parametrize(("keep", "criterion"), [("auto", "loss"), ("best-elbo", "elbo"), ("last", "loss")])
def test_patience_goes_by_the_same_number(keep, criterion):
    settings = quick | {"epochs": 200, "patience": 3, "objective": ELBO(beta=0.2)}
    result = fit(*small_vae(), TRAINED, HELD_OUT, keep=keep, **settings)
    sign = {"elbo": 1, "loss": -1}[criterion]
    values = [sign * line["validation"][criterion] for line in result.history]
    best = values.index(max(values)) + 1
    assert result.stopped == "patience"
    assert len(values) == best + 3
    assert result.best_epoch == (len(values) if keep == "last" else best)


@pytest.mark.slow
@pytest.mark.parametrize("average", [0.0, 0.5])
@pytest.mark.parametrize(
    "stop",
    [
        StopAt(step=58),
        StopAt(epoch=11),
        StopAt(step=58, raises=KeyboardInterrupt()),
        StopAt(epoch=11, raises=KeyboardInterrupt()),
        StopAt(step=58, raises=RuntimeError("boom")),
    ],
    ids=["callback in an epoch", "callback after one", "Ctrl-C in an epoch", "Ctrl-C after one", "an error"],
)
def test_the_best_weights_are_kept_however_training_ends(stop, average):
    stop.steps = 0
    model, guide = small_vae()
    trainers = []

    class Watch(Callback):
        def on_start(self, trainer):
            trainers.append(trainer)

    settings = quick | {"epochs": 40, "average": average, "callbacks": [Watch(), stop]}
    if stop.raises is None:
        assert fit(model, guide, TRAINED, HELD_OUT, **settings).stopped == "enough"
    else:
        with pytest.raises(type(stop.raises)):
            fit(model, guide, TRAINED, HELD_OUT, **settings)
    (trainer,) = trainers
    values = [line["validation"]["elbo"] for line in trainer.history]
    assert trainer.best.epoch == values.index(max(values)) + 1 < len(values)
    assert elbo_of(model, guide) == pytest.approx(max(values), rel=1e-6)
    assert not model.training


def test_without_a_finished_epoch_the_last_step_is_kept():
    model, guide = small_vae()
    before = copied(model)
    result = fit(model, guide, TRAINED, HELD_OUT, callbacks=[StopAt(step=3)], **quick)
    assert (result.best_epoch, result.history) == (0, [])
    assert not all(torch.equal(before[name], value) for name, value in model.named_parameters())


@pytest.mark.slow
def test_after_a_run_the_state_is_that_of_the_last_step():
    """Six epochs and two more are eight, to the bit, under a constant rate: the state is no mixture with the best."""

    def trainer(epochs, seed=0):
        return make_trainer(
            *small_vae(seed=seed),
            TRAINED,
            HELD_OUT,
            objective=ELBO(),
            batch_size=10,
            device="cpu",
            compile="off",
            seed=0,
            epochs=epochs,
            optimizer=partial(FusedAdamW, lr=1e-2),
            schedule=Schedule("constant"),
            clip_norm=None,
            patience=None,
        )

    whole, first, second = trainer(8), trainer(6), trainer(8, seed=3)
    expected = whole.run()
    assert first.run().best_epoch < 6
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second.run().best_epoch == expected.best_epoch
    ends = [t.state_dict()["weights"] for t in (whole, second)]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
    first.epochs = 8
    first.run()  # and so does the same trainer, whose programs have the best weights
    again = first.state_dict()["weights"]
    assert all(torch.equal(value, again[name]) for name, value in ends[0].items())


class Looks(Callback):
    """Measures the validation ELBO of the weights in the callback, and saves the state."""

    def __init__(self):
        self.seen, self.at_end, self.states = [], None, []

    def on_epoch(self, trainer):
        self.seen.append(elbo_of(*trainer.modules()))
        self.states.append(copy.deepcopy(trainer.state_dict()))

    def on_end(self, trainer):
        self.at_end = elbo_of(*trainer.modules())


@pytest.mark.slow
@pytest.mark.parametrize("average", [0.0, 0.5])
def test_callbacks_get_the_validated_weights_and_training_continues_from_its_own(average):
    looks = Looks()
    settings = quick | {"average": average, "epochs": 6}
    result = fit(*small_vae(), TRAINED, HELD_OUT, callbacks=[looks], **settings)
    validated = [line["validation"]["elbo"] for line in result.history]
    assert looks.seen == pytest.approx(validated, rel=1e-6)
    assert looks.at_end == pytest.approx(max(validated), rel=1e-6)
    alone = fit(*small_vae(), TRAINED, HELD_OUT, **settings)
    assert [line["train"] for line in alone.history] == [line["train"] for line in result.history]
    assert [line["validation"] for line in alone.history] == [line["validation"] for line in result.history]


@pytest.mark.slow
def test_a_state_taken_in_on_epoch_continues_to_the_same_weights():
    looks = Looks()
    settings = {
        "objective": ELBO(),
        "batch_size": 10,
        "device": "cpu",
        "compile": "off",
        "seed": 0,
        "epochs": 6,
        "average": 0.5,
    }
    settings |= {"optimizer": FusedAdamW, "schedule": Schedule(), "clip_norm": None, "patience": None}
    whole = make_trainer(*small_vae(), TRAINED, HELD_OUT, callbacks=[looks], **settings)
    whole.run()
    second = make_trainer(*small_vae(seed=3), TRAINED, HELD_OUT, **settings)
    second.load_state_dict(looks.states[2])
    second.run()
    ends = whole.state_dict(), second.state_dict()
    weights, means = ([end["weights"] for end in ends], [end["average"]["mean"] for end in ends])
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert all(torch.equal(a, b) for a, b in zip(*means, strict=True))
    assert not torch.equal(means[0][0], next(iter(whole.parameters)))


def test_training_continues_with_a_longer_patience():
    settings = {
        "objective": ELBO(),
        "batch_size": 10,
        "device": "cpu",
        "compile": "off",
        "seed": 0,
        "epochs": 40,
    }
    settings |= {"optimizer": FusedAdamW, "schedule": Schedule("constant"), "clip_norm": None}
    short, long, same = (
        make_trainer(*small_vae(), TRAINED, HELD_OUT, patience=patience, **settings) for patience in (2, 6, 2)
    )
    ended = short.run()
    for trainer, more in ((long, 4), (same, 0)):
        trainer.load_state_dict(copy.deepcopy(short.state_dict()))
        assert len(trainer.run().history) >= len(ended.history) + more


@pytest.mark.slow
def test_rules_that_need_validation_rows_say_so():
    for keep in ("best-elbo", "best-loss"):
        with pytest.raises(InputError, match=f"validation data with keep='{keep}'.* Use keep='last'"):
            fit(*small_vae(), TRAINED, keep=keep, **quick)
    with pytest.raises(InputError, match="keep to be one of auto, best-elbo, best-loss, last; got 'best'"):
        fit(*small_vae(), TRAINED, HELD_OUT, keep="best", **quick)
    result = fit(*small_vae(), TRAINED, objective=ELBO(beta=2.0), **quick)
    assert (result.kept_by, result.best_epoch) == ("last", 12)


def test_a_validation_number_that_is_not_finite_is_named():
    bad = HELD_OUT.clone()
    bad[3, 2] = 1e25
    for beta, name in ((1.0, "ELBO"), (2.0, "loss")):
        with pytest.raises(NonFiniteLossError, match=f"The validation {name} is (nan|-?inf) after epoch 1"):
            fit(*small_vae(), TRAINED, bad, objective=ELBO(beta=beta), **quick)
    assert math.isfinite(elbo_of(*small_vae()))
