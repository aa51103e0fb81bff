"""Code book release: exact index probabilities, audit, correlation, structure."""

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

from veilray.privacy.enclosure import exp_range
from veilray.privacy.entropy import SeededEntropy, SystemEntropy
from veilray.privacy.mechanisms.base import MECHANISMS, Claim
from veilray.privacy.mechanisms.codebook import Codebook


def calibrated(epsilon: str, dimension: int, **options: Any) -> Codebook:
    return Codebook.calibrate(Claim.of(epsilon), dimension, **options)


def repeated(row: np.ndarray, rows: int) -> np.ndarray:
    return np.repeat(row[None], rows, axis=0)


def test_it_is_registered() -> None:
    assert MECHANISMS["codebook"] is Codebook


@pytest.mark.parametrize("row", [np.eye(1, 4)[0], np.ones(4), np.array([0.1, -3, 2, 1e-9]), np.zeros(4)])
def test_index_frequencies_follow_the_exact_probabilities(row: np.ndarray) -> None:
    mechanism = calibrated("1.5", 4, blocks=1)
    index = mechanism.randomise_index(repeated(row, 100_000), SeededEntropy(1))[:, 0]
    likelihood = mechanism.log_likelihood(mechanism.words_of(np.arange(16)[:, None]), row[None])
    assert np.exp(likelihood).sum() == pytest.approx(1, abs=1e-12)
    assert chisquare(np.bincount(index, minlength=16), np.exp(likelihood) * 100_000).pvalue > 1e-6


@settings(deadline=None, max_examples=40)
@given(
    rows=hnp.arrays(np.float64, (2, 5), elements=st.floats(width=64)),
    epsilon=st.sampled_from(["0.5", "2", "6"]),
)
def test_no_two_inputs_ever_differ_by_more_than_epsilon(rows: np.ndarray, epsilon: str) -> None:
    mechanism = calibrated(epsilon, 5, blocks=1)
    words = mechanism.words_of(np.arange(32)[:, None])
    one, two = (mechanism.log_likelihood(words, row[None]) for row in rows)
    assert np.abs(one - two).max() <= float(epsilon) + 1e-9
    winners = mechanism.selections[0].winners
    assert all((v > np.log(1 / 32)).sum() == winners for v in (one, two))


@pytest.mark.parametrize(("epsilon", "dimension"), [("3", 6), ("30", 40), ("64", 1024)])
def test_blocks_add_up_to_the_claim_with_exact_ratios(epsilon: str, dimension: int) -> None:
    mechanism = calibrated(epsilon, dimension)
    worst = math.prod(s.charged() for s in mechanism.selections)
    assert worst <= exp_range(Claim.of(epsilon).epsilon)[1]
    assert math.log(worst) == pytest.approx(float(epsilon), abs=1e-6)
    claim = mechanism.guarantee(dimension)
    assert claim.pure and claim.image_epsilon == Claim.of(epsilon).epsilon and claim.bound.kind == "index"


@pytest.mark.parametrize(
    ("epsilon", "dimension"), [("1", 8), ("8", 8), ("4", 64), ("64", 64), ("8", 1024), ("64", 1024)]
)
def test_correlation_with_a_normal_source_is_the_theorys(epsilon: str, dimension: int) -> None:
    mechanism = calibrated(epsilon, dimension)
    rows = 20_000 if dimension == 8 else 4000 if dimension == 64 else 600
    source = np.random.default_rng(1).standard_normal((rows, dimension))
    released = mechanism.release(source, SystemEntropy())
    measured = (source * released).sum() / math.sqrt((source**2).sum() * released.size)
    allowed = 0.03 * mechanism.expected_correlation() + 4 / math.sqrt(rows * dimension)
    assert measured == pytest.approx(mechanism.expected_correlation(), abs=allowed)


def test_a_thousand_dimensions_at_epsilon_64_keep_a_quarter_of_the_cosine() -> None:
    assert calibrated("64", 1024).expected_correlation() > 0.225  # the published prototype


@pytest.mark.parametrize("epsilon", ["0.5", "1", "2", "4"])
def test_the_winning_event_certifies_nine_tenths_and_never_more(
    epsilon: str, certified: Callable[..., float], never: float
) -> None:
    trials = 1_000_000
    mechanism = calibrated(epsilon, 2, blocks=1)
    row = np.array([1.0, 0.3])
    won = mechanism.words_of(np.arange(4)[:, None])
    top = mechanism.log_likelihood(won, row[None]) > np.log(1 / 4)
    hits, others = (
        int(top[mechanism.randomise_index(repeated(sign * row, trials), SystemEntropy())[:, 0]].sum())
        for sign in (1, -1)
    )
    assert certified(hits, others, trials) >= 0.9 * float(epsilon)
    assert certified(hits, others, trials, never) <= float(epsilon)


def test_every_row_takes_the_same_bytes(counting: type[Any]) -> None:
    mechanism = calibrated("20", 30)
    entropy = counting(1)
    mechanism.release(np.random.default_rng(0).standard_normal((7, 30)), entropy)
    assert entropy.count == 7 * len(mechanism.selections) * 16


def test_a_row_does_not_depend_on_the_other_rows() -> None:
    mechanism = calibrated("10", 24)
    rows = np.random.default_rng(0).standard_normal((4, 24))
    altered = rows.copy()
    altered[[0, 3]] = [[np.inf] * 24, [0] * 24]
    one, two = (mechanism.release(batch, SeededEntropy(3)) for batch in (rows, altered))
    assert np.array_equal(one[1:3], two[1:3])


def test_zero_and_non_finite_blocks_become_ones() -> None:
    mechanism = calibrated("4", 3)
    odd = np.array([[0, 0, 0], [np.nan, 1, 1], [1, 1, 1.0]])
    assert np.array_equal(mechanism.bound(odd), np.full((3, 3), 2.0**20))


def test_bounding_twice_changes_nothing() -> None:
    mechanism = calibrated("30", 50)
    once = mechanism.bound(np.random.default_rng(0).standard_normal((20, 50)) * 1e-300)
    assert np.array_equal(once, mechanism.bound(once))
    assert np.array_equal(once, np.rint(once))


def test_release_holds_words_of_the_book_and_nothing_else() -> None:
    mechanism = calibrated("8", 40)
    released = mechanism.release(np.random.default_rng(0).standard_normal((9, 40)), SystemEntropy())
    assert np.isfinite(mechanism.log_likelihood(released, released)).all()
    with pytest.raises(ValueError, match="words of the public book"):
        mechanism.log_likelihood(released * 0.5, released)


@pytest.mark.parametrize(
    ("claim", "options", "message"),
    [
        (Claim.of(1, "0.1"), {}, "delta must be 0"),
        (Claim.of(1, unit="element"), {}, "unit must be image"),
        (Claim.of(1), {"clip": 3}, "options must be"),
        (Claim.of(1), {"blocks": 17}, "blocks must be between"),
        (Claim.of(1), {"blocks": 1, "words": 100}, "words must be one of"),
        (Claim.of(1), {"blocks": 1, "words": 64, "winners": 60}, "winners must be between"),
    ],
)
def test_what_cannot_be_kept_is_refused(claim: Claim, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Codebook.calibrate(claim, 16, **options)


def test_rows_and_claims_of_another_dimension_are_refused() -> None:
    with pytest.raises(ValueError, match=r"latent must be \(n, 8\)"):
        calibrated("1", 8).bound(np.zeros((2, 7)))
    with pytest.raises(ValueError, match="dimension must be 8"):
        calibrated("1", 8).guarantee(7)
    with pytest.raises(ValueError, match="dimension must be at least 1"):
        calibrated("1", 0)


def test_the_book_may_be_chosen() -> None:
    mechanism = calibrated("3", 20, blocks=1, words=64)
    assert mechanism.selections[0].size == 64
    released = mechanism.release(np.ones((2, 20)), SystemEntropy())
    assert np.array_equal(mechanism.to_prior(released), released)
