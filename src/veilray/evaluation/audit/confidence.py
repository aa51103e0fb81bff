"""Lower bounds from counts: what a run of guesses proves about epsilon or mu, at a stated confidence.

Two levels are in use. At 99 % a bound is *shown*; a mechanism that is tight sits on its line, so one
honest check in a hundred is above it. A build *fails* only where the bound at confidence 1 - 1e-6 / (number of tests)
exceeds the claim, so that a whole audit of a correct build trips about once in a million runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scipy.special import betaincinv, ndtri

__all__ = [
    "DISPLAY",
    "FAMILY_WISE",
    "Counts",
    "Limit",
    "certified",
    "clopper_pearson_lower",
    "clopper_pearson_upper",
    "decision_confidence",
]

DISPLAY = 0.99
"""Confidence of the bounds that are shown."""

FAMILY_WISE = 1e-6
"""Chance that an audit of a correct build fails: once in a million runs, so that a failure means a fault."""


@dataclass(frozen=True)
class Limit:
    """What is claimed for one pair of inputs: `epsilon` (with `delta`), or `mu` for the Gaussian family alone.

    mu is the parameter of Gaussian differential privacy (Dong, Roth and Su 2022): the two outputs are no easier told
    apart than N(0, 1) and N(mu, 1). A bound on mu says nothing about a mechanism that claims epsilon.
    """

    kind: Literal["epsilon", "mu"]
    value: float
    delta: float = 0.0


@dataclass(frozen=True)
class Counts:
    """Outcome of a guessing game: right and wrong guesses of `trials`; the others were abstained from."""

    right: int
    wrong: int
    trials: int


def clopper_pearson_lower(successes: int, trials: int, confidence: float) -> float:
    """One-sided lower bound of a binomial probability (Clopper and Pearson 1934).

    Raises:
        ValueError: for successes outside [0, trials] or a confidence outside (0, 1).
    """
    _check(successes, trials, confidence)
    return 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, 1 - confidence))


def clopper_pearson_upper(successes: int, trials: int, confidence: float) -> float:
    """One-sided upper bound of a binomial probability; 1 less the lower bound of the failures."""
    _check(successes, trials, confidence)
    return 1.0 - clopper_pearson_lower(trials - successes, trials, confidence)


def certified(counts: Counts, kind: Literal["epsilon", "mu"], confidence: float, delta: float = 0.0) -> float:
    """The epsilon or mu that the guesses prove, at least 0.

    In each trial a fair coin chose the input. **epsilon**: given that a guess is made it is right with odds of at most
    e^epsilon, so one Clopper-Pearson bound of the guesses is enough; it also holds for dependent guesses of one run
    (Steinke, Nasr and Jagielski 2023). With a delta: Pr[right] <= e^epsilon Pr[wrong] + delta, both bounded.
    **mu**: Pr[right] and Pr[wrong] are the mean true and false positive rates of the two tests, and the trade-off curve
    is concave, so mu >= Phi^-1(Pr[right]) - Phi^-1(Pr[wrong]), which is Phi^-1(1-FPR) - Phi^-1(FNR); without
    abstentions the two are one figure and one bound is enough. Valid for the Gaussian family only.
    """
    guesses = counts.right + counts.wrong
    if guesses == 0:
        return 0.0
    if kind == "epsilon" and delta == 0:
        share = clopper_pearson_lower(counts.right, guesses, confidence)
        return max(0.0, math.log(share) - math.log1p(-share)) if share > 0 else 0.0
    if kind == "mu" and guesses == counts.trials:
        share = clopper_pearson_lower(counts.right, guesses, confidence)
        return max(0.0, 2 * float(ndtri(share)))
    split = (1 + confidence) / 2
    right = clopper_pearson_lower(counts.right, counts.trials, split)
    wrong = clopper_pearson_upper(counts.wrong, counts.trials, split)
    if kind == "mu":
        return max(0.0, float(ndtri(right) - ndtri(wrong))) if right > 0 and wrong < 1 else 0.0
    return max(0.0, math.log((right - delta) / wrong)) if right > delta else 0.0


def decision_confidence(tests: int) -> float:
    """Confidence at which one of `tests` checks may fail a build: 1 - 1e-6 / tests."""
    if tests < 1:
        raise ValueError(f"tests must be at least 1, got {tests}")
    return 1 - FAMILY_WISE / tests


def _check(successes: int, trials: int, confidence: float) -> None:
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"successes must be in [0, trials] with at least 1 trial, got {successes} of {trials}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
