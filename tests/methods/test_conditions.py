"""Condition policies: what leaves with the picture, and every wrong way to ask for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from fractions import Fraction

import pytest

from veilray.images import Collection
from veilray.methods import condition_rules, draw_conditions
from veilray.privacy import SeededEntropy

LEVELS = {"label": ("NORMAL", "PNEUMONIA")}


def test_what_nobody_names_is_withheld(scanned: Callable[[int], Collection]) -> None:
    refs = scanned(2).refs
    rules = condition_rules({}, LEVELS, refs)
    assert [(rule.name, rule.policy.policy) for rule in rules] == [("label", "withheld")]
    assert draw_conditions(refs, rules, SeededEntropy(0)) == [{}, {}]


def test_public_conditions_leave_as_they_are(scanned: Callable[[int], Collection]) -> None:
    refs = scanned(4).refs
    drawn = draw_conditions(refs, condition_rules({"label": "public"}, {}, refs), SeededEntropy(0))
    assert drawn == [{"label": ref.label} for ref in refs]


def test_randomised_labels_follow_their_epsilon(scanned: Callable[[int], Collection]) -> None:
    refs = scanned(4).refs
    rules = condition_rules({"label": "randomised:1/2"}, LEVELS, refs)
    assert rules[0].policy.epsilon == Fraction(1, 2)
    kept = Counter(
        row["label"] == refs[0].label
        for seed in range(400)
        for row in draw_conditions([refs[0]], rules, SeededEntropy(seed))
    )
    assert 200 < kept[True] < 298  # e^.5 / (1 + e^.5) = .622 of 400, five standard deviations either way


@pytest.mark.parametrize(
    ("policies", "levels", "message"),
    [
        ({"label": "secret"}, LEVELS, "public, randomised:EPSILON or withheld"),
        ({"label": "randomised"}, LEVELS, "must hold its epsilon"),
        ({"label": "randomised:0"}, LEVELS, "above 0"),
        ({"label": "randomised:x"}, LEVELS, "decimal number or a fraction"),
        ({"label": "randomised:1"}, {}, "public list of two or more"),
        ({"label": "randomised:1"}, {"label": ("NORMAL", "OTHER")}, "one of the public levels"),
        ({"age": "public"}, LEVELS, "condition must be one of label"),
        ({"label": "public:2"}, LEVELS, "public, randomised:EPSILON or withheld"),
    ],
)
def test_wrong_policies_are_named(
    scanned: Callable[[int], Collection],
    policies: dict[str, str],
    levels: dict[str, tuple[str, ...]],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        condition_rules(policies, levels, scanned(2).refs)


def test_a_label_that_cannot_be_a_folder_is_refused(scanned: Callable[[int], Collection]) -> None:
    collection = scanned(2)
    refs = [type(ref)(**{**{n: getattr(ref, n) for n in ref.__slots__}, "label": "../x"}) for ref in collection.refs]
    with pytest.raises(ValueError, match="letters, digits"):
        condition_rules({"label": "public"}, {}, refs)
    condition_rules({"label": "withheld"}, {}, refs)
