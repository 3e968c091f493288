"""What the README shows works, is short, and agrees with the documentation."""

import json
import re
from pathlib import Path

import pytest

from pyro_vae.data import DATASETS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = [
    json.loads(path.read_text(encoding="utf-8"))
    for path in (ROOT / "docs" / "results" / "data").glob("*.json")
]


def test_it_is_short():
    assert README.count("\n") <= 150


def test_the_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    quick = code.replace("epochs=300", "epochs=1, progress=False").replace(
        "num_samples=1000", "num_samples=20"
    )
    assert quick.count("\n") <= 21
    exec(compile(quick, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "nats per example, 250 rows" in printed
    assert re.search(r"42\.5549\d*\n$", printed), "factor analysis, as the README has it"


def test_figures_are_those_of_the_results():
    known = {
        (figure["mean"], figure["se"])
        for table in RESULTS
        for entry in table["entries"]
        for figure in entry.values()
        if isinstance(figure, dict) and "se" in figure
    }
    section = README.partition("## Results")[2].partition("Elsewhere")[0]
    shown = {(float(mean), float(se)) for mean, se in re.findall(r"(-?\d+\.\d+) ± (\d\.\d+)", section)}
    assert len(shown) > 10
    assert shown <= known


def test_figures_are_bold_where_the_results_are():
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "results").glob("*.md"))
    section = README.partition("## Results")[2].partition("\n## ")[0]
    bold, bold_in_results = (
        set(re.findall(r"\*\*(-?\d[^*]*?)(?: %)?\*\*", text.replace("\u00a0", " ")))
        for text in (section, pages)
    )
    assert len(bold) > 1
    assert bold == {figure for figure in bold_in_results if figure in section}


def test_every_picture_is_there_and_small():
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert pictures
    for picture in pictures:
        assert 0 < (ROOT / picture).stat().st_size < 300_000, picture


def test_every_script_named_is_there():
    pages = [README, *(page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md"))]
    for script in set(re.findall(r"scripts/\w+\.py", " ".join(pages))):
        assert (ROOT / script).is_file(), script


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_is_named(name):
    assert f"`{name}`" in (ROOT / "docs" / "howto" / "data.md").read_text(encoding="utf-8")
