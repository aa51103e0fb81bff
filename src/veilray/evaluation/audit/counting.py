"""An entropy that counts what is drawn from it: how many bytes, in how many calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.privacy.entropy import Entropy, RowStreams, SeededEntropy

__all__ = ["CountingEntropy", "Tally"]


@dataclass
class Tally:
    """Bytes and calls so far."""

    bytes: int = 0
    calls: int = 0

    def add(self, count: int) -> None:
        """Note one call for `count` bytes."""
        self.bytes += count
        self.calls += 1


class CountingEntropy(Entropy):
    """A seeded entropy that notes every draw, its rows' and batches' streams included.

    Example:
        >>> entropy = CountingEntropy(1)
        >>> _ = entropy.bytes(5), entropy.row(3).bytes(2)
        >>> entropy.tally
        Tally(bytes=7, calls=2)
    """

    def __init__(self, seed: int | str, tally: Tally | None = None, inner: Entropy | None = None) -> None:
        self.tally = tally if tally is not None else Tally()
        self._inner = inner if inner is not None else SeededEntropy(seed)

    def fill(self, out: memoryview) -> None:
        self.tally.add(len(out))
        self._inner.fill(out)

    def row(self, index: int) -> CountingEntropy:
        return CountingEntropy("", self.tally, self._inner.row(index))

    def branches(self, count: int) -> tuple[CountingEntropy, ...]:
        return tuple(CountingEntropy("", self.tally, branch) for branch in self._inner.branches(count))

    def streams(self) -> RowStreams:
        return _CountingStreams(self._inner.streams(), self.tally)


class _CountingStreams(RowStreams):
    def __init__(self, inner: RowStreams, tally: Tally) -> None:
        self._inner = inner
        self._tally = tally
        self.shared = inner.shared  # type: ignore[misc]  # as the streams that are counted

    def fill(self, first: int, out: NDArray[np.unsignedinteger[Any]]) -> None:
        self._tally.add(out.nbytes)
        self._inner.fill(first, out)

    def more(self, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
        self._tally.add(8 * len(rows))
        return self._inner.more(rows)
