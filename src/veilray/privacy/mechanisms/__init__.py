"""Mechanisms: one file each, all under the contract of `base`, all known by name in `MECHANISMS`."""

from veilray.privacy.mechanisms.base import MECHANISMS, Claim, Mechanism
from veilray.privacy.mechanisms.blockwise import Blockwise
from veilray.privacy.mechanisms.codebook import Codebook
from veilray.privacy.mechanisms.directional import Directional
from veilray.privacy.mechanisms.gaussian import Gaussian
from veilray.privacy.mechanisms.laplace import Laplace
from veilray.privacy.mechanisms.randomised_response import RandomisedResponse
from veilray.privacy.mechanisms.selection import Selection

__all__ = [
    "MECHANISMS",
    "Blockwise",
    "Claim",
    "Codebook",
    "Directional",
    "Gaussian",
    "Laplace",
    "Mechanism",
    "RandomisedResponse",
    "Selection",
]
