"""Rank matching: grey levels of obfuscated pictures are given the attacker's own histogram, rank by rank.

By value, the released levels keep their order: histogram matching, which undoes any monotone map. By frequency, the
commonest released level becomes the commonest of the attacker's own: the first attack on any substitution. Both are
tried, and the smoother pictures are kept: neighbouring pixels of real pictures are alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from veilray.evaluation.attacks.intensity.base import (
    ATTACKS_ON_PICTURES,
    Images,
    PictureAttack,
    Reconstruction,
    View,
)
from veilray.evaluation.attacks.intensity.channel import Channel, Channels, coupled
from veilray.evaluation.attacks.intensity.laws import Laws

__all__ = ["RankMatching"]


@ATTACKS_ON_PICTURES.register("rank-matching")
@dataclass(frozen=True)
class RankMatching(PictureAttack):
    """Histogram matching by value and by frequency, over the targets that are known to share a map."""

    name: ClassVar[str] = "rank-matching"
    knowledge: ClassVar[str] = "own pictures; no pair, no key"

    @property
    def protocol(self) -> str:
        return "histogram matching by value and by frequency; the smoother is kept"

    def reconstruct(self, view: View, rng: np.random.Generator) -> Reconstruction:
        """Match the levels of each group of targets to those of the attacker's own pictures."""
        del rng
        known = Laws.of(view.own).known
        by_frequency = np.argsort(-known.levels)
        images = np.empty_like(view.obfuscated)
        channels, of = [], np.zeros(len(images), dtype=np.int64)
        for number, rows in enumerate(view.groups):
            counts = Laws.of(view.obfuscated[rows]).levels
            seen = np.flatnonzero(counts)
            by_value = coupled(known.levels, counts, seen)
            shuffled = coupled(known.levels[by_frequency], counts, seen[np.argsort(-counts[seen])])
            by_rank = np.empty_like(shuffled)
            by_rank[by_frequency] = shuffled
            tried = [Channel.of_joint(joint, known.levels) for joint in (by_value, by_rank)]
            guesses = [channel.decode(view.obfuscated[rows]) for channel in tried]
            best = int(np.argmin([_roughness(guess) for guess in guesses]))
            images[rows], of[rows] = guesses[best], number
            channels.append(tried[best])
        return Reconstruction(images, np.arange(len(images)), Channels(tuple(channels), of))


def _roughness(images: Images) -> float:
    """Mean squared step between neighbours, of the pictures' variance."""
    values = images.astype(np.float64)
    steps = np.mean(np.diff(values, axis=3) ** 2) + np.mean(np.diff(values, axis=2) ** 2)
    return float(steps / max(values.var(), 1e-9))
