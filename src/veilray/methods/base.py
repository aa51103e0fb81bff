"""The registry of methods for pictures, and how a MODEL folder finds its own."""

from __future__ import annotations

from pathlib import Path

from veilray.errors import Refused
from veilray.privacy.guarantee import EMPIRICAL
from veilray.registry import Registry
from veilray.releases.model import Method, read_card

__all__ = ["METHODS", "OBFUSCATION", "load_method"]

OBFUSCATION = "obfuscation"

METHODS: Registry[type[Method]] = Registry("method")


def load_method(folder: Path) -> Method:
    """Load whatever method a MODEL folder holds.

    Raises:
        Refused: for an obfuscation, which makes no claim.
        ValueError: for another folder, or an unknown method.
    """
    card = read_card(folder)
    if card.method == OBFUSCATION:
        raise Refused(f"{folder} holds an obfuscation ({EMPIRICAL}), which makes no release: use `veilray obfuscate`")
    return METHODS[card.method].load(folder)
