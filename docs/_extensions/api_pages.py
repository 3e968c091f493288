"""The directive `public-names`: a table of the public names of a package, then the documentation of each.

`pyro_vae` passes names of its subpackages on. They are documented once, where they live, and found under both names.
"""

import importlib
import inspect
import re
import sys
from types import ModuleType
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from plain_docstrings import escape
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective
from sphinx.util.logging import getLogger

LOGGER = getLogger(__name__)
PACKAGES = (
    "pyro_vae.models",
    "pyro_vae.guides",
    "pyro_vae.priors",
    "pyro_vae.likelihoods",
    "pyro_vae.objectives",
    "pyro_vae.networks",
    "pyro_vae.training",
    "pyro_vae.compiled",
    "pyro_vae.evaluate",
    "pyro_vae.evaluate.gaps",
    "pyro_vae.evaluate.samples",
    "pyro_vae.uses",
    "pyro_vae.compression",
    "pyro_vae.data",
    "pyro_vae.baselines",
    "pyro_vae.estimator",
    "pyro_vae.plots",
)
"""Public packages with a page of their own in the reference."""


def homes() -> dict[str, str]:
    """Return the name under which each public name of `pyro_vae` is documented."""
    top = importlib.import_module("pyro_vae")
    found = {name: f"pyro_vae.{name}" for name in top.__all__}
    for package in reversed(PACKAGES):
        names = set(importlib.import_module(package).__all__) & found.keys()
        module = importlib.import_module(package)
        found |= {name: f"{package}.{name}" for name in names if getattr(module, name) is getattr(top, name)}
    return found


def documented_names() -> set[str]:
    """Return every name that the reference has to hold."""
    names = {f"pyro_vae.{name}" for name in importlib.import_module("pyro_vae").__all__}
    return names.union(*({f"{p}.{name}" for name in importlib.import_module(p).__all__} for p in PACKAGES))


class PublicNames(SphinxDirective):
    """Insert the docstring of a package, a table of its public names, and their documentation."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Insert the lines after this one."""
        package = self.arguments[0]
        module = importlib.import_module(package)
        own = [
            name for name in module.__all__ if package != "pyro_vae" or homes()[name] == f"pyro_vae.{name}"
        ]
        text = inspect.cleandoc(module.__doc__ or "").splitlines()
        lines = [f".. py:module:: {package}", "", *map(escape, text), ""]
        lines += [".. list-table::", "   :widths: auto", ""]
        for name in module.__all__:
            full = homes()[name] if package == "pyro_vae" else f"{package}.{name}"
            lines += [f"   * - :py:obj:`{name} <{full}>`", f"     - {escape(summary(module, name))}"]
        for name in own:
            lines += ["", *_documentation(module, package, name)]
        self.state_machine.insert_input(StringList(lines, f"<{package}>"), f"<{package}>")
        return []


def summary(module: ModuleType, name: str) -> str:
    """Return the first line of the docstring of a name; of a constant, the first sentence."""
    value: Any = getattr(module, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        return (inspect.getdoc(value) or "").partition("\n")[0]
    text = " ".join(_comment_of(module.__name__, name)).strip()
    return re.split(r"(?<=\.)\s", text)[0]


def _documentation(module: ModuleType, package: str, name: str) -> list[str]:
    """Return the directive that documents one name."""
    value: Any = getattr(module, name)
    if inspect.isclass(value):
        return [f".. autoclass:: {package}.{name}"]
    if callable(value) and not hasattr(value, "__origin__"):
        return [f".. autofunction:: {package}.{name}"]
    return [
        f".. py:data:: {name}",
        "",
        *(f"   {escape(line)}" for line in _comment_of(package, name)),
    ]


def _comment_of(package: str, name: str) -> list[str]:
    """Return the docstring below the assignment of a constant, in whichever module of the package that is."""
    for module in sorted(name for name in sys.modules if name.startswith(package)):
        text = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", name))
        if text:
            return text
    raise ValueError(f"Expected a docstring below the assignment of {package}.{name}; found none.")


def _add_short_names_and_check(app: Sphinx, env: BuildEnvironment) -> None:
    """Enter names that `pyro_vae` passes on beside those of its subpackages; warn of names without documentation."""
    domain = env.domains.python_domain
    for name, home in homes().items():
        entry = domain.objects.get(home)
        if entry is not None and home != f"pyro_vae.{name}":
            domain.objects[f"pyro_vae.{name}"] = entry._replace(aliased=True)
    for name in sorted(documented_names() - domain.objects.keys()):
        LOGGER.warning("Expected %s in the reference; found no documentation of it.", name)


def _skip_foreign(app: Sphinx, what: str, name: str, value: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what classes inherit from other libraries."""
    function = value.fget if isinstance(value, property) else value
    module = getattr(function, "__module__", None) or "pyro_vae"
    return None if module.startswith("pyro_vae") else True


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("public-names", PublicNames)
    app.connect("autodoc-skip-member", _skip_foreign)
    app.connect("env-check-consistency", _add_short_names_and_check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
