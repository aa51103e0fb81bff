"""A schema read off **public** rows: for an estimator that is given no other.

`veilray.tables.draft_schema` drafts the schema of a private table, so it takes no bound and no rare level from it. Of
public rows nothing needs hiding: bounds are their extremes with a margin, levels are as seen. A private cell outside is
replaced by the nearest bound, an unseen level by a missing cell or a fixed one, so no row is refused for its cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from typing import Any

from pydantic import TypeAdapter, ValidationError

from veilray.tables import Column, Policy, Schema
from veilray.tables.column import MISSING_WORDS, Name, parse_date, parse_number
from veilray.tables.extra import needed
from veilray.tables.texts import open_texts

__all__ = ["column_names", "numbered", "public_schema"]

_MARGIN = 0.1
"""Share of the range that is added at each end: rows of the same kind lie a little outside those that were seen."""
_FEW = 10
"""Whole numbers of so many different values are taken for codes, which get no margin."""
_DIGITS = 6
"""Of a continuous column, below its range."""
_MOST_DECIMALS = 12
_EXACT = 2**53
_REPLACE = Policy(unseen_level="replace", out_of_bounds="replace", wrong_type="replace", missing="replace")
_NAME: TypeAdapter[str] = TypeAdapter(Name)


def column_names(told: Sequence[object]) -> tuple[str, ...]:
    """The columns' names where a schema takes them all and they are distinct, else x0, x1 ..."""
    names = tuple(str(name).strip() for name in told)
    try:
        for name in names:
            _NAME.validate_python(name)
    except ValidationError:
        names = ()
    return names if len(set(names)) == len(told) else numbered(len(told))


def numbered(count: int) -> tuple[str, ...]:
    """The names of columns that have none: x0, x1 ..."""
    return tuple(f"x{place}" for place in range(count))


def public_schema(table: Any) -> Schema:
    """The schema of public rows, confirmed by nobody: whoever calls this says that they are public.

    Numbers become continuous or integer columns, days date columns, all other texts categories.

    Args:
        table: a `pandas.DataFrame` or a `pyarrow.Table` whose columns have distinct names.

    Raises:
        ValueError: for a column without a value, a text column of one text or more than 256, or what no schema takes.
    """
    texts = open_texts(table)
    unique = needed("pyarrow.compute").unique
    seen: dict[str, set[str]] = {name: set() for name in texts.names}
    for batch in texts.batches(texts.names):
        for name, column in zip(texts.names, batch.columns, strict=True):
            seen[name].update(text.strip() for text in unique(column.fill_null("")).to_pylist())
    try:
        columns = tuple(_column(name, sorted(different)) for name, different in seen.items())
        return Schema(drafted_from="public rows", columns=columns, policy=_REPLACE)
    except ValidationError as error:
        said = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        cure = "give a schema, or leave the column out"
        raise ValueError(f"X must have columns that a schema can be read off, got others: {said}: {cure}") from None


def _column(name: str, different: Sequence[str]) -> Column:
    there = [text for text in different if text not in MISSING_WORDS]
    missing = len(there) < len(different)
    if not there:
        raise ValueError(f"X must have a value in every column, got none in {name}: leave it out or give a schema")
    numbers = [parse_number(text) for text in there]
    if all(map(math.isfinite, numbers)):
        low, high = min(numbers), max(numbers)
        if all(map(float.is_integer, numbers)):
            return _integer(name, int(low), int(high), len(numbers) <= _FEW, missing)
        return _continuous(name, low, high, missing)
    days = [parse_date(text) for text in there]
    if all(days):
        return _dates(name, [day for day in days if day is not None], missing)
    return Column(name=name, kind="categorical", levels=tuple(there), missing=missing)


def _integer(name: str, low: int, high: int, is_code: bool, missing: bool) -> Column:
    margin = 0 if is_code and low < high else max(1, math.ceil(_MARGIN * (high - low)))
    return Column(name=name, kind="integer", low=low - margin, high=high + margin, missing=missing)


def _continuous(name: str, low: float, high: float, missing: bool) -> Column:
    margin = _MARGIN * ((high - low) or max(1.0, abs(low)))
    span = high - low + 2 * margin
    room = math.floor(math.log10(_EXACT / (max(abs(low), abs(high), 1.0) + margin))) - 1
    decimals = max(0, min(_DIGITS - math.floor(math.log10(span)), _MOST_DECIMALS, room))
    scale = 10**decimals
    return Column(
        name=name,
        kind="continuous",
        low=round(math.floor((low - margin) * scale) / scale, decimals),
        high=round(math.ceil((high + margin) * scale) / scale, decimals),
        missing=missing,
        decimals=decimals,
    )


def _dates(name: str, days: list[date], missing: bool) -> Column:
    low, high = min(days).toordinal(), max(days).toordinal()
    margin = max(1, math.ceil(_MARGIN * (high - low)))
    first, last = max(low - margin, date.min.toordinal()), min(high + margin, date.max.toordinal())
    ends = {"low": date.fromordinal(first).isoformat(), "high": date.fromordinal(last).isoformat()}
    return Column(name=name, kind="date", **ends, missing=missing)
