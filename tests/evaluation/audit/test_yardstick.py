"""A certified bound against an independent package: privacy-estimates (Zanella-Beguelin et al. 2023)."""

from __future__ import annotations

import pytest

from veilray.evaluation.audit import DISPLAY, Counts, certified

CURE = 'privacy-estimates must be installed for this comparison: pip install "veilray[yardsticks]"'


def test_a_certified_bound_agrees_with_privacy_estimates() -> None:
    """Theirs bounds two error rates at half the level each, ours one share of right guesses: never lower, and close."""
    theirs = pytest.importorskip("privacy_estimates", reason=CURE)
    results = pytest.importorskip("privacy_estimates.utils", reason=CURE).AttackResults
    trials, right_first, wrong_first = 100_000, 72_931, 26_906
    count = results(TP=right_first, FN=trials - right_first, FP=wrong_first, TN=trials - wrong_first)
    lower = theirs.compute_eps_lo(count, 0.0, 1 - DISPLAY, "beta")
    right = right_first + trials - wrong_first
    ours = certified(Counts(right, 2 * trials - right, 2 * trials), "epsilon", DISPLAY)
    assert lower <= ours <= lower + 0.02


def test_the_two_sided_form_agrees_with_their_clopper_pearson() -> None:
    """With a delta both rates are bounded here too, so the two formulas are one."""
    theirs = pytest.importorskip("privacy_estimates", reason=CURE)
    results = pytest.importorskip("privacy_estimates.utils", reason=CURE).AttackResults
    trials, right, wrong = 50_000, 9_000, 700
    count = results(TP=right, FN=trials - right, FP=wrong, TN=trials - wrong)
    lower = theirs.compute_eps_lo(count, 1e-5, 1 - DISPLAY, "beta")
    ours = certified(Counts(right, wrong, trials), "epsilon", DISPLAY, delta=1e-5)
    assert ours == pytest.approx(lower, abs=0.02)
