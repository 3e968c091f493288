"""Data sets by name or by path: reading, splits, preprocessing and batches."""

from pyro_vae.data.batch_order import Batches
from pyro_vae.data.dataset import DataSet
from pyro_vae.data.loading import load_dataset
from pyro_vae.data.named_datasets import DATASETS
from pyro_vae.data.preprocessing import (
    AsFloat,
    BinarizeDynamic,
    BinarizeStatic,
    Centre,
    Dequantize,
    IntegerLevels,
    Preprocessing,
    Rescale,
)
from pyro_vae.data.splits import Split

__all__ = [
    "DATASETS",
    "AsFloat",
    "Batches",
    "BinarizeDynamic",
    "BinarizeStatic",
    "Centre",
    "DataSet",
    "Dequantize",
    "IntegerLevels",
    "Preprocessing",
    "Rescale",
    "Split",
    "load_dataset",
]

__path__.append(f"{__path__[0]}/../_moved/data")  # modules of version 0.1.0 under their old names
