"""The run folder: a configuration, its weights, its results, and how they are read back."""

from __future__ import annotations

import dataclasses
import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pyro_vae import __version__
from pyro_vae._checks import InputError, check
from pyro_vae.building import build
from pyro_vae.checkpoint import PARTIAL, StorageError, load_weights, nulled, write_json
from pyro_vae.config import Config, from_json, to_json
from pyro_vae.data import DATASETS, DataSet, load_dataset
from pyro_vae.data.row_format import RowFormat
from pyro_vae.guides import AmortizedGuide
from pyro_vae.likelihoods import LIKELIHOODS
from pyro_vae.models import GenerativeModel
from pyro_vae.processes import Processes

__all__ = [
    "Run",
    "RunFolder",
    "absolute",
    "load_data",
    "load_run",
    "saved_config",
    "saved_info",
    "write_config",
]


class RunFolder:
    """The files of one run, by name.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.metrics = path / "metrics.jsonl"
        self.weights = path / "model.safetensors"
        self.state = path / "checkpoint" / "state.pt"
        self.summary = path / "summary.json"
        self.figures = path / "figures"

    @classmethod
    def create(cls, path: Path | None, name: str) -> RunFolder:
        """Make the folder of a new run: `path`, or the next free number `runs/NAME-001`, `-002`, ...

        Raises:
            InputError: If `path` holds files already or cannot be made.
        """
        try:
            if path is not None:
                path.mkdir(parents=True, exist_ok=True)
                check(
                    not any(entry.suffix != PARTIAL for entry in path.iterdir()),
                    f"Expected a new or empty folder for --out; {path} holds files. Choose another, or go on with "
                    f"that run by --resume {path}.",
                )
                return cls(path)
            parent = Path("runs")
            parent.mkdir(exist_ok=True)
            number = 1
            while True:
                try:
                    (parent / f"{name}-{number:03d}").mkdir()
                    return cls(parent / f"{name}-{number:03d}")
                except FileExistsError:
                    number += 1
        except OSError as error:
            raise InputError(
                f"Expected a folder to write the run to; {path or Path('runs')} cannot be made or written "
                f"({error.strerror}). Give another by --out."
            ) from None

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add one epoch's line."""
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(nulled(line)) + "\n")
        except OSError as error:
            raise StorageError(
                f"Could not write {self.metrics}: {error.strerror}. Free some space."
            ) from error


class Run(NamedTuple):
    """A run read back from its folder."""

    model: GenerativeModel
    guide: AmortizedGuide
    config: Config
    info: dict[str, Any]
    """What config.json says besides the configuration: data, rows, versions."""

    @property
    def row_format(self) -> RowFormat | None:
        """What the rows were that it was trained on; None for a run of version 0.1.0, whose folder does not say."""
        return RowFormat.from_json(self.info["rows"]) if "rows" in self.info else None


def write_config(folder: RunFolder, config: Config, dataset: DataSet, processes: Processes) -> None:
    """Write all that is needed to build the run again and to score new rows, from any working directory.

    That is every choice resolved, paths absolute, the data's SHA-256, the format of its rows, and versions.
    """
    packages = ("torch", "pyro-ppl", "numpy", "scikit-learn")
    data = {
        "name": dataset.name,
        "sha256": dataset.sha256,
        "data_shape": list(dataset.data_shape),
        "preprocessing": dataset.preprocessing.description,
        "num_rows": {split.name: len(split) for split in (dataset.train, dataset.validation, dataset.test)},
    }
    versions = {"pyro_vae": __version__} | {name: version(name) for name in packages}
    machine = {"threads": torch.get_num_threads(), "processes": processes.count}
    about = {"config": to_json(absolute(config)), "data": data, "versions": versions}
    write_json(folder.config, about | machine | {"rows": RowFormat.of(dataset).to_json()})


def absolute(config: Config) -> Config:
    """Return a configuration whose paths hold in every working directory.

    The folder of the named data sets stays open where the environment names it.
    """
    data, run = config.data, config.run
    root = data.data_root
    if data.dataset not in DATASETS:
        data = dataclasses.replace(data, dataset=str(_absolute(data.dataset)))
    elif root is None and data.dataset != "digits" and not os.environ.get("PYRO_VAE_DATA"):
        root = Path("data")
    data = dataclasses.replace(data, data_root=root and _absolute(root))
    out, resume, start = (path and _absolute(path) for path in (run.out, run.resume, run.start))
    run = dataclasses.replace(run, out=out, resume=resume, start=start)
    return dataclasses.replace(config, data=data, run=run)


def _absolute(path: str | Path) -> Path:
    # Without following links, as `resolve` would: they are followed when the path is used.
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100


def _read_config(path: Path) -> dict[str, Any]:
    file = RunFolder(path).config
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        values["config"], values["data"]["sha256"], values["data"]["data_shape"]
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"Expected the folder of a run; there is no config.json in {path}. Give the folder's path."
        ) from None
    except OSError as error:
        raise InputError(f"Could not read {file}: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"Expected a configuration in {file}; the file is damaged ({error}).") from None
    checked: dict[str, Any] = values
    return checked


def saved_config(path: Path) -> Config:
    """Return the configuration of a run, ready to resume it.

    Raises:
        InputError: If the folder holds no run or a damaged one.
    """
    config = from_json(_read_config(path)["config"])
    return dataclasses.replace(config, run=dataclasses.replace(config.run, out=path, resume=path))


def saved_info(path: Path) -> dict[str, Any]:
    """Return what a run's config.json says besides the configuration.

    Raises:
        InputError: If the folder holds no run or a damaged one.
    """
    values = _read_config(path)
    return {name: part for name, part in values.items() if name != "config"}


def load_data(config: Config) -> DataSet:
    """Return the data set that a configuration names, under the preprocessing that its likelihood needs."""
    data = config.data
    return load_dataset(
        data.dataset,
        data_root=data.data_root,
        likelihood_kind=LIKELIHOODS[config.model.likelihood].kind,
        binarize=data.binarize,
        dequantize=data.dequantize,
    )


def load_run(path: str | Path, device: str | torch.device = "cpu") -> Run:
    """Read a run back: model and guide with the best weights, in evaluation mode, and the configuration.

    Args:
        path: The run's folder.
        device: Where the programs are wanted.

    Raises:
        InputError: If the folder holds no run, or its weights are missing, damaged or of other settings.
    """
    folder = RunFolder(Path(path).expanduser())
    values = _read_config(folder.path)
    config = from_json(values.pop("config"))
    data_dim = torch.Size(values["data"]["data_shape"]).numel()
    # The data's mean and scale are kept with the weights: placeholders here.
    model, guide = build(config.model, torch.full((data_dim,), 0.5), torch.ones(data_dim))
    load_weights(folder.weights, model, guide)
    return Run(model.to(device).eval(), guide.to(device).eval(), config, values)
