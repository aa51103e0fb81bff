"""Manifests: a table that lists images and what is known of them.

Columns: `path` (needed), `patient`, `group`, `label`, `split`, under the names that `veilray.text.roles` lists or that
the user says; every other column with a name is a condition. A missing cell is not known, and missing is every word
that the dialect has for it: nobody is called NA. Delimited text is read in a declared dialect (`veilray.text.dialect`),
`.parquet` needs `pip install "veilray[tables]"`, `.xlsx` needs `pip install "veilray[excel]"`.

Paths are relative to the root: the manifest's own folder, or the folder the user names. They may be written with `/`
or with backslashes, and in any Unicode normal form. An absolute path is taken when it lies inside the root. A row that
leaves the root, also through a symbolic link, is put in quarantine: a manifest from elsewhere must not make this
machine publish its other files.

A text may say in its first line where its files were when it was written: `# root: FOLDER`. That line is never
followed by itself. Without a root from the user it is an error that names the folder, so that the user decides.
"""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from veilray.images.layout import NO_CONDITIONS, Facts
from veilray.images.unreadable import Unreadable, refusal
from veilray.text.delimited import EXTENSIONS as DELIMITED
from veilray.text.delimited import ROOT_LINE, DelimitedText, check_names, column_name, first_line
from veilray.text.dialect import PLAIN, Dialect
from veilray.text.normal_form import normal_text, patient_key
from veilray.text.roles import resolve_roles
from veilray.text.workbook import WORKBOOKS, Workbook

__all__ = ["EXTENSIONS", "Row", "locate", "manifest_root", "read_manifest", "write_manifest"]

EXTENSIONS = (*DELIMITED, ".parquet", *WORKBOOKS)
_KNOWN = ("patient", "group", "label", "split")
# A column of such a name whose role the user gave to another one is not read.
_NOT_CONDITIONS = frozenset({"", "path", *_KNOWN})
_LONGEST_ROOT_LINE = 4_096 + len(ROOT_LINE)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_ELSEWHERE = (
    "path must lie inside the root folder, got one outside: name the folder of the files with --root (root= in "
    "Python), or write paths that start below it"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the path as written, its facts, and why it is refused, if it is."""

    number: int
    path: str = field(repr=False)
    facts: Facts = field(default_factory=Facts, repr=False)
    fault: str | None = None


def read_manifest(path: Path, dialect: Dialect | None = None, columns: Mapping[str, str] | None = None) -> list[Row]:
    """Read the rows of a manifest; no image is opened.

    Args:
        path: `.csv`, `.tsv`, `.txt`, `.parquet` or `.xlsx`.
        dialect: how it is written; the strict default unless given.
        columns: role to column, where the names do not say it: see `veilray.text.resolve_roles`.

    Returns:
        Rows in order; `number` counts from 1, without the header. Rows without any cell at the end are no rows.

    Raises:
        ValueError: not a manifest, another encoding, no column for the path or several, a column twice, or no rows.
        ImportError: `.parquet` without pyarrow, `.xlsx` without openpyxl.
    """
    dialect = PLAIN if dialect is None else dialect
    extension = path.suffix.lower()
    if extension not in EXTENSIONS:
        raise ValueError(f"manifest must end in {', '.join(EXTENSIONS)}, got {extension or 'no extension'}")
    source: _Parquet | DelimitedText | Workbook
    if extension == ".parquet":
        source = _Parquet(path, dialect)
    elif extension in WORKBOOKS:
        source = Workbook(path, dialect, "manifest")
    else:
        source = DelimitedText(path, dialect, "manifest")
    roles = resolve_roles(source.names, columns, required=("path",))
    named = {name: role for role, name in roles.items()}
    rows = [_row(number, source, named, cells, dialect) for number, cells in enumerate(source.rows(), start=1)]
    while rows and source.width > 1 and rows[-1] == Row(len(rows), ""):
        rows.pop()  # what a spreadsheet leaves below its table
    if not rows:
        raise ValueError("manifest must have one row or more below its header, got none")
    return rows


def manifest_root(path: str | os.PathLike[str]) -> Path | None:
    """The folder that a manifest of text names in its first line, or None. Reading it follows nothing."""
    if Path(path).suffix.lower() not in DELIMITED:
        return None
    first = first_line(Path(path), _LONGEST_ROOT_LINE)
    if not first.lstrip('"').startswith(ROOT_LINE):
        return None
    # A spreadsheet quotes a cell with a delimiter in it, and ends the line with the delimiters of empty cells.
    first = next(csv.reader([first]))[0] if first.startswith('"') else first.rstrip(",;\t ")
    return Path(first.removeprefix(ROOT_LINE).strip())


def locate(root: Path, written: str) -> tuple[str, Path]:
    """The place of a row's file.

    A path that is not there as it is written is looked for with `/` for each backslash, and each part of it in
    Unicode normal forms C and D.

    Args:
        root: absolute.
        written: the row's path.

    Returns:
        The path below the root with `/` between folders, and the absolute path.

    Raises:
        Unreadable: the path is empty, leaves the root, or passes a symbolic link, or nothing is there.
    """
    if not written or "\0" in written:
        raise Unreadable("path must be a file name, got none")
    if "\\" in written and not os.path.lexists(root / written):
        if _DRIVE.match(written):
            raise Unreadable(_ELSEWHERE)
        written = written.replace("\\", "/")
    place = Path(os.path.normpath(root / written))
    if not place.is_relative_to(root) or place == root:
        raise Unreadable(_ELSEWHERE)
    step = root
    for part in place.relative_to(root).parts:
        try:
            step = _spelt(step, part)
            is_link = step.is_symlink()
        except OSError as error:
            raise refusal(error) from None
        if is_link:
            raise Unreadable("is reached through a symbolic link: links are not followed")
    if not os.path.lexists(step):
        raise Unreadable(_absent(step))
    return step.relative_to(root).as_posix(), step


def _spelt(folder: Path, part: str) -> Path:
    """What is there under a name, in the normal form that it has on this disk."""
    for form in (part, unicodedata.normalize("NFC", part), unicodedata.normalize("NFD", part)):
        if part.isascii() or os.path.lexists(folder / form):
            return folder / form
    return folder / part


def _absent(place: Path) -> str:
    if not place.suffix:
        return (
            "extension must be one of an image file, got none and no such file: write paths in full, from the "
            "manifest's folder or from --root on"
        )
    return "cannot be read: file is absent: paths start at the manifest's folder, or at --root"


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
        text.write(f"{ROOT_LINE} {Path(root).resolve()}\n")
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


def _row(
    number: int,
    source: _Parquet | DelimitedText | Workbook,
    named: Mapping[str, str],
    cells: Sequence[str],
    dialect: Dialect,
) -> Row:
    if len(cells) != source.width and not any(cells):
        return Row(number, "")
    if len(cells) != source.width:
        return Row(number, "", fault=f"row must have {source.width} cells, got {len(cells)}")
    known: dict[str, str | None] = {}
    conditions: dict[str, str] = {}
    for name, cell in zip(source.header, cells, strict=False):
        role = named.get(name)
        if role == "path":
            known[role] = cell.strip()
        elif role == "patient":
            known[role] = _key(cell, dialect)
        elif role is not None:
            known[role] = dialect.plain(cell)
        elif name not in _NOT_CONDITIONS and (value := dialect.plain(cell)) is not None:
            conditions[name] = value
    patient = known.get("patient")
    facts = Facts(
        patient=patient,
        group=known.get("group") or patient,
        label=known.get("label"),
        split=known.get("split"),
        conditions=conditions or NO_CONDITIONS,
    )
    return Row(number, known["path"] or "", facts)


def _key(cell: str, dialect: Dialect) -> str | None:
    text = normal_text(cell)
    return None if dialect.is_missing(text) else patient_key(dialect.whole(text))


class _Parquet:
    """A Parquet file as rows of texts."""

    def __init__(self, path: Path, dialect: Dialect) -> None:
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
        self._columns: list[list[Any]] = [column.to_pylist() for column in table.columns]
        self._dialect = dialect
        self.header = tuple(map(column_name, table.column_names))
        self.names = tuple(name for name in self.header if name)
        self.width = len(self.header)
        check_names(self.names, "manifest")

    def rows(self) -> Iterator[list[str]]:
        for cells in zip(*self._columns, strict=True):
            yield [self._dialect.written(cell) for cell in cells]
