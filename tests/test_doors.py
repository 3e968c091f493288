"""The same rows give the same numbers through every door, in every function that takes data."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pyro_vae import (
    Annealing,
    DiagonalNormalGuide,
    GenerativeModel,
    ResampledPosterior,
    RowFit,
    StandardNormal,
    annealed_log_likelihood,
    bidirectional_bounds,
    estimate_elbo,
    fit,
    inference_gaps,
    iwae_curve,
    latent_summary,
    log_likelihood,
    log_weights,
    mlp_decoder,
    mlp_encoder,
    plots,
    to_arviz,
)
from pyro_vae.data import AsFloat, Split
from pyro_vae.data.row_tensors import TensorRows
from pyro_vae.evaluate.hmc import HMC
from pyro_vae.likelihoods import GaussianLikelihood

N, CHANNELS, HEIGHT, WIDTH, LATENT = 7, 3, 2, 5, 2
D = CHANNELS * HEIGHT * WIDTH
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
CODES = np.random.default_rng(1).normal(size=(N, LATENT)).astype(np.float32)


class Rows(Dataset):
    """A map-style data set of rows."""

    def __init__(self, x):
        self.x = torch.tensor(x)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i]


def as_split(x):
    return Split("data", TensorRows(torch.tensor(x)), np.arange(len(x)), AsFloat())


def strided(x):
    wide = np.zeros((2 * len(x), 2 * x.shape[1]), x.dtype)
    wide[::2, ::2] = x
    return wide[::2, ::2]


def with_labels(x):
    return DataLoader(TensorDataset(torch.tensor(x), torch.arange(len(x))), batch_size=3)


DOORS = {
    "float32 array": lambda x: x,
    "float64 array": lambda x: x.astype(np.float64),
    "big-endian array": lambda x: x.astype(">f8"),
    "Fortran order": np.asfortranarray,
    "negative strides": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "every second entry": strided,
    "float64 tensor": lambda x: torch.tensor(x).double(),
    "tensor with a gradient": lambda x: torch.tensor(x, requires_grad=True),
    "inference tensor": lambda x: torch.inference_mode()(lambda: torch.tensor(x) * 1)(),
    "list": lambda x: x.tolist(),
    "list of tensors": lambda x: list(torch.tensor(x)),
    "DataFrame": lambda x: pd.DataFrame(x, columns=[f"c{i}" for i in range(x.shape[1])]),
    "masked array without mask": np.ma.asarray,
    "tuple": lambda x: (torch.tensor(x),),
    "Split": as_split,
    "TensorDataset": lambda x: TensorDataset(torch.tensor(x)),
    "Dataset": Rows,
    "DataLoader": lambda x: DataLoader(Rows(x), batch_size=3),
    "DataLoader that shuffles": lambda x: DataLoader(Rows(x), batch_size=3, shuffle=True),
    "DataLoader that drops": lambda x: DataLoader(Rows(x), batch_size=5, drop_last=True),
    "DataLoader of (x, y)": with_labels,
    "batches of tuples": lambda x: [(part,) for part in torch.tensor(x).split(3)],
    "batches of arrays": lambda x: [(x[:2],), (x[2:],)],
}
IMAGES = {
    "(N, H, W)": lambda x: x.reshape(N, HEIGHT, -1),
    "(N, 1, D)": lambda x: x[:, None],
    "(N, C, H, W)": lambda x: x.reshape(N, CHANNELS, HEIGHT, WIDTH),
    "(N, H, W, C)": lambda x: x.reshape(N, CHANNELS, HEIGHT, WIDTH).transpose(0, 2, 3, 1),
    "DataLoader of (C, H, W)": lambda x: DataLoader(
        Rows(x.reshape(N, CHANNELS, HEIGHT, WIDTH)), batch_size=3
    ),
}


def programs():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mean, std = torch.tensor(X).mean(0), torch.tensor(X).std(0)
        likelihood = GaussianLikelihood(mean, std, scale_floor=0.01)
        decoder = mlp_decoder(LATENT, (8,), likelihood.num_outputs, "silu")
        encoder = mlp_encoder(mean, std, (8,), 2 * LATENT, "silu")
        return GenerativeModel(StandardNormal(LATENT), decoder, likelihood), DiagonalNormalGuide(encoder)


MODEL, GUIDE = programs()
SHORT = Annealing(num_temperatures=3, num_chains=2, num_warmup=2, hmc=HMC(num_leapfrog=1))


def elbo(data):
    return estimate_elbo(MODEL, GUIDE, data).value


def annealed(data):
    return annealed_log_likelihood(MODEL, GUIDE, data, SHORT, num_simulated=0).value


def simulated(data):
    bounds = bidirectional_bounds(MODEL, GUIDE, data, SHORT)
    return torch.stack([bounds.lower, bounds.upper])


def gaps(data):
    found = inference_gaps(MODEL, GUIDE, data, fit=RowFit(num_steps=2, num_particles=2), num_samples=8)
    return torch.stack([found.log_prob.value, found.diagonal.value, found.amortized.value])


def summary(data):
    found = latent_summary(MODEL, GUIDE, data, num_samples=3)
    return torch.tensor([found.kl, *found.mutual_information, *found.mean_variance])


def arviz(data):
    exported = to_arviz(MODEL, GUIDE, data, posterior=ResampledPosterior(4, 2, 8))
    return torch.tensor(
        np.concatenate(
            [exported["posterior"]["z"].values.ravel(), exported["observed_data"]["x"].values.ravel()]
        )
    )


def picture(data):
    ax = plots.reconstructions(data, X, (CHANNELS, HEIGHT, WIDTH), value_range=(-3, 3))
    return torch.tensor(np.asarray(ax.images[0].get_array()))


FUNCTIONS = {
    "estimate_elbo": elbo,
    "log_likelihood": lambda data: log_likelihood(MODEL, GUIDE, data, num_samples=30).value,
    "log_weights": lambda data: log_weights(MODEL, GUIDE, data, num_samples=3),
    "iwae_curve": lambda data: iwae_curve(MODEL, GUIDE, data, (1, 4)).value,
    "annealed_log_likelihood": annealed,
    "bidirectional_bounds": simulated,
    "inference_gaps": gaps,
    "latent_summary": summary,
    "to_arviz": arviz,
    "encode": lambda data: GUIDE.encode(data).mean,
    "reconstruct": lambda data: MODEL.reconstruct(data, GUIDE),
    "plots.reconstructions": picture,
}


COSTLY = {"annealed_log_likelihood", "bidirectional_bounds", "inference_gaps"}
KINDS_OF_DOOR = {
    *(
        "float64 array",
        "big-endian array",
        "float64 tensor",
        "list",
        "DataFrame",
        "tuple",
        "Split",
        "TensorDataset",
    ),
    *("Dataset", "DataLoader that shuffles", "DataLoader of (x, y)", "batches of tuples", "(N, H, W, C)"),
}
QUICK_DOORS, QUICK_FUNCTIONS = {"float64 array", "DataLoader"}, {"log_likelihood", "encode"}
PAIRS = [
    pytest.param(
        door,
        function,
        marks=[] if door in QUICK_DOORS or function in QUICK_FUNCTIONS else [pytest.mark.slow],
    )
    for door in DOORS | IMAGES
    for function in FUNCTIONS
    if function not in COSTLY or door in KINDS_OF_DOOR
]


@pytest.fixture(scope="module")
def truth():
    return cache(lambda name: FUNCTIONS[name](torch.tensor(X)))


@pytest.mark.filterwarnings("ignore:The data yields")
@pytest.mark.parametrize(("door", "function"), PAIRS)
def test_the_same_rows_give_the_same_numbers(door, function, truth):
    data = (DOORS | IMAGES)[door](X)
    torch.testing.assert_close(FUNCTIONS[function](data), truth(function), atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:The data yields")
@pytest.mark.parametrize("door", DOORS)
def test_codes_come_through_the_same_doors(door):
    codes = DOORS[door](CODES)
    expected = MODEL.decode(torch.tensor(CODES)).mean
    torch.testing.assert_close(MODEL.decode(codes).mean, expected, atol=1e-5, rtol=1e-5)
    drawn = [np.asarray(c.get_offsets())[:, 0] for c in plots.latent_space(DOORS[door](CODES)).collections]
    np.testing.assert_allclose(np.sort(np.concatenate(drawn)), np.sort(CODES[:, 0]), atol=1e-6)


AT_ONCE = [
    "float32 array",
    "float64 array",
    "big-endian array",
    "list",
    "DataFrame",
    "tuple",
    "Split",
    "Dataset",
    "TensorDataset",
]
IN_BATCHES = ["DataLoader", "DataLoader of (x, y)", "batches of tuples"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The data yields")
@pytest.mark.parametrize(
    "doors", [[*AT_ONCE, *IMAGES], [*IN_BATCHES, "DataLoader of (C, H, W)"]], ids=["rows", "batches"]
)
def test_fit_is_the_same_through_doors_of_one_order(doors):
    """Rows given at once are shuffled by the seed; batches keep their order."""
    histories = []
    for door in doors:
        if door == "DataLoader of (C, H, W)" and doors[0] != "DataLoader":
            continue
        model, guide = programs()
        data = (DOORS | IMAGES)[door](X)
        result = fit(model, guide, data, data, epochs=2, batch_size=3, seed=0, progress=False, compile="off")
        histories.append([[line["loss"], line["validation"]["elbo"]] for line in result.history])
    np.testing.assert_allclose(histories, np.broadcast_to(histories[0], np.shape(histories)), rtol=1e-5)


def test_posterior_takes_rows_that_are_no_tensor():
    for door in ("float64 tensor", "float64 array", "list", "DataFrame", "Split", "DataLoader", "tuple"):
        torch.testing.assert_close(
            GUIDE.posterior(DOORS[door](X)).mean, GUIDE.posterior(torch.tensor(X)).mean
        )
