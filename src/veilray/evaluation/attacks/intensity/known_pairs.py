"""Known pairs: a few originals whose obfuscated pictures the attacker recognises open the map level by level.

Every pixel of a pair shows one entry of the map. Levels that no pair shows are filled in by what the obfuscated
pictures alone give away (`learning`), with the known entries held fast. One, two, five and ten pairs make the curve.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from veilray.evaluation.attacks.intensity.base import (
    ATTACKS_ON_PICTURES,
    KnownPairs,
    ObfuscatedSet,
    PictureAttack,
    PictureResult,
    Reconstruction,
    View,
)
from veilray.evaluation.attacks.intensity.channel import Channels, joint_counts
from veilray.evaluation.attacks.intensity.context import read_in_context
from veilray.evaluation.attacks.intensity.laws import Laws
from veilray.evaluation.attacks.intensity.learning import ROUNDS, learn_channel
from veilray.evaluation.similarity.distortion import distortion

__all__ = ["CURVE", "KnownPairAttack"]

CURVE = (1, 2, 5, 10)
"""How many known pairs the attack is given, one after the other: what each further pair is worth."""


@ATTACKS_ON_PICTURES.register("known-pairs")
@dataclass(frozen=True)
class KnownPairAttack(PictureAttack):
    """Read the map off known pairs under the targets' key, and the targets with it.

    Attributes:
        counts: numbers of pairs of the curve, ascending; those above what the view holds are left out, and the score is
            for the largest that is left.
        rounds: of expectation maximisation, for levels that no pair shows.
    """

    name: ClassVar[str] = "known-pairs"
    knowledge: ClassVar[str] = "own pictures; all obfuscated pictures; some pairs under the same key"

    counts: tuple[int, ...] = CURVE
    rounds: int = ROUNDS

    def __post_init__(self) -> None:
        if not self.counts or min(self.counts) < 1 or list(self.counts) != sorted(set(self.counts)):
            raise ValueError(f"counts must be ascending, from 1, got {self.counts}")

    @property
    def protocol(self) -> str:
        return f"map read off known pairs, the rest learned; up to {self.counts[-1]} pairs"

    def reconstruct(self, view: View, rng: np.random.Generator) -> Reconstruction:
        """With the most pairs of the curve that the view has."""
        pairs = _pairs(view)
        return self._with(view, pairs.first(self._usable(pairs)[-1]), rng)

    def run(self, target: ObfuscatedSet, rng: np.random.Generator) -> PictureResult:
        """Attack as ever, and add `ssim_with_N_pairs` for each point of the curve.

        Raises:
            ValueError: for a view without pairs under the targets' key.
        """
        result = super().run(target, rng)
        usable = self._usable(_pairs(target.view))
        curve = {f"ssim_with_{usable[-1]}_pairs": result.released.value}
        for count in usable[:-1]:
            found = self._with(target.view, _pairs(target.view).first(count), rng)
            curve[f"ssim_with_{count}_pairs"] = float(distortion(target.originals, found.images).ssim.mean())
        return replace(result, figures=dict(result.figures) | dict(sorted(curve.items(), key=_pairs_of)))

    def _usable(self, pairs: KnownPairs) -> list[int]:
        return [count for count in self.counts if count <= len(pairs)] or [len(pairs)]

    def _with(self, view: View, pairs: KnownPairs, rng: np.random.Generator) -> Reconstruction:
        counts = joint_counts(pairs.originals, pairs.obfuscated)
        channel = learn_channel(Laws.of(view.own), Laws.of(view.obfuscated), rng, rounds=self.rounds, known=counts)
        images = read_in_context(channel, view.own, view.obfuscated, rng)
        of = np.zeros(len(images), dtype=np.int64)
        return Reconstruction(images, np.arange(len(images)), Channels((channel,), of))


def _pairs(view: View) -> KnownPairs:
    if view.setting != "same-key":
        raise ValueError(f"known pairs must be made with the targets' key (setting same-key), got {view.setting}")
    if view.pairs is None or not len(view.pairs):
        raise ValueError("known pairs must be 1 or more, got none")
    return view.pairs


def _pairs_of(entry: tuple[str, float]) -> int:
    return int(entry[0].split("_")[2])
