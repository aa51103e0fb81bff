"""The systems that a user names, each joining an encoder with a mechanism."""

from veilray.methods.base import METHODS, load_method
from veilray.methods.cadp import CADP
from veilray.methods.directional import DirectionalRelease
from veilray.methods.dp_glow import DPGlow
from veilray.methods.selection import SelectionRelease

__all__ = ["CADP", "METHODS", "DPGlow", "DirectionalRelease", "SelectionRelease", "load_method"]
