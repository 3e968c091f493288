"""Add the figures of an evaluated run to a table of results, with its command, processor and date.

python docs/record_result.py runs/vae mnist-dynamic "VAE"

Reads config.json, summary.json and evaluation.json (of `scripts/evaluate.py`) of the run, and writes
docs/results/data/TABLE.json, from which `docs/write_results.py` makes the table of a page. Record a run on the machine
that trained it. An entry of the same name keeps what it has beside the figures, such as the published one.
"""

import argparse
import dataclasses
import json
import platform
from datetime import date
from pathlib import Path
from typing import Any

from pyro_vae.settings.data import DataConfig
from pyro_vae.settings.declare import flag_of
from pyro_vae.settings.model import ModelConfig
from pyro_vae.settings.training import TrainingConfig

DATA = Path(__file__).parent / "results" / "data"
CHOSEN_FROM_DATA = {"scale_floor", "fixed_scale", "device", "compile", "data_root"}
"""Settings that a run resolves by itself; the command gives the same run without them."""


def entry_of(run: Path) -> dict[str, Any]:
    """Return the figures of a run, nats per example, with the command that made it, the processor and the date."""
    config, summary, evaluation = (
        json.loads((run / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("config", "summary", "evaluation")
    )
    estimate = evaluation["log_likelihood"]
    samples, minutes = estimate["num_samples"], summary["train_seconds"] / 60
    entry: dict[str, Any] = {
        "elbo": _figure(evaluation["elbo"]),
        "importance": _figure(estimate) | {"note": f"K = {samples}"},
        "training": f"{summary['epochs']} epochs, {minutes:.1f} minutes, seed {summary['seed']}",
        "processor": processor(config["config"]["training"]["device"]),
        "date": date.fromtimestamp((run / "evaluation.json").stat().st_mtime).isoformat(),
        "commands": [
            command(config["config"]),
            f"python scripts/evaluate.py {run} --num-samples {estimate['num_samples']}",
        ],
    }
    if "annealing" in evaluation:
        entry["annealing"] = _figure(evaluation["annealing"]["minus_importance_sampling"])
    return entry


def command(config: dict[str, dict[str, Any]]) -> str:
    """Return the training command with all settings that are not at their defaults."""
    parts = ["python scripts/svi_train.py"]
    for group, settings in {"data": DataConfig, "model": ModelConfig, "training": TrainingConfig}.items():
        for field in dataclasses.fields(settings):
            value = config[group].get(field.name, field.default)
            value = tuple(value) if isinstance(value, list) else value
            if field.name not in CHOSEN_FROM_DATA and value not in (field.default, None, ()):
                words = (
                    ""
                    if value is True
                    else " ".join(map(str, value if isinstance(value, tuple) else (value,)))
                )
                parts.append(f"{flag_of(field.name)} {words}".strip())
    return " ".join(parts)


def processor(device: str) -> str:
    """Return the name of the processor that a run was trained on."""
    if device == "cuda":
        import torch

        return f"one {torch.cuda.get_device_name()}"
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _figure(measured: dict[str, Any]) -> dict[str, float]:
    return {"mean": round(measured["mean"], 3), "se": round(measured["se"], 3)}


def main() -> None:
    """Read the arguments and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a run that scripts/evaluate.py has scored")
    parser.add_argument("table", help="name of the table, without .json")
    parser.add_argument("name", help="name of the line")
    parser.add_argument("--out", type=Path, default=DATA, help="folder of the tables")
    arguments = parser.parse_args()
    missing = [n for n in ("config", "summary", "evaluation") if not (arguments.run / f"{n}.json").exists()]
    if missing:
        parser.error(
            f"Expected {missing[0]}.json in {arguments.run}; run scripts/evaluate.py {arguments.run} first."
        )
    path = arguments.out / f"{arguments.table}.json"
    columns = {"importance": "importance sampling", "elbo": "test ELBO", "training": "training"}
    results = (
        json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"columns": columns, "entries": []}
    )
    known = next((entry for entry in results["entries"] if entry["name"] == arguments.name), None)
    if known is None:
        results["entries"].append(known := {"name": arguments.name})
    known |= entry_of(arguments.run)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written: {path}. Write the page with: python docs/write_results.py")


if __name__ == "__main__":
    main()
