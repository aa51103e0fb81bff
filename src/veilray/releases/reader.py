"""A RELEASE as it arrives from somebody else: every name, size and hash is checked before anything is used."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from veilray.codes import CODE_FILE, KeptCode, load_code
from veilray.durable import read_json
from veilray.places import RELEASE_JSON
from veilray.privacy import Guarantee
from veilray.releases.features import CANDIDATES, CODES, KEPT_FOLDER, Recipe, array_of
from veilray.releases.model import ModelCard
from veilray.releases.staging import FORMAT, sha256_of

__all__ = ["Received", "ReceivedCode", "checked_files", "read_release", "receive"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST_NAME = 1024
_MOST_FILES = 10_000_000
_LARGEST_HEADER = 2**16
_LARGEST_LIST = 2**30
_LARGEST_TABLE = 2**30
_LARGEST_JSON = 2**30
_FRESH = "ask the publisher for a fresh copy"


class _CodeBlock(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str = Field(max_length=64)
    dimension: int = Field(ge=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


@dataclass(frozen=True)
class ReceivedCode:
    """The kept code of a release: raw rows `(n, k)`, the public function, and how the mechanism was calibrated."""

    rows: NDArray[np.float64]
    code: KeptCode
    recipe: Recipe
    candidates: NDArray[np.float64] | None


@dataclass(frozen=True)
class Received:
    """A release whose files are what release.json says. `conditions` hold one value an image, as `paths` do."""

    folder: Path
    guarantee: Guarantee
    model: ModelCard
    date: str
    identifier: str
    paths: tuple[str, ...]
    conditions: Mapping[str, tuple[str, ...]]
    kept: ReceivedCode | None


def read_release(folder: Path) -> dict[str, Any]:
    """The contents of release.json, with `guarantee` as a `Guarantee` and `model` as a `ModelCard`.

    Raises:
        ValueError: where the folder is no release of this project.
    """
    path = folder / RELEASE_JSON
    if not path.is_file():
        raise ValueError(f"RELEASE must be a folder with {RELEASE_JSON} in it, got {folder}")
    if path.stat().st_size > _LARGEST_JSON:
        raise ValueError(f"{path} must be at most {_LARGEST_JSON:,} bytes, got {path.stat().st_size:,}")
    told = read_json(path, RELEASE_JSON)
    if told.get("format") != FORMAT or told.get("version") != 1:
        raise ValueError(f"{path} must be a {FORMAT} of version 1, got another file")
    told["guarantee"] = Guarantee.from_json(json.dumps(told.get("guarantee")))
    told["model"] = ModelCard.model_validate(told.get("model"))
    return told


def receive(folder: Path, verify: bool = True) -> Received:
    """Read a RELEASE folder.

    Args:
        verify: compare the SHA-256 of every file; without, only of the small ones that are read here.

    Raises:
        ValueError: for a folder that is no release; a listed file that is missing, altered or outside the folder; a
            manifest, codes or kept code that do not fit together.
    """
    told = read_release(folder)
    if "table" in told:
        raise ValueError(f"RELEASE must hold pictures, got a table in {folder}: open it with veilray.open_release")
    files = checked_files(told, folder, verify=verify)
    paths, conditions = _manifest(folder, files)
    releases = told["guarantee"].releases
    if releases is not None and releases.images != len(paths):
        raise ValueError(f"manifest.csv must list {releases.images} images as claimed, got {len(paths)}: {_FRESH}")
    return Received(
        folder=folder,
        guarantee=told["guarantee"],
        model=told["model"],
        date=str(told.get("date")),
        identifier=str(told.get("identifier")),
        paths=paths,
        conditions=conditions,
        kept=_kept(told, folder, files, len(paths)),
    )


def checked_files(told: Mapping[str, Any], folder: Path, *, verify: bool) -> dict[str, str]:
    """The files that release.json lists, with their hashes, which are compared (without `verify` not the pictures').

    Raises:
        ValueError: for a listed file that is missing, altered, or outside the folder.
    """
    files = _listed(told.get("files"), folder)
    for name in [name for name in files if verify or not name.startswith("images/")]:
        if sha256_of(folder / name) != files[name]:
            raise ValueError(f"{folder / name} must have the SHA-256 that release.json names, got another: {_FRESH}")
    return files


def _listed(told: Any, folder: Path) -> dict[str, str]:
    """The files that release.json lists, all of them there, regular, and inside the folder."""
    if not isinstance(told, dict) or len(told) > _MOST_FILES:
        raise ValueError(f"files of release.json must be a table of names and SHA-256, got {type(told).__name__}")
    inside = folder.resolve()
    for name, sha256 in told.items():
        plain = PurePosixPath(name)
        if (
            len(name) > _LONGEST_NAME
            or not plain.parts
            or plain.is_absolute()
            or plain.as_posix() != name
            or {"..", "."} & set(plain.parts)
            or any(mark in name for mark in "\\:")
            or not name.isprintable()  # an error message must not write control characters on a terminal
        ):
            raise ValueError(f"files of release.json must be plain names inside the folder, got {name[:80]!r}")
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise ValueError(f"files of release.json must have a SHA-256 each, got another for {name!r}")
        path = folder / name
        if not path.is_file():
            raise ValueError(f"{name} of the release must be in {folder}, got no such file: {_FRESH}")
        if path.is_symlink() or path.resolve() != inside / name:
            raise ValueError(f"{name} of the release must be a file of its own in {folder}, got a link: {_FRESH}")
    return told


def _needed(name: str, folder: Path, files: Mapping[str, str]) -> Path:
    if name not in files:
        raise ValueError(f"release.json in {folder} must list {name}, got none: {_FRESH}")
    return folder / name


def _manifest(folder: Path, files: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Paths and conditions in the order of manifest.csv; its paths are exactly the listed pictures."""
    path = _needed("manifest.csv", folder, files)
    try:
        header, *rows = csv.reader(io.StringIO(_content(path, _LARGEST_TABLE).decode("utf-8"), newline=""), strict=True)
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise ValueError(f"{path} must be a CSV file with a header, got: {error}") from None
    if header[:1] != ["path"] or len(set(header)) < len(header):
        raise ValueError(f"{path} must have a column path and then one for each condition, got {header[:8]}")
    if any(len(row) != len(header) for row in rows):
        raise ValueError(f"{path} must have {len(header)} values in every row, got another number")
    columns = {name: tuple(row[place] for row in rows) for place, name in enumerate(header)}
    paths = columns.pop("path")
    pictures = {name for name in files if name.startswith("images/")}
    if len(set(paths)) < len(paths) or set(paths) != pictures:
        raise ValueError(f"{path} must list every picture of release.json once and nothing else, got other paths")
    return paths, columns


def _kept(told: Mapping[str, Any], folder: Path, files: Mapping[str, str], count: int) -> ReceivedCode | None:
    if "kept_code" not in told:
        return None
    block = _CodeBlock.model_validate(told["kept_code"])
    recipe = Recipe.model_validate(told.get("mechanism"))
    guarantee = told["guarantee"]
    claimed = (guarantee.mechanism, guarantee.epsilon, guarantee.delta, guarantee.unit, guarantee.dimension)
    if claimed != (recipe.name, recipe.epsilon, recipe.delta, recipe.unit, recipe.dimension):
        raise ValueError(f"mechanism of release.json must be that of the claim, {claimed[0]}, got another: {_FRESH}")
    if sha256_of(_needed(f"{KEPT_FOLDER}/{CODE_FILE}", folder, files)) != block.sha256:
        raise ValueError(f"kept_code of release.json must name the SHA-256 of its code.json, got another: {_FRESH}")
    code = load_code(folder / KEPT_FOLDER)
    if (code.name, code.dimension) != (block.kind, block.dimension) or code.dimension != recipe.dimension:
        raise ValueError(
            f"kept code must be {block.kind} of {recipe.dimension} numbers as release.json says, got {code.name} of "
            f"{code.dimension}: {_FRESH}"
        )
    candidates = None
    if recipe.needs_candidates:
        listed = _content(_needed(CANDIDATES, folder, files), _LARGEST_LIST)
        candidates = array_of(listed, CANDIDATES, recipe.dimension)
    drawn = _content(_needed(CODES, folder, files), _LARGEST_HEADER + 8 * count * recipe.dimension)
    rows = array_of(drawn, CODES, recipe.dimension, count)
    return ReceivedCode(rows, code, recipe, candidates)


def _content(path: Path, most: int) -> bytes:
    """The bytes of a file, unless there are more than its contents can need."""
    if path.stat().st_size > most:
        raise ValueError(f"{path} must be at most {most:,} bytes, got {path.stat().st_size:,}: {_FRESH}")
    return path.read_bytes()
