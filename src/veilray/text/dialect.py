"""The dialect of a table: how its numbers, days and missing cells are written, and how its file separates cells.

A dialect is declared, never guessed while a table is read: 1,234 is one number in Berlin and another in Boston, and
01/02/2020 is two days. The default is strict: a decimal point, days as YYYY-MM-DD, UTF-8, and comma, semicolon or TAB
as the header shows. Days as YYYY-MM-DD are taken in every dialect, for no other format can be mistaken for them.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Mapping
from datetime import date as Day
from datetime import datetime, time
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from veilray.text.normal_form import cell_text, normal_text

__all__ = [
    "AUTO",
    "DATE_FORMATS",
    "DELIMITERS",
    "ENCODINGS",
    "MISSING_WORDS",
    "PLAIN",
    "Dialect",
    "is_day_of_some_dialect",
    "is_number_of_some_dialect",
]

AUTO = "auto"
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}

# What pandas.read_csv takes for missing (its default, 2024), SQL's NULL, pandas' NaT and the single point of SAS.
MISSING_WORDS = (
    "#N/A",
    "#N/A N/A",
    "#NA",
    "-1.#IND",
    "-1.#QNAN",
    "-NaN",
    "-nan",
    ".",
    "1.#IND",
    "1.#QNAN",
    "<NA>",
    "?",
    "N/A",
    "NA",
    "NULL",
    "NaN",
    "NaT",
    "None",
    "n/a",
    "nan",
    "null",
)

# By Python's own names, so that every spelling of one encoding is one. Codecs that are no encoding of text are absent.
ENCODINGS = frozenset(
    (
        *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"),
        *("cp437", "cp850", "cp852", "cp932", "cp949", "mac-roman", "koi8-r"),
        *(f"cp125{number}" for number in range(9)),
        *(f"iso8859-{number}" for number in (1, 2, 5, 7, 9, 15)),
        *("big5", "gb18030", "euc_jp", "euc_kr", "shift_jis"),
    )
)

_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_YEAR, _MONTH, _DAY = "(?P<y>[0-9]{4})", "(?P<m>[0-9]{1,2})", "(?P<d>[0-9]{1,2})"
_NAMED = f"(?P<n>{'|'.join(_MONTHS)})"
# Years have four digits: two would leave the century open.
_PATTERNS = {
    "YYYY-MM-DD": "(?P<y>[0-9]{4})-(?P<m>[0-9]{2})-(?P<d>[0-9]{2})",
    "DD.MM.YYYY": rf"{_DAY}\.{_MONTH}\.{_YEAR}",
    "DD/MM/YYYY": f"{_DAY}/{_MONTH}/{_YEAR}",
    "MM/DD/YYYY": f"{_MONTH}/{_DAY}/{_YEAR}",
    "DD-MM-YYYY": f"{_DAY}-{_MONTH}-{_YEAR}",
    "MM-DD-YYYY": f"{_MONTH}-{_DAY}-{_YEAR}",
    "YYYY/MM/DD": f"{_YEAR}/{_MONTH}/{_DAY}",
    "YYYY.MM.DD": rf"{_YEAR}\.{_MONTH}\.{_DAY}",
    "YYYYMMDD": "(?P<y>[0-9]{4})(?P<m>[0-9]{2})(?P<d>[0-9]{2})",
    "DDMMMYYYY": f"{_DAY}{_NAMED}{_YEAR}",
    "DD-MMM-YYYY": f"{_DAY}-{_NAMED}-{_YEAR}",
}
_DATES = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _PATTERNS.items()}
DATE_FORMATS = tuple(_PATTERNS)
_ANY_DATE = re.compile("|".join(re.sub(r"\(\?P<.>", "(?:", text) for text in _PATTERNS.values()), re.IGNORECASE)
_ISO = "YYYY-MM-DD"

_ZONE = r"(?: ?(?:Z|UTC|[+-][0-9]{2}:?[0-9]{2}))?"
_MIDNIGHT = re.compile(rf"(?:[ T]00:00(?::00(?:\.0+)?)?{_ZONE}| 12:00(?::00)? ?AM)$")
_TIMED = re.compile(r"^[0-9][0-9A-Za-z./-]{5,}[ T][0-9]{1,2}:[0-9]{2}")

_BLANKS = "[ \u00a0\u202f\u2009]"
_LONGEST_WORD = 64
_MOST_WORDS = 1_000
_WHOLE_IN_FLOAT = 10**15  # below 2^53


def _delimiter(text: str) -> str:
    sign = DELIMITERS.get(text, text)
    if sign == AUTO:
        return sign
    if len(sign) != 1 or sign.isalnum() or sign in '"\r\n\0' or ord(sign) > 127:
        raise ValueError(f"must be auto, {', '.join(DELIMITERS)} or one sign, got {text!r}")
    return sign


def _decimal(text: Any) -> Any:
    return {"comma": ",", "point": "."}.get(text, text) if isinstance(text, str) else text


def _date_format(text: str) -> str:
    if text.upper() not in _PATTERNS:
        raise ValueError(f"must be one of {', '.join(_PATTERNS)}, got {text!r}")
    return text.upper()


def _encoding(text: str) -> str:
    if text == AUTO:
        return text
    try:
        name = codecs.lookup(text).name
    except (LookupError, ValueError):
        name = ""
    if name not in ENCODINGS:
        raise ValueError(f"must be auto or one of {', '.join(sorted(ENCODINGS))}, got {text!r}")
    return name


def _words(words: tuple[str, ...]) -> tuple[str, ...]:
    if len(words) > _MOST_WORDS or any(len(word) > _LONGEST_WORD for word in words):
        raise ValueError(f"must be at most {_MOST_WORDS:,} words of at most {_LONGEST_WORD} characters, got more")
    return tuple(sorted({normal_text(word) for word in words} - {""}))


class Dialect(BaseModel):
    """How a table is written. Cells that have a type, in a data frame, Arrow, Parquet or a workbook, need none.

    Attributes:
        delimiter: between cells: one sign, or comma, semicolon, tab, pipe; auto: comma, semicolon or TAB, whichever
            the header and the first rows agree on. A first line `sep=;`, as Excel takes it, comes first.
        decimal: the decimal mark, `.` or `,`.
        thousands: the sign between groups of three digits; empty for none.
        date: how days are written, one of `DATE_FORMATS`; months in words are English.
        encoding: of the file, one of `ENCODINGS`; auto: UTF-8, or UTF-16 where a byte order mark says so.
        missing: texts that mean a missing cell, beside the empty one. A level that is spelt so is that level.
        sheet: of a workbook; the first unless given.

    Example:
        >>> german = Dialect(delimiter=";", decimal=",", date="DD.MM.YYYY")
        >>> german.number("22,5"), german.day("31.12.2020"), german.is_missing("NA")
        (22.5, datetime.date(2020, 12, 31), True)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    delimiter: Annotated[str, AfterValidator(_delimiter)] = AUTO
    decimal: Annotated[Literal[".", ","], BeforeValidator(_decimal)] = "."
    thousands: Annotated[Literal["", ",", ".", "'", " "], BeforeValidator(_decimal)] = ""
    date: Annotated[str, AfterValidator(_date_format)] = _ISO
    encoding: Annotated[str, AfterValidator(_encoding)] = AUTO
    missing: Annotated[tuple[str, ...], AfterValidator(_words)] = MISSING_WORDS
    sheet: Annotated[str, Field(max_length=255)] = ""

    @model_validator(mode="after")
    def _two_marks(self) -> Dialect:
        if self.thousands == self.decimal:
            raise ValueError(f"thousands must be another sign than decimal, got {self.thousands!r} for both")
        return self

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Dialect:
        """A dialect from its entries; raises ValueError with one sentence for an entry that cannot be used."""
        try:
            return cls.model_validate(dict(given))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"][:1])
            if first["type"] == "extra_forbidden":
                raise ValueError(f"dialect must have only {', '.join(cls.model_fields)}, got {place}") from None
            said = first["msg"].removeprefix("Value error, ").replace("Input should", "must")
            got = "" if first["type"] == "value_error" else f", got {first['input']!r}"
            raise ValueError(f"dialect: {place}{' ' if place else ''}{said}{got}") from None

    def changed(self, entries: Mapping[str, Any]) -> Dialect:
        """The dialect with some entries changed; errors as `of`."""
        return type(self).of({**self.model_dump(), **entries})

    def told(self) -> dict[str, Any]:
        """The entries that are not the default's."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def is_missing(self, text: str) -> bool:
        """Whether a text in normal form means a missing cell."""
        return not text or text in self._missing

    def number(self, text: str) -> float:
        """The number that a text writes in plain digits, or NaN; `1e400` is infinite."""
        if not self._number.fullmatch(text):
            return math.nan
        return float(self._with_point(text))

    def day(self, text: str) -> Day | None:
        """The day that a text writes, also with a midnight behind it, or None."""
        text = _MIDNIGHT.sub("", text)
        return _day(text, _ISO) or (None if self.date == _ISO else _day(self.whole(text), self.date))

    def has_time(self, text: str) -> bool:
        """Whether a text begins as a day and goes on with a time of day that is not midnight."""
        return _TIMED.match(text) is not None and _MIDNIGHT.search(text) is None

    def whole(self, text: str) -> str:
        """A whole number without the fraction `.0` that tables with gaps give it; other text as it is."""
        found = self._whole.fullmatch(text)
        return found[1] if found else text

    def plain(self, text: str) -> str | None:
        """A cell of a column whose kind nobody declared, as the default dialect writes it; None where missing.

        Decimal marks become points, a fraction `.0` goes, and days of the declared format become YYYY-MM-DD. Digits
        alone (YYYYMMDD) stay as they are, for they may be any number.
        """
        text = normal_text(text)
        if self.is_missing(text):
            return None
        text = self.whole(text)
        if self._number.fullmatch(text) and (self.decimal != "." or self.thousands):
            return PLAIN.whole(self._with_point(text))
        if self.date != _ISO and not text.isdigit() and (day := self.day(text)) is not None:
            return day.isoformat()
        return text

    def written(self, value: Any) -> str:
        """A cell that has a type as text of this dialect; empty where it is missing.

        Booleans are True and False, days YYYY-MM-DD, and numbers have this dialect's decimal mark.
        """
        value = value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value
        if isinstance(value, bool):
            return str(value)
        if isinstance(value, datetime):
            if value != value:  # noqa: PLR0124  not-a-time
                return ""
            return value.date().isoformat() if value.time() == time() else value.isoformat(" ")
        if isinstance(value, float) and math.isfinite(value):
            whole = value.is_integer() and abs(value) < _WHOLE_IN_FLOAT
            return str(int(value)) if whole else repr(value).replace(".", self.decimal)
        return cell_text(value) or ""

    @cached_property
    def _missing(self) -> frozenset[str]:
        return frozenset(self.missing)

    @cached_property
    def _number(self) -> re.Pattern[str]:
        mark = re.escape(self.decimal)
        gap = _BLANKS if self.thousands == " " else re.escape(self.thousands)
        digits = rf"(?:[0-9]{{1,3}}(?:{gap}[0-9]{{3}})+|[0-9]+)" if self.thousands else "[0-9]+"
        # Plain digits only: float() would also take "infinity", "1_000" and the digits of other scripts.
        return re.compile(rf"[+-]?(?:{digits}(?:{mark}[0-9]*)?|{mark}[0-9]+)(?:[eE][+-]?[0-9]{{1,6}})?")

    @cached_property
    def _whole(self) -> re.Pattern[str]:
        return re.compile(rf"([+-]?[0-9]+){re.escape(self.decimal)}0+")

    def _with_point(self, text: str) -> str:
        if self.thousands:
            text = re.sub(_BLANKS if self.thousands == " " else re.escape(self.thousands), "", text)
        return text.replace(self.decimal, ".")


def is_day_of_some_dialect(text: str) -> bool:
    """Whether a text is a day that exists in one of the formats."""
    text = _MIDNIGHT.sub("", text)
    return _ANY_DATE.fullmatch(text) is not None and any(_day(text, form) is not None for form in DATE_FORMATS)


def is_number_of_some_dialect(text: str) -> bool:
    """Whether a text is a number with a point or a comma, with or without groups of three digits."""
    return any(not math.isnan(dialect.number(text)) for dialect in _NUMBERS)


PLAIN = Dialect()
"""The default dialect, which also every release is written in."""

_NUMBERS = (PLAIN, *(Dialect(decimal=mark, thousands=gap) for mark, gap in ((",", ""), (".", ","), (",", "."))))


def _day(text: str, form: str) -> Day | None:
    found = _DATES[form].fullmatch(text)
    if found is None:
        return None
    parts = found.groupdict()
    month = int(parts["m"]) if "m" in parts else _MONTHS.index(parts["n"].upper()) + 1
    try:
        return Day(int(parts["y"]), month, int(parts["d"]))
    except ValueError:  # the 30th of February
        return None
