"""Distance from the model's domain."""

from __future__ import annotations

import numpy as np

from veilray.methods.domain import Domain, complexity


def test_flat_images_are_simple_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    flat = np.full((2, 1, 32, 32), 17, np.uint8)
    noise = rng.integers(0, 256, (2, 1, 32, 32), dtype=np.uint8)
    assert complexity(flat).max() < 0.5
    assert complexity(noise).min() > 7.5
    assert complexity(noise[:0]).shape == (0,)


def test_scores_of_the_validation_images_are_inside_and_far_ones_outside() -> None:
    scores = np.random.default_rng(0).normal(size=2000)
    domain = Domain.of(scores)
    assert domain.outside(scores).mean() < 0.005
    assert domain.outside(scores + 10).all()
    assert Domain(**domain.to_dict()) == domain
