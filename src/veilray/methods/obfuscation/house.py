"""What must never leave stays out of what does: no KEY, RECORD or ATTACKED inside an OBFUSCATED folder."""

from __future__ import annotations

import os
from pathlib import Path

from veilray.cloud.received import OBFUSCATED_JSON

__all__ = ["check_in_house"]


def check_in_house(what: str, path: Path) -> None:
    """Raises ValueError where `path`, there already or not, lies inside an OBFUSCATED folder, by way of links too."""
    for folder in path.resolve().parents:
        if os.path.lexists(folder / OBFUSCATED_JSON):
            raise ValueError(f"{what} must lie outside OBFUSCATED, got {path} in {folder}: it must never leave")
