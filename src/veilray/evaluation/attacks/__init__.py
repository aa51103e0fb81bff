"""Attacks: one file each, all under the contract of `base`, all known by name in `ATTACKS`."""

from veilray.evaluation.attacks.base import ATTACKS, TESTS, Attack, ReleasedCodes, decision_level, lower_bound
from veilray.evaluation.attacks.linkage import Linkage
from veilray.evaluation.attacks.verification import Verification

__all__ = [
    "ATTACKS",
    "TESTS",
    "Attack",
    "Linkage",
    "ReleasedCodes",
    "Verification",
    "decision_level",
    "lower_bound",
]
