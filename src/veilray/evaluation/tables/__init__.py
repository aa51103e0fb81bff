"""Yardsticks for released tables: attacks, fidelity, learners, and a synthesiser under central differential privacy.

anonymeter, sdmetrics and OpenDP are the extra `yardsticks`; they are imported when a function first needs them.
"""

from __future__ import annotations

from veilray.evaluation.tables.anonymity import AnonymityRisk, anonymity_risks, inference, linkability, singling_out
from veilray.evaluation.tables.fidelity import Fidelity, fidelity
from veilray.evaluation.tables.learners import LEARNERS, TableLearner, TableScore, score_on_real
from veilray.evaluation.tables.synthesiser import Synthesis, synthesise

__all__ = [
    "LEARNERS",
    "AnonymityRisk",
    "Fidelity",
    "Synthesis",
    "TableLearner",
    "TableScore",
    "anonymity_risks",
    "fidelity",
    "inference",
    "linkability",
    "score_on_real",
    "singling_out",
    "synthesise",
]
