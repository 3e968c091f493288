"""Every notebook runs from top to bottom without a warning, and is stored with outputs that are worth reading."""

import re
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
IN_A_KERNEL = "01_from_em_to_the_elbo"
"""The notebook that is run by Jupyter. The others are run in this process, which has imported torch already."""
MOST_BYTES = 400_000
MACHINE_PATH = re.compile(r"(?<![\w.])/(home|root|tmp|Users|work|usr|opt|mnt)/")

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def faults(notebook):
    """What a cell wrote to stderr, and errors: neither belongs in a notebook."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


def draw():
    """Draw and close the figures that a cell has made."""
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")


@pytest.fixture
def fast(monkeypatch):
    """The notebooks' fast mode. They hold their own assertions; one that fails ends the run with its message."""
    monkeypatch.setenv("PYRO_VAE_FAST", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(ROOT / "notebooks")


@pytest.mark.slow
def test_jupyter_runs_one(fast):
    notebook = nbformat.read(f"{IN_A_KERNEL}.ipynb", as_version=4)
    for cell in code_cells(notebook):
        cell.outputs = []
    NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
    assert faults(notebook) == []
    assert any(cell.outputs for cell in code_cells(notebook))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # which Python hides outside of tests
@pytest.mark.parametrize(
    "path", [path for path in NOTEBOOKS if path.stem != IN_A_KERNEL], ids=lambda path: path.stem
)
def test_it_runs(path, fast, monkeypatch, capsys):
    monkeypatch.setattr(plt, "show", draw)
    namespace = {"__name__": path.stem}
    with mpl.rc_context():
        for number, cell in enumerate(code_cells(nbformat.read(path, as_version=4)), start=1):
            exec(compile(cell.source, f"{path.name}, cell {number}", "exec"), namespace)
    assert plt.get_fignums() == []
    printed, faults = capsys.readouterr()
    assert printed
    assert faults == ""


@each_notebook
def test_it_was_run_in_order_and_its_outputs_kept(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert all(cell.source.strip() for cell in notebook.cells), "an empty cell"
    assert faults(notebook) == []
    assert any(
        "image/png" in output.get("data", {}) for cell in code_cells(notebook) for output in cell.outputs
    )


@each_notebook
def test_it_opens_with_a_question_and_an_answer(path):
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    assert re.match(r"# .+\n\n\*\*[^*]+\?\*\*\n\nShort answer: ", first.source)


@each_notebook
def test_it_is_small_and_contains_no_machine_paths(path):
    text = path.read_text(encoding="utf-8")
    assert len(text) < MOST_BYTES
    assert MACHINE_PATH.search(text) is None
    assert all(not cell.metadata for cell in nbformat.read(path, as_version=4).cells), "timestamps or tags"
