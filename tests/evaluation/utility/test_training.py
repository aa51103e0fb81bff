"""Training: the schedule, and that the tenth held out decides when to stop and nothing else does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from veilray.evaluation.utility.base import validation_rows
from veilray.evaluation.utility.training import Schedule, probabilities, train_network

SHORT = Schedule(most_epochs=3)


def linear() -> nn.Module:
    return nn.Linear(4, 2)


def test_epochs_follow_the_number_of_images() -> None:
    schedule = Schedule(passes=120_000, most_epochs=32, fewest_epochs=4)
    assert [schedule.epochs(images) for images in (100, 10_000, 1_000_000)] == [32, 12, 4]


@pytest.mark.parametrize(("images", "batches"), [(18, 1), (160, 10), (1_600, 16), (9_000, 70)])
def test_few_images_are_shown_in_smaller_batches(images: int, batches: int) -> None:
    assert Schedule().batches(images) == batches


def test_training_rows_are_never_those_held_out() -> None:
    shown: list[torch.Tensor] = []

    def watch(batch: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        del rng
        shown.append(batch[:, 0])
        return batch

    rows = torch.arange(200.0)[:, None].expand(200, 4) / 200
    labels = np.arange(200) % 2
    train_network(linear, rows, labels, SHORT, seed=3, augment=watch)
    seen = np.unique((torch.cat(shown) * 200).round().numpy().astype(int))
    held = validation_rows(labels, int(np.random.SeedSequence(3).generate_state(3)[0]))
    assert np.array_equal(seen, np.flatnonzero(~held))


def test_a_run_that_no_longer_improves_stops_early_and_keeps_its_best_epoch() -> None:
    """The held-out rows say the opposite of the others, so that each epoch is worse than the one before."""
    labels = np.arange(400) % 2
    held = validation_rows(labels, int(np.random.SeedSequence(0).generate_state(3)[0]))
    signs = np.where(held, -1.0, 1.0) * (2 * labels - 1)
    rows = torch.from_numpy(signs[:, None] * np.ones((1, 4))).float()
    steps = 0

    def count(batch: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        nonlocal steps
        del rng
        steps += 1
        return batch

    schedule = Schedule(most_epochs=30, learning_rate=0.1)
    network = train_network(linear, rows, labels, schedule, 0, count)
    assert steps == (1 + schedule.patience(360)) * schedule.batches(360)
    trained = probabilities(network, rows)[~held]
    assert (trained[np.arange(360), labels[~held]] < 0.99).all()  # a later epoch would be sure of itself


def test_a_loss_that_is_not_finite_is_refused() -> None:
    rows = torch.full((40, 4), torch.inf)
    with pytest.raises(ValueError, match="training loss must be finite, got nan"):
        train_network(linear, rows, np.arange(40) % 2, SHORT, 0)


def test_blended_images_are_learned_too() -> None:
    labels = np.arange(400) % 2
    rows = torch.from_numpy((2 * labels - 1)[:, None] + np.random.default_rng(0).normal(0, 0.5, (400, 4))).float()
    network = train_network(linear, rows, labels, Schedule(most_epochs=10, learning_rate=0.05, mixup=True), 0)
    assert (probabilities(network, rows).argmax(axis=1) == labels).mean() > 0.95
