"""A budget's layout: exact, deterministic, better than spreading it, and blind to records."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilray.methods.budget import best_layout, correlations
from veilray.privacy import MECHANISMS, Claim

FALLING = np.array([8.0, 5.0, 3.0, 1.0, 0.5, 0.2, 0.1, 0.05])


@pytest.mark.parametrize("kind", ["directional", "laplace", "codebook", "selection"])
@pytest.mark.parametrize("epsilon", ["1/2", "4", "12"])
def test_shares_sum_to_epsilon_and_the_rest_gets_nothing(kind: str, epsilon: str) -> None:
    layout = best_layout(kind, Claim.of(epsilon), FALLING)
    assert sum(layout.shares) == Fraction(epsilon)
    assert sum(layout.sizes) == len(FALLING)
    assert all(share > 0 for share in layout.shares[:-1])
    assert 0 < layout.kept < 1


def test_a_layout_is_the_mechanism_that_it_names() -> None:
    layout = best_layout("directional", Claim.of("4"), FALLING)
    mechanism = MECHANISMS["blockwise"].calibrate(Claim.of("4"), 8, of="directional", **layout.options)
    kept = (FALLING * correlations(mechanism) ** 2).sum() / FALLING.sum()
    assert kept == pytest.approx(layout.kept)


def test_few_directions_told_well_keep_more_than_all_told_badly() -> None:
    layout = best_layout("directional", Claim.of("1"), FALLING)
    whole = MECHANISMS["blockwise"].calibrate(Claim.of("1"), 8, of="directional", sizes=(8,), shares=(Fraction(1),))
    assert layout.kept > 1.1 * (FALLING * correlations(whole) ** 2).sum() / FALLING.sum()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=12))
def test_more_epsilon_never_keeps_less(weights: list[float]) -> None:
    importance = np.sort(np.array(weights))[::-1]
    kept = [best_layout("codebook", Claim.of(epsilon), importance).kept for epsilon in ("1", "8")]
    assert kept[0] < kept[1] + 0.02  # the trial has noise of its own


def test_correlation_without_a_share_is_what_chance_leaves() -> None:
    mechanism = MECHANISMS["blockwise"].calibrate(Claim.of("8"), 4, of="directional", sizes="2,2", shares="8,0")
    found = correlations(mechanism)
    assert found[:2].min() > 0.6
    assert found[2:].max() < 0.1


def test_a_claim_that_no_layout_carries_is_refused() -> None:
    with pytest.raises(ValueError, match="epsilon must be one that directional can carry on 1 directions"):
        best_layout("directional", Claim.of("30"), np.ones(1))
