"""Splits that never put one patient on two sides.

Which side a patient is on depends on a hash of the key and of nothing else: it is the same on every machine, in any
order, and stays when other patients are added.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

from veilray.images.collection import Collection
from veilray.text import patient_key

__all__ = ["SALT", "hash_fraction", "hash_half", "split_by_patient"]

SALT = "veilray-split:"


def hash_half(key: str, salt: str = SALT) -> int:
    """0 when the SHA-256 of salt and key, read as an integer, is even; 1 when it is odd.

    Example:
        >>> hash_half("train/bacteria/1000")
        1
    """
    return _digest(key, salt)[-1] & 1


def hash_fraction(key: str, salt: str = SALT) -> float:
    """A number in [0, 1), uniform over keys: the first 53 bits of the SHA-256 of salt and key."""
    return (int.from_bytes(_digest(key, salt)[:7], "big") >> 3) / 2**53


def split_by_patient(collection: Collection, fractions: Mapping[str, float], salt: str = SALT) -> dict[str, Collection]:
    """Divide a collection by group of patients.

    The unit is `ImageRef.group`: the patient, or several patients whom a layout joins. Images without a patient are
    each a group of their own, so that nothing keeps two images of one unknown person together.

    Args:
        collection: what to divide.
        fractions: expected share of the groups by name of part, each above 0, sum 1. Shares are met on average: each
            group falls by its own hash.
        salt: another salt gives another, independent division.

    Returns:
        The parts in the order of `fractions`; each keeps the collection's order and may be empty.

    Raises:
        ValueError: fractions that are not above 0 or do not sum to 1.
    """
    if not fractions or any(not share > 0 for share in fractions.values()):
        raise ValueError(f"fractions must be above 0, got {dict(fractions)}")
    if not math.isclose(sum(fractions.values()), 1.0, abs_tol=1e-9):
        raise ValueError(f"fractions must sum to 1, got {sum(fractions.values())}")
    names = list(fractions)
    part_of: dict[str, str] = {}
    members: dict[str, list[int]] = {name: [] for name in names}
    for ref in collection.refs:
        key = patient_key(ref.group) or ref.group
        part = part_of.get(key)
        if part is None:
            part = part_of[key] = _part(hash_fraction(key, salt), fractions)
        members[part].append(ref.index)
    return {name: collection.subset(members[name]) for name in names}


def _part(value: float, fractions: Mapping[str, float]) -> str:
    edge = 0.0
    name = ""
    for name, share in fractions.items():
        edge += share
        if value < edge:
            return name
    return name  # the sum of the shares may round to just below 1


def _digest(key: str, salt: str) -> bytes:
    return hashlib.sha256((salt + key).encode("utf-8")).digest()
