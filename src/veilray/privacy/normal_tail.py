"""The upper tail of the normal law between two exact fractions, proved: what claims and samplers lean on.

Q(x) = Pr[N(0, 1) > x] has no finite form, and a library's value carries an error nobody has bounded. Here every
step is interval arithmetic (mpmath `iv`: each operation rounds outward) on one of two series whose remainders
are known (Abramowitz and Stegun 1964, 26.2.11 and 26.2.12), and the result is a pair of fractions that Q(x)
lies between.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any, TypeAlias

from mpmath.ctx_iv import MPIntervalContext

__all__ = ["Interval", "exp_between", "upper_tail"]

Interval: TypeAlias = tuple[Fraction, Fraction]
"""Lower and upper end; what is enclosed lies between them, both included."""

_ASYMPTOTIC_FROM = 30
"""From here the asymptotic series alone gives 600 bits: its least term is about exp(-x^2 / 2)."""


def upper_tail(x: Fraction, bits: int = 128) -> Interval:
    """Enclose Q(x) = Pr[N(0, 1) > x].

    Args:
        x: any fraction.
        bits: relative width of the enclosure is about 2**-bits, and no less than 2**-600 from |x| = 30 on.

    Proof: for 0 <= x < 30, 1/2 - Q(x) = phi(x) (x + x^3/3 + x^5/(3*5) + ...): all terms are positive and, once
    their ratio x^2/(2k+3) is below 1/2, what is left out is below the last term. For x >= 30,
    Q(x) = phi(x)/x (1 - 1/x^2 + 3/x^4 - ...) alternates and encloses: Q lies between any two successive sums.
    For x < 0, Q(x) = 1 - Q(-x).
    """
    if x < 0:
        low, high = upper_tail(-x, bits)
        return 1 - high, 1 - low
    return _asymptotic_tail(x, bits) if x >= _ASYMPTOTIC_FROM else _central_tail(x, bits)


def exp_between(x: Fraction, bits: int = 128) -> Interval:
    """Enclose e^x for a fraction x; relative width about 2**-bits."""
    context = _context(bits + 16 + max(0, int(abs(x))).bit_length())
    return _ends(context.exp(_number(context, x)))


def _central_tail(x: Fraction, bits: int) -> Interval:
    # 1/2 - Q is subtracted from 1/2: it needs as many bits more as Q has leading zeros.
    context = _context(bits + ceil(0.73 * float(x) ** 2) + 64)
    point = _number(context, x)
    square = point * point
    term = point
    total = point
    k = 0
    threshold = Fraction(1, 2 ** (context.prec - 16))
    while 2 * x * x > 2 * k + 3 or _ends(term)[1] > threshold:
        k += 1
        term = term * square / (2 * k + 1)
        total = total + term
    total = total + context.mpf([0, 1]) * term
    half_less_tail = total * _density(context, square)
    low, high = _ends(context.mpf(1) / 2 - half_less_tail)
    return max(low, Fraction(0)), min(high, Fraction(1, 2))


def _asymptotic_tail(x: Fraction, bits: int) -> Interval:
    context = _context(min(bits, 640) + 64)
    square = _number(context, x) * _number(context, x)
    term = context.mpf(1)
    before = context.mpf(0)
    total = term
    k = 0
    threshold = Fraction(1, 2 ** (context.prec - 32))
    while 2 * k + 1 < x * x and abs(_ends(term)[0]) > threshold:
        k += 1
        term = -term * (2 * k - 1) / square
        before, total = total, total + term
    factor = _density(context, square) / _number(context, x)
    ends = [*_ends(before * factor), *_ends(total * factor)]
    return min(ends), max(ends)


def _density(context: Any, square: Any) -> Any:
    return context.exp(-square / 2) / context.sqrt(2 * context.pi)


def _context(bits: int) -> Any:
    # Not mpmath.iv itself: its precision is shared by all threads of the process.
    context = MPIntervalContext()
    context.prec = bits
    return context


def _number(context: Any, x: Fraction) -> Any:
    return context.mpf(x.numerator) / context.mpf(x.denominator)


def _ends(interval: Any) -> Interval:
    return _fraction(interval._mpi_[0]), _fraction(interval._mpi_[1])


def _fraction(parts: tuple[int, int, int, int]) -> Fraction:
    sign, mantissa, exponent, _ = parts
    number = Fraction(int(mantissa)) * Fraction(2) ** exponent
    return -number if sign else number
