"""The PNG that leaves the house: pixels and nothing else.

Written here, not by an image library: the file then holds the three chunks a PNG must have (IHDR, IDAT, IEND), no
time, text, colour profile or software name, and equal pixels give equal bytes on one installation.
References: PNG (Third Edition), W3C, 2025.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["encode_png", "write_image"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPE = {1: 0, 3: 2}  # PNG section 11.2.1: 0 greyscale, 2 truecolour
_FILTER_UP = 2  # PNG section 9.2: each byte less the byte above it


def encode_png(array: NDArray[Any]) -> bytes:
    """Encode one image as a PNG without metadata.

    Args:
        array: `(h, w)`, `(1, h, w)` or `(3, h, w)`, uint8 or uint16.

    Returns:
        The bytes of the file; equal pixels give equal bytes.

    Raises:
        ValueError: another shape or type.
    """
    planes = array[np.newaxis] if array.ndim == 2 else array
    if planes.ndim != 3 or planes.shape[0] not in _COLOUR_TYPE or 0 in planes.shape:
        raise ValueError(f"image must be (h, w), (1, h, w) or (3, h, w), got shape {array.shape}")
    if planes.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)):
        raise ValueError(f"image must be uint8 or uint16, got {planes.dtype}")
    channels, height, width = planes.shape
    interleaved = np.ascontiguousarray(np.moveaxis(planes, 0, 2)).astype(planes.dtype.newbyteorder(">"))
    rows = interleaved.reshape(height, -1).view(np.uint8)
    lines = np.empty((height, 1 + rows.shape[1]), dtype=np.uint8)
    lines[:, 0] = _FILTER_UP
    lines[0, 1:] = rows[0]
    lines[1:, 1:] = rows[1:] - rows[:-1]  # modulo 256, as the filter asks
    bits = 8 * planes.dtype.itemsize
    header = struct.pack(">IIBBBBB", width, height, bits, _COLOUR_TYPE[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, body) for kind, body in chunks)


def write_image(path: str | os.PathLike[str], array: NDArray[Any]) -> bytes:
    """Write one image as a PNG without metadata and wait until the disk holds it.

    The folder entry is not synced: a caller that writes many files syncs the folder once, at the end.

    Args:
        path: a new file that ends in `.png`.
        array: `(h, w)`, `(1, h, w)` or `(3, h, w)`, uint8 or uint16.

    Returns:
        The bytes written, so that their hash needs no second read.

    Raises:
        ValueError: another extension, shape or type.
        FileExistsError: the file is there already; nothing is overwritten.
    """
    target = Path(path)
    if target.suffix != ".png":
        raise ValueError(f"file extension must be .png, got {target.suffix!r}")
    content = encode_png(array)
    with target.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return content


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
