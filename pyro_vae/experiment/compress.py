"""Compression of the rows of a file by a trained run, and decompression."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from pyro_vae._checks import check
from pyro_vae.compression.codec import BitsBackCodec
from pyro_vae.compression.file_format import (
    read_block,
    read_chunks,
    read_header,
    write_block,
    write_chunk,
    write_header,
)
from pyro_vae.compression.sizes import other_sizes
from pyro_vae.compression.text_around import TextAround
from pyro_vae.experiment.load_run import Run, load_run
from pyro_vae.experiment.rows_to_compress import RowsToCompress
from pyro_vae.experiment.run_folder import RunFolder
from pyro_vae.experiment.text_table import format_table
from pyro_vae.objectives import estimate_elbo
from pyro_vae.progress import progress_bar
from pyro_vae.storage import write_atomically

__all__ = ["Compressed", "compress_rows", "decompress_rows", "default_output"]

COMPARED = 10_000
"""Largest number of rows given to other compressors."""


@dataclass(frozen=True)
class Compressed:
    """Properties of a compressed file.

    Attributes:
        num_rows: Number of rows.
        data_dim: Number of entries of a row.
        num_bytes: Size in bytes.
        initial_bits: Initial bits of its streams, which are part of its size.
        elbo_bits: Minus the ELBO of these rows, bits per dimension: the rate that bits-back coding attains.
        others: Bits per dimension of the first 10 000 rows by other compressors.
        restored: A sentence that states what decompression gives back.
        text_bytes: Bytes of it for the text around the numbers of a table.
    """

    num_rows: int
    data_dim: int
    num_bytes: int
    initial_bits: int
    elbo_bits: float
    others: dict[str, float]
    restored: str
    text_bytes: int = 0

    @property
    def bits(self) -> float:
        """Bits per dimension of the whole file."""
        return 8 * self.num_bytes / (self.num_rows * self.data_dim)

    def table(self) -> str:
        """Return the rates as a table."""
        entries = self.num_rows * self.data_dim
        lines = [("this file", self.bits), ("  of it the bits it began with", self.initial_bits / entries)]
        text = 8 * self.text_bytes / entries
        lines += [("  of it the text around the numbers", text)] if self.text_bytes else []
        lines += [("minus the ELBO of these rows", self.elbo_bits)]
        compared = min(self.num_rows, COMPARED)
        beside = "" if compared == self.num_rows else f", first {compared} rows"
        lines += [(f"{name}{beside}", bits) for name, bits in self.others.items()]
        cells = [["", "bits per dimension"], *([name, f"{bits:.4f}"] for name, bits in lines)]
        return format_table(cells)


def compress_rows(folder: Path, data: Path | None, out: Path, seed: int = 0) -> Compressed:
    """Write rows as a compressed file and return its properties.

    Args:
        folder: Folder of a run with a diagonal guide, a normal prior with independent dimensions, and a discrete
            likelihood.
        data: File of rows; None for the preprocessed test rows of the run.
        out: The file to write.
        seed: Seed of the initial bits of each stream.

    Raises:
        InputError: If the run or the rows are not of this kind, or the file cannot be written.
    """
    run = load_run(folder)
    codec = _codec(run, folder)
    rows = RowsToCompress.of(run, folder, data, codec.levels)
    text = b"" if rows.around is None else rows.around.packed()
    elbo, initial, first = 0.0, 0, list[NDArray[np.int64]]()
    with write_atomically(out) as path, progress_bar(len(rows), "rows", "compress") as bar:
        with path.open("wb") as file:
            write_header(file, _header(rows, codec, folder, data, seed))
            if text:
                write_block(file, text)
            for levels in rows.chunks():
                encoded = codec.encode(levels, seed, bar.update)
                write_chunk(file, encoded)
                initial += encoded.initial_bits
                elbo += _elbo(run, levels, codec.levels) * len(levels)
                first = first or [levels]
        size = path.stat().st_size
    per_dim = codec.data_dim * math.log(2)
    others = other_sizes(first[0][:COMPARED], rows.image_shape, codec.levels)
    rate = -elbo / (len(rows) * per_dim)
    return Compressed(len(rows), codec.data_dim, size, initial, rate, others, rows.restored, len(text))


def _header(
    rows: RowsToCompress, codec: BitsBackCodec, folder: Path, data: Path | None, seed: int
) -> dict[str, Any]:
    """Return what decompression needs to know beside the run, by name."""
    header: dict[str, Any] = {
        "weights_sha256": _weights_sha256(folder),
        "num_rows": len(rows),
        "row_shape": list(rows.row_shape),
        "image_shape": list(rows.image_shape),
        "dtype": rows.dtype,
        "low": rows.low,
        "batch_size": codec.batch_size,
        "seed": seed,
    }
    if rows.around is not None and data is not None:
        header["text"] = {"ending": data.suffix.lower(), "columns": rows.around.columns}
    return header


def default_output(file: Path) -> Path:
    """Return the file to restore a compressed file as: text where it was text, else a .npy array.

    Raises:
        InputError: If there is no such file, or its header cannot be read.
    """
    with _opened(file) as source:
        return Path("rows").with_suffix(read_header(source, file).get("text", {}).get("ending", ".npy"))


def decompress_rows(folder: Path, file: Path, out: Path) -> tuple[int, ...]:
    """Write the rows of a compressed file as they were, and return their shape.

    Args:
        folder: Folder of the run that compressed it.
        file: File written by `compress_rows`.
        out: The file to write: a .npy array of the rows, or the same bytes if the rows were a file of text (.csv,
            .amat).

    Raises:
        InputError: If the file is damaged, truncated or of another run, or the rows cannot be written.
    """
    with _opened(file) as source:
        header = read_header(source, file)
        text = header.get("text", {})
        endings = [".npy", *([text["ending"]] if text else [])]
        check(
            out.suffix in endings,
            f"Expected a {' or '.join(endings)} file to write the rows of {file} to; got {out}.",
        )
        check(
            header["weights_sha256"] == _weights_sha256(folder),
            f"Expected the run that {file} was compressed under, with weights of SHA-256 "
            f"{header['weights_sha256'][:12]}; those of {folder} have {_weights_sha256(folder)[:12]}.",
        )
        around = TextAround.unpacked(read_block(source, file), text["columns"]) if text else None
        codec = _codec(load_run(folder), folder, header["batch_size"])
        decoded = _decoded(codec, source, file, header)
        shape = (header["num_rows"], *header["row_shape"])
        with write_atomically(out) as path, path.open("wb") as written:
            if around is None or out.suffix == ".npy":
                _write_array(written, shape, header, decoded)
            else:
                written.writelines(around.filled(levels + header["low"] for levels in decoded))
    return shape


def _opened(file: Path) -> BinaryIO:
    check(file.is_file(), f"Expected a compressed file; there is none at {file}.")
    return file.open("rb")


def _decoded(
    codec: BitsBackCodec, source: Any, file: Path, header: dict[str, Any]
) -> Iterator[NDArray[np.int64]]:
    with progress_bar(header["num_rows"], "rows", "decompress") as bar:
        for encoded in read_chunks(source, file, header["num_rows"]):
            yield codec.decode(encoded, header["seed"], bar.update)


def _write_array(
    file: BinaryIO, shape: tuple[int, ...], header: dict[str, Any], chunks: Iterator[NDArray[np.int64]]
) -> None:
    """Write rows as they are decoded; only one chunk is in memory."""
    described = {"descr": header["dtype"], "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)
    for levels in chunks:
        rows = _laid_out((levels + header["low"]).astype(header["dtype"]), header)
        file.write(rows.tobytes())


def _laid_out(rows: NDArray[Any], header: dict[str, Any]) -> NDArray[Any]:
    """Return flat rows in their shape in the original file, with the channels last if they were last there."""
    shape, image = tuple(header["row_shape"]), tuple(header["image_shape"])
    if len(image) == 3 and shape == (*image[1:], image[0]):
        rows = np.moveaxis(rows.reshape(-1, *image), 1, -1)
    return rows.reshape(-1, *shape)


def _codec(run: Run, folder: Path, batch_size: int = 64) -> BitsBackCodec:
    config, rows = run.config.model, run.row_format
    check(
        config.guide == "diagonal" and config.latent == "gaussian" and not config.layers,
        f"Expected a run with one layer of Gaussian latents and --guide diagonal in {folder}; got another.",
    )
    check(
        rows is None or rows.context is None, f"Expected a run without context in {folder}; got one with it."
    )
    return BitsBackCodec(run.model, run.guide, batch_size)


def _weights_sha256(folder: Path) -> str:
    return hashlib.sha256(RunFolder(folder).weights.read_bytes()).hexdigest()


def _elbo(run: Run, levels: NDArray[np.int64], num_levels: int) -> float:
    x = torch.from_numpy(levels).float() / max(num_levels - 1, 1)
    return float(estimate_elbo(run.model, run.guide, x, seed=0).mean)
