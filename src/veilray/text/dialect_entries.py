"""Giving a dialect: entries such as `decimal=,`, a TOML or YAML file, a mapping, or a `Dialect` itself."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

from veilray.text.dialect import PLAIN, Dialect

__all__ = ["GivenDialect", "given_entries", "read_dialect"]

GivenDialect: TypeAlias = "Dialect | Mapping[str, Any] | str | PathLike[str] | Sequence[str] | None"

_FILES = (".toml", ".yaml", ".yml")
_LARGEST_FILE = 2**20


def read_dialect(given: GivenDialect, base: Dialect = PLAIN) -> Dialect:
    """The dialect that is given.

    Args:
        given: a `Dialect`, which is taken as it is; else what changes the base, one entry or several in order: a
            mapping; `NAME=VALUE`, where each `missing=WORD` adds a word and `missing=` alone leaves the empty cell
            only; the path of a TOML or YAML file of entries, or of a schema that has a `dialect`; `default`, which
            starts again from the default dialect.
        base: what is changed; that of the schema, where there is one.

    Raises:
        ValueError: another form, an unknown entry, or a file that cannot be read.
        ImportError: a YAML file without the extra `tables`.

    Example:
        >>> read_dialect(["delimiter=semicolon", "decimal=,", "missing=-"]).told()["decimal"]
        ','
    """
    if isinstance(given, Dialect):
        return given
    return base.changed(given_entries(given, base))


def given_entries(given: GivenDialect, base: Dialect = PLAIN) -> dict[str, Any]:
    """The entries that are given, as `read_dialect` reads them; the others are the base's."""
    if given is None:
        return {}
    if isinstance(given, Dialect):
        return given.model_dump()
    if isinstance(given, Mapping):
        return dict(given)
    entries: dict[str, Any] = {}
    for entry in [given] if isinstance(given, str | PathLike) else given:
        entries.update(_entries(str(entry), entries.get("missing", base.missing)))
    return entries


def _entries(text: str, missing: tuple[str, ...]) -> Mapping[str, Any]:
    if text == "default":
        return PLAIN.model_dump()
    if Path(text).suffix.lower() in _FILES:
        return _of_file(Path(text))
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"dialect must be NAME=VALUE, a {', '.join(_FILES)} file or default, got {text!r}")
    return {name: ((*missing, value) if value else ()) if name == "missing" else value}


def _of_file(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise ValueError(f"dialect must be an existing file, got {str(path)!r}")
    if path.stat().st_size > _LARGEST_FILE:
        raise ValueError(f"dialect must be a file of at most 1 MiB, got more in {str(path)!r}")
    try:
        text = path.read_text("utf-8-sig")
        told = tomllib.loads(text) if path.suffix.lower() == ".toml" else _yaml(text)
    except UnicodeDecodeError:
        raise ValueError(f"dialect must be written in UTF-8, got another encoding in {str(path)!r}") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"dialect must be TOML in {str(path)!r}: {error}") from None
    if isinstance(told, dict) and "columns" in told:
        told = told.get("dialect", {})
    elif isinstance(told, dict) and isinstance(told.get("dialect"), dict):
        told = told["dialect"]
    if not isinstance(told, dict):
        raise ValueError(f"dialect must be entries such as decimal, got none in {str(path)!r}")
    return told


def _yaml(text: str) -> Any:
    try:
        yaml = import_module("yaml")
    except ImportError:
        cure = "pip install 'veilray[tables]', or write TOML"
        raise ImportError(f"PyYAML must be installed to read YAML: {cure}") from None
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError):
        raise ValueError("dialect must be YAML, got text that cannot be parsed") from None
