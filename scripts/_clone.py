"""Run scripts from a clone: find the package beside them, and name what is not installed.

Every script calls `find_package` before it imports anything else. It runs in Python versions that the package does not.
"""

import importlib
import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""Folder of the clone."""
PACKAGES = (
    "arviz",
    "matplotlib",
    "numpy",
    "pandas",
    "PIL",
    "pyro",
    "safetensors",
    "sklearn",
    "scipy",
    "torch",
    "torchvision",
    "tqdm",
    "tyro",
)
"""What the dependencies in pyproject.toml are imported as."""


def find_package() -> None:
    """Make `pyro_vae` importable, from the clone where it is not installed, or exit with status 2 and one sentence."""
    if sys.version_info < (3, 11):  # noqa: UP036 (it answers to older ones)
        _stop(f"Expected Python 3.11 or later; {sys.executable} is {sys.version.split()[0]}.")
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        _stop(f"Expected the packages that pyro_vae needs; {sys.executable} lacks {shown}.")
    if find_spec("pyro_vae") is None:
        sys.path.append(str(ROOT))
        # Of the processes that the script starts, too.
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))


def run_command(name: str) -> None:
    """Run a command of the package with the arguments of this script, and exit with its status."""
    find_package()
    from pyro_vae._environment import limit_thread_spinning, run_script

    limit_thread_spinning()
    run_script(importlib.import_module("pyro_vae.cli").main_of(name))


def _stop(found: str) -> None:
    """Exit, saying what was found and what to run."""
    venv = os.path.relpath(ROOT / ".venv" / "bin" / "python")
    where = "" if Path.cwd() == ROOT else f" in {ROOT}"
    again = " ".join(map(shlex.quote, [venv, *sys.argv]))
    print(f"error: {found} Run `make install`{where} first, then: {again}", file=sys.stderr)
    sys.exit(2)
