"""The only door to randomness: the operating system for releases, a seed for experiments.

Both are AES-256 in counter mode (the `cryptography` package), so that a release draws at memory speed from a
generator that cannot be predicted from its output. A release draws from `SystemEntropy`: its key comes from
the operating system, is replaced every 16 MiB and after a fork, is never stored, shown or copied.
`SeededEntropy` is for experiments and tests only; the release pipeline refuses it by its type.

The claim is therefore computational in one place: it holds against everybody who cannot tell AES-256-CTR
from random bits.
"""

from __future__ import annotations

import hashlib
import os
import threading
from abc import ABC, abstractmethod
from typing import Any, NoReturn

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

__all__ = ["REKEY_AFTER", "Entropy", "SeededEntropy", "SystemEntropy"]

REKEY_AFTER = 16 * 2**20
"""Bytes drawn under one key before a fresh one is taken (16 MiB)."""

_ZEROS = bytes(2**20)

_forks = 0


def _count_fork() -> None:
    global _forks  # noqa: PLW0603 - one counter a process: a child must never share its parent's keystream
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)


class Entropy(ABC):
    """A stream of random bytes. `row(i)` gives row i a stream of its own, whatever the other rows draw."""

    @abstractmethod
    def fill(self, out: memoryview) -> None:
        """Overwrite every byte of the writable, contiguous `out` with random bytes."""

    @abstractmethod
    def row(self, index: int) -> Entropy:
        """The stream of row `index` (at least 0): independent of every other row's stream."""

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


class SystemEntropy(Entropy):
    """Randomness for releases: keyed by the operating system, re-keyed every 16 MiB and after a fork.

    Safe to share between threads. It cannot be copied or pickled: two holders of one key would draw the same
    noise for two images, and their difference would show both.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cipher: CipherContext | None = None
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
