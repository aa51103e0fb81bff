"""Co-occurrence: an order of the released levels is read off from which of them stand side by side.

Levels that are near in value are often neighbours. Spectral seriation (Atkins, Boman and Hendrickson 1998) orders the
released levels by the Fiedler vector of their neighbour counts; the order is then matched, mass by mass, to the
attacker's own histogram. Dark end or bright end: the direction under which the neighbours and places are likelier. It
opens one-to-one maps; where a map merges levels at random no order exists, and `key_reuse` does without one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from veilray.evaluation.attacks.intensity.base import ATTACKS_ON_PICTURES, PictureAttack, Reconstruction, View
from veilray.evaluation.attacks.intensity.channel import Channel, Channels, coupled
from veilray.evaluation.attacks.intensity.laws import Laws

__all__ = ["CoOccurrence", "explained", "seriation"]


@ATTACKS_ON_PICTURES.register("co-occurrence")
@dataclass(frozen=True)
class CoOccurrence(PictureAttack):
    """Spectral seriation of the released levels, over the targets that are known to share a map."""

    name: ClassVar[str] = "co-occurrence"
    knowledge: ClassVar[str] = "own pictures; no pair, no key"

    @property
    def protocol(self) -> str:
        return "spectral seriation of released levels by their neighbours, then histogram matching"

    def reconstruct(self, view: View, rng: np.random.Generator) -> Reconstruction:
        """Order the levels of each group of targets and match them to the attacker's own."""
        del rng
        own = Laws.of(view.own).known
        images = np.empty_like(view.obfuscated)
        channels, of = [], np.zeros(len(images), dtype=np.int64)
        for number, rows in enumerate(view.groups):
            released = Laws.of(view.obfuscated[rows])
            order = seriation(released)
            both = [
                Channel.of_joint(coupled(own.levels, released.levels, way), own.levels) for way in (order, order[::-1])
            ]
            best = max(both, key=lambda channel: explained(channel, own, released))
            images[rows], of[rows] = best.decode(view.obfuscated[rows]), number
            channels.append(best)
        return Reconstruction(images, np.arange(len(images)), Channels(tuple(channels), of))


def seriation(released: Laws) -> NDArray[np.int64]:
    """The levels that occur, in the order of the Fiedler vector; which end is dark is left open."""
    seen = np.flatnonzero(released.levels)
    if len(seen) < 3:
        return seen
    beside = released.neighbours[np.ix_(seen, seen)].copy()
    np.fill_diagonal(beside, 0)
    beside += 1e-6 * max(float(beside.mean()), 1e-6)  # levels in places of their own hang together by a thread
    degrees = 1 / np.sqrt(beside.sum(axis=1))
    _, vectors = np.linalg.eigh(np.eye(len(seen)) - degrees[:, None] * beside * degrees)
    return np.asarray(seen[np.argsort(vectors[:, 1] * degrees, kind="stable")])


def explained(channel: Channel, own: Laws, released: Laws) -> float:
    """Log likelihood, nats, of neighbours and places in obfuscated pictures under a channel; `own` as probabilities."""
    beside = channel.likelihood.T @ own.neighbours @ channel.likelihood
    where = own.places @ channel.likelihood
    return float(
        (released.neighbours * np.log(beside + 1e-12)).sum() / 2 + (released.places * np.log(where + 1e-12)).sum()
    )
