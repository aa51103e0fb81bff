"""Results: power comes from the positive control, failure from the lower bound, and nothing is ever called safe."""

from __future__ import annotations

from dataclasses import replace

import pytest

from veilray.evaluation.result import AttackResult, Estimate


def around(value: float) -> Estimate:
    return Estimate(value, value - 0.02, value + 0.02, 100)


@pytest.fixture
def result() -> AttackResult:
    return AttackResult(
        attack="linkage",
        protocol="rank-1 among 100",
        knowledge="mechanism",
        released=around(0.3),
        positive=around(0.9),
        negative=around(0.1),
        line=0.4,
        decided=0.25,
        confidence=1 - 1e-8,
    )


def test_scale_runs_from_negative_to_positive(result: AttackResult) -> None:
    assert result.scaled == pytest.approx(0.25)
    assert replace(result, released=result.negative).scaled == 0
    assert replace(result, released=result.positive).scaled == 1


def test_a_positive_control_that_is_not_broken_means_no_power(result: AttackResult) -> None:
    weak = replace(result, positive=around(0.13))
    assert not weak.has_power
    assert weak.scaled is None
    assert weak.verdict == "no power"


def test_only_the_lower_bound_breaks_the_line(result: AttackResult) -> None:
    high = replace(result, released=around(0.5))
    assert not high.breaks_the_line
    assert high.verdict == "within the line"
    assert replace(high, decided=0.41).verdict == "above the line"


def test_a_broken_line_counts_without_power(result: AttackResult) -> None:
    assert replace(result, positive=around(0.1), decided=0.41).verdict == "above the line"


def test_an_attack_without_a_line_cannot_break_it(result: AttackResult) -> None:
    lineless = replace(result, line=None, decided=None, confidence=None)
    assert not lineless.breaks_the_line
    assert lineless.verdict == "no line"


def test_a_line_needs_a_decision(result: AttackResult) -> None:
    with pytest.raises(ValueError, match="decided and confidence must be given with a line"):
        replace(result, decided=None)


def test_row_is_flat_and_complete(result: AttackResult) -> None:
    row = result.to_row()
    assert all(isinstance(value, str | int | float | bool | None) for value in row.values())
    assert (row["released_low"], row["positive"], row["negative_high"]) == pytest.approx((0.28, 0.9, 0.12))
    assert (row["verdict"], row["line"], row["releases_per_target"]) == ("within the line", 0.4, 1)


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ((0.5, 0.6, 0.4, 10), "low must be at most high"),
        ((float("nan"), 0.4, 0.6, 10), "must be finite"),
        ((0.5, 0.4, 0.6, 0), "count must be at least 1"),
        ((0.5, 0.4, 0.6, 10, 1.0), "level must be in"),
    ],
)
def test_impossible_estimates_are_refused(figures: tuple[float, float, float, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Estimate(*figures)
