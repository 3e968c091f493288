"""A module imports only from layers below its own."""

import ast
from pathlib import Path

import pytest

import pyro_vae

PACKAGE = Path(pyro_vae.__file__).parent
LAYERS = [
    {"_checks", "_command_line", "_pickling", "_environment", "processes", "progress", "data"},
    {
        "_programs",
        "_inputs",
        "networks",
        "flows",
        "likelihoods",
        "priors",
        "objectives",
        "baselines",
        "plots",
    },
    {"models", "guides", "compiled", "mcmc"},
    {"linear"},
    {"training", "checkpoint", "evaluate"},
    {"gaps", "monte_carlo_em", "config"},
    {"building"},
    {"comparison"},
    {"runs", "closing"},
    {"report"},
    {"scoring"},
    {"experiment"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# What a module may import from its own layer, and what crosses upwards, with the reason.
WITHIN = {
    "data": {"_checks", "processes"},
    "processes": {"_checks"},
    "_environment": {"_checks"},
    "_command_line": {"_checks"},
    "objectives": {"_programs", "_inputs"},
    "flows": {"networks"},
    "priors": {"networks", "flows"},
}
UPWARDS = {
    # `--resume` reads the saved configuration; imported inside the function that needs it.
    ("config", "runs"),
}


def imports(path):
    """Return the modules of the package that a file imports when it runs, not for type checking alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pyro_vae"):
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (
                alias.name.split(".")[1] for alias in node.names if alias.name.startswith("pyro_vae.")
            )


def files():
    return sorted(
        path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE
    )


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert own in LEVEL, f"{own} has no layer yet"
    for other in set(imports(path)) - {own, "__version__"}:
        allowed = LEVEL[other] < LEVEL[own] or other in WITHIN.get(own, ()) or (own, other) in UPWARDS
        assert allowed, f"{own} (layer {LEVEL[own]}) imports {other} (layer {LEVEL[other]})"


def test_layers_hold_what_is_there():
    there = {
        p.stem if p.is_file() else p.name for p in PACKAGE.iterdir() if not p.name.startswith(("__", "."))
    }
    assert there - {"py"} <= set(LEVEL)
