"""Obfuscation with a key, for training in someone else's cloud: empirical, no formal guarantee.

Popescu et al. 2022, Applied Sciences 12(8), 3997, re-implemented from what is published of it. It is apart from the
methods that `veilray release` knows: nothing here makes a claim.
"""

from __future__ import annotations

from veilray.methods.obfuscation.intensity_map import IntensityMap, MapFamily
from veilray.methods.obfuscation.keys import Key, new_key, read_key, rotate_key
from veilray.methods.obfuscation.method import Obfuscation, Recipe
from veilray.methods.obfuscation.owner import Obfuscated, nonce_of, obfuscate_folder
from veilray.methods.obfuscation.survival import Survival, family_figures, survival

__all__ = [
    "IntensityMap",
    "Key",
    "MapFamily",
    "Obfuscated",
    "Obfuscation",
    "Recipe",
    "Survival",
    "family_figures",
    "new_key",
    "nonce_of",
    "obfuscate_folder",
    "read_key",
    "rotate_key",
    "survival",
]
