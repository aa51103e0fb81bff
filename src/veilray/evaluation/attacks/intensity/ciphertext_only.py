"""Ciphertext only, one picture at a time: what no scope of the map can take from the attacker.

A fresh map for each picture leaves a few thousand pixels to learn it from. The map is learned from them
(`learning`) with the help of what the attacker knows of such pictures, and the picture is read in context (`context`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from veilray.evaluation.attacks.intensity.base import ATTACKS_ON_PICTURES, PictureAttack, Reconstruction, View
from veilray.evaluation.attacks.intensity.channel import Channels
from veilray.evaluation.attacks.intensity.context import read_in_context
from veilray.evaluation.attacks.intensity.laws import Laws
from veilray.evaluation.attacks.intensity.learning import learn_channel

__all__ = ["CiphertextOnly"]

_OWN = 300_000
"""Own pixels that a look-up table is counted on, anew for each picture."""


@ATTACKS_ON_PICTURES.register("ciphertext-only")
@dataclass(frozen=True)
class CiphertextOnly(PictureAttack):
    """Learn a map from one obfuscated picture, and read the picture with it.

    Attributes:
        pictures: targets attacked, the first ones: each costs about a second.
        rounds: of expectation maximisation; with so few pixels more would learn their noise.
    """

    name: ClassVar[str] = "ciphertext-only"
    knowledge: ClassVar[str] = "own pictures; one obfuscated picture; no pair, no key"

    pictures: int = 16
    rounds: int = 60

    def __post_init__(self) -> None:
        if self.pictures < 1 or self.rounds < 1:
            raise ValueError(f"pictures and rounds must be at least 1, got {self.pictures} and {self.rounds}")

    @property
    def protocol(self) -> str:
        return "map learned from one picture by neighbours and places, picture read in context"

    def reconstruct(self, view: View, rng: np.random.Generator) -> Reconstruction:
        """Attack each of the first targets by itself, whatever map the others have."""
        own = Laws.of(view.own)
        few = view.own[: max(1, _OWN // view.own[0].size)]
        rows = np.arange(min(self.pictures, len(view.obfuscated)))
        images, channels = [], []
        for row in rows:
            picture = view.obfuscated[row : row + 1]
            channels.append(learn_channel(own, Laws.of(picture), rng, rounds=self.rounds))
            images.append(read_in_context(channels[-1], few, picture, rng))
        return Reconstruction(np.concatenate(images), rows, Channels(tuple(channels), rows))
