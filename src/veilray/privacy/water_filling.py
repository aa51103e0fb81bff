"""Reverse water-filling: how a budget of information, or of epsilon, is shared among components of unequal variance.

A Gaussian source of independent components with variances v_i, described with R nats in all, is described best in mean
square when component i gets

    r_i = max(0, ln(v_i / level) / 2),        sum_i r_i = R:

every component is drowned down to one water level, and what lies below the level gets nothing (Cover and Thomas 2006,
chapter 10, after Kolmogorov 1956).

`block_shares` turns that into epsilons. A pure-epsilon release carries I*(epsilon) nats at most (`ceiling.py`), so
that is the R, and each block gets the part of epsilon that its components get of R. This is a rule of thumb, not an
optimum: a mechanism stays below the ceiling, by different amounts in blocks of different sizes, and nats are no linear
function of epsilon. It shares well among *given* blocks; it does not say how many blocks to cut. A direction gains more
than linearly from its epsilon, so few blocks are better than many: compare with one block for each 8 of epsilon, on
public data. The privacy claim does not depend on any of this: all positive shares that sum to epsilon keep it.

**From public data only.** Sizes and shares are printed in the claim and seen by every recipient. Variances, block sizes
and epsilon must therefore come from public data of other patients; measured on the records being released they would
leak, and void the claim.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from veilray.privacy.ceiling import mutual_information_ceiling
from veilray.privacy.exact import ExactLike, exact
from veilray.privacy.fixed_length import LARGEST_BLOCK_EPSILON

__all__ = ["block_shares", "reverse_water_filling"]

_STEPS = 1000
"""Shares are rounded to thousandths of epsilon: a claim is read by people, and less would be lost in the estimate of
any variance."""


def reverse_water_filling(variances: ArrayLike, nats: float) -> NDArray[np.float64]:
    """The rate of each component that describes independent Gaussian components best in mean square.

    Args:
        variances: `(d,)`, at least 0, in any order.
        nats: total rate, at least 0.

    Returns:
        `(d,)` float64, nats in the order of `variances`; they are at least 0 and sum to `nats`. Components at or below
        the water level get 0.

    Raises:
        ValueError: for variances that are not such a list, all of them 0 with a rate to spend, or a wrong rate.

    Example:
        >>> reverse_water_filling([4.0, 1.0, 0.1], math.log(2)).tolist()
        [0.6931471805599453, 0.0, 0.0]
        >>> reverse_water_filling([4.0, 1.0, 0.1], math.log(4)).round(3).tolist()
        [1.04, 0.347, 0.0]
    """
    v = _variances(variances)
    if not (nats >= 0 and math.isfinite(nats)):
        raise ValueError(f"nats must be at least 0 and finite, got {nats}")
    largest = float(v.max())
    if nats == 0:
        return np.zeros(len(v))
    if largest == 0:
        raise ValueError(f"variances must hold one above 0 to carry {nats} nats, got zeros alone")
    # Logarithms, so that no product of many variances overflows. Were the m largest alone above the water, its level
    # would be their mean less 2 nats / m; m is right where the m-th still lies above that level.
    with np.errstate(divide="ignore"):
        heights = np.log(v) - math.log(largest)
    falling = np.sort(heights[np.isfinite(heights)])[::-1]
    counts = np.arange(1, len(falling) + 1)
    levels = (np.cumsum(falling) - 2 * nats) / counts
    m = int(np.count_nonzero(falling > levels))
    level = (math.fsum(falling[:m]) - 2 * nats) / m
    return np.asarray(np.maximum(0.0, (heights - level) / 2))


def block_shares(
    variances: ArrayLike, sizes: Sequence[int], epsilon: ExactLike
) -> tuple[tuple[int, ...], tuple[Fraction, ...]]:
    """Which blocks of consecutive components to keep, and the share of a pure epsilon for each of them.

    A block's share is in proportion to the nats that reverse water-filling gives its components of I*(epsilon),
    rounded to thousandths of epsilon, at least one of them. No share exceeds 8: what a block cannot take lowers the
    water level for the others. Blocks that get nothing are dropped: draw their components from the prior.

    Args:
        variances: `(d,)` of the components, **measured on public data**, the blocks with the larger ones first.
        sizes: components of each block; they sum to d.
        epsilon: of the claim, exact.

    Returns:
        The sizes of the kept blocks, which are the first ones, and their shares, which sum to epsilon exactly: the
        options `sizes` and `shares` of the directional mechanism for the first `sum(sizes)` components.

    Raises:
        ValueError: for sizes that do not fit, an epsilon that is not positive or too large for the blocks, or a
            block to be dropped before one to be kept.

    Example:
        >>> sizes, shares = block_shares([9, 4, 1, 1, 0.1, 0.1], (2, 2, 2), "4")
        >>> sizes, [str(share) for share in shares]
        ((2,), ['4'])
        >>> sizes, shares = block_shares([9, 4, 1, 1, 0.1, 0.1], (2, 2, 2), "8")
        >>> sizes, [str(share) for share in shares]
        ((2, 2), ['682/125', '318/125'])
    """
    v, claim = _variances(variances), exact(epsilon, "epsilon")
    if claim <= 0:
        raise ValueError(f"epsilon must be above 0, got {claim}")
    if not sizes or min(sizes) < 1 or sum(sizes) != len(v):
        raise ValueError(f"sizes must be at least 1 and sum to the {len(v)} variances, got {tuple(sizes)}")
    blocks = np.split(v, np.cumsum(sizes)[:-1])
    able = sum(bool(block.max() > 0) for block in blocks)
    if claim > able * LARGEST_BLOCK_EPSILON:
        raise ValueError(
            f"epsilon must be at most {LARGEST_BLOCK_EPSILON} for each of the {able} blocks with a variance, got "
            f"{float(claim):g}: use more blocks"
        )
    wanted = _capped(blocks, float(claim))
    # A claim barely above a multiple of 8 needs one block more, which rounding to a float would miss.
    kept = max(int(np.count_nonzero(wanted)), math.ceil(claim / LARGEST_BLOCK_EPSILON))
    if wanted[kept:].any():
        first = int(np.argmin(wanted > 0))
        raise ValueError(f"variances must fall from block to block, got block {first + 1} dropped before a kept one")
    if kept > _STEPS:
        raise ValueError(f"blocks to be kept must be at most {_STEPS:,}, got {kept:,}: use larger blocks")
    return tuple(int(size) for size in sizes[:kept]), _rounded(wanted[:kept], claim)


def _capped(blocks: list[NDArray[np.float64]], epsilon: float) -> NDArray[np.float64]:
    """The share of each block at one water level, at most 8; 0 for a block below the level.

    Blocks that would take more are held at 8 and the level is found anew for the others. It can only fall, so a block
    once held stays so.
    """
    cap = float(LARGEST_BLOCK_EPSILON)
    nats_of_one = mutual_information_ceiling(epsilon) / epsilon
    held = np.zeros(len(blocks), dtype=bool)
    while True:
        shares = np.where(held, cap, 0.0)
        free = np.flatnonzero(~held)
        left = epsilon - cap * np.count_nonzero(held)
        if left <= 0 or len(free) == 0:
            return shares
        rates = reverse_water_filling(np.concatenate([blocks[b] for b in free]), left * nats_of_one)
        starts = np.cumsum([0] + [len(blocks[b]) for b in free])[:-1]
        shares[free] = np.add.reduceat(rates, starts) / nats_of_one
        more = ~held & (shares > cap)
        if not more.any():
            return shares
        held |= more


def _rounded(wanted: NDArray[np.float64], epsilon: Fraction) -> tuple[Fraction, ...]:
    """Multiples of epsilon / 1000 near `wanted`, each positive and at most 8, that sum to epsilon exactly.

    The running total is rounded, so that errors do not add up; each share leaves between one step and 8 for every
    block that is still to come.
    """
    step = epsilon / _STEPS
    shares: list[Fraction] = []
    left, total = epsilon, 0.0
    for number, want in enumerate(wanted):
        later = len(wanted) - number - 1
        total += float(want)
        near = round(total / float(step)) * step - (epsilon - left)
        least = max(step, left - later * LARGEST_BLOCK_EPSILON)
        most = min(LARGEST_BLOCK_EPSILON, left - later * step)
        shares.append(left if later == 0 else min(max(near, least), most))
        left -= shares[-1]
    return tuple(shares)


def _variances(variances: ArrayLike) -> NDArray[np.float64]:
    v = np.asarray(variances, dtype=np.float64)
    if v.ndim != 1 or len(v) == 0:
        raise ValueError(f"variances must be a list of numbers, got shape {v.shape}")
    if not (np.isfinite(v).all() and (v >= 0).all()):
        raise ValueError("variances must be finite and at least 0, got others")
    return v
