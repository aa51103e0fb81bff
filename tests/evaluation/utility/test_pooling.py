"""Pooling: the mean of each window, no side above the limit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilray.evaluation.utility.pooling import CHUNK, pooled


def test_windows_are_averaged() -> None:
    images = np.random.default_rng(0).integers(0, 65536, (CHUNK + 3, 2, 8, 4)).astype(np.uint16)
    expected = images.reshape(-1, 2, 4, 2, 2, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(pooled(images, 4), expected, rtol=1e-6)


def test_small_images_are_only_converted() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 28, 28)).astype(np.uint8)
    assert np.array_equal(pooled(images, 28), images.astype(np.float32))


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 32))
def test_no_side_is_above_the_limit_and_a_constant_stays(height: int, width: int, side: int) -> None:
    small = pooled(np.full((1, 1, height, width), 77, np.uint8), side)
    assert max(small.shape[2:]) <= side
    assert np.all(small == pytest.approx(77, rel=1e-6))
