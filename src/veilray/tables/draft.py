"""Drafting a schema: a first guess that a person completes and confirms.

A schema becomes public with the model, so nothing in it may come from a single record. Bounds are never the extremes
of the table: they come from a public dictionary of names, or stay open. Levels are those that 20 rows or more show, of
20 patients or more where a column says whose they are, and the draft says that they were read from the table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import isnan
from typing import Any

from pydantic import TypeAdapter, ValidationError

from veilray.tables.column import Kind, Name, parse_number
from veilray.tables.dictionary import CODINGS, Public, is_identifier, is_patient, public_bounds
from veilray.tables.draft_dialect import draft_dialect
from veilray.tables.draft_text import Draft, DraftColumn
from veilray.tables.extra import needed
from veilray.tables.texts import open_texts
from veilray.text import normal_text, patient_key
from veilray.text.dialect import Dialect
from veilray.text.dialect_entries import GivenDialect

__all__ = ["FEWEST_ROWS", "draft_schema"]

FEWEST_ROWS = 20  # rows that must show a level before the draft names it
_MOST_LEVELS = 50
_MOST_CODES = 10  # whole numbers with no more different values than this are taken for codes
_MOST_COUNTED = 5_000  # different texts; with more of them a column has no levels
_ENOUGH_ROWS = 200_000  # to tell the kind of a column without levels
_NEARLY_ALL = 0.99
_NAME: TypeAdapter[str] = TypeAdapter(Name)


@dataclass(slots=True)
class _Tally:
    """What the cells of one column look like, counted over the table."""

    name: str
    public: Public | None
    dialect: Dialect
    cells: int = 0
    missing: int = 0
    numbers: int = 0
    wholes: int = 0
    days: int = 0
    timed: int = 0
    outside: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    patients: dict[str, set[str]] | None = None
    many: bool = False
    all_different: bool = True

    def take(self, texts: list[str], times: list[int]) -> None:
        for written, number in zip(texts, times, strict=True):
            text = self.dialect.whole(normal_text(written))
            if self.dialect.is_missing(text):
                self.missing += number
            else:
                self.cells += number
                self._look(text, number)
                self._count(text, number)

    def take_patients(self, texts: list[str], patients: list[str]) -> None:
        """Note whose rows show each text, as far as it matters; a text of one patient is not a level of many."""
        if self.many:
            return
        self.patients = {} if self.patients is None else self.patients
        for text, patient in zip(map(str.strip, texts), patients, strict=True):
            whose = self.patients.setdefault(text, set())
            key = patient_key(patient)
            if key is not None and len(whose) < FEWEST_ROWS:
                whose.add(key)

    def _look(self, text: str, times: int) -> None:
        value = self.dialect.number(text)
        if not isnan(value):
            self.numbers += times
            self.wholes += times * value.is_integer()
            self.outside += times * (self.public is not None and not self.public.low <= value <= self.public.high)
        if self.dialect.day(text) is not None:
            self.days += times
        elif self.dialect.has_time(text):
            self.timed += times

    def _count(self, text: str, times: int) -> None:
        if not self.many:
            self.counts[text] += times
            self.all_different = self.all_different and self.counts[text] == 1
            self.many = len(self.counts) > _MOST_COUNTED

    @property
    def is_settled(self) -> bool:
        """Whether more rows would tell nothing: it has no levels, and its kind is known."""
        return self.many and self.cells + self.missing >= _ENOUGH_ROWS

    @property
    def is_unique(self) -> bool:
        """Whether no two of many rows hold the same text."""
        return self.all_different and self.cells >= FEWEST_ROWS

    def mostly(self, number: int) -> bool:
        return number >= _NEARLY_ALL * self.cells

    def shown(self) -> list[str]:
        """The levels that enough rows, of enough patients, show, sorted so that their order does not tell how
        frequent they are."""
        enough = [text for text, times in self.counts.most_common(_MOST_LEVELS) if times >= FEWEST_ROWS]
        if self.patients is not None:
            enough = [text for text in enough if len(self.patients.get(text, ())) >= FEWEST_ROWS]
        return sorted((text for text in enough if _is_name(text)), key=_numeric_then_text)


def draft_schema(
    source: Any, *, dialect: GivenDialect = None, on_progress: Callable[[int, int], None] | None = None
) -> Draft:
    """Draft a schema from the names and types of a table, and the dialect that it is written in.

    Args:
        source: path of a file (`EXTENSIONS`), a `pandas.DataFrame` or a `pyarrow.Table`.
        dialect: entries of the dialect that are known; the others are drafted.
        on_progress: as in `read_records`.

    Returns:
        The draft; `Draft.to_text` is the YAML to complete.

    Raises:
        ValueError: a table that cannot be read, has no rows, or has no column that can be drafted.
        TypeError: a source of another type.
        ImportError: without the extra `tables`.
    """
    drafted_dialect = draft_dialect(source, dialect)
    used = drafted_dialect.dialect
    texts = open_texts(source, used)
    arrow, value_counts = needed("pyarrow"), needed("pyarrow.compute").value_counts
    names = [name for name in texts.names if name not in texts.unreadable]
    tallies = [_Tally(name, public_bounds(name), used) for name in names]
    rows = 0
    patient = next((name for name in names if is_patient(name) and _is_name(name)), None)
    for batch in texts.batches(names):
        rows += len(batch)
        owners = None if patient is None else batch.column(names.index(patient)).fill_null("")
        for tally, column in zip(tallies, batch.columns, strict=True):
            if not tally.is_settled:
                cells = column.fill_null("")
                different, times = value_counts(cells).flatten()
                tally.take(different.to_pylist(), times.to_pylist())
                if owners is not None and tally.name != patient:
                    pairs = arrow.table({"text": cells, "patient": owners}).group_by(["text", "patient"]).aggregate([])
                    tally.take_patients(*(pairs.column(name).to_pylist() for name in ("text", "patient")))
        if on_progress is not None:
            on_progress(texts.done, texts.total)
    if not rows:
        raise ValueError("table must have one row or more below its header, got none")
    columns: list[DraftColumn] = []
    left_out: list[tuple[str, str]] = list(texts.unreadable.items())
    for tally in tallies:
        if tally.name == patient:
            continue
        drafted = _column(tally)
        if isinstance(drafted, str):
            left_out.append((tally.name, drafted))
        else:
            columns.append(drafted)
    if not columns:
        raise ValueError("table must have a column that can be released, got identifiers and free text only")
    return Draft(tuple(columns), patient, tuple(left_out), used, drafted_dialect.questions)


def _column(tally: _Tally) -> DraftColumn | str:
    """The drafted column, or why there is none."""
    reason = _reason_to_leave_out(tally)
    if reason is not None:
        return reason
    if tally.mostly(tally.days):
        return _bounded(tally, "date", None)
    return _numeric(tally) if tally.mostly(tally.numbers) else _named(tally)


def _reason_to_leave_out(tally: _Tally) -> str | None:
    coded = any(tally.counts.keys() <= set(coding) for coding in CODINGS)
    if not _is_name(tally.name):
        return "a name must be 1 to 64 plain characters that do not begin with a formula sign"
    if is_identifier(tally.name):
        return "its name says that it points at a person or a record"
    if not tally.cells:
        return "no row holds a value: all cells are missing"
    if len(tally.counts) == 1 and tally.cells >= FEWEST_ROWS and tally.public is None and not coded:
        return "all rows hold one and the same: a constant tells nothing"
    if not tally.mostly(tally.days) and tally.mostly(tally.days + tally.timed):
        return "its days have a time of day: cut it off, and keep the day"
    return None


def _numeric(tally: _Tally) -> DraftColumn | str:
    whole = tally.mostly(tally.wholes)
    known = tally.public if tally.outside <= (1 - _NEARLY_ALL) * tally.cells else None
    if known is None and whole:
        if len(tally.counts) <= _MOST_CODES and all(map(_is_name, tally.counts)):
            levels = _named(tally)
            if not isinstance(levels, str):
                return levels
        if tally.is_unique:
            return "every row has another whole number: it looks like a record's number"
    return _bounded(tally, "integer" if whole else "continuous", known)


def _bounded(tally: _Tally, kind: Kind, known: Public | None) -> DraftColumn:
    notes = []
    if known is not None:
        notes.append("the bounds are the public ones for a column of this name, in this unit")
    good = tally.days if kind == "date" else tally.numbers
    if good < tally.cells:
        notes.append(f"rows with another text than {'a day' if kind == 'date' else 'a number'} will be refused")
    low, high, unit = (None, None, "") if known is None else (known.low, known.high, known.unit)
    return DraftColumn(tally.name, kind, low, high, (), _may_miss(tally, notes), unit, tuple(notes or [_KIND]))


_KIND = "kind and unit"


def _named(tally: _Tally) -> DraftColumn | str:
    if not tally.mostly(tally.numbers) and 2 * tally.numbers > tally.cells and len(tally.counts) > _MOST_LEVELS:
        return "numbers and other texts stand in it: a text that means a missing cell goes into the dialect's missing"
    if tally.many or tally.is_unique:
        return "its texts are nearly all different: it looks like an identifier or free text"
    seen = set(tally.counts)
    coding = next((coding for coding in CODINGS if seen <= set(coding)), None)
    if coding is not None:
        notes = ["a usual coding of forms"]
        return DraftColumn(tally.name, "categorical", None, None, coding, _may_miss(tally, notes), "", tuple(notes))
    levels = tally.shown()
    if len(levels) < 2:
        whose = "rows" if tally.patients is None else "patients' rows"
        return f"fewer than two texts stand in {FEWEST_ROWS} {whose} or more: it looks like free text"
    whose = "rows" if tally.patients is None else "patients"
    notes = [
        f"these levels were read from this table, where {FEWEST_ROWS} {whose} or more show each",
        "keep those that a code book or a form names, and add the others that it names",
        "use kind ordinal and sort the levels when they have an order",
    ]
    if len(levels) < len(seen):
        notes.append("other texts stand in the table and are not listed: their rows will be refused")
    return DraftColumn(tally.name, "categorical", None, None, tuple(levels), _may_miss(tally, notes), "", tuple(notes))


def _may_miss(tally: _Tally, notes: list[str]) -> bool:
    if 0 < tally.missing < FEWEST_ROWS:
        notes.append(f"fewer than {FEWEST_ROWS} rows lack it and will be refused, unless missing is true")
    return tally.missing >= FEWEST_ROWS


def _is_name(text: str) -> bool:
    try:
        _NAME.validate_python(text)
    except ValidationError:
        return False
    return True


def _numeric_then_text(text: str) -> tuple[bool, float, str]:
    number = parse_number(text)
    return isnan(number), 0.0 if isnan(number) else number, text
