"""Resampling: exact, and equal to its definition."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from veilray.images.resample import enlarge, shrink

squares = st.integers(1, 9).flatmap(lambda n: arrays.arrays(np.uint16, (1, n, n), fill=st.nothing()))


@given(squares, st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_shrink_is_the_mean_of_areas(planes, size):
    side = planes.shape[1]
    size = min(size, side)
    fine = np.repeat(np.repeat(planes[0].astype(object), size, 0), size, 1)  # side*size cells each way
    got = shrink(planes, side, 0, 0, size)[0]
    for row in range(size):
        for column in range(size):
            area = fine[row * side : (row + 1) * side, column * side : (column + 1) * side]
            assert got[row, column] == int(Fraction(int(area.sum()), side * side) + Fraction(1, 2))


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_padding_that_is_not_made_counts_as_zeros(height, width, size):
    side = max(height, width)
    size = min(size, side)
    planes = np.random.default_rng(0).integers(0, 65536, (1, height, width), dtype=np.uint16)
    padded = np.zeros((1, side, side), np.uint16)
    top, left = (side - height) // 2, (side - width) // 2
    padded[:, top : top + height, left : left + width] = planes
    assert np.array_equal(shrink(planes, side, top, left, size), shrink(padded, side, 0, 0, size))


@given(squares, st.integers(0, 20))
@settings(max_examples=40, deadline=None)
def test_enlarge_is_bilinear_as_others_define_it(planes, more):
    side = planes.shape[1] + more
    plane = Image.fromarray(planes[0].astype(np.float32))
    expected = np.asarray(plane.resize((side, side), Image.Resampling.BILINEAR))
    assert np.abs(enlarge(planes, side, 0, 0, side, side)[0] - expected).max() <= 0.51


@given(squares, st.integers(0, 12), st.data())
@settings(max_examples=40, deadline=None)
def test_a_part_is_cut_from_the_whole(planes, more, data):
    side = planes.shape[1] + more
    top, left = data.draw(st.integers(0, side - 1)), data.draw(st.integers(0, side - 1))
    whole = enlarge(planes, side, 0, 0, side, side)
    assert np.array_equal(enlarge(planes, side, top, left, side - top, side - left), whole[:, top:, left:])


@pytest.mark.parametrize("value", [0, 1, 65535])
def test_the_longest_side_stays_exact(value):
    thin = np.full((1, 1, 65535), value, np.uint16)
    shrunk = shrink(thin, 65535, 32767, 0, 1)
    assert shrunk[0, 0, 0] == (2 * value + 65535) // (2 * 65535)
    spread = enlarge(np.full((1, 2, 2), value, np.uint16), 65535, 32767, 0, 1, 65535)
    assert np.all(spread == value)
