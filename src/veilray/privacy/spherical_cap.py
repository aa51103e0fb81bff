"""How likely a candidate falls on the upper side of a direction: exact ends, for half-spaces and for caps.

The directional mechanism draws candidates v from the law of `samplers.normal` and tests them against a unit
vector u in floating point. Let q(u) be the probability that the *computed* test says "upper". Nothing depends on
u but through q(u), and this file encloses it: q_low <= q(u) <= q_high for every u that `Directional.bound` can
return. Forms:

* gaussian: fl(<v, u>) >= gamma. For true normals q = Pr[N(0, 1) >= gamma].
* sphere: fl(<v, u>) >= fl(gamma * fl(|v|)). For true normals q = I_{1-gamma^2}((k-1)/2, 1/2) / 2, the share of the
  sphere that the cap {cos >= gamma} covers.

**Proof for gaussian.** Couple each coordinate of v with a true normal n (see `samplers.normal`): outside an event
of probability k * LOST, |v - n| <= sqrt(k) * COUPLING_DISTANCE. Floating point returns <v, u> with an error of at most
1.02 (k + 2) 2^-53 |v| |u| in any order of summation, with or without fused operations (Higham 2002, section 3.1),
and |v| <= sqrt(k) * LARGEST. The returned u has |u| in [1 - s, 1 + s], s = (k + 8) 2^-52. So with
t = (1 + s)(sqrt(k) * COUPLING_DISTANCE + 1.02 (k + 2) 2^-53 sqrt(k) * LARGEST) the computed test lies between the tests
<n, u> >= gamma + t and <n, u> >= gamma - t, and <n, u> is exactly N(0, |u|^2).

**Proof for sphere.** Write r = 2^-53 for the unit roundoff, and c for the true cosine of the angle between v and u, so
that <v, u> = |v| |u| c. Four roundings stand between c and the computed test (k r is below 1/100, so each product of
errors is covered by a factor 1.02; Higham 2002, sections 3.1 and 3.5):

1. fl(<v, u>) = |v| |u| c + e, |e| <= 1.02 k r |v| |u|, in any order of summation, with or without fused operations.
2. fl(|v|) is the rounded root of a sum of k squares, all of one sign: |v| (1 + a), |a| <= 1.02 (k/2 + 1) r.
3. fl(gamma fl(|v|)) = gamma |v| (1 + b), |b| <= 1.02 (k/2 + 2) r.
4. |u| is not 1 but in [1 - s, 1 + s], s = (k + 8) 2^-52 = (2k + 16) r. (`Directional.bound` divides by a length that
   errs as in 2, and rounds once more: (k/2 + 2) r would do.)

Divided by |v| |u| the computed test reads c + e' >= gamma (1 + b) / |u|, |e'| <= 1.02 k r. So it switches where c is
gamma (1 + b) / |u| - e', which differs from gamma < 1 by at most

    1.02 k r + 1.04 ((k/2 + 2) r + (2k + 16) r)  <  (3.62 k + 18.8) r  <  (1.82 k + 9.4) 2^-52.

Underflow of products adds less than k 2^-1074 / |v|, and a sample that is not 0 is above 2^-70. tau = (4 k + 32) 2^-52
is charged: more than twice the bound. A test measures the switch against exact arithmetic.

The angle between v and n is at most pi |v - n| / |n| (also for v = 0, where the computed side is the upper one and the
bound is pi), and |n| is independent of the angle between n and u, whose density is at most
c = Gamma(k/2) / (sqrt(pi) Gamma((k-1)/2)). So the probability that the coupling moves a candidate over the edge is at
most c * pi * sqrt(k) * COUPLING_DISTANCE * E[1/|n|], with E[1/|n|] = Gamma((k-1)/2) / (sqrt(2) Gamma(k/2)); the product
of the two Gamma ratios is 1 / sqrt(2 pi). Where it is smaller, a second bound is taken: a move by less than m = 1e-4
meets a density of at most c (sin(edge) + m)^(k-2), and a larger one needs |n| < R sqrt(k), of probability at most
(e R^2)^(k/2) (Chernoff), R = pi COUPLING_DISTANCE / m.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from scipy.special import betainc, gammaln, ndtr

from veilray.privacy.enclosure import Range, normal_tail, point, widen
from veilray.privacy.samplers.normal import COUPLING_DISTANCE, LARGEST, LOST

__all__ = ["Form", "upper_moment", "upper_probability", "upper_range"]

Form = Literal["gaussian", "sphere"]

_ULP = Fraction(1, 2**53)


@lru_cache(maxsize=256)
def upper_range(form: Form, k: int, gamma: float) -> Range:
    """Exact fractions below and above the probability of the computed upper side, for every unit vector.

    Args:
        form: `gaussian` or `sphere`.
        k: elements of the direction; at least 2 for `sphere`.
        gamma: the threshold, taken as the exact value of this float; at least 0, below 1 for `sphere`.
    """
    lost = k * LOST
    root = Fraction(math.isqrt(k * 10**12) + 1, 10**6)  # just above sqrt(k)
    threshold = Fraction(gamma)
    if form == "gaussian":
        stretch = (k + 8) * 2 * _ULP
        error = (1 + stretch) * root * (COUPLING_DISTANCE + Fraction(102, 100) * (k + 2) * _ULP * LARGEST)
        low = min(normal_tail((threshold + error) / scale)[0] for scale in (1 - stretch, 1 + stretch))
        high = max(normal_tail((threshold - error) / scale)[1] for scale in (1 - stretch, 1 + stretch))
    else:
        tau = (4 * k + 32) * 2 * _ULP
        moved = _moved(k, threshold - tau) * root * COUPLING_DISTANCE
        low = _cap(k, min(threshold + tau, Fraction(1)))[0] - moved
        high = _cap(k, threshold - tau)[1] + moved
    return max(low - lost, Fraction(0)), min(high + lost, Fraction(1))


def _moved(k: int, gamma: Fraction) -> Fraction:
    """Probability, in units of sqrt(k) * COUPLING_DISTANCE, that the coupling moves a candidate over the edge."""
    anywhere = Fraction(12534, 10**4)  # pi / sqrt(2 pi) = sqrt(pi / 2) < 1.2534
    shift = Fraction(1, 10**4)  # m
    edge = point.mpf(gamma.numerator) / gamma.denominator
    sine = min(point.sqrt(1 - edge * edge) + point.mpf(1) / 10**4, point.mpf(1))
    near = anywhere * widen(sine ** (k - 2))[1]
    reach = Fraction(315, 100) * COUPLING_DISTANCE / shift  # above pi * distance / shift
    rare = widen(point.sqrt(point.e * reach.numerator**2 / reach.denominator**2) ** k)[1] / COUPLING_DISTANCE
    return min(anywhere, near + rare)


def _cap(k: int, gamma: Fraction) -> Range:
    """Ends around the share of the unit sphere of R^k where the first coordinate is at least gamma."""
    if gamma < 0:
        low, high = _cap(k, -gamma)
        return 1 - high, 1 - low
    g = point.mpf(gamma.numerator) / gamma.denominator
    half = point.betainc((point.mpf(k) - 1) / 2, point.mpf(1) / 2, 0, 1 - g * g, regularized=True)
    return widen(half / 2)


def upper_probability(form: Form, k: int, gamma: float) -> float:
    """q for true normals, as a float: for choosing parameters, never for charging."""
    if form == "gaussian":
        return float(ndtr(-gamma))
    return float(betainc((k - 1) / 2, 0.5, 1 - gamma**2)) / 2


def upper_moment(form: Form, k: int, gamma: float) -> float:
    """E[a 1(a >= gamma)] for the projection a = <v, u> (gaussian) or the cosine (sphere), as a float."""
    if form == "gaussian":
        return math.exp(-(gamma**2) / 2) / math.sqrt(2 * math.pi)
    log_density = gammaln(k / 2) - gammaln((k - 1) / 2) - math.log(math.pi) / 2
    return math.exp(log_density + (k - 1) / 2 * math.log1p(-(gamma**2))) / (k - 1)
