"""Declared conditions: public lists and bounds, what is not known, what is refused."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from veilray.flows import Condition
from veilray.releases.declared import Declared, DeclaredCondition, parse_bounds

AGE = DeclaredCondition("age", bounds=(Fraction(0), Fraction(120)))
LABEL = DeclaredCondition("label", ("NORMAL", "PNEUMONIA"))
BOTH = Declared((LABEL, AGE))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_stay_within_their_bounds(value: float) -> None:
    told = AGE.number(repr(value))
    assert -1 <= told <= 1
    if 0 <= value <= 120:
        assert told == pytest.approx(2 * value / 120 - 1)


def test_what_is_not_known_tells_nothing() -> None:
    condition = BOTH.condition([{}, {"label": "", "age": ""}, {"label": "VIRAL", "age": "30"}])
    assert condition.categorical.tolist() == [[-1], [-1], [-1]]
    assert condition.continuous[:2].isnan().all()
    assert condition.continuous[2].item() == pytest.approx(-0.5)
    assert BOTH.known([{"label": "VIRAL"}, {"label": "NORMAL"}], "label").tolist() == [False, True]
    assert BOTH.known([{"age": "3"}, {}], "age").tolist() == [True, False]


@pytest.mark.parametrize("text", ["old", "nan", "inf", "1e999"])
def test_other_text_is_no_number_and_is_not_printed(text: str) -> None:
    with pytest.raises(ValueError, match="age must be a number, or empty where not known, got other text"):
        AGE.number(text)


def test_levels_are_those_that_public_images_show() -> None:
    declared = Declared.of(("view", "age"), [{"view": "b"}, {"view": "a", "age": "3"}, {}], {"age": AGE.bounds})
    assert declared.levels_of == {"view": ("a", "b")}
    assert declared.bounds_of == {"age": (0, 120)}
    assert (declared.config.continuous, declared.config.categorical) == (1, (2,))


def test_a_model_card_holds_them() -> None:
    signed = Declared((DeclaredCondition("z", bounds=(Fraction(-3, 2), Fraction(5))), LABEL))
    assert Declared.from_list(signed.to_list()) == signed


@pytest.mark.parametrize("told", [None, 3, [{"levels": ["a", "b"]}], ["label"], []])
def test_a_foreign_model_card_is_refused(told: object) -> None:
    with pytest.raises(ValueError, match="conditions must be"):
        Declared.from_list(told)


def test_withheld_takes_away_about_the_share_asked_for() -> None:
    facts = [{"label": "NORMAL", "age": "60"}] * 2000
    left = BOTH.withheld(BOTH.condition(facts), 0.25, torch.Generator().manual_seed(0))
    assert isinstance(left, Condition)
    assert abs((left.categorical == -1).float().mean().item() - 0.25) < 0.05
    assert abs(left.continuous.isnan().float().mean().item() - 0.25) < 0.05


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DeclaredCondition("x"), "condition x must have levels or bounds, got none"),
        (
            lambda: DeclaredCondition("x", ("a", "b"), (Fraction(0), Fraction(1))),
            "must have levels or bounds, got both",
        ),
        (lambda: DeclaredCondition("x", ("a",)), "levels of x must be 2 to 256 different ones, got 1"),
        (lambda: DeclaredCondition("x", bounds=(Fraction(1), Fraction(1))), "bounds of x must be low:high"),
        (lambda: Declared((LABEL, LABEL)), "conditions must be one or more different names, got label, label"),
        (lambda: Declared.of(("age",), [{"label": "a"}]), "condition must be one of label, got 'age'"),
        (lambda: parse_bounds({"age": "0-9"}), "bounds of age must be LOW:HIGH, such as 0:100, got '0-9'"),
        (lambda: parse_bounds({"age": "0:x"}), "bounds of age must be"),
        (lambda: BOTH["sex"], "condition must be one of label, age, got 'sex'"),
    ],
)
def test_what_cannot_be_declared_is_refused(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()  # type: ignore[operator]


def test_bounds_are_read_exactly() -> None:
    assert parse_bounds({"age": "-0.1:1/3"}) == {"age": (Fraction(-1, 10), Fraction(1, 3))}
    assert not math.isnan(AGE.number("5"))


def test_bounds_that_are_one_float_still_scale() -> None:
    low = Fraction(10**15) - Fraction(1, 10**15)
    close = DeclaredCondition("x", bounds=(low, Fraction(10**15)))
    assert [close.number("0"), close.number("1e15")] == [-1, 1]


@pytest.mark.parametrize("text", ["0:1e300", "0.1:0.10000000000000000001"])
def test_bounds_that_no_release_could_draw_within_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="bounds of x must be at most"):
        DeclaredCondition("x", bounds=parse_bounds({"x": text})["x"])
