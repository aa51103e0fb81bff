"""Where a table comes from: a CSV file, a Parquet file, or one in memory; all are read as texts.

One way of reading for all of them: a number in a Parquet file obeys the same rules as one that is written down.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from veilray.tables.delimited import Delimited
from veilray.tables.extra import needed

__all__ = ["EXTENSIONS", "Texts", "open_texts"]

_DELIMITED = (".csv", ".tsv")
EXTENSIONS = (*_DELIMITED, ".parquet")
_ROWS_AT_ONCE = 65_536


class Texts(Protocol):
    """A table as texts.

    Attributes:
        names: the columns in order.
        ragged: row and number of cells of rows with a wrong number of cells; known after `batches`.
        done: how much has been read.
        total: how much there is, in the unit of `done`.
    """

    names: tuple[str, ...]
    ragged: list[tuple[int, int]]
    done: int
    total: int

    def batches(self, names: Sequence[str]) -> Iterator[Any]:
        """Yield `pyarrow.RecordBatch` of texts with the named columns in that order; ragged rows are left out."""


def open_texts(source: Any) -> Texts:
    """Open a table.

    Args:
        source: path of a `.csv`, `.tsv` or `.parquet` file, a `pandas.DataFrame` or a `pyarrow.Table`.

    Raises:
        ValueError: a table that cannot be read; the message never holds a cell.
        TypeError: something else.
        ImportError: without the extra `tables`.
    """
    if isinstance(source, str | PathLike):
        return _open_file(Path(source))
    if isinstance(source, needed("pyarrow").Table):
        return _Typed(source)
    if isinstance(source, needed("pandas").DataFrame):
        return _Typed(_from_pandas(source))
    raise TypeError(f"table must be a path, a pandas.DataFrame or a pyarrow.Table, got {type(source).__name__}")


def _open_file(path: Path) -> Texts:
    extension = path.suffix.lower()
    if path.is_dir():
        raise ValueError(f"table must be a file, got a folder: {str(path)!r}")
    if not path.is_file():
        raise ValueError(f"table must be an existing file, got {str(path)!r}")
    if extension in _DELIMITED:
        return Delimited(path)
    if extension != ".parquet":
        raise ValueError(f"table must end in {', '.join(EXTENSIONS)}, got {extension or 'no extension'}")
    try:
        return _Typed(needed("pyarrow.parquet").read_table(path))
    except (needed("pyarrow").ArrowException, OSError) as error:
        raise ValueError(f"table must be a Parquet file, got one that cannot be read: {type(error).__name__}") from None


class _Typed:
    """A table whose columns have types; each cell becomes the text that a CSV file would hold."""

    def __init__(self, table: Any) -> None:
        self.names: tuple[str, ...] = tuple(table.column_names)
        self.ragged: list[tuple[int, int]] = []
        self.done, self.total = 0, table.num_rows
        self._table = table
        if not self.names:
            raise ValueError("table must have one column or more, got none")
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise ValueError(f"table columns must have distinct names, got {', '.join(map(repr, twice))} twice")

    def batches(self, names: Sequence[str]) -> Iterator[Any]:
        pa = needed("pyarrow")
        for batch in self._table.select(list(names)).to_batches(max_chunksize=_ROWS_AT_ONCE):
            columns = [_as_text(column, name) for column, name in zip(batch.columns, names, strict=True)]
            yield pa.RecordBatch.from_arrays(columns, names=list(names))
            self.done += len(batch)


def _as_text(column: Any, name: str) -> Any:
    pa, pc = needed("pyarrow"), needed("pyarrow.compute")
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _as_text(column.dictionary_decode(), name)
    if pa.types.is_timestamp(kind):
        # A day without a time of day is a date; with one it is left as it is, and no column takes it.
        day = column.cast(pa.date32(), safe=False)
        is_day = pc.equal(day.cast(pa.timestamp(kind.unit, kind.tz)), column)
        return pc.if_else(is_day, day.cast(pa.string()), column.cast(pa.string()))
    plain = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
        pa.types.is_boolean,
        pa.types.is_date,
        pa.types.is_null,
    )
    if not any(fits(kind) for fits in plain):
        raise ValueError(f"{name} must hold numbers, texts or days, got {kind}")
    return column.cast(pa.string())


def _from_pandas(frame: Any) -> Any:
    pa, pd = needed("pyarrow"), needed("pandas")
    columns = []
    for place in range(frame.shape[1]):
        series = frame.iloc[:, place]
        try:
            columns.append(pa.array(series, from_pandas=True))
        except pa.ArrowException:  # cells of several types
            columns.append(pa.array([None if pd.isna(cell) else str(cell) for cell in series], pa.string()))
    return pa.Table.from_arrays(columns, names=[str(name).strip() for name in frame.columns])
