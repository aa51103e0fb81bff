"""Discrete Laplace noise on the half-integers, drawn bit by bit from exact coins.

**The law.** v in {..., -3/2, -1/2, 1/2, 3/2, ...} with P(v) proportional to exp(-|v|/t), t an exact fraction.
|v| - 1/2 = N is geometric, and the binary digits of a geometric number are independent coins with
P(digit j = 1) = 1 / (1 + exp(2^j / t)): no rejection, no loop that the draw could lengthen. With a fair sign bit s,
v = (N xor -s) + 1/2, so zero is not hit twice. Exact discrete sampling as in Canonne, Kamath and Steinke 2020 ("The
Discrete Gaussian for Differential Privacy"); independence of the digits is Steutel and Thorup 1986.

**The claim.** `add` releases y = q + v for an integer |q| <= C, clamped to the half-integers of [-B, B]. For every
two inputs and every output, Pr[y | q] <= exp(|q - q'| / t + CHARGE) Pr[y | q'].

**Proof.** Let M = 2^(J-1), M / t >= 100 ln 2, M > 2C and B = M - C > C. Every half-integer of [-B, B], ends
included, is reached from every |q| <= C, so all inputs have the same support.
1. Inside (|y| < B - 1/2), N <= B + C - 2 < M: the top digit is 0 for both inputs and its coin cancels. The rest is
   a product of J - 1 coins for either input; with exact coins the ratio is exp((|y - q'| - |y - q|) / t), within
   exp(|q - q'| / t).
2. The end B - 1/2 gathers N >= n = B - 1 - q, n < M. Uncut, that has probability exp(-n / t) / 2, again with ratio
   exp(|q - q'| / t) at most. J digits cut it at 2M: what is missing is a share exp(-(2M - n) / t) < exp(-M / t)
   <= 2^-100 of it, which moves a ratio by less than 2^-99.
3. Every implemented coin is a multiple of 2^-F below its true value by less than 2^(1-F). The smallest is above
   exp(-M / t) / 2, and F is chosen so that no coin, nor its complement, is off by more than a share of 2^-104. With
   J <= 52 coins above and below, ratios move by less than 2^-97.
Together less than 2^-96 for an element; CHARGE = 2^-90 is charged, 2^-50 for an image of 2^40 elements.

**Coins.** A digit is 1 when F uniform bits are below its threshold. The first 16 bits decide all but one in 65,536;
the others take 64 bits more until they are decided. How many bytes are drawn depends on the coins alone, never on q;
the time taken depends on the coins too and is outside the claim, as everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from mpmath.ctx_iv import MPIntervalContext
from numpy.typing import NDArray

from veilray.privacy.entropy import Entropy, RowStreams
from veilray.privacy.samplers.blocks import BLOCK, blocks

__all__ = ["CHARGE", "LARGEST_EPSILON", "DiscreteLaplace"]

CHARGE = Fraction(1, 2**90)
"""Epsilon charged for one element, beyond distance / t: proved above with a factor of 64 to spare."""

LARGEST_EPSILON = 10_000
"""Largest 2C / t: each unit of it lengthens the thresholds by 3 bits, and such noise hides nothing."""

_TAIL = Fraction("69.31471806")  # 100 ln 2, rounded up
_MOST_DIGITS = 51  # so that every output, a half-integer, is exact in float64
_FIRST = 16  # bits of the first word, decides all but 2^-16 of the coins
_LIMB = 64


@dataclass(frozen=True)
class DiscreteLaplace:
    """The sampler for one scale and one range of inputs.

    Args:
        scale: t, in grid units; exact and positive.
        clip: C, the largest |q| that is ever added to, in grid units.

    Raises:
        ValueError: for a scale or clip that is not positive, a scale below clip / 5,000, or more than 51 digits.
    """

    scale: Fraction
    clip: int

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise ValueError(f"scale must be above 0, got {self.scale}")
        if self.clip < 1:
            raise ValueError(f"clip must be at least 1 grid unit, got {self.clip}")
        if 2 * self.clip > LARGEST_EPSILON * self.scale:
            raise ValueError(
                f"scale must be at least clip / {LARGEST_EPSILON // 2:,}, got {self.scale} for {self.clip}"
            )
        if self.digits > _MOST_DIGITS:
            raise ValueError(
                f"scale must need at most {_MOST_DIGITS} binary digits, got {self.digits}: "
                "take fewer grid bits or a larger epsilon"
            )

    @cached_property
    def digits(self) -> int:
        """J: the least with 2^(J-1) / t >= 100 ln 2 and 2^(J-1) > 2C. Never a constant: it grows with t."""
        return max(math.ceil(_TAIL * self.scale) - 1, 2 * self.clip).bit_length() + 1

    @property
    def limit(self) -> int:
        """B: outputs are clamped to the half-integers of [-B, B]; above C, so that it binds in the tail only."""
        return (1 << (self.digits - 1)) - self.clip

    @cached_property
    def precision(self) -> int:
        """F: bits of a threshold, 16 and a multiple of 64; no coin is off by more than a share of 2^-104."""
        needed = 106 + math.ceil(Fraction("1.442695041") * (1 << (self.digits - 1)) / self.scale)
        return _FIRST + _LIMB * -(-(needed - _FIRST) // _LIMB)

    @cached_property
    def thresholds(self) -> tuple[int, ...]:
        """P(digit j = 1) * 2^F for j = 0, 1, ..., J - 1; rounded down by less than 2."""
        context = MPIntervalContext()
        context.prec = self.precision + 64
        inverse = context.mpf(self.scale.denominator) / context.mpf(self.scale.numerator)
        found = []
        for digit in range(self.digits):
            coin = context.mpf(2**self.precision) / (1 + context.exp(inverse * 2**digit))
            _, mantissa, exponent, _ = coin._mpi_[0]
            found.append(int(mantissa) << exponent if exponent >= 0 else int(mantissa) >> -exponent)
        return tuple(found)

    @cached_property
    def _first(self) -> NDArray[np.uint16]:
        """The first 16 bits of each threshold, and of the sign's, which is one half."""
        top = [threshold >> (self.precision - _FIRST) for threshold in self.thresholds]
        return np.array([*top, 2 ** (_FIRST - 1)], np.uint16).reshape(-1, 1, 1)

    @cached_property
    def _limbs(self) -> NDArray[np.uint64]:
        """`(J, L)`: the bits of each threshold after the first 16, in words of 64."""
        shifts = range(self.precision - _FIRST - _LIMB, -1, -_LIMB)
        return np.array([[t >> s & (2**_LIMB - 1) for s in shifts] for t in self.thresholds], np.uint64)

    def sample(self, shape: tuple[int, int], entropy: Entropy) -> NDArray[np.int64]:
        """Draw v - 1/2 for `(n, d)` elements, int64, in row-major order.

        Under a seeded entropy a row's noise depends on the seed, the call and the row's number alone.
        """
        return self._draw(np.zeros(shape, np.int64), entropy)

    def add(self, q: NDArray[np.int64], entropy: Entropy) -> NDArray[np.int64]:
        """Release `(n, d)` integers, |q| <= C: y - 1/2 in [-B, B - 1], int64."""
        released = self._draw(q.copy(), entropy)
        return np.clip(released, -self.limit, self.limit - 1, out=released)

    def _draw(self, onto: NDArray[np.int64], entropy: Entropy) -> NDArray[np.int64]:
        """Add the noise to contiguous rows, in place."""
        streams = entropy.streams()
        rows = onto.reshape(1, -1) if streams.shared else onto
        buffers = _Buffers.of(self.digits + 1, min(rows.size, BLOCK))
        for block in blocks(*rows.shape):
            self._add_to(rows[block], block[0].start, streams, buffers)
        return onto

    def log_probability(self, released: NDArray[np.int64], q: NDArray[np.int64]) -> NDArray[np.float64]:
        """log Pr[`add` gives `released` | q], element by element, clamped ends included; nats.

        -inf outside [-B, B - 1]. The cut tail (a share below 2^-100) is not visible in float64.
        """
        t = float(self.scale)
        distance = np.where(released >= q, released - q, q - released - 1)
        inside = math.log(-math.expm1(-1 / t)) - math.log(2) - distance / t
        end = -math.log(2) - distance / t
        at_end = (released == self.limit - 1) | (released == -self.limit)
        possible = (released >= -self.limit) & (released < self.limit)
        return np.where(possible, np.where(at_end, end, inside), -np.inf)

    def _add_to(self, block: NDArray[np.int64], first_row: int, streams: RowStreams, buffers: _Buffers) -> None:
        rows, columns = block.shape
        words, bits, ties = buffers.shaped(self.digits + 1, rows, columns)
        streams.fill(first_row, words)
        np.less(words, self._first, out=bits)
        np.equal(words[:-1], self._first[:-1], out=ties)  # the sign's threshold ends after its first bit: no ties
        undecided = _positions(ties)
        if len(undecided):
            bits.reshape(-1)[undecided] = self._settle(undecided, first_row, rows, columns, streams)
        block += _signed(bits.reshape(self.digits + 1, -1), buffers).reshape(rows, columns)

    def _settle(
        self, undecided: NDArray[np.int64], first_row: int, rows: int, columns: int, streams: RowStreams
    ) -> NDArray[np.bool_]:
        """Compare further words of the tied coins with further limbs of their thresholds, until none is tied."""
        digit, place = np.divmod(undecided, rows * columns)
        row = first_row + place // columns
        below = np.zeros(len(undecided), np.bool_)
        tied = np.arange(len(undecided))
        for limb in self._limbs.T:
            word = streams.more(row[tied])
            threshold = limb[digit[tied]]
            below[tied] = word < threshold
            tied = tied[word == threshold]
            if not len(tied):
                break
        return below  # a coin still tied has used its F bits: it is not below


@dataclass(frozen=True)
class _Buffers:
    """Memory for one block, reused by all blocks of a call: allocating anew costs more than drawing."""

    words: NDArray[np.uint16]
    bits: NDArray[np.bool_]
    ties: NDArray[np.bool_]
    bytes: NDArray[np.uint8]
    numbers: NDArray[np.int64]

    @classmethod
    def of(cls, planes: int, elements: int) -> _Buffers:
        size = planes * elements
        return cls(
            np.empty(size, np.uint16),
            np.empty(size, np.bool_),
            np.empty(size, np.bool_),
            np.empty((2, elements), np.uint8),
            np.empty(elements, np.int64),
        )

    def shaped(
        self, planes: int, rows: int, columns: int
    ) -> tuple[NDArray[np.uint16], NDArray[np.bool_], NDArray[np.bool_]]:
        size, shape = planes * rows * columns, (planes, rows, columns)
        fewer = size - rows * columns
        return (
            self.words[:size].reshape(shape),
            self.bits[:size].reshape(shape),
            self.ties[:fewer].reshape(planes - 1, rows, columns),
        )


def _signed(bits: NDArray[np.bool_], buffers: _Buffers) -> NDArray[np.signedinteger[Any]]:
    """N xor -s from planes of digits, lowest first, and the sign as last plane.

    Eight digits at a time become one byte, so that most of the work is on bytes, not on 64-bit numbers.
    """
    digits, count = len(bits) - 1, bits.shape[1]
    planes = bits.view(np.uint8)
    wide = digits > 31
    number: NDArray[np.signedinteger[Any]] = buffers.numbers if wide else buffers.numbers.view(np.int32)
    number = number[:count]
    width = 8 if wide else 4
    lanes = number.view(np.uint8).reshape(count, width)
    octet, sign = buffers.bytes[0, :count], buffers.bytes[1, :count]
    np.negative(planes[-1], out=sign)  # 0 or 255: -s in every byte of two's complement
    for lane in range(width):
        low, high = 8 * lane, min(8 * lane + 8, digits)
        if low >= digits:
            lanes[:, lane] = sign
            continue
        np.copyto(octet, planes[high - 1])
        for digit in range(high - 2, low - 1, -1):
            np.add(octet, octet, out=octet)
            np.bitwise_or(octet, planes[digit], out=octet)
        np.bitwise_xor(octet, sign, out=lanes[:, lane])
    return number


def _positions(ties: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Flat positions of the few True, eight flags at a time."""
    flat = ties.reshape(-1)
    whole = len(flat) // 8 * 8
    eights = np.flatnonzero(flat[:whole].view(np.uint64) != 0)
    near = (eights[:, None] * 8 + np.arange(8)).reshape(-1)
    return np.concatenate([near[flat[near]], whole + np.flatnonzero(flat[whole:])])
