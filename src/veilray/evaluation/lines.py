"""Theory lines: the most that a claim allows any attacker, for the releases that the attack puts together.

A release that keeps (epsilon, delta) or mu says, for every test that tells one record from another: Pr[yes | own] is at
most f(Pr[yes | other]), with f(a) = e^epsilon a + delta, or f(a) = Phi(Phi^-1(a) + mu) for a Gaussian mechanism (Dong,
Roth and Su 2022). Every line here follows from f alone. All hold among records that agree on what is released in
clear, for the same-label galleries and impostors of the attacks, and for each release scored by itself.

An attack that uses m releases of a record faces m epsilon, m delta, or sqrt(m) mu: that is the argument `releases`.
The pure figures are those of `veilray.privacy.ceiling`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from veilray.privacy import (
    Guarantee,
    attribute_accuracy_ceiling,
    reidentification_ceiling,
    verification_auc_ceiling,
)
from veilray.privacy.calibration import gaussian_mu

__all__ = [
    "Claimed",
    "balanced_accuracy",
    "balanced_accuracy_mu",
    "reidentification",
    "reidentification_mu",
    "same_image_auc",
    "verification_auc",
    "verification_auc_mu",
]

Number = Fraction | float


def reidentification(epsilon: Number, candidates: int, delta: Number = 0, releases: int = 1) -> float:
    """Largest chance to name the right one of N equally likely candidates: (e^eps + (N-1) delta) / (e^eps + N - 1).

    Proof. Let S_i be the outputs for which the attacker names i; they part the output space. P_i(S_i) is at most
    f(P_j(S_i)) for every j other than i; f is concave, so also at most f of the mean over j. Let p be the mean of
    P_i(S_i). All P_j(S_i) add up to N, so those of different i and j have mean (1 - p) / (N - 1). Hence
    p <= f((1 - p) / (N - 1)), solved for p.

    Example:
        >>> round(reidentification(4, 100), 3)
        0.355
    """
    epsilon, delta = _composed(epsilon, delta, releases)
    return reidentification_ceiling(epsilon, candidates, delta)


def balanced_accuracy(epsilon: Number, delta: Number = 0, releases: int = 1) -> float:
    """Largest balanced accuracy of a binary attribute: (e^eps + delta) / (1 + e^eps).

    Proof. The mean of Pr[yes | 1] <= f(Pr[yes | 0]) and Pr[no | 0] <= f(Pr[no | 1]): re-identification with N = 2.
    Randomised response reaches it.

    Example:
        >>> round(balanced_accuracy(1), 3)
        0.731
    """
    epsilon, delta = _composed(epsilon, delta, releases)
    return attribute_accuracy_ceiling(epsilon, delta)


def verification_auc(epsilon: Number, delta: Number = 0, releases: int = 1) -> float:
    """Largest area under the ROC curve of "is this release of this record": 1 - (1 - delta)^2 / (1 + e^eps).

    Proof. The ROC curve lies below f and, with the two sides exchanged, below the mirror image of f. The two lines meet
    where Pr[yes | other] is a = (1 - delta) / (1 + e^eps); the area above them is a (1 - delta).

    Example:
        >>> round(verification_auc(2), 3)
        0.881
    """
    epsilon, delta = _composed(epsilon, delta, releases)
    return verification_auc_ceiling(epsilon, delta)


def reidentification_mu(mu: Number, candidates: int, releases: int = 1) -> float:
    """The same for a Gaussian mechanism: the p with p = Phi(Phi^-1((1 - p) / (N - 1)) + mu).

    Proof as for `reidentification`, with the Gaussian f. N = 2 gives `balanced_accuracy_mu`.
    """
    if candidates < 1:
        raise ValueError(f"candidates must be at least 1, got {candidates}")
    shift = _composed_mu(mu, releases)
    if candidates == 1:
        return 1.0

    def gap(p: float) -> float:
        return float(ndtr(ndtri((1 - p) / (candidates - 1)) + shift)) - p

    # 1/N is the answer at mu = 0; rounding may put the gap there just below 0.
    return 1 / candidates if gap(1 / candidates) <= 0 else float(brentq(gap, 1 / candidates, 1.0, xtol=1e-14))


def balanced_accuracy_mu(mu: Number, releases: int = 1) -> float:
    """Largest balanced accuracy of a binary attribute: Phi(mu / 2), where the two errors are equal."""
    return float(ndtr(_composed_mu(mu, releases) / 2))


def verification_auc_mu(mu: Number, releases: int = 1) -> float:
    """Largest area under the ROC curve, of N(mu, 1) against N(0, 1): Phi(mu / sqrt 2), the law of their difference."""
    return float(ndtr(_composed_mu(mu, releases) / math.sqrt(2)))


def same_image_auc(p: float, q: float) -> float:
    """What an efficient directional release shows *by design*: (1 + p - q) / 2. No bound; it stands beside the line.

    The likelihood has two values. The own code is on the released side with probability p, another one, at random,
    with q. Own above other, with ties for a half: p (1 - q) + (p q + (1 - p)(1 - q)) / 2.
    """
    if not (0 <= p <= 1 and 0 <= q <= 1):
        raise ValueError(f"p and q must be in [0, 1], got {p} and {q}")
    return (1 + p - q) / 2


@dataclass(frozen=True)
class Claimed:
    """What one release of a whole image claims, as far as the lines need it; `mu` for the Gaussian mechanism alone.

    Where mu is known both families hold, and the lower line is drawn.
    """

    epsilon: Fraction
    delta: Fraction = Fraction(0)
    mu: Fraction | None = None

    @classmethod
    def of(cls, guarantee: Guarantee) -> Claimed:
        """The claim for the whole image, whatever unit the guarantee speaks of."""
        epsilon, delta = guarantee.image_epsilon, guarantee.image_delta
        return cls(epsilon, delta, gaussian_mu(epsilon, delta) if guarantee.mechanism == "gaussian" else None)

    def reidentification(self, candidates: int, releases: int = 1) -> float:
        """The line of naming one of `candidates`."""
        line = reidentification(self.epsilon, candidates, self.delta, releases)
        return line if self.mu is None else min(line, reidentification_mu(self.mu, candidates, releases))

    def balanced_accuracy(self, releases: int = 1) -> float:
        """The line of a binary attribute."""
        line = balanced_accuracy(self.epsilon, self.delta, releases)
        return line if self.mu is None else min(line, balanced_accuracy_mu(self.mu, releases))

    def verification_auc(self, releases: int = 1) -> float:
        """The line of verification."""
        line = verification_auc(self.epsilon, self.delta, releases)
        return line if self.mu is None else min(line, verification_auc_mu(self.mu, releases))


def _composed(epsilon: Number, delta: Number, releases: int) -> tuple[Number, float]:
    if releases < 1:
        raise ValueError(f"releases must be at least 1, got {releases}")
    if not 0 <= delta <= 1:
        raise ValueError(f"delta must be in [0, 1], got {delta}")
    return epsilon * releases, min(1.0, float(delta) * releases)


def _composed_mu(mu: Number, releases: int) -> float:
    if releases < 1:
        raise ValueError(f"releases must be at least 1, got {releases}")
    if not mu >= 0:
        raise ValueError(f"mu must be at least 0, got {mu}")
    return float(mu) * math.sqrt(releases)
