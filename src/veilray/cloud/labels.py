"""What a label may be that crosses to the cloud and comes back in tables of predictions."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["plain_label"]

_LONGEST = 200
_BREAKS = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's controls, lone surrogates, line and paragraph separators."""
_FORMULA = re.compile(r"[=@]|[+-].*[(|!]")
"""What a table program would take for a formula that calls something; `+ve` and `-1` are labels."""


def plain_label(label: str) -> str:
    """The label itself.

    Raises:
        ValueError: for one that is empty, long, of several lines, or a formula to a program that opens the table.
    """
    if not 1 <= len(label) <= _LONGEST or any(unicodedata.category(letter) in _BREAKS for letter in label):
        raise ValueError(f"a label must be one line of 1 to {_LONGEST} characters, got {label[:_LONGEST]!a}")
    if _FORMULA.match(label):
        raise ValueError(f"a label must not begin as a formula does, got {label!a}: rename it")
    return label
