"""What no pure-epsilon mechanism can exceed, and what no attacker can: the lines that plots draw.

Derivations: a pure epsilon-LDP channel has likelihood ratios in [e^-eps, e^eps]; the largest mutual
information is reached by a two-valued likelihood, which gives I*(eps). The correlation ceiling follows by
Gaussian rate-distortion (Cover and Thomas 2006, chapter 10). The bounds on attacks are Bayes' rule with the
likelihood ratio at its limit.
"""

from __future__ import annotations

import math
from fractions import Fraction

__all__ = [
    "attribute_accuracy_ceiling",
    "correlation_ceiling",
    "mutual_information_ceiling",
    "reidentification_ceiling",
    "verification_auc_ceiling",
]


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
    """Largest correlation between an N(0, I_d) latent and any pure epsilon-LDP release of it, in [0, 1]."""
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
