"""Controls: utility counts above the best null only, and the page says where nothing was added."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilray.evaluation.controls import (
    CONTROLS,
    NOTHING_ADDED,
    beats,
    best_null,
    chance,
    conclusion,
    normalised_utility,
)
from veilray.evaluation.result import Estimate

NULL = Estimate(0.5, 0.45, 0.55, 20)


def test_every_named_control_is_defined() -> None:
    assert set(CONTROLS) == {"raw", "null", "null-conditional", "public-only", "chance"}
    assert [name for name, control in CONTROLS.items() if control.end == "ceiling"] == ["raw"]
    assert {name for name, control in CONTROLS.items() if control.public_labels} == {"null-conditional", "public-only"}


@given(st.floats(0, 1), st.floats(0, 0.9))
def test_raw_is_one_and_null_is_zero(released: float, null: float) -> None:
    raw = null + 0.1
    assert normalised_utility(raw, null, raw) == 1
    assert normalised_utility(null, null, raw) == 0
    assert normalised_utility(released, null, raw) == pytest.approx((released - null) / 0.1)


def test_no_room_gives_no_figure() -> None:
    assert normalised_utility(0.9, 0.5, 0.549) is None
    assert normalised_utility(0.9, 0.6, 0.5) is None


def test_the_best_null_is_the_highest_mean() -> None:
    draws = {"null": [0.5, 0.6] * 10, "null-conditional": [0.7, 0.8] * 10}
    found = best_null(draws, chance=0.5)
    assert (found.value, found.count) == (pytest.approx(0.75), 20)
    assert found.low < 0.75 < found.high


def test_a_null_below_chance_does_not_lower_the_floor() -> None:
    found = best_null({"null": [0.3, 0.5] * 10}, chance=0.5)
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_chance_names_the_commonest_label() -> None:
    labels = np.array([2, 2, 0, 1])
    assert (chance("accuracy", labels), chance("auc", labels)) == (0.5, 0.5)
    assert chance("accuracy", np.arange(10)) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="labels must be one or more"):
        chance("accuracy", labels[:0])
    with pytest.raises(ValueError, match="metric must be auc or accuracy"):
        chance("f1", labels)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        ({"null": [0.5] * 19}, "draws of null must be 20 or more, got 19"),
        ({"raw": [0.9] * 20}, "null must be one of null, null-conditional, public-only, chance, got 'raw'"),
        ({"zero": [0.9] * 20}, "got 'zero'"),
    ],
)
def test_poor_nulls_are_refused(draws: dict[str, list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        best_null(draws, chance=0.5)


def test_a_release_inside_the_interval_added_nothing() -> None:
    near = Estimate(0.58, 0.54, 0.62, 600)
    assert not beats(near, NULL)
    assert conclusion(near, NULL) == NOTHING_ADDED == "the private images added nothing"


def test_a_release_above_the_interval_added_something() -> None:
    far = Estimate(0.7, 0.66, 0.74, 600)
    assert beats(far, NULL)
    assert conclusion(far, NULL) == "the private images added 0.200 over the best null"
