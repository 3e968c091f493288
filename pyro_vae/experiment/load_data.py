"""The data set of a configuration."""

from __future__ import annotations

from pyro_vae.data import DataSet, load_dataset
from pyro_vae.data.table_options import TableOptions
from pyro_vae.experiment.config import Config
from pyro_vae.likelihoods.registry import LIKELIHOODS

__all__ = ["load_data"]


def load_data(config: Config) -> DataSet:
    """Return the data set of a configuration, with its context and the preprocessing for its likelihood."""
    data = config.data
    dataset = load_dataset(
        data.dataset,
        data_root=data.data_root,
        likelihood_kind=LIKELIHOODS[config.model.likelihood].kind,
        binarize=data.binarize,
        # Dequantization noise only has a purpose for densities.
        dequantize="none" if config.model.part("guide").is_point else data.dequantize,
        image_size=data.image_size,
        crop=data.crop,
        grey=data.grey,
        packed_bits=data.packed_bits,
        flip=data.flip,
        table=_table_options(config),
    )
    with_context: DataSet = config.model.part("context").of(dataset, config.training.seed)
    return with_context


def _table_options(config: Config) -> TableOptions:
    data = config.data
    return TableOptions(
        separator=data.separator,
        encoding=data.encoding,
        header=data.header,
        decimal=data.decimal,
        missing=data.missing,
        drop=data.drop,
        label_column=data.label_column,
        id_column=data.id_column,
        kinds=data.columns,
        names=data.names,
    )
