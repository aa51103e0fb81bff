"""Distortion: equal pictures, the null reconstructor, and what small pictures allow."""

from __future__ import annotations

import numpy as np
import pytest

from veilray.evaluation.similarity.distortion import (
    IDENTICAL_PSNR,
    MEASURES,
    distortion,
    edge_strength,
    null_reconstruction,
    scales,
)


def pictures(count: int = 3, size: int = 32, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, channels, size, size)).astype(np.uint8)


@pytest.mark.parametrize(("size", "channels", "expected"), [(11, 1, 1), (28, 1, 2), (64, 3, 3), (176, 1, 5)])
def test_equal_pictures_are_equal_at_any_size(size, channels, expected):
    found = distortion(pictures(2, size, channels), pictures(2, size, channels))
    for name in MEASURES:
        assert found.measure(name) == pytest.approx(IDENTICAL_PSNR if name == "psnr" else 1, abs=1e-5)
    assert found.ms_ssim_scales == expected


def test_scales_are_five_from_where_they_were_published():
    assert [scales(side) for side in (11, 21, 22, 43, 44, 98, 99, 175, 176, 256)] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_psnr_is_that_of_the_mean_squared_error():
    some = np.full((2, 1, 32, 32), 100, dtype=np.uint8)
    assert distortion(some, some + 10).psnr == pytest.approx(20 * np.log10(255 / 10), abs=1e-4)


def test_rows_are_measured_apart():
    some, other = pictures(3), pictures(3)
    other[1] = 0
    found = distortion(some, other).ssim
    assert found[[0, 2]] == pytest.approx(1)
    assert found[1] < 0.1


def test_edges_ask_for_outlines_and_not_for_levels():
    some = np.zeros((1, 1, 32, 32), dtype=np.uint8)
    some[..., 16:] = 100
    brighter = some + np.uint8(100)
    found = distortion(some, brighter)
    assert found.edge_ssim == pytest.approx(1)
    assert found.ssim < 0.9
    assert edge_strength(some).max() == 100


def test_edges_of_one_picture_are_its_own():
    some = pictures(3)
    assert np.array_equal(edge_strength(some)[1:2], edge_strength(some[1:2]))


def test_the_null_reconstructor_is_the_mean_of_the_attackers_own():
    own = np.stack([np.full((1, 16, 16), value, dtype=np.uint8) for value in (10, 20, 33)])
    null = null_reconstruction(own, 4)
    assert null.shape == (4, 1, 16, 16)
    assert (null == 21).all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="of one shape"):
        distortion(pictures(3), pictures(2))
    with pytest.raises(ValueError, match="must be uint8"):
        distortion(pictures(2).astype(np.float32), pictures(2))
    with pytest.raises(ValueError, match="must be 11 x 11 or more"):
        distortion(pictures(2, 8), pictures(2, 8))
    with pytest.raises(ValueError, match="measure must be one of"):
        distortion(pictures(2), pictures(2)).measure("lpips")
