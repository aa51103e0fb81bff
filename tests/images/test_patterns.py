"""Patterns that cannot hang."""

from __future__ import annotations

import time

import pytest

from veilray.images.patterns import LONGEST_PATH, MOST_WAYS, compile_bounded


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+",
        r"(?:a|a)*",
        r"(?P<x>[a-z]{1,3}){2,5}",
        r"a*a*a*b",
        r".*/.*\.png",
        r"(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)",
        r"a?" * 14,
        r"[^/]{1,}[^/]{1,}x",
    ],
)
def test_patterns_with_too_many_ways_are_refused(pattern):
    with pytest.raises(ValueError, match=r"pattern must (have at most|not repeat)"):
        compile_bounded(pattern)


@pytest.mark.parametrize("pattern", [r"(a)\1", r"(?=a)a", r"(?<!a)b", r"(?i)a", r"(?P<x>a)(?P=x)", r"(?P<x>a)?(?(x)b)"])
def test_look_around_references_and_flags_are_refused(pattern):
    with pytest.raises(ValueError, match="pattern must"):
        compile_bounded(pattern)


@pytest.mark.parametrize("pattern", [r"(", r"[a", r"*", r"a{2,1}", "(" * 200 + ")" * 200, "a" * 1_001])
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(ValueError, match="pattern must"):
        compile_bounded(pattern)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"(?P<a>[^/]++)/(?P<b>[^/]++)/.++", "x/y/z/w.png"),
        (r"[]a]{1,3}\.png", "]a.png"),
        (r"[^]\]]\{2}", "a{2}"),
        (r"a{}", "a{}"),
        (r"\d{1,6}(?:-\d{1,6})?", "12-3"),
        (r"(?>a|b)c", "bc"),
        (r"IM-(?P<n>[0-9]{4})\.jpe?g", "IM-0001.jpg"),
    ],
)
def test_bounded_patterns_match_as_python_does(pattern, text):
    assert compile_bounded(pattern).fullmatch(text)


def test_the_worst_pattern_that_is_taken_ends_quickly():
    pattern = compile_bounded(r"a{1,99}a{1,99}b")
    start = time.perf_counter()
    assert not pattern.fullmatch("a" * LONGEST_PATH)
    assert time.perf_counter() - start < 1
    assert MOST_WAYS >= 99 * 99
