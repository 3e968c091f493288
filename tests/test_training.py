"""The training loop: exact averages, seeds, kinds of data, early stopping, failures, and its saved state."""

import copy
import math
import sys
from contextlib import nullcontext
from functools import partial

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from programs import copied, rows, small_vae
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from pyro_vae import ELBO, Callback, Schedule, estimate_elbo, fit
from pyro_vae._checks import InputError, NonFiniteLossError
from pyro_vae.compiled import CompiledGradients, uncompiled
from pyro_vae.training import FusedAdamW, Stepper, Validation, make_trainer, resolve_device
from pyro_vae.training.validation import worth_tracing

quick = {"epochs": 3, "batch_size": 10, "progress": False, "seed": 0}


def trainer_of(pair, x, validation=None, callbacks=(), **changes):
    settings = {
        "objective": ELBO(),
        "batch_size": 10,
        "device": "cpu",
        "seed": 0,
        "epochs": 4,
        "optimizer": partial(torch.optim.Adam, lr=1e-2),
        "schedule": Schedule("cosine", 0.2),
        "clip_norm": 5.0,
        "patience": None,
        "compile": "off",
        "callbacks": callbacks,
    }
    return make_trainer(*pair, x, validation, **settings | changes)


@pytest.mark.slow
@pytest.mark.parametrize("beta", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("choice", ["on", "off"])
def test_history_has_the_loss_of_the_objective_and_the_bound_separately(beta, choice, monkeypatch):
    monkeypatch.setattr(
        "pyro_vae.training.step_rule.CompiledGradients", partial(CompiledGradients, backend=uncompiled)
    )
    objective = ELBO(beta=beta)
    result = fit(*small_vae(), rows(count=25), objective=objective, compile=choice, **quick)
    for line in result.history:
        train = line["train"]
        assert line["loss"] == pytest.approx(beta * train["kl"] - train["reconstruction"], rel=1e-5)
        assert train["elbo"] == pytest.approx(train["reconstruction"] - train["kl"])


class OneColumn(torch.nn.Module):
    """A model whose log-likelihood of a row is minus its value: the mean over rows is known exactly."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.factor("x", -x[:, 0] + 0 * self.weight * z[:, 0])


def prior_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))


@pytest.mark.parametrize("batch_size", [1, 3, 7, 10, 64])
def test_the_last_partial_batch_counts_by_its_rows(batch_size):
    x = torch.arange(10.0).reshape(10, 1) ** 2
    result = fit(OneColumn(), prior_guide, x, x, epochs=2, batch_size=batch_size, progress=False)
    for line in result.history:
        assert line["train"]["elbo"] == pytest.approx(-x.mean().item(), rel=1e-6)
        assert line["validation"]["elbo"] == pytest.approx(-x.mean().item(), rel=1e-6)


class Rows(Dataset):
    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], 7


class Stream(IterableDataset):
    def __iter__(self):
        return iter(rows())


@pytest.mark.filterwarnings("ignore:The data yields")
@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: x,
        lambda x: x.numpy(),
        lambda x: x.double().numpy(),
        lambda x: x.requires_grad_(),
        lambda x: TensorDataset(x),
        lambda x: TensorDataset(x, torch.arange(len(x))),
        Rows,
        lambda x: DataLoader(TensorDataset(x), batch_size=10, shuffle=True),
        lambda x: DataLoader(Rows(x), batch_size=10),
    ],
)
def test_fit_takes_rows_in_any_container(wrap):
    model, guide = small_vae()
    data = wrap(rows(count=25))
    result = fit(model, guide, data, data, **quick)
    assert [line["epoch"] for line in result.history] == [1, 2, 3]
    assert all(math.isfinite(line["validation"]["elbo"]) for line in result.history)
    assert result.stopped == "epochs"
    assert not model.training


@pytest.mark.slow
def test_fit_climbs():
    model, guide = small_vae()
    x = rows(count=500)
    adam = partial(torch.optim.Adam, lr=1e-2)
    result = fit(model, guide, x, x, epochs=12, batch_size=50, progress=False, seed=0, optimizer=adam)
    assert result.history[-1]["train"]["elbo"] > result.history[0]["train"]["elbo"] + 1


def test_a_seed_makes_runs_repeat_and_the_random_state_is_put_back():
    x, state = rows(), torch.get_rng_state()
    finals = []
    for seed in (0, 0, 1):
        model, guide = small_vae()
        fit(model, guide, x, x, **quick | {"seed": seed})
        finals.append(copied(model))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(finals[0][name], finals[1][name]) for name in finals[0])
    assert not all(torch.equal(finals[0][name], finals[2][name]) for name in finals[0])


def test_without_a_seed_torchs_own_decides():
    finals = []
    for _ in range(2):
        torch.manual_seed(5)
        model, guide = small_vae()
        fit(model, guide, rows(), **quick | {"seed": None})
        finals.append(copied(model))
    assert all(torch.equal(finals[0][name], finals[1][name]) for name in finals[0])


def test_a_double_model_trains_in_double():
    model, guide = small_vae()
    model.double(), guide.double()
    fit(model, guide, rows(), rows(), **quick)
    assert next(model.parameters()).dtype == torch.float64


@pytest.mark.slow
def test_the_best_weights_are_kept():
    """Training on other data than it is validated on, so that validation soon falls."""
    model, guide = small_vae()
    result = fit(model, guide, 5 * rows(count=50), rows(count=50, seed=1), **quick | {"epochs": 12})
    best = max(result.history, key=lambda line: line["validation"]["elbo"])
    assert result.best_epoch == best["epoch"]
    kept = estimate_elbo(model, guide, [(rows(count=50, seed=1),)], seed=0)
    assert kept.mean == pytest.approx(best["validation"]["elbo"], rel=1e-6)


def test_patience_stops_early():
    model, guide = small_vae()
    result = fit(
        model, guide, 5 * rows(count=50), rows(count=50, seed=1), **quick | {"epochs": 200, "patience": 2}
    )
    assert result.stopped == "patience"
    assert len(result.history) == result.best_epoch + 2


@pytest.mark.parametrize("kind", ["constant", "cosine", "cooldown"])
def test_the_schedule_rises_and_falls(kind):
    schedule = Schedule(kind, warmup=0.1)
    shares = [schedule(step, 1000) for step in range(1000)]
    assert all(0 < share <= 1 for share in shares)
    assert shares[:100] == sorted(shares[:100])
    assert shares[100] == 1
    assert shares[-1] == (1 if kind == "constant" else pytest.approx(0, abs=3e-3))
    assert shares[100:] == sorted(shares[100:], reverse=True)
    assert (shares[500] == 1) is (kind != "cosine")
    assert shares[750] == (
        1 if kind == "constant" else pytest.approx(0.5 if kind == "cooldown" else 0.18, abs=0.01)
    )


def test_a_clipped_gradient_has_the_norm_requested():
    norms = []

    class Watch(Callback):
        def on_step(self, trainer):
            norms.append(math.sqrt(sum(p.grad.square().sum().item() for p in trainer.parameters)))

    trainer = trainer_of(small_vae(), rows(), callbacks=(Watch(),), clip_norm=0.01)
    trainer.run()
    assert max(norms) == pytest.approx(0.01, rel=1e-3)


def traced(trainer, backend=uncompiled):
    """Let a trainer trace its loss and gradients, and run the graph as it is: compiling takes its time."""
    (first, *_) = trainer.train.epoch(0)
    trainer.stepper.gradients = CompiledGradients(trainer.loss, trainer.parameters, first, backend)
    return trainer


def as_it_is(trainer):
    return trainer


class ChangesTheGuide(Callback):
    """Changes an attribute after the second step."""

    def on_step(self, trainer):
        trainer.loss.guide.scale_floor = 0.3 if trainer.epoch or trainer.step >= 2 else 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("touches", [True, False])
def test_changes_by_a_callback_take_effect_at_once_and_others_with_the_epoch(touches):
    x = rows(count=30)

    class Change(ChangesTheGuide):
        touches_programs = touches

    traces = []

    def counted(graph, inputs):
        traces.append(graph)
        return uncompiled(graph, inputs)

    trainers = [
        prepare(trainer_of(small_vae(), x, callbacks=(Change(),), epochs=2))
        for prepare in (as_it_is, partial(traced, backend=counted))
    ]
    plain, compiled = (trainer.run().history for trainer in trainers)
    agrees = [a["loss"] == pytest.approx(b["loss"], rel=1e-5) for a, b in zip(plain, compiled, strict=True)]
    assert agrees[0] is touches
    if touches:
        assert agrees[1]
    assert len(traces) == 2


@pytest.mark.parametrize("with_loss", [False, True])
def test_traced_validation_is_plain_validation(with_loss):
    held_out = rows(count=1500, seed=1)  # two blocks, the second one partial
    loss = ELBO(beta=2.0)(*small_vae())
    blocks = [(held_out[:1000],), (held_out[1000:],)]
    plain, graph = (
        Validation(loss, lambda: blocks, with_loss=with_loss, traced=traced)() for traced in (False, True)
    )
    assert graph == pytest.approx(plain, rel=1e-5)
    assert ("loss" in plain) is with_loss
    if with_loss:
        assert plain["loss"] == pytest.approx(2 * plain["kl"] - plain["reconstruction"])


@pytest.mark.parametrize(
    ("epochs", "num_blocks", "pays"), [(100, 1, False), (100, 20, True), (1999, 1, False)]
)
def test_validation_is_traced_where_that_pays(epochs, num_blocks, pays):
    blocks = [(rows(),)] * num_blocks
    assert worth_tracing(epochs, blocks) is pays
    assert worth_tracing(epochs, iter(blocks))


@pytest.mark.slow
@pytest.mark.parametrize("fused", [False, True])
def test_traced_training_is_plain_training(fused):
    x = rows(count=25)
    adam = partial(torch.optim.Adam, lr=1e-2, fused=fused)
    plain, graph = (prepare(trainer_of(small_vae(), x, x, optimizer=adam)) for prepare in (as_it_is, traced))
    expected, result = plain.run(), graph.run()
    assert result.note == ""
    assert result.compile_seconds > 0 == expected.compile_seconds
    for ours, theirs in zip(graph.parameters, plain.parameters, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(result.history, expected.history, strict=True):
        assert ours["train"] == pytest.approx(theirs["train"], rel=1e-5)


def test_a_fused_step_is_the_plain_one():
    """Clipping and the check for what is not finite are left to the fused optimizer's one pass."""
    finals = []
    for fused in (False, True):
        adam = partial(torch.optim.AdamW, lr=1e-2, weight_decay=0.1, fused=fused)
        trainer = trainer_of(small_vae(), rows(), optimizer=adam, clip_norm=0.5)
        trainer.run()
        finals.append(trainer.parameters)
    for ours, theirs in zip(*finals, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_our_adamw_is_torchs():
    finals = []
    for kind in (partial(torch.optim.AdamW, fused=True), FusedAdamW):
        optimizer = partial(kind, lr=1e-2, weight_decay=0.1)
        trainer = trainer_of(small_vae(), rows(), optimizer=optimizer, clip_norm=0.5)
        trainer.run()
        finals.append((trainer.parameters, trainer.stepper.optimizer.state_dict()["state"]))
    for ours, theirs in zip(*finals, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_our_adamw_is_torchs_if_gradients_are_sometimes_none():
    shapes = [(3, 2), (2,), (4,)]
    ours, theirs = ([torch.ones(shape, requires_grad=True) for shape in shapes] for _ in range(2))
    optimizers = [FusedAdamW(ours, lr=0.1), torch.optim.AdamW(theirs, lr=0.1, weight_decay=0.0, fused=True)]
    for turn, present in enumerate([(1, 1, 0), (1, 0, 1), (1, 1, 1), (0, 0, 1), (1, 1, 1)]):
        for a, b, here in zip(ours, theirs, present, strict=True):
            a.grad = b.grad = torch.randn(a.shape) if here else None
        for optimizer in optimizers:
            optimizer.step()
        if turn == 2:  # as after a resumption: the counters, shared or not, go on
            optimizers[0].load_state_dict(copy.deepcopy(optimizers[0].state_dict()))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
        assert optimizers[0].state[a]["step"] == optimizers[1].state[b]["step"]


def other_arguments(parameters, gradients, *, lr):
    raise AssertionError("not the arguments that were passed")


def another_step(parameters, *lists, **settings):
    for parameter in parameters:
        parameter.fill_(7.0)


@pytest.mark.parametrize("kernel", [None, other_arguments, another_step])
def test_without_torchs_private_kernel_the_same_steps_are_taken(kernel, monkeypatch):
    """It may be missing in another version of torch, or take or do something else."""
    finals = []
    for change in (False, True):
        if change and kernel is None:
            monkeypatch.delattr(torch, "_fused_adamw_")
        elif change:
            monkeypatch.setattr(torch, "_fused_adamw_", kernel)
        adam = partial(FusedAdamW, lr=1e-2, weight_decay=0.1)
        trainer = trainer_of(small_vae(), rows(), optimizer=adam, clip_norm=0.5)
        trainer.run()
        finals.append((trainer.parameters, trainer.stepper.optimizer.state_dict()["state"]))
    for ours, theirs in zip(*finals, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_without_the_kernel_a_failed_step_is_skipped(monkeypatch):
    monkeypatch.delattr(torch, "_fused_adamw_")
    weight = torch.ones(3, requires_grad=True)
    adam = FusedAdamW([weight], lr=0.1)
    adam.update([torch.full((3,), torch.nan)], failed=torch.ones(()))
    assert weight.tolist() == [1, 1, 1]
    adam.update([torch.full((3,), 4.0)], scale=torch.tensor(2.0), failed=torch.zeros(()))
    torch.testing.assert_close(adam.state[weight]["exp_avg"], torch.full((3,), 0.2))


def test_a_copy_of_our_adamw_continues_by_itself():
    weight = torch.ones(3, requires_grad=True)
    adam = FusedAdamW([weight], lr=0.1)
    adam.update([torch.ones(3)])
    other = copy.deepcopy(adam)
    other.update([torch.ones(3)])
    (copied,) = other.param_groups[0]["params"]
    assert (adam.state[weight]["step"], other.state[copied]["step"]) == (1, 2)
    assert (weight > copied).all()


def test_our_adamw_leaves_out_a_failed_step_and_divides():
    weight = torch.ones(3, requires_grad=True)
    adam = FusedAdamW([weight], lr=0.1)
    adam.update([torch.full((3,), torch.nan)], failed=torch.ones(()))
    assert weight.tolist() == [1, 1, 1]
    assert adam.state[weight]["step"] == 0
    adam.update([torch.full((3,), 4.0)], scale=torch.tensor(2.0), failed=torch.zeros(()))
    torch.testing.assert_close(adam.state[weight]["exp_avg"], torch.full((3,), 0.2))


def test_compiling_is_chosen_for_long_runs():
    def compiles(**changes):
        return isinstance(trainer_of(small_vae(), rows(), **changes).stepper.gradients, CompiledGradients)

    assert not compiles(compile="auto", epochs=20)
    assert compiles(compile="auto", epochs=2000, batch_size=5)
    assert compiles(compile="on")
    assert not compiles(compile="off", epochs=10_000)


def test_what_cannot_be_compiled_trains_and_warns():
    class ReadsAValue(OneColumn):
        def forward(self, x):
            assert x.sum() > 0
            return super().forward(x)

    with pytest.warns(UserWarning, match=r"could not be compiled .* falling back to Pyro's handlers\."):
        result = fit(ReadsAValue(), prior_guide, torch.ones(10, 1), **quick | {"compile": "on"})
    assert len(result.history) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prepare", "stop_after"), [*((as_it_is, step) for step in (1, 3, 5, 9, 12)), (traced, 3), (traced, 5)]
)
@pytest.mark.parametrize("average", [0.0, 0.3])
def test_a_state_taken_at_any_step_continues_to_the_same_weights_to_the_bit(
    stop_after, prepare, average, monkeypatch
):
    monkeypatch.setattr("pyro_vae.training.weight_average.EVERY", 2)
    x = rows(count=25)  # three batches an epoch
    trainer_of_x = partial(trainer_of, x=x, validation=x, average=average)
    whole = prepare(trainer_of_x(small_vae()))
    expected = whole.run()

    class Stop(Callback):
        steps = 0

        def on_step(self, trainer):
            self.steps += 1
            if self.steps == stop_after:
                trainer.stop("test")

    first = prepare(trainer_of_x(small_vae(), callbacks=(Stop(),)))
    assert first.run().stopped == "test"
    state = first.state_dict()
    second = prepare(trainer_of_x(small_vae(seed=3)))
    second.load_state_dict(state)
    result = second.run()
    for part in ("train", "validation"):
        assert [line[part] for line in result.history] == [line[part] for line in expected.history]
    assert result.best_epoch == expected.best_epoch
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters, second.parameters, strict=True))


def test_a_loss_that_is_not_finite_raises_with_its_position_and_keeps_the_previous_step():
    model, guide = small_vae()
    x = rows(count=20)
    seen = []

    class Poison(Callback):
        def on_step(self, trainer):
            seen.append(copied(model))
            if len(seen) == 3:
                model.likelihood.mean.fill_(torch.inf)

    message = r"epoch 2, step 2: first at site 'x', first bad gradient at parameter '(model|guide)\."
    with pytest.raises(NonFiniteLossError, match=message):
        fit(model, guide, x, callbacks=[Poison()], **quick)
    assert all(torch.equal(value, seen[-1][name]) for name, value in model.named_parameters())


@pytest.mark.slow
@pytest.mark.parametrize("prepare", [as_it_is, traced])
@pytest.mark.parametrize("check_every", [1, 4, 50])
def test_a_failure_detected_late_does_not_change_the_weights(check_every, prepare):
    """As on a GPU, where later steps run before the check for finite values."""
    model, guide = small_vae()
    seen = []

    class Poison(Callback):
        def on_step(self, trainer):
            seen.append(copied(model))
            if len(seen) == 5:
                model.likelihood.mean.fill_(torch.inf)
            if len(seen) == 6:
                model.likelihood.mean.fill_(0.0)

    adam = partial(FusedAdamW, lr=1e-2)
    trainer = trainer_of((model, guide), rows(count=80), callbacks=(Poison(),), optimizer=adam)
    trainer.stepper = Stepper(
        trainer.loss, trainer.parameters, trainer.stepper.gradients, adam, check_every=check_every
    )
    message = r"epoch 1, step 6: first at site" if check_every == 1 else r"epoch 1, step 6:"
    with pytest.raises(NonFiniteLossError, match=message):
        prepare(trainer).run()
    # Eight steps an epoch, at whose end all have been looked at.
    assert len(seen) == {1: 5, 4: 7, 50: 8}[check_every]
    assert all(torch.equal(value, seen[4][name]) for name, value in model.named_parameters())


def test_a_gradient_that_is_not_finite_is_found_before_it_does_harm():
    class Root(OneColumn):
        def forward(self, x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
                pyro.factor("x", (0 * z[:, 0] + self.weight).abs().sqrt())

    model = Root()
    with pytest.raises(NonFiniteLossError, match=r"'none \(the gradient alone.*parameter 'model.weight'"):
        fit(model, prior_guide, torch.ones(4, 1), **quick)
    assert model.weight.item() == 0


def test_the_parameter_named_is_the_one_whose_gradient_is_bad():
    class TwoParameters(OneColumn):
        def __init__(self):
            super().__init__()
            self.other = torch.nn.Parameter(torch.zeros(()))

        def forward(self, x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
                pyro.factor("x", 0 * z[:, 0] + self.weight + self.other.abs().sqrt())

    with pytest.raises(NonFiniteLossError, match=r"parameter 'model.other'"):
        fit(TwoParameters(), prior_guide, torch.ones(4, 1), **quick | {"clip_norm": 1.0})


def test_a_callback_that_fails_leaves_the_others_ended():
    ended = []

    class Fail(Callback):
        def on_step(self, trainer):
            raise RuntimeError("boom")

        def on_end(self, trainer):
            ended.append(True)

    with pytest.raises(RuntimeError, match="boom"):
        fit(*small_vae(), rows(), callbacks=[Fail()], **quick)
    assert ended == [True]


def test_the_progress_bar_shows_elbo_kl_and_rows_per_second(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fit(*small_vae(), rows(), rows(), epochs=3, batch_size=10)
    err = capsys.readouterr().err
    assert "elbo" in err
    assert "kl" in err
    assert "rows/s" in err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": torch.zeros(4, 2, 2)}, r"x of shape \(N, 6\); got \(4, 4\)"),
        ({"train": torch.zeros(4, 5)}, r"x of shape \(N, 6\); got \(4, 5\)"),
        ({"train": torch.zeros(0, 6)}, "at least one row of x; got none"),
        ({"train": np.full((3, 6), np.nan)}, "finite data; got nan in row 0"),
        ({"train": {1, 2, 3}}, "a DataLoader or batches of tuples; got set"),
        ({"train": Stream()}, "Dataset with a length; got an iterable one"),
        ({"train": TensorDataset(torch.zeros(0, 6))}, "at least one row"),
        ({"validation": {"a": 1}}, "or batches of tuples; got a dict with the keys 'a'"),
        ({"epochs": 0}, "epochs to be a whole number of at least 1; got 0"),
        ({"batch_size": -1}, "batch_size to be a whole number of at least 1; got -1"),
        ({"batch_size": 2.5}, "batch_size to be a whole number of at least 1; got 2.5"),
        ({"seed": -1}, "seed to be a whole number of at least 0; got -1"),
        ({"average": -0.1}, r"average in \[0, 1\], a share of the steps so far; got -0.1"),
        ({"clip_norm": 0.0}, "clip_norm to be a finite number above 0; got 0.0"),
        (
            {"patience": 0, "validation": torch.zeros(3, 6)},
            "patience to be a whole number of at least 1; got 0",
        ),
        ({"patience": 3}, "validation data, which patience needs"),
        ({"compile": "yes"}, "compile to be one of auto, on, off; got 'yes'"),
        ({"device": "tpu"}, "device to be one of auto, cpu, cuda; got 'tpu'"),
    ],
)
def test_bad_arguments_end_in_one_sentence(change, message):
    arguments = {"train": rows(), "validation": None} | quick | change
    with pytest.raises(InputError, match=message):
        fit(*small_vae(), **arguments)


def test_schedules_out_of_range_are_refused():
    with pytest.raises(InputError, match=r"warmup in \[0, 1\)"):
        Schedule(warmup=1.0)
    with pytest.raises(InputError, match="schedule to be one of constant, cosine, cooldown; got 'step'"):
        Schedule("step")


def test_nothing_to_train_is_refused():
    with pytest.raises(InputError, match="with parameters to train; got none"):
        fit(prior_guide, prior_guide, rows(), **quick)


@pytest.mark.gpu
def test_programs_come_back_from_the_gpu():
    model, guide = small_vae()
    fit(model, guide, rows(), epochs=1, device="cuda", progress=False)
    assert math.isfinite(estimate_elbo(model, guide, [(rows(),)]).mean)
    fit(model.cuda(), guide.cuda(), rows(), epochs=1, device="cpu", progress=False)
    assert math.isfinite(estimate_elbo(model, guide, [(rows().cuda(),)]).mean)


@pytest.mark.parametrize("fails", [False, True])
def test_programs_return_to_their_device(fails, monkeypatch):
    model, guide = small_vae()
    moved = []
    monkeypatch.setattr(nn.Module, "to", lambda module, device: moved.append((module, device)) or module)
    data = torch.full_like(rows(), math.nan) if fails else rows()
    with (
        pytest.raises(InputError, match="finite data; got nan in row 0, column 0") if fails else nullcontext()
    ):
        fit(model, guide, data, epochs=1, progress=False)
    here = torch.device("cpu")
    assert moved[1:] == [(model, here), (guide, here)]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_without_cuda_is_refused():
    with pytest.raises(InputError, match="a CUDA device for --device cuda; torch finds none"):
        fit(*small_vae(), rows(), **quick | {"device": "cuda"})
    assert resolve_device("auto").type == "cpu"


@pytest.mark.gpu
def test_fit_on_cuda_repeats_and_puts_both_programs_back():
    finals = []
    for _ in range(2):
        model, guide = small_vae()
        fit(model, guide, rows(), rows(), **quick | {"device": "cuda"})
        assert not next(guide.parameters()).is_cuda
        finals.append(copied(model))
    assert all(torch.equal(finals[0][name], finals[1][name]) for name in finals[0])
