"""Consistency: agreement is counted level by level, beside what the reader is worth on real images."""

from __future__ import annotations

import numpy as np
import pytest

from veilray.evaluation.utility import LEARNERS, Learner, consistency

Part = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def reader(digits: Part) -> Learner:
    return LEARNERS["logistic"]().fit(digits[0][:600], digits[1][:600], 0)


def test_real_pictures_agree_as_often_as_the_reader_is_right(reader: Learner, digits: Part) -> None:
    _, _, test, labels = digits
    found = consistency(reader, test, labels, test, labels, resamples=200)
    right = float((reader.predict_proba(test).argmax(axis=1) == labels).mean())
    assert found.released == found.real
    assert found.real.overall.value == right > 0.85
    assert found.has_power


def test_the_overall_share_is_made_up_of_the_levels(reader: Learner, digits: Part) -> None:
    _, _, test, labels = digits
    found = consistency(reader, test, labels, test, labels, resamples=50).released
    parts = sum(level.value * level.count for level in found.levels.values())
    assert parts / len(labels) == pytest.approx(found.overall.value)
    assert sorted(found.levels) == list(range(10))


def test_pictures_of_other_levels_agree_by_chance_only(reader: Learner, digits: Part) -> None:
    _, _, test, labels = digits
    dealt = np.random.default_rng(0).permutation(labels)
    found = consistency(reader, test, dealt, test, labels, resamples=200)
    assert found.released.overall.value == pytest.approx(0.1, abs=0.05)
    assert found.real.overall.value > 0.85


def test_one_level_that_is_drawn_wrongly_shows(reader: Learner, digits: Part) -> None:
    _, _, test, labels = digits
    pictures = test.copy()
    pictures[labels == 3] = test[labels == 8][: (labels == 3).sum()][0]
    levels = consistency(reader, pictures, labels, test, labels, resamples=50).released.levels
    assert levels[3].value == 0
    assert levels[8].value > 0.5


def test_patients_widen_the_interval(reader: Learner, digits: Part) -> None:
    _, _, test, labels = digits
    repeated, told, patients = (np.repeat(part, 9, axis=0) for part in (test, labels, np.arange(len(test))))
    by_image, by_patient = (
        consistency(reader, repeated, told, test, labels, released_patients=keys, resamples=300).released.overall
        for keys in (None, patients)
    )
    assert by_patient.high - by_patient.low > 2 * (by_image.high - by_image.low)


def test_a_reader_that_learned_nothing_has_no_power(digits: Part) -> None:
    train, labels, test, test_labels = digits
    rng = np.random.default_rng(0)
    blind = LEARNERS["logistic"]().fit(train[:200], rng.permutation(labels[:200]), 0)
    assert not consistency(blind, test, test_labels, test, test_labels, resamples=200).has_power


def test_rows_hold_every_level_of_both(reader: Learner, digits: Part) -> None:
    _, _, test, labels = digits
    rows = consistency(reader, test[labels < 2], labels[labels < 2], test, labels, resamples=50).to_rows()
    assert [row["level"] for row in rows if row["pictures"] == "released"] == ["all", "0", "1"]
    assert sum(row["pictures"] == "real" for row in rows) == 11


def test_unknown_levels_and_new_readers_are_refused(reader: Learner, digits: Part) -> None:
    _, _, test, labels = digits
    with pytest.raises(ValueError, match="levels must be 0 to 9, as the reader was fitted on, got 10"):
        consistency(reader, test, labels + 1, test, labels)
    with pytest.raises(ValueError, match="got no pictures"):
        consistency(reader, test[:0], labels[:0], test, labels)
    with pytest.raises(ValueError, match="learner must be fitted"):
        consistency(LEARNERS["logistic"](), test, labels, test, labels)
