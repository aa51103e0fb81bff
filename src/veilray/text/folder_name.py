"""A label as the name of a folder: any text of any language, stored under a name that every file system takes.

Letters and digits of ASCII, space and `._+-` stand for themselves; every other byte of the UTF-8 text is written as `%`
and two hexadecimal digits (RFC 3986, section 2.1). A long name is cut and ends in a hash, so that two labels never
share a folder.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote

__all__ = ["folder_name"]

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,63}(?<![ .])")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])([.].*)?", re.IGNORECASE)  # names that Windows keeps
_CUT_ESCAPE = re.compile(r"%[0-9A-F]?$")
_LONGEST, _HASH = 100, 12


def folder_name(text: str) -> str:
    """The folder of a label, at most 113 characters of ASCII.

    Args:
        text: not empty, without control characters.

    Example:
        >>> folder_name("No Finding"), folder_name("Gr\\u00f6\\u00dfe"), folder_name("A|B")
        ('No Finding', 'Gr%C3%B6%C3%9Fe', 'A%7CB')
    """
    if _PLAIN.fullmatch(text) and not _RESERVED.fullmatch(text):
        return text
    # A name must begin and end with a sign that no file system takes for something else.
    first, middle, last = text[:1], text[1:-1], text[-1:] if len(text) > 1 else ""
    plain_first = first.isascii() and first.isalnum() and not _RESERVED.fullmatch(text)
    name = (
        (first if plain_first else _escaped(first))
        + quote(middle, safe=" .+")
        + (_escaped(last) if last in ". " else quote(last, safe="+"))
    )
    if len(name) <= _LONGEST:
        return name
    return f"{_CUT_ESCAPE.sub('', name[:_LONGEST])}-{hashlib.sha256(text.encode()).hexdigest()[:_HASH]}"


def _escaped(sign: str) -> str:
    return "".join(f"%{byte:02X}" for byte in sign.encode())
