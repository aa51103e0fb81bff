"""A learner of released rows is scored on real ones: above chance where there is a pattern, at chance where none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from veilray.evaluation.tables import LEARNERS, TableLearner, score_on_real
from veilray.tables import Records


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_pattern_is_learnt(learner: TableLearner, private: Records, others: Records) -> None:
    found = score_on_real(private, others, "ill", learner, resamples=200)
    assert found.metric == "auc"
    assert found.score.low > 0.8
    assert found.taught


@pytest.mark.parametrize("learner", LEARNERS)
def test_labels_without_a_pattern_teach_nothing(learner: TableLearner, private: Records, others: Records) -> None:
    values = private.values.copy()
    values[:, 4] = np.random.default_rng(1).permutation(values[:, 4])
    found = score_on_real(Records.of(private.schema, values), others, "ill", learner, resamples=200)
    assert found.score.value < 0.7


@pytest.mark.parametrize("learner", LEARNERS)
def test_numbers_are_scored_by_r_squared(learner: TableLearner, private: Records, others: Records) -> None:
    found = score_on_real(private, others, "age", learner, resamples=200)
    assert found.metric == "r2"
    assert found.score.low > 0.3


@pytest.mark.parametrize("learner", LEARNERS)
def test_one_class_is_chance(learner: TableLearner, private: Records, others: Records) -> None:
    found = score_on_real(private[private.column("ill") == 1], others, "ill", learner, resamples=20)
    assert found.score.value == 0.5
    assert not found.taught


def test_one_level_is_told_from_the_others(private: Records, others: Records) -> None:
    found = score_on_real(private, others, "town", positive="south", resamples=200)
    assert found.score.low < 0.5 < found.score.high
    with pytest.raises(ValueError, match="positive must be one of north, south, west"):
        score_on_real(private, others, "town")


def test_rows_of_one_person_are_drawn_together(private: Records, people: Callable[[int, int], Records]) -> None:
    test = people(100, 5)
    every = np.repeat(np.arange(100), 4)
    repeated = test[every]
    alone = score_on_real(private, repeated, "ill", resamples=500).score
    known = Records(repeated.schema, repeated.values, repeated.rows, tuple(str(place) for place in every))
    together = score_on_real(private, known, "ill", resamples=500).score
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_nothing_released_is_chance(private: Records, others: Records) -> None:
    assert score_on_real(private[:0], others, "ill", resamples=20).score.value == 0.5


@pytest.mark.parametrize(
    ("options", "said"),
    [({"learner": "forest"}, "learner must be linear or boosting"), ({"target": "weight"}, "column must be one of")],
)
def test_a_wrong_wish_is_refused(options: dict[str, str], said: str, private: Records) -> None:
    with pytest.raises(ValueError, match=said):
        score_on_real(private, private, **{"target": "ill", **options})
