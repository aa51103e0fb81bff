"""k-ary randomised response: a category is kept with probability p = e^eps / (e^eps + k - 1), else replaced by another.

For labels (`respond`) and for table cells (`RandomisedResponse`, whose rows are the cells of one record). The levels
are a *public* list: one that was read off the private records would be a release of its own. p is rounded down to a
whole number of 64-bit words, the draw of another category is charged exactly (`samplers/index.py`), each category has
positive probability under each input, and epsilon adds over the cells of a record.

Sources: Warner 1965; Kairouz, Oh and Viswanath 2014 (optimal at low privacy); Kairouz, Bonawitz and Ramage 2016
(estimation).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from veilray.privacy.entropy import Entropy
from veilray.privacy.exact import ExactLike, exact
from veilray.privacy.guarantee import Bound, Guarantee
from veilray.privacy.mechanisms.base import MECHANISMS, Claim, Floats, Integers, Mechanism
from veilray.privacy.subset_selection import SubsetSelection

__all__ = ["RandomisedResponse", "estimate_frequencies", "posterior", "respond", "transition_matrix"]


def respond(index: NDArray[Any], levels: int, epsilon: ExactLike, entropy: Entropy) -> Integers:
    """Randomise labels: each index in [0, levels) is kept with probability e^eps / (e^eps + levels - 1).

    Args:
        index: integers of any shape, in [0, levels).
        levels: size of the public list of levels, at least 2.
        epsilon: exact (a string, an integer or a Fraction), for each label.
        entropy: two words are drawn for each label.

    Returns:
        int64 of the same shape.

    Raises:
        ValueError: for an index outside the levels (the message does not repeat it), or levels below 2.

    Example:
        >>> from veilray.privacy.entropy import SeededEntropy
        >>> respond(np.zeros(8, np.int64), 3, "2", SeededEntropy(1)).shape
        (8,)
    """
    response = _response(exact(epsilon, "epsilon"), levels)
    labels = _integers(index)
    if labels.size and (labels.min() < 0 or labels.max() >= levels):
        raise ValueError(f"index must be in [0, {levels}), got one outside: map it to a level before the draw")
    ranks = response.ranks(entropy.words((*labels.shape, 2), np.uint64))
    # Rank 0 is the one winner, the true level; rank r is the r-th level after it, round the circle.
    return np.asarray((labels + ranks) % levels)


def transition_matrix(levels: int, epsilon: ExactLike) -> Floats:
    """Pr[reported j | true i] at [i, j], `(levels, levels)` float64; rows add up to 1."""
    response = _response(exact(epsilon, "epsilon"), levels)
    keep = response.win_probability
    matrix = np.full((levels, levels), (1 - keep) / (levels - 1))
    np.fill_diagonal(matrix, keep)
    return matrix


def posterior(prior: Floats, epsilon: ExactLike) -> Floats:
    """Pr[true i | reported j] at [j, i] for a prior over the levels: soft labels for a learner. Rows add up to 1.

    Args:
        prior: `(levels,)` non-negative, not all zero; scaled to 1. It must be public, or estimated from reports.
    """
    weights = np.asarray(prior, dtype=np.float64)
    if weights.ndim != 1 or not np.isfinite(weights).all() or weights.min() < 0 or weights.sum() <= 0:
        raise ValueError("prior must be non-negative numbers, not all zero, one for each level, got others")
    joint = weights[:, None] * transition_matrix(len(weights), epsilon)
    return np.asarray((joint / joint.sum(axis=0)).T)


def estimate_frequencies(counts: NDArray[Any], epsilon: ExactLike) -> Floats:
    """Unbiased frequencies of the true levels from counts of reports, `(levels,)` float64; may be negative.

    (counts / n - other) / (keep - other), with `other` the probability of one particular replacement.
    """
    reported = np.asarray(counts, dtype=np.float64)
    if reported.ndim != 1 or reported.sum() <= 0:
        raise ValueError(f"counts must be one number for each level with a positive sum, got shape {reported.shape}")
    keep, other = transition_matrix(len(reported), epsilon)[0, :2]
    return np.asarray((reported / reported.sum() - other) / (keep - other))


@MECHANISMS.register("randomised_response")
class RandomisedResponse(Mechanism):
    """k-ary randomised response for every cell of a record; make one with `calibrate`."""

    name: ClassVar[str] = "randomised_response"

    def __init__(
        self,
        claim: Claim,
        levels: tuple[tuple[int, ...], ...],
        responses: tuple[SubsetSelection, ...],
        outside: tuple[int | None, ...],
    ) -> None:
        self._claim = claim
        self._levels = levels
        self._responses = responses
        self._outside = outside

    @classmethod
    def calibrate(cls, claim: Claim, dimension: int, **options: Any) -> RandomisedResponse:
        """k-ary randomised response for rows of `dimension` categorical cells.

        For unit `image` the claim's epsilon is for the whole row and shared between the cells; for unit `element` it is
        for each cell and the row's epsilon is their sum.

        Options:
            levels: the public levels: one integer k for all columns (meaning 0..k-1), or a list with, for each column,
                such a k or a sequence of different integers. Required.
            shares: epsilon of each column, exact, adding up to the claim (unit image only); by default equal shares.
            outside: the level that stands for every value outside the levels, one for all columns or one for each; by
                default such a value is refused before anything is drawn (keep that refusal inside: it would tell).

        Raises:
            ValueError: for a delta, levels that are missing, fewer than two or repeated, or shares that do not add up.
        """
        levels, shares, outside = (options.pop(name, None) for name in ("levels", "shares", "outside"))
        if options:
            raise ValueError(f"options must be levels, shares or outside, got {', '.join(sorted(options))}")
        if claim.delta != 0:
            raise ValueError(f"delta must be 0 for randomised_response, got {claim.delta}: its claim is pure")
        if dimension < 1:
            raise ValueError(f"dimension must be at least 1, got {dimension}")
        columns = _columns(levels, dimension)
        parts = _shares(claim, shares, dimension)
        stand_in = outside if isinstance(outside, Sequence) else [outside] * dimension
        if len(stand_in) != dimension:
            raise ValueError(f"outside must be one level or {dimension} levels, got {len(stand_in)}")
        for level, column in zip(stand_in, columns, strict=True):
            if level is not None and level not in column:
                raise ValueError(f"outside must be one of the levels of its column, got {level}")
        responses = tuple(_response(part, len(column)) for part, column in zip(parts, columns, strict=True))
        return cls(claim, columns, responses, tuple(stand_in))

    @property
    def dimension(self) -> int:
        return len(self._levels)

    @property
    def responses(self) -> tuple[SubsetSelection, ...]:
        """The public parameters of each column."""
        return self._responses

    @property
    def levels(self) -> tuple[tuple[int, ...], ...]:
        """The public levels of each column."""
        return self._levels

    def bound(self, latent: NDArray[Any]) -> Integers:
        """The cells as `(n, c)` int64, each one of its column's levels; values outside are mapped to the stated level.

        Raises:
            ValueError: for a value outside the levels when no level was stated for it; the message does not repeat it.
        """
        return np.stack([np.array(c)[p] for c, p in zip(self._levels, self._positions(latent).T, strict=True)], axis=1)

    def randomise(self, bounded: NDArray[Any], entropy: Entropy) -> Floats:
        """One randomised record for each row, `(n, c)` float64 holding levels; two words of entropy a cell."""
        positions = self._positions(bounded)
        words = entropy.words((*positions.shape, 2), np.uint64)
        out = np.empty(positions.shape, dtype=np.float64)
        for column, (levels, response) in enumerate(zip(self._levels, self._responses, strict=True)):
            moved = (positions[:, column] + response.ranks(words[:, column])) % len(levels)
            out[:, column] = np.array(levels, dtype=np.float64)[moved]
        return out

    def guarantee(self, dimension: int) -> Guarantee:
        if dimension != self.dimension:
            raise ValueError(f"dimension must be {self.dimension}, got {dimension}")
        return Guarantee(
            unit=self._claim.unit,
            epsilon=self._claim.epsilon,
            image_epsilon=sum((r.epsilon for r in self._responses), Fraction(0)),
            element_epsilon=max(r.epsilon for r in self._responses),
            bound=Bound(kind="none"),
            dimension=dimension,
            mechanism=self.name,
            parameters={
                "levels": " ".join(str(len(column)) for column in self._levels),
                "epsilon of a cell": " ".join(str(r.epsilon) for r in self._responses),
                "coin (of 2^64)": " ".join(str(r.coin) for r in self._responses),
            },
        )

    def log_likelihood(self, released: Floats, latent: NDArray[Any]) -> Floats:
        """log probability of the released record given `latent`, `(n,)`, nats, summed over cells."""
        reported, true = self._positions(released), self._positions(latent)
        total = np.zeros(max(len(reported), len(true)))
        for column, response in enumerate(self._responses):
            kept = reported[:, column] == true[:, column]
            total += np.where(kept, response.log_win, response.log_lose)
        return total

    def to_prior(self, released: Floats) -> Floats:
        """Identity: a randomised category is a category."""
        self._check_rows(released)
        return np.array(released, dtype=np.float64)

    def _positions(self, cells: NDArray[Any]) -> Integers:
        """The place of each cell in its column's list of levels, `(n, c)`."""
        rows = np.asarray(cells, dtype=np.float64)
        self._check_rows(rows)
        out = np.empty(rows.shape, dtype=np.int64)
        for number, (levels, stand_in) in enumerate(zip(self._levels, self._outside, strict=True)):
            ordered = np.argsort(levels)
            known = np.array(levels, dtype=np.float64)[ordered]
            at = np.minimum(np.searchsorted(known, rows[:, number]), len(levels) - 1)
            missing = known[at] != rows[:, number]  # a NaN equals nothing and is missing too
            if stand_in is None and missing.any():
                raise ValueError(
                    f"cells of column {number} must be among its {len(levels)} levels, got one outside: "
                    "give `outside`, the level that stands for all others"
                )
            out[:, number] = np.where(missing, levels.index(stand_in) if stand_in is not None else 0, ordered[at])
        return out


def _response(epsilon: Fraction, levels: int) -> SubsetSelection:
    if levels < 2:
        raise ValueError(f"levels must be at least 2, got {levels}: a constant column needs no draw")
    return SubsetSelection.of(epsilon, levels, 1)


def _integers(index: NDArray[Any]) -> Integers:
    values = np.asarray(index)
    if not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"index must be integers, got {values.dtype}")
    return values.astype(np.int64)


def _columns(levels: Any, dimension: int) -> tuple[tuple[int, ...], ...]:
    if levels is None:
        raise ValueError("levels must be the public levels of each column, got none")
    each = [levels] * dimension if isinstance(levels, int) else list(levels)
    if len(each) != dimension:
        raise ValueError(f"levels must be given for {dimension} columns, got {len(each)}")
    columns = tuple(tuple(range(c)) if isinstance(c, int) else tuple(int(level) for level in c) for c in each)
    for column in columns:
        if len(column) < 2 or len(set(column)) < len(column) or max(map(abs, column)) > 2**53:
            raise ValueError(f"levels must be at least two different integers up to 2^53, got {len(column)} levels")
    return columns


def _shares(claim: Claim, shares: Sequence[ExactLike] | None, dimension: int) -> list[Fraction]:
    if claim.unit == "element":
        if shares is not None:
            raise ValueError("shares must be absent for unit element, got some: epsilon is for each cell already")
        return [claim.epsilon] * dimension
    if shares is None:
        return [claim.epsilon / dimension] * dimension
    parts = [exact(share, "share") for share in shares]
    if len(parts) != dimension or sum(parts) != claim.epsilon or min(parts) <= 0:
        raise ValueError(f"shares must be {dimension} positive numbers adding up to {claim.epsilon}, got {len(parts)}")
    return parts
