"""The documentation holds every public name, its links lead somewhere, and its examples run.

`make docs` builds it, which also checks references and names; continuous integration runs that after the tests.
"""

import html as entities
import importlib
import json
import pkgutil
import re
import sys
from pathlib import Path

import pytest
from helpers import SCRIPTS, script

import pyro_vae
from pyro_vae._commands import COMMANDS, script_of
from pyro_vae.cli import main_of
from pyro_vae.cli.reference import MARK, commands_page
from pyro_vae.settings.tables import settings_page

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
NOT_IN_THE_REFERENCE = {"pyro_vae.cli", "pyro_vae.experiment", "pyro_vae.settings"}
"""Packages of what the command line is made of."""

pytest.importorskip("sphinx", reason="the documentation needs Sphinx")
sys.path[:0] = [str(DOCS), str(DOCS / "_extensions"), str(SCRIPTS)]
api_pages = importlib.import_module("api_pages")
escape = importlib.import_module("plain_docstrings").escape
mathml = importlib.import_module("mathml").mathml
CLONE_ONLY = tuple(importlib.import_module("_clone_only").programs())


def test_every_public_package_has_a_page_of_the_reference():
    packages = {
        module.name for module in pkgutil.walk_packages(pyro_vae.__path__, "pyro_vae.") if module.ispkg
    }
    public = {
        name for name in packages if "._" not in name and hasattr(importlib.import_module(name), "__all__")
    }
    inner = {name for name in public if any(name.startswith(f"{other}.") for other in NOT_IN_THE_REFERENCE)}
    assert set(api_pages.PACKAGES) == public - inner - NOT_IN_THE_REFERENCE
    pages = {page.stem for page in (DOCS / "reference" / "api").glob("*.rst")}
    assert pages == {package.removeprefix("pyro_vae.") for package in api_pages.PACKAGES} | {"index"}


@pytest.mark.parametrize("package", ["pyro_vae", *api_pages.PACKAGES])
def test_every_public_name_has_documentation(package):
    module = importlib.import_module(package)
    for name in module.__all__:
        assert api_pages.summary(module, name), f"{package}.{name}"


@pytest.mark.parametrize(
    ("plain", "marked_up"),
    [
        ("KL(q || p) and *context", r"KL(q \|\| p) and \*context"),
        ("learned `mean_` and mean_.", r"learned `mean_` and mean\_."),
        ("two `Module`s", r"two `Module`\ s"),
        ("`a *b*` stays", "`a *b*` stays"),
        (">>> f(*x)\n1 * 2\n\na * b", ">>> f(*x)\n1 * 2\n\na \\* b"),
    ],
)
def test_docstrings_are_plain_text(plain, marked_up):
    assert escape(plain) == marked_up


@pytest.mark.parametrize(
    ("formula", "spaces"),
    [
        (r"\log p", ["log", " ", "p"]),
        (r"2 \log x", ["2", " ", "log", " ", "x"]),
        (r"-\log(2)", ["\N{MINUS SIGN}", "log", "(", "2", ")"]),
        (r"\operatorname{diag}(s)", ["diag", "(", "s", ")"]),
    ],
)
def test_names_of_functions_have_the_spaces_of_tex(formula, spaces):
    shown = re.findall(r"<mspace[^>]*>|<m[ino][^>]*>([^<]+)<", mathml(formula))
    assert [entities.unescape(text) or " " for text in shown] == spaces
    assert "<mo>diag" not in mathml(formula)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_is_valid(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert "[](" not in text, "a link without a text, which does not show outside of the site"
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in link:
            notebook = ROOT / "notebooks" / Path(link).name
            target = notebook if page.is_relative_to(DOCS) and link.endswith(".ipynb") else page.parent / link
            assert target.exists(), link


def test_the_tutorials_name_each_notebook():
    page = (DOCS / "tutorials" / "index.md").read_text(encoding="utf-8")
    notebooks = {notebook.name for notebook in (ROOT / "notebooks").glob("*.ipynb")}
    assert notebooks == set(re.findall(r"\((\w+\.ipynb)\)", page))


def test_settings_are_those_that_are_declared():
    page = (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")
    assert page == settings_page(), "Run scripts/write_settings.py."


def test_options_of_commands_are_those_that_are_declared():
    page = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    assert page == commands_page(page, CLONE_ONLY), "Run scripts/write_settings.py."


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in ("train", "compare-guides"))) for n in COMMANDS]
)
def test_every_option_of_the_help_is_in_the_reference(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit):
        main_of(name)()
    assert_in_the_reference(capsys.readouterr().out, name)


@pytest.mark.parametrize(
    "name",
    [pytest.param(p.name, marks=[pytest.mark.slow] * p.name.endswith("quality")) for p in CLONE_ONLY],
)
def test_every_option_of_a_script_of_the_clone_is_in_the_reference(name, capsys):
    file, *words = name.split()
    assert script(*words, "--help", name=file) == 0
    assert_in_the_reference(capsys.readouterr().out, name)


def test_every_script_that_is_no_command_is_in_the_reference():
    scripts = {path.name for path in SCRIPTS.glob("[a-z]*.py")} - {script_of(name) for name in COMMANDS}
    assert scripts - {"write_settings.py"} == {program.name.split()[0] for program in CLONE_ONLY}


def assert_in_the_reference(help_text, name):
    """Assert that the section of a program, with the settings that it refers to, has each option of its help."""
    shown = set(re.findall(r"(?m)^\W{0,2}(--[a-z][\w.-]*)", help_text)) - {"--help"}
    commands, settings = (
        (DOCS / "reference" / f"{page}.md").read_text(encoding="utf-8") for page in ("commands", "settings")
    )
    section = re.search(rf"(?ms)^## {name}$.*?(?=^## |\Z)", commands.partition(MARK)[2])[0]
    options = set(re.findall(r"`(--[\w-]+)`", section))
    if "settings.md" in section:
        prefixes = re.findall(r"`--(\w+\.)SETTING`", section) or [""]
        flags = re.findall(r"`--([\w-]+)`", settings)
        options |= {f"--{prefix}{flag}" for prefix in prefixes for flag in flags}
    assert shown
    assert shown <= options


@pytest.mark.slow
@pytest.mark.parametrize("page", ["start/python.md", "howto/own-pyro-model.md", "howto/own-parts.md"])
def test_the_examples_of_a_page_run_one_after_another(page, capsys):
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text.partition("## What counts as rows")[0], re.DOTALL)
    code = re.sub(r"epochs=\d+", "epochs=1, progress=False", "\n".join(blocks))
    exec(compile(code, page, "exec"), {"__name__": "example"})


RESULTS = sorted((DOCS / "results" / "data").glob("*.json"))
write_results, record_study = (importlib.import_module(name) for name in ("write_results", "record_study"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_tables_of_results_are_shown_and_complete(path):
    results = json.loads(path.read_text(encoding="utf-8"))
    pages = [page.read_text(encoding="utf-8") for page in write_results.pages()]
    assert sum(f"<!-- results: {path.stem} -->\n" in page for page in pages) == 1
    assert write_results.table(results).count("\n") == len(results["entries"]) + 1
    for entry in results["entries"]:
        assert entry.get("commands") or results.get("commands"), entry["name"]


@pytest.mark.parametrize(
    ("here", "is_better"), [(-86.5, True), (-86.56, False), (-86.6, False), (-86.9, False)]
)
def test_a_figure_is_better_only_beyond_its_error(here, is_better):
    entry = {
        "name": "a",
        "published": {"mean": -86.76, "source": "b"},
        "importance": {"mean": here, "se": 0.2},
    }
    assert write_results.is_better(entry) == is_better
    table = write_results.table({"columns": {"importance": "c"}, "entries": [entry]})
    assert ("**" in table) == is_better


LINES = {
    "highest": ("highest", 0, {"a": (0.90, 0.01), "b": (0.85, 0.02)}, "a"),
    "lowest": ("lowest", 0, {"a": (0.90, 0.01), "b": (0.85, 0.02)}, "b"),
    "within an error": ("highest", 0, {"a": (0.90, 0.01), "b": (0.85, 0.06)}, ""),
    "at an error": ("highest", 0, {"a": (0.919, 0.005), "b": (0.914, 0.004)}, ""),
    "within the margin": ("highest", 0.1, {"a": (0.90, 0.01), "b": (0.85, 0.02)}, ""),
    "without errors": ("highest", 0, {"a": (0.86, None), "b": (0.85, None)}, "a"),
    "alone": ("highest", 0, {"a": (0.86, 0.01)}, ""),
}


@pytest.mark.parametrize(("best", "margin", "figures", "ahead"), LINES.values(), ids=LINES)
def test_the_best_figure_of_a_line_is_bold_if_it_is_ahead_of_all_others(best, margin, figures, ahead):
    entry = {key: {"mean": mean} | ({"se": se} if se else {}) for key, (mean, se) in figures.items()}
    results = {"best": best, "margin": margin, "columns": {"a": "a", "b": "b"}}
    assert write_results.column_ahead(entry | {"name": "line"}, results) == ahead


def test_the_tables_of_a_study_are_recorded(tmp_path):
    study, data = tmp_path / "guides.json", tmp_path / "data"
    data.mkdir()
    (data / "guides.json").write_text(json.dumps({"caption": "kept", "best": "highest"}))
    rows = [["guide", "ELBO", "gain", "k-hat"], ["iaf", "-94.85 ± 0.52", "+1.447 ± 0.012 (b)", "88%"]]
    study.write_text(json.dumps({"tables": {"": rows, "b": rows}}))
    written = record_study.record(study, "guides", "python scripts/compare_guides.py", data)
    assert [path.name for path in written] == ["guides.json", "guides-b.json"]
    results = json.loads(written[0].read_text(encoding="utf-8"))
    assert (results["caption"], results["best"]) == ("kept", "highest")
    assert "python scripts/compare_guides.py" in write_results.below(results)
    assert write_results.table(results).replace("\u00a0", " ").splitlines() == [
        "| guide | ELBO | gain | k-hat |",
        "| --- | --- | --- | --- |",
        "| iaf | -94.85 ± 0.52 | **1.447 ± 0.012 (b)** | 88% |",
    ]


@pytest.mark.parametrize("path", write_results.pages(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_pages_of_results_are_written_from_the_figures(path):
    page = path.read_text(encoding="utf-8")
    assert page == write_results.with_tables(page), "Run docs/write_results.py."
