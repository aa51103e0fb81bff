"""Directional release (PrivUnit, PrivUnitG): pure epsilon for a direction, whatever its dimension.

A row is cut into blocks, each block reduced to a unit vector u. For each block M candidates are drawn from one fixed
law, whatever happens; a coin chooses the side {<v, u> >= gamma} or its complement; released is the first candidate on
that side, or the last candidate if there is none. The proof is in `fixed_length.py` (every output probability ratio is
at most e^epsilon, computed with outward rounding) and `spherical_cap.py` (how likely the computed upper side is).

**Why float error is harmless.** The candidates are finite in number and drawn without looking at u. The computed test
cuts them into two sets; which candidate falls into which set on the rounding edge does not matter, because the claim
speaks about the computed sets. Rounding enters in one place: the probability of the computed upper side depends on u in
the ninth digit. That is enclosed for all u, and epsilon is charged at the ends.

**What must never happen**: an early exit, a published draw count, a time per row (all three would show the side), a
latent left in clear beside the release.

Sources: Bhowmick, Duchi, Freudiger, Kapoor and Rogers 2018; Asi, Feldman and Talwar 2022.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from veilray.privacy.entropy import Entropy
from veilray.privacy.fixed_length import LARGEST_BLOCK_EPSILON, FixedLength, fixed_length
from veilray.privacy.guarantee import Bound, Guarantee
from veilray.privacy.mechanisms.base import MECHANISMS, Claim, Floats, Mechanism, finite_rows, whole_options
from veilray.privacy.partition import read_shares, read_sizes
from veilray.privacy.radial_law import to_normal_length
from veilray.privacy.samplers.index import coins
from veilray.privacy.samplers.normal import normals
from veilray.privacy.spherical_cap import Form

__all__ = ["Directional", "expected_norm"]

_CHUNK = 2**15
"""Candidate elements held at once: they stay in the processor's cache. The noise does not depend on it."""

_KNOWN_TO_DECODER = Fraction(4)
"""Up to this epsilon of a block the output's density is at most 12 times the prior's: no rescaling (METHODS 4)."""


@MECHANISMS.register("directional")
class Directional(Mechanism):
    """Release directions of blocks by fixed-length rejection; make one with `calibrate`.

    **Blocks may differ in size and in epsilon.** Sizes and shares are public and fixed before any record is seen. Block
    b of a record x is released as z_b from the unit vector u_b(x) and from words of the keystream that no other block
    reads. So given x the z_b are independent, and for records x, x' and every output

        Pr[z | x] / Pr[z | x'] = prod_b Pr[z_b | u_b(x)] / Pr[z_b | u_b(x')] <= prod_b e^eps_b = e^(sum_b eps_b):

    each factor is at most e^eps_b by the proof in `fixed_length.py`, with the block's own threshold, coin and
    candidates. The shares sum to epsilon exactly, as fractions. The worst case is that sum, up to the rounding of each
    coin: where x' is x turned round in every block, and every z_b lies on x's upper side, all factors are at their
    largest at once.
    Records that differ in one block alone are told apart by eps_b at most, which the claim does not use.
    """

    name: ClassVar[str] = "directional"

    def __init__(
        self, epsilon: Fraction, blocks: tuple[FixedLength, ...], shares: tuple[Fraction, ...] | None = None
    ) -> None:
        self._epsilon = epsilon
        self._blocks = blocks
        self._shares = shares or (epsilon / len(blocks),) * len(blocks)
        self._edges = tuple(accumulate((b.k for b in blocks), initial=0))

    @classmethod
    def calibrate(cls, claim: Claim, dimension: int, **options: Any) -> Directional:
        """The directional mechanism for whole rows of `dimension` kept elements.

        Options:
            form: `gaussian` (default; candidates N(0, I), PrivUnitG) or `sphere` (candidates uniform on the sphere of
                radius sqrt(k), PrivUnit: better for blocks of few elements and large epsilon).
            blocks: number of blocks, each with an equal share of epsilon; by default one for each 8 of epsilon.
            sizes: instead of `blocks`, the elements of each block: whole numbers that sum to the dimension, as text
                such as "4,12" or as a sequence.
            shares: with `sizes`, the epsilon of each block: exact numbers in (0, 8] that sum to epsilon exactly, as
                text such as "3,1" or as a sequence; by default equal. Like the sizes they are part of the public claim:
                choose them on public data, as `water_filling.block_shares` does.
            candidates: M, by default the fewest that reach the claim.
            in_clear: must be empty; see the error.

        Raises:
            ValueError: for a delta, a unit other than image, more than epsilon 8 an element, unknown options, sizes or
                shares that do not add up, or elements left in clear.
        """
        form: Form = options.pop("form", "gaussian")
        blocks, candidates = whole_options(options, "blocks", "candidates")
        given, split = options.pop("sizes", None), options.pop("shares", None)
        in_clear = options.pop("in_clear", None)
        if options:
            known = "form, blocks, sizes, shares, candidates or in_clear"
            raise ValueError(f"options must be {known}, got {', '.join(sorted(options))}")
        if in_clear is not None and np.size(in_clear) > 0:
            raise ValueError(
                "in_clear must be empty, got elements to keep in clear: one latent element released un-noised makes "
                "epsilon infinite. Drop it, set it to the prior's mean, or draw it from the prior"
            )
        if claim.delta != 0:
            raise ValueError(f"delta must be 0 for directional, got {claim.delta}: its claim is pure")
        if claim.unit != "image":
            raise ValueError(f"unit must be image for directional, got {claim.unit}: a direction has no elements")
        if form not in ("gaussian", "sphere"):
            raise ValueError(f"form must be gaussian or sphere, got {form!r}")
        smallest = 2 if form == "sphere" else 1
        if dimension < smallest:
            raise ValueError(f"dimension must be at least {smallest} for {form}, got {dimension}")
        if given is not None or split is not None:
            if blocks is not None:
                raise ValueError(f"blocks must be absent beside sizes and shares, got {blocks}: sizes count the blocks")
            if given is None:
                raise ValueError(f"sizes must be given with shares, got shares {split!r} alone")
            sizes = read_sizes(given, dimension, smallest)
            shares = read_shares(split, claim.epsilon, len(sizes))
            if not 0 < min(shares) <= max(shares) <= LARGEST_BLOCK_EPSILON:
                wrong = min(shares) if min(shares) <= 0 else max(shares)
                raise ValueError(
                    f"shares must each be above 0 and at most {LARGEST_BLOCK_EPSILON}, got {wrong}: use more sizes"
                )
            plans = (fixed_length(share, form, k, candidates) for k, share in zip(sizes, shares, strict=True))
            return cls(claim.epsilon, tuple(plans), shares)
        count = -(-claim.epsilon // LARGEST_BLOCK_EPSILON) if blocks is None else blocks
        if not 1 <= count <= dimension // smallest:
            raise ValueError(
                f"blocks must be between 1 and {dimension // smallest} for {dimension} elements, got {count}: "
                "ask for a smaller epsilon or keep more elements"
            )
        share = claim.epsilon / count
        return cls(claim.epsilon, tuple(fixed_length(share, form, k, candidates) for k in _even(dimension, count)))

    @property
    def dimension(self) -> int:
        return self._edges[-1]

    @property
    def blocks(self) -> tuple[FixedLength, ...]:
        """The public parameters of each block."""
        return self._blocks

    @property
    def shares(self) -> tuple[Fraction, ...]:
        """The epsilon of each block; they sum to the claim's."""
        return self._shares

    @property
    def projection(self) -> float:
        """E<z, u> of the first block: for `gaussian` .20, .40, .79, 1.52, 2.74 at epsilon .5, 1, 2, 4, 8."""
        return self._blocks[0].projection

    def bound(self, latent: Floats) -> Floats:
        """Each block scaled to unit length, float64. A zero block, and every block of a non-finite row, becomes
        the first unit vector: fixed, public, released like any other."""
        self._check_rows(latent)
        rows = finite_rows(latent)
        out = np.empty_like(rows)
        for start, stop, _ in self._spans():
            block = rows[:, start:stop]
            # Divide by the largest element first: no overflow or underflow can then spoil the length.
            largest = np.abs(block).max(axis=1, keepdims=True)
            scaled = block / np.where(largest > 0, largest, 1.0)
            scaled[largest[:, 0] == 0, 0] = 1.0
            out[:, start:stop] = scaled / np.sqrt(np.einsum("nk,nk->n", scaled, scaled))[:, None]
        return out

    def randomise(self, bounded: NDArray[Any], entropy: Entropy) -> Floats:
        """One release for each row, `(n, d)` float64; `sphere` blocks have length sqrt(k).

        Each row takes the same number of words from `entropy`, in the same order: a row's noise depends on its place
        in the stream alone.
        """
        # Bounded again: the enclosure of q holds for unit vectors only, whoever the caller is.
        units = self.bound(np.asarray(bounded, dtype=np.float64))
        words_per_row = sum(1 + b.candidates * b.k for b in self._blocks)
        together = max(1, _CHUNK // words_per_row)
        out = np.empty_like(units)
        for first in range(0, len(units), together):
            rows = units[first : first + together]
            if words_per_row <= _CHUNK:
                out[first : first + together] = self._small(rows, entropy.words((len(rows), words_per_row), np.uint64))
            else:
                out[first] = self._streamed(rows[0], entropy)
        return out

    def _small(self, units: Floats, words: NDArray[np.uint64]) -> Floats:
        """All candidates of several rows at once."""
        out = np.empty_like(units)
        at = 0
        for start, stop, b in self._spans():
            used = b.candidates * b.k
            upper = coins(words[:, at], b.coin)
            drawn = np.ascontiguousarray(words[:, at + 1 : at + 1 + used])
            candidates = normals(drawn).reshape(len(units), b.candidates, b.k)
            wanted = _computed_side(b, candidates, units[:, start:stop]) == upper[:, None]
            out[:, start:stop] = _finish(b, candidates[np.arange(len(units)), _first(wanted)])
            at += 1 + used
        return out

    def _streamed(self, unit: Floats, entropy: Entropy) -> Floats:
        """The candidates of one row, a fixed number at a time; the same words in the same order as `_small`."""
        out = np.empty_like(unit)
        for start, stop, b in self._spans():
            upper = coins(entropy.words(1, np.uint64), b.coin)
            found = np.zeros(1, dtype=bool)
            chosen = np.zeros((1, b.k))
            step = max(8, _CHUNK // b.k // 8 * 8)
            for done in range(0, b.candidates, step):
                shape = (1, min(step, b.candidates - done), b.k)
                candidates = normals(entropy.words(shape, np.uint64))
                wanted = _computed_side(b, candidates, unit[None, start:stop]) == upper
                # Copied every time, used or not: the work does not depend on where the first success stands.
                chosen = np.where(found[:, None], chosen, candidates[[0], _first(wanted)])
                found = found | (np.count_nonzero(wanted) > 0)
            out[start:stop] = _finish(b, chosen)[0]
        return out

    def guarantee(self, dimension: int) -> Guarantee:
        if dimension != self.dimension:
            raise ValueError(f"dimension must be {self.dimension}, got {dimension}")
        count = len(self._blocks)
        sizes = tuple(b.k for b in self._blocks)
        # Blocks that are as even as can be are stated once for each kind, all others one by one.
        even = len(set(self._shares)) == 1 and sizes == _even(self.dimension, count)
        stated = tuple(dict.fromkeys(self._blocks)) if even else self._blocks
        which = "a block" if even else "each block"
        parameters = {
            "form": self._blocks[0].form,
            "blocks": str(count),
            f"epsilon of {which}": " ".join(str(share) for share in (self._shares[:1] if even else self._shares)),
            "candidates": " ".join(str(b.candidates) for b in stated),
            f"elements of {which}": " ".join(str(b.k) for b in stated),
            "gamma": " ".join(repr(b.gamma) for b in stated),
            "coin (of 2^64)": " ".join(str(b.coin) for b in stated),
        }
        return Guarantee(
            unit="image",
            epsilon=self._epsilon,
            image_epsilon=self._epsilon,
            bound=Bound(kind="direction"),
            dimension=dimension,
            mechanism=self.name,
            parameters=parameters,
        )

    def log_likelihood(self, released: Floats, latent: Floats) -> Floats:
        """log density of `released` under `latent`, relative to the candidates' law: `(n,)`, nats, summed over blocks.

        Two values a block, log p_eff / q on the upper side and log (1 - p_eff) / (1 - q) on the lower.
        """
        self._check_rows(released)
        units = self.bound(latent)
        total = np.zeros(max(len(released), len(units)))
        for start, stop, b in self._spans():
            upper = _computed_side(b, released[:, None, start:stop], units[:, start:stop])[:, 0]
            total += np.where(upper, b.log_upper, b.log_lower)
        return total

    def to_prior(self, released: Floats) -> Floats:
        """Identity for blocks of epsilon 4 or less and for `sphere`; above, gaussian blocks are scaled by
        sqrt(k / (k - 1 + E a^2)), a the projection on u, so that their mean square is the prior's."""
        self._check_rows(released)
        out = np.array(released, dtype=np.float64)
        for (start, stop, b), share in zip(self._spans(), self._shares, strict=True):
            if b.form == "gaussian" and share > _KNOWN_TO_DECODER:
                out[:, start:stop] *= math.sqrt(b.k / (b.k - 1 + b.square))
        return out

    def to_prior_law(self, released: Floats) -> Floats:
        """Gaussian blocks with the length of a standard normal at the same quantile (`radial_law`), so exactly
        N(0, I) where the source is; blocks on the sphere as they are, which keep one length by design."""
        self._check_rows(released)
        out = np.array(released, dtype=np.float64)
        for start, stop, b in self._spans():
            if b.form == "gaussian":
                length = np.sqrt(np.einsum("nk,nk->n", out[:, start:stop], out[:, start:stop]))
                wanted = to_normal_length(length, b.k, b.gamma, b.log_upper, b.log_lower)
                out[:, start:stop] *= (wanted / np.where(length > 0, length, 1.0))[:, None]
        return out

    def expected_correlation(self) -> float:
        """Correlation of an N(0, I_d) source with its release, in theory.

        sum_b E<z, u> E|x_b| / sqrt(d E|z|^2); E|x_b| is the mean of a chi distribution.
        """
        inner = sum(b.projection * expected_norm(b.k) * _length(b) for b in self._blocks)
        square = sum(b.k if b.form == "sphere" else b.k - 1 + b.square for b in self._blocks)
        return inner / math.sqrt(self.dimension * square)

    def _spans(self) -> Iterator[tuple[int, int, FixedLength]]:
        yield from zip(self._edges, self._edges[1:], self._blocks, strict=False)


def expected_norm(k: int) -> float:
    """E|x| for x from N(0, I_k)."""
    return math.sqrt(2) * math.exp(float(gammaln((k + 1) / 2) - gammaln(k / 2)))


def _length(b: FixedLength) -> float:
    return math.sqrt(b.k) if b.form == "sphere" else 1.0


def _even(dimension: int, count: int) -> tuple[int, ...]:
    """Sizes of `count` blocks that differ by one at most, the larger ones first."""
    return tuple(dimension // count + (b < dimension % count) for b in range(count))


def _computed_side(b: FixedLength, candidates: Floats, units: Floats) -> NDArray[np.bool_]:
    """The computed test, `(n, m)` bool for candidates `(n, m, k)` and unit vectors `(n, k)`."""
    projections = np.matmul(candidates, units[:, :, None])[:, :, 0]
    if b.form == "gaussian":
        return np.asarray(projections >= b.gamma)
    return np.asarray(projections >= b.gamma * np.sqrt(np.einsum("nmk,nmk->nm", candidates, candidates)))


def _first(wanted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Index of the first wanted candidate in each row, or the last index if there is none; every one is looked at."""
    last = wanted.shape[1] - 1
    return np.asarray(np.where(wanted, np.arange(last + 1), last).min(axis=1))


def _finish(b: FixedLength, chosen: Floats) -> Floats:
    """What leaves the mechanism: the candidate, or its direction at length sqrt(k); post-processing of the draw."""
    if b.form == "gaussian":
        return chosen
    # An all-zero candidate has probability below 2^-63; it stays zero instead of becoming not-a-number.
    length = np.sqrt(np.einsum("nk,nk->n", chosen, chosen))
    return np.asarray(chosen * (math.sqrt(b.k) / np.where(length > 0, length, 1.0))[:, None])
