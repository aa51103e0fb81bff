"""Nulls: the label goes in and no image does, often enough, and what comes out is fit for `best_null`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from veilray.evaluation.controls import best_null
from veilray.evaluation.nulls import null_scores, public_only
from veilray.evaluation.utility.base import Floats, Learner, Space

RNG = np.random.default_rng(0)
TEST_LABELS = np.arange(40) % 2


def pictures(labels: np.ndarray, seed: int) -> np.ndarray:
    """Pictures that are brighter for label 1, with noise."""
    noise = np.random.default_rng(seed).integers(0, 20, (len(labels), 1, 2, 2))
    return (noise + 100 * labels[:, None, None, None]).astype(np.uint8)


class Brightness(Learner):
    """Halfway between the mean of either class."""

    name = "brightness"
    space: Space = "image"  # type: ignore[misc]

    def _fit(self, inputs: np.ndarray, labels: np.ndarray, seed: int) -> None:
        del seed
        self._means = [inputs[labels == label].mean() for label in (0, 1)]

    def _probabilities(self, inputs: np.ndarray) -> Floats:
        distances = np.abs(inputs.mean(axis=(1, 2, 3))[:, None] - np.array(self._means)) + 1e-9
        return distances[:, ::-1] / distances.sum(axis=1, keepdims=True)


TEST = pictures(TEST_LABELS, 1)
LABELS = RNG.integers(0, 2, 60)


def test_a_conditional_sampler_alone_is_useful() -> None:
    scores = null_scores(pictures, LABELS, Brightness(), TEST, TEST_LABELS)
    assert len(scores) == 20
    assert best_null({"null-conditional": scores}, chance=0.5).value == 1


def test_a_sampler_that_ignores_the_label_is_worth_chance() -> None:
    def blind(labels: np.ndarray, seed: int) -> np.ndarray:
        return pictures(np.random.default_rng(seed).permutation(labels), seed)

    noisy = np.random.default_rng(1).integers(0, 256, (200, 1, 2, 2)).astype(np.uint8)
    scores = null_scores(blind, LABELS, Brightness(), noisy, np.arange(200) % 2, draws=30)
    assert np.mean(scores) == pytest.approx(0.5, abs=0.08)


def test_every_draw_has_a_seed_of_its_own_and_sees_labels_only() -> None:
    seen: list[tuple[Any, int]] = []

    def watch(labels: np.ndarray, seed: int) -> np.ndarray:
        seen.append((labels, seed))
        return pictures(labels, seed)

    null_scores(watch, LABELS, Brightness(), TEST, TEST_LABELS, draws=25, seed=3)
    assert len({seed for _, seed in seen}) == 25
    assert all(labels is LABELS for labels, _ in seen)


def test_public_images_are_scored_as_often() -> None:
    scores = public_only(Brightness(), pictures(LABELS, 5), LABELS, TEST, TEST_LABELS)
    assert best_null({"public-only": scores}, chance=0.5).count == 20


def test_too_few_draws_and_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="draws must be 20 or more, got 19"):
        null_scores(pictures, LABELS, Brightness(), TEST, TEST_LABELS, draws=19)
    with pytest.raises(ValueError, match="one image for each of 60 labels, got 59"):
        null_scores(lambda labels, seed: pictures(labels[1:], seed), LABELS, Brightness(), TEST, TEST_LABELS)
