"""Blocks that fit a cache: how samplers walk over a batch, in row-major order."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["BLOCK", "blocks"]

BLOCK = 2**14
"""Elements of a block: words, digits and ties of one (1.5 MB at 30 digits) stay in a 2 MB L2 cache."""


def blocks(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of each block: whole rows where they fit, else parts of one row.

    Where a row is cut depends on its own length alone, never on how many rows there are.
    """
    wide = max(1, min(columns, BLOCK))
    high = max(1, BLOCK // wide)
    for top in range(0, rows, high):
        for left in range(0, columns, wide):
            yield slice(top, min(top + high, rows)), slice(left, min(left + wide, columns))
