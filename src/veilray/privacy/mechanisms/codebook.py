"""Code book release: one of K public +-1 words for each block, with exact probabilities whatever the latent is.

A block is put on an integer grid, every word gets an integer score, the best m words (ties by index) win. With
probability p one of them is released, else one of the others: `subset_selection.py` holds the proof, which needs no
argument about floating point. Epsilon adds over blocks. Scores are sums of integers below 2^53 held in float64, so they
are exact in any order of summation; they decide only who wins.

The number of blocks, K and m are chosen for the best expected correlation with an N(0, I) source at the given epsilon
and dimension: from public formulas, never from records.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from veilray.privacy.code_book import book_sizes, code_book, guessed_top_scores, measured_top_scores
from veilray.privacy.entropy import Entropy
from veilray.privacy.guarantee import Bound, Guarantee
from veilray.privacy.mechanisms.base import MECHANISMS, Claim, Floats, Integers, Mechanism, finite_rows, whole_options
from veilray.privacy.subset_selection import SubsetSelection, winners_first

__all__ = ["Codebook"]

_GRID = 2.0**20
"""Largest grid value of a block: fine enough not to matter, small enough that scores stay below 2^53."""

_CHUNK = 2**20
"""Scores held at once."""

_NEARLY = 0.995
"""A smaller book is taken when it is this close to the best."""


@dataclass(frozen=True)
class _Block:
    length: int
    selection: SubsetSelection


@MECHANISMS.register("codebook")
class Codebook(Mechanism):
    """Release public code words; make one with `calibrate`."""

    name: ClassVar[str] = "codebook"

    def __init__(self, epsilon: Fraction, blocks: tuple[_Block, ...]) -> None:
        self._epsilon = epsilon
        self._blocks = blocks
        self._edges = tuple(int(e) for e in np.cumsum([0] + [b.length for b in blocks]))

    @classmethod
    def calibrate(cls, claim: Claim, dimension: int, **options: Any) -> Codebook:
        """The code book mechanism for rows of `dimension` elements.

        Options:
            blocks, words, winners: number of blocks, words of a book (K) and winners (m); each by default the best for
                this epsilon and dimension. K must be 2^length for blocks of up to 12 elements, else 64, 256, 1024 or
                4096.

        Raises:
            ValueError: for a delta, a unit other than image, unknown or impossible options.
        """
        blocks, words, winners = whole_options(options, "blocks", "words", "winners")
        if options:
            raise ValueError(f"options must be blocks, words or winners, got {', '.join(sorted(options))}")
        if claim.delta != 0:
            raise ValueError(f"delta must be 0 for codebook, got {claim.delta}: its claim is pure")
        if claim.unit != "image":
            raise ValueError(f"unit must be image for codebook, got {claim.unit}: a word has no elements of its own")
        if dimension < 1:
            raise ValueError(f"dimension must be at least 1, got {dimension}")
        if blocks is not None and not 1 <= blocks <= dimension:
            raise ValueError(f"blocks must be between 1 and the dimension {dimension}, got {blocks}")
        count = _best_block_count(claim.epsilon, dimension) if blocks is None else blocks
        share = claim.epsilon / count
        sizes = [dimension // count + (b < dimension % count) for b in range(count)]
        plans = {length: _Block(length, _plan(share, length, words, winners)) for length in set(sizes)}
        return cls(claim.epsilon, tuple(plans[length] for length in sizes))

    @property
    def dimension(self) -> int:
        return self._edges[-1]

    @property
    def selections(self) -> tuple[SubsetSelection, ...]:
        """The public selection parameters of each block."""
        return tuple(b.selection for b in self._blocks)

    def bound(self, latent: Floats) -> Floats:
        """Each block scaled so that its largest element is 2^20, and rounded: integers in float64 `(n, d)`. A zero
        block, and every block of a non-finite row, becomes the block of ones."""
        self._check_rows(latent)
        rows = finite_rows(latent)
        out = np.empty_like(rows)
        for start, stop in zip(self._edges, self._edges[1:], strict=False):
            block = rows[:, start:stop]
            largest = np.abs(block).max(axis=1, keepdims=True)
            share = np.where(largest > 0, block / np.where(largest > 0, largest, 1.0), 1.0)
            out[:, start:stop] = np.rint(share * _GRID)
        return out

    def randomise(self, bounded: NDArray[Any], entropy: Entropy) -> Floats:
        """One word of +-1 for each block of each row, `(n, d)` float64."""
        return self.words_of(self.randomise_index(bounded, entropy))

    def randomise_index(self, bounded: NDArray[Any], entropy: Entropy) -> Integers:
        """The index of the released word for each block, `(n, blocks)` int64; two words of entropy each."""
        grid = self.bound(np.asarray(bounded, dtype=np.float64))
        words = entropy.words((len(grid), len(self._blocks), 2), np.uint64)
        out = np.empty((len(grid), len(self._blocks)), dtype=np.int64)
        for number, block in enumerate(self._blocks):
            ranks = block.selection.ranks(words[:, number])
            for rows in self._chunks(len(grid), block):
                order = winners_first(self._winners(number, grid[rows]))
                out[rows, number] = np.take_along_axis(order, ranks[rows, None], axis=1)[:, 0]
        return out

    def words_of(self, index: Integers) -> Floats:
        """The rows `(n, d)` that the indices `(n, blocks)` stand for."""
        parts = [code_book(b.length, b.selection.size)[index[:, n]] for n, b in enumerate(self._blocks)]
        return np.concatenate(parts, axis=1)

    def guarantee(self, dimension: int) -> Guarantee:
        if dimension != self.dimension:
            raise ValueError(f"dimension must be {self.dimension}, got {dimension}")
        distinct = list(dict.fromkeys(self._blocks))
        parameters = {
            "blocks": str(len(self._blocks)),
            "epsilon of a block": str(self._epsilon / len(self._blocks)),
            "elements of a block": " ".join(str(b.length) for b in distinct),
            "words": " ".join(str(b.selection.size) for b in distinct),
            "winners": " ".join(str(b.selection.winners) for b in distinct),
            "coin (of 2^64)": " ".join(str(b.selection.coin) for b in distinct),
            "book": "cube up to 12 elements, else SHAKE-256 of 'veilray code book <elements>' and the negatives",
        }
        return Guarantee(
            unit="image",
            epsilon=self._epsilon,
            image_epsilon=self._epsilon,
            bound=Bound(kind="index"),
            dimension=dimension,
            mechanism=self.name,
            parameters=parameters,
        )

    def log_likelihood(self, released: Floats, latent: Floats) -> Floats:
        """log probability of the released words under `latent`, `(n,)`, nats, summed over blocks.

        Raises:
            ValueError: when a released block is not a word of the book.
        """
        self._check_rows(released)
        grid = self.bound(latent)
        total = np.zeros(max(len(released), len(grid)))
        for number, block in enumerate(self._blocks):
            index = self._find(number, released)
            won = np.empty(len(total), dtype=bool)
            for rows in self._chunks(len(total), block):
                marked = self._winners(number, grid if len(grid) == 1 else grid[rows])
                at = index if len(index) == 1 else index[rows]
                won[rows] = marked[np.arange(len(marked)) if len(marked) > 1 else 0, at]
            total += np.where(won, block.selection.log_win, block.selection.log_lose)
        return total

    def to_prior(self, released: Floats) -> Floats:
        """Identity: the elements of a word already have mean 0 and mean square 1 over the book."""
        self._check_rows(released)
        return np.array(released, dtype=np.float64)

    def expected_correlation(self) -> float:
        """Correlation of an N(0, I_d) source with its release: E<w, x> / d, from a fixed public experiment."""
        return (
            sum(
                float((measured_top_scores(b.length, b.selection.size) * _gains(self._share, b.selection.size))[m - 1])
                for b in self._blocks
                for m in (b.selection.winners,)
            )
            / self.dimension
        )

    @property
    def _share(self) -> Fraction:
        return self._epsilon / len(self._blocks)

    def _winners(self, number: int, grid: Floats) -> NDArray[np.bool_]:
        """The exact scores' best m words, `(n, K)` bool."""
        block = self._blocks[number]
        book = code_book(block.length, block.selection.size)
        scores = grid[:, self._edges[number] : self._edges[number + 1]] @ book.T
        # The index breaks ties: score * K - index is an integer below 2^53 and no two words share it.
        keys = np.arange(block.selection.size) - scores * block.selection.size
        cut = np.partition(keys, block.selection.winners - 1, axis=1)[:, block.selection.winners - 1, None]
        return np.asarray(keys <= cut)

    def _find(self, number: int, released: Floats) -> Integers:
        block = self._blocks[number]
        book = code_book(block.length, block.selection.size)
        words = np.asarray(released[:, self._edges[number] : self._edges[number + 1]], dtype=np.float64)
        index = (words @ book.T).argmax(axis=1)
        if not np.array_equal(book[index], words):
            raise ValueError("released must be words of the public book, got others: pass what randomise returned")
        return np.asarray(index, dtype=np.int64)

    def _chunks(self, rows: int, block: _Block) -> list[slice]:
        step = max(1, _CHUNK // block.selection.size)
        return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def _gains(share: Fraction, size: int) -> Floats:
    """p - (1-p) m / (K-m) for m = 1 .. K/2: what is left of the winners' mean score, as the book adds up to zero."""
    m = np.arange(1, size // 2 + 1)
    p = m / (m + (size - m) * math.exp(-float(share)))
    return np.asarray(p - (1 - p) * m / (size - m))


@lru_cache(maxsize=256)
def _best(share: Fraction, length: int) -> tuple[float, int, int]:
    """Expected score, K and m of the best book, or of a smaller one that is nearly as good."""
    found = []
    for size in book_sizes(length):
        value = guessed_top_scores(length, size) * _gains(share, size)
        found.append((float(value.max()), size, int(value.argmax()) + 1))
    top = max(found)[0]
    return next(entry for entry in found if entry[0] >= _NEARLY * top)


def _best_block_count(epsilon: Fraction, dimension: int) -> int:
    counts = sorted({max(1, -(-epsilon // each)) for each in range(1, 13)})
    possible = [count for count in counts if count <= dimension] or [dimension]
    return max(possible, key=lambda count: count * _best(epsilon / count, dimension // count)[0])


def _plan(share: Fraction, length: int, words: int | None, winners: int | None) -> SubsetSelection:
    _, size, best = _best(share, length)
    if words is not None and words != size:
        size = words
        if size not in book_sizes(length):
            raise ValueError(f"words must be one of {book_sizes(length)} for blocks of {length} elements, got {words}")
        best = int((guessed_top_scores(length, size) * _gains(share, size)).argmax()) + 1
    chosen = best if winners is None else winners
    if not 1 <= chosen <= size // 2:
        raise ValueError(f"winners must be between 1 and {size // 2}, got {chosen}")
    return SubsetSelection.of(share, size, chosen)
