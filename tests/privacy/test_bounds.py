"""Bounds: every row of integers lies in its set, whatever came in, and no row sees another."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from veilray.privacy.bounds import GridBound, finite_rows

KINDS = ["box", "l1-ball", "l2-ball"]
ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True, width=64)
LATENT_LIKE = st.floats(-6, 6)
ROWS = st.tuples(st.integers(1, 4), st.integers(1, 40))


def exact_norm_inside(grid: GridBound, row: np.ndarray) -> bool:
    """The definition, in Python's own integers."""
    values = [abs(int(v)) for v in row]
    if grid.kind == "box":
        return max(values) <= grid.size
    if grid.kind == "l1-ball":
        return sum(values) <= grid.size
    return sum(v * v for v in values) <= grid.size**2


@pytest.mark.parametrize("kind", KINDS)
@given(ROWS.flatmap(lambda s: hnp.arrays(np.float64, s, elements=ANY_FLOAT | LATENT_LIKE)), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_every_row_ends_inside_whatever_came_in(kind, latent, bits):
    grid = GridBound.of(kind, Fraction(3), bits, latent.shape[1])
    bounded = grid.apply(latent)
    assert bounded.dtype == np.int64
    assert all(exact_norm_inside(grid, row) for row in bounded)
    assert grid.contains(bounded).all()


@pytest.mark.parametrize("kind", KINDS)
@given(hnp.arrays(np.int64, st.tuples(st.integers(1, 4), st.integers(1, 30))))
@settings(max_examples=60, deadline=None)
def test_integers_are_forced_inside_and_left_alone_when_inside(kind, q):
    grid = GridBound.of(kind, Fraction(3), 6, q.shape[1])
    bounded = grid.enforce(q)
    assert all(exact_norm_inside(grid, row) for row in bounded)
    assert np.array_equal(grid.enforce(bounded), bounded)
    for before, after in zip(q, bounded, strict=True):
        if exact_norm_inside(grid, before):
            assert np.array_equal(before, after)


@pytest.mark.parametrize("kind", ["l1-ball", "l2-ball"])
def test_the_norm_is_checked_after_rounding(kind, monkeypatch):
    # 1,000 elements of .5 to .7 grid units all round up: the sum grows by a third.
    d = 1000
    latent = np.full((1, d), 0.6 / 2**8)
    norm = 0.6 * d if kind == "l1-ball" else 0.6 * math.sqrt(d)
    grid = GridBound(kind, math.floor(norm), 8, d)
    assert exact_norm_inside(grid, grid.apply(latent)[0])
    monkeypatch.setattr(GridBound, "enforce", lambda self, q: q)  # the mutation: no check after rounding
    assert not exact_norm_inside(grid, grid.apply(latent)[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("huge", [1e308, -1e308, 1.7976931348623157e308, 1e200, 5e-324])
def test_huge_and_tiny_numbers_do_not_overflow(kind, huge):
    grid = GridBound.of(kind, Fraction(3), 8, 3)
    bounded = grid.apply(np.array([[huge, huge, 0.0], [huge, 0.0, 0.0]]))
    assert grid.contains(bounded).all()
    if abs(huge) > 1:
        assert abs(bounded[1, 0]) >= grid.size - 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_row_that_is_not_finite_becomes_the_zero_row(kind, bad):
    grid = GridBound.of(kind, Fraction(3), 8, 3)
    bounded = grid.apply(np.array([[bad, 1.0, 1.0], [1.0, 1.0, 0.5]]))
    assert not bounded[0].any()
    assert bounded[1].all()


def test_without_the_finite_rule_a_nan_would_leave_the_set():
    grid = GridBound.of("box", Fraction(3), 8, 2)
    with np.errstate(invalid="ignore"):
        leaked = np.rint(grid._project(np.array([[math.nan, 1.0]])) * 256).astype(np.int64)
    assert not grid.contains(leaked).all()


@pytest.mark.parametrize("kind", KINDS)
def test_other_rows_change_nothing(kind):
    generator = np.random.default_rng(1)
    latent = generator.normal(size=(5, 64))
    other = latent.copy()
    other[[0, 1, 3, 4]] = 1e6 * generator.normal(size=(4, 64))
    grid = GridBound.of(kind, None, 8, 64)
    assert np.array_equal(grid.apply(latent)[2], grid.apply(other)[2])
    assert np.array_equal(grid.apply(latent)[2:3], grid.apply(latent[2:3]))
    assert np.array_equal(grid.apply(np.asfortranarray(latent)), grid.apply(latent))


def test_a_clip_by_the_norm_of_the_whole_batch_is_caught():
    # The mutation: CADP's published code scales by linalg.norm of the batch matrix.
    generator = np.random.default_rng(1)
    latent = generator.normal(size=(5, 64))
    other = latent.copy()
    other[0] *= 100

    def batch_clip(rows: np.ndarray) -> np.ndarray:
        return np.rint(rows * min(1.0, 51 / np.linalg.norm(rows, ord=1)) * 256).astype(np.int64)

    assert not np.array_equal(batch_clip(latent)[2], batch_clip(other)[2])


@pytest.mark.parametrize("kind", ["l1-ball", "l2-ball"])
def test_a_ball_scales_toward_zero_and_keeps_the_direction(kind):
    grid = GridBound.of(kind, None, 10, 64)
    latent = 5 * np.random.default_rng(2).normal(size=(20, 64))
    bounded = grid.apply(latent)
    cosine = (bounded * latent).sum(1) / np.linalg.norm(bounded, axis=1) / np.linalg.norm(latent, axis=1)
    assert cosine.min() > 0.9999
    norm = np.abs(bounded).sum(1) if kind == "l1-ball" else np.linalg.norm(bounded, axis=1)
    assert norm.min() > 0.97 * grid.size


@given(st.integers(1, 5000), st.integers(1, 16))
def test_default_radii_are_the_stated_constants_rounded_down(dimension, bits):
    step = Fraction(1, 2**bits)
    assert GridBound.of("box", None, bits, dimension).radius == 3
    ball = GridBound.of("l1-ball", None, bits, dimension).radius
    assert 0 <= dimension * math.sqrt(2 / math.pi) - float(ball) <= float(step) * 1.001
    ball = GridBound.of("l2-ball", None, bits, dimension).radius
    assert ball**2 <= dimension < (ball + step) ** 2


@pytest.mark.parametrize("kind", KINDS)
def test_sensitivities_are_reached_and_never_passed(kind):
    grid = GridBound(kind, 2, 1, 2)
    points = np.array([(a, b) for a in range(-2, 3) for b in range(-2, 3)])
    points = points[grid.contains(points)]
    gaps = points[:, None] - points[None]
    assert (gaps**2).sum(-1).max() == grid.l2_sensitivity_squared
    if kind != "l2-ball":
        assert np.abs(gaps).sum(-1).max() == grid.l1_sensitivity
    else:
        with pytest.raises(ValueError, match="bound must be box or l1-ball"):
            _ = grid.l1_sensitivity


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cube", Fraction(1), 8, 4), "bound must be box, l1-ball or l2-ball"),
        (("box", Fraction(1), 8, 0), "dimension must be at least 1"),
        (("box", Fraction(1), 0, 4), "grid_bits must be in"),
        (("box", Fraction(1), 17, 4), "grid_bits must be in"),
        (("box", Fraction(1, 1000), 8, 4), "radius must be at least one grid unit"),
        (("l2-ball", Fraction(10**9), 8, 4), "radius must fit 64-bit integers"),
    ],
)
def test_impossible_bounds_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GridBound.of(*arguments)
    if arguments[2] == 8 and arguments[3] == 0:
        with pytest.raises(ValueError, match=message):
            GridBound("box", 1, 8, 0)


def test_finite_rows_leaves_finite_rows_alone():
    rows = np.array([[1.0, -1e308], [math.nan, 2.0]])
    assert np.array_equal(finite_rows(rows), [[1.0, -1e308], [0.0, 0.0]])
