"""Geometry: one public rule for every image, which crops nothing and looks at no value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from veilray.images import RULE, Geometry, Original, fit, restore

sides = st.integers(1, 40)
bits = st.sampled_from([8, 16])
channels = st.sampled_from([1, 3])


@st.composite
def pictures(draw):
    dtype = np.uint8 if draw(bits) == 8 else np.uint16
    return draw(arrays.arrays(dtype, (draw(sides), draw(sides), draw(channels))))


@given(pictures(), st.integers(1, 48), channels, bits)
@settings(max_examples=80, deadline=None)
def test_fit_gives_the_models_shape_and_type(image, size, count, depth):
    geometry = Geometry(size, count, depth)
    fitted = fit(image, geometry)
    assert fitted.shape == geometry.shape == (count, size, size)
    assert fitted.dtype == geometry.dtype
    assert fitted.flags.c_contiguous


@given(pictures(), st.integers(1, 48), channels, bits)
@settings(max_examples=80, deadline=None)
def test_restore_gives_the_sources_shape_and_type(image, size, count, depth):
    original = Original(*image.shape[:2], image.shape[2], 8 * image.dtype.itemsize)
    restored = restore(fit(image, Geometry(size, count, depth)), original)
    assert restored.shape == (image.shape[2], *image.shape[:2])
    assert restored.dtype == image.dtype


@given(pictures())
@settings(max_examples=60, deadline=None)
def test_fit_and_restore_lose_nothing_when_no_pixel_is_resized(image):
    height, width, count = image.shape
    depth = 8 * image.dtype.itemsize
    fitted = fit(image, Geometry(max(height, width), count, depth))
    restored = restore(fitted, Original(height, width, count, depth))
    assert np.array_equal(restored, np.moveaxis(image, 2, 0))


@given(sides, sides, st.integers(1, 40), st.data())
@settings(max_examples=80, deadline=None)
def test_every_source_pixel_is_represented(height, width, size, data):
    side = max(height, width)
    size = min(size, side)
    image = np.zeros((height, width), np.uint16)
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    image[row, column] = 65535
    mass = fit(image, Geometry(size, 1, 16)).astype(np.float64).sum() * (side / size) ** 2
    rounding = 0.5 * 4 * (side / size) ** 2  # a source pixel lies in four output pixels at most
    assert abs(mass - 65535) <= rounding


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 255), bits)
@settings(max_examples=60, deadline=None)
def test_a_constant_square_stays_constant(side, size, value, depth):
    fitted = fit(np.full((side, side), value, np.uint8), Geometry(size, 1, depth))
    assert np.all(fitted == value * (257 if depth == 16 else 1))


def test_padding_is_zero_centred_and_the_odd_row_goes_below():
    fitted = fit(np.full((2, 5), 9, np.uint8), Geometry(5))[0]
    assert fitted.sum(axis=1).tolist() == [0, 45, 45, 0, 0]


@pytest.mark.parametrize("value", range(256))
def test_bit_depths_round_trip(value):
    wide = fit(np.full((1, 1), value, np.uint8), Geometry(1, 1, 16))
    assert wide[0, 0, 0] == value * 257
    assert fit(wide[0], Geometry(1, 1, 8))[0, 0, 0] == value


def test_sixteen_to_eight_bits_rounds_to_the_nearest_level():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    fitted = fit(values, Geometry(256))[0].ravel()
    assert np.array_equal(fitted, np.floor(np.arange(65536) * 255 / 65535 + 0.5))


def test_grey_is_itu_r_601_luma():
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]] * 3, np.uint8)
    assert fit(colours, Geometry(3))[0, 0].tolist() == [76, 150, 29]


@given(arrays.arrays(np.uint16, (4, 4)))
@settings(max_examples=30, deadline=None)
def test_grey_survives_replication(image):
    colour = fit(image, Geometry(4, 3, 16))
    assert np.array_equal(fit(np.moveaxis(colour, 0, 2), Geometry(4, 1, 16))[0], image)


def test_shrinking_averages_areas_in_sixteen_bits():
    image = np.array([[0, 65535], [65535, 65535]], np.uint16)
    assert fit(image, Geometry(1, 1, 16))[0, 0, 0] == 49151  # 49151.25


def test_no_window_is_taken_from_the_image():
    dim = np.full((8, 8), 3, np.uint8)
    dim[0, 0] = 4
    assert fit(dim, Geometry(8)).max() == 4


def test_a_big_endian_image_is_read_by_value():
    image = np.array([[1, 256], [2, 512]], np.uint16)
    assert np.array_equal(fit(image.astype(">u2"), Geometry(2, 1, 16))[0], image)


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint32, np.bool_])
def test_other_types_are_refused(dtype):
    with pytest.raises(ValueError, match="image must be uint8 or uint16, got"):
        fit(np.zeros((2, 2), dtype), Geometry(2))


@pytest.mark.parametrize("shape", [(4,), (4, 4, 2), (4, 4, 4), (0, 4), (1, 2, 2, 1)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="image must be"):
        fit(np.zeros(shape, np.uint8), Geometry(2))


@pytest.mark.parametrize(("size", "count", "depth"), [(0, 1, 8), (4, 2, 8), (4, 1, 12), (10**6, 1, 8), (4.0, 1, 8)])
def test_geometry_refuses_what_it_does_not_know(size, count, depth):
    with pytest.raises(ValueError, match="must be"):
        Geometry(size, count, depth)


def test_the_rule_is_printable():
    assert "Nothing is cropped" in RULE
