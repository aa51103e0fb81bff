"""Nulls that a recipient has without a single private image, drawn often enough to be held against a release.

`null-conditional` is what a class-conditional sampler of public images is worth: the labels that a release would show
go in, pictures of those labels come out, and no private image has a part in them. A method that hands the label through
in clear can look useful on the strength of this alone. `public-only` is what the public images themselves are worth.
Both give scores for `controls.best_null`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.evaluation.controls import FEWEST_DRAWS
from veilray.evaluation.utility.base import Learner
from veilray.evaluation.utility.tstr import Metric, score

__all__ = ["Sampler", "null_scores", "public_only"]

Sampler = Callable[[NDArray[Any], int], NDArray[Any]]
"""From labels `(n,)` and a seed to images `(n, c, h, w)`, one of each label; it knows public images only."""


def null_scores(
    sample: Sampler,
    labels: NDArray[Any],
    learner: Learner,
    test_images: NDArray[Any],
    test_labels: NDArray[Any],
    *,
    draws: int = FEWEST_DRAWS,
    seed: int = 0,
    metric: Metric | None = None,
) -> list[float]:
    """Train a learner on one conditional sample after another, test each on real images: `null-conditional`.

    Args:
        sample: a class-conditional sampler; each draw has a seed of its own.
        labels: `(n,)` the labels that the release shows: the true ones where they are public, the randomised ones where
            they are randomised.
        learner: the same family as on the release, not fitted.
        test_images: real images.
        test_labels: their classes.
        draws: 20 or more.
        seed: of the draws and of the learner.
        metric: as of `tstr.score`.

    Raises:
        ValueError: for fewer draws, a sample that is not one image a label, and what `tstr.score` refuses.
    """
    found = []
    for one in _seeds(draws, seed):
        images = sample(labels, one)
        if len(images) != len(labels):
            raise ValueError(f"sample must give one image for each of {len(labels)} labels, got {len(images)}")
        found.append(score(learner, images, labels, test_images, test_labels, metric, one).value)
    return found


def public_only(
    learner: Learner,
    public_images: NDArray[Any],
    public_labels: NDArray[Any],
    test_images: NDArray[Any],
    test_labels: NDArray[Any],
    *,
    draws: int = FEWEST_DRAWS,
    seed: int = 0,
    metric: Metric | None = None,
) -> list[float]:
    """Train a learner on the public images with their labels, test it on real ones: `public-only`.

    One fit for each draw: they differ in the learner's seed alone, and are equal for a learner that draws nothing.

    Raises:
        ValueError: for fewer than 20 draws, and what `tstr.score` refuses.
    """
    return [
        score(learner, public_images, public_labels, test_images, test_labels, metric, one).value
        for one in _seeds(draws, seed)
    ]


def _seeds(draws: int, seed: int) -> list[int]:
    if draws < FEWEST_DRAWS:
        raise ValueError(f"draws must be {FEWEST_DRAWS} or more, got {draws}")
    return [int(one) for one in np.random.SeedSequence(seed).generate_state(draws)]
