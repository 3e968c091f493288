"""What the files of a run show: how far its process got, what a kill damaged, and in what two runs differ."""

import json
from pathlib import Path

PHASES = ("starting", "before its first checkpoint", "training", "evaluation", "figures")


def phase(folder: Path, since: float, epochs: int) -> str:
    """Return how far a process got, from the files that it wrote."""

    def written(name: str) -> bool:
        path = folder / name
        return path.exists() and path.stat().st_mtime >= since

    if not written("metrics.jsonl"):
        return "starting"
    if written("summary.json"):
        return "figures"
    if not written("checkpoint/state.pt"):
        return "before its first checkpoint"
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").count("\n")
    return "evaluation" if lines == epochs else "training"


def damaged(folder: Path) -> list[str]:
    """Return the names of files that a kill has left half-written."""
    from safetensors.torch import load_file

    from pyro_vae.experiment.checkpoint import load_state

    def load_json(path: Path) -> None:
        json.loads(path.read_text(encoding="utf-8"))

    readers = {
        "config.json": load_json,
        "summary.json": load_json,
        "model.safetensors": load_file,
        "checkpoint/state.pt": load_state,
    }
    bad = []
    for name, read in readers.items():
        try:
            if (folder / name).exists():
                read(folder / name)
        except Exception:  # whatever the reader stumbles over, the file is not whole
            bad.append(name)
    return bad


def differences(folder: Path, reference: Path) -> list[str]:
    """Return in what a finished run differs from the uninterrupted one."""
    import torch
    from safetensors.torch import load_file

    from pyro_vae.experiment.checkpoint import load_state

    def equal(a: dict, b: dict) -> bool:
        return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)

    def losses(run: Path) -> list[tuple]:
        lines = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
        return [(line["epoch"], line["train"], line["validation"]) for line in lines]

    def names(run: Path) -> set[Path]:
        return {path.relative_to(run) for path in run.rglob("*")}

    runs = (folder, reference)
    best = [load_file(run / "model.safetensors") for run in runs]
    last = [load_state(run / "checkpoint" / "state.pt")["weights"] for run in runs]
    same = {
        "weights": equal(*best),
        "the last checkpoint's weights": equal(*last),
        "metrics": losses(folder) == losses(reference),
        "files": names(folder) == names(reference),
    }
    return [name for name, holds in same.items() if not holds]
