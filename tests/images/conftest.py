"""Small image files of every kind, made on the spot."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


@pytest.fixture
def picture() -> Callable[..., Pixels]:
    """Random pixels of a shape and bit depth."""

    def make(shape: tuple[int, ...], bits: int = 8, seed: int = 0) -> Pixels:
        dtype = np.uint8 if bits == 8 else np.uint16
        return np.random.default_rng(seed).integers(0, 2**bits, shape, dtype=dtype)

    return make


@pytest.fixture
def claiming_png() -> Callable[[int, int], bytes]:
    """A small PNG whose header claims any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    def make(width: int, height: int) -> bytes:
        header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
        body = zlib.compress(bytes(10_000))
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")

    return make
