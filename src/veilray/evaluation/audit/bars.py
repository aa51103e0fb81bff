"""The one table of bars: the least share of the claim that the audit of a tight mechanism must certify."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal

from veilray.privacy import Claim

__all__ = ["BARS", "EPSILONS", "FULL", "QUICK", "bar"]

FULL = 1_000_000
"""Trials of each side in a full audit."""

QUICK = 100_000
"""Trials of each side in a quick one."""

EPSILONS = tuple(Fraction(text) for text in ("1/2", "1", "2", "4"))
"""Where the bars hold."""

BARS: dict[tuple[str, Literal["image", "element"]], float] = {
    ("laplace", "element"): 0.9,
    ("directional", "image"): 0.9,
    ("codebook", "image"): 0.9,
    ("blockwise", "image"): 0.9,
    ("randomised_response", "image"): 0.9,
    ("gaussian", "image"): 0.95,
}
"""What an audit of a sound build must reach, or it sees too little.

The certified share of epsilon (of mu for gaussian) at 99 % and 1e6 trials a side.
"""


def bar(mechanism: str, claim: Claim, dimension: int, trials: int) -> float | None:
    """The bar for so many trials a side, or None where there is none.

    What a bound misses of the truth shrinks with the root of the trials, so the gap of the table grows by it. The bar
    of randomised response is for one cell: several reach their worst ratio together too rarely for a tight count.
    """
    full = BARS.get((mechanism, claim.unit))
    if full is None or claim.epsilon not in EPSILONS or (mechanism == "randomised_response" and dimension > 1):
        return None
    return max(0.0, 1 - (1 - full) * math.sqrt(max(1.0, FULL / trials)))
