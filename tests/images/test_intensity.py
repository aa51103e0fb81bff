"""The public intensity rule: which stored values are black and white is stated, never asked of the values."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from veilray.images import FULL_RANGE, RULE, Collection, Geometry, IntensityRule, Reading, parse_range

DTYPES = [np.uint8, np.uint16, np.int16, np.int32, np.uint32, np.int64, np.float32, np.float64]
bounds = st.tuples(st.integers(-5_000, 70_000), st.integers(1, 70_000)).map(lambda pair: (pair[0], sum(pair)))


@given(st.sampled_from(DTYPES), bounds, st.booleans(), st.data())
def test_values_are_mapped_exactly_and_clipped(dtype, pair, invert, data):
    low, high = pair
    whole = np.dtype(dtype) if np.dtype(dtype).kind in "iu" else np.dtype(np.int32)
    elements = st.integers(max(np.iinfo(whole).min, -6_000), min(np.iinfo(whole).max, 150_000))
    values = data.draw(arrays(whole, (3, 2, 1), elements=elements)).astype(dtype)
    seen = IntensityRule((low, high), invert).apply(values)
    assert seen.dtype == np.uint16
    for value, got in zip(values.reshape(-1).tolist(), seen.reshape(-1).tolist(), strict=True):
        share = Fraction(min(max(int(value), low), high) - low, high - low) * 65535
        wanted = int(share + Fraction(1, 2))
        assert got == (65535 - wanted if invert else wanted)


@pytest.mark.parametrize(("pair", "dtype"), [((0, 255), np.uint8), ((0, 65535), np.uint16)])
def test_the_full_range_changes_nothing(pair, dtype):
    values = np.arange(256, dtype=np.uint8).astype(dtype).reshape(16, 16, 1) * (257 if dtype == np.uint16 else 1)
    wide = IntensityRule(pair).apply(values)
    assert np.array_equal(wide, values.astype(np.uint16) * (257 if dtype == np.uint8 else 1))
    assert FULL_RANGE.apply(values) is values


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_inversion_exchanges_black_and_white_of_the_type(dtype):
    white = np.iinfo(dtype).max
    assert IntensityRule(invert=True).apply(np.array([0, 1, white], dtype)).tolist() == [white, white - 1, 0]


def test_big_endian_values_are_taken_by_value():
    values = np.array([[-1000, 0, 3000]], ">i2")
    assert IntensityRule((-1000, 3000)).apply(values).tolist() == [[0, 16384, 65535]]


def test_what_is_no_number_is_black_and_decides_nothing():
    assert IntensityRule((0, 1)).apply(np.array([np.nan, np.inf, -np.inf, 0.5])).tolist() == [0, 65535, 0, 32768]


@pytest.mark.parametrize("text", ["0:4095", (0, 4095), (0.0, 4095.0)])
def test_a_range_is_a_text_or_a_pair(text):
    assert parse_range(text) == (0.0, 4095.0)


def test_a_range_may_be_below_zero_or_full():
    assert parse_range("-1024:3071") == (-1024.0, 3071.0)
    assert parse_range("full") is None


@pytest.mark.parametrize("text", ["", "5", "1:2:3", "a:b", "5:5", "9:1", "nan:1", "0:inf", "0:9e99", (1,), 7])
def test_what_is_no_range_is_named(text):
    with pytest.raises(ValueError, match="range must be LOW:HIGH"):
        Reading(range=text)


def test_twelve_bits_in_sixteen_are_seen_in_full(tmp_path):
    values = np.array([[0, 4095], [2048, 5000]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    with Collection.open(tmp_path, reading=Reading(range="0:4095")) as collection:
        assert collection.read(collection.refs[0], Geometry(2)).tolist() == [[[0, 255], [128, 255]]]
        assert "stored values 0 to 4095 become 0 to 65535" in collection.geometry_rule
        assert collection.read_original(collection.refs[0])[0].tolist() == values.tolist()
    with Collection.open(tmp_path, reading=Reading(range="0:4095", invert=True)) as collection:
        assert collection.read(collection.refs[0], Geometry(2)).tolist() == [[[255, 0], [127, 0]]]
        assert "black and white are exchanged" in collection.geometry_rule
    with Collection.open(tmp_path) as collection:
        assert collection.geometry_rule == RULE


def test_the_models_rule_holds_unless_the_user_says_another():
    model = IntensityRule((0, 4095), invert=True)
    assert Reading().for_model(model).intensity == model
    assert Reading(range="full").for_model(model).intensity == IntensityRule(invert=True)
    assert Reading(invert=False).for_model(model).intensity == IntensityRule((0, 4095))
    assert Reading().for_model(None).intensity == FULL_RANGE


def test_a_resumed_run_is_asked_for_what_was_said():
    assert Reading().asked() == {"root": None, "layout": "folders"}
    said = Reading(split="train", images_per_patient=2, range="0:4095", invert=True, columns={"label": "x"}).asked()
    assert said == {
        "root": None,
        "layout": "folders",
        "columns": {"label": "x"},
        "split": "train",
        "images_per_patient": 2,
        "range": [0.0, 4095.0],
        "invert": True,
    }
