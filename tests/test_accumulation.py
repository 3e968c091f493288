"""Steps over several batches: the same as a step over one batch of all their rows."""

from functools import partial

import pytest
import torch
from helpers import script
from programs import BOUNDS, copied, rows, small_vae
from together import D, L, programs
from torch.utils.data import DataLoader, TensorDataset

from pyro_vae import ELBO, Callback, Schedule, fit
from pyro_vae._checks import InputError, NonFiniteLossError
from pyro_vae.compiled import CompiledGradients, Gradients, uncompiled
from pyro_vae.data.batch_order import Batches
from pyro_vae.data.joined_batches import joined
from pyro_vae.training import AccumulatedGradients, make_trainer

X = torch.randn(46, D + L, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
"""Rows with their noise, which is the same however they are divided into batches."""
SETTINGS = {
    "objective": ELBO(beta=1.5, warmup=0.6),
    "epochs": 3,
    "optimizer": partial(torch.optim.Adam, lr=0.02),
    "schedule": Schedule("cosine", 0.2),
    "average": 0.5,
    "clip_norm": 0.5,
    "seed": 3,
    "keep": "last",
    "progress": False,
}


def trained(train, **changes):
    """Return the history and the final weights."""
    model, guide = (program.double() for program in programs())
    result = fit(model, guide, train, X[:9], **SETTINGS | changes)
    assert not result.note
    weights = torch.cat([p.detach().flatten() for program in (model, guide) for p in program.parameters()])
    return result.history, weights


def flat(history):
    """Return all numbers of a history but its times."""
    return [
        value
        for line in history
        for part in (line["train"], line["validation"], {k: line[k] for k in ("learning_rate", "loss")})
        for value in part.values()
    ]


@pytest.fixture
def traced(monkeypatch):
    monkeypatch.setattr(
        "pyro_vae.training.step_rule.CompiledGradients", partial(CompiledGradients, backend=uncompiled)
    )


@pytest.mark.parametrize(
    ("accumulate", "choice"),
    [(2, "off"), (8, "off"), (20, "off"), pytest.param(3, "on", marks=pytest.mark.slow)],
)
def test_a_step_over_batches_is_one_over_all_their_rows(accumulate, choice, traced, monkeypatch):
    # Steps of 10, 15, 40 and 46 rows in an epoch of 46: the last one is always a smaller one.
    monkeypatch.setattr("pyro_vae.training.weight_average.EVERY", 2)
    whole = trained(X, batch_size=5 * accumulate, compile="off")
    parts = trained(X, batch_size=5, accumulate=accumulate, compile=choice)
    assert flat(parts[0]) == pytest.approx(flat(whole[0]), rel=1e-9)
    torch.testing.assert_close(parts[1], whole[1], rtol=1e-9, atol=1e-9)


class NumberedRows(torch.utils.data.Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, number):
        return (X[number],)


@pytest.mark.parametrize(
    "batches",
    [
        lambda size: NumberedRows(),
        lambda size: DataLoader(TensorDataset(X), size),
        lambda size: [(batch,) for batch in X.split(size)],
    ],
    ids=["dataset", "loader", "list"],
)
def test_batches_of_any_container_are_joined(batches):
    whole = trained(batches(15), batch_size=15)
    parts = trained(batches(5), batch_size=5, accumulate=3)
    assert flat(parts[0]) == pytest.approx(flat(whole[0]), rel=1e-9)
    torch.testing.assert_close(parts[1], whole[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_gradients_of_every_objective_are_means_over_parts(name):
    model, guide = small_vae()
    loss = BOUNDS[name](num_particles=4)(model, guide)
    x, parameters, progress = rows(count=13), list(loss.parameters()), torch.ones(())
    single = Gradients(loss, parameters)
    torch.manual_seed(0)
    parts = [single(part, progress=progress) for part in x.split(5)]
    torch.manual_seed(0)
    found = AccumulatedGradients(Gradients(loss, parameters), 5)(x, progress=progress)
    loss_of_all = sum(len(part.terms.kl) / 13 * part.terms.loss.item() for part in parts)
    assert found.terms.loss.item() == pytest.approx(loss_of_all, rel=1e-5)
    assert torch.equal(found.terms.kl, torch.cat([part.terms.kl for part in parts]))
    squares = 0.0
    for number, gradient in enumerate(found.gradients):
        own = [part.gradients[number] for part in parts]
        if gradient is None:
            assert all(part is None for part in own)
            continue
        expected = sum(n / 13 * part for n, part in zip((5, 5, 3), own, strict=True))
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)
        squares += expected.square().sum()
    assert found.norm.item() == pytest.approx(squares.sqrt().item(), rel=1e-4)
    assert not found.failed


def test_programs_see_no_more_rows_than_a_batch():
    seen = []
    model, guide = programs()
    model.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    fit(model, guide, X.float(), epochs=1, batch_size=5, accumulate=4, progress=False, seed=0)
    assert max(seen) == 5
    assert sum(seen[-10:]) == len(X)


def test_joined_batches_are_larger_batches_to_the_bit():
    def fetch(index, generator):
        return torch.stack([index.float(), torch.rand(len(index), generator=generator)], 1)

    batches = Batches(fetch, torch.arange(23), 4, seed=5)
    (found, size), whole = joined(batches, 3), Batches(fetch, torch.arange(23), 12, seed=5)
    assert (size, len(found)) == (4, 2)
    for epoch, start in ((0, 0), (1, 0), (1, 1)):
        pairs = zip(found.epoch(epoch, start), whole.epoch(epoch, start), strict=True)
        assert all(torch.equal(a, b) for (a,), (b,) in pairs)


def test_a_run_that_was_stopped_between_steps_resumes_to_the_bit():
    class Stop(Callback):
        steps = 0

        def on_step(self, trainer):
            self.steps += 1
            if self.steps == 4:  # the second step of the second epoch
                trainer.stop("test")

    def trainer(callbacks=()):
        settings = SETTINGS | {"epochs": 3, "device": "cpu", "compile": "off", "patience": None}
        del settings["progress"]
        return make_trainer(
            *small_vae(), rows(count=25), None, batch_size=4, accumulate=3, callbacks=callbacks, **settings
        )

    whole, first, second = trainer(), trainer((Stop(),)), trainer()
    whole.run()
    assert first.run().stopped == "test"
    assert (first.epoch, first.step, first.rows_done) == (1, 1, 12)
    second.load_state_dict(first.state_dict())
    second.run()
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters, second.parameters, strict=True))


def test_a_part_that_is_not_finite_fails_its_step_and_is_named():
    model, guide = small_vae()
    x = rows(count=24)
    x[-1] = 1e38
    before = copied(model)
    with pytest.raises(NonFiniteLossError, match=r"epoch 1, step 1: first at site 'x'"):
        fit(model, guide, x, epochs=1, batch_size=4, accumulate=6, progress=False, seed=0)
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())


@pytest.mark.parametrize("value", [0, -1, 1.5])
def test_bad_counts_are_refused(value):
    with pytest.raises(InputError, match=f"accumulate to be a whole number of at least 1; got {value}"):
        fit(*small_vae(), rows(), accumulate=value, progress=False)


def test_a_bad_flag_ends_in_one_sentence(capsys):
    assert script("--accumulate", 0) == 2
    assert "Expected --accumulate to be a whole number of at least 1; got 0" in capsys.readouterr().err
