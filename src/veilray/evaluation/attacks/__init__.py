"""Attacks: one file each, all under the contract of `base`, all known by name in `ATTACKS`."""

from veilray.evaluation.attacks.base import ATTACKS, TESTS, Attack, ReleasedCodes, decision_level, lower_bound
from veilray.evaluation.attacks.linkage import Linkage
from veilray.evaluation.attacks.membership import (
    Membership,
    MembershipResult,
    Memberships,
    MembershipScores,
    likelihood_scores,
    membership,
)
from veilray.evaluation.attacks.verification import Verification

__all__ = [
    "ATTACKS",
    "TESTS",
    "Attack",
    "Linkage",
    "Membership",
    "MembershipResult",
    "MembershipScores",
    "Memberships",
    "ReleasedCodes",
    "Verification",
    "decision_level",
    "likelihood_scores",
    "lower_bound",
    "membership",
]
