"""Public code books of +-1 words: derived from their size alone, the same on every machine.

Up to 12 elements the book is the whole cube. Longer words come from SHAKE-256 of a fixed text, without repeats,
followed by their negatives, so that the words of a book add up to zero. A book is public and holds no secret; which
one is used is part of the claim's parameters.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtri

from veilray.privacy.entropy import SeededEntropy
from veilray.privacy.samplers.normal import normals

Floats = NDArray[np.float64]

__all__ = ["LARGEST_BOOK", "book_sizes", "code_book", "guessed_top_scores", "measured_top_scores"]

LARGEST_BOOK = 4096
"""Most words of a book: scoring costs words x elements a row, and the gain grows with the root of the logarithm."""

_CUBE = 12


def book_sizes(length: int) -> tuple[int, ...]:
    """The book sizes on offer for words of `length` elements."""
    return (2**length,) if length <= _CUBE else (64, 256, 1024, LARGEST_BOOK)


@lru_cache(maxsize=16)
def code_book(length: int, size: int) -> Floats:
    """The `(size, length)` float64 book of +-1 words, read-only. `size` is one of `book_sizes(length)`."""
    if size not in book_sizes(length):
        raise ValueError(f"size must be one of {book_sizes(length)} for words of {length} elements, got {size}")
    if length <= _CUBE:
        bits = (np.arange(size)[:, None] >> np.arange(length)) & 1
        words = 1.0 - 2.0 * bits
    else:
        half = _hashed_words(length, size // 2)
        words = np.concatenate([half, -half])
    words.setflags(write=False)
    return np.asarray(words, dtype=np.float64)


def _hashed_words(length: int, count: int) -> Floats:
    """`count` words, no two equal or opposite, in the order of the hash."""
    width = (length + 7) // 8
    text = f"veilray code book {length}".encode()
    # Twice as many as needed: for 13 elements about one word in four repeats an earlier one or its negative.
    stream = hashlib.shake_256(text).digest(2 * count * width)
    bits = np.unpackbits(np.frombuffer(stream, np.uint8).reshape(-1, width), axis=1)[:, :length]
    bits ^= bits[:, :1]  # of a word and its negative, the one that starts with +1
    _, first = np.unique(bits, axis=0, return_index=True)
    return np.asarray(1.0 - 2.0 * bits[np.sort(first)[:count]])


def guessed_top_scores(length: int, size: int) -> Floats:
    """E of the mean of the best m scores <w, x>, for m = 1 .. size/2 and x from N(0, I): by a formula.

    The scores of a symmetric book are +-|x| times half normals; their order statistics by Blom 1958. Small books are
    measured instead, because their scores are far from normal.
    """
    if length <= _CUBE:
        return measured_top_scores(length, size, 128)
    half = size // 2
    place = (half - np.arange(half) - 0.375) / (half + 0.25)
    best = ndtri(0.5 + place / 2)
    return np.asarray(np.sqrt(length) * np.cumsum(best) / np.arange(1, half + 1))


@lru_cache(maxsize=64)
def measured_top_scores(length: int, size: int, draws: int = 512) -> Floats:
    """The same by a fixed public experiment on the book itself: `draws` directions of a fixed seed, at the mean length
    of an N(0, I) vector (a score is linear in the length, so drawing the length too would only add error)."""
    drawn = normals(SeededEntropy(f"code book of {length}").words((draws, length), np.uint64))
    mean = np.sqrt(2) * np.exp(gammaln((length + 1) / 2) - gammaln(length / 2))
    scores = mean * drawn / np.sqrt((drawn**2).sum(axis=1, keepdims=True)) @ code_book(length, size).T
    best = -np.sort(-scores, axis=1)[:, : size // 2].mean(axis=0)
    return np.asarray(np.cumsum(best) / np.arange(1, size // 2 + 1))
