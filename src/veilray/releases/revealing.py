"""What public conditions give away: a condition that is withheld or randomised, or which record is which.

The claim holds among records that agree on all that is public. So a public twin of a label (its ICD code, its lower
case, a number for each class) leaves nothing for the label's draw to protect. Names and texts say little about that:
two spellings are one fact. So the *partitions* of the records are compared: what groups records alike tells the same.

**What a refusal tells.** These rules look at the conditions of the records being released, all of them together, and
never at a pixel or at a cell that the mechanism covers. A refusal and its message stay with the owner; the message
names conditions and holds no value. A release that was made tells that it was not refused: that on these records no
public condition told a hidden one exactly. That is a fact about the records together, outside the claim for one of
them, as is that their values were on the public lists.

**By chance.** Where few records share a public value, a hidden condition may be a function of it by accident: nobody
would be warned of anything. With c the chance that two records have the same hidden value, and m the number of records
beyond the first of their public value, all of them agree by accident with a chance of about c^m. A function is
believed where that is 1/8 or less, or where it is one-to-one and some records share a value.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from fractions import Fraction
from typing import TypeAlias

from veilray.errors import Refused
from veilray.text import normal_text

__all__ = ["FEWEST_RECORDS", "check_hidden", "check_not_identifying"]

FEWEST_RECORDS = 10
"""In a smaller release each record may well be the only one with its value."""

_CHANCE = 1 / 8
_NUMBER = re.compile(r"[+-]?[0-9]{1,24}([.][0-9]{0,24})?([eE][+-]?[0-9]{1,2})?")

Values: TypeAlias = Sequence[str]
"""Of one condition, one for each record; empty text is not known."""


def check_hidden(public: Mapping[str, Values], hidden: Mapping[str, Values], policy_of: Mapping[str, str]) -> None:
    """Refuse public conditions that tell a hidden one exactly, alone or together.

    Args:
        public: values of the conditions that leave as they are.
        hidden: values of those that are withheld or randomised. Records whose value is not known do not count.
        policy_of: `withheld` or `randomised`, for the message.

    Raises:
        Refused: naming the conditions, and no value.
    """
    groups = {name: _partition(values) for name, values in public.items()}
    for name, values in hidden.items():
        known = [place for place, value in enumerate(values) if value]
        truth = _partition([values[place] for place in known])
        seen = {other: [group[place] for place in known] for other, group in groups.items()}
        for telling in [*([other] for other in seen), _fewest(seen, truth)]:
            if _tells([seen[other] for other in telling], truth):
                raise Refused(_told(name, telling, policy_of[name]))


def check_not_identifying(name: str, values: Values) -> None:
    """Refuse a public condition that has another value for each record: it says which record is which.

    Raises:
        Refused: for 10 records or more.
    """
    if len(values) >= FEWEST_RECORDS and len(set(_partition(values))) == len(values):
        raise Refused(
            f"{name} must not be public, it is different for every record: it says which record is which, and the "
            f"claim holds among records that agree on it. Withhold it or make it coarser, or ask for public:unique if "
            "that is meant"
        )


def _partition(values: Values) -> list[Hashable]:
    """The group of each record: numbers by their value, texts by their normal form without case."""
    group: dict[str, Hashable] = {}
    for value in set(values):
        text = normal_text(value)
        group[value] = Fraction(text) if _NUMBER.fullmatch(text) else text.casefold()
    return [group[value] for value in values]


def _tells(public: Sequence[Sequence[Hashable]], truth: Sequence[Hashable]) -> bool:
    """Whether the public groups, taken together, are seen to tell the truth of every record, and not by accident."""
    count, sizes = len(truth), Counter(truth)
    if not public or len(sizes) < 2:
        return False
    if any(list(group) == list(truth) for group in public):  # the same values, however few the records are
        return True
    groups = _groups(public, truth)
    if groups is None or groups == count:
        return False
    alike = sum(size * (size - 1) for size in sizes.values()) / (count * (count - 1))
    return groups == len(sizes) or alike ** (count - groups) <= _CHANCE


def _groups(public: Sequence[Sequence[Hashable]], truth: Sequence[Hashable]) -> int | None:
    """How many groups the public values make, if each has one truth; None where one has two."""
    told: dict[Hashable, Hashable] = {}
    for seen, true in zip(zip(*public, strict=True), truth, strict=True):
        if told.setdefault(seen, true) != true:
            return None
    return len(told)


def _fewest(seen: Mapping[str, Sequence[Hashable]], truth: Sequence[Hashable]) -> list[str]:
    """Names of conditions of which the truth is a function while without any one of them it is not; else none.

    Those with most values go first: the fewer the groups that are left, the less is a function of them an accident.
    """
    names = list(seen)
    if not names or _groups(list(seen.values()), truth) is None:
        return []
    for name in sorted(seen, key=lambda each: len(set(seen[each])), reverse=True):
        without = [other for other in names if other != name]
        if without and _groups([seen[other] for other in without], truth) is not None:
            names = without
    return names


def _told(name: str, telling: Sequence[str], policy: str) -> str:
    public = " and ".join(telling)
    are, tell = ("is", "tells") if len(telling) == 1 else ("are", "together tell")
    vain = "its draw would protect nothing" if policy == "randomised" else "withholding it would protect nothing"
    return (
        f"{name} must not be {policy} while {public} {are} public, which on these records {tell} it exactly: {vain}. "
        f"Withhold or randomise {public} too, or make {name} public, as the card then says"
    )
