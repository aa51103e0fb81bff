"""The other side of obfuscation: a cloud that sees obfuscated pictures and labels, no key, no original, no model.

Everything it knows comes from one folder, OBFUSCATED. Nothing here imports the owner's side; a test and the import
contract hold it to that. What it is given carries no claim: empirical, no formal guarantee.
"""

from __future__ import annotations

from veilray.cloud.classifier import Classifier, load_classifier
from veilray.cloud.networks import NETWORKS
from veilray.cloud.programs import Predicted, cloud_predict, cloud_train
from veilray.cloud.received import Handed, Received, open_obfuscated, read_handed
from veilray.cloud.training import CLOUD_TRAINING, TrainingFigures, fit_network

__all__ = [
    "CLOUD_TRAINING",
    "NETWORKS",
    "Classifier",
    "Handed",
    "Predicted",
    "Received",
    "TrainingFigures",
    "cloud_predict",
    "cloud_train",
    "fit_network",
    "load_classifier",
    "open_obfuscated",
    "read_handed",
]
