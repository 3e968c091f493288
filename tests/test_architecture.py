"""Networks from an architecture: shapes, layout of the outputs, context, and an architecture of a user's own."""

import math
from dataclasses import dataclass

import pytest
import torch
from programs import DENSE_GUIDES
from torch import nn
from torch.nn.functional import one_hot

from pyro_vae import ELBO, IWAE, estimate_elbo, fit
from pyro_vae._checks import InputError
from pyro_vae.experiment.build import build
from pyro_vae.experiment.config import ModelConfig
from pyro_vae.likelihoods import LIKELIHOODS, GaussianLikelihood
from pyro_vae.networks import MLPArchitecture, context_columns, mlp_decoder, mlp_encoder
from pyro_vae.networks.architecture import num_positions, standardized_encoder

SHAPES = [(24,), (4, 6), (1, 4, 6), (3, 2, 4)]
N, CLASSES = 12, 3
LABELS = torch.arange(N) % CLASSES
ONE_HOT = one_hot(LABELS, CLASSES)


def rows(shape, likelihood="gaussian"):
    torch.manual_seed(0)
    x = torch.rand(N, math.prod(shape))
    return x.round() if LIKELIHOODS[likelihood].kind in ("binary", "integer") else x


def built(shape=(24,), likelihood="gaussian", **changes):
    config = ModelConfig(likelihood=likelihood, latent_dim=2, hidden=(8,), scale_floor=0.01, fixed_scale=0.5)
    x = rows(shape, likelihood).double()
    return build(config, x.mean(0), x.std(0), data_shape=shape, levels=2, **changes)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_decoder_returns_the_parameters_of_each_position(shape, likelihood):
    model, guide = built(shape, likelihood)
    outputs = model.likelihood.outputs_per_position(shape)
    positions = num_positions(model.likelihood.decoder_shape(shape))
    assert outputs * positions == model.likelihood.num_outputs
    assert estimate_elbo(model, guide, rows(shape, likelihood)).value.isfinite().all()


def test_positions_are_pixels_or_columns():
    assert [num_positions(shape) for shape in SHAPES] == [24, 24, 24, 8]
    color = GaussianLikelihood(torch.zeros(24), torch.ones(24), 0.1)
    assert [color.outputs_per_position(shape) for shape in SHAPES] == [2, 2, 2, 6]
    with pytest.raises(InputError, match=r"a shape of 24 entries, as many as a row has; got \(5, 5\)"):
        color.outputs_per_position((5, 5))


def test_the_networks_of_mlp_are_those_of_its_two_functions():
    made, x = MLPArchitecture((8, 5), "glu", 0.2), rows((24,))
    networks = []
    for of_architecture in (True, False):
        torch.manual_seed(1)
        if of_architecture:
            encoder = standardized_encoder(made, x.mean(0), x.std(0), (24,), 4)
            decoder = made.decoder(2, 2, (4, 6))
        else:
            encoder = mlp_encoder(x.mean(0), x.std(0), (8, 5), 4, "glu", 0.2)
            decoder = mlp_decoder(2, (8, 5), 48, "glu")
        torch.manual_seed(2)
        networks.append((encoder.state_dict(), decoder.state_dict(), encoder(x), decoder(x[:, :2])))
    first, second = networks
    for a, b in zip(first[:2], second[:2], strict=True):
        assert list(a) == list(b)
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert all(torch.equal(a, b) for a, b in zip(first[2:], second[2:], strict=True))


# Context.


def test_context_columns():
    like, real, table = torch.zeros(N, 2), torch.randn(N), torch.randn(N, 2)
    expected = torch.cat([real[:, None], ONE_HOT, table], dim=1)
    assert torch.equal(context_columns((real, LABELS, table), 6, like), expected)
    assert torch.equal(context_columns((real, ONE_HOT, table), 6, like), expected)
    assert torch.equal(context_columns((LABELS.to(torch.uint8),), 3, like), ONE_HOT)
    assert torch.equal(context_columns((real > 0,), 1, like)[:, 0], (real > 0).float())
    assert context_columns((real, table), 3, like.double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("context", "width", "message"),
    [
        ((LABELS,), 2, r"labels from 0 to 1, .* got 0 to 2"),
        ((LABELS - 1,), 3, r"labels from 0 to 2, .* got -1 to 1"),
        ((LABELS, LABELS), 6, "at most one tensor of labels"),
        ((ONE_HOT,), 4, r"context of 4 columns in all, .* got the shapes \(12, 3\)"),
        ((ONE_HOT, LABELS), 3, "context of 3 columns in all"),
    ],
)
def test_context_of_another_width_is_refused(context, width, message):
    with pytest.raises(InputError, match=message):
        context_columns(context, width, torch.zeros(N, 2))


@pytest.mark.parametrize("guide", DENSE_GUIDES)
def test_labels_and_their_one_hot_code_are_alike(guide):
    x, config = rows((24,)), ModelConfig(guide=guide, latent_dim=2, hidden=(8,), scale_floor=0.01)
    pair = build(config, x.mean(0), x.std(0), context_dim=CLASSES)
    with_labels, with_code, others = (
        estimate_elbo(*pair, (x, y), 3).value for y in (LABELS, ONE_HOT.float(), LABELS.roll(1))
    )
    torch.testing.assert_close(with_labels, with_code)
    assert not torch.allclose(with_labels, others)
    ELBO(2)(*pair)(x, LABELS).backward()
    for program in pair:
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in program.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_with_labels(precision):
    x = rows((24,))
    config = ModelConfig(latent_dim=2, hidden=(8,), scale_floor=0.01, precision=precision, dropout=0.2)
    pair = build(config, x.mean(0), x.std(0), context_dim=CLASSES)
    result = fit(*pair, (x, LABELS), (x, LABELS), epochs=30, progress=False, seed=0, device="cpu")
    first, last = (result.history[line]["validation"]["elbo"] for line in (0, -1))
    assert last > first


# An architecture of a user's own.


@dataclass(frozen=True)
class Convolutional:
    """One convolution and one transposed convolution; context is joined to the features."""

    channels: int = 4

    def encoder(self, data_shape, out_features, context_dim=0):
        return Encoder(image_shape(data_shape), self.channels, out_features, context_dim)

    def decoder(self, in_features, outputs_per_position, data_shape, context_dim=0):
        shape = (outputs_per_position, *image_shape(data_shape)[1:])
        return Decoder(in_features, self.channels, shape, context_dim)


def image_shape(data_shape):
    """Return (channels, height, width)."""
    return (1,) * (3 - len(data_shape)) + tuple(data_shape)


class Encoder(nn.Module):
    def __init__(self, shape, channels, out_features, context_dim):
        super().__init__()
        self.shape = shape
        self.convolution = nn.Sequential(
            nn.Conv2d(shape[0], channels, 3, padding=1), nn.BatchNorm2d(channels), nn.SiLU(), nn.Flatten()
        )
        self.last = nn.Linear(channels * shape[1] * shape[2] + context_dim, out_features)

    def forward(self, x, y=None):
        features = self.convolution(x.unflatten(1, self.shape))
        return self.last(features if y is None else torch.cat([features, y], dim=1))


class Decoder(nn.Module):
    def __init__(self, in_features, channels, shape, context_dim):
        super().__init__()
        self.shape = (channels, shape[1] // 2, shape[2] // 2)
        self.first = nn.Linear(in_features + context_dim, math.prod(self.shape))
        self.last = nn.ConvTranspose2d(channels, shape[0], 4, stride=2, padding=1)

    def forward(self, z, y=None):
        features = self.first(z if y is None else torch.cat([z, y], dim=1)).unflatten(1, self.shape)
        return self.last(features.relu()).flatten(1)


@pytest.mark.parametrize("shape", SHAPES[1:])
@pytest.mark.parametrize("context_dim", [0, CLASSES])
def test_a_convolutional_architecture_of_a_users_own(shape, context_dim):
    data = (rows(shape), ONE_HOT.float())[: 1 + bool(context_dim)]
    model, guide = built(shape, architecture=Convolutional(), context_dim=context_dim)
    for objective in (ELBO(), IWAE(3)):
        fit(model, guide, data, data, objective=objective, epochs=2, progress=False, device="cpu", seed=0)
    assert guide.posterior(data[0].expand(3, *data[0].shape), *data[1:]).batch_shape == (3, N)
    assert model.reconstruct(data[0], guide, *data[1:]).shape == data[0].shape
    assert model.sample(N, *data[1:]).shape == data[0].shape


def test_feature_maps_have_the_order_that_the_likelihood_expects():
    """Of 6 maps the first three are the channels' locations, the others their scales."""
    shape = (3, 2, 4)
    model, _ = built(shape, architecture=Convolutional())
    nn.init.zeros_(model.decoder.last.weight)
    with torch.no_grad():
        model.decoder.last.bias.copy_(torch.tensor([0.0, 1.0, 2.0, -1.0, 0.0, 1.0]))
    p, likelihood = model.decode(torch.zeros(1, 2)), model.likelihood
    channel = torch.arange(24) // 8
    torch.testing.assert_close(p.mean[0], likelihood.mean + likelihood.std * channel)
    torch.testing.assert_close(p.stddev[0], likelihood.scale(channel - 1.0))
