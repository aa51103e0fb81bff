"""What devices leave beside originals: previews, indices, waste baskets. An original counts once.

The list is public and stands in `leftovers.toml`. It goes by names alone.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from fnmatch import translate
from functools import cache
from importlib import resources

__all__ = ["HIDDEN", "left_by_device"]

HIDDEN = "hidden files and folders"
"""What is skipped for its first dot, beside the list."""


def left_by_device(name: str, *, folder: bool) -> str | None:
    """The entry of the list that a name matches, or None.

    Args:
        name: of a file or folder, without what stands above it.
        folder: whether it is one.
    """
    plain = unicodedata.normalize("NFC", name).casefold()
    for entry, pattern in _patterns("folders" if folder else "files"):
        if pattern.match(plain):
            return entry
    return None


@cache
def _patterns(kind: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    text = (resources.files("veilray.images") / "leftovers.toml").read_text("utf-8")
    return tuple((entry, re.compile(translate(entry.casefold()))) for entry in tomllib.loads(text)[kind])
