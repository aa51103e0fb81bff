"""Regular expressions that cannot hang.

A layout comes from a file that a user was given, and Python's matcher backtracks: `(a+)+$` on thirty characters runs
for hours. Two bounds prevent it. A path is at most `LONGEST_PATH` characters, and a pattern is refused unless the
number of ways the matcher can try it on such a path, counted from the pattern alone, is at most `MOST_WAYS`.

Counting: characters in sequence multiply, alternatives add, `x?` has two ways, `x{m,n}` has n - m + 1, `x*` and `x+`
have as many as a path has characters. A possessive repeat (`x++`, `x*+`, Python 3.11) never gives back and has one
way. A group may be optional but not repeated. Back references, look-around and inline flags are refused.
"""

from __future__ import annotations

import re

__all__ = ["LONGEST_PATH", "MOST_WAYS", "compile_bounded"]

LONGEST_PATH = 1_024
MOST_WAYS = 10_000
_LONGEST_PATTERN = 1_000
_DEEPEST = 20
_REPEAT = re.compile(r"\{(\d*)(?:(,)(\d*))?\}")
_GROUP = re.compile(r"\((?:\?P<\w+>|\?:|\?>)?")
_CURE = "write {1,6} or a possessive repeat such as [^/]++"


def compile_bounded(pattern: str) -> re.Pattern[str]:
    """Compile a pattern whose time on any path is bounded; `.` matches every character.

    Raises:
        ValueError: the pattern is too long, not valid, uses what is not allowed, or could try too many ways.
    """
    if len(pattern) > _LONGEST_PATTERN:
        raise ValueError(f"pattern must be at most {_LONGEST_PATTERN} characters, got {len(pattern)}")
    try:
        compiled = re.compile(pattern, re.DOTALL)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"pattern must be a regular expression, got {pattern!r}: {error}") from None
    ways = _Counter(pattern).count()
    if ways > MOST_WAYS:
        raise ValueError(
            f"pattern must have at most {MOST_WAYS} ways to match a path, got {ways} in {pattern!r}: {_CURE}"
        )
    return compiled


class _Counter:
    """Recursive descent over a valid pattern, counting ways."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0

    def count(self) -> int:
        return self._alternatives(0)

    def _alternatives(self, depth: int) -> int:
        if depth > _DEEPEST:
            raise ValueError(f"pattern must have groups at most {_DEEPEST} deep, got more")
        ways = self._sequence(depth)
        while self._peek() == "|":
            self.at += 1
            ways += self._sequence(depth)
        return ways

    def _sequence(self, depth: int) -> int:
        ways = 1
        while self._peek() not in ("", "|", ")"):
            group = self._peek() == "("
            inner = self._group(depth) if group else self._character()
            ways *= self._repeated(inner, group)
        return ways

    def _group(self, depth: int) -> int:
        opening = _GROUP.match(self.pattern, self.at)
        assert opening is not None
        self.at = opening.end()
        if self._peek() == "?":
            raise ValueError(
                f"pattern must use only (...), (?:...), (?>...) and (?P<name>...) groups, got {self.pattern!r}"
            )
        ways = self._alternatives(depth + 1)
        self.at += 1
        return ways

    def _character(self) -> int:
        start = self.pattern[self.at]
        self.at += 1
        if start == "\\":
            if self._peek() in "123456789":
                raise ValueError(f"pattern must not refer back to a group, got {self.pattern!r}")
            self.at += 1
        elif start == "[":
            self.at += self._peek() == "^"
            self.at += self._peek() == "]"
            while self._peek() != "]":
                self.at += 2 if self._peek() == "\\" else 1
            self.at += 1
        return 1

    def _repeated(self, inner: int, group: bool) -> int:
        least, most = 1, 1
        braces = _REPEAT.match(self.pattern, self.at)
        if self._peek() in ("*", "+", "?") and self._peek():
            least, most = {"*": (0, LONGEST_PATH), "+": (1, LONGEST_PATH), "?": (0, 1)}[self._peek()]
            self.at += 1
        elif braces and braces.group() != "{}":
            low, comma, high = braces.groups()
            least = int(low or 0)
            most = int(high) if high else (LONGEST_PATH if comma else least)
            self.at = braces.end()
        else:
            return inner
        if group and most > 1:
            raise ValueError(f"pattern must not repeat a group, got {self.pattern!r}: {_CURE}")
        possessive = self._peek() == "+"
        self.at += self._peek() in ("+", "?") and self._peek() != ""
        if group:
            return inner + (least == 0)
        return 1 if possessive else max(1, min(most, LONGEST_PATH) - least + 1)

    def _peek(self) -> str:
        return self.pattern[self.at : self.at + 1]
