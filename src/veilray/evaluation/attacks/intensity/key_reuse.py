"""Key reuse: many pictures under one map, and nothing else, give the map away.

All targets are pooled and believed to share a map, whatever the owner says. The map is learned from how often released
levels stand side by side and where (`learning`), then every target is read in context (`context`). Against a fresh map
for each picture the pool is a blend of maps and the attack fails: then see `ciphertext_only`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from veilray.evaluation.attacks.intensity.base import ATTACKS_ON_PICTURES, PictureAttack, Reconstruction, View
from veilray.evaluation.attacks.intensity.channel import Channels
from veilray.evaluation.attacks.intensity.context import read_in_context
from veilray.evaluation.attacks.intensity.laws import Laws
from veilray.evaluation.attacks.intensity.learning import ROUNDS, learn_channel

__all__ = ["KeyReuse"]


@ATTACKS_ON_PICTURES.register("key-reuse")
@dataclass(frozen=True)
class KeyReuse(PictureAttack):
    """Learn one map from all targets together, and read them with it.

    Attributes:
        pictures: targets that the map is learned from and that are read, the first ones; None: all.
        rounds: of expectation maximisation.
    """

    name: ClassVar[str] = "key-reuse"
    knowledge: ClassVar[str] = "own pictures; all obfuscated pictures; no pair, no key"

    pictures: int | None = None
    rounds: int = ROUNDS

    def __post_init__(self) -> None:
        if (self.pictures is not None and self.pictures < 1) or self.rounds < 1:
            raise ValueError(f"pictures and rounds must be at least 1, got {self.pictures} and {self.rounds}")

    @property
    def protocol(self) -> str:
        pooled = "all pictures" if self.pictures is None else f"{self.pictures} pictures"
        return f"one map learned from {pooled} by neighbours and places, pictures read in context"

    def reconstruct(self, view: View, rng: np.random.Generator) -> Reconstruction:
        """Pool the targets, learn, read."""
        targets = view.obfuscated[: self.pictures]
        channel = learn_channel(Laws.of(view.own), Laws.of(targets), rng, rounds=self.rounds)
        images = read_in_context(channel, view.own, targets, rng)
        of = np.zeros(len(targets), dtype=np.int64)
        return Reconstruction(images, np.arange(len(targets)), Channels((channel,), of))
