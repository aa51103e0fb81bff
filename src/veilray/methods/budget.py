"""How a budget is shared among directions of unequal importance: by rehearsal on draws of the prior, never on records.

A mechanism that is given k directions of a latent returns each with some correlation r to what went in. What a release
keeps of importances l_1 >= l_2 >= ... is then sum_i l_i r_i^2: the part of what matters that the release still tells.
Few directions are told well and many badly, so there is a best layout: how many to keep, in which blocks, with which
share of epsilon. It is found by trying. Importances come from public images, the rows of the trial from the prior
N(0, I), the noise from a fixed seed: so every machine finds the same layout, and no record has a part in it.

Directions beyond the layout get no share. They are drawn from the prior and cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.privacy import MECHANISMS, Claim, Mechanism, SeededEntropy
from veilray.privacy.samplers.normal import normals
from veilray.privacy.water_filling import block_shares

__all__ = ["Layout", "best_layout", "correlations", "shared_budget"]

_BLOCKWISE = "blockwise"
_ROWS = 2048
_CANDIDATES = 1024
_KEEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
_SPLITS = (2, 4)
"""Besides one block: two, and four, with shares by reverse water-filling."""
_NEARLY = 0.99
"""A layout of fewer blocks is taken when it keeps this much of the best."""


@dataclass(frozen=True)
class Layout:
    """Consecutive blocks of directions and the share of epsilon of each; a share of 0 buys nothing.

    Attributes:
        sizes: sum to the number of directions.
        shares: exact, sum to epsilon.
        kept: sum of l_i r_i^2 over the sum of l_i: the part of what matters that a release still tells.
    """

    sizes: tuple[int, ...]
    shares: tuple[Fraction, ...]
    kept: float

    @property
    def options(self) -> dict[str, str]:
        """As the mechanism `blockwise` takes them."""
        return {"sizes": ",".join(map(str, self.sizes)), "shares": ",".join(map(str, self.shares))}


def best_layout(kind: str, claim: Claim, importance: NDArray[np.float64], **options: Any) -> Layout:
    """The layout that keeps most of what matters, for a mechanism and a claim.

    Args:
        kind: registered name of the mechanism that releases each block.
        importance: `(d,)`, above 0, falling, **measured on public images**.
        options: further public options of the mechanism.

    Raises:
        ValueError: where no layout can carry the claim with this mechanism.
    """
    return _best(kind, claim, tuple(float(value) for value in importance), tuple(sorted(options.items())))


@lru_cache(maxsize=64)
def _best(kind: str, claim: Claim, importance: tuple[float, ...], options: tuple[tuple[str, Any], ...]) -> Layout:
    weights = np.array(importance)
    public = dict(options)
    if MECHANISMS[kind].wants_candidates:  # any public list will do for a trial
        public["candidates"] = _prior("candidates of a budget's trial", _CANDIDATES, len(weights))
    found: list[Layout] = []
    refused = "none fits"
    for sizes, shares in _layouts(weights, claim):
        try:
            mechanism = _blockwise(kind, claim, sizes, shares, public)
            kept = float((weights * correlations(mechanism) ** 2).sum() / weights.sum())
        except ValueError as error:
            refused = str(error)
            continue
        found.append(Layout(sizes, shares, kept))
    if not found:
        raise ValueError(f"epsilon must be one that {kind} can carry on {len(importance)} directions: {refused}")
    enough = _NEARLY * max(layout.kept for layout in found)
    good = [layout for layout in found if layout.kept >= enough]
    return min(good, key=lambda layout: (len(layout.sizes), -layout.kept))


def shared_budget(
    claim: Claim, kind: str, importance: NDArray[np.float64], options: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The mechanism, and its options, that release directions of this importance with `kind` under one claim.

    Args:
        kind: registered name of the mechanism of each block, or `blockwise` itself, which is left as it was asked for.
        importance: `(d,)`, of the directions; all equal where it must not be told.
        options: that were given; None stands for not given. Sizes and shares that are given are taken.

    Raises:
        ValueError: for a claim about elements, and for options that do not go together.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if claim.unit != "image":
        raise ValueError(f"unit must be image for cadp, got {claim.unit}: its directions have shares of the image's")
    if "of" in given and kind != _BLOCKWISE:
        raise ValueError(f"of must go with mechanism {_BLOCKWISE}, got it with {kind}")
    if "shares" in given and "sizes" not in given:
        raise ValueError(f"shares must go with sizes, got shares {given['shares']!r} alone")
    if kind == _BLOCKWISE or kind not in MECHANISMS:
        return kind, given
    if "sizes" not in given:
        given |= best_layout(kind, claim, importance).options
    return _BLOCKWISE, {"of": kind, **given}


def correlations(mechanism: Mechanism) -> NDArray[np.float64]:
    """Correlation of each element of N(0, I) rows with its release, `(d,)`, at least 0; a fixed public experiment."""
    rows = _prior("rows of a budget's trial", _ROWS, mechanism.dimension)
    drawn = mechanism.to_prior(mechanism.release(rows, SeededEntropy("noise of a budget's trial")))
    products = (rows * drawn).mean(axis=0) - rows.mean(axis=0) * drawn.mean(axis=0)
    spread = rows.std(axis=0) * drawn.std(axis=0)
    # What chance alone would show is taken off, so that many directions without a signal do not add up to one.
    squares = np.square(products / np.maximum(spread, 1e-12)) - 1 / _ROWS
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))


def _prior(seed: str, count: int, dimension: int) -> NDArray[np.float64]:
    return normals(SeededEntropy(seed).words((count, dimension), np.uint64))


def _layouts(weights: NDArray[np.float64], claim: Claim) -> Iterator[tuple[tuple[int, ...], tuple[Fraction, ...]]]:
    """One block of the first k; then blocks of doubling size, shared by reverse water-filling."""
    for keep in [k for k in _KEEPS if k < len(weights)] + [len(weights)]:
        yield _padded((keep,), (claim.epsilon,), len(weights))
        for count in _SPLITS:
            sizes = _doubling(keep, count)
            if sizes is None:
                continue
            try:
                kept, shares = block_shares(_levelled(weights[:keep], sizes), sizes, claim.epsilon)
            except ValueError:
                continue  # more than a block can carry: other layouts are tried
            if len(kept) > 1:
                yield _padded(kept, shares, len(weights))


def _doubling(keep: int, count: int) -> tuple[int, ...] | None:
    """Sizes of about 1 : 2 : 4 : ... that sum to `keep`; None where it is too small for so many."""
    parts = 2**count - 1
    if keep < parts:
        return None
    first = [keep * 2**index // parts for index in range(count - 1)]
    return (*first, keep - sum(first))


def _levelled(weights: NDArray[np.float64], sizes: tuple[int, ...]) -> NDArray[np.float64]:
    """Each block's mean in place of its elements: a block is told as a whole."""
    edges = np.cumsum((0, *sizes))
    means = [weights[start:stop].mean() for start, stop in pairwise(edges)]
    return np.repeat(means, sizes)


def _padded(
    sizes: tuple[int, ...], shares: tuple[Fraction, ...], dimension: int
) -> tuple[tuple[int, ...], tuple[Fraction, ...]]:
    """The directions that are left, as a last block without a share."""
    left = dimension - sum(sizes)
    return ((*sizes, left), (*shares, Fraction(0))) if left else (sizes, shares)


def _blockwise(
    kind: str, claim: Claim, sizes: tuple[int, ...], shares: tuple[Fraction, ...], options: dict[str, Any]
) -> Mechanism:
    return MECHANISMS[_BLOCKWISE].calibrate(claim, sum(sizes), of=kind, sizes=sizes, shares=shares, **options)
