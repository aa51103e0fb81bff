"""One seeded release of images with their labels, under a label policy: what the CADP study trains on.

An experiment: its noise comes from a seed, and it carries no claim. The order of the steps is that of a real release.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from veilray.methods import CADP
from veilray.privacy import Claim, Mechanism, SeededEntropy
from veilray.privacy.mechanisms.randomised_response import respond
from veilray.releases.declared import Facts

__all__ = ["Asked", "Drawn", "drawn_labels", "facts", "released"]

_DELTA = {"gaussian": "1e-6"}
"""Gaussian noise keeps no pure claim; its delta stands on the page."""


@dataclass(frozen=True)
class Asked:
    """What a release is asked for: a mechanism, the whole epsilon, the label's policy and its share of epsilon."""

    mechanism: str
    epsilon: Fraction
    policy: Literal["public", "randomised"]
    share: Fraction = Fraction(0)

    @property
    def label_epsilon(self) -> Fraction:
        """Spent on the label; 0 where it is public."""
        return self.epsilon * self.share if self.policy == "randomised" else Fraction(0)

    @property
    def claim(self) -> Claim:
        """Of the picture: what the label leaves."""
        return Claim.of(self.epsilon - self.label_epsilon, _DELTA.get(self.mechanism, 0))

    def keeps_label(self, classes: int) -> float:
        """The chance that a randomised label is the true one: k-ary randomised response's p; 1 where it is public."""
        if self.policy == "public":
            return 1.0
        grown = math.exp(float(self.label_epsilon))
        return grown / (grown + classes - 1)


@dataclass(frozen=True)
class Drawn:
    """Released pictures `(n, c, h, w)` and labels `(n,)`, and for the attacks the latent rows before and after."""

    pictures: NDArray[Any]
    labels: NDArray[np.int64]
    mechanism: Mechanism
    rows: NDArray[np.float64]
    released_rows: NDArray[np.float64]


def released(
    model: CADP, images: NDArray[Any], labels: NDArray[np.int64], names: tuple[str, ...], asked: Asked, seed: str
) -> Drawn:
    """Draw the labels, encode under the true ones, randomise, decode under the drawn ones."""
    entropy = SeededEntropy(seed)
    told = drawn_labels(labels, len(names), asked, entropy)
    mechanism = model.calibrated(asked.claim, asked.mechanism)
    rows = model.encode_given(images, facts(labels, names))
    drawn = mechanism.release(rows, entropy)
    pictures = model.render_given(drawn, mechanism, entropy, facts(told, names))
    return Drawn(pictures, told, mechanism, rows, drawn)


def drawn_labels(labels: NDArray[np.int64], classes: int, asked: Asked, entropy: SeededEntropy) -> NDArray[np.int64]:
    """What leaves of the labels: themselves, or k-ary randomised response's draw."""
    if asked.policy == "public":
        return labels
    return np.asarray(respond(labels, classes, asked.label_epsilon, entropy), dtype=np.int64)


def facts(labels: NDArray[np.int64], names: tuple[str, ...]) -> Facts:
    """The labels as a network is told them."""
    return [{"label": names[label]} for label in labels]
