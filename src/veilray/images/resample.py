"""Resampling with exact arithmetic: the same pixels on every machine.

Both kernels are separable with rational weights. The weights are scaled to whole numbers and all sums are taken in
64-bit integers: for 16-bit values and sides up to 65,535 the results stay below 2**63, and running sums that wrap
around 2**64 still have exact differences. One division, rounded half up, ends it.

Image libraries' box filters were not used: they take whole source pixels only, so that at 3 to 2 the middle pixel
counts for one side or for both, not half for each. Matrix products were not used either: their threads fight with
those of whoever calls this.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.images.intensity import Pixels

__all__ = ["enlarge", "shrink"]

_BLOCK = 2**22  # pixels turned to 64 bits at a time: 32 MiB


def shrink(planes: Pixels, side: int, top: int, left: int, size: int) -> Pixels:
    """Average areas: each output value is the mean of the square it covers, zeros outside the image.

    Args:
        planes: `(c, h, w)` uint8 or uint16, standing at row `top` and column `left` of a `side` x `side` square of
            zeros, which is never made: a long thin image needs no more memory than its own.
        side: at least `size`.

    Returns:
        `(c, size, size)` of the same type.
    """
    height, width = planes.shape[1:]
    columns = _edges(size, side, left, width)
    rows = _edges(size, side, top, height)
    result = np.empty((planes.shape[0], size, size), dtype=planes.dtype)
    step = max(1, _BLOCK // height)
    for plane, target in zip(planes, result, strict=True):
        parts = [_spans(plane[:, at : at + step], rows, size) for at in range(0, width, step)]
        target[:] = _divided(_spans(np.concatenate(parts, axis=1).T, columns, size), side * side).T
    return result


def enlarge(planes: Pixels, side: int, top: int, left: int, height: int, width: int) -> Pixels:
    """Interpolate linearly between pixel centres; the border's value holds outside the outermost centres.

    Args:
        planes: `(c, n, n)` uint8 or uint16, spread over a `side` x `side` square, side at least n.
        top, left, height, width: the part of that square that is wanted; the rest is not computed.

    Returns:
        `(c, height, width)` of the same type.
    """
    rows = _neighbours(side, planes.shape[1], top, height)
    columns = _neighbours(side, planes.shape[2], left, width)
    result = np.empty((planes.shape[0], height, width), dtype=planes.dtype)
    step = max(1, _BLOCK // width)
    for plane, target in zip(planes, result, strict=True):
        wide = _blended(plane.T.astype(np.uint64), columns, side).T
        for at in range(0, height, step):
            part = tuple(each[at : at + step] for each in rows)
            target[at : at + step] = _divided(_blended(wide, part, side), 4 * side * side)
    return result


def _divided(sums: NDArray[np.uint64], denominator: int) -> NDArray[np.uint64]:
    halved: NDArray[np.uint64] = (sums * 2 + denominator) // (2 * denominator)
    return halved


def _spans(lines: NDArray[Any], edges: tuple[NDArray[np.int64], ...], size: int) -> NDArray[np.uint64]:
    """Sums of `(n, m)` lines over the spans between edges, in units of 1/size line: `(size, m)`."""
    whole, share = edges
    running = np.zeros((lines.shape[0] + 1, lines.shape[1]), dtype=np.uint64)
    np.cumsum(lines, axis=0, dtype=np.uint64, out=running[1:])
    at_line = lines[np.minimum(whole, lines.shape[0] - 1)].astype(np.uint64)
    upto = running[whole] * np.uint64(size) + at_line * share.astype(np.uint64)[:, np.newaxis]
    sums: NDArray[np.uint64] = upto[1:] - upto[:-1]
    return sums


@lru_cache(maxsize=64)
def _edges(size: int, side: int, start: int, count: int) -> tuple[NDArray[np.int64], ...]:
    """Where the size + 1 edges of the outputs fall among the source lines start .. start + count: line and share."""
    place = np.arange(size + 1, dtype=np.int64) * side - start * size
    whole, share = np.divmod(np.clip(place, 0, count * size), size)
    return whole, share


def _blended(lines: NDArray[np.uint64], neighbours: tuple[NDArray[np.int64], ...], side: int) -> NDArray[np.uint64]:
    """Weighted sums of neighbouring lines, `(k, m)`; weights sum to 2 side."""
    first, second, share = neighbours
    weight = share.astype(np.uint64)[:, np.newaxis]
    sums: NDArray[np.uint64] = lines[first] * (np.uint64(2 * side) - weight) + lines[second] * weight
    return sums


@lru_cache(maxsize=64)
def _neighbours(side: int, source: int, start: int, count: int) -> tuple[NDArray[np.int64], ...]:
    """The two source lines nearest to each of the lines start .. start + count, and the second's share of 2 side."""
    centres = (2 * (start + np.arange(count, dtype=np.int64)) + 1) * source - side
    below, share = np.divmod(centres, 2 * side)
    return np.clip(below, 0, source - 1), np.clip(below + 1, 0, source - 1), share
