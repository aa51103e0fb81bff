"""Coordinates of a table: whatever is drawn is a valid cell, every valid cell comes back, nothing private is read."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import ndtr

from veilray.methods.tables import Coordinate, Coordinates
from veilray.tables import Column, Records, Schema

EDGE = 2e-7
"""Share of the line at its two ends that is not told apart."""

EVERY_KIND = Schema(
    columns=(
        Column(name="small", kind="integer", low=-3, high=3),
        Column(name="big", kind="integer", low=0, high=5000, missing=True),
        Column(name="wide", kind="integer", low=-(10**15), high=10**15),
        Column(name="whole", kind="continuous", low=0, high=300, decimals=0),
        Column(name="fine", kind="continuous", low=0, high=1, decimals=12, missing=True),
        Column(name="finest", kind="continuous", low=0, high=9000, decimals=12),
        Column(name="day", kind="date", low="0001-01-01", high="9999-12-31", missing=True),
        Column(name="grade", kind="ordinal", levels=("low", "middle", "high"), missing=True),
        Column(name="yes", kind="categorical", levels=("no", "yes")),
        Column(name="many", kind="categorical", levels=tuple(f"level {place}" for place in range(256)), missing=True),
    )
)
COLUMNS = len(EVERY_KIND.columns)


def rows(count: int, seed: int, schema: Schema = EVERY_KIND) -> Records:
    """Valid rows over the whole span, some cells missing, the first two at the bounds."""
    rng = np.random.default_rng(seed)
    low, high = np.array([column.span for column in schema.columns]).T
    values = rng.uniform(low, high, (count, len(low)))
    values[:2] = np.stack([low, high])[: len(values)]
    values[rng.random(values.shape) < 0.1] = np.nan
    return Records.of(schema, values).snapped()


def skewed(count: int, seed: int) -> Records:
    """Rows that crowd in a corner of what is allowed, half of them on one value."""
    low, high = np.array([column.span for column in EVERY_KIND.columns]).T
    rng = np.random.default_rng(seed)
    values = low + (high - low) * rng.beta(0.2, 8, (count, COLUMNS)) * (rng.random((count, COLUMNS)) < 0.5)
    return Records.of(EVERY_KIND, values).snapped()


LINES = {count: Coordinates.fit(rows(count, count)) for count in (1, 3, 400)}
LINES[4000] = Coordinates.fit(skewed(4000, 1))


@pytest.fixture(params=LINES, ids=lambda count: f"{count} public rows")
def lines(request: pytest.FixtureRequest) -> Coordinates:
    return LINES[request.param]


@settings(max_examples=150, deadline=None)
@given(
    arrays(np.float64, (4, COLUMNS), elements=st.floats(allow_nan=False, allow_infinity=False)),
    st.sampled_from(sorted(LINES)),
)
def test_every_finite_coordinate_is_a_valid_cell(drawn: np.ndarray, count: int) -> None:
    values = LINES[count].decode(drawn)
    np.testing.assert_array_equal(values, Records.of(EVERY_KIND, values).snapped().values)
    for place, column in enumerate(EVERY_KIND.columns):
        _, reasons = column.read(column.write(values[:, place]))
        assert set(reasons.tolist()) == {""}


def test_every_valid_cell_comes_back(lines: Coordinates) -> None:
    cells = rows(3000, 9)
    back = lines.decode(lines.encode(cells))
    for place, line in enumerate(lines.lines):
        own, other = cells.values[:, place], back[:, place]
        low, high = line.intervals(own)
        # A float holds no more than 1e-16 of the line, and its ends are cut: there a neighbour may come back.
        told = (high > EDGE) & (low < 1 - EDGE) & (high - low > 1e-13)
        np.testing.assert_array_equal(own[told], other[told], err_msg=line.column.name)
        again = np.mean(line.intervals(other), axis=0)
        assert np.abs(again - (low + high) / 2)[~told].max(initial=0) < EDGE, line.column.name


@pytest.mark.parametrize("name", ["small", "whole", "grade", "yes", "many"])
def test_cells_of_short_columns_all_come_back(lines: Coordinates, name: str) -> None:
    column, place = EVERY_KIND.column(name), EVERY_KIND.index(name)
    low, high = column.span
    every = np.concatenate([np.arange(low, high + 1), [np.nan] * column.missing])
    cells = rows(len(every), 3)
    cells.values[:, place] = every
    np.testing.assert_array_equal(lines.decode(lines.encode(cells))[:, place], every)


def test_every_cell_has_a_share(lines: Coordinates) -> None:
    for line in lines.lines:
        assert (np.diff(line.cumulative) > 0).all()
        assert bool(line.missing) == line.column.missing


def test_dequantised_cells_come_back_and_are_normal() -> None:
    public = rows(4000, 2)
    lines = Coordinates.fit(public)
    placed = lines.dequantised(public, np.random.default_rng(0))
    for name in ("small", "big", "whole", "day", "yes", "many"):
        place = EVERY_KIND.index(name)
        np.testing.assert_array_equal(lines.decode(placed)[:, place], public.values[:, place])
        deciles = np.quantile(ndtr(placed[:, place]), np.linspace(0.1, 0.9, 9))
        np.testing.assert_allclose(deciles, np.linspace(0.1, 0.9, 9), atol=0.03)


def test_a_row_is_encoded_from_its_own_cells(lines: Coordinates) -> None:
    cells = rows(50, 4)
    alone = np.concatenate([lines.encode(cells[place : place + 1]) for place in range(50)])
    np.testing.assert_array_equal(alone, lines.encode(cells))


def test_what_is_encoded_leaves_the_lines_as_they_were(lines: Coordinates) -> None:
    before = lines.to_list()
    lines.decode(lines.encode(skewed(100, 5)))
    assert lines.to_list() == before


def test_public_values_alone_make_the_line_and_bounds_are_the_schemas() -> None:
    line = Coordinates.fit(skewed(100, 6)).lines[0]
    assert (line.edges[0], line.edges[-1]) == (-3.5, 3.5)
    assert line.value(np.array([0.0, 1.0])).tolist() == [-3, 3]


def test_levels_are_put_in_the_order_in_which_they_go_with_the_task() -> None:
    schema = Schema(
        columns=(
            Column(name="town", kind="categorical", levels=("a", "b", "c")),
            Column(name="ill", kind="categorical", levels=("no", "yes")),
        )
    )
    town = np.arange(3000) % 3
    ill = np.random.default_rng(0).random(3000) < np.array([0.1, 0.9, 0.5])[town]
    public = Records.of(schema, np.stack([town, ill], axis=1))
    order = Coordinates.fit(public.only(["town"]), beside=public.only(["ill"])).lines[0].order
    assert order in ((0, 2, 1), (2, 0, 1))  # c stands between a and b


def test_lines_go_through_json_unchanged(lines: Coordinates) -> None:
    again = Coordinates.from_list(EVERY_KIND, json.loads(json.dumps(lines.to_list())))
    cells = rows(200, 8)
    np.testing.assert_array_equal(again.encode(cells), lines.encode(cells))
    assert again.to_list() == lines.to_list()


def _without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda line: line.pop(name)


def _with(name: str, place: int | None, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(line: dict[str, Any]) -> None:
        if place is None:
            line[name] = value
        else:
            line[name][place] = value

    return change


@pytest.mark.parametrize(
    ("column", "tamper", "message"),
    [
        ("small", _without("edges"), "must have edges and shares"),
        ("small", _with("edges", None, None), "must rise"),
        ("small", _with("edges", None, []), "must rise"),
        ("small", _with("edges", 1, -9.0), "must rise"),
        ("small", _with("edges", 1, float("nan")), "must rise"),
        ("small", _with("edges", 0, -40.0), "must span its bounds"),
        ("small", _with("edges", -1, 4.5), "must span its bounds"),
        ("small", _with("cumulative", 0, -0.5), "must go from its missing share to 1"),
        ("small", _with("cumulative", -1, 2.0), "must go from its missing share to 1"),
        ("small", _with("cumulative", 1, 0.0), "must rise"),
        ("small", _with("cumulative", None, "x"), "must have edges and shares"),
        ("big", _with("missing", None, 0.0), "must go from its missing share to 1"),
        ("grade", _with("order", None, [0, 0, 1]), "must order its levels"),
        ("grade", _with("order", None, [0, 1]), "must order its levels"),
        ("yes", _with("order", None, None), "must have edges and shares"),
    ],
)
def test_tampered_lines_are_refused(column: str, tamper: Callable[[dict[str, Any]], None], message: str) -> None:
    told = copy.deepcopy(LINES[3].to_list())
    tamper(told[EVERY_KIND.index(column)])
    with pytest.raises(ValueError, match=message):
        Coordinates.from_list(EVERY_KIND, told)


@pytest.mark.parametrize("told", [None, {}, [], "lines", [1] * COLUMNS, [None] * COLUMNS])
def test_what_is_no_list_of_lines_is_refused(told: Any) -> None:
    with pytest.raises(ValueError, match="must"):
        Coordinates.from_list(EVERY_KIND, told)


def test_no_public_row_is_refused() -> None:
    with pytest.raises(ValueError, match="TABLE must hold at least one valid public row, got none"):
        Coordinates.fit(rows(3, 0)[:0])


def test_a_line_without_room_for_what_may_be_missing_is_refused() -> None:
    with pytest.raises(ValueError, match="must have room for missing cells"):
        Coordinate(EVERY_KIND.columns[1], np.array([-0.5, 5000.5]), np.array([0.0, 1.0]), 0.0)
