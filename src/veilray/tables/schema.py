"""A schema: the columns of a table, written down and confirmed by a person before the table is used.

A schema is public: it is stored beside a model and tells nothing that the table alone knows. It lives in a YAML file
that people read and edit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Iterable
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from veilray.tables.column import Column, Name
from veilray.tables.extra import needed
from veilray.text.dialect import PLAIN, Dialect

__all__ = ["Action", "Policy", "Schema"]

Action = Literal["quarantine", "error", "replace"]

_LARGEST_FILE = 16 * 2**20
_LONGEST_SHOWN = 60
_MOST_COLUMNS = 1_000


class Policy(BaseModel):
    """What happens to a row with a cell that the schema does not allow.

    `quarantine` leaves the row out and lists it; `error` stops; `replace` takes the nearest bound for a value out of
    bounds, and for the rest a missing cell, or the column's middle where cells must not be missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    unseen_level: Action = "quarantine"
    out_of_bounds: Action = "quarantine"
    wrong_type: Action = "quarantine"
    missing: Action = "quarantine"

    def action(self, reason: str) -> Action:
        """The action for a reason of `Column.read`, such as `out of bounds`."""
        actions: dict[str, Action] = {
            "unseen level": self.unseen_level,
            "out of bounds": self.out_of_bounds,
            "wrong type": self.wrong_type,
            "missing": self.missing,
        }
        return actions[reason]


class Schema(BaseModel):
    """The columns of a table.

    Attributes:
        confirmed: a person has checked that bounds and levels are public knowledge.
        drafted_from: the rows that it was drafted or read off from; None where it was written without any.
        patient: the column that says whose record a row is; it is never released and is not one of `columns`.
        columns: 1 to 1,000, with distinct names.
        policy: what happens to a row that does not fit.
        dialect: how the table is written; the strict default where the file has none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["veilray-schema"] = "veilray-schema"
    version: Literal[1] = 1
    confirmed: Annotated[bool, Field(strict=True)] = False
    drafted_from: Literal["public rows", "private rows"] | None = None
    patient: Name | None = None
    columns: Annotated[tuple[Column, ...], Field(min_length=1, max_length=_MOST_COLUMNS)]
    policy: Policy = Policy()
    dialect: Dialect = PLAIN

    @model_validator(mode="after")
    def _distinct(self) -> Schema:
        names = self.names
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"columns must have distinct names, got {twice!r} twice")
        if self.patient in names:
            raise ValueError(f"patient must not be one of columns, for it is never released, got {self.patient!r}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names in order."""
        return tuple(column.name for column in self.columns)

    def index(self, name: str) -> int:
        """The place of a column, from 0; raises ValueError for a name that is not there."""
        try:
            return self.names.index(name)
        except ValueError:
            raise ValueError(f"column must be one of {', '.join(self.names)}, got {name!r}") from None

    def column(self, name: str) -> Column:
        """A column by its name; raises ValueError for a name that is not there."""
        return self.columns[self.index(name)]

    def only(self, names: Iterable[str]) -> Schema:
        """The schema with the named columns alone, in the schema's order; raises ValueError for an unknown name."""
        wanted = {self.index(name) for name in names}
        kept = tuple(column for place, column in enumerate(self.columns) if place in wanted)
        if not kept:
            raise ValueError(f"columns must be one or more of {', '.join(self.names)}, got none")
        return self.model_copy(update={"columns": kept})

    def without(self, names: Iterable[str]) -> Schema:
        """The schema without the named columns; raises ValueError for an unknown name or when none is left."""
        gone = {self.index(name) for name in names}
        return self.only(name for place, name in enumerate(self.names) if place not in gone)

    def sha256(self) -> str:
        """Hexadecimal hash of everything the schema says; the layout of its file does not count."""
        told = json.dumps(self._told(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(told.encode()).hexdigest()

    def _told(self, *, exclude_none: bool = False) -> dict[str, Any]:
        """The entries; a field that came later stands only where it says something: old schemas keep their hash."""
        told = self.model_dump(mode="json", exclude_none=exclude_none, exclude={"dialect", "drafted_from"})
        later = {"drafted_from": self.drafted_from} if self.drafted_from else {}
        return {**told, **later, **({"dialect": self.dialect.told()} if self.dialect != PLAIN else {})}

    @property
    def provenance(self) -> str:
        """Where it is from and who confirmed it, in words for a card."""
        source = {
            "public rows": "drafted from public rows",
            "private rows": "drafted from rows that are not public",
            None: "not drafted from rows",
        }[self.drafted_from]
        return f"{source}, {'confirmed by a person as public knowledge' if self.confirmed else 'confirmed by nobody'}"

    def to_text(self) -> str:
        """The schema as YAML; raises ImportError without the extra `tables`."""
        told = self._told(exclude_none=True)
        for column in told["columns"]:
            if not column["unit"]:
                del column["unit"]
        text: str = needed("yaml").safe_dump(told, sort_keys=False, allow_unicode=True, width=120)
        return text

    def to_yaml(self, path: str | PathLike[str]) -> None:
        """Write the schema to a YAML file; one that is there is replaced."""
        Path(path).write_text(self.to_text(), encoding="utf-8", newline="")

    @classmethod
    def from_text(cls, text: str, name: str = "schema") -> Schema:
        """Read a schema from the text of its YAML file.

        Args:
            text: YAML.
            name: what errors call it.

        Raises:
            ValueError: not YAML, or not a schema; the message names the place.
            ImportError: without the extra `tables`.
        """
        yaml = needed("yaml")
        try:
            told = yaml.load(text, Loader=_loader(yaml))
        except (yaml.YAMLError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            place = "" if mark is None else f" in line {mark.line + 1}"
            said = getattr(error, "problem", None) or "cannot be parsed"
            raise ValueError(f"{name} must be YAML, got an error{place}: {said}") from None
        if not isinstance(told, dict):
            raise ValueError(f"{name} must be a YAML mapping with columns, got {_shown(told)}")
        try:
            return cls.model_validate(told)
        except ValidationError as error:
            raise ValueError(f"{name}: {_sentence(error)}") from None

    @classmethod
    def from_yaml(cls, path: str | PathLike[str]) -> Schema:
        """Read a schema from its YAML file.

        Raises:
            ValueError: no such file, not UTF-8, not YAML, or not a schema; the message names file and place.
            ImportError: without the extra `tables`.
        """
        path = Path(path)
        if not path.is_file():
            raise ValueError(f"schema must be a YAML file, got {str(path)!r}: no such file")
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError(f"schema must be at most {_LARGEST_FILE // 2**20} MiB, got more in {str(path)!r}")
        try:
            text = path.read_text("utf-8-sig")
        except UnicodeDecodeError:
            raise ValueError(f"schema must be written in UTF-8, got another encoding in {str(path)!r}") from None
        return cls.from_text(text, str(path))


def _loader(yaml: Any) -> Any:
    """PyYAML's safe loader, which lets a key stand twice, without that."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            seen: set[str] = set()
            for key, _ in node.value:
                if isinstance(key.value, str) and key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"{key.value} stands there twice", problem_mark=key.start_mark)
                seen.add(str(key.value))
            mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
            return mapping

    return Loader


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ""
    for part in first["loc"]:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
    said = first["msg"]
    if first["type"] == "missing":
        return f"{place} must be given, got nothing"
    if first["type"] == "extra_forbidden":
        return f"{place} must be left out: a schema has no such entry"
    if first["type"] == "value_error":
        said = said.removeprefix("Value error, ")
        # A sentence about an entry goes on with "must"; one about the whole thing begins with the entry's name.
        joint = " " if said.startswith("must") else "."
        return f"{place}{joint}{said}" if place else said
    if first["type"] in ("too_short", "too_long"):
        return f"{place} must be 1 to {_MOST_COLUMNS:,}, got {first['ctx']['actual_length']:,}"
    return f"{place} {said.replace('Input should', 'must')}, got {_shown(first['input'])}"


def _shown(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
