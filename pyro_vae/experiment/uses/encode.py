"""Encoding of rows by a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pyro_vae.data.named_frames import frame_like
from pyro_vae.data.table_files import is_table_file
from pyro_vae.experiment.uses.open_use import RunInputs, open_rows
from pyro_vae.experiment.uses.output import Output
from pyro_vae.guides import AmortizedGuide
from pyro_vae.networks import CorruptedInput
from pyro_vae.uses import Codes, encode_rows

__all__ = ["encode_to"]


def encode_to(folder: Path, data: Path | None, out: Path, *, seed: int = 0, device: str = "auto") -> str:
    """Write mean and standard deviation of q(z | x) of rows and return a summary in words.

    A .npy file contains the means, shape (N, size of z); NAME.sd.npy beside it the standard deviations. A table has one
    line per row: its index in the file, its id and class if known, the means, then the standard deviations.

    Args:
        folder: The run folder.
        data: A file, a folder or the name of a data set; the run's test rows if None.
        out: Output file, .npy or .csv.
        seed: Seed of the draws for moments without a formula.
        device: "auto", "cpu" or "cuda".

    Raises:
        InputError: If the run or the rows cannot be read, or the file cannot be written.
    """
    used = open_rows(folder, data, device)
    output = Output.at(out, used.row_format, ("array", "table"))
    codes = encode_rows(used.run.model, used.run.guide, used.tensors(), seed=seed, progress=True)
    written = [out]
    if output.kind == "table":
        output.write_table(_columns(used, data, codes))
    else:
        output.write_array(codes.mean.cpu().numpy())
        if codes.sd is not None:
            written.append(out.with_suffix(".sd.npy"))
            output.write_array(codes.sd.cpu().numpy(), written[-1])
    lines = [f"{len(codes.mean)} rows of {used.split.name}: {codes.mean.shape[1]} dimensions of z"]
    lines += ["moments without a formula were estimated from 1000 draws per row"] if codes.drawn else []
    lines += [f"note: {note}" for note in (*used.notes, *_corrupted(used.run.guide))]
    return "\n".join([*lines, *(f"written: {path}" for path in written)])


def _corrupted(guide: AmortizedGuide) -> list[str]:
    inputs = [module for module in guide.modules() if isinstance(module, CorruptedInput)]
    text = "the guide was given corrupted rows, as in evaluation; train with --evaluation-input clean to change that"
    return [text] if any(module.evaluation != "clean" for module in inputs) else []


def _columns(used: RunInputs, data: Path | None, codes: Codes) -> dict[str, Any]:
    columns: dict[str, Any] = {"row": used.split.index}
    columns |= _ids(used, data)
    labels = used.labels()
    columns |= {} if labels is None else {"label": labels}
    columns |= dict(zip(codes.names, codes.mean.T.cpu().numpy(), strict=True))
    if codes.sd is not None:
        columns |= {f"{name}_sd": sd for name, sd in zip(codes.names, codes.sd.T.cpu().numpy(), strict=True)}
    return columns


def _ids(used: RunInputs, data: Path | None) -> dict[str, Any]:
    """Return the id column if the run was trained with one and the file has it."""
    options = used.row_format.table_options
    path = Path(used.run.config.data.dataset) if data is None else data
    if options is None or not options.id_column or not (path.is_file() and is_table_file(path)):
        return {}
    frame, *_ = frame_like(path, options, used.row_format.column_names or ())
    found = options.id_column in frame.columns and len(frame) > int(np.max(used.split.index))
    return {options.id_column: frame[options.id_column].to_numpy()[used.split.index]} if found else {}
