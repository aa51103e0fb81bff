"""Records: the rows of a table as numbers, beside the schema that says what the numbers mean."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from veilray.tables.column import Column
from veilray.tables.extra import needed
from veilray.tables.schema import Schema

__all__ = ["Records", "RefusedRow"]

_ROWS_AT_ONCE = 65_536
_DAYS_TO_1970 = 719_163  # date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that is left out. The list of these stays in the house.

    Attributes:
        row: data row in the source, from 1.
        reason: the column and the rule; never what the cell holds.
    """

    row: int
    reason: str


@dataclass(frozen=True)
class Records:
    """Rows of a table.

    Attributes:
        schema: what the columns mean.
        values: (n, columns) float64: number, ordinal of a date, or index of a level; NaN is missing.
        rows: (n,) int64, the data row in the source, from 1.
        patients: whose record each row is, when the schema names such a column.
    """

    schema: Schema
    values: NDArray[np.float64] = field(repr=False)
    rows: NDArray[np.int64] = field(repr=False)
    patients: tuple[str, ...] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        width = len(self.schema.columns)
        if self.values.ndim != 2 or self.values.shape[1] != width or self.values.dtype != np.float64:
            raise ValueError(f"values must be (n, {width}) float64, got {self.values.shape} {self.values.dtype}")
        if self.rows.shape != (len(self.values),):
            raise ValueError(f"rows must be ({len(self.values)},), got {self.rows.shape}")
        if self.patients is not None and len(self.patients) != len(self.values):
            raise ValueError(f"patients must be {len(self.values)}, got {len(self.patients)}")

    @classmethod
    def of(cls, schema: Schema, values: ArrayLike) -> Records:
        """Records from (n, columns) numbers, with rows counted from 1; raises ValueError for another shape."""
        numbers = np.asarray(values, dtype=np.float64)
        return cls(schema, numbers, np.arange(1, len(numbers) + 1, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, chosen: slice | NDArray[np.integer[Any]] | NDArray[np.bool_]) -> Records:
        """The chosen rows: a slice, (m,) places, or an (n,) mask."""
        places = np.arange(len(self))[chosen]
        if places.ndim != 1:
            raise TypeError("rows must be chosen by a slice, places or a mask, got one place")
        patients = None if self.patients is None else tuple(self.patients[place] for place in places)
        return Records(self.schema, self.values[places], self.rows[places], patients)

    @property
    def contents(self) -> list[bytes]:
        """The SHA-256 of each row's cells, for telling equal rows."""
        return [hashlib.sha256(row.tobytes()).digest() for row in np.ascontiguousarray(self.values, dtype="<f8")]

    def column(self, name: str) -> NDArray[np.float64]:
        """(n,) values of a column; raises ValueError for a name that is not there."""
        return self.values[:, self.schema.index(name)]

    def texts(self, name: str) -> list[str]:
        """The texts of a column as a CSV file holds them; empty where missing."""
        texts: list[str] = self.schema.column(name).write(self.column(name)).tolist()
        return texts

    def only(self, names: Iterable[str]) -> Records:
        """The records with the named columns alone, in the schema's order."""
        schema = self.schema.only(names)
        places = [self.schema.index(name) for name in schema.names]
        return Records(schema, self.values[:, places], self.rows, self.patients)

    def snapped(self) -> Records:
        """The records with every cell brought to the nearest value that its column allows."""
        columns = [column.snap(self.values[:, place]) for place, column in enumerate(self.schema.columns)]
        return Records(self.schema, np.stack(columns, axis=1), self.rows, self.patients)

    def to_arrow(self) -> Any:
        """A `pyarrow.Table`: double, int64, dictionary of the levels (ordered when ordinal), date32.

        The patient is not in it. Continuous values stay as they are; the others are snapped.

        Raises:
            ImportError: without the extra `tables`.
        """
        pa = needed("pyarrow")
        arrays = [_arrow(pa, column, self.values[:, place]) for place, column in enumerate(self.schema.columns)]
        return pa.table(dict(zip(self.schema.names, arrays, strict=True)))

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`: float64, int64 (Int64 where cells may be missing), Categorical, datetime64.

        The patient is not in it. Continuous values stay as they are; the others are snapped.

        Raises:
            ImportError: without the extra `tables`.
        """
        pd = needed("pandas")
        series = {
            column.name: _pandas(pd, column, self.values[:, place]) for place, column in enumerate(self.schema.columns)
        }
        return pd.DataFrame(series)

    def write_csv(self, path: str | PathLike[str]) -> None:
        """Write a CSV file (UTF-8, commas, RFC 4180 quotes) without the patient; every cell is snapped first."""
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.schema.names)
            for start in range(0, len(self), _ROWS_AT_ONCE):
                part = self.values[start : start + _ROWS_AT_ONCE]
                texts = [column.write(part[:, place]) for place, column in enumerate(self.schema.columns)]
                writer.writerows(zip(*texts, strict=True))

    def write_parquet(self, path: str | PathLike[str]) -> None:
        """Write a Parquet file without the patient; every cell is snapped first.

        Raises:
            ImportError: without the extra `tables`.
        """
        needed("pyarrow.parquet").write_table(self.snapped().to_arrow(), Path(path))


def _arrow(pa: Any, column: Column, values: NDArray[np.float64]) -> Any:
    if column.kind == "continuous":
        return pa.array(values, from_pandas=True)  # NaN becomes null
    numbers, gone = _whole(column, values)
    if column.levels is not None:
        codes = pa.array(numbers.astype(np.int16), mask=gone)
        return pa.DictionaryArray.from_arrays(codes, pa.array(column.levels), ordered=column.kind == "ordinal")
    if column.kind == "date":
        return pa.array((numbers - _DAYS_TO_1970).astype(np.int32), mask=gone).cast(pa.date32())
    return pa.array(numbers, mask=gone)


def _pandas(pd: Any, column: Column, values: NDArray[np.float64]) -> Any:
    if column.kind == "continuous":
        return pd.Series(values.copy())
    numbers, gone = _whole(column, values)
    if column.levels is not None:
        codes = np.where(gone, -1, numbers)
        return pd.Categorical.from_codes(codes, categories=list(column.levels), ordered=column.kind == "ordinal")
    if column.kind == "date":
        days = (numbers - _DAYS_TO_1970).astype("datetime64[D]")
        days[gone] = np.datetime64("NaT")
        return pd.Series(days.astype("datetime64[s]"))
    return pd.Series(pd.arrays.IntegerArray(numbers, gone)) if column.missing else pd.Series(numbers)


def _whole(column: Column, values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Snapped whole numbers, and where they are missing (there they are the column's least value)."""
    snapped = column.snap(values)
    gone = np.isnan(snapped)
    return np.where(gone, column.span[0], snapped).astype(np.int64), gone
