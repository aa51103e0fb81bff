"""Attacks on obfuscated pictures: one file each, known by name in `ATTACKS_ON_PICTURES`.

The network that is trained on known pairs is in `reconstruction`.
"""

from veilray.evaluation.attacks.intensity.base import (
    ATTACKS_ON_PICTURES,
    SETTINGS,
    AttackOnPictures,
    KnownPairs,
    ObfuscatedSet,
    PictureAttack,
    PictureResult,
    Reconstruction,
    Setting,
    View,
)
from veilray.evaluation.attacks.intensity.channel import Channel, Channels
from veilray.evaluation.attacks.intensity.ciphertext_only import CiphertextOnly
from veilray.evaluation.attacks.intensity.cooccurrence import CoOccurrence
from veilray.evaluation.attacks.intensity.edge_leak import EdgeLeak
from veilray.evaluation.attacks.intensity.grey_ramp import GreyRamp
from veilray.evaluation.attacks.intensity.histogram_attribute import HistogramAttribute
from veilray.evaluation.attacks.intensity.key_reuse import KeyReuse
from veilray.evaluation.attacks.intensity.known_pairs import KnownPairAttack
from veilray.evaluation.attacks.intensity.rank_matching import RankMatching
from veilray.evaluation.attacks.intensity.reconstruction import UNetReconstruction

__all__ = [
    "ATTACKS_ON_PICTURES",
    "SETTINGS",
    "AttackOnPictures",
    "Channel",
    "Channels",
    "CiphertextOnly",
    "CoOccurrence",
    "EdgeLeak",
    "GreyRamp",
    "HistogramAttribute",
    "KeyReuse",
    "KnownPairAttack",
    "KnownPairs",
    "ObfuscatedSet",
    "PictureAttack",
    "PictureResult",
    "RankMatching",
    "Reconstruction",
    "Setting",
    "UNetReconstruction",
    "View",
]
