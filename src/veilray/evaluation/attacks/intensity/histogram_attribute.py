"""Histogram attribute: what can be told of a patient from grey-level counts alone.

A map moves grey levels about, but the counts stay: sorted by size they are the same whatever a one-to-one map did, and
nearly so for one that merges. Patient race was told from grey-level counts of chest X-rays with AUROC .77 (Burns 2023).
The attacker knows the method and has no key: it sends its own pictures through maps of its own, random functions onto
as many levels as the targets show, and trains on their counts. With pairs under the targets' key it trains on those.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from veilray.evaluation.attacks.intensity.base import (
    ATTACKS_ON_PICTURES,
    AttackOnPictures,
    Images,
    ObfuscatedSet,
    PictureResult,
    View,
)
from veilray.evaluation.attacks.intensity.channel import LEVELS
from veilray.evaluation.bootstrap import RESAMPLES, balanced_accuracy
from veilray.evaluation.result import Estimate

__all__ = ["HistogramAttribute", "histogram_features"]

Floats = NDArray[np.float64]

_STRENGTH = 0.001
"""Of the fit against its penalty: 256 counts of a few hundred pictures are soon learned by heart."""

_FEWEST = 10
"""Pairs of one attribute value below which the attacker rather makes maps of its own."""


@ATTACKS_ON_PICTURES.register("histogram-attribute")
@dataclass(frozen=True)
class HistogramAttribute(AttackOnPictures):
    """Balanced accuracy of an attribute told from the grey-level counts of obfuscated pictures.

    Attributes:
        maps: maps of its own that the attacker sends each of its pictures through.
    """

    name: ClassVar[str] = "histogram-attribute"
    knowledge: ClassVar[str] = "own pictures with the attribute; the law of the map; one obfuscated picture"

    maps: int = 4

    def __post_init__(self) -> None:
        if self.maps < 1:
            raise ValueError(f"maps must be at least 1, got {self.maps}")

    @property
    def protocol(self) -> str:
        return "logistic regression on grey-level counts; balanced accuracy, chance for a learner of dealt labels"

    def run(self, target: ObfuscatedSet, rng: np.random.Generator) -> PictureResult:
        """Tell the attribute of each target.

        The positive control is the same learner on the plain counts of unobfuscated pictures; the negative one learns
        from labels that were dealt out anew.

        Raises:
            ValueError: where the attribute of targets or of the attacker's own pictures is not given.
        """
        truth, own_truth = target.attributes, target.view.own_attributes
        if truth is None or own_truth is None:
            raise ValueError("attributes of targets and of own pictures must be given, got none")
        same_key, rows, answers = self._practice(target.view, own_truth, rng)
        seen = histogram_features(target.view.obfuscated, ordered=not same_key)
        seed = int(rng.integers(2**63))

        def told(by: Floats, what: NDArray[Any], features: Floats) -> Estimate:
            learner = LogisticRegression(C=_STRENGTH, class_weight="balanced", max_iter=500)
            guess = make_pipeline(StandardScaler(), learner).fit(by, what).predict(features)
            return balanced_accuracy(truth, guess, target.patients, resamples=RESAMPLES, seed=seed)

        plain = [histogram_features(images, ordered=False) for images in (target.view.own, target.originals)]
        _, counts = np.unique(truth, return_counts=True)
        released = told(rows, answers, seen)
        return PictureResult(
            attack=self.name,
            protocol=self.protocol,
            knowledge=self.knowledge,
            setting=target.view.setting,
            released=released,
            positive=told(plain[0], own_truth, plain[1]),
            negative=told(rows, rng.permutation(answers), seen),
            figures={
                "chance": 1 / len(counts),
                "advantage": released.value - 1 / len(counts),
                "majority_share": float(counts.max() / counts.sum()),
            },
        )

    def _practice(
        self, view: View, own_truth: NDArray[Any], rng: np.random.Generator
    ) -> tuple[bool, Floats, NDArray[Any]]:
        """Whether the key is the targets' own, with training rows and their attributes."""
        pairs = view.pairs
        if view.setting == "same-key" and pairs is not None and pairs.attributes is not None:
            _, counts = np.unique(pairs.attributes, return_counts=True)
            if len(counts) > 1 and counts.min() >= _FEWEST:
                return True, histogram_features(pairs.obfuscated, ordered=False), pairs.attributes
        levels = len(np.unique(view.obfuscated))
        rows = [histogram_features(_under_own_maps(view.own, levels, rng), ordered=True) for _ in range(self.maps)]
        return False, np.concatenate(rows), np.tile(own_truth, self.maps)


def histogram_features(images: Images, *, ordered: bool) -> Floats:
    """Square roots of the shares of the 256 levels, `(n, 256)`; `ordered`: largest first, whatever their names."""
    keys = np.arange(len(images))[:, None] * LEVELS + images.reshape(len(images), -1)
    counts = np.bincount(keys.ravel(), minlength=len(images) * LEVELS).reshape(len(images), LEVELS)
    shares = np.sqrt(counts / images[0].size)  # the root steadies the variance of a count
    return np.asarray(-np.sort(-shares, axis=1) if ordered else shares)


def _under_own_maps(images: Images, levels: int, rng: np.random.Generator) -> Images:
    """Each picture under a random function of its own, onto `levels` levels."""
    tables = rng.integers(0, levels, (len(images), LEVELS)).astype(np.uint8)
    return np.asarray(tables[np.arange(len(images))[:, None, None, None], images])
