"""Context taken from a data set: labels, columns of a table, quadrants of an image, and labels that are hidden."""

import numpy as np
import pytest
import torch

from pyro_vae import load_dataset, log_likelihood
from pyro_vae._checks import InputError
from pyro_vae.data.contexts import ClassContext, context_from_json, context_to_json
from pyro_vae.data.entry_context import with_columns, with_quadrants
from pyro_vae.data.label_context import with_labels
from pyro_vae.data.new_rows import rows_like
from pyro_vae.data.partial_labels import with_labels_hidden
from pyro_vae.data.row_format import RowFormat
from pyro_vae.experiment.build import build
from pyro_vae.experiment.config import ModelConfig

ROWS = 60


@pytest.fixture
def images(tmp_path):
    random = np.random.default_rng(0)
    x = random.integers(0, 17, (ROWS, 5, 4)).astype(np.uint8)
    np.savez(tmp_path / "images.npz", x=x, labels=np.arange(ROWS) % 3)
    return tmp_path / "images.npz"


@pytest.fixture
def table(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, 3)) * [1, 10, 0.1] + [0, 5, 100]
    lines = [",".join(map(str, [*row, "abc"[i % 3]])) for i, row in enumerate(x.round(4))]
    (tmp_path / "table.csv").write_text("\n".join(["u,v,w,label", *lines]) + "\n")
    return tmp_path / "table.csv"


def test_labels_are_context_with_their_names(table):
    labelled = with_labels(load_dataset(table))
    assert labelled.context == ClassContext(("a", "b", "c"))
    for split in (labelled.train, labelled.validation, labelled.test):
        assert torch.equal(split.context[0], split.labels)
        assert "given the class" in split.description


def test_classes_without_names_are_those_of_training_rows(tmp_path):
    x, labels = np.random.default_rng(0).normal(size=(ROWS, 2)), np.where(np.arange(ROWS) % 2, 7, 3)
    np.savez(tmp_path / "x.npz", x=x, labels=labels)
    labelled = with_labels(load_dataset(tmp_path / "x.npz"))
    assert labelled.context.classes == ("3", "7")
    assert set(labelled.train.context[0].tolist()) == {0, 1}


def test_columns_are_standardized_by_training_rows(table):
    whole = load_dataset(table)
    divided = with_columns(whole, ["w", "v"])
    assert divided.data_shape == (1,)
    assert divided.column_names == ("u",)
    given = divided.train.context[0]
    assert torch.allclose(given.mean(0), torch.zeros(2), atol=1e-4)
    assert torch.allclose(given.std(0, correction=0), torch.ones(2), atol=1e-4)
    joined = divided.context.joined(*divided.test.tensors())
    assert torch.allclose(joined, whole.test.tensor(), rtol=1e-5, atol=1e-5)
    mean, std = divided.statistics()
    for own, all_columns in zip((mean, std), whole.statistics(), strict=True):
        assert torch.equal(own, all_columns[:1])


@pytest.mark.parametrize(("count", "given"), [(1, 3 * 2), (2, 5 * 2), (3, 5 * 4 - 3 * 2)])
def test_quadrants_part_an_image(images, count, given):
    whole = load_dataset(images, likelihood_kind="binary", binarize="dynamic")
    divided = with_quadrants(whole, count)
    x, context = divided.test.tensors()
    assert (x.shape[1], context.shape[1]) == (20 - given, given)
    assert torch.equal(divided.context.joined(x, context), whole.test.tensor())
    lower_left = np.arange(20).reshape(5, 4)[2:, :2].ravel()
    assert set(lower_left) <= set(divided.context.entries)


@pytest.mark.parametrize("binarize", ["static", "dynamic"])
def test_batches_have_x_and_context_of_one_draw(images, binarize):
    whole = load_dataset(images, likelihood_kind="binary", binarize=binarize)
    divided = with_quadrants(whole, 2)
    for one, other in zip(
        divided.train.batches(16, seed=3).epoch(2), whole.train.batches(16, seed=3).epoch(2), strict=True
    ):
        assert torch.equal(divided.context.joined(*one), other[0])


def test_new_rows_get_their_context_in_the_same_way(table, images, tmp_path):
    whole = load_dataset(table)
    for made in (with_labels(whole), with_columns(whole, ["v"])):
        again = RowFormat.from_json(RowFormat.of(made).to_json())
        assert again.context == made.context
        split, _ = rows_like(table, again)
        index = torch.from_numpy(made.test.index)
        for new, old in zip(split.tensors(), made.test.tensors(), strict=True):
            assert torch.allclose(new[index].double(), old.double())
    divided = with_quadrants(load_dataset(images, likelihood_kind="binary", binarize="static"), 1)
    split, _ = rows_like(images, RowFormat.of(divided), "binary")
    assert split.data_dim == 14


def test_labels_of_new_rows_go_by_name(table, tmp_path):
    known = RowFormat.of(with_labels(load_dataset(table)))
    (tmp_path / "new.csv").write_text("u,v,w,label\n0,5,100,c\n0,5,100,b\n")  # as codes b would be 0
    split, _ = rows_like(tmp_path / "new.csv", known)
    assert split.context[0].tolist() == [2, 1]


def test_a_context_is_saved_completely(table):
    for context in (ClassContext(("a", "b"), True), with_columns(load_dataset(table), ["v"]).context, None):
        assert context_from_json(context_to_json(context)) == context


@pytest.mark.parametrize(("kept", "share"), [(9, 0.1), (9, 0.5), (30, 0.2)])
def test_hidden_labels(images, kept, share):
    labelled = with_labels(load_dataset(images))
    partial = with_labels_hidden(labelled, None, kept, share, seed=0)
    known = partial.train.context[0]
    chosen = known >= 0
    assert torch.equal(known[chosen], labelled.train.labels[chosen])
    counts = torch.bincount(known[chosen])
    assert int(counts.max() - counts.min()) <= 1
    assert int(chosen.sum()) == kept
    assert all((split.context[0] == -1).all() for split in (partial.validation, partial.test))
    assert torch.equal(partial.train.labels, labelled.train.labels)
    visited = torch.cat([labels for _, labels in partial.train.batches(16, seed=0).epoch(0)])
    assert (visited >= 0).double().mean() >= share
    assert (visited == -1).sum() == len(known) - kept
    again = with_labels_hidden(labelled, None, kept, share, seed=0).train.context[0]
    other = with_labels_hidden(labelled, None, kept, share, seed=1).train.context[0]
    assert torch.equal(known, again)
    assert not torch.equal(known, other)


def test_rows_of_the_data_without_a_label(tmp_path):
    x, labels = np.random.default_rng(0).normal(size=(ROWS, 2)), np.arange(ROWS) % 3
    labels[:20] = -1
    given = {"train": x[:40], "train_labels": labels[:40], "test": x[40:], "test_labels": labels[40:]}
    np.savez(tmp_path / "x.npz", **given, validation=x[40:], validation_labels=labels[40:])
    labelled = with_labels(load_dataset(tmp_path / "x.npz"), partial=True)
    kept = with_labels_hidden(labelled, 0.0, None, 0.1, 0).train.context[0]
    assert kept.tolist() == labels[:40].tolist()
    half = with_labels_hidden(labelled, 0.5, None, 0.1, 0).train.context[0]
    assert int((half >= 0).sum()) == 10
    assert (half[:20] == -1).all()


def test_all_labels_can_be_hidden_and_none(images):
    labelled = with_labels(load_dataset(images))
    assert (with_labels_hidden(labelled, 1.0, None, 0.1, 0).train.context[0] == -1).all()
    assert (with_labels_hidden(labelled, 0.0, None, 0.1, 0).train.context[0] >= 0).all()


def test_bad_contexts(images, table, tmp_path):
    whole, pictures = load_dataset(table), load_dataset(images)
    np.save(tmp_path / "bare.npy", np.random.default_rng(0).normal(size=(ROWS, 3)))
    bare = load_dataset(tmp_path / "bare.npy")
    labels = np.arange(ROWS) % 3
    np.savez(tmp_path / "missing.npz", x=np.zeros((ROWS, 2)), labels=np.where(labels == 1, -1, labels))
    rare = np.zeros(ROWS, int)
    rare[with_labels(pictures).test.index[0]] = 5
    np.savez(tmp_path / "rare.npz", x=np.random.default_rng(0).normal(size=(ROWS, 2)), labels=rare)
    labelled = with_labels(pictures)
    bad = {
        "Expected labels in .*bare.npy for --context label; got none": lambda: with_labels(bare),
        "have none \\(-1\\)": lambda: with_labels(load_dataset(tmp_path / "missing.npz")),
        "that training rows have \\(0\\); got 5": lambda: with_labels(load_dataset(tmp_path / "rare.npz")),
        "a table for --context columns": lambda: with_columns(pictures, ["u"]),
        "among those of .*: u, v, w; got x": lambda: with_columns(whole, ["x"]),
        "each once": lambda: with_columns(whole, ["u", "u"]),
        "leave a column": lambda: with_columns(whole, ["u", "v", "w"]),
        "got none. Give --context-columns": lambda: with_columns(whole, []),
        "images for --context quadrants": lambda: with_quadrants(whole, 1),
        "at most the 48 training rows with a label; got 50": lambda: with_labels_hidden(
            labelled, None, 50, 0.1, 0
        ),
        "a label of each of the 3 classes; got 2": lambda: with_labels_hidden(labelled, None, 2, 0.1, 0),
    }
    for message, call in bad.items():
        with pytest.raises(InputError, match=message):
            call()


def test_context_of_another_width_than_trained_on():
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    config = ModelConfig(hidden=(4,), latent_dim=2, scale_floor=0.1)
    model, guide = build(config, x.mean(0), x.std(0), context_dim=3)
    for context, message in {
        x[:, :2]: r"context of 3 columns in all, .* got the shapes \(8, 2\)",
        torch.arange(8): "labels from 0 to 2, the classes that the network was made for; got 0 to 7",
    }.items():
        with pytest.raises(InputError, match=message):
            guide.encode(x, context)
        with pytest.raises(InputError, match=message):
            log_likelihood(model, guide, (x, context), 2)


def test_bad_labels_of_new_rows(table, tmp_path):
    known = RowFormat.of(with_labels(load_dataset(table)))
    (tmp_path / "none.csv").write_text("u,v,w\n0,5,100\n")
    (tmp_path / "other.csv").write_text("u,v,w,label\n0,5,100,d\n")
    (tmp_path / "number.csv").write_text("u,v,w,label\n0,5,100,3\n")
    for name, message in {
        "none": "Expected labels in .*none.csv: the run on .* was trained with --context label, of the classes a, b, c",
        "other": "Expected known labels in .*got d",
        "number": "Expected known labels in .*got 3",
    }.items():
        with pytest.raises(InputError, match=message):
            rows_like(tmp_path / f"{name}.csv", known)
