"""Write the tables of docs/results from their JSON files.

python docs/write_results.py

A page has a table between `<!-- results: NAME -->` and `<!-- end -->`. It is made from docs/results/data/NAME.json, to
which `docs/record_result.py` adds the figures of a run:

    {"caption": "...", "columns": {"importance": "here, importance sampling, K = 5000", ...},
     "entries": [{"name": "VAE", "published": {"mean": -86.76, "source": "Burda et al. 2016, table 1"},
                  "importance": {"mean": -86.69, "se": 0.23}, "training": "1800 epochs", "processor": "...",
                  "date": "2026-11-27", "commands": ["..."]}]}

Processor, date and commands may also stand beside the caption, for all entries together; "name" among the columns is
the header of the first. A column holds figures, which have a mean, or text. A figure "importance" is bold where it is
larger than the published one, which is of the same estimate, by more than its standard error. Other estimates are never
bold.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
BLOCK = re.compile(r"<!-- results: (?P<name>[\w-]+) -->\n.*?<!-- end -->", re.DOTALL)


def with_tables(page: str, folder: Path = RESULTS / "data") -> str:
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
    lines += [[_cell(entry, column) for column in columns] for entry in results["entries"]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(entry: Mapping[str, Any], column: str) -> str:
    value = entry.get(column, "")
    if isinstance(value, str):
        return value
    digits = value.get("digits", 2)
    text = f"{value['mean']:.{digits}f}" + (f"\u00a0±\u00a0{value['se']:.{digits}f}" if "se" in value else "")
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
    for path in sorted(RESULTS.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        if BLOCK.search(page):
            path.write_text(with_tables(page), encoding="utf-8")
            print(f"written: {path}")


if __name__ == "__main__":
    main()
