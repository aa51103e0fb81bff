"""Vessels: dark lines are found, a faint copy keeps them, another picture does not."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.draw import disk, line

from veilray_studies.vessels import vessel_dice, vessel_mask


def angiogram(seed: int) -> np.ndarray:
    """Three dark lines on a bright ground with a little noise, `(1, 1, 64, 64)`."""
    rng = np.random.default_rng(seed)
    picture = 200 + rng.normal(0, 2, (64, 64))
    for _ in range(3):
        rows, columns = line(*rng.integers(4, 60, 4))
        for shift in (0, 1):
            picture[rows + shift, columns] = 90
    return picture[None, None].astype(np.uint8)


def test_a_line_is_a_vessel_and_a_disc_is_not():
    picture = np.full((1, 1, 64, 64), 200, dtype=np.uint8)
    picture[0, 0, 10:12, 5:60] = 90
    picture[0, 0][disk((42, 32), 12)] = 90
    mask = vessel_mask(picture, share=0.03)[0]
    assert mask[10:12, 10:55].mean() > 0.9
    assert not mask[36:49, 26:39].any()


def test_a_faint_copy_keeps_its_vessels():
    some = angiogram(0)
    faint = (100 + some.astype(float) / 4).astype(np.uint8)
    assert vessel_dice(some, some)[0] == 1
    assert vessel_dice(some, faint)[0] > 0.8


def test_another_picture_has_other_vessels():
    own = np.concatenate([angiogram(seed) for seed in range(6)])
    assert vessel_dice(own, np.roll(own, 1, axis=0)).mean() < 0.4


def test_nothing_is_found_in_nothing():
    blank = np.full((2, 1, 32, 32), 50, dtype=np.uint8)
    assert not vessel_mask(blank).any()
    assert vessel_dice(blank, blank).tolist() == [0, 0]


def test_bright_vessels_are_looked_for_when_asked():
    bright = 255 - angiogram(1)
    assert vessel_dice(angiogram(1), bright)[0] < 0.5
    assert np.array_equal(vessel_mask(bright, dark=False), vessel_mask(angiogram(1)))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"images must be \(n, 1, h, w\) uint8"):
        vessel_mask(np.zeros((1, 3, 32, 32), dtype=np.uint8))
    with pytest.raises(ValueError, match="share must be between 0 and 1"):
        vessel_mask(np.zeros((1, 1, 32, 32), dtype=np.uint8), share=1)
    with pytest.raises(ValueError, match="must be of one shape"):
        vessel_dice(angiogram(0), angiogram(0)[..., :32])
