"""Grey ramp: an attacker who may have one picture of its choice obfuscated asks for every level, and has the map.

Chosen plaintext, the strongest question. Behind a map alone the ramp shows P(y | x) for every x; what then remains
unknown of a pixel is H(X | Y), and the neighbours take most of that (`context`). An autoencoder before or after the map
blurs the answer; a fresh map for each picture makes it worthless for any other.
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
from veilray.evaluation.attacks.intensity.channel import LEVELS, Channel, Channels, joint_counts
from veilray.evaluation.attacks.intensity.context import read_in_context
from veilray.evaluation.attacks.intensity.laws import Laws

__all__ = ["GreyRamp", "ramps"]


@ATTACKS_ON_PICTURES.register("grey-ramp")
@dataclass(frozen=True)
class GreyRamp(PictureAttack):
    """Have a grey ramp obfuscated, read the map off it, and the targets with it."""

    name: ClassVar[str] = "grey-ramp"
    knowledge: ClassVar[str] = "own pictures; the owner's machine, with the key in it, for one ramp of every level"

    @property
    def protocol(self) -> str:
        return "chosen plaintext: a grey ramp of 256 levels, pictures read in context"

    def reconstruct(self, view: View, rng: np.random.Generator) -> Reconstruction:
        """Ask once, then read all targets by the answer.

        Raises:
            ValueError: for a view without the owner's machine.
        """
        if view.obfuscate is None:
            raise ValueError(
                "view.obfuscate must be the owner's machine for chosen plaintext, got none: give --model and --key"
            )
        asked = ramps(view.own.shape[1:])
        answered = view.obfuscate(asked)
        prior = Laws.of(view.own).known.levels
        channel = Channel.of_joint(joint_counts(asked, answered), prior)
        images = read_in_context(channel, view.own, view.obfuscated, rng)
        of = np.zeros(len(images), dtype=np.int64)
        return Reconstruction(images, np.arange(len(images)), Channels((channel,), of))


def ramps(shape: tuple[int, ...]) -> Images:
    """As few pictures of `(c, h, w)` as hold every level, `(k, c, h, w)` uint8: dark to bright, line by line."""
    channels, height, width = shape
    count = -(-LEVELS // (height * width))
    levels = np.arange(count * height * width) * LEVELS // (count * height * width)
    return np.repeat(levels.reshape(count, 1, height, width), channels, axis=1).astype(np.uint8)
