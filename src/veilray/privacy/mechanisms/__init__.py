"""Mechanisms: one file each, all under the contract of `base`, all known by name in `MECHANISMS`."""

from veilray.privacy.mechanisms.base import MECHANISMS, Claim, Mechanism
from veilray.privacy.mechanisms.gaussian import Gaussian
from veilray.privacy.mechanisms.laplace import Laplace

__all__ = ["MECHANISMS", "Claim", "Gaussian", "Laplace", "Mechanism"]
