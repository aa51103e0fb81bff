"""Fixed-length rejection: the first of M candidates on the chosen side, or the last one if there is none.

**Proof.** Draw M independent candidates from a law D that no input touches, whatever happens. A computed test splits
them into an upper side of probability q and a lower side. A coin chooses "upper" with probability p. If no candidate
is on the chosen side, all are on the other one, and the last is a draw of D given the other side. So the output
has law D given upper with probability

    p_eff = p (1 - (1-q)^M) + (1-p) q^M,

and D given lower otherwise: relative to D its density is h(q) = p_eff / q on the upper side and
l(q) = (1 - p_eff) / (1 - q) on the lower. With S(x) = 1 + x + ... + x^(M-1),

    h(q) = p S(1-q) + (1-p) q^(M-1),        l(q) = (1-p) S(q) + p (1-q)^(M-1).

Two inputs may have different q (rounding), both in a known range [q0, q1]. S is increasing, hence
h <= p S(1-q0) + (1-p) q1^(M-1) and l >= (1-p) S(q0) + p (1-q1)^(M-1), and likewise with the ends exchanged for the
smallest h and the largest l. The ratio of any two output probabilities is at most max(h, l) / min(h, l): that number
is computed in interval arithmetic and held at or below e^epsilon. Nothing is approximated, and the support does not
depend on the input: every candidate value can be released under every input.

**Sides that depend on place.** The computed side of one candidate may differ with its place among the M (a matrix
product rounds by blocks). Then the density of a candidate is a sum over places j of p (1-q)^j where it counts as
upper and (1-p) q^j where it counts as lower. With p >= 1/2 > q every term of the first kind is at least that of
the second, so any mixture lies between l and h, and the bound above holds for it too. A coin below one half is
therefore refused.

A loop that runs until it succeeds would show the side through its length; here every draw takes M candidates.

**How many candidates.** Only p_eff matters for the output, so p is *raised* to make up for misses: p solves
ratio = e^epsilon for the M given. That is possible as soon as (1-q)^M is below 1 - p_eff; half of it is asked for here,
which takes 16, 16, 40 and 992 candidates at epsilon 1, 2, 4 and 8.

Sources: Bhowmick, Duchi, Freudiger, Kapoor and Rogers 2018 (PrivUnit); Asi, Feldman and Talwar 2022 (PrivUnitG).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from scipy.optimize import minimize_scalar

from veilray.privacy.enclosure import Range, ends, exp_range, interval
from veilray.privacy.exact import decimal_text
from veilray.privacy.samplers.index import WORDS
from veilray.privacy.spherical_cap import Form, upper_moment, upper_probability, upper_range

__all__ = ["LARGEST_BLOCK_EPSILON", "MOST_CANDIDATES", "FixedLength", "charged_ratio", "fixed_length"]

LARGEST_BLOCK_EPSILON = Fraction(8)
"""Above this a row is split into blocks: the number of candidates grows like e^epsilon."""

MOST_CANDIDATES = 2**20
"""Largest number of candidates that may be asked for."""


@dataclass(frozen=True)
class FixedLength:
    """Parameters of one block, all public.

    Attributes:
        form, k: the candidates' law and the elements of the block.
        gamma: threshold, the exact value of this float.
        candidates: M.
        coin: integer threshold T; "upper" is chosen with probability exactly T / 2^64.
        upper: exact ends around q.
    """

    form: Form
    k: int
    gamma: float
    candidates: int
    coin: int
    upper: Range

    @property
    def effective(self) -> float:
        """p_eff at the middle of the range of q."""
        q, p, m = self.q, self.coin / WORDS, self.candidates
        return p * -math.expm1(m * math.log1p(-q)) + (1 - p) * q**m

    @property
    def q(self) -> float:
        """The probability of the upper side, at the middle of its range."""
        return float(sum(self.upper) / 2)

    @property
    def log_upper(self) -> float:
        """log density of the output on the upper side, relative to the candidates' law."""
        return math.log(self.effective / self.q)

    @property
    def log_lower(self) -> float:
        """log density of the output on the lower side, relative to the candidates' law."""
        return math.log1p(-self.effective) - math.log1p(-self.q)

    @property
    def projection(self) -> float:
        """E<z, u> (gaussian) or E cos (sphere)."""
        q, p = self.q, self.effective
        return upper_moment(self.form, self.k, self.gamma) * (p / q - (1 - p) / (1 - q))

    @property
    def square(self) -> float:
        """E<z, u>^2 (gaussian): 1 + gamma E<z, u>, by partial integration on both sides."""
        return 1 + self.gamma * self.projection

    def charged(self) -> Fraction:
        """Upper end of the largest ratio of two output probabilities."""
        return charged_ratio(self.coin, self.candidates, self.upper)


def charged_ratio(coin: int, candidates: int, upper: Range) -> Fraction:
    """Upper end of max(h, l) / min(h, l) over the range of q; see the module's proof."""
    p, q0, q1 = interval(Fraction(coin, WORDS)), interval(upper[0]), interval(upper[1])
    last = candidates - 1

    def total(x: Any, power: Any) -> Any:
        return (1 - power) / (1 - x)

    def density(weight: Any, miss: Any, hit: Any) -> Any:
        """weight * S(miss) + (1 - weight) * hit^(M-1)."""
        return weight * total(miss, miss**candidates) + (1 - weight) * hit**last

    upper_most, upper_least = density(p, 1 - q0, q1), density(p, 1 - q1, q0)
    lower_most, lower_least = density(1 - p, q1, 1 - q0), density(1 - p, q0, 1 - q1)
    most = max(ends(upper_most)[1], ends(lower_most)[1])
    least = min(ends(upper_least)[0], ends(lower_least)[0])
    return most / least


@lru_cache(maxsize=256)
def fixed_length(epsilon: Fraction, form: Form, k: int, candidates: int | None = None) -> FixedLength:
    """The best threshold, number of candidates and coin that keep `epsilon` for one block of `k` elements.

    Args:
        epsilon: of this block, at most `LARGEST_BLOCK_EPSILON` unless `candidates` is given.
        form: `gaussian`, or `sphere` (k at least 2).
        k: elements of the block.
        candidates: M; by default the smallest multiple of 8 (at least 16) that reaches the claim.

    Raises:
        ValueError: for parameters outside those ranges, or a coin that cannot express epsilon.
    """
    if k < (2 if form == "sphere" else 1):
        raise ValueError(f"elements of a block must be at least {2 if form == 'sphere' else 1} for {form}, got {k}")
    if candidates is None and epsilon > LARGEST_BLOCK_EPSILON:
        raise ValueError(f"epsilon of a block must be at most 8, got {decimal_text(epsilon)}: use more blocks")
    if candidates is not None and not 2 <= candidates <= MOST_CANDIDATES:
        raise ValueError(f"candidates must be between 2 and {MOST_CANDIDATES:,}, got {candidates}")
    gamma = _best_threshold(float(epsilon), form, k, candidates)
    if candidates is None:
        q = upper_probability(form, k, gamma)
        needed = math.log((1 - _ideal(float(epsilon), q)) / 2) / math.log1p(-q)
        candidates = max(16, 8 * math.ceil(needed / 8))
    upper = upper_range(form, k, gamma)
    coin = _coin(epsilon, candidates, upper)
    return FixedLength(form, k, gamma, candidates, coin, upper)


def _ideal(epsilon: float, q: float) -> float:
    """p_eff at which the two densities differ by exactly e^epsilon."""
    return q / (q + (1 - q) * math.exp(-epsilon))


def _best_threshold(epsilon: float, form: Form, k: int, candidates: int | None) -> float:
    """gamma that maximises E<z, u> at this epsilon, rounded to six decimals (fewer than its flat top needs)."""

    def loss(g: float) -> float:
        gamma = g if form == "gaussian" else g / math.sqrt(k)
        q = upper_probability(form, k, gamma)
        if not 0 < q < 1:
            return 0.0
        p = _ideal(epsilon, q)
        if candidates is not None:
            p = min(p, -math.expm1(candidates * math.log1p(-q)))
        return -upper_moment(form, k, gamma) * (p / q - (1 - p) / (1 - q))

    top = 8.0 if form == "gaussian" else min(8.0, 0.99999 * math.sqrt(k))
    best = float(minimize_scalar(loss, bounds=(0.0, top), method="bounded", options={"xatol": 1e-9}).x)
    return round(best if form == "gaussian" else best / math.sqrt(k), 6)


def _coin(epsilon: Fraction, candidates: int, upper: Range) -> int:
    """The largest T (up to a few words) whose charged ratio keeps e^epsilon; the ratio is linear in p at both ends."""
    limit = exp_range(epsilon)[0]
    q0, q1 = upper
    last = candidates - 1
    sum_up, miss_up = (_geometric(end, candidates) for end in (1 - q0, q0))
    top, bottom = _power(q1, last), _power(1 - q1, last)
    # p sum_up + (1-p) top <= limit ((1-p) miss_up + p bottom), solved for p
    p = (limit * miss_up - top) / (sum_up - top + limit * (miss_up - bottom))
    coin = min(int(p * WORDS) - 1, WORDS - 1)
    for _ in range(64):
        if 2 * coin < WORDS:
            break
        if charged_ratio(coin, candidates, upper) <= limit:
            return coin
        coin -= 1
    raise ValueError(
        f"epsilon must be larger than the resolution of the sampler, got {decimal_text(epsilon)} with {candidates} "
        "candidates"
    )


def _power(x: Fraction, exponent: int) -> Fraction:
    return sum(ends(interval(x) ** exponent), Fraction(0)) / 2


def _geometric(x: Fraction, count: int) -> Fraction:
    return (1 - _power(x, count)) / (1 - x)
