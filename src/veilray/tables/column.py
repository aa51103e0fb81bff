"""A column: what its cells may hold, and the way between texts and numbers.

Every cell is one float64: a number, the ordinal of a date (day 1 is 1 January of year 1), or the index of a level.
NaN is a missing cell. What a column allows is public: it is written down before the table is read.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from datetime import date
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from veilray.text.dialect import MISSING_WORDS as _WORDS
from veilray.text.dialect import PLAIN, Dialect
from veilray.text.normal_form import normal_text

__all__ = ["MISSING_WORDS", "Column", "Kind", "Name", "Reason", "parse_date", "parse_number"]

Kind = Literal["continuous", "integer", "ordinal", "categorical", "date"]
Reason = Literal["", "wrong type", "out of bounds", "unseen level", "missing"]

MISSING_WORDS = frozenset({"", *_WORDS})

_LONGEST_NAME = 64
_MOST_LEVELS = 256
_MOST_DECIMALS = 12
_LARGEST = 10**15  # below 2^53: whole numbers up to here are exact in float64
_EXACT = 2**53
# A spreadsheet runs a cell that begins so (OWASP, CSV Injection, 2024).
_FORMULA = ("=", "+", "-", "@")


def parse_number(text: str) -> float:
    """The number that a text writes in plain digits, or NaN; `1e400` is infinite."""
    return PLAIN.number(text)


def parse_date(text: str) -> date | None:
    """The day that a text writes as YYYY-MM-DD, or None."""
    return PLAIN.day(text)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text, got {value!r}: write it in quotes")
    return unicodedata.normalize("NFC", value)


def _plain(text: str) -> str:
    if not 1 <= len(text) <= _LONGEST_NAME:
        raise ValueError(f"must have 1 to {_LONGEST_NAME} characters, got {len(text)}")
    if any(unicodedata.category(sign) in ("Cc", "Cf", "Cn", "Cs", "Zl", "Zp") for sign in text):
        raise ValueError(f"must have no control characters, got {text!r}")
    if text.strip() != text:
        raise ValueError(f"must not begin or end with a blank, got {text!r}")
    if text.startswith(_FORMULA):
        raise ValueError(f"must not begin with = + - or @, which a spreadsheet takes for a formula, got {text!r}")
    return text


def _level(text: str) -> str:
    try:
        return _plain(text)
    except ValueError as error:
        cure = ": name the level otherwise, or use kind integer" if text[:1] in _FORMULA else ""
        raise ValueError(f"{error}{cure}") from None


Name = Annotated[str, BeforeValidator(_text), AfterValidator(_plain)]
_Level = Annotated[str, BeforeValidator(_text), AfterValidator(_level)]


class Column(BaseModel):
    """What the cells of one column may hold.

    Attributes:
        name: 1 to 64 characters; no formula sign first.
        kind: continuous and integer have numbers as bounds, date has days (YYYY-MM-DD), ordinal and categorical have
            levels.
        low: the least value, included.
        high: the greatest value, included.
        levels: 2 to 256 distinct texts; those of an ordinal column stand in their order.
        missing: a cell may be missing.
        decimals: digits after the point of a released number, 0 to 12, continuous only. Without it: 2, or more when
            the bounds have more digits or lie within 100 of each other.
        unit: as a reader should see it, such as `mmHg`.

    Example:
        >>> age = Column(name="age", kind="integer", low=0, high=120)
        >>> values, reasons = age.read(["61", "130", "old"])
        >>> reasons.tolist()
        ['', 'out of bounds', 'wrong type']
        >>> age.write(age.snap(values)).tolist()
        ['61', '120', '60']
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    kind: Kind
    low: int | float | str | None = None
    high: int | float | str | None = None
    levels: tuple[_Level, ...] | None = None
    missing: Annotated[bool, Field(strict=True)] = False
    decimals: Annotated[int, Field(strict=True, ge=0, le=_MOST_DECIMALS)] | None = None
    unit: Annotated[str, Field(max_length=_LONGEST_NAME), BeforeValidator(_text)] = ""

    @model_validator(mode="before")
    @classmethod
    def _written_plainly(cls, told: Any) -> Any:
        """One way to write each bound (0.0 is 0, a date is its text), and the decimals that are not given."""
        if not isinstance(told, dict) or told.get("kind") not in ("continuous", "integer", "date"):
            return told
        told = dict(told)
        for end in ("low", "high"):
            told[end] = _bound(end, told)
        if not told["low"] < told["high"]:
            raise ValueError(f"low must be below high in {told.get('name')}, got {told['low']} and {told['high']}")
        if told["kind"] == "continuous" and told.get("decimals") is None:
            told["decimals"] = _default_decimals(told["low"], told["high"])
        return told

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Column:
        named = self.kind in ("ordinal", "categorical")
        for field, wanted in (("low", not named), ("high", not named), ("levels", named)):
            if (getattr(self, field) is not None) is not wanted:
                allowed = "given" if wanted else "left out"
                got = "nothing" if wanted else "a value"
                raise ValueError(f"{field} must be {allowed} for kind {self.kind} ({self.name}), got {got}")
        if self.levels is not None:
            if not 2 <= len(self.levels) <= _MOST_LEVELS:
                raise ValueError(f"levels must be 2 to {_MOST_LEVELS} in {self.name}, got {len(self.levels)}")
            if len(set(self.levels)) < len(self.levels):
                twice = next(level for level in self.levels if self.levels.count(level) > 1)
                raise ValueError(f"levels must be distinct in {self.name}, got {twice!r} twice")
        if self.decimals is not None:
            self._check_decimals(self.decimals)
        return self

    def _check_decimals(self, decimals: int) -> None:
        if self.kind != "continuous":
            raise ValueError(f"decimals must be left out for kind {self.kind} ({self.name}), got {decimals}")
        for end, bound in zip(("low", "high"), self.span, strict=True):
            if float(f"{bound:.{decimals}f}") != bound:
                raise ValueError(f"{end} must have at most {decimals} decimals in {self.name}, got {bound}")
            if abs(bound) * 10**decimals >= _EXACT:
                raise ValueError(f"decimals must be fewer for bounds so large in {self.name}, got {decimals}")

    @property
    def span(self) -> tuple[float, float]:
        """The least and the greatest value on the numeric scale."""
        if self.levels is not None:
            return 0.0, float(len(self.levels) - 1)
        return _scale(self.low), _scale(self.high)

    @property
    def size(self) -> int | None:
        """The number of different values, without the missing one; None for a continuous column."""
        if self.kind == "continuous":
            return None
        low, high = self.span
        return int(high - low) + 1

    @property
    def allowed(self) -> str:
        """What a cell must be, in words for a message."""
        return self.allowed_in(PLAIN)

    def allowed_in(self, dialect: Dialect) -> str:
        """What a cell of a dialect must be, in words for a message."""
        if self.levels is not None:
            shown = ", ".join(self.levels[:5]) + (", ..." if len(self.levels) > 5 else "")
            return f"one of {shown}"
        mark = " with a decimal comma" if dialect.decimal == "," else ""
        what = {"continuous": f"a number{mark}", "integer": "a whole number", "date": f"a day as {dialect.date}"}
        return f"{what[self.kind]} in [{self.low}, {self.high}]"

    def read(
        self, texts: Sequence[str | None] | NDArray[Any], dialect: Dialect = PLAIN
    ) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
        """Turn the texts of cells into numbers, each brought to normal form first (`veilray.text.normal_text`).

        A level that is spelt like a word for missing (`None`) is that level. A code that a table with gaps has made
        into `1.0` is the level `1`. Where the levels are true and false, or 0 and 1, or where a whole number is 0 or
        1, both ways of writing a yes or no are one.

        Args:
            texts: (n,) texts; None is missing.
            dialect: how numbers, days and missing cells are written.

        Returns:
            (n,) values, and (n,) reasons of type `Reason`: empty where the cell is good. The value of a cell that is
            out of bounds is what it says; of the other bad cells NaN.
        """
        cells = ["" if text is None else normal_text(text) for text in texts]
        values = np.fromiter(map(self._parser(dialect), cells), np.float64, len(cells)) + 0.0  # no negative zero
        reasons = np.full(len(cells), "", dtype="<U13")
        low, high = self.span
        reasons[(values < low) | (values > high)] = "out of bounds"
        if self.kind == "integer":
            broken = np.isfinite(values) & (values != np.floor(values))
            values[broken], reasons[broken] = math.nan, "wrong type"
        strange = "wrong type" if self.levels is None else "unseen level"
        for place in np.flatnonzero(np.isnan(values) & (reasons == "")):
            if not dialect.is_missing(cells[place]):
                reasons[place] = strange
            elif not self.missing:
                reasons[place] = "missing"
        return values, reasons

    def _parser(self, dialect: Dialect) -> Callable[[str], float]:
        if self.levels is not None:
            return _level_parser(self.levels, dialect)
        if self.kind == "date":

            def ordinal(text: str) -> float:
                day = dialect.day(text)
                return math.nan if day is None else float(day.toordinal())

            return ordinal
        if self.kind == "integer" and self.span == (0.0, 1.0):
            return lambda text: _TRUTH[text.casefold()] if text.casefold() in _TRUTH else dialect.number(text)
        return dialect.number

    def snap(self, values: ArrayLike) -> NDArray[np.float64]:
        """The nearest value that the column allows; a continuous one is rounded to its decimals.

        NaN stays where a cell may be missing; elsewhere it becomes the middle of the span, a fixed public value.

        Args:
            values: numbers of any shape.

        Returns:
            float64 of the same shape.
        """
        low, high = self.span
        numbers = np.array(values, dtype=np.float64)
        if not self.missing:
            numbers[np.isnan(numbers)] = (low + high) / 2
        nearest = np.asarray(np.round(np.clip(numbers, low, high), self.decimals or 0), dtype=np.float64)
        return nearest + 0.0  # no negative zero

    def write(self, values: ArrayLike) -> NDArray[np.object_]:
        """The texts of cells as a CSV file holds them, each one valid: values are snapped first.

        Args:
            values: (n,) numbers.

        Returns:
            (n,) str; empty for a missing cell.
        """
        numbers = self.snap(values)
        texts = np.full(numbers.shape, "", dtype=object)
        there = ~np.isnan(numbers)
        if self.kind == "continuous":
            texts[there] = [f"{value:.{self.decimals}f}" for value in numbers[there]]
            return texts
        different, places = np.unique(numbers[there].astype(np.int64), return_inverse=True)
        names = np.array([self._name(int(value)) for value in different], dtype=object)
        texts[there] = names[places]
        return texts

    def _name(self, value: int) -> str:
        if self.levels is not None:
            return self.levels[value]
        return date.fromordinal(value).isoformat() if self.kind == "date" else str(value)


_TRUTH = {"false": 0.0, "true": 1.0}


def _level_parser(levels: tuple[str, ...], dialect: Dialect) -> Callable[[str], float]:
    places = {level: float(place) for place, level in enumerate(levels)}
    # Other ways to write a level come after all levels as they are spelt.
    others = {PLAIN.whole(dialect.whole(level)): place for level, place in reversed(places.items())}
    folded = {level.casefold(): place for level, place in places.items()}
    if len(levels) == 2 and folded.keys() in ({"false", "true"}, {"0", "1"}):
        false, true = (folded.get(word, folded.get(code, 0.0)) for word, code in (("false", "0"), ("true", "1")))
        truth = {"false": false, "0": false, "true": true, "1": true}
    else:
        truth = {}

    def place_of(text: str) -> float:
        if text in places:
            return places[text]
        whole = PLAIN.whole(dialect.whole(text))
        return others.get(whole, truth.get(whole.casefold(), math.nan))

    return place_of


def _scale(bound: int | float | str | None) -> float:
    return float(date.fromisoformat(bound).toordinal()) if isinstance(bound, str) else float(bound or 0)


def _bound(end: str, told: dict[str, Any]) -> int | float | str:
    value, kind, name = told.get(end), told["kind"], told.get("name")
    if value is None:
        raise ValueError(
            f"{end} must be given for kind {kind} ({name}), got nothing: "
            "take a bound that is public knowledge, not the extreme of the table"
        )
    if kind == "date":
        text = value.isoformat() if isinstance(value, date) else value
        if not isinstance(text, str) or parse_date(text) is None:
            raise ValueError(f"{end} must be a day as YYYY-MM-DD in {name}, got {value!r}")
        return text
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{end} must be a finite number in {name}, got {value!r}")
    if abs(value) > _LARGEST:
        raise ValueError(f"{end} must be within 10^15 of zero in {name}, got {value!r}")
    if value == int(value):
        return int(value)
    if kind == "integer":
        raise ValueError(f"{end} must be a whole number in {name}, got {value!r}")
    return value


def _default_decimals(low: float, high: float) -> int:
    """Two; more for bounds with more digits or a narrow span, fewer where float64 would not hold them."""
    narrow = 4 - math.ceil(math.log10(high - low))
    of_bounds = next((n for n in range(_MOST_DECIMALS) if all(round(end, n) == end for end in (low, high))), 0)
    room = math.floor(math.log10(_EXACT / max(abs(low), abs(high), 1)))
    return max(0, min(max(2, narrow, of_bounds), _MOST_DECIMALS, room))
