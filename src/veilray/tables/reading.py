"""Reading a table: each cell against its column, each row good, replaced or refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.tables.column import Column
from veilray.tables.extra import needed
from veilray.tables.records import Records, RefusedRow
from veilray.tables.schema import Schema
from veilray.tables.texts import Texts, open_texts
from veilray.text.dialect import Dialect, is_day_of_some_dialect, is_number_of_some_dialect
from veilray.text.normal_form import normal_text, patient_key

__all__ = ["Progress", "ignored_columns", "read_records"]

Progress = Callable[[int, int], None]

_LONGEST_CELL = 65_536
_GOOD, _TOO_LONG, _TIMED, _OTHER_NUMBER, _OTHER_DAY = 0, 5, 6, 7, 8
_REASONS = ("", "wrong type", "out of bounds", "unseen level", "missing", "", "wrong type", "wrong type", "wrong type")
_GOT = (
    "",
    "something else",
    "a value out of bounds",
    "another text",
    "nothing",
    f"more than {_LONGEST_CELL:,} bytes",
    "a day with a time of day, which must be cut off",
    "a number of another dialect: see --dialect decimal= and thousands= (dialect= in Python)",
    "a day of another dialect: see --dialect date= (dialect= in Python)",
)
_BY_POLICY = tuple(code for code, reason in enumerate(_REASONS) if reason)
_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class _Faults:
    """Bad rows of one batch: place among the rows that are not ragged, first bad column, its code, bad columns."""

    places: NDArray[np.int64]
    columns: NDArray[np.int64]
    codes: NDArray[np.int8]
    counts: NDArray[np.int64]


def ignored_columns(source: Any, schema: Schema, *, dialect: Dialect | None = None) -> tuple[str, ...]:
    """The columns of a table that the schema does not name, and that reading leaves out; errors as `read_records`."""
    known = {*schema.names, schema.patient}
    return tuple(name for name in open_texts(source, dialect or schema.dialect).names if name not in known)


def read_records(
    source: Any, schema: Schema, *, dialect: Dialect | None = None, on_progress: Progress | None = None
) -> tuple[Records, list[RefusedRow]]:
    """Read a table by its schema.

    Columns that the schema does not name are not read; `ignored_columns` lists them. A row without a patient, with a
    cell of more than 65,536 bytes, or with a wrong number of cells is always refused. Names, levels and patients are
    compared in one normal form (`veilray.text`).

    Args:
        source: path of a file (`EXTENSIONS`), a `pandas.DataFrame` or a `pyarrow.Table`.
        schema: columns and policy.
        dialect: how this table is written; the schema's unless given.
        on_progress: called with how much is done and how much there is: bytes of a text, rows of the others.

    Returns:
        The good rows, perhaps none, and the refused ones, both in the order of the source.

    Raises:
        ValueError: a table that cannot be read, that lacks a column or has no rows, or a bad row where the policy
            says `error`. No message holds what a cell says.
        TypeError: a source of another type.
        ImportError: without the extra `tables`.
    """
    dialect = schema.dialect if dialect is None else dialect
    texts = open_texts(source, dialect)
    reader = _Reader(schema, dialect)
    absent = [name for name in reader.names if name not in texts.names]
    if absent:
        raise ValueError(
            f"table must have the columns of the schema, got none named {_listed(absent)} among {_listed(texts.names)}"
        )
    for batch in texts.batches(reader.names):
        reader.take(batch)
        if on_progress is not None:
            on_progress(texts.done, texts.total)
    return reader.finish(texts)


class _Reader:
    def __init__(self, schema: Schema, dialect: Dialect) -> None:
        self.schema, self.dialect = schema, dialect
        self.names = (*schema.names, *(() if schema.patient is None else (schema.patient,)))
        self._seen = 0
        self._values: list[NDArray[np.float64]] = []
        self._places: list[NDArray[np.int64]] = []
        self._patients: list[str] = []
        self._faults: list[_Faults] = []
        # (column, code) -> place of the first such row, and their number, where the policy says error
        self._errors: dict[tuple[int, int], tuple[int, int]] = {}

    def take(self, batch: Any) -> None:
        columns = self.schema.columns
        values = np.empty((len(batch), len(columns)))
        codes = np.zeros((len(batch), len(self.names)), dtype=np.int8)
        for place, column in enumerate(columns):
            values[:, place], codes[:, place] = self._cells(place, column, batch.column(place))
        if self.schema.patient is not None:
            patients, codes[:, -1] = _patients(batch.column(len(columns)), self.dialect)
            self._check_errors(len(columns), codes[:, -1])
        bad = codes.any(axis=1)
        good = ~bad
        self._values.append(values[good])
        self._places.append(np.flatnonzero(good) + self._seen)
        if self.schema.patient is not None:
            self._patients.extend(patients[good].tolist())
        if bad.any():
            first = codes[bad].astype(bool).argmax(axis=1)
            self._faults.append(
                _Faults(
                    np.flatnonzero(bad) + self._seen,
                    first,
                    codes[bad, first],
                    np.count_nonzero(codes[bad], axis=1),
                )
            )
        self._seen += len(batch)

    def _cells(self, place: int, column: Column, texts: Any) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
        different, which, too_long = _different(texts)
        values, reasons = column.read(different, self.dialect)
        codes = np.zeros(len(different), dtype=np.int8)
        for code, reason in enumerate(_REASONS[1:_TOO_LONG], start=1):
            codes[reasons == reason] = code
        for wrong in np.flatnonzero(codes == _REASONS.index("wrong type")):
            codes[wrong] = _closer(column, normal_text(different[wrong]), self.dialect, int(codes[wrong]))
        codes[too_long] = _TOO_LONG
        self._check_errors(place, codes[which])
        replaced = [code for code in _BY_POLICY if self.schema.policy.action(_REASONS[code]) == "replace"]
        at = np.isin(codes, replaced)
        values[at] = column.snap(values[at])
        codes[at] = _GOOD
        return values[which], codes[which]

    def _check_errors(self, place: int, codes: NDArray[np.int8]) -> None:
        for code in _BY_POLICY:
            if self.schema.policy.action(_REASONS[code]) != "error":
                continue
            found = np.flatnonzero(codes == code)
            if len(found):
                first, number = self._errors.get((place, code), (int(found[0]) + self._seen, 0))
                self._errors[place, code] = (first, number + len(found))

    def finish(self, texts: Texts) -> tuple[Records, list[RefusedRow]]:
        ragged = np.array([row for row, _ in texts.ragged], dtype=np.int64)
        total = self._seen + len(ragged)
        if not total:
            raise ValueError("table must have one row or more below its header, got none")
        row_of = np.setdiff1d(np.arange(1, total + 1, dtype=np.int64), ragged, assume_unique=True)
        if self._errors:
            (place, code), (first, number) = min(self._errors.items(), key=lambda item: item[1][0])
            others = "" if number == 1 else f" (and {number - 1} other{'s' if number > 2 else ''})"
            what, got = self._must(place), _GOT[code]
            raise ValueError(f"{what} in every row, got {got} in row {row_of[first]}{others}")
        refused = [RefusedRow(row, f"row must have {texts.width} cells, got {cells}") for row, cells in texts.ragged]
        for faults in self._faults:
            for place, column, code, count in zip(
                row_of[faults.places].tolist(),
                faults.columns.tolist(),
                faults.codes.tolist(),
                faults.counts.tolist(),
                strict=True,
            ):
                more = "" if count == 1 else f" (and {count - 1} more of its columns)"
                refused.append(RefusedRow(place, f"{self._must(column)}, got {_GOT[code]}{more}"))
        refused.sort(key=lambda row: row.row)
        none = np.empty((0, len(self.schema.columns)))
        places = np.concatenate([np.empty(0, dtype=np.int64), *self._places])
        patients = None if self.schema.patient is None else tuple(self._patients)
        return Records(self.schema, np.concatenate([none, *self._values]), row_of[places], patients), refused

    def _must(self, place: int) -> str:
        if place == len(self.schema.columns):
            return f"{self.schema.patient} must be given"
        column = self.schema.columns[place]
        return f"{column.name} must be {column.allowed_in(self.dialect)}"


def _closer(column: Column, text: str, dialect: Dialect, code: int) -> int:
    """Why a text is of the wrong type, where it is a day or a number after all."""
    if column.kind == "date":
        if dialect.has_time(text):
            return _TIMED
        return _OTHER_DAY if is_day_of_some_dialect(text) else code
    return _OTHER_NUMBER if isnan(dialect.number(text)) and is_number_of_some_dialect(text) else code


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _MOST_SHOWN else ""
    return ", ".join(map(repr, names[:_MOST_SHOWN])) + more


def _different(texts: Any) -> tuple[NDArray[np.object_], NDArray[np.int64], NDArray[np.bool_]]:
    """The different texts, which of them each cell is, and which are too long (those are emptied)."""
    pc = needed("pyarrow.compute")
    coded = texts.fill_null("").dictionary_encode()
    too_long = pc.greater(pc.binary_length(coded.dictionary), _LONGEST_CELL)
    different = pc.if_else(too_long, "", coded.dictionary)
    return (
        np.array(different.to_pylist(), dtype=object),
        coded.indices.to_numpy(zero_copy_only=False),
        np.array(too_long.to_pylist(), dtype=bool),
    )


def _patients(texts: Any, dialect: Dialect) -> tuple[NDArray[np.object_], NDArray[np.int8]]:
    different, which, too_long = _different(texts)
    keys = np.array([_key(text, dialect) for text in different], dtype=object)
    codes = np.where(keys == "", _REASONS.index("missing"), _GOOD).astype(np.int8)
    codes[too_long] = _TOO_LONG
    return keys[which], codes[which]


def _key(text: str, dialect: Dialect) -> str:
    """The patient's key; empty where the cell is missing, so that nobody is called NA."""
    cell = normal_text(text)
    return "" if dialect.is_missing(cell) else patient_key(dialect.whole(cell)) or ""
