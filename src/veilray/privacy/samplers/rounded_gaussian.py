"""Gaussian noise rounded to integers: exactly rint(s G), with G as continuous as the analysis of it assumes.

**The law.** G = +-Phi^-1(1 - U), U uniform on (0, 1/2) with *unlimited* digits, the sign apart. What is returned is
the nearest integer to s G, never an approximation of it: q is an integer, so rint(q + s G) = q + rint(s G) (ties
have probability 0), the release is a post-processing of the continuous Gaussian mechanism, and its analysis holds word
for word. The idea of refining only the undecided draws is that of Karney 2016 ("Sampling exactly from the normal
distribution").

**How.** The first 52 digits place U in a cell [a, a + w), a = m w, w = 2^-53, both ends exact in float64. One call of
`ndtri` at a gives x = Phi^-1(1 - a) up to a share of 2^-48, and the cell's image lies between
    x - w / (sqrt(2/pi) a)   and   x,
because |d Phi^-1(1-u) / du| = 1 / phi, and the hazard phi(x) / Q(x) grows with x from its value sqrt(2/pi) at 0, so
that phi >= sqrt(2/pi) u >= sqrt(2/pi) a for u in the cell. No constant would do: for s = 280,000 one cell spans 1e-10
grid units at the first deviation, 3.4 at the seventh and 6,000 at the eighth, and the first one, a = 0, has no
end. Where the enclosure, widened by a share of 2^-44 for `ndtri`, s and the few roundings here, does not round to one
integer, that element takes 64 digits more until it does, by proved bounds of Q alone (`normal_tail`): rint(s G) = n
exactly when Q((n + 1/2) / s) < U < Q((n - 1/2) / s).

`ndtri` is Cephes (Moshier 1989) in SciPy; its tables give a peak relative error of 7.2e-16 = 2^-50.3, and the tests
compare it with proved values over the whole range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from mpmath import MPContext
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri, ndtri_exp

from veilray.privacy.entropy import Entropy, RowStreams
from veilray.privacy.normal_tail import upper_tail
from veilray.privacy.samplers.blocks import blocks

__all__ = ["RoundedGaussian"]

_CELL = 2.0**-53
_DIGITS = 53  # of U: it lies in (0, 1/2), so its first binary digit is 0 and 52 are drawn
_SHARE = 2.0**-44
_HAZARD = 0.797884560802865  # sqrt(2/pi), rounded down
_FINE_FROM = 1000.0


@dataclass(frozen=True)
class RoundedGaussian:
    """The sampler for one standard deviation s, in grid units.

    Args:
        scale: s, exact, in [2^-20, 2^36], and a float64 number (round it up to one: see `calibration.round_up`).

    Raises:
        ValueError: for a scale out of range, or one that no float64 equals.
    """

    scale: Fraction

    def __post_init__(self) -> None:
        if not Fraction(1, 2**20) <= self.scale <= 2**36:
            raise ValueError(
                f"scale must be in [2^-20, 2^36] grid units, got {float(self.scale):.3g}: take other grid bits"
            )
        if Fraction(float(self.scale)) != self.scale:
            raise ValueError(f"scale must be a float64 number, got {self.scale}: round it up to one")

    @cached_property
    def _s(self) -> float:
        return float(self.scale)

    def sample(self, shape: tuple[int, int], entropy: Entropy) -> NDArray[np.int64]:
        """Draw rint(s G) for `(n, d)` elements, int64, in row-major order.

        Under a seeded entropy a row's noise depends on the seed, the call and the row's number alone.
        """
        streams = entropy.streams()
        rows, columns = (1, shape[0] * shape[1]) if streams.shared else shape
        out = np.empty((rows, columns), np.int64)
        for block in blocks(rows, columns):
            part = out[block]
            words = np.empty((1, *part.shape), np.uint64)
            streams.fill(block[0].start, words)
            part[...] = self._from_words(words[0], block[0].start, streams)
        return out.reshape(shape)

    def log_probability(self, noise: NDArray[np.int64]) -> NDArray[np.float64]:
        """log Pr[rint(s G) = noise], element by element; nats.

        For s < 1000 the difference of two log tails; from there, where the difference would cancel, the density
        integrated over the unit cell, with a relative error below 1e-7.
        """
        n = np.abs(noise).astype(np.float64)
        if self._s < _FINE_FROM:
            near, far = log_ndtr(-(n - 0.5) / self._s), log_ndtr(-(n + 0.5) / self._s)
            # The central cell lies on both sides of 0: 1 - 2 Q(1/(2s)).
            central = math.log(math.erf(0.5 / (self._s * math.sqrt(2))))
            return np.asarray(np.where(n == 0, central, near + np.log(-np.expm1(np.minimum(far - near, -1e-300)))))
        x, half_cell = n / self._s, 0.5 / self._s
        slope = np.maximum(x * half_cell, 1e-9)
        log_sinhc = slope + np.log(-np.expm1(-2 * slope)) - np.log(2 * slope)
        constant = 0.5 * math.log(2 * math.pi) + math.log(self._s) + half_cell**2 / 6
        return np.asarray(log_sinhc - 0.5 * x * x - constant)

    def _from_words(self, words: NDArray[np.uint64], first_row: int, streams: RowStreams) -> NDArray[np.int64]:
        cells = words >> np.uint64(12)
        negative = (words & np.uint64(1)).astype(np.bool_)
        a = cells * _CELL
        with np.errstate(divide="ignore", invalid="ignore"):  # the first cell, a = 0: infinite, so always refined
            x = -ndtri(a)
            low = np.rint(self._s * (x * (1 - _SHARE) - (_CELL / _HAZARD) / a))
            high = np.rint(self._s * x * (1 + _SHARE))
        undecided = np.flatnonzero(~(low == high))
        high.reshape(-1)[undecided] = 0.0
        noise: NDArray[np.int64] = high.astype(np.int64)
        for place in undecided.tolist():
            row = first_row + place // words.shape[1]
            noise.reshape(-1)[place] = self._refine(int(cells.reshape(-1)[place]), row, streams)
        noise[negative] *= -1
        return noise

    def _refine(self, cell: int, row: int, streams: RowStreams) -> int:
        """The integer of one cell, by as many further digits of U as it takes."""
        digits = _DIGITS
        where = np.array([row])
        while True:
            cell = cell << 64 | int(streams.more(where)[0])
            digits += 64
            low, high = Fraction(cell, 2**digits), Fraction(cell + 1, 2**digits)
            guess = self._guess(cell, digits)
            for n in (guess, guess + 1, guess - 1):
                if n >= 0 and self._rounds_to(n, low, high, digits):
                    return n

    def _rounds_to(self, n: int, low: Fraction, high: Fraction, digits: int) -> bool:
        """Proof that every U in [low, high] gives n = rint(s Phi^-1(1 - U))."""
        outer = upper_tail((n + Fraction(1, 2)) / self.scale, digits)[1]
        if low < outer:
            return False
        return n == 0 or high <= upper_tail((n - Fraction(1, 2)) / self.scale, digits)[0]

    def _guess(self, cell: int, digits: int) -> int:
        """rint(s Phi^-1(1 - U)), unproved, at the middle of the cell; by log U, which no cell underflows."""
        context = MPContext()
        log_u = float(context.log(context.ldexp(2 * cell + 1, -digits - 1)))
        return max(0, round(self._s * float(-ndtri_exp(log_u))))
