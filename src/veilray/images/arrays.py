"""Arrays: `.npz` and `.npy`, streamed.

An `.npz` holds `images` as `(n, h, w)`, `(n, h, w, c)` or `(n, c, h, w)`, c 1 or 3, uint8 or uint16, in C order; and,
if wanted, columns of n values: `label`, `patient` (or `person`, when there is no `patient`), `group`, `split`. Every
other column of n values is a condition. Arrays of other shapes are left alone. When the last and the second axis
could both be channels, the last is. An `.npy` holds the images alone.

The compressed member is never held in memory: its header is read from the zip member and rows are streamed. Reading
in another order needs the rows on disk: they are decompressed once to an unnamed temporary file that only this
process can open and that vanishes when it is closed, also after a crash. It is plain pixels while it exists: point
`TMPDIR` at a disk that may hold them. Pickled objects are never loaded.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import tempfile
import tokenize
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from veilray.images.base import DAMAGED, Format, Frame, ImageFile, Limits, Pixels, Unreadable, check_size, refusal
from veilray.images.reading import Reading

__all__ = ["ArrayFormat"]

_CHUNK = 2**20
_MOST_MEMBERS = 256  # columns of one archive; far above any study, far below what a hostile directory can list
_MOST_VALUE_BYTES = 4_096  # of one value of a column: 1,024 characters
_MOST_COLUMN_BYTES = 256 * 2**20
_ERRORS = (*DAMAGED, zipfile.BadZipFile, NotImplementedError, RecursionError, tokenize.TokenError)


class Header(NamedTuple):
    """The header of one `.npy` stream."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]


class ArrayFormat(Format):
    """`.npz` and `.npy`."""

    extensions = (".npz", ".npy")

    def open(self, path: Path, limits: Limits, reading: Reading | None = None) -> ArrayFile:
        """Read the headers and the columns, no pixels.

        Raises:
            Unreadable: the file is damaged, holds pickled objects or another type, or is above the limits.
        """
        try:
            return ArrayFile(path, limits, reading or Reading())
        except _ERRORS as error:
            raise refusal(error) from None


class ArrayFile(ImageFile):
    """One open `.npz` or `.npy`."""

    def __init__(self, path: Path, limits: Limits, reading: Reading) -> None:
        with ExitStack() as stack:
            self._file: IO[bytes] = stack.enter_context(path.open("rb"))
            self._archive: zipfile.ZipFile | None = None
            self._spool: IO[bytes] | None = None
            self._columns: dict[str, list[str | None]] = {}
            if path.suffix.lower() == ".npz":
                self._archive = stack.enter_context(zipfile.ZipFile(self._file))
                members = _members(self._archive)
                if "images" not in members:
                    raise Unreadable("an .npz must hold an array named images, got none")
                info = members["images"]
                with self._archive.open(info) as stream:
                    header = _read_header(stream)
                    self._start, size = stream.tell(), info.file_size
            else:
                header = _read_header(self._file)
                self._start, size = self._file.tell(), os.fstat(self._file.fileno()).st_size
            self._layout = _layout_of(header, limits)
            self._row_bytes = math.prod(header.shape[1:]) * header.dtype.itemsize
            self._header = header
            if size != self._start + header.shape[0] * self._row_bytes:
                raise Unreadable("images must have as many bytes as their header states, got more or fewer")
            if self._archive is not None:
                self._columns = _columns(self._archive, members, header.shape[0])
            stack.pop_all()

    def __len__(self) -> int:
        return self._header.shape[0]

    def frame(self, index: int) -> Frame:
        """What the header and the columns say about row `index`."""
        height, width, channels = self._layout
        row = {name: values[index] for name, values in self._columns.items()}
        stated = {name: row.pop(name, None) for name in ("label", "patient", "group", "split")}
        if "patient" not in self._columns:
            stated["patient"] = row.pop("person", None)
        conditions = {name: value for name, value in row.items() if value is not None}
        return Frame(height, width, channels, 8 * self._header.dtype.itemsize, **stated, conditions=conditions)

    def read(self, index: int) -> Pixels:
        """Row `index` as `(h, w, c)` uint8 or uint16; raises Unreadable when the file is damaged."""
        if not 0 <= index < len(self):
            raise ValueError(f"index must be from 0 to {len(self) - 1}, got {index}")
        try:
            if self._archive is None:
                descriptor, start = self._file.fileno(), self._start
            else:
                descriptor, start = self._decompressed().fileno(), 0
            # Not a memory map: its pages would count as this process's memory.
            row = os.pread(descriptor, self._row_bytes, start + index * self._row_bytes)
        except _ERRORS as error:
            raise refusal(error) from None
        return self._pixels(row)

    def __iter__(self) -> Iterator[Pixels]:
        """All rows in order, straight from the file."""
        if self._archive is None:
            yield from super().__iter__()
            return
        try:
            with self._archive.open("images.npy") as stream:
                _exactly(stream, self._start)
                for _ in range(len(self)):
                    yield self._pixels(_exactly(stream, self._row_bytes))
                if stream.read(1):
                    raise Unreadable("images must have as many bytes as their header states, got more")
        except _ERRORS as error:
            raise refusal(error) from None

    def close(self) -> None:
        """Close the file and erase the temporary one."""
        if self._spool is not None:
            self._spool.close()
            self._spool = None
        if self._archive is not None:
            self._archive.close()
        self._file.close()

    def _pixels(self, row: bytes) -> Pixels:
        if len(row) != self._row_bytes:
            raise Unreadable("cannot be decoded: truncated or damaged")
        values = np.frombuffer(row, dtype=self._header.dtype).reshape(self._header.shape[1:])
        if values.ndim == 2:
            values = values[:, :, np.newaxis]
        elif values.shape[2] not in (1, 3):
            values = np.moveaxis(values, 0, 2)
        native: Pixels = values.astype(values.dtype.newbyteorder("="), copy=False)
        return native

    def _decompressed(self) -> IO[bytes]:
        if self._spool is None:
            assert self._archive is not None
            needed = len(self) * self._row_bytes
            free = shutil.disk_usage(tempfile.gettempdir()).free
            if needed > free:
                raise OSError(
                    errno.ENOSPC,  # this machine's fault, not the file's
                    f"temporary folder must have {needed} bytes free, got {free}: set TMPDIR to a larger disk",
                )
            with ExitStack() as stack:
                spool = stack.enter_context(tempfile.TemporaryFile())
                stream = stack.enter_context(self._archive.open("images.npy"))
                _exactly(stream, self._start)
                shutil.copyfileobj(stream, spool, _CHUNK)
                spool.flush()
                if spool.tell() != needed:
                    raise Unreadable("cannot be decoded: truncated or damaged")
                stream.close()
                self._spool = spool
                stack.pop_all()
        return self._spool


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The arrays of an archive by name, from its directory alone."""
    entries = archive.infolist()
    if len(entries) > _MOST_MEMBERS:
        raise Unreadable(f"an .npz must hold at most {_MOST_MEMBERS} arrays, got more")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in entries:
        if info.flag_bits & 1:
            raise Unreadable("an .npz must not be encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Unreadable("an .npz must be stored or deflated, got another compression")
        name = info.filename.removesuffix(".npy")
        if name == info.filename or name in members:
            raise Unreadable("an .npz must hold arrays with distinct names, got another member")
        members[name] = info
    return members


def _read_header(stream: IO[bytes]) -> Header:
    version = npy.read_magic(stream)
    if version == (1, 0):
        header = npy.read_array_header_1_0(stream)
    elif version == (2, 0):
        header = npy.read_array_header_2_0(stream)
    else:
        raise Unreadable(f"the array format's version must be 1.0 or 2.0, got {version[0]}.{version[1]}")
    shape, fortran_order, dtype = header
    if dtype.hasobject:
        raise Unreadable("arrays must hold numbers or text, got pickled objects: they are never loaded")
    return Header(shape, fortran_order, dtype)


def _layout_of(header: Header, limits: Limits) -> tuple[int, int, int]:
    """Rows, columns, channels of each image; Unreadable when shape, type or size are not taken."""
    shape, dtype = header.shape, header.dtype
    if dtype.kind != "u" or dtype.itemsize > 2:
        raise Unreadable(f"images must be uint8 or uint16, got {dtype}")
    if header.fortran_order and len([axis for axis in shape if axis > 1]) > 1:
        raise Unreadable("images must be stored in C order: save numpy.ascontiguousarray(images)")
    if any(axis < 1 for axis in shape):
        raise Unreadable(f"images must have 1 or more along every axis, got shape {shape}")
    if len(shape) == 3:
        layout = (shape[1], shape[2], 1)
    elif len(shape) == 4 and shape[3] in (1, 3):
        layout = (shape[1], shape[2], shape[3])
    elif len(shape) == 4 and shape[1] in (1, 3):
        layout = (shape[2], shape[3], shape[1])
    else:
        raise Unreadable(f"images must be (n, h, w), (n, h, w, c) or (n, c, h, w) with c 1 or 3, got shape {shape}")
    if shape[0] > limits.max_images:
        raise Unreadable(f"images must be at most {limits.max_images}, got {shape[0]}")
    check_size(layout[0], layout[1], limits)
    if math.prod(shape) * dtype.itemsize > limits.max_array_bytes:
        raise Unreadable(f"images must be at most {limits.max_array_bytes} bytes, got shape {shape}")
    return layout


def _columns(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], count: int) -> dict[str, list[str | None]]:
    columns = {}
    for name, info in members.items():
        if name == "images":
            continue
        with archive.open(info) as stream:
            header = _read_header(stream)
            is_column = header.shape in ((count,), (count, 1))
            if not is_column:
                if name in ("label", "patient", "person", "group", "split"):
                    raise Unreadable(f"{name} must have one value per image, got shape {header.shape}")
                continue
            if header.dtype.kind not in "biufUS" or header.dtype.itemsize > _MOST_VALUE_BYTES:
                raise Unreadable(f"column {name} must hold numbers or short text, got {header.dtype}")
            size = count * header.dtype.itemsize
            if size > _MOST_COLUMN_BYTES:
                raise Unreadable(f"column {name} must be at most {_MOST_COLUMN_BYTES} bytes, got {size}")
            content = _exactly(stream, size)
            columns[name] = _texts(np.frombuffer(content, dtype=header.dtype))
    return columns


def _texts(values: NDArray[Any]) -> list[str | None]:
    """Text of each value; None for an empty text and for a missing number."""
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    if values.dtype.kind == "f":
        missing = np.isnan(values)
        return [None if gap else repr(float(v)) for v, gap in zip(values, missing, strict=True)]
    return [str(value) or None for value in values.tolist()]


def _exactly(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) != size:
        raise Unreadable("cannot be decoded: truncated or damaged")
    return content
