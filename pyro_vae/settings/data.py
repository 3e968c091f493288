"""Settings of the data: which rows, and how they become x."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pyro_vae.settings.declare import setting
from pyro_vae.settings.group import Group, group

__all__ = ["DataConfig"]


@group()
class DataConfig(Group):
    """Which rows, and how they become x."""

    dataset: str = setting(
        "digits",
        "digits, mnist, fashion-mnist, binarized-mnist, frey-face, or a path to your own: a .npy, .npz, .csv (with a "
        "header) or .amat file, or a folder of images.",
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
