"""How many numbers to keep: few where the noise is loud, more where it is not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from veilray.codes import Choice, choose_keep, pseudo_tasks
from veilray.privacy import Claim, Mechanism
from veilray.privacy.mechanisms.directional import Directional

KEEPS = (2, 4, 8, 16)


@pytest.fixture(scope="module")
def codes() -> NDArray[np.float64]:
    """Sixteen numbers; each tells two kinds apart, the first ones best."""
    rng = np.random.default_rng(0)
    kinds = rng.choice([-1.0, 1.0], (900, 16))
    rows = kinds * np.linspace(4, 2.5, 16) + rng.standard_normal((900, 16))
    return np.asarray((rows - rows.mean(axis=0)) / rows.std(axis=0))


@pytest.fixture(scope="module")
def tasks(codes: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Two kinds told by the first numbers, and sixteen told by four of them spread over all."""
    signs = (codes > 0).astype(np.int64)
    return [signs[:, 0], signs[:, 0] + 2 * signs[:, 1], signs[:, [0, 3, 7, 12]] @ np.array([1, 2, 4, 8])]


def choice(codes: NDArray[np.float64], tasks: list[NDArray[np.int64]], epsilon: str, seed: int = 0) -> Choice:
    def mechanism_of(keep: int) -> Mechanism:
        return Directional.calibrate(Claim.of(epsilon), keep)

    return choose_keep(codes, tasks, mechanism_of, KEEPS, seed)


@pytest.mark.parametrize("seed", [0, 1])
def test_few_numbers_at_a_small_epsilon_and_more_at_a_large_one(
    codes: NDArray[np.float64], tasks: list[NDArray[np.int64]], seed: int
) -> None:
    loud, quiet = choice(codes, tasks, "0.5", seed), choice(codes, tasks, "8", seed)
    assert loud.keep <= 4
    assert quiet.keep == 16
    assert set(loud.scores) == set(KEEPS)
    assert all(quiet.scores[keep] > loud.scores[keep] for keep in KEEPS)


def test_is_deterministic_for_a_seed(codes: NDArray[np.float64], tasks: list[NDArray[np.int64]]) -> None:
    assert choice(codes, tasks, "2") == choice(codes, tasks, "2")
    assert choice(codes, tasks, "2") != choice(codes, tasks, "2", seed=1)


def test_only_numbers_that_are_there_are_tried(codes: NDArray[np.float64], tasks: list[NDArray[np.int64]]) -> None:
    assert set(choice(codes[:, :6], tasks, "2").scores) == {2, 4}
    with pytest.raises(ValueError, match="keep must be one of those to try, up to 1"):
        choice(codes[:, :1], tasks, "2")


def test_equal_scores_choose_the_smaller(codes: NDArray[np.float64]) -> None:
    """A task that no code can help: every score is that of always saying the same."""
    lone = np.zeros(len(codes), dtype=np.int64)
    lone[::100] = 1
    assert choice(codes, [lone], "1").keep == min(KEEPS)


@pytest.mark.parametrize("classes", [2, 5])
def test_pseudo_tasks_are_labels_of_every_row(codes: NDArray[np.float64], classes: int) -> None:
    made = pseudo_tasks(codes, classes)
    assert len(made) > 1
    for labels in made:
        assert labels.shape == (len(codes),)
        assert np.array_equal(np.unique(labels), np.arange(classes))


def test_pseudo_tasks_are_deterministic(codes: NDArray[np.float64]) -> None:
    assert all(map(np.array_equal, pseudo_tasks(codes, 4, seed=3), pseudo_tasks(codes, 4, seed=3)))


def test_pseudo_tasks_find_what_is_there() -> None:
    rng = np.random.default_rng(0)
    kinds = np.repeat([0, 1], 100)
    features = rng.standard_normal((200, 3)) + 6 * kinds[:, None]
    for labels in pseudo_tasks(features * [1.0, 100.0, 0.01], 2):
        assert np.mean(labels == kinds) in (0.0, 1.0)


def test_a_task_of_one_kind_is_refused(codes: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="classes must be 2 or more, got 1"):
        pseudo_tasks(codes, 1)
