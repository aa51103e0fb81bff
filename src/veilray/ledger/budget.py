"""The budget: how much of a patient may be spent over all releases, ever. Policy, set once for a ledger.

Two ways to add up, both valid when later releases are chosen in the light of earlier ones: the plain sum of
epsilons and deltas, and Gaussian differential privacy, which adds up mu^2 and is read at one delta. The second
allows more small releases; see `veilray.privacy.composition`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from veilray.privacy.composition import Event, Total, total, total_in_gdp
from veilray.privacy.exact import decimal_text, delta_text

__all__ = ["Budget"]


@dataclass(frozen=True)
class Budget:
    """The most that a patient may be spent.

    Args:
        epsilon: above 0.
        delta: 0 allows only pure releases under `sum`; `gdp` is read at this delta and needs it above 0.
        accounting: `sum` or `gdp`.
    """

    epsilon: Fraction
    delta: Fraction = Fraction(0)
    accounting: Literal["sum", "gdp"] = "sum"

    def __post_init__(self) -> None:
        if self.accounting not in ("sum", "gdp"):
            raise ValueError(f"accounting must be sum or gdp, got {self.accounting!r}")
        if self.epsilon <= 0:
            raise ValueError(f"budget must be above 0, got {self.epsilon}")
        if not 0 <= self.delta < 1:
            raise ValueError(f"delta must be in [0, 1), got {self.delta}")
        if self.accounting == "gdp" and not self.delta:
            raise ValueError("delta must be above 0 for accounting gdp, got 0: give --delta, such as 1e-6")

    def in_words(self) -> str:
        """The policy as a sentence without its full stop."""
        text = f"a patient may be spent epsilon {decimal_text(self.epsilon)}"
        return text + (f" at delta {delta_text(self.delta)} ({self.accounting})" if self.delta else " (pure sum)")

    def spent(self, events: Sequence[Event]) -> Total:
        """What a list of releases comes to, in this budget's way of adding up.

        Raises:
            ValueError: under `gdp`, for a release of which only (epsilon, delta) is known.
        """
        return total_in_gdp(events, self.delta) if self.accounting == "gdp" else total(events)

    def allows(self, events: Sequence[Event]) -> bool:
        """True when a list of releases stays within the budget."""
        spent = self.spent(events)
        return spent.epsilon <= self.epsilon and spent.delta <= self.delta
