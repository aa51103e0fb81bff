"""Subset selection: exact probabilities, worst ratio by enumeration, winners with ties."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import chisquare

from veilray.privacy.enclosure import exp_range
from veilray.privacy.entropy import SeededEntropy
from veilray.privacy.subset_selection import SubsetSelection, best_winner_count, select_smallest, winners_first

EPSILONS = st.fractions(Fraction(1, 100), 12, max_denominator=100)


@settings(deadline=None)
@given(epsilon=EPSILONS, size=st.integers(2, 60), place=st.floats(0, 1))
def test_probabilities_are_exact_and_their_worst_ratio_is_charged(epsilon: Fraction, size: int, place: float) -> None:
    selection = SubsetSelection.of(epsilon, size, 1 + int(place * (size - 2)))
    pmf = selection.probabilities()
    assert sum(pmf) == 1
    # Whatever the two inputs are, an index has one of these probabilities under each.
    assert max(pmf) / min(pmf) == selection.charged() <= exp_range(epsilon)[0]
    assert math.log(selection.charged()) == pytest.approx(float(epsilon), abs=1e-9)


def test_ranks_follow_the_exact_probabilities() -> None:
    selection = SubsetSelection.of(Fraction(3, 2), 13, 4)
    counts = np.bincount(selection.ranks(SeededEntropy(1).words((200_000, 2), np.uint64)), minlength=13)
    assert chisquare(counts, np.array(selection.probabilities(), dtype=float) * 200_000).pvalue > 1e-6


@given(
    keys=hnp.arrays(
        np.float64, st.tuples(st.integers(1, 5), st.integers(2, 12)), elements=st.sampled_from([0.0, 1, 2])
    ),
    place=st.floats(0, 1),
)
def test_exactly_the_stated_number_wins_and_ties_go_to_the_lower_index(keys: np.ndarray, place: float) -> None:
    winners = 1 + int(place * (keys.shape[1] - 2))
    marked = select_smallest(keys, winners)
    expected = np.argsort(keys, axis=1, kind="stable")[:, :winners]
    assert (marked.sum(axis=1) == winners).all()
    assert all(set(np.flatnonzero(m)) == set(e) for m, e in zip(marked, expected, strict=True))
    order = winners_first(marked)
    assert np.take_along_axis(marked, order[:, :winners], axis=1).all()
    assert (np.sort(order, axis=1) == np.arange(keys.shape[1])).all()


@pytest.mark.parametrize(("epsilon", "size", "count"), [(1, 100, 27), (4, 100, 2), (8, 100, 1), (1, 2, 1)])
def test_the_number_of_winners_is_near_the_optimum(epsilon: int, size: int, count: int) -> None:
    assert best_winner_count(Fraction(epsilon), size) == count


def test_log_probabilities_differ_by_epsilon() -> None:
    selection = SubsetSelection.of(Fraction(2), 50, 6)
    assert selection.log_win - selection.log_lose == pytest.approx(2, abs=1e-9)
    assert 6 * math.exp(selection.log_win) + 44 * math.exp(selection.log_lose) == pytest.approx(1)
