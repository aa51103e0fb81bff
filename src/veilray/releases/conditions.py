"""What leaves with the picture: every condition (label, view, manifest column) under a stated policy.

public: released as it is, not covered. randomised: drawn once, with its own epsilon and its own randomness; decoder,
folder and manifest see only the draw. withheld: not released. A condition that nobody names is withheld. What a public
condition gives away of the others is looked at in `revealing`.

A condition is a category or a number. A category is drawn over a **public** list of levels, by k-ary randomised
response. A number has **public** bounds and is drawn within them, by grid Laplace noise: `privacy.bounded_number` has
the proof. Rounding the drawn number to four figures of its range is post-processing and costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from veilray.privacy import ConditionPolicy, Entropy, exact
from veilray.privacy.bounded_number import check_bounds, number_noise, release_numbers
from veilray.privacy.mechanisms.randomised_response import respond
from veilray.releases.declared import Facts
from veilray.releases.revealing import check_hidden, check_not_identifying

__all__ = ["ConditionRule", "condition_rules", "draw_conditions"]

Bounds: TypeAlias = tuple[Fraction, Fraction]
"""The least and the largest value that a number may have: public, never read from the images."""

_PATH = "path"
"""The column of the released manifest that holds the file names."""
_LONGEST = 128
_FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet takes for the beginning of a formula."""
_NUMBER = re.compile(r"[+-]?[0-9]{1,24}([.][0-9]{0,24})?([eE][+-]?[0-9]{1,2})?")


@dataclass(frozen=True)
class ConditionRule:
    """One condition and how it leaves. `levels` is the public list that a `randomised` category is drawn over; `bounds`
    are the public bounds of a number, which has no levels; `unique` allows a public one to differ for every record."""

    name: str
    policy: ConditionPolicy
    levels: tuple[str, ...] = ()
    bounds: Bounds | None = None
    unique: bool = False


def condition_rules(
    policies: Mapping[str, str],
    levels_of: Mapping[str, Sequence[str]],
    facts: Facts,
    bounds_of: Mapping[str, Bounds] | None = None,
    *,
    always: Sequence[str] = ("label",),
    any_text: bool = False,
) -> tuple[ConditionRule, ...]:
    """Read the policies a user gave and check them against the collection, before anything is drawn.

    Args:
        policies: condition name to `public`, `withheld` or `randomised:EPSILON`; `label` is a condition. One that may
            differ for every record is `public:unique`.
        levels_of: public levels of each condition (from the model card or the user), for `randomised`.
        facts: of each record to be released: name to value; empty text is no value.
        bounds_of: public bounds, exact; a condition with bounds is a number, whatever levels it has.
        always: conditions that are stated whatever was given: withheld unless `policies` says otherwise.
        any_text: values are those of a table, whose schema has checked them.

    Raises:
        ValueError: for an unknown policy or condition, levels that are not given, a value outside them, a level of
            several lines or one that a spreadsheet takes for a formula, bounds that are not low < high, a value that is
            no number, or a public number outside its bounds.
        Refused: for public conditions that on these records tell a hidden one exactly, or that differ for every record;
            see `revealing`. No message repeats a value.
    """
    known = {name for row in facts for name in row}.union(always)
    rules = []
    for name, text in sorted({**dict.fromkeys(always, "withheld"), **policies}.items()):
        if name not in known:
            raise ValueError(f"condition must be one of {', '.join(sorted(known))}, got {name!r}")
        if name == _PATH and text != "withheld":
            raise ValueError(
                f"condition must not be named {_PATH} to leave, the manifest has one: withhold or rename it"
            )
        rules.append(_rule(name, text, tuple(levels_of.get(name, ())), (bounds_of or {}).get(name), any_text))
    for rule in rules:
        _check_values(rule, facts, any_text)
    _check_revealing(rules, facts)
    return tuple(rules)


def draw_conditions(facts: Facts, rules: Sequence[ConditionRule], entropy: Entropy) -> list[dict[str, str]]:
    """What is released of each record's conditions: public values as they are, randomised ones drawn once."""
    released: list[dict[str, str]] = [{} for _ in facts]
    for rule in rules:
        values = [row.get(rule.name, "") for row in facts]
        if rule.policy.policy == "withheld":
            continue
        if rule.policy.policy == "randomised":
            values = _drawn(rule, values, entropy)
        for row, value in zip(released, values, strict=True):
            row[rule.name] = value
    return released


def _drawn(rule: ConditionRule, values: Sequence[str], entropy: Entropy) -> list[str]:
    """One draw for each true value."""
    assert rule.policy.epsilon is not None  # a randomised policy always has one
    if rule.bounds is not None:
        numbers = np.array([float(_number(value, rule.name)) for value in values], dtype=np.float64)
        return [str(text) for text in release_numbers(numbers, *rule.bounds, rule.policy.epsilon, entropy)]
    position = {level: index for index, level in enumerate(rule.levels)}
    truth = np.array([position[value] for value in values], dtype=np.int64)
    return [rule.levels[index] for index in respond(truth, len(rule.levels), rule.policy.epsilon, entropy)]


def _rule(name: str, text: str, levels: tuple[str, ...], bounds: Bounds | None, any_text: bool) -> ConditionRule:
    word, _, epsilon = text.partition(":")
    if bounds is not None:
        check_bounds(*bounds, f"bounds of {name}")
    if text in ("public", "public:unique"):
        return ConditionRule(name, ConditionPolicy(policy="public"), bounds=bounds, unique=text != "public")
    if text == "withheld":
        return ConditionRule(name, ConditionPolicy(policy="withheld"))
    if word != "randomised":
        raise ValueError(f"policy of {name} must be public, randomised:EPSILON or withheld, got {text!r}")
    if not epsilon:
        raise ValueError(f"policy of {name} must hold its epsilon, such as randomised:1, got {text!r}")
    if bounds is None:
        _check_levels(name, levels, any_text)
    budget: Fraction = exact(epsilon, f"epsilon of {name}")
    if not budget:
        raise ValueError(f"epsilon of {name} must be above 0, got {epsilon}: use withheld instead")
    if bounds is None:
        return ConditionRule(name, ConditionPolicy(policy="randomised", epsilon=budget, levels=len(levels)), levels)
    number_noise(budget)  # refuses what it cannot keep now, before anything is drawn
    drawn_within = ConditionPolicy(policy="randomised", epsilon=budget, low=bounds[0], high=bounds[1])
    return ConditionRule(name, drawn_within, bounds=bounds)


def _check_levels(name: str, levels: tuple[str, ...], any_text: bool) -> None:
    if len(levels) < 2:
        raise ValueError(
            f"levels of {name} must be a public list of two or more, got {list(levels)}: give them with "
            f"--condition-levels {name}=A,B (never read from the private images)"
        )
    if len(set(levels)) < len(levels):
        raise ValueError(f"levels of {name} must be all different, got one twice")
    for level in levels:
        if not any_text and (fault := _fault(level)):
            raise ValueError(f"levels of {name} must {fault}, got {level!a}")


def _check_values(rule: ConditionRule, facts: Facts, any_text: bool) -> None:
    if rule.policy.policy == "withheld":
        return
    for value in sorted({row.get(rule.name, "") for row in facts}):
        if not value:
            raise ValueError(f"{rule.name} must be known for every record under policy {rule.policy.policy}, got none")
        if rule.bounds is not None:
            number, (low, high) = _number(value, rule.name), rule.bounds
            # A randomised number outside counts as the bound. A public one leaves as it is, so it must be what is said.
            if rule.policy.policy == "public" and not low <= number <= high:
                raise ValueError(f"{rule.name} must be within its public bounds {low} to {high}, got another")
            continue
        if rule.levels and value not in rule.levels:
            raise ValueError(f"{rule.name} must be one of the public levels {', '.join(rule.levels)}, got another")
        if not any_text and (fault := _fault(value)):
            raise ValueError(f"{rule.name} must {fault} to be released, got another: withhold it, or rename the level")


def _fault(value: str) -> str | None:
    """What a value that leaves in a manifest must be and is not; a label may hold the letters of any language."""
    if len(value) > _LONGEST:
        return f"have at most {_LONGEST} characters"
    if not value.isprintable():
        return "be one line without control characters"
    if value.startswith(_FORMULA):
        return "not begin with = + - or @, which a spreadsheet takes for a formula,"
    return None


def _check_revealing(rules: Sequence[ConditionRule], facts: Facts) -> None:
    """A condition that public ones tell is not protected by its policy, and one that differs everywhere is a name."""
    values = {rule.name: [row.get(rule.name, "") for row in facts] for rule in rules}
    policy_of = {rule.name: rule.policy.policy for rule in rules}
    for rule in rules:
        if rule.policy.policy == "public" and not rule.unique:
            check_not_identifying(rule.name, values[rule.name])
    public = {name: values[name] for name, policy in policy_of.items() if policy == "public"}
    hidden = {name: values[name] for name, policy in policy_of.items() if policy != "public"}
    check_hidden(public, hidden, policy_of)


def _number(value: str, name: str) -> Fraction:
    """The value as a number. Raises ValueError for other text; the message does not repeat it."""
    if not _NUMBER.fullmatch(value):
        raise ValueError(f"{name} must be a number such as 61 or 0.5, got other text: withhold it, or mend the table")
    return Fraction(value)
