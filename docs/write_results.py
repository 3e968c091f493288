"""Write the tables of docs/results and docs/speed from their JSON files.

python docs/write_results.py

A page has a table between `<!-- results: NAME -->` and `<!-- end -->`. It is made from docs/results/data/NAME.json, to
which `docs/record_result.py` adds the figures of a run:

    {"caption": "...", "columns": {"importance": "here, importance sampling, K = 5000", ...},
     "entries": [{"name": "VAE", "published": {"mean": -86.76, "source": "Burda et al. 2016, table 1"},
                  "importance": {"mean": -86.69, "se": 0.23}, "training": "1800 epochs", "processor": "...",
                  "date": "2026-11-27", "commands": ["..."]}]}

Processor, date and commands may also stand beside the caption, for all entries together; "name" among the columns is
the header of the first. A column holds figures, which have a mean, or text. A figure "importance" is bold where it is
larger than the published one, which is of the same estimate, by more than its standard error. In a table with "best":
"highest" or "lowest" that figure of a line is bold if it is ahead of all others by more than both standard errors and
"margin". Other estimates are never bold.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
DATA = DOCS / "results" / "data"
ROUNDING = 1e-9
"""Differences of figures are rounded: 0.919 - 0.914 is above 0.005 by less than this."""
BLOCK = re.compile(r"<!-- results: (?P<name>[\w-]+) -->\n.*?<!-- end -->", re.DOTALL)


def pages() -> list[Path]:
    """Return the pages that may have such tables."""
    return sorted(page for folder in ("results", "speed") for page in (DOCS / folder).glob("*.md"))


def with_tables(page: str, folder: Path = DATA) -> str:
    """Return a page with each of its tables written from the JSON file of its name."""
    return BLOCK.sub(lambda found: _block(found["name"], folder), page)


def _block(name: str, folder: Path) -> str:
    results = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    parts = [results.get("caption", ""), table(results), below(results)]
    return f"<!-- results: {name} -->\n" + "\n\n".join(filter(None, parts)) + "\n<!-- end -->"


def table(results: Mapping[str, Any]) -> str:
    """Return results as a table in Markdown."""
    columns = {"name": ""} | results["columns"]
    lines = [list(columns.values()), ["---"] * len(columns)]
    for entry in results["entries"]:
        ahead = column_ahead(entry, results)
        lines.append([_cell(entry, column, bold=column == ahead) for column in columns])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(entry: Mapping[str, Any], column: str, *, bold: bool) -> str:
    value = entry.get(column, "")
    if isinstance(value, str):
        return value
    digits = value.get("digits", 2)
    text = f"{value['mean']:.{digits}f}" + (f"\u00a0±\u00a0{value['se']:.{digits}f}" if "se" in value else "")
    text += f" ({value['note']})" if "note" in value else ""
    return f"**{text}**" if bold else text


def column_ahead(entry: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """Return the column with the figure that is bold in a line; "" if there is none."""
    if "best" not in results:
        return "importance" if "importance" in entry and is_better(entry) else ""
    sign = {"highest": 1, "lowest": -1}[results["best"]]
    figures = {key: entry[key] for key in results["columns"] if isinstance(entry.get(key), dict)}
    first, *others = sorted(figures, key=lambda key: -sign * figures[key]["mean"])

    def is_behind(other: str) -> bool:
        errors = (figures[key].get("se", 0.0) for key in (first, other))
        lead = sign * (figures[first]["mean"] - figures[other]["mean"])
        return bool(lead > max(*errors, results.get("margin", 0.0)) + ROUNDING)

    return first if others and all(map(is_behind, others)) else ""


def is_better(entry: Mapping[str, Any]) -> bool:
    """Whether our figure is larger than the published one by more than its standard error."""
    here, published = entry["importance"], entry.get("published")
    return bool(published) and here["mean"] - published["mean"] > here["se"] + ROUNDING


def below(results: Mapping[str, Any]) -> str:
    """Return what stands below the table: sources, processor and date where they are known, and commands."""
    entries = results["entries"]
    published = [e["published"] for e in entries if isinstance(e.get("published"), dict)]
    sources = list(dict.fromkeys(figure["source"] for figure in published))
    dated = [e for e in (results, *entries) if "date" in e] or [results, *entries]
    facts = [", ".join(e[key] for key in ("processor", "date") if key in e) for e in dated]
    where = list(dict.fromkeys(filter(None, facts)))
    lines = [f"Published: {'; '.join(sources)}."] if sources else []
    lines += [f"Measured: {'; '.join(where)}."] if where else []
    commands = ["\n".join(results["commands"])] if "commands" in results else []
    commands += [f"# {e['name']}\n" + "\n".join(e["commands"]) for e in entries if "commands" in e]
    if commands:
        blocks = "\n\n".join(commands)
        lines += [f"<details>\n<summary>Commands</summary>\n\n```bash\n{blocks}\n```\n\n</details>"]
    return "\n\n".join(lines)


def main() -> None:
    """Write the tables of all pages."""
    for path in pages():
        page = path.read_text(encoding="utf-8")
        if BLOCK.search(page):
            path.write_text(with_tables(page), encoding="utf-8")
            print(f"written: {path}")


if __name__ == "__main__":
    main()
