"""The saved configuration of a run."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from pyro_vae._checks import InputError
from pyro_vae.experiment.config import Config, from_json
from pyro_vae.experiment.run_folder import RunFolder

__all__ = ["SEEDS", "absolute", "read_config", "saved_config", "saved_info"]


SEEDS = "seeds.json"
"""Name of the file that replaces config.json in a folder of several seeds."""


def absolute(config: Config) -> Config:
    """Return a configuration whose paths are valid in every working directory.

    The folder of the named data sets is left open if the environment sets it.
    """
    from pyro_vae.data import DATASETS  # imports torch, which a command line without --resume does not need

    data, run = config.data, config.run
    root = data.data_root
    if data.dataset not in DATASETS:
        data = dataclasses.replace(data, dataset=str(_absolute(data.dataset)))
    elif root is None and data.dataset != "digits" and not os.environ.get("PYRO_VAE_DATA"):
        root = Path("data")
    data = dataclasses.replace(data, data_root=root and _absolute(root))
    out, resume, start = (path and _absolute(path) for path in (run.out, run.resume, run.start))
    run = dataclasses.replace(run, out=out, resume=resume, start=start)
    weights = config.training.feature_weights
    training = dataclasses.replace(config.training, feature_weights=weights and _absolute(weights))
    return dataclasses.replace(config, data=data, training=training, run=run)


def _absolute(path: str | Path) -> Path:
    # Unlike `resolve`, this does not follow links: they are followed when the path is used.
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100


def read_config(path: Path) -> dict[str, Any]:
    """Return the content of a run's config.json.

    Raises:
        InputError: If the folder contains no run or a damaged one.
    """
    file = RunFolder(path).config
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        values["config"], values["data"]["sha256"], values["data"]["data_shape"]
    except (FileNotFoundError, NotADirectoryError):
        if (path / SEEDS).is_file():
            raise InputError(
                f"Expected the folder of one run; {path} holds the runs of several seeds. Give one of its folders."
            ) from None
        raise InputError(
            f"Expected the folder of a run; there is no config.json in {path}. Give the folder's path."
        ) from None
    except OSError as error:
        raise InputError(f"Could not read {file}: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"Expected a configuration in {file}; the file is damaged ({error}).") from None
    checked: dict[str, Any] = values
    return checked


def _read_seeds(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"Expected a configuration in {file}; the file is damaged ({error}).") from None


def saved_config(path: Path) -> Config:
    """Return the configuration of a run, or of the runs of several seeds, ready to resume it.

    Raises:
        InputError: If the folder contains no run or a damaged one.
    """
    seeds = path / SEEDS
    try:
        several = seeds.is_file()
    except OSError:  # for example a name that is too long
        several = False
    config = from_json(_read_seeds(seeds) if several else read_config(path)["config"])
    return dataclasses.replace(config, run=dataclasses.replace(config.run, out=path, resume=path))


def saved_info(path: Path) -> dict[str, Any]:
    """Return the entries of a run's config.json other than the configuration.

    Raises:
        InputError: If the folder contains no run or a damaged one.
    """
    values = read_config(path)
    return {name: part for name, part in values.items() if name != "config"}
