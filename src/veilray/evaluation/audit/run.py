"""One audit: play every pair, every element game and every structural test of a subject."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from veilray.evaluation.audit.bars import QUICK, bar
from veilray.evaluation.audit.counting import CountingEntropy
from veilray.evaluation.audit.elements import ELEMENT_GAMES, play_elements
from veilray.evaluation.audit.games import Plan, play
from veilray.evaluation.audit.pairs import WORST
from veilray.evaluation.audit.report import Check, Report
from veilray.evaluation.audit.statistics import STATISTICS
from veilray.evaluation.audit.structure import check_structure
from veilray.evaluation.audit.subject import Subject, calibrated, subject_of
from veilray.privacy import Claim, Entropy, SystemEntropy

__all__ = ["FEWEST_TRIALS", "Progress", "audit", "audit_mechanism"]

FEWEST_TRIALS, MOST_TRIALS = 1000, 10**10

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what is next)."""


def audit(
    subject: Subject,
    trials: int = QUICK,
    entropy: Entropy | None = None,
    least: float | None = None,
    progress: Progress | None = None,
    rows: int | None = None,
) -> Report:
    """Audit a subject by every test.

    Args:
        subject: what is audited; see `subject_of`.
        trials: of each side of the worst pair; other pairs get a tenth.
        entropy: what the subject draws from; the operating system's, as a release does, unless given.
        least: the bar, the share of the claim that the likelihood of the worst pair, or each element, must certify.
        progress: for a progress bar.
        rows: most rows drawn for one pair; a budget of entropy limits them too, so that a mechanism of many draws a row
            gets fewer trials, as each check says.

    Raises:
        ValueError: for fewer than 1,000 trials.
    """
    if not FEWEST_TRIALS <= trials <= MOST_TRIALS:
        raise ValueError(
            f"trials must be at least {FEWEST_TRIALS:,} and at most {MOST_TRIALS:,}, got {trials:,}: "
            "fewer prove nothing, and no machine ends more"
        )
    source = SystemEntropy() if entropy is None else entropy
    games = len(subject.pairs) * len(STATISTICS) + (0 if subject.element is None else len(ELEMENT_GAMES))
    plan = Plan(trials, games, _words_of_a_row(subject))
    if rows is not None:
        plan = replace(plan, rows=rows)
    steps = len(subject.pairs) + 2
    by_element = subject.element is not None
    tell = progress or (lambda done, total, what: None)
    checks: list[Check] = []
    for number, pair in enumerate(subject.pairs):
        tell(number, steps, pair.name)
        checks += play(subject, pair, plan, source, least if pair.name == WORST and not by_element else None)
    tell(len(subject.pairs), steps, "elements")
    checks += play_elements(subject, plan, source, least)
    tell(len(subject.pairs) + 1, steps, "structure")
    checks += check_structure(subject)
    tell(steps, steps, "")
    return Report(subject.name, subject.dimension, tuple(checks))


def _words_of_a_row(subject: Subject) -> int:
    entropy = CountingEntropy("audit cost")
    subject.draw(subject.pairs[0].first, entropy)
    return max(1, entropy.tally.bytes // 8 // len(subject.pairs[0].first))


def audit_mechanism(
    name: str,
    claim: Claim,
    dimension: int,
    trials: int = QUICK,
    entropy: Entropy | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Report:
    """Calibrate a registered mechanism, audit it against the claim that was asked for, and hold it to its bar where the
    table has one.

    Args:
        options: of the mechanism, such as `form="sphere"`. The bars are for the usual ones, so there is none then.

    Raises:
        ValueError: for an unknown mechanism, or a claim or options it cannot keep.
    """
    subject = subject_of(calibrated(name, claim, dimension, **options), claim)
    least = None if options else bar(name, claim, dimension, trials)
    return audit(subject, trials, entropy, least, progress)
