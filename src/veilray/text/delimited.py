"""Delimited text: a file checked for what no row could survive, its header, and its rows as text.

A row is what RFC 4180 calls a record: a quoted line break is part of its cell. A blank line is a missing cell where
there is one column, and no row where there are more. Blank lines at the very end are no rows.

A first line `sep=;`, by which Excel knows the delimiter, is followed; a line `# root: FOLDER` is passed over.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from veilray.text.dialect import AUTO, PLAIN, Dialect
from veilray.text.normal_form import normal_text

__all__ = [
    "EXTENSIONS",
    "ROOT_LINE",
    "DelimitedText",
    "agreeing_delimiters",
    "check_names",
    "column_name",
    "encoding_of",
    "first_line",
    "text_sample",
]

EXTENSIONS = (".csv", ".tsv", ".txt")
ROOT_LINE = "# root:"

_FOUND_ALONE = (",", ";", "\t")
_AT_ONCE = 2**20
_LONGEST_HEADER = 2**20
_MOST_COLUMNS = 10_000
_SAMPLED_ROWS = 50
_SEPARATOR_LINE = re.compile(r'"?sep=([,;\t|:^~ ])"?\s*', re.IGNORECASE)
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_UNNAMED = re.compile(r"Unnamed: [0-9]+")  # what pandas calls the index of a table that was saved twice
_CURE = "save it as 'CSV UTF-8', or say which with --dialect encoding=NAME, such as cp1252 (dialect= in Python)"


class DelimitedText:
    """An open file of delimited text.

    Args:
        path: the file.
        dialect: how it is written.
        what: what errors call it.

    Attributes:
        header: the cells of the header in normal form; empty for a column without a name, such as the row numbers
            that pandas and R write.
        surplus: cells behind the header's last one, empty, because every row ends with a delimiter.
        delimiter: as declared, as the file says in `sep=`, or the one that header and first rows agree on.
        encoding: Python's name of it.
        separator: what the file's own line `sep=` says; empty without.
        passed: characters before the header.
        start: characters before the first row.

    Raises:
        ValueError: empty, another encoding, NUL bytes, a quote that never ends, or no usable header.
    """

    def __init__(self, path: Path, dialect: Dialect = PLAIN, what: str = "table") -> None:
        self._path, self._what = path, what
        self.encoding = encoding_of(path, dialect)
        self._check_text()
        sample = text_sample(path, self.encoding)
        whole = path.stat().st_size <= _LONGEST_HEADER
        self.passed, self.separator = _preamble(sample)
        sample = sample[self.passed :]
        told = self.separator or (dialect.delimiter if dialect.delimiter != AUTO else "")
        self.delimiter = told or _agreed(sample, whole)
        cells, length = _first_row(sample, self.delimiter)
        self.header = tuple(map(column_name, cells))
        self.start = self.passed + length
        self._check_header(sample, whole or length < len(sample))
        self.surplus = _surplus(sample, self.delimiter, len(self.header), whole)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that have a name, in order."""
        return tuple(name for name in self.header if name)

    @property
    def width(self) -> int:
        """How many cells a row has, columns without a name included."""
        return len(self.header) + self.surplus

    def rows(self) -> Iterator[list[str]]:
        """Yield the cells of each row as they stand, also of rows with a wrong number of cells."""
        try:
            with io.TextIOWrapper(self.utf8(), "utf-8", newline="") as text:
                for cells in csv.reader(text, delimiter=self.delimiter, strict=True):
                    if cells or self.width == 1:
                        yield cells or [""]
        except csv.Error as error:
            raise ValueError(f"{self._what} must be delimited text, got one that cannot be parsed: {error}") from None

    def utf8(self) -> BinaryIO:
        """The rows as bytes in UTF-8, whatever the file's encoding is, without blank lines at the end."""
        return io.BufferedReader(_Rows(self._path, self.encoding, self.start), _AT_ONCE)

    def _check_text(self) -> None:
        decoder = codecs.getincrementaldecoder(self.encoding)()
        quotes, line, got = 0, 1, False
        with self._path.open("rb") as file:
            while part := file.read(_AT_ONCE):
                got = True
                try:
                    text = decoder.decode(part)
                except UnicodeDecodeError as error:
                    line += part[: error.start].count(b"\n")
                    raise ValueError(self._other_encoding(f"another encoding in line {line}")) from None
                if "\0" in text:
                    line += text[: text.index("\0")].count("\n")
                    raise ValueError(f"{self._what} must be text, got a NUL byte in line {line}: {_CURE}")
                quotes += text.count('"')
                line += text.count("\n")
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise ValueError(self._other_encoding("half a character at its end")) from None
        if not got:
            raise ValueError(f"{self._what} must have a header and rows, got an empty file")
        if quotes % 2:
            # Else the rows from that quote on would be one cell, and be lost in silence.
            raise ValueError(
                f'{self._what} must close every quote and double those inside a cell, got an odd number of "'
            )

    def _other_encoding(self, got: str) -> str:
        return f"{self._what} must be {self.encoding.removesuffix('-sig').upper()}, got {got}: {_CURE}"

    def _check_header(self, sample: str, ends: bool) -> None:
        names, what = self.header, self._what
        if not any(names):
            got = "a line that is none" if sample.strip() else "an empty file or blank lines"
            raise ValueError(f"{what} must begin with a header of names, got {got}")
        if not ends:
            raise ValueError(f"{what} must have a header of at most {_LONGEST_HEADER:,} bytes, got a longer one")
        if len(names) > _MOST_COLUMNS:
            raise ValueError(f"{what} must have at most {_MOST_COLUMNS:,} columns, got {len(names):,}")
        numbers = sum(not math.isnan(PLAIN.number(name)) for name in names)
        if 2 * numbers >= len(names):
            raise ValueError(f"{what} must begin with a header of names, got a first line of numbers")
        check_names(self.names, what)


def check_names(names: tuple[str, ...], what: str) -> None:
    """Raise ValueError where a name, in normal form, stands twice."""
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise ValueError(f"{what} columns must have distinct names, got {', '.join(map(repr, twice))} twice")


def encoding_of(path: Path, dialect: Dialect = PLAIN) -> str:
    """The encoding of a file: what its byte order mark says, else what is declared, else UTF-8."""
    with path.open("rb") as file:
        first = file.read(4)
    for mark, encoding in _MARKS:
        if first.startswith(mark):
            return encoding
    return "utf-8" if dialect.encoding == AUTO else dialect.encoding


def first_line(path: Path, longest: int, dialect: Dialect = PLAIN) -> str:
    """The first line of a text, at most `longest` bytes of it."""
    with path.open("rb") as file:
        text = file.read(longest).decode(encoding_of(path, dialect), errors="replace")
    return text.partition("\n")[0].strip()


class _Rows(io.RawIOBase):
    """A file from its first row on, in UTF-8; line ends are held back until more text follows them."""

    def __init__(self, path: Path, encoding: str, start: int) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._to_pass = start
        self._held = ""
        self._ready = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def tell(self) -> int:
        """Bytes of the file that were read; the next ones are not at that place of this stream."""
        return self._file.tell()

    def readinto(self, buffer: object) -> int:
        target = memoryview(buffer)  # type: ignore[arg-type]  # Python's io hands over a buffer
        while not self._ready and not self._ended:
            self._fill()
        number = min(len(target), len(self._ready))
        target[:number] = self._ready[:number]
        self._ready = self._ready[number:]
        return number

    def _fill(self) -> None:
        raw = self._file.read(_AT_ONCE)
        self._ended = not raw
        text = self._decoder.decode(raw, final=self._ended)
        passed = min(self._to_pass, len(text))
        self._to_pass -= passed
        text = self._held + text[passed:]
        rows = text.rstrip("\r\n")
        self._held = text[len(rows) :]
        self._ready = memoryview(rows.encode())


def column_name(cell: str) -> str:
    """A header cell in normal form; empty for none, and for the name that pandas gives to row numbers saved twice."""
    name = normal_text(cell)
    return "" if _UNNAMED.fullmatch(name) else name


def text_sample(path: Path, encoding: str, passed: int = 0) -> str:
    """The first mebibyte of a text, without its first `passed` characters."""
    with path.open("rb") as file:
        return codecs.getincrementaldecoder(encoding)().decode(file.read(_LONGEST_HEADER))[passed:]


def _preamble(sample: str) -> tuple[int, str]:
    """Characters before the header, and the delimiter that a line `sep=` says."""
    passed, separator = 0, ""
    while True:
        line = sample[passed:].partition("\n")[0]
        says = _SEPARATOR_LINE.fullmatch(line)
        if says is not None and not separator:
            separator = says[1]
        elif not line.lstrip('"').startswith(ROOT_LINE):
            return passed, separator
        passed += len(line) + 1


def _agreed(sample: str, whole: bool) -> str:
    """The delimiter that splits the header, and the first rows into as many cells; of several, into the most."""

    def merit(delimiter: str) -> tuple[float, int]:
        rows = _rows(sample, delimiter, whole)
        names = len(rows[0]) if rows else 0
        if names < 2:
            return -1.0, names
        agreeing = [len(row) == names or (len(row) > names and not any(row[names:])) for row in rows[1:]]
        return (sum(agreeing) / len(agreeing) if agreeing else 0.0), names

    return max(_FOUND_ALONE, key=merit)


def agreeing_delimiters(sample: str, candidates: tuple[str, ...]) -> list[str]:
    """The delimiters that header and all first rows agree on."""
    found = []
    for delimiter in candidates:
        rows = _rows(sample, delimiter, whole=False)
        if len(rows) > 1 and len(rows[0]) > 1 and all(len(row) == len(rows[0]) for row in rows):
            found.append(delimiter)
    return found


def _surplus(sample: str, delimiter: str, width: int, whole: bool) -> int:
    rows = _rows(sample, delimiter, whole)[1:]
    more = len(rows[0]) - width if rows else 0
    return more if more > 0 and not any(rows[0][width:]) else 0


def _rows(sample: str, delimiter: str, whole: bool) -> list[list[str]]:
    """The first rows of a sample, the header first; the last one may be cut off and is left out."""
    rows: list[list[str]] = []
    try:
        for cells in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter):
            if cells:
                rows.append(cells)
            if len(rows) > _SAMPLED_ROWS:
                return rows
    except csv.Error:
        return rows
    return rows if whole else rows[:-1]


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
