"""One standard-normal coordinate for each column: through the column's public distribution, and back.

A cell of a table is discrete: a level, a whole number, a day, a number of some decimals. So it is not a point of the
coordinate but an interval: from the share of public cells below it to the share of those up to it. In training it is
dequantised for real, by a uniform draw in its interval, anew in every epoch. At a release it has one place, the mean of
a standard normal within the interval: the encoder is deterministic. The way back is exact: each point of the line lies
in the interval of one value that the schema allows, so whatever a mechanism draws decodes to a valid cell.

The distribution is that of **public** rows, within the schema's bounds, with a little of a uniform one mixed in, so
that every value that is allowed has an interval. Nothing is scaled by a private table. The levels of a categorical
column have no order of their own, so they are put in the order in which they go with the declared task in the public
rows, or with all other columns (the leading axis of a correspondence analysis, Benzecri 1973): neighbours on the line
then mean similar things.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from veilray.tables import Column, Records, Schema

__all__ = ["Coordinate", "Coordinates"]

Floats = NDArray[np.float64]

_CELLS = 64
"""A column of so many values or fewer has a cell for each; of others so many cells of about equal share are made."""
_SPREAD = 0.01
"""Share of the uniform distribution over what the schema allows."""
_LEAST = 1e-12
"""Share of the line that every cell has at least: one value among 10^15 would have less than a float can hold."""
_SMALLEST = 1e-7
"""No interval of the line ends closer to 0 or 1: about 5.2 standard deviations."""


@dataclass(frozen=True)
class Coordinate:
    """The line of one column.

    Attributes:
        column: of the schema.
        edges: `(m,)` rising, on the column's numeric scale, in the order `order` for levels; half a step beyond the
            bounds at both ends.
        cumulative: `(m,)` rising from `missing` to 1, the share below each edge.
        missing: share of missing cells, which have the lowest part of the line; 0 where none may be missing.
        order: for each level its place on the line; none for numbers.
    """

    column: Column
    edges: Floats
    cumulative: Floats
    missing: float
    order: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        lines = (self.edges, self.cumulative)
        same = self.edges.ndim == 1 and self.edges.shape == self.cumulative.shape and len(self.edges) >= 2
        if not same or not all(bool((np.diff(line) > 0).all()) for line in lines):
            raise ValueError(f"the line of {self.column.name} must rise, got another: fit the model anew")
        if not 0 <= self.missing < 1 or self.cumulative[0] != self.missing or self.cumulative[-1] != 1:
            raise ValueError(f"the line of {self.column.name} must go from its missing share to 1, got another")
        if bool(self.missing) != self.column.missing:
            raise ValueError(f"the line of {self.column.name} must have room for missing cells where they may be")
        low, high = _ends(self.column)
        if (self.edges[0], self.edges[-1]) != (low, high):
            raise ValueError(f"the line of {self.column.name} must span its bounds, got others: fit the model anew")
        if sorted(self.order) != list(range(len(self.column.levels or ()))):
            raise ValueError(f"the line of {self.column.name} must order its levels, got another: fit the model anew")

    @classmethod
    def fit(cls, column: Column, values: Floats, order: Sequence[int] = ()) -> Coordinate:
        """The line of a column from **public** values `(n,)`, NaN where missing."""
        there = values[~np.isnan(values)]
        placed = np.asarray(order, dtype=np.float64)[there.astype(np.int64)] if order else there
        edges = _edges(column, placed)
        counts = np.histogram(placed, edges)[0].astype(np.float64)
        even = np.diff(edges) / (edges[-1] - edges[0])
        share = (1 - _SPREAD) * counts / max(len(placed), 1) + (_SPREAD if len(placed) else 1.0) * even
        share = np.maximum(share, _LEAST)
        gone = (len(values) - len(there) + 1) / (len(values) + 2) if column.missing else 0.0
        cumulative = np.concatenate(([gone], gone + (1 - gone) * np.cumsum(share) / share.sum()))
        cumulative[-1] = 1.0
        return cls(column, edges, cumulative, gone, tuple(order))

    def intervals(self, values: Floats) -> tuple[Floats, Floats]:
        """Where each valid cell lies on the line, `(n,)` lower and upper end within [0, 1]."""
        gone = np.isnan(values)
        known = np.where(gone, self.column.span[0], values)
        placed = np.asarray(self.order, dtype=np.float64)[known.astype(np.int64)] if self.order else known
        half = _step(self.column) / 2
        low = np.interp(placed - half, self.edges, self.cumulative)
        high = np.interp(placed + half, self.edges, self.cumulative)
        return np.where(gone, 0.0, low), np.where(gone, self.missing, high)

    def value(self, line: Floats) -> Floats:
        """The valid cell at each point of the line, `(n,)`; NaN is a missing one."""
        placed = np.interp(line, self.cumulative, self.edges)
        step = _step(self.column)
        nearest = self.column.snap(placed if step < 1 else np.floor(placed + 0.5))
        if self.order:
            nearest = np.argsort(self.order)[nearest.astype(np.int64)].astype(np.float64)
        return np.where(line < self.missing, np.nan, nearest)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; the column stands in the schema."""
        return {
            "edges": self.edges.tolist(),
            "cumulative": self.cumulative.tolist(),
            "missing": self.missing,
            "order": list(self.order),
        }

    @classmethod
    def from_dict(cls, column: Column, told: Mapping[str, Any]) -> Coordinate:
        """Read what `to_dict` wrote. Raises ValueError for anything else."""
        try:
            edges, cumulative = (np.array(told[name], dtype=np.float64) for name in ("edges", "cumulative"))
            missing, order = float(told["missing"]), tuple(int(place) for place in told["order"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the line of {column.name} must have edges and shares, got another: {error}") from None
        return cls(column, edges, cumulative, missing, order)


@dataclass(frozen=True)
class Coordinates:
    """The lines of all columns of a schema.

    Example:
        >>> schema = Schema(columns=(Column(name="age", kind="integer", low=0, high=120),))
        >>> public = Records.of(schema, np.array([[31.0], [44.0], [59.0], [63.0]]))
        >>> lines = Coordinates.fit(public)
        >>> rows = lines.encode(public)
        >>> rows.shape, lines.decode(rows)[:, 0].tolist()
        ((4, 1), [31.0, 44.0, 59.0, 63.0])
    """

    schema: Schema
    lines: tuple[Coordinate, ...]

    @classmethod
    def fit(cls, public: Records, *, beside: Records | None = None) -> Coordinates:
        """The lines of public records.

        Args:
            public: the columns that get a line.
            beside: other columns of the same rows; the levels of each category are ordered by how they go with these,
                or with all other columns of `public`.

        Raises:
            ValueError: for no record.
        """
        if not len(public):
            raise ValueError("TABLE must hold at least one valid public row, got none")
        lines = []
        for place, column in enumerate(public.schema.columns):
            values = public.values[:, place]
            if column.kind == "categorical":
                others = public.only([name for name in public.schema.names if name != column.name] or [column.name])
                order = _order(column, values, others if beside is None else beside)
            else:
                order = tuple(range(len(column.levels or ())))
            lines.append(Coordinate.fit(column, values, order))
        return cls(public.schema, tuple(lines))

    def encode(self, records: Records) -> Floats:
        """The coordinates `(n, columns)` of records, finite: each cell at the mean of a normal within its interval."""
        rows = np.empty((len(records), len(self.lines)))
        for place, line in enumerate(self.lines):
            low, high = (np.clip(end, _SMALLEST, 1 - _SMALLEST) for end in line.intervals(records.values[:, place]))
            wide = high - low > _SMALLEST
            a, b = ndtri(low), ndtri(high)
            mean = (_density(a) - _density(b)) / np.where(wide, high - low, 1.0)
            rows[:, place] = np.where(wide, mean, ndtri((low + high) / 2))
        return rows

    def dequantised(self, records: Records, generator: np.random.Generator) -> Floats:
        """The coordinates with each cell at a uniform place of its interval: for training, never for a release."""
        rows = np.empty((len(records), len(self.lines)))
        for place, line in enumerate(self.lines):
            low, high = line.intervals(records.values[:, place])
            drawn = low + (high - low) * generator.random(len(records))
            rows[:, place] = ndtri(np.clip(drawn, _SMALLEST, 1 - _SMALLEST))
        return rows

    def decode(self, rows: Floats) -> Floats:
        """Valid values `(n, columns)` of any finite coordinates."""
        shares = np.clip(ndtr(rows), _SMALLEST, 1 - _SMALLEST)
        columns = [line.value(shares[:, place]) for place, line in enumerate(self.lines)]
        return np.stack(columns, axis=1) if len(rows) else np.zeros((0, len(self.lines)))

    def to_list(self) -> list[dict[str, Any]]:
        """For JSON, in the order of the schema's columns."""
        return [line.to_dict() for line in self.lines]

    @classmethod
    def from_list(cls, schema: Schema, told: Any) -> Coordinates:
        """Read what `to_list` wrote. Raises ValueError for anything else."""
        if not isinstance(told, list) or len(told) != len(schema.columns):
            raise ValueError(f"coordinates must be a list of {len(schema.columns)} lines, got another: fit it anew")
        lines = (Coordinate.from_dict(column, line) for column, line in zip(schema.columns, told, strict=True))
        return cls(schema, tuple(lines))


def _density(z: Floats) -> Floats:
    return np.asarray(np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi))


def _step(column: Column) -> float:
    """The distance of neighbouring values that a column allows."""
    return 10.0 ** -(column.decimals or 0) if column.kind == "continuous" else 1.0


def _ends(column: Column) -> tuple[float, float]:
    low, high = column.span
    half = _step(column) / 2
    return low - half, high + half


def _edges(column: Column, placed: Floats) -> Floats:
    """Where the share may change: around each value, or around the frequent ones and between quantiles of the rest."""
    low, high = _ends(column)
    step = _step(column)
    if round((high - low) / step) <= _CELLS:
        return np.linspace(low, high, round((high - low) / step) + 1)
    different, counts = np.unique(placed, return_counts=True)
    frequent = different[counts >= max(2.0, len(placed) / _CELLS)]
    rest = placed[~np.isin(placed, frequent)]
    between = np.quantile(rest, np.linspace(0, 1, _CELLS + 1)) if len(rest) else np.zeros(0)
    # Every edge lies half a step beside a value, so that each value is on one side.
    snapped = low + step * np.round((np.concatenate((frequent - step / 2, frequent + step / 2, between)) - low) / step)
    edges = np.unique(np.concatenate(([low, high], np.clip(snapped, low, high))))
    apart = np.concatenate(([True], np.diff(edges) > step / 2))
    kept = edges[apart]
    kept[-1] = high
    return np.asarray(kept)


def _order(column: Column, codes: Floats, others: Records) -> tuple[int, ...]:
    """For each level of a column its place on the line: the leading axis of how levels go with the other columns."""
    levels = len(column.levels or ())
    there = ~np.isnan(codes)
    own = np.eye(levels)[codes[there].astype(np.int64)]
    shown = [
        _indicators(other, others.values[there, place])
        for place, other in enumerate(others.schema.columns)
        if other.name != column.name
    ]
    if not shown or not len(own):
        return tuple(range(levels))
    table = own.T @ np.concatenate(shown, axis=1) + 0.5
    table /= table.sum()
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    residuals = (table - np.outer(rows, columns)) / np.sqrt(np.outer(rows, columns))
    axis = np.linalg.svd(residuals)[0][:, 0] / np.sqrt(rows)
    ranks = np.empty(levels, dtype=np.int64)
    ranks[np.lexsort((np.arange(levels), axis))] = np.arange(levels)
    return tuple(int(rank) for rank in ranks)


def _indicators(column: Column, values: Floats) -> Floats:
    """One-hot levels, or quarters of the numbers; all zero where missing."""
    gone = np.isnan(values)
    if column.levels is not None:
        hot = np.eye(len(column.levels))[np.where(gone, 0, values).astype(np.int64)]
    else:
        cuts = np.unique(np.quantile(values[~gone], (0.25, 0.5, 0.75))) if not gone.all() else np.zeros(1)
        hot = np.eye(len(cuts) + 1)[np.searchsorted(cuts, np.where(gone, 0.0, values))]
    hot[gone] = 0.0
    return np.asarray(hot)
