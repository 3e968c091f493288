"""`report.html`: one file that opens without a network, holds the run's numbers, and runs no text of a user's."""

import json
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from helpers import script

from pyro_vae._checks import MissingPackageError
from pyro_vae.experiment.report import pictures
from pyro_vae.experiment.report.colours import first_colouring
from pyro_vae.experiment.report.packages import check_packages
from pyro_vae.experiment.report.values import texts
from pyro_vae.experiment.report.write import LARGEST

SMALL = ["--epochs", 1, "--hidden", 8, "--compile", "off", "--quiet", "--report"]
QUICK = [*SMALL, "--evaluate", "none"]
COLUMN, LEVEL = "<script>alert(1)</script>", "</script><img src=x onerror=alert(2)> @y"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page(HTMLParser):
    """The tags and the words of a page, and what its script reads."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.attributes, self.words, self.script, self.data = [], [], [], None, None
        self.size = path.stat().st_size
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(self.words)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag in ("script", "style"):
            self.script = dict(attrs)

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self.script = None

    def handle_data(self, data):
        if self.script is None:
            self.words.append(" ".join(data.split()))
        elif self.script.get("id") == "data":
            self.data = json.loads(data, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def run_of(folder, *arguments):
    assert script(*arguments, "--out", folder / "run") == 0
    return folder / "run"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A run on a table whose names and levels are code."""
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    lines = [f'"{COLUMN}",kind,size']
    lines += [f'{rng.normal():.3f},"{rng.choice([LEVEL, "b", "c"])}",{rng.normal():.3f}' for _ in range(60)]
    (folder / "rows.csv").write_text("\n".join([*lines, ",,1.5"]) + "\n", encoding="utf-8")
    return run_of(folder, "--dataset", folder / "rows.csv", "--likelihood", "table", *SMALL)


def check_self_contained(page):
    assert page.size < LARGEST
    assert page.tags.count("script") == 3
    for name, value in page.attributes:
        assert not name.startswith("on"), (name, value)
        if name in ("src", "href"):
            assert value.startswith("data:"), value


def check_models_stand_before_their_references(value, known):
    """Bokeh's script reads values in their order, and fails at a reference to a model that is not defined before."""
    if isinstance(value, dict):
        if "id" in value and "type" not in value:
            assert value["id"] in known
        elif value.get("type") == "object":
            known.add(value["id"])
        value = list(value.values())
    for part in value if isinstance(value, list) else []:
        check_models_stand_before_their_references(part, known)


@pytest.mark.slow
def test_the_report_of_a_table_has_its_numbers_and_escapes_user_text(table):
    page, summary = Page(table / "report.html"), json.loads((table / "summary.json").read_text())
    check_self_contained(page)
    for row in summary["closing"]["cells"]:
        for cell in row:
            assert cell in page.text
    for line in summary["closing"]["lines"]:
        assert line in page.text
    for chart in [page.data["latent"], *page.data["curves"]]:
        known = set()
        check_models_stand_before_their_references(chart["doc"]["roots"], known)
        assert chart["root_id"] in known
    assert f"{summary['elbo']['mean']:.2f} ± {summary['elbo']['se']:.2f}" in page.text
    assert COLUMN in page.text  # as words, not as a tag
    assert page.data["points"]["columns"][0] == COLUMN
    levels = {row[1] for row in page.data["points"]["cells"][0]}
    assert levels == {LEVEL, "b", "c", "not observed"}
    named = {one["name"]: one for one in page.data["points"]["colourings"]}
    assert named["kind"]["levels"] == sorted([LEVEL, "b", "c"])
    assert {"log p(x)", "± se", "split", COLUMN, "size"} <= set(named)


@pytest.mark.slow
def test_a_report_is_the_same_from_the_folder(table, tmp_path, capsys):
    assert script(table, "-o", tmp_path / "again.html", "--quiet", name="report.py") == 0
    assert "report in" in capsys.readouterr().out
    first, again = Page(table / "report.html"), Page(tmp_path / "again.html")
    assert again.data["points"]["cells"] == first.data["points"]["cells"]
    assert again.data["slider"] == first.data["slider"]
    assert [part for part in first.words if "±" in part][:2] == [part for part in again.words if "±" in part][
        :2
    ]


KINDS = {
    "digits": ["--evaluate", "quick"],
    "class as context": ["--context", "label"],
    "few labels": ["--context", "label", "--labelled-rows", 100],
    "quadrants": ["--context", "quadrants", "--likelihood", "bernoulli", "--binarize", "static"],
    "layers": ["--layers", 3, 2],
    "discrete": ["--latent", "categorical", "--states", 4],
    "autoencoder": ["--guide", "point"],
    "one latent": ["--latent-dim", 1],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_runs_of_every_kind_have_a_report(kind, tmp_path):
    page = Page(run_of(tmp_path, *QUICK, *KINDS[kind]) / "report.html")
    check_self_contained(page)
    points, slider = page.data["points"], page.data["slider"]
    count = len(points["heads"])
    assert all(len(values) == count for values in points["axes"].values())
    assert all(len(one["codes"]) == count for one in points["colourings"])
    assert [len(part) for part in points["images"]] == [count, count]
    assert all(image.startswith("data:image/") for part in points["images"] for image in part)
    assert all(len(dim["images"]) == len(dim["places"]) > dim["own"] for dim in slider["dims"])
    assert slider["dims"]
    assert ("log p(x)" in points["axes"]) == (kind != "autoencoder")
    assert any(name.startswith("PC 1") for name in points["axes"]) == (kind == "discrete")
    assert any(name.startswith("z2[") for name in points["axes"]) == (kind == "layers")


@pytest.mark.slow
def test_colour_images_and_vectors_have_a_report(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "colour.npy", rng.integers(0, 256, (60, 3, 8, 8), dtype=np.uint8))
    np.save(tmp_path / "vectors.npy", rng.normal(size=(60, 5)))
    (tmp_path / "a").mkdir()
    colour = Page(run_of(tmp_path / "a", "--dataset", tmp_path / "colour.npy", *QUICK) / "report.html")
    assert colour.data["points"]["images"][0][0].startswith("data:image/webp")
    vectors = Page(run_of(tmp_path, "--dataset", tmp_path / "vectors.npy", *QUICK) / "report.html")
    assert vectors.data["points"]["columns"] == [f"x[{j}]" for j in range(5)]
    stored = np.load(tmp_path / "vectors.npy")
    shown = np.array(vectors.data["points"]["cells"][0], dtype=float)
    assert {f"{value:.4g}" for value in shown[:, 0]} <= {f"{value:.4g}" for value in stored[:, 0]}


def test_black_and_white_images_take_one_bit_a_pixel():
    import base64
    import io

    from PIL import Image

    rows = np.random.default_rng(0).integers(0, 2, (2, 64)).astype(float)
    uri = pictures.data_uris(rows, (8, 8), (0.0, 1.0), 48)[1]
    image = Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))
    assert image.mode == "1"
    assert np.array_equal(np.asarray(image), rows[1].reshape(8, 8) > 0)


def test_large_images_are_made_smaller():
    uri = pictures.data_uris(np.linspace(0, 1, 3 * 90 * 120)[None], (3, 90, 120), (0.0, 1.0), 48)[0]
    assert len(uri) < 2000


@pytest.mark.parametrize("package", ["bokeh", "jinja2"])
def test_a_missing_package_is_named_with_its_command(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"{package}.*pip install 'pyro_vae\[report\]'"):
        check_packages()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no config.json"),
        (["nowhere", "-o", "report.txt"], r"ending in .html"),
        (["nowhere", "-o", "nowhere/report.html"], "a file in an existing folder"),
    ],
)
def test_bad_input_is_one_sentence(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert script(*arguments, name="report.py") == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_a_browser_shows_the_report_without_errors(table, tmp_path):
    flags = (
        "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
    )
    flags += " --disable-component-update --disable-quic --virtual-time-budget=10000 --enable-logging=stderr"
    url = (table / "report.html").resolve().as_uri()
    command = [BROWSER, *flags.split(), f"--user-data-dir={tmp_path}", "--dump-dom", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not [line for line in console if "error" in line.lower()]  # Bokeh also reports that it is idle
    assert 'data-ready="yes"' in done.stdout
    card = done.stdout.partition('id="card"')[2].partition("</aside>")[0]
    assert "test row 0" in card


@pytest.mark.parametrize(
    ("value", "mean", "text"),
    [
        (3603.4, True, "3603"),
        (0.00012346, True, "0.0001235"),
        (1234567.0, False, "1234567"),
        (0.0, False, "0"),
    ],
)
def test_numbers_are_written_without_exponents_where_they_can(value, mean, text):
    assert texts(np.array([[value]]), [()], means=mean) == [[text]]


def test_means_of_levels_are_shown_as_the_nearest_level():
    assert texts(np.array([[0.6], [-1.0], [np.nan]]), [("a", "b")], means=True) == [
        ["b"],
        ["a"],
        ["not observed"],
    ]


def test_points_are_coloured_at_first_by_what_most_rows_have():
    some, most = {"name": "log p(x)", "codes": [1, -1, -1]}, {"name": "size", "codes": [0, 1, 2]}
    split = {"name": "split", "codes": [0, 0, 1]}
    assert first_colouring([some, split, most]) == 2
    assert first_colouring([split, some]) == 0
