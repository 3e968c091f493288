"""File format of compressed rows: a header, perhaps the text of a table, then chunks, each with a checksum."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pyro_vae._checks import InputError, check
from pyro_vae._commands import command
from pyro_vae.compression.codec import Encoded

__all__ = ["read_block", "read_chunks", "read_header", "write_block", "write_chunk", "write_header"]

MAGIC = b"pyro_vae bits 2\n"
LENGTH = struct.Struct("<Q")
DIGEST = 16
"""Number of bytes of the SHA-256 stored with each block."""


def write_header(file: BinaryIO, header: dict[str, Any]) -> None:
    """Write the header: a description of the rows and of the model.

    Args:
        file: A file open for writing, at its start.
        header: Plain values.
    """
    file.write(MAGIC)
    write_block(file, json.dumps(header, sort_keys=True).encode())


def write_chunk(file: BinaryIO, encoded: Encoded) -> None:
    """Write coded rows.

    Args:
        file: A file open for writing, after the header or a chunk.
        encoded: The coded rows of one chunk.
    """
    batches = np.asarray(encoded.batches, "<u4").tobytes()
    counts = LENGTH.pack(len(encoded.batches)) + LENGTH.pack(encoded.initial_bits)
    write_block(file, counts + batches + encoded.words.astype("<u4").tobytes())


def read_header(file: BinaryIO, path: Path) -> dict[str, Any]:
    """Return the header.

    Args:
        file: A file open for reading, at its start.
        path: Path of the file, for messages.

    Raises:
        InputError: If the file has another format, or its header is damaged or truncated.
    """
    check(
        file.read(len(MAGIC)) == MAGIC,
        f"Expected {path} to be a file written by `{command('compress')}`; it begins otherwise.",
    )
    header: dict[str, Any] = json.loads(read_block(file, path))
    return header


def read_chunks(file: BinaryIO, path: Path, num_rows: int) -> Iterator[Encoded]:
    """Yield the chunks after the header.

    Args:
        file: A file open for reading, after the header.
        path: Path of the file, for messages.
        num_rows: Total number of rows.

    Raises:
        InputError: If a chunk is damaged, truncated or missing, or there is data after the last one.
    """
    found = 0
    while found < num_rows:
        block = read_block(file, path)
        batches, initial_bits = (value for (value,) in LENGTH.iter_unpack(block[: 2 * LENGTH.size]))
        numbers = np.frombuffer(block, "<u4", offset=2 * LENGTH.size)
        encoded = Encoded(
            numbers[batches:].astype(np.uint32), tuple(numbers[:batches].tolist()), initial_bits
        )
        found += sum(encoded.batches)
        yield encoded
    if found > num_rows or file.read(1):
        raise InputError(
            f"Expected {num_rows} rows in {path}, as its header says; it holds more. Take a whole copy."
        )


def write_block(file: BinaryIO, content: bytes) -> None:
    """Write bytes with their length and checksum."""
    size = LENGTH.pack(len(content))
    file.write(size + _digest(size + content) + content)


def read_block(file: BinaryIO, path: Path) -> bytes:
    """Return the content of the next block, verified by its checksum.

    Raises:
        InputError: If the block is damaged or truncated.
    """
    size = file.read(LENGTH.size)
    digest = file.read(DIGEST)
    expected = LENGTH.unpack(size)[0] if len(size) == LENGTH.size else 0
    # A damaged length may be huge: read at most the rest of the file.
    left = path.stat().st_size - file.tell()
    content = file.read(expected) if expected <= left else b""
    if not content or _digest(size + content) != digest:
        raise InputError(f"Expected {path} as it was written; it is damaged or cut. Take a whole copy.")
    return content


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:DIGEST]
