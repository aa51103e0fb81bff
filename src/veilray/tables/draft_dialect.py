"""Drafting a dialect: what the cells of a table show of how it is written, and what they leave open.

What several readings fit is a question that a person answers: 01/02/2020 is two days, and 1,234 is two numbers. The
draft leaves such an entry empty, so that it cannot be used before it is answered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import isnan
from os import PathLike
from pathlib import Path
from typing import Any

from veilray.tables.extra import needed
from veilray.tables.texts import Texts, open_texts
from veilray.text.delimited import EXTENSIONS, DelimitedText, agreeing_delimiters, encoding_of, text_sample
from veilray.text.dialect import AUTO, DATE_FORMATS, DELIMITERS, PLAIN, Dialect, is_number_of_some_dialect
from veilray.text.dialect_entries import GivenDialect, given_entries, read_dialect
from veilray.text.normal_form import normal_text

__all__ = ["DraftedDialect", "Question", "draft_dialect"]

_ENOUGH_ROWS = 200_000
_MOST_COUNTED = 5_000
_NEARLY_ALL = 0.99
_FEWEST_ROWS = 20  # that must show a word before it is named
_MOST_WORDS = 3
_YEARS = (1850, 2150)  # of digits that are taken for a day
_ISO, _DIGITS = "YYYY-MM-DD", "YYYYMMDD"
# Readings of numbers, simplest first.
_POINT, _COMMA = Dialect(), Dialect(decimal=",")
_POINT_GROUPED, _COMMA_GROUPED = Dialect(thousands=","), Dialect(decimal=",", thousands=".")
_READINGS = (_POINT, _COMMA, _POINT_GROUPED, _COMMA_GROUPED)
_ENCODINGS = ("cp1252", "iso8859-1", "iso8859-15", "mac-roman", "cp850")


@dataclass(frozen=True, slots=True)
class Question:
    """What a person must answer about a dialect: the entry, the answers that fit, and one sentence that asks."""

    entry: str
    answers: tuple[str, ...]
    sentence: str
    is_open: bool = True  # the draft leaves the entry empty


@dataclass(frozen=True)
class DraftedDialect:
    """A dialect that may have open questions; each stands at its first answer in `dialect`."""

    dialect: Dialect = PLAIN
    questions: tuple[Question, ...] = field(default=())


def draft_dialect(source: Any, given: GivenDialect = None) -> DraftedDialect:
    """Draft the dialect of a table.

    Args:
        source: as `open_texts` takes it.
        given: entries that are known already and are not looked for.

    Raises:
        ValueError: a table that cannot be read; the message never holds a cell.
    """
    known = given_entries(given)
    dialect = read_dialect(given)
    questions: list[Question] = []
    if isinstance(source, str | PathLike) and Path(source).suffix.lower() in EXTENSIONS and Path(source).is_file():
        for look in (_encoding, _delimiter):
            dialect, asked = look(Path(source), dialect, known)
            questions.extend(asked)
    cells = _Cells(open_texts(source, dialect), dialect)
    for name, look_at in (("missing", _words), ("decimal", _numbers), ("date", _days)):
        if name not in known:
            dialect, asked = look_at(cells, dialect)
            questions.extend(asked)
    return DraftedDialect(dialect, tuple(questions))


class _Cells:
    """The different texts of each column that has no type, with how many rows show each; missing ones left out."""

    def __init__(self, texts: Texts, dialect: Dialect) -> None:
        typed = texts.typed or frozenset()
        self.marks_are_typed = texts.typed is None
        names = [name for name in texts.names if name not in texts.unreadable]
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in names}
        self.is_typed = {name: name in typed for name in names}
        value_counts = needed("pyarrow.compute").value_counts
        rows = 0
        for batch in texts.batches(names):
            rows += len(batch)
            for name, column in zip(names, batch.columns, strict=True):
                if len(self.counts[name]) > _MOST_COUNTED:
                    continue
                different, times = value_counts(column.fill_null("")).flatten()
                for text, number in zip(different.to_pylist(), times.to_pylist(), strict=True):
                    cell = normal_text(text)
                    if not dialect.is_missing(cell):
                        self.counts[name][cell] += number
            if rows >= _ENOUGH_ROWS:
                break

    def fitting(self, name: str, fits: Callable[[str], bool]) -> bool:
        """Whether nearly all cells of a column fit."""
        counts = self.counts[name]
        good = sum(times for cell, times in counts.items() if fits(cell))
        return bool(counts) and good >= _NEARLY_ALL * counts.total()


def _encoding(path: Path, dialect: Dialect, known: Mapping[str, Any]) -> tuple[Dialect, list[Question]]:
    if "encoding" in known or encoding_of(path) != "utf-8":
        return dialect, []
    sample = path.read_bytes()
    try:
        sample.decode("utf-8")
    except UnicodeDecodeError:
        fitting = [name for name in _ENCODINGS if _decodes(sample, name)]
    else:
        if b"\0" not in sample:
            return dialect, []
        even, odd = sample[::2].count(0), sample[1::2].count(0)
        fitting = ["utf-16-le" if odd > even else "utf-16-be"]
    if not fitting:
        return dialect, []
    sentence = f"encoding: the file is not UTF-8; is it {fitting[0]}? Look whether letters with accents are right"
    question = Question("encoding", tuple(fitting), sentence, is_open=False)
    return dialect.changed({"encoding": fitting[0]}), [question]


def _decodes(sample: bytes, encoding: str) -> bool:
    try:
        sample.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _delimiter(path: Path, dialect: Dialect, known: Mapping[str, Any]) -> tuple[Dialect, list[Question]]:
    if "delimiter" in known:
        return dialect, []
    text = DelimitedText(path, dialect)
    agreeing = agreeing_delimiters(text_sample(path, text.encoding, text.passed), tuple(DELIMITERS.values()))
    chosen = text.delimiter
    if chosen not in agreeing and len(agreeing) == 1 and len(text.names) < 2:
        chosen = agreeing[0]
    questions = []
    if len(agreeing) > 1 and not text.separator:
        names = {sign: name for name, sign in DELIMITERS.items()}
        answers = tuple(names[sign] for sign in sorted(agreeing, key=lambda sign: sign != chosen))
        questions.append(Question("delimiter", answers, f"delimiter: {' and '.join(answers)} both fit", is_open=False))
    return dialect.changed({"delimiter": AUTO if chosen == "," and not questions else chosen}), questions


def _words(cells: _Cells, dialect: Dialect) -> tuple[Dialect, list[Question]]:
    """Words that stand in many rows of a column of numbers or days, where no number or day is."""
    found: dict[str, list[str]] = {}
    for name, counts in cells.counts.items():
        strange = {
            cell: times
            for cell, times in counts.items()
            if times >= _FEWEST_ROWS and not any(sign.isdigit() for sign in cell)
        }
        rest = Counter(counts)
        for word in strange:
            del rest[word]
        good = sum(times for cell, times in rest.items() if is_number_of_some_dialect(cell) or _formats(cell))
        if 0 < len(strange) <= _MOST_WORDS < len(rest) and good >= _NEARLY_ALL * rest.total():
            for word in strange:
                found.setdefault(word, []).append(name)
                del counts[word]
    questions = [
        Question("missing", (word,), f"missing: does {word!r} mean a missing cell in {_names(names)}?", is_open=False)
        for word, names in sorted(found.items())
    ]
    return dialect.changed({"missing": (*dialect.missing, *found)}), questions


def _numbers(cells: _Cells, dialect: Dialect) -> tuple[Dialect, list[Question]]:
    """The decimal mark that every column of numbers fits."""
    fitting: dict[str, list[Dialect]] = {}
    for name, counts in cells.counts.items():
        marked = any("," in cell or ("." in cell and not cells.marks_are_typed) for cell in counts)
        if cells.is_typed[name] or not marked:
            continue
        readings = [
            reading
            for reading in _READINGS
            if cells.fitting(name, lambda cell, by=reading: not isnan(by.number(cell)))  # type: ignore[misc]
        ]
        if readings:
            fitting[name] = readings
    if not fitting:
        return dialect, []
    left = [reading for reading in _READINGS if all(reading in readings for readings in fitting.values())]
    marks = list(dict.fromkeys(reading.decimal for reading in left))
    unsure = len(marks) > 1 and (_POINT not in left or dialect.delimiter == ";")
    if left and not unsure:
        return dialect.changed({"decimal": left[0].decimal, "thousands": left[0].thousands}), []
    if left:
        open_ones = [name for name, readings in fitting.items() if len({one.decimal for one in readings}) > 1]
        sentence = f"decimal: point or comma? {_names(open_ones)} can be read with both, as groups of three digits"
        answers = tuple(marks)
    else:
        commas = [name for name, readings in fitting.items() if _POINT not in readings]
        sentence = f"decimal: point or comma? The columns differ: {_names(commas)} fit a comma, others a point"
        answers = (".", ",")
        left = [_POINT]
    chosen = {"decimal": left[0].decimal, "thousands": left[0].thousands}
    return dialect.changed(chosen), [Question("decimal", answers, sentence)]


def _days(cells: _Cells, dialect: Dialect) -> tuple[Dialect, list[Question]]:
    """The format that every column of days fits; days as YYYY-MM-DD need none."""
    fitting: dict[str, list[str]] = {}
    digits: list[str] = []
    for name, counts in cells.counts.items():
        if not counts or cells.fitting(name, lambda cell: PLAIN.day(cell) is not None):
            continue
        formats = [form for form in _formats(next(iter(counts))) if cells.fitting(name, _fits(form))]
        if formats == [_DIGITS]:
            digits.append(name)
        elif formats and not cells.is_typed[name]:
            fitting[name] = formats
    if not fitting:
        return (dialect.changed({"date": _DIGITS}) if digits else dialect), []
    left = [form for form in DATE_FORMATS if all(form in formats for formats in fitting.values())]
    if len(left) == 1:
        return dialect.changed({"date": left[0]}), []
    if left:
        sentence = f"date: {' or '.join(left)}? Every day in {_names(fitting)} can be read as each"
        return dialect.changed({"date": left[0]}), [Question("date", tuple(left), sentence)]
    answers = tuple(dict.fromkeys(form for formats in fitting.values() for form in formats))
    sentence = f"date: {' or '.join(answers)}? The columns {_names(fitting)} differ: write one of them as {_ISO}"
    return dialect.changed({"date": answers[0]}), [Question("date", answers, sentence)]


def _fits(form: str) -> Callable[[str], bool]:
    reading = Dialect(date=form)

    def fits(cell: str) -> bool:
        day = reading.day(cell)
        return day is not None and (form != _DIGITS or _YEARS[0] <= day.year <= _YEARS[1])

    return fits


def _formats(cell: str) -> list[str]:
    return [form for form in DATE_FORMATS if _fits(form)(cell)]


def _names(names: Iterable[str]) -> str:
    shown = [repr(name) for name in names]
    return ", ".join(shown[:10]) + (", ..." if len(shown) > 10 else "")
