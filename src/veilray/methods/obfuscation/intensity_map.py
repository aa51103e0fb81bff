"""Random non-bijective intensity maps: every grey level of a picture is replaced by another, many to one.

A re-implementation of the published idea, not a reproduction: Popescu et al. 2022, "Obfuscation algorithm for
privacy-preserving deep learning-based medical image analysis", Applied Sciences 12(8), 3997. Its layout is not known to
us, so what it leaves open is an option here.

**The family.** Let N be the number of target levels, spread evenly over 0 to 255, and let
R = round(256 ** (1 - smoothness)) be the number of runs. Every source level draws a target level, independently and
uniformly. The 256 source levels are cut into R runs of neighbours at random places; within each run the drawn values
are sorted, upwards or downwards at random. So smoothness 0 (256 runs) is a uniformly random function, 1 (one run) is
monotone with collisions, and in between a picture keeps its shading in pieces. Sorting does not change which values
were drawn: for every smoothness the sizes of pre-images have the law of a random function, and so has H(X|Y) of a
uniform pixel.

At smoothness 1 the sorted values lie near a straight line, up or down: such a map hides little more than a negative.
What no map of single pixels can hide: which neighbours are equal, and, for a map that is used twice, which pixels of
two pictures are. It is obfuscation: empirical, no formal guarantee.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from veilray.privacy import Entropy

__all__ = ["SOURCES", "IntensityMap", "MapFamily", "Scope", "apply_each"]

SOURCES = 256
"""Grey levels of a picture of 8 bits."""

_WORDS = 2 * SOURCES + (SOURCES - 1) + SOURCES // 64
"""Of 64 bits a map: two for each value, one for each place to cut, a bit for the direction of each run."""

Scope = Literal["image", "batch", "key"]
Table = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class IntensityMap:
    """One function of grey levels.

    Args:
        table: `(256,)` uint8; level v becomes `table[v]`.

    Raises:
        ValueError: for another shape or type.
    """

    table: Table

    def __post_init__(self) -> None:
        if self.table.shape != (SOURCES,) or self.table.dtype != np.uint8:
            raise ValueError(f"table must be ({SOURCES},) uint8, got {self.table.shape} {self.table.dtype}")

    def apply(self, images: NDArray[Any]) -> NDArray[np.uint8]:
        """Map every pixel of `images`, any shape, uint8; a new array of the same shape."""
        mapped: Table = apply_each(images[np.newaxis], self.table[np.newaxis])[0]
        return mapped

    def preimage_sizes(self) -> NDArray[np.int64]:
        """How many target levels have k source levels, `(257,)` for k = 0 .. 256; all 256 bytes count as targets."""
        return np.bincount(np.bincount(self.table, minlength=SOURCES), minlength=SOURCES + 1)

    def residual_entropy(self, histogram: NDArray[Any] | None = None) -> float:
        """H(X|Y) in bits: what a mapped pixel leaves open about the original, to one who knows the map.

        Y is a function of X, so H(X|Y) = H(X) - H(Y).

        Args:
            histogram: `(256,)` counts or shares of the source levels; default: all levels alike.

        Raises:
            ValueError: for a histogram of another shape, or without any count.
        """
        weights = np.ones(SOURCES) if histogram is None else np.asarray(histogram, np.float64)
        if weights.shape != (SOURCES,) or not weights.sum() > 0:
            raise ValueError(f"histogram must be ({SOURCES},) with a positive sum, got shape {weights.shape}")
        mapped: NDArray[np.float64] = np.bincount(self.table, weights, SOURCES).astype(np.float64)
        return max(0.0, _entropy(weights) - _entropy(mapped))


@dataclass(frozen=True)
class MapFamily:
    """The law that maps are drawn from; public.

    Args:
        levels: target levels N, 2 to 256.
        smoothness: 0 (any function) to 1 (monotone with collisions); see the top of this file.
        scope: who shares a map: nobody (`image`), `batch` pictures in a row, or all under one `key`.
        batch: pictures that share a map where the scope is `batch`.

    Raises:
        ValueError: for values outside these.
    """

    levels: int = 64
    smoothness: float = 0.0
    scope: Scope = "image"
    batch: int = 64

    def __post_init__(self) -> None:
        if not isinstance(self.levels, int) or not 2 <= self.levels <= SOURCES:
            raise ValueError(f"map levels must be 2 to {SOURCES}, got {self.levels}")
        if not 0 <= self.smoothness <= 1:
            raise ValueError(f"map smoothness must be 0 to 1, got {self.smoothness}")
        if self.scope not in get_args(Scope):
            raise ValueError(f"map scope must be one of {', '.join(get_args(Scope))}, got {self.scope!r}")
        if not isinstance(self.batch, int) or self.batch < 1:
            raise ValueError(f"map batch must be 1 or more, got {self.batch}")

    @property
    def runs(self) -> int:
        """Monotone pieces of a map: 256 for smoothness 0, 1 for smoothness 1."""
        return round(math.pow(SOURCES, 1 - self.smoothness))

    @property
    def targets(self) -> Table:
        """The grey levels that maps lead to, `(levels,)`, from 0 to 255."""
        return np.round(np.arange(self.levels) * (SOURCES - 1) / (self.levels - 1)).astype(np.uint8)

    def draw(self, stream: Entropy) -> IntensityMap:
        """One map, from the next bytes of `stream`."""
        return IntensityMap(self.tables([stream])[0])

    def tables(self, streams: Sequence[Entropy]) -> Table:
        """One map a stream, `(n, 256)` uint8. Every map takes the same number of bytes, whatever it becomes."""
        words = np.empty((len(streams), _WORDS), np.uint64)
        for row, stream in enumerate(streams):
            words[row] = stream.words(_WORDS, np.uint64)
        values = _reduced(words[:, : 2 * SOURCES], self.levels)
        run = self._run_of(words[:, 2 * SOURCES : 3 * SOURCES - 1])
        turns = np.unpackbits(np.ascontiguousarray(words[:, -4:]).view(np.uint8), axis=1).astype(np.bool_)
        down = np.take_along_axis(turns, run, axis=1)
        # A key that starts with the run keeps every run in its place while its values are sorted.
        keys = run.astype(np.uint16) << np.uint16(8) | np.where(down, self.levels - 1 - values, values)
        ranked = np.sort(keys, axis=1) & np.uint16(SOURCES - 1)
        return self.targets[np.where(down, self.levels - 1 - ranked, ranked)]

    def _run_of(self, words: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Which run each source level is in, `(n, 256)`; the cuts are the first places of a random order."""
        starts = np.zeros((len(words), SOURCES), np.int64)
        places = np.argsort(words, axis=1, kind="stable")[:, : self.runs - 1]
        np.put_along_axis(starts, places + 1, 1, axis=1)
        return np.cumsum(starts, axis=1)


def apply_each(images: NDArray[Any], tables: Table) -> NDArray[np.uint8]:
    """Map picture i by table i.

    Args:
        images: `(n, ...)` uint8.
        tables: `(n, 256)` uint8.

    Returns:
        A new array of the shape of `images`.

    Raises:
        ValueError: for images that are not uint8 (a map is of 256 levels), or another number of tables.
    """
    if images.dtype != np.uint8:
        raise ValueError(f"images must be uint8, got {images.dtype}: a map has {SOURCES} levels")
    if tables.shape != (len(images), SOURCES):
        raise ValueError(f"tables must be ({len(images)}, {SOURCES}), one an image, got {tables.shape}")
    mapped = np.empty(images.shape, np.uint8)
    for row, (image, table) in enumerate(zip(images, tables, strict=True)):
        # bytes.translate looks up a byte at a time; indexing would first widen every pixel to 8 bytes.
        mapped[row] = np.frombuffer(image.tobytes().translate(table.tobytes()), np.uint8).reshape(image.shape)
    return mapped


def _reduced(words: NDArray[np.uint64], bound: int) -> NDArray[np.uint16]:
    """Uniform values below `bound` from 128 bits each: the bias is below 2**-120, and nothing is drawn again."""
    high, low = words[:, :SOURCES], words[:, SOURCES:]
    divisor = np.uint64(bound)
    return ((high % divisor * np.uint64(2**64 % bound) + low % divisor) % divisor).astype(np.uint16)


def _entropy(weights: NDArray[np.float64]) -> float:
    shares = weights[weights > 0] / weights.sum()
    return float(-(shares * np.log2(shares)).sum())
