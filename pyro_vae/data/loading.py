"""`load_dataset`: from a name or a path to three splits with a preprocessing that fits the likelihood."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from pyro_vae._checks import InputError, check, check_choice
from pyro_vae.data.augmentation import HorizontalFlip
from pyro_vae.data.choose_preprocessing import choose_preprocessing
from pyro_vae.data.data_notes import few_rows_note, notes_on
from pyro_vae.data.dataset import DataSet
from pyro_vae.data.fixed_draws import draw_splits
from pyro_vae.data.image_options import ImageOptions
from pyro_vae.data.mixed_tables import read_table
from pyro_vae.data.named_datasets import DATASETS, read_named
from pyro_vae.data.named_frames import name_of
from pyro_vae.data.packed_bits import check_not_packed
from pyro_vae.data.plain_tables import read_plain_table
from pyro_vae.data.preprocessing import Centre, Preprocessing
from pyro_vae.data.readers import READERS, read
from pyro_vae.data.splits import Split
from pyro_vae.data.stored import Stored, Survey, rows_of, survey
from pyro_vae.data.table_files import TABLE_ENDINGS, is_table_file
from pyro_vae.data.table_options import AS_FOUND, TableOptions
from pyro_vae.data.units import LIKELIHOOD_KINDS, LikelihoodKind

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["load_dataset"]


def load_dataset(
    name_or_path: str | Path | pd.DataFrame,
    *,
    data_root: Path | None = None,
    likelihood_kind: LikelihoodKind = "continuous",
    binarize: Literal["none", "static", "dynamic"] = "none",
    dequantize: Literal["auto", "none"] = "auto",
    image_size: int | Sequence[int] | None = None,
    crop: Literal["none", "center"] = "none",
    grey: bool = False,
    packed_bits: int | Sequence[int] | None = None,
    flip: Literal["none", "horizontal"] = "none",
    table: TableOptions = AS_FOUND,
) -> DataSet:
    """Load a data set with fixed splits, prepared for a likelihood.

    Splits and fixed draws use a constant data seed, so that every model, run and baseline is compared on the
    same rows with the same noise. Test and validation splits of the data are kept; missing ones are drawn, each a
    tenth of the training rows (`digits`: 250 each; `mnist`, `fashion-mnist`: 5000 validation rows).

    Under a continuous likelihood integer data is dequantized: of type uint8 with values above 1 as 256
    levels, otherwise with one level for each integer from the lowest to the highest of all rows
    (`digits`: 17). Float data is not changed; a likelihood on the unit interval needs values in [0, 1]. Under an
    integer likelihood the same levels are kept without noise, x = (k - lowest) / (levels - 1). Under a binary
    likelihood the data must consist of zeros and ones, or be binarized.

    Args:
        name_or_path: A name of `DATASETS`, a path (see `pyro_vae.data.readers`), or a DataFrame.
        data_root: Folder of the named data sets (`pyro_vae.data.named_datasets`); by default the environment variable
            PYRO_VAE_DATA, else ./data.
        likelihood_kind: Kind of p(x | z): a density on the reals or on [0, 1], or probabilities of zeros and ones or
            of integers.
        binarize: Binarization of grey values under a binary likelihood: sampled once ("static"), or again in every
            epoch ("dynamic").
        dequantize: "none" rescales integers to [0, 1] without noise.
        image_size: Height and width, or one number for both, to which images of a folder are resized; default 64 for
            `celeba`.
        crop: "center" crops images of a folder before they are resized: to the largest central part with the aspect
            ratio of `image_size`, or to the largest central square without `image_size`.
        grey: Whether images of a folder, or of `celeba`, are converted to grey.
        packed_bits: Height and width, or one number for both, of binary images in a `.npy` or `.npz` file with eight
            pixels per byte, as written by `numpy.packbits`.
        flip: "horizontal" mirrors each training image left to right with probability 1/2, drawn again in every epoch.
        table: Options for reading a file or a DataFrame as a table of mixed columns with `likelihood_kind="table"`;
            also for files other than comma-separated numbers with the other kinds.

    Raises:
        InputError: If the data cannot be read, is not a table of finite numbers or does not fit the likelihood, or an
            option does not apply to it.
        MissingPackageError: If a download needs torchvision and it does not work.

    Example:
        >>> from pyro_vae import load_dataset
        >>> digits = load_dataset("digits")
        >>> len(digits.train), len(digits.validation), len(digits.test)
        (1297, 250, 250)
        >>> digits.description
        'dequantized, 17 levels, x in [0, 1)'
    """
    check_choice(likelihood_kind, LIKELIHOOD_KINDS, "likelihood_kind")
    check_choice(binarize, ("none", "static", "dynamic"), "binarize")
    check_choice(dequantize, ("auto", "none"), "dequantize")
    check_choice(flip, ("none", "horizontal"), "flip")
    options = ImageOptions.of(image_size, crop, grey, packed_bits)
    is_table = _is_table(name_or_path, likelihood_kind, table)
    if is_table:
        stored = _table(name_or_path, likelihood_kind, table, options)
    else:
        check(
            table == AS_FOUND,
            f"Expected no options of tables (--drop, --missing, --columns, ...) for {name_or_path}, which is not read "
            "as a table; leave them out.",
        )
        stored = _read(str(name_or_path), data_root, options)
    found = survey(stored)
    if not is_table and str(name_or_path) not in DATASETS:
        check_not_packed(stored, found)
    preprocessing, notes = choose_preprocessing(stored, found, likelihood_kind, binarize, dequantize)
    splits = _splits(stored, found, preprocessing, None if flip == "none" else _flip(stored))
    if likelihood_kind == "table":
        notes += few_rows_note(splits[0])
    else:
        notes += notes_on(stored, found, preprocessing, splits[0])
    return DataSet(
        stored.name if is_table else str(name_or_path),
        *splits,
        data_shape=stored.array.shape[1:],
        preprocessing=preprocessing,
        class_names=stored.class_names,
        column_names=stored.column_names,
        sha256=found.sha256,
        notes=stored.notes + notes,
        image_options=stored.image_options,
        columns=stored.columns,
        table_options=stored.table_options,
        kinds=stored.kinds,
    )


def _is_table(source: Any, kind: LikelihoodKind, options: TableOptions) -> bool:
    """Return whether the data is read as a table of mixed columns."""
    if not isinstance(source, str | Path) or kind == "table":
        return True
    if str(source) in DATASETS:
        return False
    path = _expanded(str(source))
    return (
        _exists(path)
        and path.is_file()
        and is_table_file(path)
        and (options != AS_FOUND or path.suffix.lower() != ".csv")
    )


def _table(source: Any, kind: LikelihoodKind, options: TableOptions, images: ImageOptions) -> Stored:
    if isinstance(source, str | Path):
        path = _expanded(str(source))
        check(
            str(source) in DATASETS or _exists(path),
            f"Expected a table at {str(source)!r}; there is no such file.",
        )
        check(
            path.is_file() and is_table_file(path),
            f"Expected a table under --likelihood table: a file ending in {', '.join(TABLE_ENDINGS)}, or one of these "
            f"with .gz; got {str(source)!r}. Choose another likelihood.",
        )
        source = path
    images.check_no_folder_options(name_of(source))
    images.check_no_packed_bits(name_of(source))
    return read_table(source, options) if kind == "table" else read_plain_table(source, options, kind)


def _read(name: str, data_root: Path | None, options: ImageOptions) -> Stored:
    if name in DATASETS:
        root = _expanded(str(data_root or os.environ.get("PYRO_VAE_DATA") or "data"))
        stored = read_named(name, root, options)
        shadowed = _exists(Path(name))
        note = f"The built-in data set {name} was read, not ./{name} in this folder: give a path with a slash for that."
        return replace(stored, notes=(*stored.notes, note)) if shadowed else stored
    path, endings = _expanded(name), dict.fromkeys((*READERS, *TABLE_ENDINGS))
    check(
        name != "" and _exists(path),
        f"Expected a data set of the name {', '.join(DATASETS)}, or the path of a file ending in "
        f"{', '.join(endings)} or of a folder of images; got {name!r}, which is neither.",
    )
    return read(path, options)


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # home folder of an unknown user
        raise InputError(
            f"Expected a path; got {path!r}, whose home folder is not known. Write it out."
        ) from error


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # for example a name that is too long, or a folder without access
        return False


def _flip(stored: Stored) -> HorizontalFlip:
    shape = stored.array.shape[1:]
    check(
        len(shape) in (2, 3),
        f"Expected images for --flip horizontal; got rows of shape {shape} in {stored.name}. Leave it out, or "
        "store images as (N, height, width).",
    )
    return HorizontalFlip(shape[-1])


def _splits(
    stored: Stored, found: Survey, preprocessing: Preprocessing, augmentation: HorizontalFlip | None
) -> tuple[Split, Split, Split]:
    rows = rows_of(stored.array, found.low, found.high, exact=isinstance(preprocessing, Centre))
    labels = None if stored.labels is None else torch.from_numpy(stored.labels)
    index = draw_splits(stored)

    def split(name: str) -> Split:
        own = None if labels is None else labels[index[name]]
        return Split(name, rows, index[name], preprocessing, own, augmentation=augmentation)

    return split("train"), split("validation"), split("test")
