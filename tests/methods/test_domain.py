"""Distance from the model's domain."""

from __future__ import annotations

import numpy as np
import pytest

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
    assert 0.01 < domain.outside(scores).mean() < 0.03
    assert domain.outside(scores + 10).all()
    assert Domain.from_dict(domain.to_dict()) == domain


def test_a_whole_set_that_moved_is_seen_where_no_image_is_outside() -> None:
    rng = np.random.default_rng(0)
    domain = Domain.of(np.concatenate([rng.normal(size=900), rng.normal(6, 0.1, size=100)]))
    moved = np.full(50, 3.0) + rng.normal(0, 0.1, 50)
    assert not domain.outside(moved).any()
    assert domain.separation(moved) > 0.8
    assert domain.separation(rng.normal(size=2000)) < 0.2


@pytest.mark.parametrize("told", [{}, {"percentiles": [1, 2], "images": 3}, {"percentiles": None, "images": 1}])
def test_what_is_no_domain_is_refused(told: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        Domain.from_dict(told)
