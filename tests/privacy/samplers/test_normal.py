"""The candidates' normals: the proven distance from the true normal, cell by cell and word by word."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mpmath import mp
from scipy.special import ndtri
from scipy.stats import kstest

from veilray.privacy.entropy import SeededEntropy
from veilray.privacy.samplers.normal import COUPLING_DISTANCE, LARGEST, LOST, lines, normals


def true_quantile(tail: Fraction) -> float:
    with mp.workdps(40):
        goal = mp.mpf(tail.numerator) / tail.denominator
        start = -float(ndtri(float(tail)))
        return (
            float(mp.findroot(lambda x: mp.erfc(x / mp.sqrt(2)) / 2 - goal, start)) if tail != Fraction(1, 2) else 0.0
        )


@given(
    magnitude=st.one_of(st.integers(2**24, 2**63 - 2), st.integers(24, 62).map(lambda e: 2**e)), negative=st.booleans()
)
@example(magnitude=2**24, negative=False)
@example(magnitude=2**63 - 2, negative=True)
def test_a_sample_is_within_the_coupling_distance_at_both_ends_of_its_word(magnitude: int, negative: bool) -> None:
    word = -magnitude if negative else magnitude
    sample = abs(float(normals(np.array([word], np.int64).view(np.uint64))[0]))
    # The continuous uniform behind a word lies between the word and its neighbour, on either side of it.
    for end in (magnitude - 1, magnitude + 1):
        assert abs(sample - true_quantile(Fraction(end, 2**64))) <= COUPLING_DISTANCE


def test_the_line_on_every_cell_stays_within_its_share_of_the_distance() -> None:
    intercept, slope = lines()
    index = np.arange(len(slope))
    exponent = ((index >> 10) - 1023) % 64
    step = np.ldexp(1.0, exponent - 10)
    left = np.ldexp(1.0, exponent) + (index & 1023) * step
    kept = (exponent >= 24) & (exponent < 63)
    worst = 0.0
    for place in np.linspace(0, 1, 33):
        at = left + place * step
        worst = max(worst, np.abs(intercept + slope * at + ndtri(np.ldexp(at, -64)))[kept].max())
    assert worst < 2.7e-8


def test_lost_words_are_as_rare_as_stated_and_no_sample_is_large() -> None:
    assert Fraction(2 * 2**24, 2**64) == LOST
    extreme = np.array([0, 1, 2, 2**24, 2**63 - 1, 2**63, 2**64 - 1], np.uint64)
    assert np.isfinite(normals(extreme)).all()
    assert np.abs(normals(extreme)).max() < LARGEST


def test_the_law_is_symmetric() -> None:
    words = np.array([1, 5, 2**30, 2**62 + 12345], np.int64)
    assert np.array_equal(normals(words.view(np.uint64)), -normals((-words).view(np.uint64)))


def test_samples_follow_the_normal_law() -> None:
    samples = normals(SeededEntropy(5).words(400_000, np.uint64))
    assert kstest(samples, "norm").pvalue > 1e-6
    assert np.mean(samples**4) == pytest.approx(3, abs=0.06)


def test_nodes_agree_with_exact_quantiles() -> None:
    tails = [Fraction(1, 2**e) * Fraction(5, 7) for e in range(2, 40, 3)]
    for tail in tails:
        assert -float(ndtri(float(tail))) == pytest.approx(true_quantile(tail), rel=1e-12)


def test_a_float32_normal_would_be_too_coarse() -> None:
    words = SeededEntropy(1).words(100_000, np.uint64)
    coarse = normals(words & np.uint64(0xFFFFFFFF00000000))
    assert np.abs(coarse - normals(words)).max() > COUPLING_DISTANCE
