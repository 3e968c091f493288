"""Settings of the data: which rows, and how they become x."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pyro_vae.settings.checks import sides
from pyro_vae.settings.declare import setting
from pyro_vae.settings.group import Group, group

__all__ = ["DataConfig"]


@group()
class DataConfig(Group):
    """Which rows, and how they become x."""

    dataset: str = setting(
        "digits",
        "digits, mnist, fashion-mnist, binarized-mnist, frey-face, cifar-10, celeba, or a path to your own: a .npy, "
        ".npz, .amat, .csv, .tsv, .txt, .data, .parquet or .xlsx file (tables also .gz), or a folder of images.",
    )
    data_root: Path | None = setting(
        None,
        "Folder that holds the data sets by name; PYRO_VAE_DATA where it is set, else ./data.",
        resume=True,
    )
    binarize: Literal["none", "static", "dynamic"] = setting(
        "none",
        "For a binary likelihood on grey data: draw each pixel once (static) or anew each epoch (dynamic).",
    )
    dequantize: Literal["auto", "none"] = setting(
        "auto",
        "For a continuous likelihood on whole numbers: add uniform noise (auto), or scale as they are (none).",
    )
    image_size: tuple[int, ...] = setting(
        (),
        "Size that images of a folder, or of celeba (64 where not given), are resized to: height and width, or one "
        "number for both.",
        check=sides,
    )
    crop: Literal["none", "center"] = setting(
        "none",
        "Of images of a folder, before they are resized: keep all, or the largest central part with the proportions of "
        "--image-size (a square where that is not given).",
    )
    grey: bool = setting(False, "Read the images of a folder, or of celeba, as grey ones.")
    packed_bits: tuple[int, ...] = setting(
        (),
        "Height and width, or one number for both, of images of zeros and ones of which a file holds eight pixels a "
        "byte, row by row.",
        check=sides,
    )
    flip: Literal["none", "horizontal"] = setting(
        "none",
        "Data augmentation: mirror each training image left to right with probability 1/2, drawn anew each epoch; "
        "validation and test images stay as they are.",
    )
    separator: str = setting(
        "auto",
        "Of a table: comma, semicolon, tab, bar, blank or one character; auto: determined from the file.",
    )
    encoding: str = setting("auto", "Of a table, such as utf-8 or cp1252; auto: determined from the file.")
    header: Literal["auto", "yes", "no"] = setting(
        "auto", "Whether the first line of a table holds names; without, columns are called c0, c1, ..."
    )
    decimal: Literal["auto", "point", "comma"] = setting("auto", "Decimal mark of the numbers of a table.")
    missing: tuple[str, ...] = setting(
        (), "Marks of missing values in a table, such as -200, beside empty, NA, NaN, null and ?."
    )
    drop: tuple[str, ...] = setting((), "Columns of a table to leave out.")
    label_column: str = setting(
        "", "Column of classes, left out of x; where not given one of the name label, class or target."
    )
    id_column: str = setting("", "Column that identifies rows, left out of x.")
    columns: tuple[str, ...] = setting(
        (),
        "Kinds of columns of a table, each COLUMN:KIND with real, student-t (heavy tails), positive, count, "
        "poisson, binary, ordinal or categorical; the "
        "others are inferred and printed.",
    )
