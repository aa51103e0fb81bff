"""Audit of a claim: attack the mechanism itself with every trial it allows, and see how much of epsilon is proved.

An audit can refute a claim; it cannot prove one. What stands at the end is a certified *lower* bound: at most the
claim for a correct build, close to it for a tight one, above it for a broken one. See `docs/reference/audit.md`.
"""

from veilray.evaluation.audit.bars import BARS, EPSILONS, FULL, QUICK, bar
from veilray.evaluation.audit.confidence import (
    DISPLAY,
    FAMILY_WISE,
    Counts,
    Limit,
    certified,
    clopper_pearson_lower,
    clopper_pearson_upper,
    decision_confidence,
)
from veilray.evaluation.audit.labels import label_subject, number_subject
from veilray.evaluation.audit.pairs import Pair
from veilray.evaluation.audit.report import Check, Report
from veilray.evaluation.audit.run import audit, audit_mechanism
from veilray.evaluation.audit.statistics import STATISTICS
from veilray.evaluation.audit.structure import STRUCTURE
from veilray.evaluation.audit.subject import Subject, calibrated, subject_of

__all__ = [
    "BARS",
    "DISPLAY",
    "EPSILONS",
    "FAMILY_WISE",
    "FULL",
    "QUICK",
    "STATISTICS",
    "STRUCTURE",
    "Check",
    "Counts",
    "Limit",
    "Pair",
    "Report",
    "Subject",
    "audit",
    "audit_mechanism",
    "bar",
    "calibrated",
    "certified",
    "clopper_pearson_lower",
    "clopper_pearson_upper",
    "decision_confidence",
    "label_subject",
    "number_subject",
    "subject_of",
]
