"""What leaves with the picture: every condition (label, view, manifest column) under a stated policy.

public: released as it is, not covered. randomised: drawn once, with its own epsilon and its own randomness,
over a **public** list of levels; decoder, folder and manifest see only the draw. withheld: not released.
A condition that nobody names is withheld.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from veilray.images import ImageRef
from veilray.privacy import ConditionPolicy, Entropy, exact
from veilray.privacy.mechanisms.randomised_response import respond

__all__ = ["ConditionRule", "condition_rules", "draw_conditions"]

_SAFE_LEVEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,63}")


@dataclass(frozen=True)
class ConditionRule:
    """One condition and how it leaves. `levels` is the public list it is drawn over, for `randomised`."""

    name: str
    policy: ConditionPolicy
    levels: tuple[str, ...] = ()


def condition_rules(
    policies: Mapping[str, str], levels_of: Mapping[str, Sequence[str]], refs: Sequence[ImageRef]
) -> tuple[ConditionRule, ...]:
    """Read the policies a user gave and check them against the collection, before anything is drawn.

    Args:
        policies: condition name to `public`, `withheld` or `randomised:EPSILON`; `label` is a condition.
        levels_of: public levels of each condition (from the model card or the user), for `randomised`.
        refs: the images to be released; only the names of their conditions and levels are looked at.

    Raises:
        ValueError: for an unknown policy or condition, levels that are not given, a value outside them, or a
            level that cannot be a folder name.
    """
    known = {"label"} | {name for ref in refs for name in ref.conditions}
    rules = []
    for name, text in sorted({"label": "withheld", **policies}.items()):
        if name not in known:
            raise ValueError(f"condition must be one of {', '.join(sorted(known))}, got {name!r}")
        rules.append(_rule(name, text, tuple(levels_of.get(name, ()))))
    for rule in rules:
        _check_values(rule, refs)
    return tuple(rules)


def draw_conditions(refs: Sequence[ImageRef], rules: Sequence[ConditionRule], entropy: Entropy) -> list[dict[str, str]]:
    """What is released of each image's conditions: public values as they are, randomised ones drawn once."""
    released: list[dict[str, str]] = [{} for _ in refs]
    for rule in rules:
        values = [value_of(ref, rule.name) for ref in refs]
        if rule.policy.policy == "withheld":
            continue
        if rule.policy.policy == "randomised":
            position = {level: index for index, level in enumerate(rule.levels)}
            truth = np.array([position[value] for value in values], dtype=np.int64)
            assert rule.policy.epsilon is not None  # a randomised policy always has one
            drawn = respond(truth, len(rule.levels), rule.policy.epsilon, entropy)
            values = [rule.levels[index] for index in drawn]
        for row, value in zip(released, values, strict=True):
            row[rule.name] = value
    return released


def value_of(ref: ImageRef, name: str) -> str:
    """The condition's value of one image; empty text where it has none."""
    value = ref.label if name == "label" else ref.conditions.get(name)
    return "" if value is None else value


def _rule(name: str, text: str, levels: tuple[str, ...]) -> ConditionRule:
    word, _, epsilon = text.partition(":")
    if word in ("public", "withheld") and not epsilon:
        return ConditionRule(name, ConditionPolicy(policy=word))  # type: ignore[arg-type]
    if word != "randomised":
        raise ValueError(f"policy of {name} must be public, randomised:EPSILON or withheld, got {text!r}")
    if not epsilon:
        raise ValueError(f"policy of {name} must hold its epsilon, such as randomised:1, got {text!r}")
    if len(levels) < 2:
        raise ValueError(
            f"levels of {name} must be a public list of two or more, got {list(levels)}: give them with "
            f"--condition-levels {name}=A,B (never read from the private images)"
        )
    if len(set(levels)) < len(levels):
        raise ValueError(f"levels of {name} must be all different, got one twice")
    for level in levels:
        if not _SAFE_LEVEL.fullmatch(level):
            raise ValueError(f"levels of {name} must be letters, digits, space or ._+-, got {level!r}")
    budget: Fraction = exact(epsilon, f"epsilon of {name}")
    if not budget:
        raise ValueError(f"epsilon of {name} must be above 0, got {epsilon}: use withheld instead")
    policy = ConditionPolicy(policy="randomised", epsilon=budget, levels=len(levels))
    return ConditionRule(name, policy, levels)


def _check_values(rule: ConditionRule, refs: Sequence[ImageRef]) -> None:
    if rule.policy.policy == "withheld":
        return
    for value in sorted({value_of(ref, rule.name) for ref in refs}):
        if not value:
            raise ValueError(f"{rule.name} must be known for every image under policy {rule.policy.policy}, got none")
        if rule.levels and value not in rule.levels:
            raise ValueError(f"{rule.name} must be one of the public levels {', '.join(rule.levels)}, got another")
        if not _SAFE_LEVEL.fullmatch(value):
            raise ValueError(f"{rule.name} must be letters, digits, space or ._+- to be released, got other characters")
