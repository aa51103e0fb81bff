"""Claims and randomness: what a release promises, and the noise that keeps the promise.

Nothing here knows of networks, files, pictures or databases.
"""

from veilray.privacy.ceiling import (
    attribute_accuracy_ceiling,
    correlation_ceiling,
    mutual_information_ceiling,
    reidentification_ceiling,
    verification_auc_ceiling,
)
from veilray.privacy.entropy import Entropy, SeededEntropy, SystemEntropy
from veilray.privacy.exact import Exact, ExactLike, decimal_text, delta_text, exact, lower_text
from veilray.privacy.guarantee import (
    EMPIRICAL,
    Bound,
    ConditionPolicy,
    Guarantee,
    ModelTraining,
    Releases,
    guarantee_schema,
)
from veilray.privacy.mechanisms import MECHANISMS, Claim, Mechanism

__all__ = [
    "EMPIRICAL",
    "MECHANISMS",
    "Bound",
    "Claim",
    "ConditionPolicy",
    "Entropy",
    "Exact",
    "ExactLike",
    "Guarantee",
    "Mechanism",
    "ModelTraining",
    "Releases",
    "SeededEntropy",
    "SystemEntropy",
    "attribute_accuracy_ceiling",
    "correlation_ceiling",
    "decimal_text",
    "delta_text",
    "exact",
    "guarantee_schema",
    "lower_text",
    "mutual_information_ceiling",
    "reidentification_ceiling",
    "verification_auc_ceiling",
]
