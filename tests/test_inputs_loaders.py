"""Data sets, loaders and batches as people have them: the right number, or one sentence."""

import warnings

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from programs import small_vae
from torch import nn
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    StackDataset,
    Subset,
    TensorDataset,
)

from pyro_vae import estimate_elbo, fit, load_dataset, log_likelihood
from pyro_vae._checks import InputError
from pyro_vae.data.adapters import as_blocks

X = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(30) % 3
QUICK = {"epochs": 2, "batch_size": 8, "progress": False, "compile": "off", "seed": 0}


class Items(Dataset):
    """A map-style data set made of a function of the row's number."""

    def __init__(self, item, count=30):
        self.item, self.count = item, count

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        return self.item(i)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(X)


def loader(dataset, **settings):
    return DataLoader(dataset, **{"batch_size": 8} | settings)


RIGHT = {
    "rows": loader(Items(lambda i: X[i])),
    "NumPy rows": loader(Items(lambda i: X[i].numpy())),
    "float64 rows": loader(Items(lambda i: X[i].double())),
    "lists of numbers": Items(lambda i: X[i].numpy()),
    "pixels": loader(Items(lambda i: X[i].view(1, 3, 2))),
    "channels last": loader(Items(lambda i: X[i].view(1, 2, 3).permute(1, 2, 0))),
    "label as int": loader(Items(lambda i: (X[i], int(Y[i])))),
    "label as text": loader(Items(lambda i: (X[i], "seven"))),
    "label as dict": loader(Items(lambda i: (X[i], {"id": i}))),
    "named pair": loader(StackDataset(X, Y)),
    "two sets": loader(ConcatDataset([TensorDataset(X[:10]), TensorDataset(X[10:])])),
    "subset of all": loader(Subset(TensorDataset(X), range(30))),
    "batch sampler": DataLoader(
        TensorDataset(X), batch_sampler=BatchSampler(SequentialSampler(X), 7, drop_last=False)
    ),
    "batch sampler that drops": DataLoader(
        TensorDataset(X), batch_sampler=BatchSampler(RandomSampler(X), 7, drop_last=True)
    ),
    "own collate": loader(TensorDataset(X), collate_fn=lambda items: (torch.stack([i[0] for i in items]),)),
    "batch of one": loader(TensorDataset(X), batch_size=1),
    "one batch": loader(TensorDataset(X), batch_size=30),
    "more than there are": loader(TensorDataset(X), batch_size=400),
    "batches made by the set": DataLoader(Items(lambda i: X[10 * i : 10 * i + 10], count=3), batch_size=None),
    "iterable": loader(Stream()),
    "generator": ((part,) for part in X.split(11)),
    "generator of tensors": iter(X.split(11)),
    "lists as batches": [[X[:9], Y[:9]], [X[9:], Y[9:]]],
    "two workers": loader(TensorDataset(X), num_workers=2),
}


@pytest.mark.filterwarnings("ignore:The data yields")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of fork beside threads, which workers need
@pytest.mark.parametrize("name", RIGHT)
def test_loaders_give_the_rows_that_they_hold(name):
    programs = small_vae()
    torch.testing.assert_close(
        estimate_elbo(*programs, RIGHT[name]).value, estimate_elbo(*programs, X).value, atol=1e-5, rtol=1e-5
    )


WRONG = {
    "dict batches": (loader(Items(lambda i: {"image": X[i]})), "a dict with the keys 'image'. Give a tuple"),
    "text": (loader(Items(lambda i: "seven")), "Expected x as real numbers; got text"),
    "numbers alone": (loader(Items(lambda i: float(i))), r"x of shape \(N, 6\); got \(\d+,\)"),
    "rows of other widths": (
        [(X[:9],), (X[9:, :5],)],
        r"got \(9, 6\) and \(21, 5\)|shape \(N, 6\); got \(21, 5\)",
    ),
    "three parts": (loader(TensorDataset(X, Y, Y)), "at most 1 input, which the programs take; got 3"),
    "no rows": (TensorDataset(X[:0]), "at least one row"),
    "a data set of splits": (lambda: load_dataset("digits"), "a DataSet of three splits. Give one"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("function", [estimate_elbo, log_likelihood, fit], ids=lambda f: f.__name__)
def test_loaders_of_something_else_end_in_one_sentence(function, name):
    data, message = WRONG[name]
    with pytest.raises(InputError, match=message):
        function(*small_vae(), data() if callable(data) else data, **(QUICK if function is fit else {}))


UNFIT = {
    "no batch": (loader(TensorDataset(X), batch_size=400, drop_last=True), "less than one batch of 400"),
    "iterable": (loader(Stream()), "Dataset with a length"),
    "generator": (((part,) for part in X.split(11)), "which can be read once. Give a list"),
    "empty list": ([], "at least one row"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_training_data_that_cannot_be_read_again_ends_in_one_sentence(name):
    data, message = UNFIT[name]
    with pytest.raises(InputError, match=message):
        fit(*small_vae(), data, **QUICK)


def test_a_loader_that_shuffles_repeats_by_the_seed_and_leaves_the_random_state():
    losses = []
    for seed in (3, 3, 4):
        torch.manual_seed(len(losses))
        state = torch.get_rng_state()
        data = loader(TensorDataset(X), sampler=RandomSampler(X))
        losses.append(fit(*small_vae(), data, **QUICK | {"seed": seed}).history[-1]["loss"])
        assert torch.equal(torch.get_rng_state(), state)
    assert losses[0] == losses[1] != losses[2]


def test_rows_that_a_sampler_draws_are_those_that_are_scored():
    """A sampler that draws with replacement, or a part, is no order of the data set: the loader is read as it is."""
    drawn = loader(TensorDataset(X), sampler=RandomSampler(X, replacement=True, num_samples=30))
    encoded = torch.cat([part for (part,) in as_blocks(drawn)])
    assert len(encoded) == 30 > len(encoded.unique(dim=0))
    part = loader(TensorDataset(X), sampler=RandomSampler(X, num_samples=12))
    assert len(estimate_elbo(*small_vae(), part).value) == 12


def test_rows_without_their_label_are_reported_once():
    programs = small_vae()
    with pytest.warns(UserWarning, match="they run without y") as printed:
        fit(*programs, loader(TensorDataset(X, Y)), **QUICK)
    assert len(printed) == 1


class Labelled(nn.Module):
    """A program of rows and labels: `x ~ N(z + label, 1)` in one column."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(()))

    def forward(self, x, y):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z + y[:, None] + self.shift, 1.0).to_event(1), obs=x)


class Exact(nn.Module):
    """The posterior of `Labelled` at shift 0."""

    def forward(self, x, y):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal((x - y[:, None]) / 2, 0.5**0.5).to_event(1))


ONE = X[:, :1]


@pytest.mark.parametrize(
    "data",
    [
        (ONE, Y),
        (ONE.numpy(), Y.numpy()),
        (ONE.double(), Y.int()),
        TensorDataset(ONE, Y),
        loader(TensorDataset(ONE, Y)),
        loader(TensorDataset(ONE, Y), shuffle=True),
        [(ONE[:13], Y[:13]), (ONE[13:], Y[13:])],
        Items(lambda i: (ONE[i], Y[i])),
    ],
    ids=["tensors", "arrays", "other types", "TensorDataset", "DataLoader", "shuffled", "batches", "Dataset"],
)
def test_context_goes_with_its_rows(data):
    """log p(x | y) of a linear Gaussian model, whose guide is the posterior: each estimate is exact."""
    exact = dist.Normal(Y.double(), 2**0.5).log_prob(ONE[:, 0].double())
    programs = Labelled(), Exact()
    torch.testing.assert_close(estimate_elbo(*programs, data).value, exact, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(log_likelihood(*programs, data, 5).value, exact, atol=1e-5, rtol=1e-5)
    result = fit(*programs, data, data, **QUICK)
    assert result.history[0]["validation"]["elbo"] == pytest.approx(float(exact.mean()), abs=0.1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (ONE, "Expected 2 inputs, x and context, which the programs take; got 1"),
        (TensorDataset(ONE), "Expected 2 inputs"),
        ((ONE, Y, Y), "at most 2 inputs, which the programs take; got 3"),
        ((ONE, Y[:4]), "context 1 with one entry for each of the 30 rows; got shape"),
        ((ONE, ["a"] * 30), "context 1 as real numbers; got text"),
        (loader(Items(lambda i: (ONE[i], "a"))), "context 1 as real numbers; got text"),
    ],
    ids=["none", "none in a set", "too much", "another length", "text", "text in a loader"],
)
def test_context_that_does_not_fit_ends_in_one_sentence(data, message):
    for function in (estimate_elbo, log_likelihood):
        with pytest.raises(InputError, match=message):
            function(Labelled(), Exact(), data)
    with pytest.raises(InputError, match=message):
        fit(Labelled(), Exact(), data, **QUICK)


def test_model_and_guide_of_other_inputs_are_refused():
    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, 1.0).to_event(1))

    with pytest.raises(InputError, match="model and guide to take the same inputs; one needs 2"):
        estimate_elbo(Labelled(), guide, (ONE, Y))


def test_settings_with_defaults_are_no_inputs():
    """`model(x, strength=1.0)` given (x, y) does not take y for the strength."""

    def model(x, strength=1.0):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(strength * z, 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 0.5**0.5).to_event(1))

    exact = dist.Normal(0.0, 2**0.5).log_prob(ONE[:, 0].double())
    with pytest.warns(UserWarning, match="without y"):
        found = estimate_elbo(model, guide, (ONE, Y)).value
    torch.testing.assert_close(found, exact, atol=1e-5, rtol=1e-5)


def test_double_precision_functions_are_found_by_what_they_call():
    network = nn.Linear(1, 1).double()

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(0 * network(z) + z, 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 0.5**0.5).to_event(1))

    exact = dist.Normal(0.0, 2**0.5).log_prob(ONE[:, 0].double())
    for data in (ONE, ONE.numpy(), ONE.tolist(), np.asarray(ONE, dtype=np.float64)):
        torch.testing.assert_close(estimate_elbo(model, guide, data).value, exact, atol=1e-6, rtol=1e-6)


def test_no_warning_if_nothing_is_dropped():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(*small_vae(), loader(TensorDataset(X)), **QUICK)
