"""One person, one key; one name, one spelling."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilray.text import cell_text, normal_text, patient_key


@pytest.mark.parametrize(
    "written", ["7", "7.0", "7.00", " 7", "7 ", "7\u00a0", "\ufeff7", "7\0", 7, 7.0, np.float64(7), np.int64(7)]
)
def test_seven_is_seven_however_it_is_held(written: object) -> None:
    assert patient_key(written) == "7"


def test_an_umlaut_is_one_however_it_is_composed() -> None:
    assert patient_key(unicodedata.normalize("NFD", "Müller")) == patient_key("Müller") == "Müller"


@pytest.mark.parametrize(
    "pair", [("a", "A"), ("007", "7"), ("1.5", "1"), ("1.10", "1.1"), ("7.0a", "7a"), ("A B", "AB")]
)
def test_what_may_be_two_persons_stays_two(pair: tuple[str, str]) -> None:
    assert patient_key(pair[0]) != patient_key(pair[1])


@pytest.mark.parametrize(
    "nothing", [None, float("nan"), np.float64("nan"), np.datetime64("NaT"), "", "  ", "\ufeff \0"]
)
def test_nothing_is_no_key(nothing: object) -> None:
    assert patient_key(nothing) is None
    assert cell_text(nothing) is None


def test_two_hospitals_number_alike() -> None:
    assert patient_key("7", issuer=" A ") == "7^^^A"
    assert patient_key("7", issuer="A") != patient_key("7", issuer="B")
    assert patient_key("7", issuer="") == patient_key("7", issuer=None) == "7"
    assert patient_key(None, issuer="A") is None


@given(st.text(max_size=20))
def test_the_normal_form_is_its_own(text: str) -> None:
    once = normal_text(text)
    assert normal_text(once) == once
    key = patient_key(text)
    assert key is None or patient_key(key) == key


@given(st.text(max_size=20), st.sampled_from([" ", "\t", "\u00a0", "\u3000", "\ufeff", "\0", "\u200b"]))
def test_outer_blanks_are_a_slip_of_the_pen(text: str, blank: str) -> None:
    assert patient_key(f"{blank}{text}{blank}") == patient_key(text)


@given(st.text(max_size=20))
def test_keys_do_not_depend_on_the_composition_of_signs(text: str) -> None:
    composed, apart = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert patient_key(composed) == patient_key(apart)


def test_a_missing_cell_of_pandas_is_no_key() -> None:
    pandas = pytest.importorskip("pandas", reason='pip install "veilray[tables]"')
    assert patient_key(pandas.NA) is None
    assert patient_key(pandas.NaT) is None


def test_infinity_is_no_whole_number() -> None:
    assert cell_text(float("inf")) == "inf"
