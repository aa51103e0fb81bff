"""A draft and its YAML: a comment at every column says what is to be confirmed.

Bounds that nobody has given stay empty, so that the file cannot be loaded before a person has filled them in.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from veilray.tables.column import Kind
from veilray.tables.draft_dialect import Question
from veilray.tables.schema import Policy, Schema
from veilray.text.dialect import PLAIN, Dialect

__all__ = ["Draft", "DraftColumn"]

_HEAD = """\
# A schema drafted from a table. Check each line marked CONFIRM against public knowledge: a code book, a form, a
# standard. Bounds and levels become public with every model and release: take none from single records.
# Then set confirmed to true.
"""


@dataclass(frozen=True, slots=True)
class DraftColumn:
    """A column as it is guessed; `low` and `high` are None where a person must give them. `notes` say what to check."""

    name: str
    kind: Kind
    low: int | None
    high: int | None
    levels: tuple[str, ...]
    missing: bool
    unit: str
    notes: tuple[str, ...]

    @property
    def is_open(self) -> bool:
        """Whether bounds must still be given."""
        return not self.levels and self.low is None


@dataclass(frozen=True, slots=True)
class Draft:
    """A schema that is not confirmed and may be incomplete.

    Attributes:
        columns: in the table's order.
        patient: the column whose name says whose record a row is.
        left_out: the other columns of the table, each with the reason.
        dialect: how the table is written, as far as it shows.
        questions: what it does not show, for a person to answer.
    """

    columns: tuple[DraftColumn, ...]
    patient: str | None
    left_out: tuple[tuple[str, str], ...]
    dialect: Dialect = PLAIN
    questions: tuple[Question, ...] = ()

    @property
    def open_columns(self) -> tuple[str, ...]:
        """The columns whose bounds must still be given."""
        return tuple(column.name for column in self.columns if column.is_open)

    def schema(self) -> Schema:
        """The schema, not confirmed; raises ValueError while bounds must be given."""
        return Schema.from_text(self.to_text(), "draft")

    def to_text(self) -> str:
        """The YAML to complete and confirm."""
        lines = [
            "format: veilray-schema",
            "version: 1",
            "confirmed: false  # CONFIRM: true, when all lines are checked",
            "drafted_from: private rows  # CONFIRM: or public rows, when every row of that table is public",
        ]
        if self.patient is not None:
            lines.append(f"patient: {_quoted(self.patient)}  # CONFIRM: it says whose record a row is; never released")
        lines.extend(self._dialect_lines())
        lines.append("columns:")
        for column in self.columns:
            lines.extend(_lines(column))
        lines.append("policy:  # CONFIRM: quarantine, error or replace")
        lines.extend(f"  {reason}: {action}" for reason, action in Policy().model_dump().items())
        if self.left_out:
            lines.append("# Columns that are left out:")
            lines.extend(f"#   {_quoted(name)}: {reason}" for name, reason in self.left_out)
        return _HEAD + "\n".join(lines) + "\n"

    def _dialect_lines(self) -> list[str]:
        """What the default has otherwise, the missing words, and what must be answered."""
        asked: dict[str, list[str]] = {}
        for question in self.questions:
            asked.setdefault(question.entry, []).append(question.sentence.partition(": ")[2])
        still_open = {question.entry for question in self.questions if question.is_open}
        told = {**self.dialect.told(), **dict.fromkeys(still_open), "missing": list(self.dialect.missing)}
        lines = ["dialect:  # CONFIRM: how the table is written; the empty cell is always missing"]
        for entry in (name for name in Dialect.model_fields if name in told):
            lines += [f"  # CONFIRM: {_on_one_line(sentence)}" for sentence in asked.get(entry, [])]
            value = told[entry]
            if entry in still_open:
                lines.append(f"  {entry}:  # CONFIRM: give the answer")
            elif isinstance(value, list):
                lines.append(f"  {entry}: [{', '.join(map(_quoted, value))}]")
            else:
                lines.append(f"  {entry}: {_quoted(value)}")
        return lines

    def to_yaml(self, path: str | PathLike[str]) -> None:
        """Write the YAML to a file; one that is there is replaced."""
        Path(path).write_text(self.to_text(), encoding="utf-8", newline="")


def _lines(column: DraftColumn) -> list[str]:
    lines = [f"  # CONFIRM: {note}" for note in column.notes]
    lines += [f"  - name: {_quoted(column.name)}", f"    kind: {column.kind}"]
    if column.levels:
        lines += ["    levels:", *(f"      - {_quoted(level)}" for level in column.levels)]
    elif column.is_open:
        lines += [f"    {end}:  # CONFIRM: give the public bounds" for end in ("low", "high")]
    else:
        lines += [f"    low: {column.low}", f"    high: {column.high}"]
    if column.unit:
        lines.append(f"    unit: {_quoted(column.unit)}")
    lines.append(f"    missing: {'true' if column.missing else 'false'}")
    return lines


def _on_one_line(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)


def _quoted(text: str) -> str:
    # A JSON string is a YAML one; what does not print is escaped, so that a comment stays on its line.
    return json.dumps(text, ensure_ascii=not text.isprintable())
