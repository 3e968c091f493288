"""The directive `results-table`: a table of figures from a JSON file, with its commands below.

`docs/record_result.py` adds the figures of a run to such a file:

    {"caption": "...", "columns": {"importance": "here, importance sampling, K = 5000", ...},
     "entries": [{"name": "VAE", "published": {"mean": -86.76, "source": "Burda et al. 2016, table 1"},
                  "importance": {"mean": -86.69, "se": 0.23}, "training": "1800 epochs", "processor": "...",
                  "date": "2026-11-27", "commands": ["..."]}]}

A column holds figures, which have a mean, or text. A figure "importance" is bold where it is larger than the published
one, which is of the same estimate, by more than its standard error. Other estimates are never bold.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

DATA = Path(__file__).parent.parent / "results" / "data"


def table(results: Mapping[str, Any]) -> str:
    """Return results as a table in Markdown."""
    columns = results["columns"]
    lines = [["", *columns.values()], ["---"] * (len(columns) + 1)]
    lines += [[entry["name"], *(_cell(entry, column) for column in columns)] for entry in results["entries"]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(entry: Mapping[str, Any], column: str) -> str:
    value = entry.get(column, "")
    if isinstance(value, str):
        return value
    text = f"{value['mean']:.{value.get('digits', 2)}f}" + (
        f"\u00a0±\u00a0{value['se']:.2f}" if "se" in value else ""
    )
    text += f" ({value['note']})" if "note" in value else ""
    return f"**{text}**" if column == "importance" and is_better(entry) else text


def is_better(entry: Mapping[str, Any]) -> bool:
    """Whether our figure is larger than the published one by more than its standard error."""
    here, published = entry["importance"], entry.get("published")
    return bool(published) and here["mean"] - published["mean"] > here["se"]


def below(results: Mapping[str, Any]) -> str:
    """Return what stands below the table: sources, processor and date where they are known, and commands."""
    entries = results["entries"]
    published = [e["published"] for e in entries if isinstance(e.get("published"), dict)]
    sources = list(dict.fromkeys(figure["source"] for figure in published))
    where = list(dict.fromkeys(f"{e['processor']}, {e['date']}" for e in entries if "date" in e))
    where = where or list(dict.fromkeys(e["processor"] for e in entries if "processor" in e))
    lines = [f"Published: {'; '.join(sources)}."] if sources else []
    lines += [f"Measured on: {'; '.join(where)}."] if where else []
    commands = [f"# {e['name']}\n" + "\n".join(e["commands"]) for e in entries if "commands" in e]
    lines += [":::{dropdown} Commands\n```bash\n" + "\n\n".join(commands) + "\n```\n:::"] if commands else []
    return "\n\n".join(lines)


class ResultsTable(SphinxDirective):
    """Insert the table of a file of `docs/results/data`, by its name."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table and what stands below it."""
        path = DATA / f"{self.arguments[0]}.json"
        self.env.note_dependency(str(path))
        results = json.loads(path.read_text(encoding="utf-8"))
        parts = [results.get("caption", ""), table(results), below(results)]
        return self.parse_text_to_nodes("\n\n".join(parts))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("results-table", ResultsTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
