"""What the README shows works, and shows what there is."""

import re
from pathlib import Path

import pytest

from pyro_vae.data import DATASETS
from pyro_vae.likelihoods import LIKELIHOODS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    quick = code.replace("epochs=300", "epochs=1, progress=False")
    assert quick != code
    exec(compile(quick, "README.md", "exec"), {})
    assert "nats per example, 250 rows" in capsys.readouterr().out


@pytest.mark.parametrize("name", [*DATASETS, *LIKELIHOODS])
def test_every_choice_is_named(name):
    assert f"`{name}`" in README


def test_every_picture_is_there_and_small():
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert pictures
    for picture in pictures:
        assert 0 < (ROOT / picture).stat().st_size < 300_000, picture


def test_every_script_named_is_there():
    for script in set(re.findall(r"scripts/\w+\.py", README)):
        assert (ROOT / script).is_file(), script
