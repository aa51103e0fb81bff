"""Public cells: every column of a table cut into few values, so that a mechanism for categories can take it.

A level is a cell of its own. Numbers and days are cut at edges that share *public* records out evenly, within the
bounds of the schema: a value that many of them have, such as a capital gain of 0, is a cell of its own. What may be
missing has a last cell for that. Edges, frequencies and the values inside a cell all come from public records and the
schema, so that nothing here tells of a private row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.tables import Column, Records, Schema

__all__ = ["Cells"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_PSEUDO_COUNT = 0.5
"""Added to the public count of every cell, so that none has probability 0 (Krichevsky and Trofimov 1981)."""


@dataclass(frozen=True)
class _Cut:
    """One column: inner edges (cell i ends at edge i, included), and the public values in each cell, ascending."""

    edges: Floats
    points: tuple[Floats, ...]

    @classmethod
    def of(cls, column: Column, values: Floats, bins: int) -> _Cut:
        low, high = column.span
        known = np.sort(values[~np.isnan(values)])
        if column.size is not None and (column.levels is not None or column.size <= bins):
            every = np.arange(low, high + 1)
            return cls(every[:-1] + 0.5, tuple(every[:, None]))
        if not len(known):
            return cls(np.zeros(0), (column.snap([(low + high) / 2]),))
        edges = _even_edges(known, bins)
        return cls(edges, tuple(np.split(known, np.searchsorted(known, edges, side="right"))))


@dataclass(frozen=True)
class Cells:
    """The cells of each column; make them with `fit`.

    Attributes:
        schema: of the records that are cut.
        frequencies: for each column `(cells,)` float64, the share of public records in each cell; none is 0.
    """

    schema: Schema
    frequencies: tuple[Floats, ...] = field(repr=False)
    _cuts: tuple[_Cut, ...] = field(repr=False)

    @classmethod
    def fit(cls, public: Records, bins: int = 8) -> Cells:
        """Cut the columns of `public`'s schema.

        Args:
            public: records of people who are not released.
            bins: the most cells of a column of numbers or days, at least 2; a missing cell comes on top.

        Raises:
            ValueError: for fewer than 2 bins, or no public record.
        """
        if bins < 2:
            raise ValueError(f"bins must be at least 2, got {bins}")
        if not len(public):
            raise ValueError("public must hold at least one record, got none")
        snapped = public.snapped()
        cuts = tuple(
            _Cut.of(column, snapped.values[:, place], bins) for place, column in enumerate(public.schema.columns)
        )
        cells = cls(public.schema, (), cuts)
        counts = [
            np.bincount(placed, minlength=size) + _PSEUDO_COUNT
            for placed, size in zip(cells.encode(snapped).T, cells.sizes, strict=True)
        ]
        return cls(public.schema, tuple(count / count.sum() for count in counts), cuts)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of cells of each column."""
        return tuple(
            len(cut.points) + column.missing for cut, column in zip(self._cuts, self.schema.columns, strict=True)
        )

    def encode(self, records: Records) -> Integers:
        """The cell of each value, `(n, columns)`. A value that the schema does not allow counts as the nearest one.

        Raises:
            ValueError: for records of another schema.
        """
        if records.schema != self.schema:
            raise ValueError("records must have the schema of the public records, got another")
        placed = np.empty(records.values.shape, dtype=np.int64)
        for place, (column, cut) in enumerate(zip(self.schema.columns, self._cuts, strict=True)):
            values = column.snap(records.values[:, place])
            inside = np.searchsorted(cut.edges, values, side="left")
            placed[:, place] = np.where(np.isnan(values), len(cut.points), inside)
        return placed

    def decode(self, placed: NDArray[Any], uniforms: Floats) -> Records:
        """Valid records with a value drawn inside each cell, by the public distribution there; rows count from 1.

        Args:
            placed: `(n, columns)` cells.
            uniforms: `(n, columns)` numbers in [0, 1), one for each draw.
        """
        values = np.empty(placed.shape, dtype=np.float64)
        for place, (column, cut) in enumerate(zip(self.schema.columns, self._cuts, strict=True)):
            drawn = np.full(len(placed), np.nan)  # what is in no cell of points is missing
            for cell, points in enumerate(cut.points):
                here = placed[:, place] == cell
                between = uniforms[here, place] * (len(points) - 1)
                drawn[here] = np.interp(between, np.arange(len(points)), points)
            values[:, place] = column.snap(drawn)
        return Records.of(self.schema, values)

    def draw(self, uniforms: Floats) -> Integers:
        """Cells drawn by their public frequencies, each column by itself, from `(n, columns)` numbers in [0, 1)."""
        drawn = [
            np.minimum(np.searchsorted(np.cumsum(shares), column, side="right"), len(shares) - 1)
            for shares, column in zip(self.frequencies, uniforms.T, strict=True)
        ]
        return np.stack(drawn, axis=1)


def _even_edges(known: Floats, bins: int) -> Floats:
    """Edges between ascending values that leave about as many in each cell; one that is common stands alone."""
    different, counts = np.unique(known, return_counts=True)
    last: list[int] = []  # the place of the last value in each cell but the final one
    held, left = 0, len(known)
    for place, count in enumerate(counts[:-1]):
        held += int(count)
        even = left / (bins - len(last))
        if len(last) < bins - 1 and (held >= even or counts[place + 1] >= even):
            last.append(place)
            left -= held
            held = 0
    ends = np.array(last, dtype=np.int64)
    return np.asarray((different[ends] + different[ends + 1]) / 2, dtype=np.float64)
