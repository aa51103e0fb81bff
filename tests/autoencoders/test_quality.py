"""Likeness: known values."""

from __future__ import annotations

import numpy as np
import pytest

from veilray.autoencoders import likeness


def test_equal_pictures_are_alike() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (40, 1, 16, 16), dtype=np.uint8)
    assert likeness(pictures, pictures) == {"ssim": pytest.approx(1), "psnr": 100}


def test_psnr_is_that_of_the_mean_squared_error() -> None:
    pictures = np.full((40, 1, 16, 16), 100, np.uint8)
    assert likeness(pictures, pictures + np.uint8(5))["psnr"] == pytest.approx(20 * np.log10(255 / 5), abs=1e-4)


def test_unequal_numbers_are_refused() -> None:
    pictures = np.zeros((2, 1, 16, 16), np.uint8)
    with pytest.raises(ValueError, match="equally many"):
        likeness(pictures, pictures[:1])
