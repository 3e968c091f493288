"""Files written before training: everything needed to rebuild the run."""

from __future__ import annotations

from importlib.metadata import version

import torch

from pyro_vae._version import __version__
from pyro_vae.data import DataSet
from pyro_vae.data.row_format import RowFormat
from pyro_vae.experiment.config import Config, to_json
from pyro_vae.experiment.run_folder import RunFolder
from pyro_vae.experiment.saved_config import absolute
from pyro_vae.processes import Processes
from pyro_vae.storage import write_json

__all__ = ["write_config"]


def write_config(folder: RunFolder, config: Config, dataset: DataSet, processes: Processes) -> None:
    """Write everything needed to rebuild the run and to score new rows, from any working directory.

    The file contains the resolved configuration with absolute paths, the SHA-256 of the data, the format of its rows,
    and versions.
    """
    packages = ("torch", "pyro-ppl", "numpy", "scikit-learn")
    data = {
        "name": dataset.name,
        "sha256": dataset.sha256,
        "data_shape": list(dataset.data_shape),
        "preprocessing": dataset.description,
        "num_rows": {split.name: len(split) for split in (dataset.train, dataset.validation, dataset.test)},
    }
    versions = {"pyro_vae": __version__} | {name: version(name) for name in packages}
    machine = {"threads": torch.get_num_threads(), "processes": processes.count}
    about = {"config": to_json(absolute(config)), "data": data, "versions": versions}
    write_json(folder.config, about | machine | {"rows": RowFormat.of(dataset).to_json()})
