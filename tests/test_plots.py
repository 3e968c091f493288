"""What the pictures show, that they leave matplotlib's global state alone, and that odd data draws."""

import os

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib._pylab_helpers import Gcf
from matplotlib.figure import Figure
from scipy.stats import expon, norm
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA

from pyro_vae import plots
from pyro_vae._checks import InputError
from pyro_vae.plots._canvas import CLASS_COLORS
from pyro_vae.plots.epoch_curves import best_record
from pyro_vae.storage import StorageError

RNG = np.random.default_rng(0)


def record(epoch, elbo, validation=None):
    part = {"elbo": elbo, "reconstruction": elbo + 20.0, "kl": 20.0}
    split = None if validation is None else {**part, "elbo": validation, "elbo_se": 0.5}
    return {"epoch": epoch, "seconds": 1.0, "train": part, "validation": split}


def digits():
    x, y = load_digits(return_X_y=True)
    return (x[:300] + 0.5) / 17, y[:300]


def picture(ax):
    """The image that was drawn: heights, widths, RGB."""
    return np.asarray(ax.images[0].get_array())


# --- training curves ---------------------------------------------------------------------------------------


def test_curves_show_the_values_and_mark_the_best_validation_epoch():
    history = [record(e, -100.0 + e, -110.0 + e - 0.2 * max(0, e - 6) ** 2) for e in range(1, 13)]
    figure = plots.training_curves(history)
    best = max(history, key=lambda r: r["validation"]["elbo"])
    elbo = figure.axes[0]
    np.testing.assert_allclose(elbo.lines[0].get_ydata(), [r["train"]["elbo"] for r in history])
    np.testing.assert_allclose(elbo.lines[1].get_ydata(), [r["validation"]["elbo"] for r in history])
    labels = [text.get_text() for text in elbo.get_legend().get_texts()]
    assert f"best: {best['validation']['elbo']:.1f} at epoch {best['epoch']}" in labels
    assert all(ax.get_ylabel() == "nats per example" for ax in figure.axes)
    kept = plots.training_curves(history, best_epoch=9).axes[0].get_legend().get_texts()[-1].get_text()
    assert kept == f"kept: {history[8]['validation']['elbo']:.1f} at epoch 9"


def test_curves_limits_ignore_a_terrible_start_but_hold_the_best():
    history = [record(1, -1e6, -1e6)] + [record(e, -100.0 + e, -101.0 + e) for e in range(2, 31)]
    low, high = plots.training_curves(history).axes[0].get_ylim()
    assert -110 < low < -97
    assert -70 < high < -60
    diverging = [record(1, -500.0), record(2, -90.0)] + [record(e, -300.0 - e) for e in range(3, 40)]
    low, high = plots.training_curves(diverging).axes[0].get_ylim()
    assert low < -339
    assert high > -90


@pytest.mark.slow
@pytest.mark.parametrize(
    "history",
    [
        [record(1, -5.0)],
        [record(e, -5.0) for e in range(5)],
        [record(1, float("nan"), float("-inf"))],
        [record(1, -5.0, -6.0), record(2, -4.0), record(3, float("nan"), -3.0)],
        [{"epoch": 3, "train": {"elbo": -1.0, "reconstruction": -1.0, "kl": 0.0}}],
    ],
)
def test_curves_of_odd_histories_draw(history, tmp_path):
    assert plots.save(plots.training_curves(history), tmp_path / "a.png").stat().st_size > 1000


def test_best_record_passes_over_nan():
    history = [record(1, float("nan")), record(2, -3.0), record(3, -2.0), record(4, float("nan"))]
    assert best_record(history, "train")["epoch"] == 3


# --- images ------------------------------------------------------------------------------------------------


def test_reconstructions_are_drawn_below_their_originals():
    x, _ = digits()
    ax = plots.reconstructions(x[:6], 1 - x[:6], (8, 8), pairs=2, columns=3)
    drawn = picture(ax)
    assert drawn.shape == (4 * 9 - 1, 3 * 9 - 1, 3)
    for i in range(6):
        top, left = 18 * (i // 3), 9 * (i % 3)
        np.testing.assert_allclose(drawn[top : top + 8, left : left + 8, 0], x[i].reshape(8, 8))
        np.testing.assert_allclose(drawn[top + 9 : top + 17, left : left + 8, 0], 1 - x[i].reshape(8, 8))
    assert [t.get_text() for t in ax.get_yticklabels()] == ["data", "model"] * 2


def test_colour_images_keep_their_channels():
    images = RNG.random((2, 3, 5, 4))
    for given_images in (images, images.reshape(2, -1), torch.tensor(images)):
        drawn = picture(plots.samples(given_images, (3, 5, 4)))
        np.testing.assert_allclose(drawn[:5, :4], images[0].transpose(1, 2, 0))
        np.testing.assert_allclose(drawn[:, 5:], images[1].transpose(1, 2, 0))


def test_values_outside_the_range_are_clipped_and_the_last_row_is_filled_with_white():
    drawn = picture(plots.samples(np.array([[-9.0], [0.0], [9.0]]), (1, 1), columns=2, value_range=(-1, 1)))
    np.testing.assert_allclose(drawn[::2, ::2, 0], [[0.0, 0.5], [1.0, 1.0]])


def test_traversal_steps_through_prior_quantiles_right_and_up():
    seen = []
    ax = plots.traversal_grid(
        lambda z: (seen.append(z), norm.cdf(z[:, [2, 0]]))[1], 3, (1, 2), dims=(2, 0), steps=5
    )
    z, quantiles = seen[0].reshape(5, 5, 3), norm.ppf(np.linspace(0.01, 0.99, 5))
    np.testing.assert_allclose(z[2, :, 2], quantiles)
    np.testing.assert_allclose(z[:, 2, 0], quantiles[::-1])
    assert (z[..., 1] == 0).all()
    drawn = picture(ax)[::2]
    np.testing.assert_allclose(drawn[:, 0::3, 0], np.tile(np.linspace(0.01, 0.99, 5), (5, 1)), atol=1e-12)
    np.testing.assert_allclose(drawn[:, 1::3, 0], np.tile(np.linspace(0.99, 0.01, 5)[:, None], 5), atol=1e-12)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("z[2]", "z[0]")


def test_traversal_of_another_prior_steps_through_its_own_quantiles():
    """Exponential draws, each dimension in a different unit; the fixed dimension is at its median."""
    seen = []
    scales = np.array([1.0, 10.0, 100.0])
    draws = expon.ppf((np.arange(5000) + 0.5) / 5000)[:, None] * scales
    decode = lambda z: (seen.append(z), np.ones((len(z), 2)))[1]  # noqa: E731
    ax = plots.traversal_grid(decode, 3, (1, 2), dims=(2, 0), steps=5, prior_draws=torch.tensor(draws))
    z, quantiles = seen[0].reshape(5, 5, 3), expon.ppf(np.linspace(0.01, 0.99, 5))
    np.testing.assert_allclose(z[2, :, 2], 100 * quantiles, rtol=1e-2)
    np.testing.assert_allclose(z[:, 2, 0], quantiles[::-1], rtol=1e-2)
    np.testing.assert_allclose(z[..., 1], 10 * np.log(2), rtol=1e-3)
    assert [label.get_text() for label in ax.get_xticklabels()] == [f"{q:.1f}" for q in z[0, :, 2]]
    assert [label.get_text() for label in ax.get_yticklabels()] == [f"{q:.1f}" for q in z[::-1, 0, 0]]


@pytest.mark.parametrize(("latent_dim", "steps", "images"), [(1, 7, 7), (2, 1, 1), (5, 3, 9)])
def test_traversal_of_few_dimensions_or_steps(latent_dim, steps, images):
    calls = []
    plots.traversal_grid(
        lambda z: (calls.append(z.shape), torch.ones(len(z), 4))[1], latent_dim, (2, 2), steps=steps
    )
    assert calls == [(images, latent_dim)]


def test_rows_of_a_traversal_span_the_codes_and_frame_the_nearest_step():
    seen = []
    codes = np.linspace([0.0, -10.0, 5.0], [1.0, 10.0, 5.0], 1001)
    decode = lambda z: (seen.append(z), np.tile(z[:, :1], 2))[1]  # noqa: E731
    ax = plots.traversal_rows(
        decode, [0.5, 4.0, 5.0], torch.tensor(codes), (1, 2), dims=(1, 0), labels=["wide", "narrow"], steps=3
    )
    z = seen[0].reshape(2, 3, 3)
    np.testing.assert_allclose(z[0], [[0.5, -9.8, 5], [0.5, 0, 5], [0.5, 9.8, 5]], atol=1e-12)
    np.testing.assert_allclose(z[1], [[0.01, 4, 5], [0.5, 4, 5], [0.99, 4, 5]], atol=1e-12)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["wide", "narrow"]
    assert [text.get_text() for text in ax.texts] == ["\N{MINUS SIGN}9.8 to 9.8", "0.0 to 1.0"]
    assert picture(ax)[2, ::3, 0].tolist() == pytest.approx([0.01, 0.5, 0.99])
    framed = [path.vertices[0].tolist() for path in ax.collections[1].get_paths()]
    assert framed == [[2.5, -0.5], [2.5, 1.5]]  # 4 is nearest to 0, 0.5 is a step


def test_every_image_has_a_frame_and_an_empty_place_none():
    ax = plots.samples(np.ones((5, 6)), (2, 3), columns=3)
    corners = [path.vertices[:3].tolist() for path in ax.collections[0].get_paths()]
    assert corners[4] == [[3.5, 2.5], [6.5, 2.5], [6.5, 4.5]]
    assert len(corners) == 5


def test_each_pixel_of_a_new_figure_has_a_whole_number_of_dots():
    for shape in ((8, 8), (28, 28), (28, 20), (32, 32), (64, 64), (80, 80)):
        ax = plots.samples(np.ones((4, shape[0] * shape[1])), shape, columns=2)
        dots = ax.get_window_extent().size / 100 * 150 / picture(ax).shape[1::-1]
        np.testing.assert_allclose(dots, np.round(dots))


def test_samples_are_drawn_next_to_their_means_for_each_source():
    drawn, means = RNG.random((2, 100, 4))
    figure = plots.samples_and_means({"z ~ p(z)": (drawn, means), "z ~ q(z)": (means, drawn)}, (2, 2))
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == [
        "draws x ~ p(x|z), z ~ p(z)",
        "means E[x|z], same z",
        "draws x ~ p(x|z), z ~ q(z)",
        "means E[x|z], same z",
    ]
    for ax, rows in zip(figure.axes, (drawn, means, means, drawn), strict=True):
        assert picture(ax).shape == (5 * 3 - 1, 8 * 3 - 1, 3)
        np.testing.assert_allclose(picture(ax)[3:5, 3:5, 0], rows[9].reshape(2, 2))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([*range(-9, 10), np.inf, -np.inf, np.nan]), min_size=1, max_size=40))
def test_ranked_rows_are_the_ends_and_the_middle(values):
    array = np.array(values, dtype=float)
    known = np.sort(array[~np.isnan(array)])[::-1]
    if not len(known):
        with pytest.raises(InputError, match="a number"):
            plots.ranked(array, 3)
        return
    found = {name: array[chosen] for name, chosen in plots.ranked(array, 3).items()}
    count = min(3, max(1, len(known) // 3))
    assert found["best"].tolist() == known[:count].tolist()
    assert found["worst"].tolist() == known[::-1][:count].tolist()
    middle = (len(known) - count) // 2
    assert found["median"].tolist() == known[middle : middle + count].tolist()
    assert {len(part) for part in found.values()} == {count}


def test_rows_by_rank_have_their_values_below():
    x = np.eye(4)
    figure = plots.best_and_worst({"best": (x, 1 - x, [2.0, 1.0, 0.25, -3.0])}, (2, 2), columns=3)
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["2.0", "1.0", "0.2"]
    assert ax.get_title(loc="left") == "best"
    np.testing.assert_allclose(picture(ax)[:2, 3:5, 0], x[1].reshape(2, 2))
    np.testing.assert_allclose(picture(ax)[3:5, 3:5, 0], 1 - x[1].reshape(2, 2))


# --- latent space ------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 10))
def test_widest_dimensions_are_sorted_by_spread(seed, latent_dim, count):
    scale = np.random.default_rng(seed).permutation(2.0 ** np.arange(latent_dim))
    z = np.outer(np.array([-1.0, 1.0, 0.0, 0.0]), scale) + 3.0
    assert plots.widest_dimensions(torch.tensor(z), count) == tuple(np.argsort(-scale)[:count])


def test_classes_have_their_own_colours_whatever_rows_come():
    names = ["zero", "one", "two"]
    ax = plots.latent_space(np.arange(8.0).reshape(4, 2), [2, 0, 2, 0], names)
    points = ax.collections[0]
    by_place = {
        tuple(p): matplotlib.colors.to_hex(c)
        for p, c in zip(points.get_offsets(), points.get_facecolors(), strict=True)
    }
    assert by_place == dict(
        zip([(0, 1), (2, 3), (4, 5), (6, 7)], [CLASS_COLORS[k] for k in (2, 0, 2, 0)], strict=True)
    )
    assert [t.get_text() for t in ax.get_legend().get_texts()] == names


@pytest.mark.slow
@pytest.mark.parametrize("projection", ["2d", "3d"])
@pytest.mark.parametrize(
    ("labels", "legend", "axes"),
    [
        (None, None, 1),
        (np.arange(40) % 20, 20, 1),
        (np.arange(40) % 21, None, 2),
        (np.linspace(0, 1, 40), None, 2),
        (["cat", "dog"] * 20, 2, 1),
        ([f"c{i}" for i in range(40)], None, 2),
        (torch.arange(40) % 3, 3, 1),
        (np.array([True, False] * 20), 2, 1),
        (np.array(["a", 1] * 20, dtype=object), 2, 1),
    ],
)
def test_legend_for_few_classes_and_a_colour_bar_otherwise(projection, labels, legend, axes, tmp_path):
    draw, latent_dim = (plots.latent_space, 2) if projection == "2d" else (plots.latent_space_3d, 4)
    ax = draw(RNG.normal(size=(40, latent_dim)), labels)
    drawn = None if ax.get_legend() is None else len(ax.get_legend().get_texts())
    assert (drawn, len(ax.figure.axes)) == (legend, axes)
    plots.save(ax.figure, tmp_path / "a.png")


def test_one_latent_dimension_is_a_histogram_that_stacks_to_all_rows():
    z, labels = RNG.normal(size=(500, 1)), RNG.integers(0, 15, 500)
    for given_labels, groups in ((labels, 15), (None, 1), (labels + 0.5, 1)):
        ax = plots.latent_space(z, given_labels)
        counts = [step.get_data().values - step.get_data().baseline for step in ax.patches]
        assert len(counts) == groups
        assert sum(map(np.sum, counts)) == 500
    np.testing.assert_allclose([c.sum() for c in counts][:1], 500)


@pytest.mark.parametrize("latent_dim", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 4])
def test_a_collapsed_latent_space_draws(latent_dim, rows, tmp_path):
    draw = plots.latent_space_3d if latent_dim == 3 else plots.latent_space
    plots.save(draw(np.zeros((rows, latent_dim)), [0] * rows).figure, tmp_path / "a.png")


# --- tables ------------------------------------------------------------------------------------------------


def areas(ax):
    """The areas under the two histograms of a panel."""
    steps = [patch.get_data() for patch in ax.patches]
    return [np.sum(step.values * np.diff(step.edges)) for step in steps]


def test_marginals_are_densities_and_one_wild_sample_hides_nothing():
    data, samples = RNG.normal(size=(400, 1)), RNG.normal(size=(900, 1))
    samples[0] = 1e6
    ax = plots.marginals(data, samples).axes[0]
    low, high = ax.get_xlim()
    assert low < data.min()
    assert data.max() < high < 10
    inside = np.mean((samples >= low) & (samples <= high))
    np.testing.assert_allclose(areas(ax), (1.0, inside), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "panels"), [(1, 1), (5, 5), (12, 12), (13, 12)])
def test_marginals_draw_up_to_twelve_columns(columns, panels, tmp_path):
    x = RNG.normal(size=(30, columns))
    figure = plots.marginals(x, x, [f"c{j}" for j in range(columns)])
    assert [ax.get_xlabel() for ax in figure.axes] == [f"c{j}" for j in range(panels)]
    plots.save(figure, tmp_path / "a.png")


@pytest.mark.parametrize(("columns", "panels"), [(1, 1), (3, 6), (9, 15)])
def test_pair_plot_is_a_triangle_of_up_to_five_columns(columns, panels):
    x = RNG.normal(size=(30, columns))
    assert len(plots.pair_plot(torch.tensor(x), x).axes) == panels


def test_pair_plot_draws_as_many_rows_of_either_table():
    figure = plots.pair_plot(np.zeros((40, 2)), np.ones((100, 2)))
    (scatter,) = [c for ax in figure.axes for c in ax.collections]
    values, counts = np.unique(scatter.get_offsets(), axis=0, return_counts=True)
    assert values.tolist() == [[0, 0], [1, 1]]
    assert counts.tolist() == [40, 40]


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(st.floats(-1e8, 1e8), st.sampled_from([0.0, 1e-12, 1.0]), st.integers(1, 3))
def test_constant_and_nearly_constant_columns_draw(value, spread, rows):
    x = np.full((rows, 2), value) + spread * np.arange(rows)[:, None]
    plots.pair_plot(x, x + spread)
    plots.marginals(x, x)


# --- files and global state --------------------------------------------------------------------------------


def all_figures():
    x, y = digits()
    pca = PCA(4).fit(x)
    z, wine = pca.transform(x), load_wine().data
    yield plots.training_curves([record(e, -100.0 + e, -101.0 + e) for e in range(30)])
    yield plots.reconstructions(x, pca.inverse_transform(z), (8, 8)).figure
    yield plots.samples(RNG.random((100, 784)), (28, 28)).figure
    yield plots.traversal_grid(pca.inverse_transform, 4, (8, 8)).figure
    yield plots.traversal_rows(pca.inverse_transform, z[0], z, (8, 8), dims=range(4)).figure
    yield plots.samples_and_means({"z ~ p(z)": (x, x), "z ~ q(z)": (x, x)}, (8, 8))
    yield plots.best_and_worst({"best": (x, x, y)}, (8, 8))
    yield plots.latent_space(RNG.normal(size=(20_000, 2)), RNG.integers(0, 10, 20_000)).figure
    yield plots.latent_space_3d(RNG.normal(size=(20_000, 3)), RNG.integers(0, 10, 20_000)).figure
    yield plots.marginals(wine, wine)
    yield plots.pair_plot(RNG.normal(size=(9000, 5)), RNG.normal(size=(9000, 5)))


@pytest.mark.slow
def test_files_are_small_and_global_state_is_untouched(tmp_path):
    # `dict.items`, because reading the backend from rcParams itself would choose one.
    before, state = dict(dict.items(matplotlib.rcParams)), np.random.get_state()[1].copy()  # noqa: NPY002
    for number, figure in enumerate(all_figures()):
        size = plots.save(figure, tmp_path / f"{number}.png").stat().st_size
        assert 3_000 < size < 300_000, f"figure {number} has {size} bytes"
    assert dict(dict.items(matplotlib.rcParams)) == before
    assert Gcf.get_all_fig_managers() == []
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


@pytest.mark.slow
def test_given_axes_and_figures_are_drawn_into_and_returned():
    x, y = digits()
    figure = Figure()
    flat, solid = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2, projection="3d")
    assert plots.samples(x, (8, 8), ax=flat) is flat
    assert plots.reconstructions(x, x, (8, 8), ax=flat) is flat
    assert plots.traversal_grid(lambda z: np.ones((len(z), 4)), 2, (2, 2), ax=flat) is flat
    assert plots.latent_space(x, y, ax=flat) is flat
    assert plots.latent_space_3d(x, y, ax=solid) is solid
    for draw in (plots.marginals, plots.pair_plot):
        own = Figure(layout="constrained")
        assert draw(x, x, figure=own) is own
    own = Figure()
    assert plots.samples_and_means({"z": (x, x)}, (8, 8), figure=own) is own
    assert plots.best_and_worst({"best": (x, x, y)}, (8, 8), figure=Figure()).axes[0].images
    own = Figure()
    assert plots.training_curves([record(1, 0.0)], figure=own) is own


def test_tensors_of_any_kind_are_taken():
    z = torch.zeros(3, 2, dtype=torch.bfloat16, requires_grad=True)
    points = plots.latent_space(z + 1).collections[0].get_offsets()
    assert np.asarray(points).tolist() == [[1, 1]] * 3


def test_save_is_atomic(tmp_path, monkeypatch):
    path = plots.save(Figure(), tmp_path / "new" / "a.png")
    whole = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("No space left on device")))
    with pytest.raises(StorageError, match=r"Could not write .*a\.png: No space left on device"):
        plots.save(Figure(), path)
    assert path.read_bytes() == whole
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]


ONES = np.ones((4, 4))
BAD_CALLS = {
    "no epochs": (lambda: plots.training_curves([]), "at least one epoch"),
    "images of another size": (lambda: plots.samples(ONES, (3, 3)), r"\(N, 9\).*got \(4, 4\)"),
    "no image shape": (lambda: plots.samples(ONES, (4,)), "Use marginals"),
    "two channels": (lambda: plots.samples(ONES, (2, 1, 2)), "data_shape"),
    "no images": (lambda: plots.samples(ONES[:0], (2, 2)), "at least one row"),
    "NaN pixels": (lambda: plots.samples(ONES * np.nan, (2, 2)), "finite"),
    "empty range": (lambda: plots.samples(ONES, (2, 2), value_range=(1, 1)), "value_range"),
    "columns 0": (lambda: plots.samples(ONES, (2, 2), columns=0), "columns"),
    "fewer reconstructions": (lambda: plots.reconstructions(ONES, ONES[:2], (2, 2)), "as many"),
    "draws of another z": (
        lambda: plots.traversal_grid(lambda z: z, 2, (1, 2), prior_draws=np.ones((5, 3))),
        r"prior_draws of shape \(num_draws, 2\); got \(5, 3\)",
    ),
    "no source": (lambda: plots.samples_and_means({}, (2, 2)), "at least one source"),
    "fewer means": (
        lambda: plots.samples_and_means({"z": (ONES, ONES[:2])}, (2, 2)),
        "as many draws as means; got 4 and 2",
    ),
    "no group": (lambda: plots.best_and_worst({}, (2, 2)), "at least one group"),
    "a code of another size": (
        lambda: plots.traversal_rows(lambda z: z, [0.0], ONES, (2, 2), dims=(0,)),
        "one size; got 1 and 4",
    ),
    "a row of no dimension": (
        lambda: plots.traversal_rows(lambda z: z, ONES[0], ONES, (2, 2), dims=(4,)),
        "from 0 to 3",
    ),
    "fewer labels": (
        lambda: plots.traversal_rows(lambda z: z, ONES[0], ONES, (2, 2), dims=(0, 1), labels=["a"]),
        "a label for each",
    ),
    "missing dimension": (lambda: plots.traversal_grid(lambda z: z, 2, (1, 2), dims=(0, 2)), "from 0 to 1"),
    "one dimension twice": (lambda: plots.latent_space(ONES, dims=(1, 1)), "2 different"),
    "flat latents in 3D": (lambda: plots.latent_space_3d(ONES[:, :2]), "3 different"),
    "flat axes": (lambda: plots.latent_space_3d(ONES, ax=Figure().add_subplot()), 'projection="3d"'),
    "NaN latents": (lambda: plots.latent_space([[1.0, np.nan]]), "1 infinite or NaN"),
    "text latents": (lambda: plots.latent_space([["a", "b"]]), "numbers only"),
    "labels of another length": (lambda: plots.latent_space(ONES, [1, 2]), r"\(4,\)"),
    "a class without a name": (
        lambda: plots.latent_space(ONES, [0, 1, 2, 1], ["a", "b"]),
        r"0 to 1.*got \[2\]",
    ),
    "text labels with names": (lambda: plots.latent_space(ONES, list("abca"), ["a", "b"]), r"got \['a'\]"),
    "other columns": (lambda: plots.marginals(ONES, ONES[:, :2]), "got 4, 2 and 4"),
    "other names": (lambda: plots.pair_plot(ONES, ONES, ["a"]), "got 4, 4 and 1"),
    "one row without columns": (lambda: plots.marginals([1.0], ONES), r"\(N, D\)"),
    "another ending": (lambda: plots.save(Figure(), "a.pdf"), ".png"),
}


@pytest.mark.parametrize(("call", "message"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_bad_calls_end_in_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_histograms_leave_missing_entries_out():
    rows = np.random.default_rng(0).normal(size=(40, 2))
    holes = np.concatenate([rows, np.full((10, 2), np.nan)])
    drawn = [
        plots.marginals(data, rows, ["a", "b"]).axes[0].patches[0].get_data().values for data in (rows, holes)
    ]
    np.testing.assert_array_equal(*drawn)
    assert plots.pair_plot(holes, rows, ["a", "b"]).axes


def test_levels_of_columns_are_named_and_have_a_bar_each():
    rng = np.random.default_rng(0)
    data = np.stack([rng.normal(size=40), rng.integers(0, 3, 40)], axis=1)
    data[0, 1] = np.nan
    levels = ((), ("red", "green", "a very long name of a colour"))
    figure = plots.marginals(data, data[1:], ["length", "colour"], levels=levels)
    bars = [patch.get_height() for patch in figure.axes[1].patches[:3]]
    np.testing.assert_allclose(bars, [np.mean(data[1:, 1] == k) for k in range(3)])
    assert [t.get_text() for t in figure.axes[1].get_xticklabels()] == ["red", "green", "a very lo…"]
    pairs = plots.pair_plot(data, data[1:], ["length", "colour"], levels=levels)
    assert "red" in [t.get_text() for ax in pairs.axes for t in ax.get_xticklabels()]
