"""What no pure-epsilon mechanism can exceed, and what no attacker can: the lines that plots draw.

Derivations: a pure epsilon-LDP channel has likelihood ratios in [e^-eps, e^eps]; the largest mutual
information is reached by a two-valued likelihood, which gives I*(eps). It holds for every law of the source. The
correlation ceiling follows by Gaussian rate-distortion (Cover and Thomas 2006, chapter 10), for a source that **is**
N(0, I) and for no other: of latents that sit at +-v a sign tells nearly all. The bounds on attacks are Bayes' rule with
the likelihood ratio at its limit.

Floats are for plots. What a card prints is computed in interval arithmetic, and its upper end is taken:
`mutual_information_at_most`, `reidentification_at_most`.
"""

from __future__ import annotations

import math
from fractions import Fraction

from veilray.privacy.enclosure import ends, exp_range, interval, logarithm

__all__ = [
    "attribute_accuracy_ceiling",
    "correlation_ceiling",
    "mutual_information_at_most",
    "mutual_information_ceiling",
    "reidentification_at_most",
    "reidentification_ceiling",
    "verification_auc_ceiling",
]

_FLAT_FROM = 1000
"""From this epsilon e^-epsilon is below 10^-434: it is put at its end instead of being computed."""


def mutual_information_ceiling(epsilon: Fraction | float) -> float:
    """Nats that any pure epsilon-LDP release can carry about its source: c - 1 - ln c, c = eps / (1 - e^-eps).

    Example:
        >>> [round(mutual_information_ceiling(e), 3) for e in (1, 4, 8, 64)]
        [0.123, 1.67, 4.923, 58.841]
    """
    eps = _non_negative(epsilon)
    if eps < 1e-3:  # the closed form cancels; its series is eps^2 / 8 + O(eps^4)
        return eps**2 / 8
    c = eps / -math.expm1(-eps)
    return c - 1 - math.log(c)


def correlation_ceiling(epsilon: Fraction | float, dimension: int) -> float:
    """Largest correlation between a latent that is N(0, I_d) and any pure epsilon-LDP release of it, in [0, 1].

    Of all elements together: sum E[x_j y_j] / sqrt(sum E[x_j^2] sum E[y_j^2]); one of them alone may have more. For
    latents of another law it is no bound at all: where private latents are +v or -v, their sign by randomised response
    reaches tanh(eps / 2), .9993 at epsilon 8 whatever d is, and this gives .112 for d = 784.
    """
    if dimension < 1:
        raise ValueError(f"dimension must be at least 1, got {dimension}")
    return math.sqrt(-math.expm1(-2 * mutual_information_ceiling(epsilon) / dimension))


def reidentification_ceiling(epsilon: Fraction | float, candidates: int, delta: float = 0.0) -> float:
    """Largest probability that any attacker names the right one of `candidates` equally likely images.

    (e^eps + (N - 1) delta) / (e^eps + N - 1), among candidates that agree on everything released in clear.

    Example:
        >>> round(reidentification_ceiling(4, 1000), 3)
        0.052
    """
    if candidates < 1:
        raise ValueError(f"candidates must be at least 1, got {candidates}")
    others = (candidates - 1) * math.exp(-_non_negative(epsilon))
    return min(1.0, (1 + others * delta) / (1 + others))


def mutual_information_at_most(epsilon: Fraction) -> Fraction:
    """`mutual_information_ceiling`, never below the true value: the upper end of an enclosure, or epsilon^2 / 8.

    **Proof.** c - 1 - ln c grows with c > 1, and c = eps / (1 - e^-eps) grows with e^-eps, so the upper end of the
    enclosure of e^-eps gives an upper end. epsilon^2 / 8 is Hoeffding's: the information at one output is that of a law
    tilted by a log likelihood in a range of width epsilon, whose variance is at most epsilon^2 / 4 all along the way.

    Raises:
        ValueError: for an epsilon below 0.
    """
    if epsilon < 0:
        raise ValueError(f"epsilon must be at least 0, got {epsilon}")
    if epsilon == 0:
        return Fraction(0)
    hidden = exp_range(-min(epsilon, Fraction(_FLAT_FROM)))[1]
    small = epsilon**2 / 8
    if hidden >= 1:
        return small
    c = ends(interval(epsilon) / (1 - interval(hidden)))[1]
    return min(c - 1 - logarithm(c)[0], small)


def reidentification_at_most(epsilon: Fraction, candidates: int, delta: Fraction = Fraction(0)) -> Fraction:
    """`reidentification_ceiling`, never below the true value: it falls with e^-epsilon, whose lower end is taken.

    Raises:
        ValueError: for fewer than one candidate, or an epsilon below 0.
    """
    if candidates < 1:
        raise ValueError(f"candidates must be at least 1, got {candidates}")
    if epsilon < 0:
        raise ValueError(f"epsilon must be at least 0, got {epsilon}")
    if epsilon >= _FLAT_FROM:
        return Fraction(1)
    others = (candidates - 1) * exp_range(-epsilon)[0]
    return min(Fraction(1), (1 + others * delta) / (1 + others))


def attribute_accuracy_ceiling(epsilon: Fraction | float, delta: float = 0.0) -> float:
    """Largest balanced accuracy of guessing a binary attribute: (e^eps + delta) / (1 + e^eps)."""
    inverse = math.exp(-_non_negative(epsilon))
    return min(1.0, (1 + delta * inverse) / (1 + inverse))


def verification_auc_ceiling(epsilon: Fraction | float, delta: float = 0.0) -> float:
    """Largest area under the ROC curve of telling own from other: 1 - (1 - delta)^2 / (1 + e^eps)."""
    inverse = math.exp(-_non_negative(epsilon))
    return 1 - (1 - delta) ** 2 * inverse / (1 + inverse)


def _non_negative(epsilon: Fraction | float) -> float:
    # float() of a huge Fraction overflows to an error; every ceiling is flat long before 1e6.
    eps = float(min(epsilon, Fraction(10**6))) if isinstance(epsilon, Fraction) else float(epsilon)
    if not eps >= 0:
        raise ValueError(f"epsilon must be at least 0, got {epsilon}")
    return eps
