"""One generic test over all likelihoods: shapes, particles, gradients, saving, modes, chunks, and truth."""

import copy

import pytest
import torch
from helpers import assert_within_sigma
from programs import DATA_DIM, copied, rows, small_vae
from torch import nn

from pyro_vae import ELBO, DiagonalNormalGuide, GenerativeModel, Standardize, StandardNormal, fit
from pyro_vae._checks import InputError
from pyro_vae.experiment.checkpoint import load_weights, save_weights
from pyro_vae.likelihoods import LIKELIHOODS
from pyro_vae.networks import ACTIVATIONS, MLP, mlp_decoder, mlp_encoder

every_likelihood = pytest.mark.parametrize("likelihood", LIKELIHOODS)


@every_likelihood
def test_shapes_with_any_leading_dimensions(likelihood):
    model, guide = small_vae(likelihood)
    x = rows(likelihood, 7)
    posterior = guide.posterior(x.expand(3, 7, DATA_DIM))
    assert posterior.batch_shape == (3, 7)
    assert posterior.event_shape == (2,)
    z = posterior.rsample((4,))
    p = model.likelihood(model.decoder(z))
    assert p.batch_shape == (4, 3, 7)
    assert p.event_shape == (DATA_DIM,)
    assert p.log_prob(x).shape == (4, 3, 7)


@every_likelihood
@pytest.mark.parametrize("num_particles", [1, 3])
def test_every_parameter_gets_a_gradient(likelihood, num_particles):
    model, guide = small_vae(likelihood)
    ELBO(num_particles)(model, guide)(rows(likelihood)).backward()
    for program in (model, guide):
        for name, parameter in program.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


@every_likelihood
def test_the_first_loss_is_near_that_of_the_independent_distribution(likelihood):
    model, guide = small_vae(likelihood)
    x = rows(likelihood, 2000)
    independent = model.likelihood(torch.zeros(model.likelihood.num_outputs)).log_prob(x).mean()
    loss_per_column = ELBO(10)(model, guide)(x).item() / DATA_DIM
    assert loss_per_column == pytest.approx(-independent.item() / DATA_DIM, abs=0.3)


@every_likelihood
def test_saved_and_loaded_weights_give_the_same_loss_to_the_bit(likelihood, tmp_path):
    model, guide = small_vae(likelihood)
    others = small_vae(likelihood, seed=1)
    save_weights(tmp_path / "w.safetensors", model, guide)
    load_weights(tmp_path / "w.safetensors", *others)

    def loss(pair):
        torch.manual_seed(2)
        return ELBO()(*pair)(rows(likelihood))

    assert torch.equal(loss((model, guide)), loss(others))


@every_likelihood
def test_modes_copies_and_representations(likelihood):
    model, guide = small_vae(likelihood)
    for program in (model, guide):
        assert type(program).__name__ in repr(program)
        twin = copy.deepcopy(program).eval()
        assert not twin.training
        assert all(torch.equal(a, b) for a, b in zip(twin.parameters(), program.parameters(), strict=True))


@every_likelihood
def test_chunks_make_no_difference(likelihood):
    model, guide = small_vae(likelihood)
    x = rows(likelihood, 23)
    whole, chunked = guide.encode(x, batch_size=100), guide.encode(x, batch_size=5)
    torch.testing.assert_close(whole.mean, chunked.mean)
    torch.testing.assert_close(whole.stddev, chunked.stddev)
    z = whole.mean
    torch.testing.assert_close(model.decode(z, batch_size=100).mean, model.decode(z, batch_size=5).mean)
    torch.testing.assert_close(
        model.reconstruct(x, guide, batch_size=100), model.reconstruct(x, guide, batch_size=4)
    )
    assert not z.requires_grad
    assert model.sample(23, batch_size=5).shape == (23, DATA_DIM)


@every_likelihood
def test_samples_have_the_moments_of_the_model(likelihood):
    model, _ = small_vae(likelihood)
    drawn = model.sample(40000).double()
    z = torch.randn(40000, 2)
    p = model.decode(z)
    mean = p.mean.double().mean(0)
    assert_within_sigma(drawn.mean(0), mean, 2**0.5 * drawn.std(0) / 40000**0.5)
    if likelihood in ("categorical", "discretized-logistic", "logistic-mixture"):
        return  # their distributions have no variance in closed form
    variance = p.variance.double().mean(0) + p.mean.double().var(0)
    centred = (drawn - mean).square()
    assert_within_sigma(centred.mean(0), variance, 2 * centred.std(0) / 40000**0.5)


def test_a_call_without_x_samples_and_with_x_returns_it():
    model, _ = small_vae()
    assert model().shape == (1, DATA_DIM)
    assert model(num_rows=5).shape == (5, DATA_DIM)
    x = rows()
    assert model(x) is x


def test_other_precision_and_device_move():
    model, guide = small_vae()
    model.double(), guide.double()
    assert ELBO()(model, guide)(rows().double()).dtype == torch.float64
    assert model.sample(3).dtype == torch.float64


def test_the_encoder_sees_standardized_rows():
    x = rows(count=500)
    z = Standardize(x.mean(0), x.std(0))(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(DATA_DIM), rtol=0, atol=1e-5)
    torch.testing.assert_close(z.std(0), torch.ones(DATA_DIM))
    assert set(copied(Standardize(x.mean(0), x.std(0)))) == {"loc", "scale"}


def test_dropout_hides_columns_in_training_alone():
    x = rows(count=500)
    encoder = mlp_encoder(x.mean(0), x.std(0), (8,), 4, dropout=0.5)
    assert not torch.equal(encoder(x), encoder(x))
    encoder.eval()
    plain = mlp_encoder(x.mean(0), x.std(0), (8,), 4)
    plain.load_state_dict(encoder.state_dict())
    assert torch.equal(encoder(x), plain(x))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_networks_have_the_widths_requested(activation):
    network = mlp_decoder(2, (7, 5), 3, activation)
    widths = [layer.out_features for layer in network if isinstance(layer, nn.Linear)]
    inputs = 2 if activation == "glu" else 1
    assert widths == [inputs * 5, inputs * 7, 3]
    assert network(torch.zeros(4, 2)).shape == (4, 3)
    assert isinstance(network[1], ACTIVATIONS[activation])


def test_glu_gates_one_linear_map_by_another():
    network = MLP(2, (4,), 3, "glu")
    first, _, last = network
    h = torch.randn(5, 2)
    (w, v), (b, c) = first.weight.chunk(2), first.bias.chunk(2)
    expected = last((h @ w.T + b) * torch.sigmoid(h @ v.T + c))
    torch.testing.assert_close(network(h), expected)


def test_a_network_without_hidden_layers_is_linear():
    network = MLP(2, (), 3)
    a, b = torch.randn(2, 4, 2)
    torch.testing.assert_close(network(a + b) + network(torch.zeros(2)), network(a) + network(b))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m, g: m(torch.zeros(4, 2, 3)),
            r"x of shape \(N, 6\); got \(4, 2, 3\)\. Flatten images first\.",
        ),
        (lambda m, g: m(torch.zeros(4, 5)), r"x of shape \(N, 6\); got \(4, 5\)\.$"),
        (lambda m, g: m(torch.zeros(6)), r"x of shape \(N, 6\); got \(6,\)\.$"),
        (lambda m, g: g(torch.zeros(4, 5)), r"x of shape \(N, 6\); got \(4, 5\)\.$"),
        (lambda m, g: m.decode(torch.zeros(4, 5)), r"z of shape \(N, 2\); got \(4, 5\)\.$"),
        (lambda m, g: m.sample(0), "num_rows to be a whole number of at least 1; got 0"),
        (lambda m, g: ELBO(num_particles=0), "num_particles to be a whole number of at least 1; got 0"),
        (lambda m, g: StandardNormal(2.5), "latent_dim to be a whole number of at least 1; got 2.5"),
        (lambda m, g: MLP(2, (0,), 3), "width to be a whole number of at least 1; got 0"),
        (lambda m, g: MLP(2, (4,), 3, "sigmoidal"), "activation to be one of relu, .*; got 'sigmoidal'"),
        (lambda m, g: Standardize(torch.zeros(3), torch.zeros(3)), "scale to be above 0"),
        (
            lambda m, g: mlp_encoder(torch.zeros(3), torch.ones(3), (4,), 2, dropout=1.0),
            r"dropout in \[0, 1\)",
        ),
        (lambda m, g: Standardize(torch.zeros(3), torch.ones(2)), r"got \(3,\) and \(2,\)"),
    ],
)
def test_bad_calls_end_in_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call(*small_vae())


def test_the_guide_starts_at_the_prior():
    _, guide = small_vae()
    posterior = guide.posterior(rows(count=1000))
    prior = torch.distributions.Normal(torch.zeros(2), torch.ones(2))
    kl = torch.distributions.kl_divergence(posterior.base_dist, prior).sum(-1)
    assert kl.mean() < 0.1


def test_types_are_exported():
    model, guide = small_vae()
    assert isinstance(model, GenerativeModel)
    assert isinstance(guide, DiagonalNormalGuide)


@pytest.mark.parametrize("width", [2, 5, 24])
def test_a_decoder_of_another_width_is_refused(width):
    """Of two outputs location and scale of one column would be broadcast to all."""
    model, guide = small_vae()
    model.decoder = nn.Linear(2, width)
    with pytest.raises(InputError, match=f"a decoder of 12 outputs, .*; got {width}"):
        fit(model, guide, rows(), epochs=1, progress=False)
    with pytest.raises(InputError, match=f"a decoder of 12 outputs, .*; got {width}"):
        model.decode(torch.zeros(3, 2))


def test_batch_norm_with_one_row_is_refused():
    model, guide = small_vae()
    model.decoder = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 12))
    with pytest.raises(InputError, match="choose a batch_size that leaves no batch of one row"):
        fit(model, guide, rows(count=9), batch_size=4, epochs=1, progress=False)
