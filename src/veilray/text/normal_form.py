"""One normal form of what people write, so that one person has one key and one name has one spelling.

**Frozen.** Budgets add up by patient, and keyed hashes of patients are made from `patient_key`: two forms of one key
are two persons, each with a budget of its own. The rule may be extended to what was refused before; what a key comes to
must never change. The rule:

1. a missing cell (None, not-a-number, not-a-time) is no text;
2. a whole number held in floating point is that whole number: a table with gaps makes 7 into 7.0;
3. Unicode normal form C (Unicode Standard Annex 15): an umlaut written as one sign or as two is one;
4. blanks of every script, NUL, byte order marks and zero-width spaces go from both ends, nothing within;
5. for a key alone, text that is a whole number followed by `.0` loses that part, and an issuer is joined as HL7 writes
   it (version 2.8, data type CX: `ID^^^ISSUER`), since two hospitals number their patients alike.

Case is kept, and so are leading zeros: 007 and 7 may be two persons. Where the rule joins two persons, they share a
budget, which errs on the side of privacy.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

__all__ = ["cell_text", "normal_text", "patient_key"]

_INVISIBLE = "\0\u200b\u2060\ufeff"
_WHOLE = re.compile(r"([+-]?[0-9]+)\.0+")


def normal_text(text: str) -> str:
    """A name, label or cell in normal form C, without what is invisible at its ends.

    Example:
        >>> normal_text(" Mu\\u0308ller\\u00a0") == "M\\u00fcller"
        True
    """
    return _trimmed(unicodedata.normalize("NFC", text))


def cell_text(value: Any) -> str | None:
    """A cell of any type as normal text; None where it holds nothing.

    Args:
        value: text, a number, or what pandas and Arrow put where a cell is missing.

    Example:
        >>> cell_text(7.0), cell_text(float("nan")), cell_text("  ")
        ('7', None, None)
    """
    if _is_missing(value):
        return None
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    return normal_text(str(value)) or None


def patient_key(value: Any, issuer: Any = None) -> str | None:
    """The key of a patient; None where nothing says who it is. See the rule above, which is frozen.

    Args:
        value: what the source calls the patient: text or a number.
        issuer: who gave that name (Issuer of Patient ID, 0010,0021), where it is known.

    Example:
        >>> [patient_key(key) for key in ("7.0", 7.0, " 7", 7)]
        ['7', '7', '7', '7']
        >>> patient_key("7", issuer="St. Anna")
        '7^^^St. Anna'
    """
    text = cell_text(value)
    if text is None:
        return None
    whole = _WHOLE.fullmatch(text)
    key = whole[1] if whole else text
    given = cell_text(issuer)
    return key if given is None else f"{key}^^^{given}"


def _is_missing(value: Any) -> bool:
    """Not-a-number and not-a-time differ from themselves; `pandas.NA` will not even say whether it does."""
    return value is None or type(value).__name__ == "NAType" or bool(value != value)  # noqa: PLR0124


def _trimmed(text: str) -> str:
    """Without blanks and invisible signs at both ends, however they alternate."""
    shorter = text.strip().strip(_INVISIBLE)
    return text if shorter == text else _trimmed(shorter)
