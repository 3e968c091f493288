"""The console command, scripts from a clone, and the built wheel."""

import importlib
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from pyro_vae import __version__
from pyro_vae._command_line import parse
from pyro_vae._commands import COMMANDS, command, started_by

ROOT = Path(__file__).parent.parent
PACKAGES = sysconfig.get_paths()["purelib"]


def python(*words, path=(), cwd=None, isolated=False):
    """Run Python without the editable installation: without site packages, or with those of `path` alone."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, path))
    options = ["-S"] if isolated else []
    return subprocess.run(
        [sys.executable, *options, *map(str, words)], env=environment, cwd=cwd, capture_output=True, text=True
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_a_module(name):
    module = importlib.import_module(f"pyro_vae.cli.{name.replace('-', '_')}")
    assert callable(module.main)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pyproject.toml", 'version = "{}"'),
        ("CITATION.cff", "version: {}"),
        ("docs/start/cite.md", "version = {{{}}}"),
        ("CHANGELOG.md", "## [{}]"),
    ],
)
def test_the_version_is_the_same_everywhere(file, text):
    assert text.format(__version__) in (ROOT / file).read_text(encoding="utf-8")


@pytest.mark.slow
def test_help_lists_the_commands_and_an_unknown_one_is_refused():
    shown = python("-m", "pyro_vae", "--help")
    assert shown.returncode == 0
    assert all(f"  {name}" in shown.stdout for name in COMMANDS)
    assert python("-m", "pyro_vae", "--version").stdout == f"pyro_vae {__version__}\n"
    refused = python("-m", "pyro_vae", "trian")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: Expected a command, one of train, evaluate, ")
    assert refused.stderr.endswith("got 'trian'. Did you mean train?\n")


@pytest.mark.parametrize("command", ["impute", "compare-guides"])
def test_a_command_answers_help_without_heavy_imports(command):
    """Of those that `import tyro` alone does not make, as early versions of it do."""
    code = f"import sys, tyro; sys.argv = ['pyro-vae', '{command}', '--help']; made = set(sys.modules)\n"
    code += "from pyro_vae.cli import main\ntry: main()\nexcept SystemExit: "
    code += "print({'torch', 'tqdm', 'asyncio', 'typeguard'} & sys.modules.keys() - made)"
    assert python("-c", code).stdout.endswith("set()\n")


def test_parsing_leaves_the_types_of_the_options_as_they_are():
    @dataclass(frozen=True)
    class Arguments:
        hidden: tuple[int, ...] = (400,)

    before = dict(Arguments.__annotations__)
    assert parse(Arguments, ["--hidden", "8", "4"]) == Arguments((8, 4))
    with pytest.raises(SystemExit):
        parse(Arguments, ["--hidden", "wide"])
    assert Arguments.__annotations__ == before


def test_a_hint_names_a_command_of_the_kind_that_was_started(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["scripts/svi_train.py"])
    assert command("evaluate", "runs/a b").endswith("scripts/evaluate.py 'runs/a b'")
    monkeypatch.setattr(sys, "argv", ["pyro-vae train"])
    assert command("evaluate", "runs/a") == "pyro-vae evaluate runs/a"
    token = started_by.set(("python", "-m", "pyro_vae"))
    assert command("train", "--resume", "runs/a") == "python -m pyro_vae train --resume runs/a"
    started_by.reset(token)


def test_a_script_without_its_packages_says_what_to_run():
    done = python("scripts/svi_train.py", "--likelihood", "gaussian", cwd=ROOT, isolated=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: Expected the packages that pyro_vae needs; ")
    assert "Run `make install` first, then: " in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_script_runs_from_a_clone_that_is_not_installed(tmp_path):
    done = python(ROOT / "scripts/encode.py", "--help", path=[PACKAGES], cwd=tmp_path, isolated=True)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def assert_holds_the_package_alone(sdist):
    """Assert that a source distribution has the package with licence, changelog and citation, and no tests."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {"LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "pyro_vae/__init__.pyi"}
    assert not any(name.startswith(("tests", "scripts")) for name in names)


@pytest.mark.slow
def test_the_wheel_runs_from_an_empty_folder(tmp_path):
    """Built from the files under version control alone, so that what is forgotten there is missing here too."""
    source, target = tmp_path / "source", tmp_path / "installed"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("git lists the files of the wheel; this is not a clone")
    for name in filter(None, listed.stdout.split("\0")):
        if name.split("/")[0] != "docs":
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = ["-m", "build", "--no-isolation", "--outdir", tmp_path / "dist", source]
    built = subprocess.run([sys.executable, *map(str, build)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert {path.suffix for path in (tmp_path / "dist").iterdir()} == {".gz", ".whl"}
    assert_holds_the_package_alone(*(tmp_path / "dist").glob("*.tar.gz"))
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    (entries,) = target.glob("*.dist-info/entry_points.txt")
    assert "pyro-vae = pyro_vae.cli:main" in entries.read_text()
    small = ["--epochs", "1", "--hidden", "8", "--latent-dim", "2", "--evaluate", "none", "--out", "run"]
    done = python("-m", "pyro_vae", "train", *small, path=[target, PACKAGES], cwd=tmp_path, isolated=True)
    assert done.returncode == 0, done.stderr
    assert "pyro_vae evaluate run" in done.stdout
    assert (tmp_path / "run/model.safetensors").is_file()
