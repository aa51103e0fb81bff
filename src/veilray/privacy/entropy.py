"""The only door to randomness: the operating system for releases, a seed for experiments.

Both are AES-256 in counter mode (the `cryptography` package), so that a release draws at memory speed from a
generator that cannot be predicted from its output. A release draws from `SystemEntropy`: its key comes from
the operating system, is replaced every 16 MiB and after a fork, is never stored, shown or copied.
`SeededEntropy` is for experiments and tests only; the release pipeline refuses it by its type.

The claim is therefore computational in one place: it holds against everybody who cannot tell AES-256-CTR
from random bits.

A batch of rows is drawn through `RowStreams`. For a release they are one stream, of which nothing is ever
drawn twice; for a seed every row has its own (the row number is part of the AES counter), so that an experiment
can change, add or drop other rows and see the same noise on this one.
"""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NoReturn

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

__all__ = ["REKEY_AFTER", "Entropy", "RowStreams", "SeededEntropy", "SystemEntropy"]

REKEY_AFTER = 16 * 2**20
"""Bytes drawn under one key before a fresh one is taken (16 MiB)."""

_ZEROS = memoryview(bytes(2**20))

_forks = 0
_living: weakref.WeakSet[SystemEntropy] = weakref.WeakSet()


def _forget_parent() -> None:
    """A child must never share its parent's keystream, nor wait for a lock whose holder was not forked with it."""
    global _forks  # noqa: PLW0603 - one counter a process
    _forks += 1
    for entropy in list(_living):
        entropy._reset()


os.register_at_fork(after_in_child=_forget_parent)


class Entropy(ABC):
    """A stream of random bytes. `row(i)` gives row i a stream of its own, whatever the other rows draw."""

    @abstractmethod
    def fill(self, out: memoryview) -> None:
        """Overwrite every byte of the writable, contiguous `out` with random bytes."""

    @abstractmethod
    def row(self, index: int) -> Entropy:
        """The stream of row `index` (at least 0): independent of every other row's stream."""

    def streams(self) -> RowStreams:
        """Streams for the rows of one batch; every call gives new ones."""
        return RowStreams(self)

    def branches(self, count: int) -> tuple[Entropy, ...]:
        """`count` streams that share no word with each other, nor with anything drawn from this one; every call gives
        new ones. Here each is this stream itself: what one of them draws no other ever draws."""
        return (self,) * count

    def bytes(self, count: int) -> bytes:
        """`count` random bytes."""
        return self.words(count, np.uint8).tobytes()

    def words(self, shape: int | tuple[int, ...], dtype: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
        """Uniform unsigned integers over the whole range of `dtype`, of the given shape."""
        out = np.empty(shape, dtype)
        if out.size:
            self.fill(memoryview(out.reshape(-1).view(np.uint8)).cast("B"))  # type: ignore[arg-type]
        return out

    def below(self, bound: int) -> int:
        """One uniform integer in [0, bound), by 128 bits more than needed: its bias is below 2**-128.

        A fixed number of bytes is drawn, so that nothing about the result shows in the time taken.
        """
        if bound < 1:
            raise ValueError(f"bound must be at least 1, got {bound}")
        count = (bound.bit_length() + 128 + 7) // 8
        return int.from_bytes(self.bytes(count), "big") % bound

    def permutation(self, count: int) -> NDArray[np.int64]:
        """A uniform order of 0..count-1 (sorting by 128-bit keys; equal keys have odds below count**2 / 2**129)."""
        keys = self.words((count, 2), np.uint64)
        return np.lexsort((keys[:, 0], keys[:, 1])).astype(np.int64)


class RowStreams:
    """Random words for the rows of one batch.

    Here all rows share one stream (`shared`), so a batch may be drawn as if it were one long row.
    """

    shared: ClassVar[bool] = True

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy

    def fill(self, first: int, out: NDArray[np.unsignedinteger[Any]]) -> None:
        """Overwrite the contiguous `out`, `(planes, rows, columns)`, for rows `first`, `first + 1`, ..."""
        if out.size:
            self._entropy.fill(memoryview(out.reshape(-1).view(np.uint8)).cast("B"))  # type: ignore[arg-type]

    def more(self, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
        """The next 64 bits for each row listed; a row listed twice gets two different words."""
        return self._entropy.words(len(rows), np.uint64)


class _SeededRowStreams(RowStreams):
    """Row i reads AES(i, 0), AES(i, 1), ...: what a row draws never depends on another row.

    AES under one key is a permutation, so distinct (row, position) pairs give distinct blocks that nobody
    without the key can tell from random: the counter mode, with the row as the upper half of the counter.
    """

    shared = False

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # of counters, never of data
        self._position = np.zeros(0, np.uint64)

    def fill(self, first: int, out: NDArray[np.unsignedinteger[Any]]) -> None:
        planes, rows, columns = out.shape
        per_row = planes * columns * out.itemsize
        blocks = -(-per_row // 16)
        start = self._advance(np.arange(first, first + rows), np.full(rows, blocks))
        counters = np.empty((rows, blocks, 2), np.uint64)
        counters[:, :, 0] = np.arange(first, first + rows)[:, None]
        counters[:, :, 1] = start[:, None] + np.arange(blocks, dtype=np.uint64)
        drawn = self._encrypt(counters).reshape(rows, blocks * 16)[:, :per_row]
        words = np.ascontiguousarray(drawn).view(out.dtype).reshape(rows, planes, columns)
        np.copyto(out, words.transpose(1, 0, 2))

    def more(self, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
        order = np.argsort(rows, kind="stable")
        listed, firsts, counts = np.unique(rows[order], return_index=True, return_counts=True)
        turn = np.arange(len(rows)) - np.repeat(firsts, counts)
        counters = np.empty((len(rows), 2), np.uint64)
        counters[order, 0] = rows[order]
        counters[order, 1] = np.repeat(self._advance(listed, counts), counts) + turn.astype(np.uint64)
        return self._encrypt(counters).view(np.uint64).reshape(-1, 2)[:, 0]

    def _advance(self, rows: NDArray[np.int64], blocks: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Where each of the distinct rows stands, before it moves on by so many blocks."""
        missing = int(rows.max(initial=-1)) + 1 - len(self._position)
        if missing > 0:
            self._position = np.concatenate([self._position, np.zeros(missing, np.uint64)])
        start = self._position[rows]
        self._position[rows] += blocks.astype(np.uint64)
        return start

    def _encrypt(self, counters: NDArray[np.uint64]) -> NDArray[np.uint8]:
        return np.frombuffer(self._cipher.update(counters.tobytes()), np.uint8)


class SystemEntropy(Entropy):
    """Randomness for releases: keyed by the operating system, re-keyed every 16 MiB and after a fork.

    Safe to share between threads. It cannot be copied or pickled: two holders of one key would draw the same
    noise for two images, and their difference would show both.
    """

    _cipher: CipherContext | None

    def __init__(self) -> None:
        self._reset()
        _living.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._cipher = None
        self._left = 0
        self._owner = (0, 0)

    def fill(self, out: memoryview) -> None:
        with self._lock:
            start = 0
            while start < len(out):
                cipher = self._fresh_enough()
                stop = min(len(out), start + len(_ZEROS), start + self._left)
                cipher.update_into(_ZEROS[: stop - start], out[start:stop])
                self._left -= stop - start
                start = stop

    def row(self, index: int) -> SystemEntropy:
        """The stream itself: nothing drawn from it is ever drawn again, by any row."""
        _check_row(index)
        return self

    def _fresh_enough(self) -> CipherContext:
        here = (_forks, os.getpid())  # the process number alone may come round again in a grandchild
        if self._cipher is None or self._left <= 0 or self._owner != here:
            self._cipher = _keystream(os.urandom(32), os.urandom(16))
            self._left = REKEY_AFTER
            self._owner = here
        return self._cipher

    def __reduce__(self) -> NoReturn:
        raise TypeError("system entropy must not be copied or pickled: make a new SystemEntropy() instead")

    def __repr__(self) -> str:
        return "SystemEntropy()"


class SeededEntropy(Entropy):
    """Randomness for experiments: the same seed gives the same bytes. Never for a release.

    Args:
        seed: any integer or text; it is hashed to the key.

    Example:
        >>> SeededEntropy(7).bytes(4) == SeededEntropy(7).bytes(4)
        True
        >>> SeededEntropy(7).row(3).bytes(4) == SeededEntropy(7).row(4).bytes(4)
        False
    """

    def __init__(self, seed: int | str) -> None:
        self._key = hashlib.sha256(f"veilray experiment:{seed}".encode()).digest()
        self._cipher = _keystream(self._key, bytes(16))

    def fill(self, out: memoryview) -> None:
        for start in range(0, len(out), len(_ZEROS)):
            stop = min(len(out), start + len(_ZEROS))
            self._cipher.update_into(_ZEROS[: stop - start], out[start:stop])

    def streams(self) -> RowStreams:
        return _SeededRowStreams(self.bytes(32))

    def branches(self, count: int) -> tuple[SeededEntropy, ...]:
        """Each has a key of its own, drawn from this stream: what one draws does not move the others."""
        return tuple(SeededEntropy(f"branch {self.bytes(32).hex()}") for _ in range(count))

    def row(self, index: int) -> SeededEntropy:
        _check_row(index)
        return SeededEntropy(f"{self._key.hex()}/{index}")

    def __repr__(self) -> str:
        return "SeededEntropy(experiments only)"


def _keystream(key: bytes, nonce: bytes) -> CipherContext:
    return Cipher(algorithms.AES(key), modes.CTR(nonce)).encryptor()


def _check_row(index: int) -> None:
    if index < 0:
        raise ValueError(f"row must be at least 0, got {index}")
