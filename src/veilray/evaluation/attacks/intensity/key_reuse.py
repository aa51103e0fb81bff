"""Key reuse: many pictures under one map, and nothing else, give the map away.

Targets that share a map are pooled. The map is learned from how often released levels stand side by side and where
(`learning`), then every target is read in context (`context`). Where no two targets share one all are pooled in the
hope that they do: the pool is a blend of maps, and the attack fails. Then see `ciphertext_only`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from veilray.evaluation.attacks.intensity.base import ATTACKS_ON_PICTURES, PictureAttack, Reconstruction, View
from veilray.evaluation.attacks.intensity.channel import Channels
from veilray.evaluation.attacks.intensity.context import read_in_context
from veilray.evaluation.attacks.intensity.laws import Laws
from veilray.evaluation.attacks.intensity.learning import ROUNDS, learn_channel

__all__ = ["KeyReuse"]


@ATTACKS_ON_PICTURES.register("key-reuse")
@dataclass(frozen=True)
class KeyReuse(PictureAttack):
    """Learn a map from all targets that share it, and read them with it.

    Attributes:
        pictures: targets that maps are learned from and that are read, the first ones; None: all.
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
        return f"a map learned from {pooled} that share it by neighbours and places, pictures read in context"

    def reconstruct(self, view: View, rng: np.random.Generator) -> Reconstruction:
        """Pool what shares a map, learn, read."""
        count = len(view.obfuscated[: self.pictures])
        images = np.empty_like(view.obfuscated[:count])
        of = np.zeros(count, dtype=np.int64)
        channels = []
        for number, rows in enumerate(_pools(view, count)):
            pool = view.obfuscated[rows]
            channels.append(learn_channel(Laws.of(view.own), Laws.of(pool), rng, rounds=self.rounds))
            images[rows] = read_in_context(channels[-1], view.own, pool, rng)
            of[rows] = number
        return Reconstruction(images, np.arange(count), Channels(tuple(channels), of))


def _pools(view: View, count: int) -> list[NDArray[np.int64]]:
    """Rows of the first `count` targets that share a map, as the attacker knows; all, where no two do."""
    shared = [rows[rows < count] for rows in view.groups]
    shared = [rows for rows in shared if len(rows)]
    return shared if any(len(rows) > 1 for rows in shared) else [np.arange(count)]
