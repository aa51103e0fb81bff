"""Selection: release one of N public candidates, probably one of the k nearest to the private image.

Candidates are drawn from the model's prior independently of the private data (fresh, or one public list for all);
their features and the private image's features live in one *public* feature space. Exactly k candidates win, the
nearest (ties by index); with probability p = k e^eps / (k e^eps + N - k), rounded down, one of them is released, else
one of the others. Every candidate can come out for every image, with probability p/k or (1-p)/(N-k): exactly
epsilon-LDP, whatever the distances are and however they are rounded (`subset_selection.py`).

**The candidate's image.** The mechanism works on features: it releases an index (`randomise_index`) or that candidate's
row of features (`randomise`). The caller keeps the images of the candidate list in the same order and takes
`images[index]`; `index_of(released)` finds the index again from released features.

Real public images as candidates would release a picture of a person: only with consent, and said on the card.

Source: subset selection, Ye and Barg 2018.
"""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from veilray.privacy.entropy import Entropy
from veilray.privacy.guarantee import Bound, Guarantee
from veilray.privacy.mechanisms.base import MECHANISMS, Claim, Floats, Integers, Mechanism, finite_rows, whole_options
from veilray.privacy.subset_selection import SubsetSelection, best_winner_count, select_smallest, winners_first

__all__ = ["Selection"]

_LARGEST_FEATURE = 1e100
"""Features are clipped here, so that no squared distance overflows to infinity and ties by accident."""

_CHUNK = 2**20
"""Distances held at once."""


@MECHANISMS.register("selection")
class Selection(Mechanism):
    """Release one of a public list of candidates; make one with `calibrate`."""

    name: ClassVar[str] = "selection"
    wants_candidates: ClassVar[bool] = True

    def __init__(self, candidates: Floats, selection: SubsetSelection) -> None:
        self._candidates = candidates
        self._selection = selection
        self._index = {row.tobytes(): number for number, row in enumerate(candidates)}

    @classmethod
    def calibrate(cls, claim: Claim, dimension: int, **options: Any) -> Selection:
        """The selection mechanism for rows of `dimension` features.

        Options:
            candidates: `(N, dimension)` floats, N at least 2, all different: the public list, drawn independently of
                the private data. Required.
            winners: k; by default the whole number nearest N / (1 + e^epsilon).

        Raises:
            ValueError: for a delta, a unit other than image, or a list that is missing, not finite or has repeats.
        """
        candidates, (winners,) = options.pop("candidates", None), whole_options(options, "winners")
        if options:
            raise ValueError(f"options must be candidates or winners, got {', '.join(sorted(options))}")
        if claim.delta != 0:
            raise ValueError(f"delta must be 0 for selection, got {claim.delta}: its claim is pure")
        if claim.unit != "image":
            raise ValueError(f"unit must be image for selection, got {claim.unit}: a candidate is released whole")
        if candidates is None:
            raise ValueError("candidates must be a public (N, features) array, got none: draw them from the prior")
        rows = np.array(candidates, dtype=np.float64, order="C") + 0.0  # + 0.0 turns -0.0 into 0.0
        if rows.ndim != 2 or rows.shape[1] != dimension or len(rows) < 2:
            raise ValueError(f"candidates must be (N, {dimension}) with N at least 2, got shape {rows.shape}")
        if not np.isfinite(rows).all() or np.abs(rows).max() > _LARGEST_FEATURE:
            raise ValueError(f"candidates must be finite and at most {_LARGEST_FEATURE:g} in size, got other values")
        if len(np.unique(rows, axis=0)) < len(rows):
            raise ValueError("candidates must be all different, got repeated rows: drop the repeats")
        count = best_winner_count(claim.epsilon, len(rows)) if winners is None else winners
        rows.setflags(write=False)
        return cls(rows, SubsetSelection.of(claim.epsilon, len(rows), count))

    @property
    def dimension(self) -> int:
        return int(self._candidates.shape[1])

    @property
    def candidates(self) -> Floats:
        """The public list `(N, f)`, read-only."""
        return self._candidates

    @property
    def selection(self) -> SubsetSelection:
        """The public selection parameters."""
        return self._selection

    def bound(self, latent: Floats) -> Floats:
        """Features clipped to a size whose square is finite; a non-finite row becomes the zero row."""
        self._check_rows(latent)
        return np.asarray(np.clip(finite_rows(latent), -_LARGEST_FEATURE, _LARGEST_FEATURE))

    def randomise(self, bounded: NDArray[Any], entropy: Entropy) -> Floats:
        """The features of the released candidates, `(n, f)` float64."""
        return np.asarray(self._candidates[self.randomise_index(bounded, entropy)])

    def randomise_index(self, bounded: NDArray[Any], entropy: Entropy) -> Integers:
        """The index of the released candidate for each row, `(n,)` int64; two words of entropy a row."""
        rows = self.bound(np.asarray(bounded, dtype=np.float64))
        ranks = self._selection.ranks(entropy.words((len(rows), 2), np.uint64))
        out = np.empty(len(rows), dtype=np.int64)
        for part in self._chunks(len(rows)):
            order = winners_first(self.winners(rows[part]))
            out[part] = np.take_along_axis(order, ranks[part, None], axis=1)[:, 0]
        return out

    def winners(self, latent: Floats) -> NDArray[np.bool_]:
        """Which candidates win for each row: `(n, N)` bool with exactly `selection.winners` in each row. Private."""
        rows = self.bound(latent)
        # |c - x|^2 by differences, one feature at a time: small memory, and no cancellation between large squares.
        distance = np.zeros((len(rows), len(self._candidates)))
        for feature in range(self.dimension):
            distance += (rows[:, feature, None] - self._candidates[:, feature]) ** 2
        return select_smallest(distance, self._selection.winners)

    def index_of(self, released: Floats) -> Integers:
        """The candidates' indices `(n,)` of released feature rows. Raises ValueError for a row not in the list."""
        self._check_rows(released)
        rows = np.array(released, dtype=np.float64, order="C") + 0.0
        found = [self._index.get(row.tobytes(), -1) for row in rows]
        if -1 in found:
            raise ValueError("released must be rows of the public list, got others: pass what randomise returned")
        return np.array(found, dtype=np.int64)

    def guarantee(self, dimension: int) -> Guarantee:
        if dimension != self.dimension:
            raise ValueError(f"dimension must be {self.dimension}, got {dimension}")
        digest = hashlib.sha256(self._candidates.astype("<f8").tobytes()).hexdigest()
        parameters = {
            "candidates": str(self._selection.size),
            "winners": str(self._selection.winners),
            "coin (of 2^64)": str(self._selection.coin),
            "list (SHA-256 of little-endian float64)": digest,
        }
        return Guarantee(
            unit="image",
            epsilon=self._selection.epsilon,
            image_epsilon=self._selection.epsilon,
            bound=Bound(kind="index"),
            dimension=dimension,
            mechanism=self.name,
            parameters=parameters,
        )

    def log_likelihood(self, released: Floats, latent: Floats) -> Floats:
        """log probability of the released candidate under `latent`, `(n,)`, nats. Raises as `index_of`."""
        index = self.index_of(released)
        rows = self.bound(latent)
        count = max(len(index), len(rows))
        won = np.empty(count, dtype=bool)
        for part in self._chunks(count):
            marked = self.winners(rows if len(rows) == 1 else rows[part])
            at = index if len(index) == 1 else index[part]
            won[part] = marked[np.arange(len(marked)) if len(marked) > 1 else 0, at]
        return np.where(won, self._selection.log_win, self._selection.log_lose)

    def to_prior(self, released: Floats) -> Floats:
        """Identity: a candidate is a sample of the prior already."""
        self._check_rows(released)
        return np.array(released, dtype=np.float64)

    def _chunks(self, rows: int) -> list[slice]:
        step = max(1, _CHUNK // len(self._candidates))
        return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
