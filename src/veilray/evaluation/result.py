"""What a measurement says: a figure with its interval, and an attack between its two controls and its theory line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

__all__ = ["AttackResult", "Estimate", "Verdict"]

Verdict = Literal["above the line", "no power", "within the line", "no line"]


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval.

    Attributes:
        value: the figure on the data as they are.
        low, high: ends of the interval. A percentile interval need not hold `value`.
        count: what was counted: images, releases or seeds.
        level: of the interval.

    Raises:
        ValueError: for figures that are not finite, ends in the wrong order, a count below 1, a level outside (0, 1).
    """

    value: float
    low: float
    high: float
    count: int
    level: float = 0.95

    def __post_init__(self) -> None:
        if not all(math.isfinite(figure) for figure in (self.value, self.low, self.high)):
            raise ValueError(f"value, low and high must be finite, got {self.value}, {self.low}, {self.high}")
        if self.low > self.high:
            raise ValueError(f"low must be at most high, got {self.low} and {self.high}")
        if self.count < 1:
            raise ValueError(f"count must be at least 1, got {self.count}")
        if not 0 < self.level < 1:
            raise ValueError(f"level must be in (0, 1), got {self.level}")

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class AttackResult:
    """One attack on one release, between its controls.

    Attributes:
        attack: its registered name.
        protocol: the game that was played, in words.
        knowledge: what the attacker knows, in words.
        released: the score on the release.
        positive: the same attack where it must succeed (the raw release, or next to no noise).
        negative: the same attack where it cannot (a release that knows nothing of its target).
        line: the largest score that the claim allows any attacker; None where theory gives none.
        decided: lower bound of the released score at `confidence`; None where there is no line.
        confidence: at which a build may fail (1e-6, spread over a study's checks).
        releases_per_target: releases of one record that the attack puts together; `line` is for their summed claim.

    Raises:
        ValueError: for a line without a decision, or fewer than one release.
    """

    attack: str
    protocol: str
    knowledge: str
    released: Estimate
    positive: Estimate
    negative: Estimate
    line: float | None = None
    decided: float | None = None
    confidence: float | None = None
    releases_per_target: int = 1

    def __post_init__(self) -> None:
        if self.line is not None and (self.decided is None or self.confidence is None):
            raise ValueError("decided and confidence must be given with a line, got none: see attacks.base.lower_bound")
        if self.releases_per_target < 1:
            raise ValueError(f"releases_per_target must be at least 1, got {self.releases_per_target}")

    @property
    def has_power(self) -> bool:
        """True where the positive control is broken: its interval lies above the negative control's.

        Without power an attack that finds nothing says nothing; it never says "safe".
        """
        return self.positive.low > self.negative.high

    @property
    def breaks_the_line(self) -> bool:
        """True where the claim is refuted: the lower bound at the decision confidence lies above the line."""
        return self.line is not None and self.decided is not None and self.decided > self.line

    @property
    def scaled(self) -> float | None:
        """The score with the negative control at 0 and the positive at 1; None without power: a scale needs ends."""
        if not self.has_power:
            return None
        return (self.released.value - self.negative.value) / (self.positive.value - self.negative.value)

    @property
    def verdict(self) -> Verdict:
        """A refuted claim first, then missing power: only an attack that can succeed may stay within a line."""
        if self.breaks_the_line:
            return "above the line"
        if not self.has_power:
            return "no power"
        return "no line" if self.line is None else "within the line"

    def to_row(self) -> dict[str, str | int | float | bool | None]:
        """One flat row of a table."""
        row: dict[str, str | int | float | bool | None] = {
            "attack": self.attack,
            "protocol": self.protocol,
            "knowledge": self.knowledge,
            "releases_per_target": self.releases_per_target,
        }
        for name, estimate in (("released", self.released), ("positive", self.positive), ("negative", self.negative)):
            row |= {
                name: estimate.value,
                f"{name}_low": estimate.low,
                f"{name}_high": estimate.high,
                f"{name}_count": estimate.count,
            }
        return row | {
            "level": self.released.level,
            "line": self.line,
            "decided": self.decided,
            "confidence": self.confidence,
            "scaled": self.scaled,
            "has_power": self.has_power,
            "breaks_the_line": self.breaks_the_line,
            "verdict": self.verdict,
        }
