"""The decision bound is below the truth however the numbers are spread; poor targets are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilray.evaluation.attacks import ATTACKS, Attack, decision_level, lower_bound
from veilray.evaluation.audit import clopper_pearson_lower


def test_attacks_are_known_by_name() -> None:
    assert {"linkage", "verification"} <= set(ATTACKS)
    assert all(issubclass(ATTACKS[name], Attack) and ATTACKS[name].name == name for name in ATTACKS)


def test_bound_of_whole_hits_is_nearly_that_of_clopper_and_pearson() -> None:
    exact = clopper_pearson_lower(300, 1000, decision_level(100))
    assert exact - 0.004 < lower_bound(0.3, 1000, 100) < exact


@given(st.floats(0, 1), st.integers(1, 10**6), st.integers(1, 10**4))
def test_bound_is_below_the_score_and_lower_for_more_tests(value: float, units: int, tests: int) -> None:
    bound = lower_bound(value, units, tests)
    assert 0 <= bound <= value
    assert lower_bound(value, units, 2 * tests) <= bound


def test_bound_tightens_with_units() -> None:
    bounds = [lower_bound(0.3, units) for units in (10, 100, 1000, 10**6)]
    assert bounds == sorted(bounds)
    assert bounds[-1] == pytest.approx(0.3, abs=0.003)


def test_the_sum_of_fractions_stays_within_e_times_a_binomial_tail() -> None:
    """What the bound rests on (Bentkus 2004), tried on fractions of several shapes."""
    rng = np.random.default_rng(0)
    n, at = 60, 24
    tail = (rng.binomial(n, 0.3, 400_000) >= at).mean()
    for drawn in (rng.beta(0.3, 0.7, (100_000, n)), rng.random((100_000, n)) * 0.6):
        assert (drawn.sum(axis=1) >= at).mean() <= np.e * tail


@pytest.mark.parametrize(("value", "units"), [(1.1, 10), (-0.1, 10), (0.5, 0)])
def test_impossible_scores_are_refused(value: float, units: int) -> None:
    with pytest.raises(ValueError, match=r"value must be in \[0, 1\]"):
        lower_bound(value, units)


def test_one_record_of_each_patient_is_taken(make_codes, make_mechanism):
    patients = np.arange(1000) // 3
    target = replace(make_codes(make_mechanism("laplace", "1")), patients=patients)
    for rows, label in zip(target.one_a_patient(np.random.default_rng(0)), (0, 1), strict=True):
        assert (target.labels[rows] == label).all()
        assert len(set(patients[rows])) == len(rows) == len(set(patients[target.labels == label]))


def test_shapes_that_do_not_fit_are_refused(make_codes, make_mechanism):
    target = make_codes(make_mechanism("laplace", "1"))
    with pytest.raises(ValueError, match=r"released must be \(1000, 8\) or a stack"):
        replace(target, released=target.released[:5])
    with pytest.raises(ValueError, match="labels must be one for each of 1000 rows"):
        replace(target, labels=np.zeros(5))
    with pytest.raises(ValueError, match=r"latent must be \(n, d\)"):
        replace(target, latent=np.zeros(5))
