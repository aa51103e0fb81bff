"""Columns: which texts they take, and that whatever is written can be read."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from veilray.tables import Column

AGE = Column(name="age", kind="integer", low=0, high=120)
BMI = Column(name="bmi", kind="continuous", low=-5, high=100, missing=True)
SEX = Column(name="sex", kind="categorical", levels=("f", "m"))
DAY = Column(name="day", kind="date", low="2000-01-01", high="2020-12-31")


@st.composite
def columns(draw):
    kind = draw(st.sampled_from(["continuous", "integer", "ordinal", "categorical", "date"]))
    missing = draw(st.booleans())
    if kind in ("ordinal", "categorical"):
        levels = draw(st.lists(st.text("abcXYZ 09,;\"'ü", min_size=1, max_size=6), min_size=2, max_size=6, unique=True))
        levels = tuple(dict.fromkeys(f"L{level}L" for level in levels))
        return Column(name="c", kind=kind, levels=levels, missing=missing)
    if kind == "date":
        low, high = sorted(draw(st.lists(st.dates(), min_size=2, max_size=2, unique=True)))
        return Column(name="c", kind=kind, low=low.isoformat(), high=high.isoformat(), missing=missing)
    decimals = 0 if kind == "integer" else draw(st.integers(0, 6))
    low, high = sorted(draw(st.lists(st.integers(-(10**8), 10**8), min_size=2, max_size=2, unique=True)))
    if kind == "integer":
        return Column(name="c", kind=kind, low=low, high=high, missing=missing)
    scale = 10**decimals
    return Column(name="c", kind=kind, low=low / scale, high=high / scale, missing=missing, decimals=decimals)


@settings(max_examples=200, deadline=None)
@given(columns(), st.lists(st.floats(), max_size=20))
def test_what_is_written_is_valid_and_read_back_as_it_was_snapped(column, values):
    snapped = column.snap(values)
    read, reasons = column.read(column.write(values))
    assert set(reasons) <= {""}
    np.testing.assert_array_equal(read, snapped)
    np.testing.assert_array_equal(column.snap(snapped), snapped)


@settings(max_examples=200, deadline=None)
@given(columns(), st.text(max_size=12))
def test_any_text_is_a_value_of_the_column_or_has_a_reason(column, text):
    (value,), (reason,) = column.read([text])
    low, high = column.span
    is_value = low <= value <= high or (math.isnan(value) and column.missing and reason == "")
    assert bool(is_value) == (reason == "")


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [
        (AGE, " 61 ", ""),
        (AGE, "61.0", ""),
        (AGE, "-0", ""),
        (AGE, "61.5", "wrong type"),
        (AGE, "121", "out of bounds"),
        (AGE, "1e400", "out of bounds"),
        (AGE, "inf", "wrong type"),
        (AGE, "1_0", "wrong type"),
        (AGE, "１２", "wrong type"),
        (AGE, "0x10", "wrong type"),
        (AGE, "nan", "missing"),
        (AGE, "NAN", "wrong type"),
        (AGE, "", "missing"),
        (AGE, None, "missing"),
        (BMI, "-4.5e0", ""),
        (BMI, "-1e400", "out of bounds"),
        (BMI, "?", ""),
        (BMI, "1,5", "wrong type"),
        (SEX, "f", ""),
        (SEX, "F", "unseen level"),
        (SEX, "=f", "unseen level"),
        (SEX, "NA", "missing"),
        (DAY, "2004-02-29", ""),
        (DAY, "2005-02-29", "wrong type"),
        (DAY, "0000-01-01", "wrong type"),
        (DAY, "9999-12-31", "out of bounds"),
        (DAY, "20040229", "wrong type"),
        (DAY, "2004-02-29 10:00", "wrong type"),
    ],
)
def test_a_cell_is_good_or_has_its_reason(column, text, reason):
    assert column.read([text])[1].tolist() == [reason]


def test_a_level_spelt_like_a_missing_word_is_that_level():
    drinks = Column(name="drinks", kind="ordinal", levels=("None", "Some"), missing=True)
    np.testing.assert_array_equal(drinks.read(["None", "NA"])[0], [0, math.nan])


def test_negative_zero_leaves_no_sign():
    assert not np.signbit(BMI.read(["-0.0"])[0])[0]
    assert BMI.write([-0.001]).tolist() == ["0.00"]


def test_a_missing_value_becomes_the_middle_where_none_may_be_missing():
    assert AGE.write([math.nan]).tolist() == ["60"]
    assert BMI.write([math.nan]).tolist() == [""]


def test_size_counts_the_values():
    assert (AGE.size, SEX.size, DAY.size, BMI.size) == (121, 2, 7671, None)


@pytest.mark.parametrize(
    ("low", "high", "decimals"), [(0, 120, 2), (0, 1, 4), (-0.1, 0.2, 4), (0.0025, 9, 4), (0, 10**15, 0)]
)
def test_decimals_follow_from_the_bounds(low, high, decimals):
    assert Column(name="c", kind="continuous", low=low, high=high).decimals == decimals


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"kind": "integer", "low": 0}, "high must be given for kind integer"),
        ({"kind": "integer", "low": 0, "high": 1.5}, "high must be a whole number"),
        ({"kind": "integer", "low": True, "high": 2}, "low must be a finite number"),
        ({"kind": "integer", "low": 3, "high": 3}, "low must be below high"),
        ({"kind": "integer", "low": 0, "high": 10**16}, "within 10\\^15"),
        ({"kind": "integer", "low": 0, "high": 9, "decimals": 1}, "decimals must be left out"),
        ({"kind": "integer", "low": 0, "high": 9, "levels": ("a", "b")}, "levels must be left out"),
        ({"kind": "continuous", "low": 0, "high": math.inf}, "high must be a finite number"),
        ({"kind": "continuous", "low": 0, "high": 0.125, "decimals": 2}, "high must have at most 2 decimals"),
        ({"kind": "continuous", "low": 0, "high": 10**9, "decimals": 9}, "decimals must be fewer"),
        ({"kind": "date", "low": "2001-02-29", "high": "2002-01-01"}, "low must be a day"),
        ({"kind": "date", "low": 2001, "high": "2002-01-01"}, "low must be a day"),
        ({"kind": "ordinal", "low": 0, "levels": ("a", "b")}, "low must be left out"),
        ({"kind": "categorical"}, "levels must be given"),
        ({"kind": "categorical", "levels": ("a",)}, "levels must be 2 to 256"),
        ({"kind": "categorical", "levels": tuple(f"l{n}" for n in range(257))}, "levels must be 2 to 256"),
        ({"kind": "categorical", "levels": ("a", "b", "a")}, "got 'a' twice"),
        ({"kind": "categorical", "levels": ("-1", "1")}, "name the level otherwise"),
        ({"kind": "categorical", "levels": ("a", " b")}, "begin or end with a blank"),
        ({"kind": "categorical", "levels": ("a", "b\nc")}, "no control characters"),
        ({"kind": "categorical", "levels": ("a", "")}, "1 to 64 characters"),
        ({"kind": "categorical", "levels": ("a", 1)}, "must be text, got 1: write it in quotes"),
    ],
)
def test_a_column_that_makes_no_sense_is_refused(told, message):
    with pytest.raises(ValidationError, match=message):
        Column(name="c", **told)


@pytest.mark.parametrize("name", ["=1+1", "+a", "-a", "@a", "\ta", "a\r", "", " a", "a" * 65, "a\u202eb", "a\0"])
def test_a_name_that_could_do_harm_is_refused(name):
    with pytest.raises(ValidationError):
        Column(name=name, kind="integer", low=0, high=1)
