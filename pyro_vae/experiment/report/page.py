"""Rendering of the page from plain values and the template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pyro_vae.experiment.report.charts import bokeh_script

__all__ = ["render"]

TEMPLATES = Path(__file__).parent / "templates"


def render(values: dict[str, Any]) -> str:
    """Return the page as HTML; all text in the values is escaped.

    Args:
        values: Values by their names in `report.html.j2`.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    # Keys must stay unsorted: Bokeh's JSON defines a model at its first occurrence.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    files = {
        "style": (TEMPLATES / "report.css").read_text(encoding="utf-8"),
        "script": (TEMPLATES / "report.js").read_text(encoding="utf-8"),
        "bokeh": bokeh_script(),
    }
    own = {name: Markup(text) for name, text in files.items()}  # files of packages, no user text
    return environment.get_template("report.html.j2").render(**values, **own)
