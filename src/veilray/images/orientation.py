"""Orientation: how a camera was held, from the file's header alone.

Values 1 to 8 say which side of the stored rows and columns is the top of the picture. An absent, unknown or unreadable
value is 1, the stored one, as viewers have it. Orientation that is stated in XMP alone is not applied.
Reference: Exif 3.0 (CIPA DC-008, 2023), tag 274; PNG (Third Edition), W3C, 2025, chunk eXIf.
"""

from __future__ import annotations

import struct
from typing import IO

import numpy as np

from veilray.images.intensity import Pixels
from veilray.images.unreadable import Unreadable

__all__ = ["AS_STORED", "TAG", "in_exif", "in_png", "known", "turn", "turns_sideways"]

AS_STORED = 1
TAG = 274
_PREFIX = b"Exif\0\0"  # before the TIFF header in a JPEG segment, and by mistake in some PNG chunks
_MOST_CHUNKS = 1_000_000
_LARGEST_EXIF = 2**20


def turns_sideways(orientation: int) -> bool:
    """Whether rows become columns."""
    return 5 <= orientation <= 8


def turn(image: Pixels, orientation: int) -> Pixels:
    """The picture upright: `(h, w, c)` to `(h, w, c)`, or to `(w, h, c)` for orientations 5 to 8."""
    if turns_sideways(orientation):
        image = np.swapaxes(image, 0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def in_exif(block: bytes) -> int:
    """The orientation in a block of EXIF: tag 274 of the first directory."""
    block = block.removeprefix(_PREFIX)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return AS_STORED
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for entry in range(count):
            tag, kind, number, value = struct.unpack_from(f"{order}HHIH", block, start + 2 + 12 * entry)
            if tag == TAG:
                return known(value) if (kind, number) == (3, 1) else AS_STORED  # one SHORT
    except struct.error:
        pass
    return AS_STORED


def in_png(file: IO[bytes]) -> int:
    """The orientation in a PNG's eXIf chunk, which may stand before or after the pixels; they are passed over."""
    file.seek(8)
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return AS_STORED
        (length,) = struct.unpack(">I", head[:4])
        if head[4:] == b"eXIf":
            return in_exif(file.read(min(length, _LARGEST_EXIF)))
        file.seek(length + 4, 1)  # and the checksum
    raise Unreadable(f"chunks must be at most {_MOST_CHUNKS}, got more")


def known(value: object) -> int:
    """An orientation as the file has it, or 1 for what is none."""
    return value if isinstance(value, int) and 1 <= value <= 8 else AS_STORED
