"""Manifests: a table that lists images and what is known of them.

Columns: `path` (needed), `patient`, `group`, `label`, `split`; every other column is a condition. An empty cell is
not known. `.csv` is UTF-8 with commas; `.parquet` needs `pip install "veilray[tables]"`.

Paths are relative to the root: the manifest's own folder, or the folder the user names. An absolute path is taken
when it lies inside the root. A row that leaves the root, also through a symbolic link, is put in quarantine: a
manifest from elsewhere must not make this machine publish its other files.

A `.csv` may say in its first line where its files were when it was written: `# root: FOLDER`. That line is never
followed by itself. Without a root from the user it is an error that names the folder, so that the user decides.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from veilray.images.base import NO_CONDITIONS, Unreadable, refusal
from veilray.images.layout import Facts

__all__ = ["EXTENSIONS", "Row", "locate", "manifest_root", "read_manifest", "write_manifest"]

EXTENSIONS = (".csv", ".parquet")
_KNOWN = ("patient", "group", "label", "split")
_ROOT_LINE = "# root:"
_LONGEST_ROOT_LINE = 4_096 + len(_ROOT_LINE)


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the path as written, its facts, and why it is refused, if it is."""

    number: int
    path: str = field(repr=False)
    facts: Facts = field(default_factory=Facts, repr=False)
    fault: str | None = None


def read_manifest(path: Path) -> list[Row]:
    """Read the rows of a manifest; no image is opened.

    Returns:
        Rows in order; `number` counts from 1, without the header.

    Raises:
        ValueError: not a manifest, not UTF-8, no `path` column, a column twice, or no rows.
        ImportError: `.parquet` without pyarrow.
    """
    extension = path.suffix.lower()
    if extension not in EXTENSIONS:
        raise ValueError(f"manifest must end in .csv or .parquet, got {extension or 'no extension'}")
    header, lines = _csv(path) if extension == ".csv" else _parquet(path)
    names = [name.strip() for name in header]
    if "path" not in names:
        raise ValueError(f"manifest must have a column named path, got {', '.join(names) or 'none'}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"manifest columns must have distinct names, got {', '.join(map(repr, twice))} twice")
    rows = [_row(number, names, cells) for number, cells in enumerate(lines, start=1)]
    if not rows:
        raise ValueError("manifest must have one row or more below its header, got none")
    return rows


def manifest_root(path: str | os.PathLike[str]) -> Path | None:
    """The folder that a `.csv` manifest names in its first line, or None. Reading it follows nothing."""
    if Path(path).suffix.lower() != ".csv":
        return None
    with Path(path).open("rb") as file:
        first = file.readline(_LONGEST_ROOT_LINE).decode("utf-8-sig", errors="replace").strip()
    return Path(first.removeprefix(_ROOT_LINE).strip()) if first.startswith(_ROOT_LINE) else None


def locate(root: Path, written: str) -> tuple[str, Path]:
    """The place of a row's file.

    Args:
        root: absolute.
        written: the row's path.

    Returns:
        The path below the root with `/` between folders, and the absolute path.

    Raises:
        Unreadable: the path is empty, leaves the root, or passes a symbolic link.
    """
    if not written or "\0" in written:
        raise Unreadable("path must be a file name, got none")
    place = Path(os.path.normpath(root / written))
    if not place.is_relative_to(root) or place == root:
        raise Unreadable("path must lie inside the root folder: name another with root")
    below = place.relative_to(root)
    step = root
    for part in below.parts:
        step = step / part
        try:
            is_link = step.is_symlink()
        except OSError as error:
            raise refusal(error) from None
        if is_link:
            raise Unreadable("is reached through a symbolic link: links are not followed")
    return below.as_posix(), place


def write_manifest(
    path: str | os.PathLike[str],
    rows: Iterable[tuple[str, Facts]],
    *,
    root: str | os.PathLike[str] | None = None,
) -> int:
    """Write a `.csv` manifest.

    Args:
        path: the new file; one that is there is replaced.
        rows: path below the root and facts of each image. All rows have the conditions of the first.
        root: written as the first line, when given.

    Returns:
        The number of rows.

    Raises:
        ValueError: a row has other conditions than the first.
    """
    text = io.StringIO()
    if root is not None:
        text.write(f"{_ROOT_LINE} {Path(root).resolve()}\n")
    writer = csv.writer(text, lineterminator="\n")
    count = 0
    conditions: Sequence[str] = ()
    for source, facts in rows:
        if count == 0:
            conditions = tuple(facts.conditions)
            writer.writerow(["path", *_KNOWN, *conditions])
        if set(conditions) != set(facts.conditions):
            raise ValueError(f"row {count + 1} must have the conditions of the first row, got others")
        known = [getattr(facts, name) or "" for name in _KNOWN]
        writer.writerow([source, *known, *(facts.conditions[name] for name in conditions)])
        count += 1
    Path(path).write_text(text.getvalue(), encoding="utf-8", newline="")
    return count


def _row(number: int, names: Sequence[str], cells: Sequence[Any]) -> Row:
    if len(cells) != len(names):
        return Row(number, "", fault=f"row must have {len(names)} cells, got {len(cells)}")
    known: Mapping[str, str | None] = dict(zip(names, map(_text, cells), strict=True))
    conditions = {name: value for name, value in known.items() if value is not None and name not in ("path", *_KNOWN)}
    patient = known.get("patient")
    facts = Facts(
        patient=patient,
        group=known.get("group") or patient,
        label=known.get("label"),
        split=known.get("split"),
        conditions=conditions or NO_CONDITIONS,
    )
    return Row(number, known["path"] or "", facts)


def _text(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a table with gaps turns its whole numbers into floating point
    return str(value).strip() or None


def _csv(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("manifest must be UTF-8, got another encoding: save it as 'CSV UTF-8'") from None
    if text.startswith(_ROOT_LINE):
        text = text.partition("\n")[2]
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except csv.Error as error:
        raise ValueError(f"manifest must be a table with commas: {error}") from None
    if not lines:
        raise ValueError("manifest must have a header with a column named path, got an empty file")
    return lines[0], lines[1:]


def _parquet(path: Path) -> tuple[list[str], list[list[Any]]]:
    try:
        from pyarrow import ArrowException  # noqa: PLC0415  an optional extra
        from pyarrow.parquet import ParquetFile  # noqa: PLC0415
    except ImportError:
        raise ImportError('reading .parquet manifests needs pyarrow: pip install "veilray[tables]"') from None
    try:
        with ParquetFile(path) as file:
            table = file.read()
    except (ArrowException, OSError) as error:
        raise ValueError(
            f"manifest must be a Parquet file, got one that cannot be read: {type(error).__name__}"
        ) from None
    columns = [column.to_pylist() for column in table.columns]
    return list(table.column_names), [list(cells) for cells in zip(*columns, strict=True)]
