from __future__ import annotations

import math
from datetime import date, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilray.text import PLAIN, Dialect, read_dialect
from veilray.text.dialect import DATE_FORMATS


@pytest.mark.parametrize(
    ("entries", "text", "number"),
    [
        ({}, "22.5", 22.5),
        ({}, "22,5", math.nan),
        ({}, "1,234", math.nan),
        ({"decimal": ","}, "22,5", 22.5),
        ({"decimal": ","}, "-,5e1", -5.0),
        ({"decimal": ","}, "22.5", math.nan),
        ({"thousands": ","}, "1,234.5", 1234.5),
        ({"thousands": ","}, "1234.5", 1234.5),
        ({"thousands": ","}, "1,23", math.nan),
        ({"thousands": ","}, "12,34,567", math.nan),
        ({"decimal": ",", "thousands": "."}, "1.234.567,8", 1234567.8),
        ({"decimal": ",", "thousands": " "}, "1\u202f234,8", 1234.8),
        ({"thousands": "'"}, "1'234", 1234.0),
    ],
)
def test_a_number_has_the_marks_of_its_dialect(entries, text, number):
    np.testing.assert_equal(Dialect(**entries).number(text), number)


@pytest.mark.parametrize(
    ("form", "text", "day"),
    [
        ("DD.MM.YYYY", "3.2.2001", date(2001, 2, 3)),
        ("DD/MM/YYYY", "03/02/2001", date(2001, 2, 3)),
        ("MM/DD/YYYY", "02/03/2001", date(2001, 2, 3)),
        ("YYYYMMDD", "20010203", date(2001, 2, 3)),
        ("YYYYMMDD", "20010203.0", date(2001, 2, 3)),
        ("DDMMMYYYY", "03feb2001", date(2001, 2, 3)),
        ("DD-MMM-YYYY", "03-Feb-2001", date(2001, 2, 3)),
        ("DD.MM.YYYY", "2001-02-03", date(2001, 2, 3)),
        ("DD.MM.YYYY", "03.02.2001 00:00:00", date(2001, 2, 3)),
        ("MM/DD/YYYY", "2/3/2001 12:00:00 AM", date(2001, 2, 3)),
        ("YYYY-MM-DD", "2001-02-03 00:00:00+01:00", date(2001, 2, 3)),
        ("YYYY-MM-DD", "2001-02-03 08:00", None),
        ("YYYY-MM-DD", "03.02.2001", None),
        ("DD.MM.YYYY", "02/03/2001", None),
        ("DD.MM.YYYY", "30.02.2001", None),
        ("DD.MM.YYYY", "03.02.01", None),
        ("YYYY-MM-DD", "20010203", None),
    ],
)
def test_a_day_has_the_format_of_its_dialect_or_is_written_as_year_month_day(form, text, day):
    assert Dialect(date=form).day(text) == day


@given(st.sampled_from(DATE_FORMATS), st.dates(date(1000, 1, 1)))
def test_every_format_reads_what_it_says(form, day):
    months = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
    text = form.replace("YYYY", f"{day.year:04}").replace("MMM", months[day.month - 1])
    text = text.replace("MM", f"{day.month:02}") if "MMM" not in form else text
    assert Dialect(date=form).day(text.replace("DD", f"{day.day:02}", 1)) == day


def test_only_a_time_other_than_midnight_is_one():
    assert PLAIN.has_time("2001-02-03 08:00")
    assert not PLAIN.has_time("2001-02-03 00:00:00")
    assert not PLAIN.has_time("about 08:00")


def test_missing_are_the_empty_cell_and_the_words_and_no_others():
    assert all(map(PLAIN.is_missing, ("", "NA", "NULL", "#N/A", ".", "NaT", "<NA>", "n/a", "nan")))
    assert not any(map(PLAIN.is_missing, ("none", "-", "unknown", "na", "0")))
    assert not Dialect(missing=()).is_missing("NA")
    assert Dialect(missing=()).is_missing("")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (math.nan, ""),
        (np.datetime64("NaT"), ""),
        (True, "True"),
        (np.bool_(False), "False"),
        (7.0, "7"),
        (-0.0, "0"),
        (22.5, "22,5"),
        (np.int64(3), "3"),
        (datetime(2001, 2, 3), "2001-02-03"),
        (datetime(2001, 2, 3, tzinfo=timezone(timedelta(hours=2))), "2001-02-03"),
        (datetime(2001, 2, 3, 8), "2001-02-03 08:00:00"),
        (date(2001, 2, 3), "2001-02-03"),
        (" Mu\u0308ller ", "M\u00fcller"),
    ],
)
def test_a_cell_that_has_a_type_is_written_in_the_dialect(value, text):
    assert Dialect(decimal=",").written(value) == text


@pytest.mark.parametrize(
    ("text", "plain"),
    [("22,50", "22.50"), ("1.000,0", "1000"), ("3.2.2001", "2001-02-03"), ("NA", None), ("007", "007")],
)
def test_a_cell_of_no_declared_kind_is_brought_to_the_default_dialect(text, plain):
    assert Dialect(decimal=",", thousands=".", date="DD.MM.YYYY").plain(text) == plain


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"delimiter": "ab"}, "delimiter must be auto, comma, semicolon, tab, pipe or one sign, got 'ab'"),
        ({"delimiter": '"'}, "delimiter must be"),
        ({"decimal": ";"}, "decimal must be '.' or ',', got ';'"),
        ({"thousands": "."}, "thousands must be another sign than decimal"),
        ({"date": "DD.MM.YY"}, "date must be one of YYYY-MM-DD, DD.MM.YYYY"),
        ({"date": None}, "date must be a valid string, got None"),
        ({"encoding": "rot13"}, "encoding must be auto or one of"),
        ({"encoding": "zip"}, "encoding must be auto or one of"),
        ({"colour": "red"}, "dialect must have only delimiter, decimal, thousands"),
        ({"missing": ["x" * 65]}, "missing must be at most"),
    ],
)
def test_an_entry_that_cannot_be_used_is_one_sentence(entries, message):
    with pytest.raises(ValueError) as caught:
        Dialect.of(entries)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_entries_change_the_base_in_order():
    base = Dialect(decimal=",", encoding="latin-1")
    assert read_dialect(None, base) == base
    assert read_dialect({"date": "YYYYMMDD"}, base) == base.changed({"date": "YYYYMMDD"})
    given_ = read_dialect(["delimiter=semicolon", "decimal=.", "missing=-", "missing=unknown"], base)
    assert (given_.delimiter, given_.decimal, given_.encoding) == (";", ".", "iso8859-1")
    assert given_.is_missing("-") and given_.is_missing("unknown") and given_.is_missing("NA")
    assert read_dialect(["missing="], base).missing == ()
    assert read_dialect(["default"], base) == PLAIN


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("d.toml", 'decimal = ","\ndate = "DD.MM.YYYY"'),
        ("d.yaml", 'decimal: ","\ndate: DD.MM.YYYY'),
        ("schema.yaml", 'columns: []\ndialect: {decimal: ",", date: DD.MM.YYYY}'),
    ],
)
def test_a_file_of_entries_is_read(tmp_path, name, text):
    if name.endswith("yaml"):
        pytest.importorskip("yaml", reason="the tables extra is not installed")
    (tmp_path / name).write_text(text)
    assert read_dialect(tmp_path / name) == Dialect(decimal=",", date="DD.MM.YYYY")
