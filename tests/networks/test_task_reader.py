"""A task reader learns a category or a number from examples, by its seed alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from veilray.networks.task_reader import train_task_reader

ROWS = np.random.default_rng(0).standard_normal((400, 3)).astype(np.float32)
SHOWN = torch.from_numpy(ROWS)


def reader(targets: NDArray[Any], steps: int = 200, seed: int = 0) -> nn.Module:
    return train_task_reader(
        lambda outputs: nn.Linear(3, outputs),
        lambda chosen: SHOWN[chosen],
        targets,
        "rows",
        batch_size=32,
        learning_rate=0.05,
        steps=steps,
        seed=seed,
    )


def test_a_category_is_one_logit_a_level() -> None:
    levels = np.digitize(ROWS[:, 0], [-0.5, 0.5]).astype(np.int64)
    answers = reader(levels)(SHOWN)
    assert answers.shape == (400, 3)
    assert (answers.argmax(1).numpy() == levels).mean() > 0.8


def test_a_number_is_one_output() -> None:
    answers = reader(ROWS[:, 1] - ROWS[:, 2])(SHOWN)
    assert answers.shape == (400, 1)
    assert np.abs(answers[:, 0].numpy() - ROWS[:, 1] + ROWS[:, 2]).max() < 0.1


def test_equal_seeds_make_equal_readers_and_leave_the_generator_alone() -> None:
    state = torch.get_rng_state()
    first, second, third = (reader(ROWS[:, 0], steps=3, seed=seed)(SHOWN) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_reader_is_fixed() -> None:
    found = reader(ROWS[:, 0], steps=1)
    assert not found.training
    assert not any(weight.requires_grad for weight in found.parameters())


@pytest.mark.parametrize("targets", [np.zeros(400, np.int64), np.zeros(1), np.zeros(0, np.int64)])
def test_one_level_or_one_example_tells_nothing(targets: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="task must be told by two rows or more of two levels or more"):
        reader(targets)
