"""Excel workbooks (`.xlsx`): one sheet, its first row the header, every cell as text of a dialect.

A workbook is a zip archive of XML that a stranger may have made: what it unpacks to is bounded before it is opened,
and no part of it may declare entities. Nothing in it is computed: a formula counts as what Excel last stored for it.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from datetime import time, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from veilray.text.delimited import check_names, column_name
from veilray.text.dialect import PLAIN, Dialect

__all__ = ["WORKBOOKS", "Workbook"]

WORKBOOKS = (".xlsx",)

_MOST_UNPACKED = 2**30
_MOST_FOLD = 500  # a sheet of one repeated number folds about 100 times
_MOST_PARTS = 10_000
_AT_ONCE = 2**20
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s+ref="([A-Z]+)([0-9]+):([A-Z]+)([0-9]+)"')
_ENTITIES = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_CURE = "save the sheet as 'CSV UTF-8'"


class Workbook:
    """One sheet of an open workbook.

    Attributes:
        header: the cells of the first row in normal form; empty for a column without a name.

    Raises:
        ValueError: no workbook, one that unpacks to too much, no such sheet, or no usable header.
        ImportError: without the extra `excel`.
    """

    def __init__(self, path: Path, dialect: Dialect = PLAIN, what: str = "table") -> None:
        self._path, self._dialect, self._what = path, dialect, what
        self._openpyxl = _openpyxl()
        _check_archive(path, what)
        with _Opened(self, formulas=False) as sheet:
            self._title = sheet.title
            first = next(sheet.iter_rows(values_only=True, max_row=1), ())
            merged = _merged_in_first_row(sheet)
        self.header = tuple(column_name(dialect.written(cell)) for cell in _without_empty_end(first))
        if merged:
            raise ValueError(f"{what} must have one name above each column, got merged cells in its first row: {_CURE}")
        if not any(self.header):
            raise ValueError(f"{what} must begin with a header of names, got an empty first row in its sheet")
        check_names(self.names, what)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that have a name, in order."""
        return tuple(name for name in self.header if name)

    @property
    def width(self) -> int:
        """How many cells a row has."""
        return len(self.header)

    def rows(self) -> Iterator[list[str]]:
        """Yield the cells of each row; empty rows at the end of the sheet are no rows, others have missing cells.

        Raises:
            ValueError: for a formula without a stored value, or cells beyond the header's last.
        """
        empty = 0
        with _Opened(self, formulas=False) as values, _Opened(self, formulas=True) as formulas:
            pairs = zip(values.iter_rows(min_row=2), formulas.iter_rows(min_row=2), strict=True)
            for number, (cells, sources) in enumerate(pairs, start=1):
                row = _without_empty_end([self._text(cell) for cell in cells])
                self._check_formulas(number, cells, sources)
                if not row:
                    empty += 1
                    continue
                for _ in range(empty):
                    yield [""] * self.width
                empty = 0
                yield [*row, *[""] * (self.width - len(row))]

    def _text(self, cell: Any) -> str:
        value = cell.value
        if isinstance(value, time):
            # Excel's day 0 without a time of day, or a time of day alone.
            return value.isoformat()
        if isinstance(value, timedelta):
            return str(value)
        return self._dialect.written(value)

    def _check_formulas(self, number: int, cells: Any, sources: Any) -> None:
        for place, (cell, source) in enumerate(zip(cells, sources, strict=True)):
            if source.data_type == "f" and cell.value is None:
                name = self.header[place] if place < self.width else ""
                raise ValueError(
                    f"{self._what} must hold values, got a formula that Excel stored no value of, in row {number} of "
                    f"column {name!r}: open and save it in Excel, or {_CURE}"
                )


class _Opened:
    """A sheet open for reading row by row; closes its workbook."""

    def __init__(self, book: Workbook, *, formulas: bool) -> None:
        self._of, self._formulas = book, formulas

    def __enter__(self) -> Any:
        of = self._of
        try:
            self._book = of._openpyxl.load_workbook(of._path, read_only=True, data_only=not self._formulas)
        except Exception as error:  # noqa: BLE001  openpyxl raises what its XML and zip readers raise
            raise ValueError(
                f"{of._what} must be an Excel workbook, got one that cannot be read: {type(error).__name__}"
            ) from None
        titles = [sheet.title for sheet in self._book.worksheets]
        wanted = of._dialect.sheet or (titles[0] if titles else "")
        if wanted not in titles:
            self._book.close()
            known = ", ".join(map(repr, titles)) or "none"
            raise ValueError(f"sheet must be one of {known}, got {wanted!r}: say which with --dialect sheet=NAME")
        sheet = self._book[wanted]
        sheet.reset_dimensions()  # what a file says of its own size may be wrong
        return sheet

    def __exit__(self, *error: object) -> None:
        self._book.close()


def _openpyxl() -> Any:
    try:
        return import_module("openpyxl")
    except ImportError:
        raise ImportError("openpyxl must be installed to read .xlsx: pip install 'veilray[excel]'") from None


def _check_archive(path: Path, what: str) -> None:
    """Refuse what would fill the memory, before any XML is parsed; sizes are those that zip readers keep to."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            unpacked = sum(part.file_size for part in parts)
            packed = max(1, path.stat().st_size)
            if len(parts) > _MOST_PARTS or unpacked > _MOST_UNPACKED or unpacked / packed > _MOST_FOLD:
                raise ValueError(
                    f"{what} must unpack to at most {_MOST_UNPACKED >> 30} GiB in {_MOST_PARTS:,} parts, and to "
                    f"{_MOST_FOLD} times its size, got more: {_CURE}"
                )
            for part in parts:
                if part.filename.endswith((".xml", ".rels")):
                    with archive.open(part) as file:
                        if _ENTITIES.search(file.read(4_096)):
                            raise ValueError(f"{what} must declare no XML entities, got some in {part.filename!r}")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{what} must be an Excel workbook (.xlsx), got a file that is none or is encrypted: {type(error).__name__}"
        ) from None


def _merged_in_first_row(sheet: Any) -> bool:
    """Whether cells of the first row are merged: then a name stands above several columns."""
    before = b""
    with sheet._get_source() as file:  # openpyxl tells merged cells only where it reads the whole sheet at once
        while part := file.read(_AT_ONCE):
            for found in _MERGED.finditer(before + part):
                if found[2] == b"1" and found[1] != found[3]:
                    return True
            before = part[-256:]
    return False


def _without_empty_end(cells: Any) -> list[Any]:
    row = list(cells)
    while row and (row[-1] is None or row[-1] == ""):
        row.pop()
    return row
