"""Reading OBFUSCATED: what the owner handed over, checked against its own list before a pixel is used."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from veilray.cloud.labels import plain_label
from veilray.images import FORMATS, Geometry, Limits, Unreadable
from veilray.places import OBFUSCATED_JSON

__all__ = [
    "KEY",
    "SHA256",
    "Handed",
    "Label",
    "Received",
    "Shape",
    "first_fault",
    "open_obfuscated",
    "read_handed",
]

_LARGEST_JSON = 2**30
_LABELS = "labels.csv"
SHA256 = r"^[0-9a-f]{64}$"
KEY = r"^[0-9a-f]{32}$"
"""A key's public identifier."""
Label: TypeAlias = Annotated[str, AfterValidator(plain_label)]


class Shape(BaseModel):
    """Size in pixels, channels and bits of every picture."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    size: int = Field(ge=1, le=4096)
    channels: Literal[1, 3]
    bits: Literal[8]


class MapTold(BaseModel):
    """What is public of the intensity maps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    levels: int
    smoothness: float
    scope: Literal["image", "batch", "key"]


class Handed(BaseModel):
    """obfuscated.json: how the pictures were made, under which model and key, and the hash of every file.

    `key` is the key's public identifier, `model_sha256` tells whether two
    folders under one key are of one model of the owner; the cloud has neither.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["veilray-obfuscated"]
    version: Literal[1]
    claim: Literal["empirical, no formal guarantee"]
    guarantee: None
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    software: str = Field(pattern=r"^veilray [\w.+-]{1,64}$")
    method: Literal["obfuscation"]
    encoder: str
    encoding: Literal["mean", "sampled"]
    order: Literal["map-last", "map-first", "no-map"]
    map: MapTold | None
    geometry: Shape
    model_sha256: str = Field(pattern=SHA256)
    key: str = Field(pattern=KEY)
    images: int = Field(ge=1)
    labels: tuple[Label, ...]
    files: dict[str, str]

    @model_validator(mode="after")
    def _plain_paths(self) -> Handed:
        for path in self.files:
            parts = PurePosixPath(path).parts
            if not parts or parts[0] == "/" or ".." in parts:
                raise ValueError(f"files must lie inside the folder, got {path!r}")
        return self


@dataclass(frozen=True)
class Received:
    """The pictures of one OBFUSCATED folder.

    Attributes:
        told: obfuscated.json.
        paths: of each picture inside the folder.
        images: `(n, c, size, size)` uint8.
        labels: one a picture, or None where none are given.
    """

    told: Handed
    paths: tuple[str, ...]
    images: NDArray[np.uint8]
    labels: tuple[str, ...] | None


def open_obfuscated(folder: Path, on_read: Callable[..., None] | None = None) -> Received:
    """Read a whole OBFUSCATED folder into memory, in the order of its file names.

    Args:
        on_read: called with (done, total) pictures.

    Raises:
        ValueError: where it is no such folder, or a file is missing, truncated, altered, foreign, or of another size.
    """
    told = read_handed(folder)
    _check_listed(folder, told)
    paths = tuple(sorted(path for path in told.files if path.startswith("images/")))
    if len(paths) != told.images:
        raise ValueError(f"{folder} must list {told.images} images, got {len(paths)}: it was altered")
    shape = told.geometry
    for path in told.files.keys() - set(paths):
        _checked(folder, path, told)
    try:
        images = np.empty((len(paths), shape.channels, shape.size, shape.size), np.uint8)
    except MemoryError:
        wanted = len(paths) * shape.channels * shape.size**2
        raise ValueError(f"{folder} must fit into memory, got pictures of {wanted:,} bytes together") from None
    for row, path in enumerate(paths):
        images[row] = _read_image(folder / path, _checked(folder, path, told), shape)
        if on_read:
            on_read(row + 1, len(paths))
    return Received(told, paths, images, _read_labels(folder, told, paths))


def read_handed(folder: Path) -> Handed:
    """What OBFUSCATED tells of itself. Raises ValueError where it is no such folder, or the file was altered."""
    path = folder / OBFUSCATED_JSON
    if not path.is_file():
        raise ValueError(f"OBFUSCATED must be a folder with {OBFUSCATED_JSON} in it, got {folder}")
    if path.stat().st_size > _LARGEST_JSON:
        raise ValueError(f"{path} must be at most {_LARGEST_JSON:,} bytes, got more")
    try:
        return Handed.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(
            f"{path} must be that of `veilray obfuscate`, version 1, got another or a truncated one: "
            f"{first_fault(error)}"
        ) from None


def first_fault(error: ValidationError) -> str:
    """The first thing that is wrong with a file, and where in it, on one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where + ': ' if where else ''}{first['msg']}"


def _check_listed(folder: Path, told: Handed) -> None:
    entries = list(folder.rglob("*"))
    for entry in entries:  # reading a pipe would never end
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            raise ValueError(f"{folder} must hold plain files, got {entry.name}, which is a link or a device")
    found = {entry.relative_to(folder).as_posix() for entry in entries if entry.is_file()}
    strange = sorted(found ^ (told.files.keys() | {OBFUSCATED_JSON}))
    if strange:
        fault = "foreign" if strange[0] in found else "missing"
        raise ValueError(f"{folder} must hold the files it lists, got {strange[0]}, which is {fault}")


def _checked(folder: Path, path: str, told: Handed) -> bytes:
    content = (folder / path).read_bytes()
    if hashlib.sha256(content).hexdigest() != told.files[path]:
        raise ValueError(f"{folder / path} must have the listed SHA-256, got another: it was truncated or altered")
    return content


def _read_image(path: Path, content: bytes, shape: Shape) -> NDArray[Any]:
    try:
        with FORMATS["raster"].open(
            path, Limits(max_pixels=shape.size**2, max_file_bytes=max(1, len(content)))
        ) as file:
            frame = file.frame(0)
            found = (frame.height, frame.width, frame.channels, frame.bits)
            if found != (shape.size, shape.size, shape.channels, shape.bits):
                raise ValueError(f"{path} must be {shape.size} x {shape.size}, {shape.channels} channels, got {found}")
            return np.moveaxis(file.read(0), 2, 0)
    except Unreadable as error:
        raise ValueError(
            f"{path} must be a picture of {Geometry(shape.size, shape.channels).shape}, got: {error}"
        ) from None


def _read_labels(folder: Path, told: Handed, paths: tuple[str, ...]) -> tuple[str, ...] | None:
    if _LABELS not in told.files:
        return None
    try:
        rows = list(csv.reader(io.StringIO(_checked(folder, _LABELS, told).decode(), newline="")))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{folder / _LABELS} must be a table of short text, got: {error}") from None
    if not rows or rows[0] != ["path", "label"] or any(len(row) != 2 for row in rows):
        raise ValueError(f"{folder / _LABELS} must have the columns path and label, got others")
    label_of = {path: plain_label(label) for path, label in rows[1:]}
    if label_of.keys() != set(paths) or len(rows) - 1 != len(paths):
        missing = len(set(paths) - label_of.keys())
        raise ValueError(
            f"{folder / _LABELS} must give every picture one label, got {len(rows) - 1} for {len(paths)} pictures, "
            f"none for {missing} of them"
        )
    return tuple(label_of[path] for path in paths)
