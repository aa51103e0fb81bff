"""What came from outside, as text that a terminal shows and does not obey.

A file name may hold anything but NUL and a slash: escape sequences that clear the screen or hide a line, line breaks
that forge one, marks that turn the direction of writing around. Shown as they are, they let a name say what the program
did not.
"""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: object, keep: str = "") -> str:
    """Text with every sign that is not visible written as its escape, such as `\\x1b`, `\\n` or `\\u202e`.

    Visible is what `str.isprintable` says: no control or format signs, no separators but the blank, nothing unassigned,
    no half of a surrogate pair (Unicode general categories C and Z). What was printable is not changed.

    Args:
        text: of any type; what is no text is written as `str` does.
        keep: signs to leave as they are, such as a line break in text of the program's own.

    Example:
        >>> printable("scan\\x1b[2J.png")
        'scan\\\\x1b[2J.png'
    """
    words = str(text)
    if words.isprintable():
        return words
    return "".join(sign if sign.isprintable() or sign in keep else _escaped(sign) for sign in words)


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape", "surrogatepass").decode("ascii")
