"""Reverse water-filling against its optimality conditions, and the shares of epsilon that follow from it."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from veilray.privacy.ceiling import mutual_information_ceiling
from veilray.privacy.mechanisms.base import Claim
from veilray.privacy.mechanisms.directional import Directional
from veilray.privacy.water_filling import block_shares, reverse_water_filling

VARIANCES = st.lists(st.one_of(st.just(0.0), st.floats(1e-9, 1e9)), min_size=1, max_size=40).filter(any)
NATS = st.floats(1e-6, 200)


# --- rates ---


@settings(deadline=None)
@given(variances=VARIANCES, nats=NATS)
def test_rates_are_optimal(variances: list[float], nats: float) -> None:
    """Karush, Kuhn and Tucker: what has a rate is drowned to one level, what has none lies at or below it."""
    rates = reverse_water_filling(variances, nats)
    assert (rates >= 0).all()
    assert math.fsum(rates) == pytest.approx(nats, abs=1e-9)
    distortion = np.array(variances) * np.exp(-2 * rates)
    served = rates > 1e-9
    level = distortion[served].max()
    assert distortion[served] == pytest.approx(level, rel=1e-7)
    assert (distortion[~served] <= level * (1 + 1e-7)).all()


@settings(deadline=None)
@given(variances=VARIANCES, nats=NATS)
def test_rates_are_those_of_a_search_for_the_level(variances: list[float], nats: float) -> None:
    heights = np.log([v for v in variances if v > 0])

    def surplus(level: float) -> float:
        return float(np.maximum(0, (heights - level) / 2).sum()) - nats

    level = brentq(surplus, heights.max() - 2 * nats - 1, heights.max(), xtol=1e-13, rtol=1e-14)
    expected = [max(0.0, (math.log(v) - level) / 2) if v > 0 else 0.0 for v in variances]
    assert reverse_water_filling(variances, nats) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(variances=VARIANCES, nats=NATS, more=st.floats(0, 100))
def test_more_nats_lower_no_rate_and_more_variance_gets_no_less(
    variances: list[float], nats: float, more: float
) -> None:
    few, many = (reverse_water_filling(variances, rate) for rate in (nats, nats + more))
    assert (many >= few - 1e-9).all()
    assert (np.diff(few[np.argsort(variances, kind="stable")]) >= 0).all()


@settings(deadline=None)
@given(variances=VARIANCES, nats=NATS, seed=st.integers(0, 100), power=st.integers(-200, 200))
def test_neither_order_nor_unit_matters(variances: list[float], nats: float, seed: int, power: int) -> None:
    order = np.random.default_rng(seed).permutation(len(variances))
    rates = reverse_water_filling(variances, nats)
    turned = reverse_water_filling(np.array(variances)[order] * 2.0**power, nats)
    assert turned == pytest.approx(rates[order], abs=1e-9)


def test_the_textbook_case_of_two_components() -> None:
    """Until ln(v1 / v2) / 2 nats are spent the larger one gets all; then both get the same."""
    switch = math.log(9) / 2
    assert reverse_water_filling([9, 1], switch - 0.1).tolist() == pytest.approx([switch - 0.1, 0])
    assert reverse_water_filling([9, 1], switch + 0.2).tolist() == pytest.approx([switch + 0.1, 0.1])


def test_nothing_to_spend_gives_nothing() -> None:
    assert reverse_water_filling([2, 1], 0).tolist() == reverse_water_filling([0, 0], 0).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("variances", "nats", "message"),
    [
        ([1, 2], -1, "nats must be at least 0"),
        ([1, 2], math.inf, "nats must be at least 0"),
        ([1, -2], 1, "variances must be finite and at least 0"),
        ([1, math.nan], 1, "variances must be finite"),
        ([], 1, "variances must be a list"),
        ([[1]], 1, "variances must be a list"),
        ([0, 0], 1, "variances must hold one above 0"),
    ],
)
def test_wrong_components_and_rates_are_refused(variances: Any, nats: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reverse_water_filling(variances, nats)


# --- shares ---


@st.composite
def budgets(draw: st.DrawFn) -> tuple[list[float], list[int], Fraction]:
    """Falling variances, sizes of blocks, and an epsilon that they can take."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=8))
    fall = draw(st.lists(st.floats(0, 2), min_size=sum(sizes), max_size=sum(sizes)))
    return np.exp(-np.cumsum(fall)).tolist(), sizes, draw(st.fractions(Fraction(1, 10), 8 * len(sizes)))


@settings(deadline=None, max_examples=300)
@given(budget=budgets())
def test_shares_sum_exactly_and_none_passes_eight(budget: tuple[list[float], list[int], Fraction]) -> None:
    variances, sizes, epsilon = budget
    kept, shares = block_shares(variances, sizes, epsilon)
    assert sum(shares) == epsilon
    assert all(epsilon / 1000 <= share <= 8 for share in shares)
    assert list(kept) == sizes[: len(kept)] and len(kept) == len(shares)


@settings(deadline=None)
@given(budget=budgets())
def test_shares_are_in_proportion_to_the_nats_of_a_block(budget: tuple[list[float], list[int], Fraction]) -> None:
    variances, sizes, epsilon = budget
    rates = reverse_water_filling(variances, mutual_information_ceiling(epsilon))
    nats = np.array([part.sum() for part in np.split(rates, np.cumsum(sizes)[:-1])])
    ideal = float(epsilon) * nats / nats.sum()
    assume(ideal.max() <= 8)
    kept, shares = block_shares(variances, sizes, epsilon)
    assert len(kept) == max(np.count_nonzero(nats), math.ceil(epsilon / 8))
    # A step for rounding, and one for each block that must get a whole step.
    assert [float(s) for s in shares] == pytest.approx(ideal[: len(kept)], abs=float(epsilon) * (len(kept) + 1) / 1000)


def test_what_a_full_block_cannot_take_goes_to_the_others_at_a_lower_level() -> None:
    variances = [100.0] * 8 + [1.0, 1.0, 0.001]
    assert block_shares(variances, (8, 2, 1), "8")[0] == (8,)
    kept, shares = block_shares(variances, (8, 2, 1), "12")
    assert kept == (8, 2) and shares == (8, 4)
    assert block_shares(variances, (8, 2, 1), "24")[1] == (8, 8, 8)


def test_a_full_block_lowers_the_level_for_blocks_that_would_get_nothing() -> None:
    variances = [100.0] * 8 + [1.0, 1.0, 0.5, 0.5]
    assert block_shares(variances, (8, 2, 2), "8")[0] == (8,)
    kept, shares = block_shares(variances, (8, 2, 2), "12")
    nats = mutual_information_ceiling(12) / 12
    rest = reverse_water_filling(variances[8:], 4 * nats) / nats
    assert kept == (8, 2, 2)
    assert [float(s) for s in shares] == pytest.approx([8, rest[:2].sum(), rest[2:].sum()], abs=0.012)


def test_more_epsilon_keeps_more_blocks() -> None:
    variances = [2.0**-i for i in range(16)]
    kept = [len(block_shares(variances, (4, 4, 4, 4), epsilon)[0]) for epsilon in (1, 2, 4, 8, 16, 32)]
    assert kept == sorted(kept) and kept[0] == 1 and kept[-1] == 4


def test_a_claim_just_above_eight_is_not_rounded_to_one_block() -> None:
    epsilon = 8 + Fraction(1, 10**30)
    _, shares = block_shares([1.0] * 4 + [1e-6], (4, 1), epsilon)
    assert len(shares) == 2 and sum(shares) == epsilon and max(shares) <= 8


def test_the_result_calibrates_a_directional_release() -> None:
    variances = [2.0**-i for i in range(24)]
    sizes, shares = block_shares(variances, (4, 8, 12), "6")
    mechanism = Directional.calibrate(Claim.of("6"), sum(sizes), sizes=sizes, shares=shares)
    assert mechanism.shares == shares and mechanism.guarantee(sum(sizes)).epsilon == 6


@pytest.mark.parametrize(
    ("variances", "sizes", "epsilon", "message"),
    [
        ([1, 1], (1, 1), 0, "epsilon must be above 0"),
        ([1, 1], (1, 1), 0.5, "epsilon must be exact"),
        ([1, 1], (1, 2), 1, "sizes must be at least 1 and sum to the 2"),
        ([1, 1], (2, 0), 1, "sizes must be at least 1"),
        ([1, 1], (), 1, "sizes must be at least 1"),
        ([1, 1], (1, 1), 17, "use more blocks"),
        ([1, 0], (1, 1), 9, "each of the 1 blocks"),
        ([1, 0.001, 1], (1, 1, 1), 1, "got block 2 dropped before a kept one"),
        ([1] * 1001, [1] * 1001, 1, "at most 1,000, got 1,001"),
    ],
)
def test_budgets_that_cannot_be_shared_are_refused(variances: Any, sizes: Any, epsilon: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        block_shares(variances, sizes, epsilon)
