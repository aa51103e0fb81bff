"""What an audit says: one frozen check for each thing that was tested, and the report that holds them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from veilray.evaluation.audit.confidence import Limit

__all__ = ["Check", "Family", "Report"]

Family = Literal["marginal", "joint", "structural"]


@dataclass(frozen=True)
class Check:
    """One test of one subject.

    Attributes:
        test: its name; for a guessing game `inputs / statistic`.
        family: marginal, joint or structural.
        tested: what was compared, in words.
        passed: False where the claim is refuted (or, for a structural check, a rule is broken).
        trials: releases drawn and scored, both sides together.
        limit: the claim for these inputs; None for a structural check.
        shown: lower bound at 99 %, for display.
        decided: lower bound at the decision confidence; the check fails where it exceeds the claim.
        confidence: the decision confidence.
        bar: least share of the claim that a tight mechanism's audit must certify; None where no bar is set.
        detail: why a structural check failed.
    """

    test: str
    family: Family
    tested: str
    passed: bool
    trials: int
    limit: Limit | None = None
    shown: float | None = None
    decided: float | None = None
    confidence: float | None = None
    bar: float | None = None
    detail: str = ""

    @property
    def share(self) -> float | None:
        """Certified share of the claim at 99 %."""
        return None if self.limit is None or self.shown is None else self.shown / self.limit.value

    @property
    def weak(self) -> bool:
        """True where the audit proved less than its bar: it has no power, or the mechanism wastes its budget."""
        return self.bar is not None and self.share is not None and self.share < self.bar

    @property
    def verdict(self) -> str:
        """`FAIL`, `weak` or `pass`."""
        return "FAIL" if not self.passed else "weak" if self.weak else "pass"


@dataclass(frozen=True)
class Report:
    """All checks of one subject."""

    subject: str
    dimension: int
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """True when no check refutes the claim."""
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that refute the claim."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def sharpest(self) -> Check | None:
        """The check that certified the largest share of its claim; None where only structure was tested."""
        scored = [check for check in self.checks if check.share is not None]
        return max(scored, key=lambda check: check.share or 0.0, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        checks = [{**asdict(c), "share": c.share, "verdict": c.verdict} for c in self.checks]
        return {"subject": self.subject, "dimension": self.dimension, "passed": self.passed, "checks": checks}
