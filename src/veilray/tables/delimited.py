"""CSV files: checked for what no row could survive, then read as texts, a block of rows at a time.

A row is what RFC 4180 calls a record: a quoted line break is part of its cell. Blank lines are no rows.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from veilray.tables.column import parse_number
from veilray.tables.extra import needed

__all__ = ["DELIMITERS", "Delimited"]

DELIMITERS = (",", ";", "\t")

_AT_ONCE = 2**20
_LONGEST_HEADER = 2**20
_MOST_COLUMNS = 10_000
# A row must fit into a block. The first size is small for memory; the last is the most that Arrow takes.
_BLOCKS = (2**21, 2**25, 2**29, 2**31 - 1)
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CURE = "save it as 'CSV UTF-8'"


class Delimited:
    """An open CSV file.

    Attributes:
        names: the header, without surrounding blanks.
        delimiter: comma, semicolon or TAB, whichever splits the header into the most names.
        ragged: row and number of cells of the rows that do not have one cell a name; known after `batches`.

    Raises:
        ValueError: empty, not UTF-8, NUL bytes, a quote that never ends, or no usable header.
        ImportError: without the extra `tables`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._csv = needed("pyarrow.csv")
        self._arrow = needed("pyarrow")
        self.ragged: list[tuple[int, int]] = []
        self.done, self.total = 0, path.stat().st_size
        _check_bytes(path)
        self.names, self.delimiter, self._start = _header(path)

    def batches(self, names: Sequence[str]) -> Iterator[Any]:
        """Read the rows in order.

        Args:
            names: the columns to read.

        Yields:
            `pyarrow.RecordBatch` of texts, the columns in the order of `names`, without the ragged rows.
        """
        places = [str(self.names.index(name)) for name in names]
        given = 0
        for block in _BLOCKS:
            self.ragged.clear()
            seen = 0
            try:
                for batch in self._read(places, block):
                    seen += len(batch)
                    if seen > given:
                        yield batch.slice(max(0, given - (seen - len(batch)))).rename_columns(list(names))
                        given = seen
                return
            except self._arrow.ArrowInvalid as error:
                # Arrow's message may quote a cell: it is looked at and never passed on.
                if "Empty CSV" in str(error):
                    return
                if "straddling" not in str(error):
                    raise ValueError("table must be a CSV file, got one that cannot be parsed") from None
        raise ValueError("table must have rows of less than 2 GiB, got a longer one")

    def _read(self, places: Sequence[str], block: int) -> Iterator[Any]:
        columns = [str(place) for place in range(len(self.names))]
        text = self._arrow.string()

        def on_ragged(row: Any) -> str:
            self.ragged.append((row.number, row.actual_columns))
            return "skip"

        with self._arrow.OSFile(str(self._path)) as file:
            file.seek(self._start)
            # One thread: with more of them Arrow does not number the ragged rows.
            reader = self._csv.open_csv(
                file,
                self._csv.ReadOptions(use_threads=False, block_size=block, column_names=columns),
                self._csv.ParseOptions(
                    delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=on_ragged
                ),
                self._csv.ConvertOptions(
                    column_types=dict.fromkeys(columns, text), include_columns=list(places), strings_can_be_null=False
                ),
            )
            for batch in reader:
                self.done = file.tell()
                yield batch


def _check_bytes(path: Path) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    quotes = line = 0
    with path.open("rb") as file:
        first = file.read(2)
        if not first:
            raise ValueError("table must have a header and rows, got an empty file")
        if first in _WIDE:
            raise ValueError(f"table must be UTF-8, got UTF-16: {_CURE}")
        file.seek(0)
        while part := file.read(_AT_ONCE):
            if b"\0" in part:
                line += part[: part.index(b"\0")].count(b"\n") + 1
                raise ValueError(f"table must be text, got a NUL byte in line {line}: {_CURE}")
            try:
                decoder.decode(part)
            except UnicodeDecodeError as error:
                line += part[: error.start].count(b"\n") + 1
                raise ValueError(f"table must be UTF-8, got another encoding in line {line}: {_CURE}") from None
            quotes += part.count(b'"')
            line += part.count(b"\n")
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise ValueError(f"table must be UTF-8, got half a character at its end: {_CURE}") from None
    if quotes % 2:
        # Else the rows from that quote on would be one cell, and be lost in silence.
        raise ValueError('table must close every quote and double those inside a cell, got an odd number of "')


def _header(path: Path) -> tuple[tuple[str, ...], str, int]:
    """The names, the delimiter, and the byte at which the rows begin."""
    with path.open("rb") as file:
        raw = file.read(_LONGEST_HEADER)
    mark = len(codecs.BOM_UTF8) if raw.startswith(codecs.BOM_UTF8) else 0
    text = raw[mark:].decode("utf-8", errors="ignore")
    readings = [(*_first_row(text, delimiter), delimiter) for delimiter in DELIMITERS]
    cells, length, delimiter = max(readings, key=lambda reading: len(reading[0]))
    names = tuple(cell.strip() for cell in cells)
    if not any(names):
        got = "a line that is none" if text.strip() else "blank lines"
        raise ValueError(f"table must begin with a header of names, got {got}")
    if len(raw) == _LONGEST_HEADER and length == len(text):
        raise ValueError(f"table must have a header of at most {_LONGEST_HEADER:,} bytes, got a longer one")
    if len(names) > _MOST_COLUMNS:
        raise ValueError(f"table must have at most {_MOST_COLUMNS:,} columns, got {len(names):,}")
    numbers = sum(not math.isnan(parse_number(name)) for name in names)
    if 2 * numbers >= len(names):
        raise ValueError("table must begin with a header of names, got a first line of numbers")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"table columns must have distinct names, got {', '.join(map(repr, twice))} twice")
    return names, delimiter, mark + len(text[:length].encode())


def _first_row(text: str, delimiter: str) -> tuple[list[str], int]:
    """The cells of the first row that is not blank, and the characters up to its end."""
    used = 0

    def lines() -> Iterator[str]:
        nonlocal used
        for line in io.StringIO(text, newline=""):
            used += len(line)
            yield line

    try:
        for cells in csv.reader(lines(), delimiter=delimiter):
            if cells:
                return cells, used
    except csv.Error:  # a name of more than 128 KiB
        pass
    return [], used
