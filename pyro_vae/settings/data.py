"""Settings of the data and of its preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pyro_vae.settings.checks import sides
from pyro_vae.settings.declare import setting
from pyro_vae.settings.group import Group, group

__all__ = ["DataConfig"]


@group()
class DataConfig(Group):
    """Data set and preprocessing."""

    dataset: str = setting(
        "digits",
        "digits, mnist, fashion-mnist, binarized-mnist, frey-face, cifar-10, celeba, or a path to your own data: a "
        ".npy, .npz, .amat, .csv, .tsv, .txt, .data, .parquet or .xlsx file (tables also .gz), or a folder of images.",
    )
    data_root: Path | None = setting(
        None,
        "Folder with the named data sets. Default: the environment variable PYRO_VAE_DATA, otherwise ./data.",
        resume=True,
    )
    binarize: Literal["none", "static", "dynamic"] = setting(
        "none",
        "For a binary likelihood on grey data: sample each pixel once (static) or again in every epoch (dynamic).",
    )
    dequantize: Literal["auto", "none"] = setting(
        "auto",
        "For a continuous likelihood on integers: add uniform noise before scaling (auto), or only scale (none).",
    )
    image_size: tuple[int, ...] = setting(
        (),
        "Resize images of a folder, or of celeba (default 64), to this height and width; one number sets both.",
        check=sides,
    )
    crop: Literal["none", "center"] = setting(
        "none",
        "Crop images of a folder before they are resized: none, or the largest central part with the aspect ratio of "
        "--image-size (a square without --image-size).",
    )
    grey: bool = setting(False, "Convert the images of a folder, or of celeba, to grey.")
    packed_bits: tuple[int, ...] = setting(
        (),
        "Height and width of binary images in a file with eight pixels per byte, stored row by row; one number sets "
        "both.",
        check=sides,
    )
    flip: Literal["none", "horizontal"] = setting(
        "none",
        "Data augmentation: mirror each training image left to right with probability 1/2, sampled again in every "
        "epoch. Validation and test images are not changed.",
    )
    separator: str = setting(
        "auto",
        "Column separator of a table: comma, semicolon, tab, bar, blank or one character; auto detects it.",
    )
    encoding: str = setting("auto", "Text encoding of a table, such as utf-8 or cp1252; auto detects it.")
    header: Literal["auto", "yes", "no"] = setting(
        "auto",
        "Whether the first line of a table contains the column names; auto detects it. Without names, columns are "
        "called c0, c1, ..., or as --names says.",
    )
    names: tuple[str, ...] = setting(
        (), "Names of all columns of a table without a header line, in the order of the file."
    )
    decimal: Literal["auto", "point", "comma"] = setting(
        "auto",
        "Decimal mark of a table; the other one may separate thousands. auto: a single comma in a number is decimal, "
        "and 1,234 is refused as ambiguous unless columns are separated by semicolons.",
    )
    missing: tuple[str, ...] = setting(
        (),
        "Additional marks of missing values in a table, such as -200; empty, NA, NaN, null and ? are built in.",
    )
    drop: tuple[str, ...] = setting((), "Columns of a table to leave out.")
    label_column: str = setting(
        "", "Column with the classes, left out of x. Default: a column called label, class or target."
    )
    id_column: str = setting("", "Column that identifies the rows, left out of x.")
    columns: tuple[str, ...] = setting(
        (),
        "Kinds of the columns of a table, each as COLUMN:KIND with real, student-t (heavy tails), positive, count, "
        "poisson, binary, ordinal or categorical. The kinds of all other columns are inferred and printed.",
    )
