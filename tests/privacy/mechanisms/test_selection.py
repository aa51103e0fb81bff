"""Selection: exact probabilities whatever the distances, index and features, audit, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import chisquare

from veilray.privacy.entropy import SeededEntropy, SystemEntropy
from veilray.privacy.mechanisms.base import MECHANISMS, Claim
from veilray.privacy.mechanisms.selection import Selection

LIST = np.random.default_rng(0).standard_normal((30, 4))


def calibrated(epsilon: str, candidates: np.ndarray = LIST, **options: Any) -> Selection:
    return Selection.calibrate(Claim.of(epsilon), candidates.shape[1], candidates=candidates, **options)


def test_it_is_registered() -> None:
    assert MECHANISMS["selection"] is Selection


def test_index_frequencies_follow_the_exact_probabilities() -> None:
    mechanism = calibrated("2")
    row = np.ones((1, 4))
    index = mechanism.randomise_index(np.repeat(row, 100_000, axis=0), SeededEntropy(1))
    expected = np.exp(mechanism.log_likelihood(LIST, row))
    assert expected.sum() == pytest.approx(1, abs=1e-12)
    assert chisquare(np.bincount(index, minlength=30), expected * 100_000).pvalue > 1e-6


@settings(deadline=None, max_examples=50)
@given(rows=hnp.arrays(np.float64, (2, 4), elements=st.floats(width=64)), epsilon=st.sampled_from(["0.5", "3"]))
def test_no_two_inputs_ever_differ_by_more_than_epsilon(rows: np.ndarray, epsilon: str) -> None:
    mechanism = calibrated(epsilon)
    one, two = (mechanism.log_likelihood(LIST, row[None]) for row in rows)
    assert np.abs(one - two).max() <= float(epsilon) + 1e-9
    assert (mechanism.winners(rows).sum(axis=1) == mechanism.selection.winners).all()


def test_the_nearest_win_and_ties_go_to_the_lower_index() -> None:
    corners = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1], [5, 5]])
    mechanism = calibrated("1", corners, winners=2)
    assert np.flatnonzero(mechanism.winners(np.zeros((1, 2)))[0]).tolist() == [0, 1]
    assert np.flatnonzero(mechanism.winners(np.array([[5.0, 5]]))[0]).tolist() == [0, 4]


def test_the_caller_finds_the_candidate_again() -> None:
    mechanism = calibrated("1")
    rows = np.random.default_rng(3).standard_normal((12, 4))
    index = mechanism.randomise_index(rows, SeededEntropy(4))
    released = mechanism.randomise(rows, SeededEntropy(4))
    assert np.array_equal(released, LIST[index])
    assert np.array_equal(mechanism.index_of(released), index)
    assert np.array_equal(mechanism.to_prior(released), released)
    with pytest.raises(ValueError, match="rows of the public list"):
        mechanism.index_of(released + 1e-9)


@pytest.mark.parametrize("epsilon", ["0.5", "1", "2", "4"])
def test_the_winning_event_certifies_nine_tenths_and_never_more(
    epsilon: str, certified: Callable[..., float], never: float
) -> None:
    trials = 1_000_000
    line = np.array([[-1.0], [1.0], [-2.0], [2.0]])
    mechanism = calibrated(epsilon, line, winners=2)
    hits, others = (
        int((mechanism.randomise_index(np.full((trials, 1), x), SystemEntropy()) % 2 == 1).sum()) for x in (3.0, -3.0)
    )
    assert certified(hits, others, trials) >= 0.9 * float(epsilon)
    assert certified(hits, others, trials, never) <= float(epsilon)


def test_the_released_candidate_is_near_when_epsilon_is_large() -> None:
    mechanism = calibrated("12")
    rows = LIST[:20] + 0.01
    near = np.sqrt(((mechanism.release(rows, SeededEntropy(1)) - rows) ** 2).sum(axis=1))
    assert np.mean(near < 0.1) > 0.9


def test_a_row_does_not_depend_on_the_other_rows_and_takes_two_words(counting: type[Any]) -> None:
    mechanism = calibrated("1")
    rows = np.random.default_rng(0).standard_normal((4, 4))
    altered = rows.copy()
    altered[0] = np.nan
    one, two = (mechanism.release(batch, SeededEntropy(3)) for batch in (rows, altered))
    assert np.array_equal(one[1:], two[1:])
    entropy = counting(1)
    mechanism.release(rows, entropy)
    assert entropy.count == 4 * 16


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e308])
def test_odd_features_are_released_like_any_other(odd: float) -> None:
    row = np.array([[odd, 1.0, 1.0, 1.0]])
    assert calibrated("1").winners(row).sum() == calibrated("1").selection.winners
    assert np.isfinite(calibrated("1").release(row, SystemEntropy())).all()


def test_the_claim_names_the_list() -> None:
    claim = calibrated("3").guarantee(4)
    assert claim.pure and claim.epsilon == 3 and claim.bound.kind == "index"
    assert len(claim.parameters["list (SHA-256 of little-endian float64)"]) == 64
    assert math.log(calibrated("3").selection.charged()) == pytest.approx(3, abs=1e-9)


@pytest.mark.parametrize(
    ("claim", "options", "message"),
    [
        (Claim.of(1, "0.1"), {"candidates": LIST}, "delta must be 0"),
        (Claim.of(1, unit="element"), {"candidates": LIST}, "unit must be image"),
        (Claim.of(1), {}, "candidates must be a public"),
        (Claim.of(1), {"candidates": LIST[:1]}, "N at least 2"),
        (Claim.of(1), {"candidates": LIST[:, :3]}, "candidates must be"),
        (Claim.of(1), {"candidates": LIST * np.nan}, "finite"),
        (Claim.of(1), {"candidates": np.repeat(LIST, 2, axis=0)}, "all different"),
        (Claim.of(1), {"candidates": LIST, "winners": 30}, "winners must be"),
        (Claim.of(1), {"candidates": LIST, "clip": 1}, "options must be"),
    ],
)
def test_what_cannot_be_kept_is_refused(claim: Claim, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Selection.calibrate(claim, 4, **options)
