"""Where a table comes from: delimited text, a workbook, a Parquet file, or one in memory; all are read as texts.

One way of reading for all of them: a number in a Parquet file obeys the same rules as one that is written down.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from veilray.tables.delimited import Delimited
from veilray.tables.extra import needed
from veilray.text.delimited import EXTENSIONS as DELIMITED
from veilray.text.delimited import check_names, column_name
from veilray.text.dialect import PLAIN, Dialect
from veilray.text.workbook import WORKBOOKS, Workbook

__all__ = ["EXTENSIONS", "Texts", "open_texts"]

EXTENSIONS = (*DELIMITED, ".parquet", *WORKBOOKS)
_ROWS_AT_ONCE = 65_536
_EXACT = 10.0**15  # below 2^53: whole numbers up to here are exact in float64


class Texts(Protocol):
    """A table as texts.

    Attributes:
        names: the columns that have a name, in order and in normal form.
        width: how many cells a row must have.
        unreadable: columns of a type that no schema has, each with the reason.
        typed: columns whose cells have a type; None where each cell has its own, as in a workbook.
        ragged: row and number of cells of rows with a wrong number of cells; known after `batches`.
        done: how much has been read.
        total: how much there is, in the unit of `done`.
    """

    names: tuple[str, ...]
    width: int
    unreadable: dict[str, str]
    typed: frozenset[str] | None
    ragged: list[tuple[int, int]]
    done: int
    total: int

    def batches(self, names: Sequence[str]) -> Iterator[Any]:
        """Yield `pyarrow.RecordBatch` of texts with the named columns in that order; ragged rows are left out."""


def open_texts(source: Any, dialect: Dialect = PLAIN) -> Texts:
    """Open a table.

    Args:
        source: path of a file (`EXTENSIONS`), a `pandas.DataFrame` or a `pyarrow.Table`.
        dialect: how its texts are written.

    Raises:
        ValueError: a table that cannot be read; the message never holds a cell.
        TypeError: something else.
        ImportError: without the extra `tables`, or for a workbook `excel`.
    """
    if isinstance(source, str | PathLike):
        return _open_file(Path(source), dialect)
    if isinstance(source, needed("pyarrow").Table):
        return _Typed(source, dialect)
    if isinstance(source, needed("pandas").DataFrame):
        return _Typed(_from_pandas(source, dialect), dialect)
    raise TypeError(f"table must be a path, a pandas.DataFrame or a pyarrow.Table, got {type(source).__name__}")


def _open_file(path: Path, dialect: Dialect) -> Texts:
    extension = path.suffix.lower()
    if path.is_dir():
        raise ValueError(f"table must be a file, got a folder: {str(path)!r}")
    if not path.is_file():
        raise ValueError(f"table must be an existing file, got {str(path)!r}")
    if extension in DELIMITED:
        return Delimited(path, dialect)
    if extension in WORKBOOKS:
        return _Sheet(Workbook(path, dialect))
    if extension != ".parquet":
        raise ValueError(f"table must end in {', '.join(EXTENSIONS)}, got {extension or 'no extension'}")
    try:
        return _Typed(needed("pyarrow.parquet").read_table(path), dialect)
    except (needed("pyarrow").ArrowException, OSError) as error:
        raise ValueError(f"table must be a Parquet file, got one that cannot be read: {type(error).__name__}") from None


class _Typed:
    """A table whose columns have types; each cell becomes the text that a file of the dialect would hold."""

    def __init__(self, table: Any, dialect: Dialect) -> None:
        named = {place: name for place, written in enumerate(table.column_names) if (name := column_name(written))}
        self.names: tuple[str, ...] = tuple(named.values())
        self.width = len(self.names)
        self.ragged: list[tuple[int, int]] = []
        self.done, self.total = 0, table.num_rows
        if not self.names:
            raise ValueError("table must have one column or more, got none")
        check_names(self.names, "table")
        self._table = table.select(list(named)).rename_columns(list(self.names))
        self._dialect = dialect
        self.unreadable = {
            name: f"it must hold numbers, texts or days, got {_shown(field.type)}"
            for name, field in zip(self.names, self._table.schema, strict=True)
            if not _is_plain(field.type)
        }
        texts = ("string", "large_string", "string_view", "null")
        self.typed: frozenset[str] | None = frozenset(
            name
            for name, field in zip(self.names, self._table.schema, strict=True)
            if str(getattr(field.type, "value_type", field.type)) not in texts
        )

    def batches(self, names: Sequence[str]) -> Iterator[Any]:
        pa = needed("pyarrow")
        if wrong := [name for name in names if name in self.unreadable]:
            raise ValueError(f"{wrong[0]} must hold numbers, texts or days, got {_shown(self._type(wrong[0]))}")
        for batch in self._table.select(list(names)).to_batches(max_chunksize=_ROWS_AT_ONCE):
            columns = [_as_text(column, name, self._dialect) for column, name in zip(batch.columns, names, strict=True)]
            yield pa.RecordBatch.from_arrays(columns, names=list(names))
            self.done += len(batch)

    def _type(self, name: str) -> Any:
        return self._table.schema.field(name).type


class _Sheet:
    """A sheet of a workbook."""

    def __init__(self, book: Workbook) -> None:
        self._book = book
        self.names, self.width = book.names, book.width
        self.unreadable: dict[str, str] = {}
        self.typed: frozenset[str] | None = None
        self.ragged: list[tuple[int, int]] = []
        self.done, self.total = 0, 0

    def batches(self, names: Sequence[str]) -> Iterator[Any]:
        places = [self._book.header.index(name) for name in names]
        rows: list[list[str]] = []
        for number, cells in enumerate(self._book.rows(), start=1):
            if len(cells) > self.width:
                self.ragged.append((number, len(cells)))
                continue
            rows.append([cells[place] for place in places])
            if len(rows) == _ROWS_AT_ONCE:
                yield self._batch(rows, names)
                rows = []
        if rows:
            yield self._batch(rows, names)

    def _batch(self, rows: list[list[str]], names: Sequence[str]) -> Any:
        pa = needed("pyarrow")
        self.done += len(rows)
        self.total = max(self.total, self.done)
        columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
        return pa.RecordBatch.from_arrays(columns, names=list(names))


def _is_plain(kind: Any) -> bool:
    types = needed("pyarrow").types
    if types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    plain = (
        types.is_string,
        types.is_large_string,
        types.is_string_view,
        types.is_integer,
        types.is_floating,
        types.is_decimal,
        types.is_boolean,
        types.is_date,
        types.is_timestamp,
        types.is_null,
    )
    return any(fits(kind) for fits in plain)


def _shown(kind: Any) -> str:
    types = needed("pyarrow").types
    if types.is_time(kind):
        return f"times of day ({kind})"
    if types.is_duration(kind):
        return f"durations ({kind}): write them as numbers"
    if types.is_nested(kind):
        return f"{kind}, which has several values in a cell"
    return str(kind)


def _as_text(column: Any, name: str, dialect: Dialect) -> Any:
    pa, pc = needed("pyarrow"), needed("pyarrow.compute")
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _as_text(column.dictionary_decode(), name, dialect)
    if pa.types.is_timestamp(kind):
        return _days(column, name)
    if pa.types.is_boolean(kind):
        return pc.if_else(column, "True", "False")
    if pa.types.is_floating(kind):
        return _numbers(column, dialect)
    text = column.cast(pa.string())
    return _marked(text, dialect) if pa.types.is_decimal(kind) else text


def _days(column: Any, name: str) -> Any:
    """The day of each timestamp at midnight, where it was taken; with another time of day no column takes it."""
    pa, pc = needed("pyarrow"), needed("pyarrow.compute")
    if column.type.tz is not None:
        try:
            column = pc.local_timestamp(column)
        except pa.ArrowException:
            raise ValueError(
                f"{name} must be in a time zone that this machine knows, got another: install tzdata, or write the "
                "local day"
            ) from None
    day = column.cast(pa.date32(), safe=False)
    is_day = pc.equal(day.cast(column.type), column)
    return pc.if_else(is_day, day.cast(pa.string()), column.cast(pa.string()))


def _numbers(column: Any, dialect: Dialect) -> Any:
    """Floating point as text; whole numbers without a fraction, for a table with gaps makes 7 into 7.0."""
    pa, pc = needed("pyarrow"), needed("pyarrow.compute")
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), _EXACT))
    integers = pc.if_else(whole, column, None).cast(pa.int64()).cast(pa.string())
    return pc.if_else(pc.fill_null(whole, False), integers, _marked(column.cast(pa.string()), dialect))


def _marked(text: Any, dialect: Dialect) -> Any:
    replaced = needed("pyarrow.compute").replace_substring
    return text if dialect.decimal == "." else replaced(text, ".", dialect.decimal)


def _from_pandas(frame: Any, dialect: Dialect) -> Any:
    pa = needed("pyarrow")
    columns = []
    for place in range(frame.shape[1]):
        series = frame.iloc[:, place]
        try:
            columns.append(pa.array(series, from_pandas=True))
        except pa.ArrowException:  # cells of several types
            columns.append(pa.array([dialect.written(cell) for cell in series], pa.string()))
    return pa.Table.from_arrays(columns, names=[str(name) for name in frame.columns])
