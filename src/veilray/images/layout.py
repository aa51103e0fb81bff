"""Layouts: what a file's path says about its image, as data.

A layout is a TOML file of rules. Each rule has a `pattern` (a regular expression over the whole path below the root,
with `/` between folders) and templates over the pattern's named groups: `patient`, `group`, `label`, `split`, and
`conditions`. The first rule that matches is taken; a path that no rule matches is put in quarantine. Two layouts
ship: `folders` and `kermany`; their files show the grammar.

Patterns are bounded so that no path can make them hang: see `patterns.py`.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from veilray.images.patterns import LONGEST_PATH, compile_bounded
from veilray.images.unreadable import Unreadable
from veilray.text import patient_key

__all__ = ["NO_CONDITIONS", "Facts", "Layout", "layouts", "load_layout", "parse_layout"]

NO_CONDITIONS: Mapping[str, str] = {}  # shared by every image without conditions, and never changed

_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an image from outside its file; None where nothing is.

    Attributes:
        patient: key of one patient.
        group: key of images that a split keeps together; the patient's unless a rule joins several.
        label: class.
        split: part of a published division (train, test).
        conditions: other named facts.
    """

    patient: str | None = field(default=None, repr=False)
    group: str | None = field(default=None, repr=False)
    label: str | None = field(default=None, repr=False)
    split: str | None = field(default=None, repr=False)
    conditions: Mapping[str, str] = field(default_factory=lambda: NO_CONDITIONS, repr=False, hash=False)


class _RuleText(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    pattern: str
    patient: str | None = None
    group: str | None = None
    label: str | None = None
    split: str | None = None
    conditions: dict[str, str] = {}


class _LayoutText(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    rule: list[_RuleText]


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    text: _RuleText


@dataclass(frozen=True, slots=True)
class Layout:
    """Rules in order; made by `load_layout` or `parse_layout`."""

    name: str
    rules: tuple[_Rule, ...] = field(repr=False)

    def facts(self, path: str) -> Facts:
        """What a path below the root says.

        Args:
            path: relative, with `/` between folders; read in Unicode normal form C, so that rules match names however
                a file system writes their umlauts.

        Raises:
            Unreadable: the path is longer than 1,024 characters, or no rule matches it.
        """
        if len(path) > LONGEST_PATH:
            raise Unreadable(f"path must be at most {LONGEST_PATH} characters, got {len(path)}")
        composed = unicodedata.normalize("NFC", path)
        for rule in self.rules:
            match = rule.pattern.fullmatch(composed)
            if match:
                return _facts(rule.text, match)
        raise Unreadable(f"no rule of layout {self.name} matches the path")


def layouts() -> tuple[str, ...]:
    """Names of the layouts that ship."""
    folder = resources.files("veilray.images") / "layouts"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_layout(name_or_path: str | PathLike[str]) -> Layout:
    """Load a layout that ships by its name, or one of your own from a `.toml` file.

    Raises:
        ValueError: no such layout, or its file is not one.
    """
    if str(name_or_path) in layouts():
        text = (resources.files("veilray.images") / "layouts" / f"{name_or_path}.toml").read_text("utf-8")
        return parse_layout(text)
    path = Path(name_or_path)
    if path.suffix != ".toml" or not path.is_file():
        raise ValueError(
            f"layout must be one of {', '.join(layouts())} or an existing .toml file, got {str(name_or_path)!r}"
        )
    try:
        return parse_layout(path.read_text("utf-8"))
    except UnicodeDecodeError:
        raise ValueError("layout must be written in UTF-8") from None


def parse_layout(text: str) -> Layout:
    """Read a layout from the text of its TOML file; raises ValueError when it is not one."""
    try:
        document = _LayoutText.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"layout must be TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"layout must have name and rules, got {place}: {first['msg']}") from None
    rules = []
    for rule in document.rule:
        pattern = compile_bounded(rule.pattern)
        templates: list[Any] = [rule.patient, rule.group, rule.label, rule.split, *rule.conditions.values()]
        used = {name for template in templates if template is not None for name in _FIELD.findall(template)}
        if any(set("{}") & set(_FIELD.sub("", template)) for template in templates if template is not None):
            raise ValueError(f"rule {rule.name!r} must use braces only around the name of a group")
        unknown = sorted(used - set(pattern.groupindex))
        if unknown:
            raise ValueError(f"rule {rule.name!r} must use groups of its pattern, got {', '.join(unknown)}")
        rules.append(_Rule(pattern, rule))
    if not rules:
        raise ValueError("layout must have one rule or more, got none")
    return Layout(document.name, tuple(rules))


def _facts(rule: _RuleText, match: re.Match[str]) -> Facts:
    def fill(template: str | None) -> str | None:
        # Not str.format: it would follow attributes named in the template.
        if template is None:
            return None
        return _FIELD.sub(lambda field: match.group(field.group(1)) or "", template) or None

    patient = patient_key(fill(rule.patient))
    conditions = {name: text for name, template in rule.conditions.items() if (text := fill(template)) is not None}
    return Facts(
        patient=patient,
        group=patient_key(fill(rule.group)) or patient,
        label=fill(rule.label),
        split=fill(rule.split),
        conditions=conditions or NO_CONDITIONS,
    )
