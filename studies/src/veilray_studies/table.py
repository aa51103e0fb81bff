"""The CSV of a study as its readers see it: rows of texts, groups of them, means over seeds with intervals."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, overload

import numpy as np
from scipy.special import stdtrit

__all__ = ["Interval", "StudyTable", "text_of"]


@dataclass(frozen=True)
class Interval:
    """A mean over `count` seeds with half the width of its t-interval, which is not a number for a single seed."""

    mean: float
    half_width: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float], level: float = 0.95) -> Interval:
        """The interval of Student 1908: mean +- t s / sqrt(n), with n - 1 degrees of freedom.

        Raises:
            ValueError: for no values, and for a level outside (0, 1).
        """
        if not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1, got {level}")
        count = len(values)
        if not count:
            raise ValueError("values must be one or more, got none")
        mean = float(np.mean(values))
        if count == 1:
            return cls(mean, math.nan, count)
        quantile = float(stdtrit(count - 1, (1 + level) / 2))
        return cls(mean, quantile * float(np.std(values, ddof=1)) / math.sqrt(count), count)

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + self.half_width


class StudyTable(Sequence[Mapping[str, str]]):
    """Rows of a study: every value is the text that stands in the CSV, an empty text means "not given".

    Args:
        columns: names, in the order of the CSV.
        rows: texts, one for each column.

    Example:
        >>> table = StudyTable(("epsilon", "seed", "auc"), [("1", "0", ".7"), ("1", "1", ".9"), ("2", "0", ".9")])
        >>> {key: (group.mean("auc").mean, len(group)) for key, group in table.group(by=("epsilon",)).items()}
        {('1',): (0.8, 2), ('2',): (0.9, 1)}
    """

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.columns = tuple(columns)
        self._rows = [dict(zip(self.columns, row, strict=True)) for row in rows]

    @classmethod
    def read(cls, path: Path) -> StudyTable:
        """Read a CSV with a header. A last line without an end was torn by a crash and is left out.

        Raises:
            ValueError: for a missing file and for a line with another number of fields than the header has.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise ValueError(f"a study's table must be in {path}, got no such file: run the study first") from None
        columns, rows = parse(content, path)
        return cls(columns, rows)

    @overload
    def __getitem__(self, index: int) -> dict[str, str]: ...

    @overload
    def __getitem__(self, index: slice) -> list[Mapping[str, str]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, str] | list[Mapping[str, str]]:
        return dict(self._rows[index]) if isinstance(index, int) else [dict(row) for row in self._rows[index]]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[dict[str, str]]:
        return iter(self.rows())

    def rows(self) -> list[dict[str, str]]:
        """All rows."""
        return [dict(row) for row in self._rows]

    def column(self, name: str) -> list[str]:
        """The texts of one column. Raises ValueError for an unknown name."""
        self._check((name,))
        return [row[name] for row in self._rows]

    def numbers(self, name: str) -> list[float]:
        """One column as numbers; an empty field is not a number (NaN). Raises ValueError for other text."""
        try:
            return [float(Fraction(text)) if "/" in text else float(text or "nan") for text in self.column(name)]
        except ValueError as error:
            raise ValueError(f"column {name} must hold numbers, got: {error}") from None

    def where(self, **texts: str) -> StudyTable:
        """The rows in which every named column holds that text."""
        self._check(tuple(texts))
        return self._with([row for row in self._rows if all(row[name] == text for name, text in texts.items())])

    def group(self, by: Sequence[str]) -> dict[tuple[str, ...], StudyTable]:
        """Tables by the texts of the columns `by`, in the order in which they first appear."""
        self._check(tuple(by))
        groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
        for row in self._rows:
            groups.setdefault(tuple(row[name] for name in by), []).append(row)
        return {key: self._with(rows) for key, rows in groups.items()}

    def mean(self, column: str, over: str = "seed", level: float = 0.95) -> Interval:
        """The mean of one column over seeds, with its t-interval.

        Raises:
            ValueError: where a seed has more than one row, for then the mean would pool what differs in other columns.
        """
        seeds = self.column(over)
        if len(set(seeds)) < len(seeds):
            raise ValueError(
                f"a mean must be over one row for each {over}, got {len(seeds)} rows: group or filter more"
            )
        return Interval.of(self.numbers(column), level)

    def _with(self, rows: Sequence[Mapping[str, str]]) -> StudyTable:
        return StudyTable(self.columns, [tuple(row.values()) for row in rows])

    def _check(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self.columns:
                raise ValueError(f"column must be one of {', '.join(self.columns)}, got {name!r}")


def parse(content: bytes, path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the whole lines of a CSV; `path` is for messages."""
    try:
        text = content[: content.rfind(b"\n") + 1].decode("utf-8")
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} must be a CSV in UTF-8, got: {error}") from None
    if not lines:
        return [], []
    for number, line in enumerate(lines, start=1):
        if len(line) != len(lines[0]):
            raise ValueError(f"{path} must have {len(lines[0])} fields on each line, got {len(line)} on line {number}")
    return lines[0], lines[1:]


def text_of(value: Any) -> str:
    """A value as it stands in the CSV: shortest exact decimals, `true` and `false`, nothing for None.

    Raises:
        TypeError: for a value that is not text, a number, a truth value or None.
        ValueError: for text of more than one line.
    """
    plain = value.item() if isinstance(value, np.generic) else value
    if plain is None:
        return ""
    if isinstance(plain, bool):
        return str(plain).lower()
    if isinstance(plain, str):
        if any(mark in plain for mark in "\r\n\0"):
            raise ValueError(f"a value must be one line of text, got {plain!r}")
        return str(plain)
    if isinstance(plain, int | Fraction):
        return str(plain)
    if isinstance(plain, float):
        return repr(float(plain))
    raise TypeError(f"a value must be text, a number, true, false or None, got {type(value).__name__}")
