"""Arrays: `.npz` and `.npy`, streamed.

An `.npz` holds `images` as `(n, h, w)`, `(n, h, w, c)` or `(n, c, h, w)`, c 1 or 3, in C order, of uint8, uint16 or
truth values; and, if wanted, columns of n values: `label`, `patient` (or `person`, when there is no other name of a
patient), `group`, `split`, under the names of `veilray.text.roles` or those the user says. Every other column of n
numbers or short texts is a condition. Other arrays are left alone. When the last and the second axis could both be
channels, the last is. An `.npy` holds the images alone.

Or it holds parts, as MedMNIST has them: `train_images` and `train_labels`, `val_images` ... Then the user says which
part is wanted. Images of other types (signed, floating point) need a stated range; see `intensity.py`.

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

from veilray.images.base import Format, Frame, ImageFile, Limits, check_size
from veilray.images.intensity import Pixels, needs_range
from veilray.images.reading import Reading
from veilray.images.unreadable import DAMAGED, Unreadable, refusal
from veilray.text import cell_text, normal_text
from veilray.text.roles import resolve_roles

__all__ = ["ArrayFormat"]

_CHUNK = 2**20
_MOST_MEMBERS = 256  # columns of one archive; far above any study, far below what a hostile directory can list
_MOST_VALUE_BYTES = 4_096  # of one value of a column: 1,024 characters
_MOST_COLUMN_BYTES = 256 * 2**20
_MOST_SHOWN = 20
_OF_PART = "_images"
_ROLES = ("patient", "group", "label", "split")
_ERRORS = (*DAMAGED, zipfile.BadZipFile, NotImplementedError, RecursionError, tokenize.TokenError)


class Header(NamedTuple):
    """The header of one `.npy` stream."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]


class Columns(NamedTuple):
    """Texts by row: of the roles, and of further columns by name."""

    of_roles: dict[str, list[str | None]]
    conditions: dict[str, list[str | None]]


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
            self._columns = Columns({}, {})
            self._split: str | None = None
            if path.suffix.lower() == ".npz":
                self._archive = stack.enter_context(zipfile.ZipFile(self._file))
                members = _members(self._archive)
                images, self._split, beside = _part(members, reading.split)
                self._member = members[images]
                with self._archive.open(self._member) as stream:
                    header = _read_header(stream)
                    self._start, size = stream.tell(), self._member.file_size
            else:
                images = "images"
                header = _read_header(self._file)
                self._start, size = self._file.tell(), os.fstat(self._file.fileno()).st_size
            _check_type(header.dtype, images, reading)
            self._layout = _layout_of(header, limits, images)
            self._row_bytes = math.prod(header.shape[1:]) * header.dtype.itemsize
            self._header = header
            if size != self._start + header.shape[0] * self._row_bytes:
                raise Unreadable("images must have as many bytes as their header states, got more or fewer")
            if self._archive is not None:
                self._columns = _columns(self._archive, beside, header.shape, reading)
            if not any(self._columns):
                _check_order(header.shape, images)
            stack.pop_all()

    def __len__(self) -> int:
        return self._header.shape[0]

    def frame(self, index: int) -> Frame:
        """What the header and the columns say about row `index`."""
        height, width, channels = self._layout
        stated = {role: values[index] for role, values in self._columns.of_roles.items()}
        stated["split"] = stated.get("split") or self._split
        conditions = {name: values[index] for name, values in self._columns.conditions.items()}
        known = {name: value for name, value in conditions.items() if value is not None}
        dtype = self._header.dtype
        bits = 8 if dtype.itemsize == 1 and dtype.kind in "bu" else 16
        return Frame(height, width, channels, bits, **stated, conditions=known)

    def read(self, index: int) -> Pixels:
        """Row `index` as `(h, w, c)` stored values; raises Unreadable when the file is damaged."""
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
            with self._archive.open(self._member) as stream:
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
        if values.dtype.kind == "b":
            return np.where(values, np.uint8(255), np.uint8(0))
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
                stream = stack.enter_context(self._archive.open(self._member))
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
    return Header(*header)


def _part(members: dict[str, zipfile.ZipInfo], split: str | None) -> tuple[str, str | None, dict[str, zipfile.ZipInfo]]:
    """The array of images, the part it is when the archive holds several, and the arrays that belong to it.

    Raises:
        Unreadable: there is none, or several and none was asked for. The names found are listed.
    """
    if "images" in members:
        return "images", None, {name: info for name, info in members.items() if name != "images"}
    parts = [name.removesuffix(_OF_PART) for name in members if name.endswith(_OF_PART) and name != _OF_PART]
    if split in parts:
        own = {name.removeprefix(f"{split}_"): info for name, info in members.items() if name.startswith(f"{split}_")}
        return f"{split}{_OF_PART}", split, {name: info for name, info in own.items() if name != "images"}
    found = ", ".join([*members][:_MOST_SHOWN]) + (", ..." if len(members) > _MOST_SHOWN else "")
    if parts:
        choice = ", ".join(f"--split {part}" for part in parts[:_MOST_SHOWN])
        raise Unreadable(f"an .npz must hold an array named images, got {found or 'none'}: take one part with {choice}")
    raise Unreadable(
        f"an .npz must hold an array named images, got {found or 'none'}: save it with numpy.savez(path, images=...)"
    )


def _named(dtype: np.dtype[Any]) -> str:
    return "pickled objects, which are never loaded" if dtype.hasobject else str(dtype)


def _of_full_range(dtype: np.dtype[Any]) -> bool:
    """Whether a type says what black and white are."""
    return dtype.kind == "b" or (dtype.kind == "u" and dtype.itemsize <= 2)


def _check_type(dtype: np.dtype[Any], images: str, reading: Reading) -> None:
    if dtype.kind not in "biuf" or dtype.hasobject:
        raise Unreadable(f"{images} must be numbers, got {_named(dtype)}")
    if not _of_full_range(dtype) and reading.intensity.range is None:
        raise Unreadable(needs_range(dtype, images))


def _layout_of(header: Header, limits: Limits, images: str) -> tuple[int, int, int]:
    """Rows, columns, channels of each image; Unreadable when shape or size are not taken."""
    shape, dtype = header.shape, header.dtype
    if header.fortran_order and len([axis for axis in shape if axis > 1]) > 1:
        raise Unreadable(f"{images} must be stored in C order: save numpy.ascontiguousarray({images})")
    if any(axis < 1 for axis in shape):
        raise Unreadable(f"{images} must have 1 or more along every axis, got shape {shape}")
    if len(shape) == 3:
        layout = (shape[1], shape[2], 1)
    elif len(shape) == 4 and shape[3] in (1, 3):
        layout = (shape[1], shape[2], shape[3])
    elif len(shape) == 4 and shape[1] in (1, 3):
        layout = (shape[2], shape[3], shape[1])
    else:
        cure = f": save {images}[numpy.newaxis] for one image" if len(shape) == 2 else ""
        raise Unreadable(
            f"{images} must be (n, h, w), (n, h, w, c) or (n, c, h, w) with c 1 or 3, got shape {shape}{cure}"
        )
    if shape[0] > limits.max_images:
        raise Unreadable(f"images must be at most {limits.max_images}, got {shape[0]}")
    check_size(layout[0], layout[1], limits)
    if math.prod(shape) * dtype.itemsize > limits.max_array_bytes:
        raise Unreadable(f"{images} must be at most {limits.max_array_bytes} bytes, got shape {shape}")
    return layout


def _check_order(shape: tuple[int, ...], images: str) -> None:
    """Refuse squares that were saved the other way round; a column of n values beside them would say which it is."""
    if len(shape) == 3 and 1 < shape[0] == shape[1] != shape[2] > 1:
        one = f", or {images}[numpy.newaxis] for one picture" if shape[2] == 3 else ""
        raise Unreadable(
            f"{images} must be (n, h, w), got shape {shape}, which looks like (h, w, n): save "
            f"numpy.moveaxis({images}, 2, 0){one}; where it is (n, h, w), save a column of n values beside it"
        )


def _columns(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], shape: tuple[int, ...], reading: Reading
) -> Columns:
    """The columns beside the images: those with a role, and those of n numbers or short texts as conditions."""
    roles = _roles(list(members), reading)
    of_roles, conditions = {}, {}
    role_of = {name: role for role, name in roles.items()}
    for name, info in members.items():
        role = role_of.get(name)
        with archive.open(info) as stream:
            header = _read_header(stream)
            fault = _column_fault(name, header, shape)
            if fault is not None and role is not None:
                raise Unreadable(f"{fault}, or leave it out with --columns {role}=")
            if fault is not None:
                continue
            content = _exactly(stream, shape[0] * header.dtype.itemsize)
        values = _texts(np.frombuffer(content, dtype=header.dtype))
        if role is not None:
            of_roles[role] = values
        else:
            conditions[normal_text(name)] = values
    return Columns(of_roles, conditions)


def _roles(names: list[str], reading: Reading) -> dict[str, str]:
    """Role to array; raises Unreadable where the names do not say it."""
    try:
        roles = resolve_roles(names, reading.columns, roles=_ROLES, what="arrays")
    except ValueError as error:
        raise Unreadable(str(error)) from None
    if "patient" not in roles and "patient" not in reading.columns and "person" in names:
        roles["patient"] = "person"
    return roles


def _column_fault(name: str, header: Header, shape: tuple[int, ...]) -> str | None:
    """Why an array is no column of one value per image, with the cure; None for one that is."""
    count = shape[0]
    if header.dtype.hasobject:
        return f"{name} must hold numbers or text, got {_named(header.dtype)}: save it as text or numbers"
    if header.shape not in ((count,), (count, 1)):
        cure = ""
        if len(header.shape) == 2 and header.shape[0] == count:
            cure = f": save numpy.argmax({name}, axis=1) where it is one-hot"
        elif header.shape == (shape[-1],):
            cure = ": save numpy.moveaxis(images, -1, 0) where the last axis counts the images"
        return f"{name} must have one value per image, got shape {header.shape} for {count} images{cure}"
    if header.dtype.kind not in "biufUS" or header.dtype.itemsize > _MOST_VALUE_BYTES:
        return f"{name} must hold numbers or short text, got {_named(header.dtype)}: save it as text or numbers"
    if count * header.dtype.itemsize > _MOST_COLUMN_BYTES:
        return f"{name} must be at most {_MOST_COLUMN_BYTES} bytes, got more: save shorter text"
    return None


def _texts(values: NDArray[Any]) -> list[str | None]:
    """Normal text of each value; None for an empty text and for a missing number."""
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    return [cell_text(value) for value in values.tolist()]


def _exactly(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) != size:
        raise Unreadable("cannot be decoded: truncated or damaged")
    return content
