"""A name is shown, and never obeyed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilray.text.printable import printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\x1b[2J", "a\\x1b[2J"),
        ("a\nreleased: 9", "a\\nreleased: 9"),
        ("a\rb\tc", "a\\rb\\tc"),
        ("a\x07\x7f\x9b31m", "a\\x07\\x7f\\x9b31m"),
        ("scan\u202egnp.exe", "scan\\u202egnp.exe"),
        ("a\u2066b\u200b\ufeff", "a\\u2066b\\u200b\\ufeff"),
        ("a\u2028b\u00a0c", "a\\u2028b\\xa0c"),
        ("a\udc80", "a\\udc80"),
        ("a\U000e0041", "a\\U000e0041"),
    ],
)
def test_what_a_terminal_obeys_is_written_out(name: str, shown: str) -> None:
    assert printable(name) == shown


@pytest.mark.parametrize("name", ["", "Müller 7.png", "胸部 X線.dcm", "a [red]b[/red] :bomb: \\x1b", "🫁"])
def test_what_is_visible_stays(name: str) -> None:
    assert printable(name) == name


def test_line_breaks_of_our_own_may_stay() -> None:
    assert printable("one\ntwo\x1b", keep="\n") == "one\ntwo\\x1b"


def test_a_path_or_an_error_is_text() -> None:
    assert printable(ValueError("a\x1b")) == "a\\x1b"


@given(st.text(st.characters(), max_size=30))
def test_everything_comes_out_visible_and_can_be_encoded(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode("utf-8")
    assert printable(shown) == shown
