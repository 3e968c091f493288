"""Convolutional networks: shapes, gradients, rows apart, and the same numbers as by hand."""

import itertools
import math

import pytest
import torch
from helpers import script
from torch.nn.functional import conv2d, conv_transpose2d
from torch.utils.data import DataLoader, TensorDataset

from pyro_vae import (
    ELBO,
    IWAE,
    STL,
    DiagonalNormalGuide,
    DReG,
    GenerativeModel,
    Renyi,
    ReweightedWakeSleep,
    SemiAmortizedGuide,
    StandardNormal,
    VampPrior,
    estimate_elbo,
    fit,
    load_dataset,
    load_run,
    log_likelihood,
)
from pyro_vae._checks import InputError
from pyro_vae.experiment.build import build, starting_rows
from pyro_vae.experiment.config import ModelConfig
from pyro_vae.experiment.num_products import num_products
from pyro_vae.likelihoods import BernoulliLikelihood
from pyro_vae.networks import Bfloat16Training, ConvolutionalArchitecture
from pyro_vae.settings.latents import names_for_latent

SHAPES = [(28, 28), (28, 20), (1, 9, 11), (3, 32, 32), (3, 17, 23)]
SETTINGS = [
    {},
    {"reduce": "max-pool", "upsample": "nearest", "residual": 1, "normalize": "group"},
    {"reduce": "average-pool", "dense": 0, "activation": "relu"},
    {"activation": "glu", "residual": 2, "stem": 4},
]


def networks(shape, context_dim=0, outputs=2, **settings):
    made = ConvolutionalArchitecture((4, 6, 8), **settings)
    return made.encoder(shape, 7, context_dim), made.decoder(7, outputs, shape, context_dim)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("context_dim", [0, 3])
def test_any_shape_there_and_back_with_gradients_for_all(shape, settings, context_dim):
    encoder, decoder = networks(shape, context_dim, **settings)
    context = (torch.tensor([0, 1, 2, 0]),) if context_dim else ()
    outputs = decoder(encoder(torch.randn(4, math.prod(shape)), *context), *context)
    assert outputs.shape == (4, 2 * math.prod(shape[-2:]))
    outputs.square().sum().backward()
    for parameter in (*encoder.parameters(), *decoder.parameters()):
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_row_does_not_depend_on_the_others(settings):
    encoder, decoder = networks((3, 16, 16), **settings)
    x = torch.randn(5, 3 * 256)
    both = decoder(encoder(x))
    alone = torch.cat([decoder(encoder(row[None])) for row in x])
    torch.testing.assert_close(both, alone, rtol=1e-4, atol=1e-5)


def test_the_encoder_is_a_convolution_of_the_image():
    made = ConvolutionalArchitecture((5,), dense=0, activation="relu")
    encoder = made.encoder((2, 6, 8), 3)
    x = torch.randn(4, 2 * 6 * 8)
    convolution, last = encoder.maps[0], encoder.dense[0]
    features = conv2d(x.view(4, 2, 6, 8), convolution.weight, convolution.bias, stride=2, padding=1).relu()
    expected = features.permute(0, 2, 3, 1).flatten(1) @ last.weight.T + last.bias
    torch.testing.assert_close(encoder(x), expected, rtol=1e-4, atol=1e-5)


def test_outputs_are_feature_maps_one_after_another():
    """The first outputs of all pixels are the locations, channel by channel; the scales follow."""
    made = ConvolutionalArchitecture((5,), dense=0, activation="relu")
    decoder = made.decoder(3, 2, (6, 8))
    z = torch.randn(4, 3)
    first, convolution = decoder.dense[0], decoder.maps[1]
    features = (z @ first.weight.T + first.bias).view(4, 3, 4, 5).permute(0, 3, 1, 2).relu()
    expected = conv_transpose2d(features, convolution.weight, convolution.bias, stride=2, padding=1)
    torch.testing.assert_close(decoder(z).view(4, 2, 6, 8), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("context_dim", [0, 3])
def test_a_convolution_as_head_keeps_the_positions_of_z(context_dim):
    """z is 2 maps of 4 x 5; a pixel of x reaches only the codes near it, locations first, then scales."""
    made = ConvolutionalArchitecture((4, 8), head="convolution")
    encoder, decoder = (
        made.encoder((3, 16, 20), 2 * 40, context_dim),
        made.decoder(40, 2, (16, 20), context_dim),
    )
    context = (torch.eye(3)[:1],) if context_dim else ()
    x = torch.zeros(1, 3, 16, 20)
    outputs = encoder(x.flatten(1), *context)
    x[0, 0, 0, 0] = 1.0
    moved = (encoder(x.flatten(1), *context) - outputs).view(2, 2, 4, 5).abs() > 0
    assert moved[..., :2, :2].any(0).any()
    assert not moved[..., 2:, :].any()
    assert not moved[..., 2:].any()
    assert decoder(outputs[:, :40], *context).shape == (1, 2 * 16 * 20)
    with pytest.raises(InputError, match=r"multiple of 4 x 5 = 20 numbers.*got 41"):
        made.decoder(41, 2, (16, 20))


def image_model(latent_dim=3, shape=(8, 8)):
    """Return a model and a guide for binary images."""
    made, size = ConvolutionalArchitecture((4, 8), dense=16), math.prod(shape)
    likelihood = BernoulliLikelihood(torch.full((size,), 0.3), torch.full((size,), 0.4))
    decoder = made.decoder(latent_dim, likelihood.outputs_per_position(shape), shape)
    return (
        GenerativeModel(StandardNormal(latent_dim), decoder, likelihood),
        DiagonalNormalGuide(made.encoder(shape, 2 * latent_dim)),
    )


def loader(x):
    return DataLoader(TensorDataset(x), batch_size=4)


@pytest.mark.parametrize(
    "container", [lambda x: x, lambda x: x.numpy(), lambda x: (x,), TensorDataset, loader, lambda x: [(x,)]]
)
@pytest.mark.parametrize(
    "use",
    [
        lambda model, guide, data: estimate_elbo(model, guide, data).mean,
        lambda model, guide, data: log_likelihood(model, guide, data, num_samples=2).mean,
        lambda model, guide, data: guide.encode(data).mean.sum(),
        lambda model, guide, data: fit(model, guide, data, epochs=1, progress=False).history[0]["loss"],
    ],
)
def test_images_of_another_shape_are_refused_and_the_own_one_is_taken_in_any_form(container, use):
    turned = (torch.rand(6, 12, 8) < 0.3).float()
    with pytest.raises(
        InputError, match=r"images x of shape \(8, 12\).*96 columns; got images of shape \(12, 8\)"
    ):
        use(*image_model(shape=(8, 12)), container(turned))
    upright = turned.reshape(6, 8, 12)
    values = []
    for form in (upright, upright[:, None], upright[..., None], upright.flatten(1)):
        torch.manual_seed(0)
        values.append(float(use(*image_model(shape=(8, 12)), container(form))))
    assert values == pytest.approx([values[-1]] * 4, rel=1e-5)


def test_colour_images_are_compared_channels_first():
    guide = DiagonalNormalGuide(ConvolutionalArchitecture((4,)).encoder((3, 8, 16), 4))
    x = torch.rand(2, 3, 8, 16)
    assert torch.equal(guide.encode(x.movedim(1, 3)).mean, guide.encode(x).mean)
    with pytest.raises(InputError, match=r"images x of shape \(3, 8, 16\).*got images of shape \(3, 16, 8\)"):
        guide.encode(x.mT)


def test_codes_are_no_images():
    """A VampPrior holds the guide's encoder, and z may be given as maps."""
    model, guide = image_model(4)
    model.prior = VampPrior(guide, torch.rand(3, 64))
    z = torch.randn(5, 4)
    assert torch.equal(model.decode(z.reshape(5, 1, 2, 2)).mean, model.decode(z).mean)


def test_a_convolution_costs_its_weights_at_each_pixel():
    """Of 1 -> 4 -> 8 maps and back: 4 x 4 weights at 4 x 4 and 2 x 2 pixels, in each direction."""
    pair = image_model()
    repeated = 2 * (16 * 4 * (16 - 1) + 16 * 32 * (4 - 1))
    assert num_products(load_dataset("digits"), *pair) == repeated + sum(w.numel() for w in weights(*pair))


@pytest.mark.slow
def test_particles_are_rows_of_their_own():
    model, guide = image_model()
    x = (torch.rand(6, 64) < 0.3).float()
    z = torch.randn(3, 6, 3)
    from pyro_vae._context import row_by_row

    together = row_by_row(model.decoder, z)
    torch.testing.assert_close(together[1], model.decoder(z[1]), rtol=1e-4, atol=1e-5)
    estimate = log_likelihood(model, guide, x, 50)
    assert torch.isfinite(estimate.value).all()


@pytest.mark.parametrize(
    "objective", [ELBO(), STL(), IWAE(3), DReG(3), Renyi(3), ReweightedWakeSleep(3)], ids=repr
)
def test_every_objective_trains_all_weights(objective):
    x = (torch.rand(20, 64) < 0.3).float()
    model, guide = image_model()
    before = [weight.clone() for weight in weights(model, guide)]
    fit(model, guide, x, epochs=1, batch_size=10, objective=objective, seed=0, compile="off", progress=False)
    assert all((now != then).any() for now, then in zip(weights(model, guide), before, strict=True))


def weights(*programs):
    return [weight for program in programs for weight in program.parameters()]


@pytest.mark.slow
def test_refined_codes_are_no_worse():
    """A semi-amortized guide starts at the encoder's and climbs each row's own bound through the convolutions."""
    model, guide = image_model()
    with torch.no_grad():
        for weight in model.decoder.parameters():  # so that x depends on z
            weight.mul_(2)
    x = (torch.rand(20, 64, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    refined = SemiAmortizedGuide(guide, model, num_steps=5)
    gain = (
        estimate_elbo(model, refined, x, 200, seed=0).value
        - estimate_elbo(model, guide, x, 200, seed=0).value
    )
    assert gain.mean() > 3 * gain.std() / len(x) ** 0.5


def test_bfloat16_stays_near_float32():
    """Products rounded to 8 bits move outputs by less than a few parts in a hundred."""
    _, decoder = networks((3, 16, 16))
    z = torch.randn(4, 7)
    exact = decoder(z).detach()
    rounded = Bfloat16Training(decoder).train()(z).detach()
    assert 0 < float((rounded - exact).norm() / exact.norm()) < 0.03


@pytest.mark.slow
def test_compiled_steps_are_those_of_the_handlers():
    x = (torch.rand(60, 64) < 0.3).float()
    losses = []
    for compiled in ("off", "on"):
        torch.manual_seed(0)
        model, guide = image_model()
        result = fit(model, guide, x, epochs=3, batch_size=30, seed=0, compile=compiled, progress=False)
        assert not result.note
        losses.append([line["loss"] for line in result.history])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize(
    ("guide", "prior"), list(itertools.product(names_for_latent("guide"), names_for_latent("prior")))
)
def test_every_guide_and_prior_is_built(guide, prior):
    dataset = load_dataset("digits")
    mean, std = dataset.statistics()
    config = ModelConfig(
        guide=guide, prior=prior, latent_dim=2, network="convolutional", channels=(4, 4), dense=8, scale_floor=0.01,
        prior_components=3 if prior in ("mixture", "vampprior") else None,
    )  # fmt: skip
    rows = starting_rows(config, dataset.train)
    model, made = build(config, mean, std, rows=rows, data_shape=(8, 8))
    if (guide, prior) == ("point", "vampprior"):
        with pytest.raises(InputError, match="guide with a density for a VampPrior"):
            model.prior()
        return
    z = made.encode(dataset.test.tensor()[:5]).sample()
    assert model.decode(z).mean.shape == (5, 64)
    assert torch.isfinite(model.prior().log_prob(z)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ConvolutionalArchitecture(()), "channels with at least one width"),
        (lambda: ConvolutionalArchitecture((4, 0)), "every width of channels"),
        (
            lambda: ConvolutionalArchitecture((4, 4, 4, 4)).encoder((8, 8), 2),
            "at least 16 x 16 pixels.*got 8 x 8",
        ),
        (lambda: ConvolutionalArchitecture((4,)).encoder((64,), 2), r"Expected images.*got \(64,\)"),
        (
            lambda: ConvolutionalArchitecture(reduce="drop"),
            "reduce to be one of stride, max-pool, average-pool",
        ),
        (lambda: ConvolutionalArchitecture(normalize="batch"), "normalize to be one of none, group"),
        (lambda: ConvolutionalArchitecture(head="none"), "head to be one of dense, convolution"),
        (lambda: ConvolutionalArchitecture(stem=-1), "stem"),
    ],
)
def test_what_cannot_be_built_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.slow
def test_a_run_is_trained_resumed_and_read_back(tmp_path, capsys):
    out = tmp_path / "run"
    small = [
        "--network",
        "convolutional",
        "--channels",
        4,
        8,
        "--dense",
        16,
        "--latent-dim",
        2,
        "--compile",
        "off",
    ]
    assert script(*small, "--epochs", 1, "--evaluate", "none", "--out", out) == 0
    assert "networks   convolutional, 64-4@-8@-16-2, mirrored" in capsys.readouterr().out
    assert script("--resume", out, "--epochs", 2) == 0
    run = load_run(out)
    assert run.model.reconstruct(load_dataset("digits").test.tensor()[:3], run.guide).shape == (3, 64)
    assert script("--network", "convolutional", "--hidden", 8, "--out", tmp_path / "other") == 2
    assert "no --hidden with --network convolutional" in capsys.readouterr().err
