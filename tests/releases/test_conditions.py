"""Condition policies: what leaves with the picture, and every wrong way to ask for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from veilray.errors import Refused
from veilray.images import Collection, ImageRef
from veilray.privacy import ConditionPolicy, SeededEntropy
from veilray.privacy.bounded_number import release_numbers
from veilray.releases import condition_rules, draw_conditions, facts_of

LEVELS = {"label": ("NORMAL", "PNEUMONIA")}
AGE = {"age": (Fraction(0), Fraction(100))}


def test_what_nobody_names_is_withheld(scanned: Callable[[int], Collection]) -> None:
    refs = scanned(2).refs
    rules = condition_rules({}, LEVELS, facts_of(refs))
    assert [(rule.name, rule.policy.policy) for rule in rules] == [("label", "withheld")]
    assert draw_conditions(facts_of(refs), rules, SeededEntropy(0)) == [{}, {}]


def test_public_conditions_leave_as_they_are(scanned: Callable[[int], Collection]) -> None:
    refs = scanned(4).refs
    drawn = draw_conditions(facts_of(refs), condition_rules({"label": "public"}, {}, facts_of(refs)), SeededEntropy(0))
    assert drawn == [{"label": ref.label} for ref in refs]


def test_randomised_labels_follow_their_epsilon(scanned: Callable[[int], Collection]) -> None:
    refs = scanned(4).refs
    rules = condition_rules({"label": "randomised:1/2"}, LEVELS, facts_of(refs))
    assert rules[0].policy.epsilon == Fraction(1, 2)
    kept = Counter(
        row["label"] == refs[0].label
        for seed in range(400)
        for row in draw_conditions(facts_of([refs[0]]), rules, SeededEntropy(seed))
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
        condition_rules(policies, levels, facts_of(scanned(2).refs))


BREAKING = [("a\nb", "control characters"), ("=1+1", "spreadsheet"), ("a" * 129, "128")]


def labelled(collection: Collection, label: str) -> list[ImageRef]:
    return [replace(ref, label=label) for ref in collection.refs]


@pytest.mark.parametrize(("label", "message"), BREAKING)
def test_a_label_that_breaks_a_table_is_refused(scanned: Callable[[int], Collection], label: str, message: str) -> None:
    refs = labelled(scanned(2), label)
    with pytest.raises(ValueError, match=message):
        condition_rules({"label": "public"}, {}, facts_of(refs))
    condition_rules({"label": "withheld"}, {}, facts_of(refs))


@pytest.mark.parametrize("label", ["../x", "Größe", "肺炎", "Effusion|Infiltration"])
def test_a_label_may_hold_the_letters_of_any_language(scanned: Callable[[int], Collection], label: str) -> None:
    rules = condition_rules({"label": "public"}, {}, facts_of(labelled(scanned(2), label)))
    assert rules[0].policy.policy == "public"


# Numbers.


def aged(collection: Collection, *ages: str) -> list[ImageRef]:
    return [replace(ref, conditions={"age": age}) for ref, age in zip(collection.refs, ages, strict=True)]


def test_a_public_number_leaves_as_its_text(scanned: Callable[[int], Collection]) -> None:
    refs = aged(scanned(4), "61", "0.50", "100", "7e1")
    rules = condition_rules({"age": "public"}, {}, facts_of(refs), AGE)
    assert rules[0].bounds == AGE["age"]
    assert [row["age"] for row in draw_conditions(facts_of(refs), rules, SeededEntropy(0))] == [
        "61",
        "0.50",
        "100",
        "7e1",
    ]


def test_a_randomised_number_is_drawn_once_within_its_bounds(scanned: Callable[[int], Collection]) -> None:
    refs = aged(scanned(4), "61", "-3", "100", "250.5")
    (rule, _) = condition_rules({"age": "randomised:3/2"}, {"age": ("61", "100")}, facts_of(refs), AGE)
    assert rule.policy == ConditionPolicy(policy="randomised", epsilon=Fraction(3, 2), low=0, high=100)
    assert (rule.levels, rule.bounds) == ((), AGE["age"])
    released = [row["age"] for row in draw_conditions(facts_of(refs), [rule], SeededEntropy(5))]
    values = np.array([61.0, -3.0, 100.0, 250.5])
    assert released == release_numbers(values, *AGE["age"], Fraction(3, 2), SeededEntropy(5)).tolist()
    assert all(0 <= float(text) <= 100 for text in released)
    assert released != [row["age"] for row in draw_conditions(facts_of(refs), [rule], SeededEntropy(6))]


def test_bounds_may_lie_below_zero(scanned: Callable[[int], Collection]) -> None:
    refs = aged(scanned(2), "-2.5", "1")
    bounds = {"age": (Fraction(-4), Fraction(4))}
    for policy in ("public", "randomised:8"):
        row, _ = draw_conditions(
            facts_of(refs), condition_rules({"age": policy}, {}, facts_of(refs), bounds), SeededEntropy(0)
        )
        assert -4 <= float(row["age"]) <= 4
    assert condition_rules({"age": "randomised:8"}, {}, facts_of(refs), bounds)[0].policy.low == -4


def test_a_withheld_number_may_be_anything(scanned: Callable[[int], Collection]) -> None:
    refs = aged(scanned(2), "unknown", "")
    rules = condition_rules({"age": "withheld"}, {}, facts_of(refs), AGE)
    assert draw_conditions(facts_of(refs), rules, SeededEntropy(0)) == [{}, {}]


@pytest.mark.parametrize("policy", ["public", "randomised:1"])
@pytest.mark.parametrize(
    "value", ["sixty-one", "061Y", "nan", "inf", "1_000", "6 1", "\u0666", "1/2", "--5", "1e999", ""]
)
def test_what_is_no_number_is_refused_and_not_repeated(
    scanned: Callable[[int], Collection], policy: str, value: str
) -> None:
    refs = aged(scanned(2), "61", value)
    message = "age must be a number" if value else "age must be known for every record"
    with pytest.raises(ValueError, match=message) as caught:
        condition_rules({"age": policy}, {}, facts_of(refs), AGE)
    assert not value or value not in str(caught.value)


def test_a_public_number_outside_its_bounds_is_refused_and_not_repeated(scanned: Callable[[int], Collection]) -> None:
    with pytest.raises(ValueError, match="age must be within its public bounds 0 to 100, got another") as caught:
        condition_rules({"age": "public"}, {}, facts_of(refs := aged(scanned(2), "61", "137")), AGE)
    assert "137" not in str(caught.value)
    condition_rules({"age": "randomised:1"}, {}, facts_of(refs), AGE)


@pytest.mark.parametrize(
    ("policy", "bounds", "message"),
    [
        (
            "randomised:1",
            (Fraction(9), Fraction(9)),
            "bounds of age must be a low number and a higher one, got 9 and 9",
        ),
        ("randomised:0", AGE["age"], "epsilon of age must be above 0, got 0"),
        ("randomised:99999", AGE["age"], "epsilon must be at most 10,000"),
        ("randomised", AGE["age"], "must hold its epsilon"),
    ],
)
def test_wrong_bounds_and_budgets_are_named(
    scanned: Callable[[int], Collection], policy: str, bounds: tuple[Fraction, Fraction], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        condition_rules({"age": policy}, {}, facts_of(aged(scanned(2), "1", "2")), {"age": bounds})


def test_a_draw_is_refused_beside_the_same_values_in_clear(scanned: Callable[[int], Collection]) -> None:
    refs = [replace(ref, conditions={"diagnosis": ref.label or "", "view": "PA"}) for ref in scanned(4).refs]
    policies = {"label": "randomised:1", "diagnosis": "public"}
    with pytest.raises(Refused, match="label must not be randomised while diagnosis"):
        condition_rules(policies, LEVELS, facts_of(refs))
    assert condition_rules({**policies, "diagnosis": "withheld", "view": "public"}, LEVELS, facts_of(refs))


def test_a_condition_named_like_the_column_of_file_names_does_not_leave(scanned: Callable[[int], Collection]) -> None:
    refs = [replace(ref, conditions={"path": "x1"}) for ref in scanned(2).refs]
    assert condition_rules({"path": "withheld"}, LEVELS, facts_of(refs))
    with pytest.raises(ValueError, match="condition must not be named path"):
        condition_rules({"path": "public"}, LEVELS, facts_of(refs))
