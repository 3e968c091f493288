"""Write the tables of results of a study, such as guides or imputation, with command, processor and date.

python docs/record_study.py runs/digits-guides/guides.json guides-digits "python scripts/compare_guides.py"

Reads the tables in the JSON file that `compare_guides.py`, `calibration.py` or `benchmark.py` has left, and writes
docs/results/data/TABLE.json, or TABLE-NAME.json where a file has several. `docs/write_results.py` then writes the page.
Record a study on the machine that ran it. A table that is there keeps its caption, and which figures are bold.
"""

import argparse
import json
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from record_result import DATA, processor

FIGURE = re.compile(r"(?P<mean>[+-]?\d+(\.(?P<decimals>\d+))?)( ± (?P<se>[\d.]+))?( \((?P<note>[^()]+)\))?")


def study_table(rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return columns and entries of a table whose first row is its header and whose first column names its lines."""
    (first, *header), *lines = rows
    entries = [
        {"name": name} | {key: figure(cell) for key, cell in zip(header, cells, strict=True) if cell}
        for name, *cells in lines
    ]
    return {"columns": {"name": first} | {key: key for key in header}, "entries": entries}


def figure(cell: str) -> Any:
    """Return a cell such as "-96.30 ± 0.52 (note)" as a figure with its number of decimals, and any other as it is."""
    found = FIGURE.fullmatch(cell)
    if found is None:
        return cell
    numbers = {key: float(found[key]) for key in ("mean", "se") if found[key]}
    note = {"note": found["note"]} if found["note"] else {}
    return numbers | {"digits": len(found["decimals"] or "")} | note


def record(file: Path, table: str, command: str, out: Path = DATA) -> list[Path]:
    """Write the tables of a study, and return their files."""
    tables = json.loads(file.read_text(encoding="utf-8"))["tables"]
    measured = date.fromtimestamp(file.stat().st_mtime).isoformat()
    facts = {"processor": processor("cpu"), "date": measured, "commands": [command]}
    written = []
    for name, rows in tables.items():
        path = out / f"{'-'.join(filter(None, (table, name)))}.json"
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        kept = {"caption": ""} | {key: kept[key] for key in ("caption", "best", "margin") if key in kept}
        results = kept | facts | study_table(rows)
        path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(path)
    return written


def main() -> None:
    """Read the arguments and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="JSON file of a study")
    parser.add_argument("table", help="name of the table, without .json")
    parser.add_argument("command", help="the command that made the file")
    parser.add_argument("--out", type=Path, default=DATA, help="folder of the tables")
    arguments = parser.parse_args()
    if not arguments.file.is_file():
        parser.error(f"Expected the JSON file of a study; {arguments.file} is not there. Give its path.")
    written = record(arguments.file, arguments.table, arguments.command, arguments.out)
    print(f"written: {', '.join(map(str, written))}. Write the page with: python docs/write_results.py")


if __name__ == "__main__":
    main()
