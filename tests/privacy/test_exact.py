"""Exact numbers are read exactly, written exactly, and shown rounded up."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilray.privacy.exact import decimal_text, delta_text, exact, lower_text, magnitude, signed

FRACTIONS = st.fractions(min_value=0, max_value=10**9)


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [("0.1", Fraction(1, 10)), ("1/3", Fraction(1, 3)), (4, Fraction(4)), (Decimal("1e-6"), Fraction(1, 10**6))],
)
def test_reads_exactly(given_value, expected):
    assert exact(given_value) == expected


@pytest.mark.parametrize(
    "bad", [0.1, True, "nan", "inf", "-1", "-1/3", "1/0", "one", "1/2/3", "1e999", "0." + "9" * 63, "9" * 999, ""]
)
def test_refuses_what_is_not_an_exact_number(bad):
    with pytest.raises(ValueError, match="epsilon must"):
        exact(bad, "epsilon")


def test_a_float_is_told_how_to_be_written():
    with pytest.raises(ValueError, match=r'write it as a string, "0\.1"'):
        exact(0.1)


def test_a_fraction_too_long_to_be_read_back_is_refused():
    with pytest.raises(ValueError, match="at most 1024 characters"):
        exact(Fraction(1, 2**2000))


@given(FRACTIONS)
def test_text_of_a_fraction_reads_back(value):
    assert exact(str(value)) == value


@pytest.mark.parametrize("text", ["1e-400", "9.99e400", "0." + "1" * 62, "1." + "3" * 56 + "e-400"])
def test_every_accepted_decimal_reads_back_as_a_fraction(text):
    assert exact(str(exact(text))) == exact(text)


@given(FRACTIONS)
def test_decimals_are_never_below_the_fraction(value):
    shown = Fraction(decimal_text(value).replace(",", ""))
    assert shown >= value
    assert shown <= value * Fraction(1001, 1000)


def test_decimals_of_tiny_numbers_do_not_vanish():
    assert decimal_text(Fraction(1, 3 * 10**400)) == "3.334e-401"
    assert decimal_text(Fraction(0)) == "0"


DELTAS = st.one_of(
    st.fractions(min_value=0, max_value=1),
    st.builds(lambda n, d, p: Fraction(n, d) / 10**p, st.integers(0, 999), st.integers(1, 999), st.integers(0, 400)),
)


@given(DELTAS, st.integers(1, 6))
def test_a_printed_delta_is_never_below_the_delta(value, digits):
    shown = Fraction(delta_text(value, digits).replace(",", ""))
    assert value <= shown <= value * (1 + Fraction(10, 10**digits))


def test_a_delta_above_a_power_of_ten_is_not_shown_as_that_power():
    assert delta_text(Fraction("1.004e-6")) == "1.01e-6"
    assert delta_text(Fraction("9.996e-6")) == "1e-5"
    assert [delta_text(Fraction(each)) for each in ("0", "1e-6", "0.001", "0.25", "1")] == [
        "0", "1e-6", "0.001", "0.25", "1"
    ]  # fmt: skip


@given(FRACTIONS)
def test_a_certified_figure_is_never_shown_above_itself(value):
    shown = Fraction(lower_text(value).replace(",", ""))
    assert value * Fraction(999, 1000) <= shown <= value


@given(st.fractions())
def test_signed_numbers_are_read_from_what_they_are_written_as(value):
    assert signed(str(value)) == signed(value) == value


@pytest.mark.parametrize("bad", ["--1", "-", "- 1/0", -0.5, True, Decimal("NaN"), Decimal("-Infinity"), "-inf"])
def test_signed_refuses_what_exact_refuses(bad):
    with pytest.raises(ValueError, match="low must"):
        signed(bad, "low")


@given(st.fractions(min_value=Fraction(1, 10**9), max_value=10**9))
def test_the_magnitude_is_the_power_of_the_leading_figure(value):
    assert Fraction(10) ** magnitude(value) <= value < Fraction(10) ** (magnitude(value) + 1)
