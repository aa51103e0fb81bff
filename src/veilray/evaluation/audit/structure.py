"""Structural tests: rules that a release must keep whatever its figures are. A registry line makes one known.

They need few draws and no statistics, and they catch what tells inputs apart without changing any one release's law:
rows that depend on each other, noise that comes twice, a refusal, a number of draws that follows the input.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from veilray.evaluation.audit.counting import CountingEntropy
from veilray.evaluation.audit.games import fair_coins
from veilray.evaluation.audit.pairs import WORST
from veilray.evaluation.audit.report import Check
from veilray.evaluation.audit.statistics import looked_at
from veilray.evaluation.audit.subject import Subject
from veilray.privacy import Entropy, SeededEntropy, SystemEntropy
from veilray.privacy.mechanisms.base import Floats
from veilray.registry import Registry

__all__ = ["STRUCTURE", "StructuralTest", "check_structure"]

StructuralTest = Callable[[Subject], str]
"""Returns why the subject breaks the rule, or nothing."""

STRUCTURE: Registry[StructuralTest] = Registry("structural test")

_FEW, _MANY = 512, 100_000
"""Rows to be different in two releases; the many are drawn only where a few of them agree by chance."""

_STILL_DIFFERENT = 7.0
"""Epsilon up to which they must differ for outputs that are chosen from a few."""

_SEED = "audit structure"
_FULL_RANK = 1e-7
_ROUNDING = 1e-9
_ROUNDING_OF_AN_ELEMENT = 1e-13
"""Nats: a likelihood sums a log probability of about -20 an element, and the claim of one element of many is small."""


def check_structure(subject: Subject) -> list[Check]:
    """Run every structural test."""
    checks = []
    for name in STRUCTURE:
        found = STRUCTURE[name](subject)
        told = (STRUCTURE[name].__doc__ or name).partition("\n")[0]
        checks.append(Check(name, "structural", told, passed=not found, trials=0, detail=found))
    return checks


@STRUCTURE.register("batch independence")
def batch_independence(subject: Subject) -> str:
    """Other rows are altered; under one seed this row's output must not change."""
    first, second = _two_inputs(subject)
    base = np.repeat(first, 6, axis=0)
    before = subject.release(base, SeededEntropy(_SEED))
    for kept in (0, 3, 5):
        for other in (second, *_usable(subject)):
            altered = np.repeat(other.reshape(1, -1), 6, axis=0)
            altered[kept] = base[kept]
            if not np.array_equal(subject.release(altered, SeededEntropy(_SEED))[kept], before[kept]):
                return f"row {kept} changed when the other rows did"
    return ""


@STRUCTURE.register("two releases differ")
def two_releases_differ(subject: Subject) -> str:
    """Equal rows, released twice or in one batch, must come out differently."""
    if not _differences_expected(subject):
        return ""
    first, _ = _two_inputs(subject)
    entropy = SystemEntropy()
    twice = _draw_rows(subject, first, entropy, _FEW), _draw_rows(subject, first, entropy, _FEW)
    if _same(*twice):
        twice = _draw_rows(subject, first, entropy, _MANY), _draw_rows(subject, first, entropy, _MANY)
        if _same(*twice):
            return "two releases of the same rows are identical"
    if len(np.unique(twice[0], axis=0)) == 1:
        many = _draw_rows(subject, first, entropy, _MANY)
        if len(np.unique(many, axis=0)) == 1:
            return "equal rows of one batch are released identically"
    return ""


@STRUCTURE.register("all randomness from the entropy")
def all_randomness_from_the_entropy(subject: Subject) -> str:
    """The same seed must give the same release: nothing is drawn elsewhere, nothing is remembered."""
    first, second = _two_inputs(subject)
    rows = np.concatenate([first, second, first])
    if not _same(subject.release(rows, SeededEntropy(_SEED)), subject.release(rows, SeededEntropy(_SEED))):
        return "one seed gave two releases"
    return ""


@STRUCTURE.register("seed is used once")
def seed_is_used_once(subject: Subject) -> str:
    """One entropy asked twice must not give the same noise twice; nor may two seeds."""
    if not _differences_expected(subject):
        return ""
    first, _ = _two_inputs(subject)
    for count in (_FEW, _MANY):
        one = SeededEntropy(_SEED)
        again = [_draw_rows(subject, first, one, count) for _ in range(2)]
        again.append(_draw_rows(subject, first, SeededEntropy(_SEED + " 2"), count))
        if not (_same(again[0], again[1]) or _same(again[0], again[2])):
            return ""
    return "the noise of one call was given again"


@STRUCTURE.register("fork")
def fork(subject: Subject) -> str:
    """A forked process must not draw its parent's noise."""
    if not hasattr(os, "fork") or not _differences_expected(subject):
        return ""
    first, _ = _two_inputs(subject)
    for count in (_FEW, _MANY):
        entropy = SystemEntropy()
        rows = np.repeat(first, count, axis=0)
        subject.release(rows[:1], entropy)  # the key now exists, so that a child could inherit it
        children = [_released_in_child(subject, rows, entropy) for _ in range(2)]
        parent = np.ascontiguousarray(subject.release(rows, entropy), dtype=np.float64).tobytes()
        if len({parent, *children}) == 3:
            return ""
    return "a forked process repeated noise"


@STRUCTURE.register("draws independent of the input")
def draws_independent_of_the_input(subject: Subject) -> str:
    """Bytes and calls of the entropy must be the same for every input under one seed: no loop follows the input."""
    first, second = _two_inputs(subject)
    for seed in range(4):
        counts = set()
        for row in (first, second, *_usable(subject)):
            entropy = CountingEntropy(f"{_SEED} {seed}")
            subject.release(np.repeat(row.reshape(1, -1), 4, axis=0), entropy)
            counts.add((entropy.tally.bytes, entropy.tally.calls))
        if len(counts) > 1:
            return f"between {min(counts)[0]} and {max(counts)[0]} bytes were drawn, depending on the input"
    return ""


@STRUCTURE.register("unusual rows are released")
def unusual_rows_are_released(subject: Subject) -> str:
    """Zero, non-finite and far rows must be released like any other, and come out finite."""
    for row in subject.unusual:
        refused = subject.refuses(row[None])
        if refused:
            return f"a row was refused: {refused}"
        if not np.isfinite(subject.release(row[None], SeededEntropy(_SEED))).all():
            return "a row came out not finite"
    return ""


@STRUCTURE.register("noise has full rank")
def noise_has_full_rank(subject: Subject) -> str:
    """The covariance of one input's releases must have no direction without noise."""
    if not subject.density:
        return ""
    first, _ = _two_inputs(subject)
    columns = looked_at(subject.dimension)
    released = _draw_rows(subject, first, SeededEntropy(_SEED), max(64, 4 * len(columns)))[:, columns]
    spread = released.std(axis=0)
    if not (spread > 0).all():
        return "an element came out without noise"
    least = float(np.linalg.eigvalsh(np.atleast_2d(np.cov(released / spread, rowvar=False)))[0])
    return "" if least > _FULL_RANK else "a combination of elements came out without noise"


@STRUCTURE.register("equal support")
def equal_support(subject: Subject) -> str:
    """By its own likelihood, what came out under one input must be possible, within the claim, under the other."""
    if subject.log_ratio is None:
        return ""
    largest = 0.0
    for pair in subject.pairs:
        if len(pair.first) > 1 or subject.refuses(np.concatenate([pair.first, pair.second])):
            continue
        side = fair_coins(64, SeededEntropy(_SEED))
        rows = np.where(side[:, None], pair.first, pair.second)
        ratio = np.abs(subject.log_ratio(subject.release(rows, SeededEntropy(_SEED)), pair.first, pair.second))
        if not np.isfinite(ratio).all():
            return f"{pair.name}: an output is impossible under the other input"
        if pair.limit.kind == "epsilon" and pair.limit.delta == 0:
            summed = _ROUNDING_OF_AN_ELEMENT * subject.dimension
            largest = max(largest, (float(ratio.max()) - summed) / pair.limit.value)
    return "" if largest <= 1 + _ROUNDING else f"the stated likelihood ratio is {largest:.4g} times the claim"


def _two_inputs(subject: Subject) -> tuple[Floats, Floats]:
    pair = next(pair for pair in subject.pairs if pair.name == WORST)
    return pair.first, pair.second


def _differences_expected(subject: Subject) -> bool:
    """False where an honest choice between a few outputs comes out equal for 100,000 rows by chance.

    A second release differs with probability e^-epsilon at least (up to a constant), so at epsilon 7 in 90 rows.
    """
    smallest = min(pair.limit.value for pair in subject.pairs)
    return subject.density or smallest <= _STILL_DIFFERENT


def _usable(subject: Subject) -> list[Floats]:
    """Unusual rows that are not refused: a refusal has a test of its own."""
    return [row for row in subject.unusual if not subject.refuses(row[None])]


def _draw_rows(subject: Subject, row: Floats, entropy: Entropy, count: int) -> Floats:
    return subject.draw(np.repeat(row, count, axis=0), entropy)


def _same(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    return bool(np.array_equal(one, other, equal_nan=True))


def _released_in_child(subject: Subject, rows: Floats, entropy: Entropy) -> bytes:
    """What a forked process releases; it sends the bytes through a pipe and ends at once."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            with os.fdopen(writer, "wb") as sent:
                sent.write(np.ascontiguousarray(subject.release(rows, entropy), dtype=np.float64).tobytes())
            code = 0
        finally:
            os._exit(code)  # never the parent's exit handlers
    os.close(writer)
    with os.fdopen(reader, "rb") as received:
        released = received.read()
    os.waitpid(child, 0)
    return released or f"child {child} failed".encode()
