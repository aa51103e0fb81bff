"""Edge leak: outlines that can be seen in an obfuscated picture without undoing anything.

A map of single pixels keeps level sets: equal neighbours stay equal, unequal ones mostly stay unequal. Where many
neighbours differ there was structure. The attacker draws two edge maps, gradient magnitude and the share of unequal
neighbours in a 5 x 5 window, and each is compared with the edges of the original: its strongest tenth of pixels by F1,
a pixel off being forgiven (Martin, Fowlkes and Malik 2004), and the whole map by SSIM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, uniform_filter

from veilray.evaluation.attacks.intensity.base import (
    ATTACKS_ON_PICTURES,
    AttackOnPictures,
    Images,
    ObfuscatedSet,
    PictureResult,
)
from veilray.evaluation.bootstrap import RESAMPLES, mean
from veilray.evaluation.result import Estimate
from veilray.evaluation.similarity.distortion import distortion, edge_strength

__all__ = ["EdgeLeak", "edge_f1", "unequal_share"]

Floats = NDArray[np.floating]

SHARE = 0.1
"""Of the pixels that are called edge."""

_WINDOW = 5


@ATTACKS_ON_PICTURES.register("edge-leak")
@dataclass(frozen=True)
class EdgeLeak(AttackOnPictures):
    """F1 of the strongest edges of obfuscated pictures against those of their originals.

    The score is that of the better of the two edge maps, chosen on the pictures together; the negative control is the
    same map of another target. `figures` holds both maps' F1, their edge SSIM, and the shares of neighbours that stay
    equal and that stay unequal.
    """

    name: ClassVar[str] = "edge-leak"
    knowledge: ClassVar[str] = "the obfuscated picture alone"

    @property
    def protocol(self) -> str:
        return f"F1 of the strongest {SHARE:.0%} of edges, one pixel forgiven; nothing is reconstructed"

    def run(self, target: ObfuscatedSet, rng: np.random.Generator) -> PictureResult:
        """Compare edge maps; `rng` seeds the intervals.

        Raises:
            ValueError: for fewer than two targets, which leave no other one for the negative control.
        """
        originals, obfuscated = target.originals, target.view.obfuscated
        if len(originals) < 2:
            raise ValueError(f"targets must be 2 or more, got {len(originals)}")
        seed = int(rng.integers(2**63))
        truth = edge_strength(originals)
        maps = _edge_maps(obfuscated)
        scores = {name: edge_f1(truth, found) for name, found in maps.items()}
        best = _best(scores)
        clear = {name: edge_f1(truth, found) for name, found in _edge_maps(originals).items()}

        def interval(values: NDArray[np.float64]) -> Estimate:
            return mean(values, target.patients, resamples=RESAMPLES, seed=seed)

        figures = {f"edge_f1_{name}": float(score.mean()) for name, score in scores.items()}
        figures |= {f"edge_ssim_{name}": _edge_ssim(truth, found) for name, found in maps.items()}
        return PictureResult(
            attack=self.name,
            protocol=self.protocol,
            knowledge=self.knowledge,
            setting=target.view.setting,
            released=interval(scores[best]),
            positive=interval(clear[_best(clear)]),
            negative=interval(edge_f1(truth, np.roll(maps[best], 1, axis=0))),
            figures=figures | _neighbours_kept(originals, obfuscated),
        )


def _edge_maps(images: Images) -> dict[str, Floats]:
    return {"gradient": edge_strength(images), "unequal": unequal_share(images)}


def _best(scores: Mapping[str, NDArray[np.float64]]) -> str:
    return max(scores, key=lambda name: float(scores[name].mean()))


def edge_f1(truth: Floats, found: Floats) -> NDArray[np.float64]:
    """F1 of the strongest tenth of two edge maps `(n, c, h, w)`, `(n,)`; a hit may be one pixel off."""
    some, other = _strongest(truth), _strongest(found)
    near = (1, 1, 3, 3)
    axes = (1, 2, 3)
    precision = (other & maximum_filter(some, size=near)).sum(axis=axes) / np.maximum(other.sum(axis=axes), 1)
    recall = (some & maximum_filter(other, size=near)).sum(axis=axes) / np.maximum(some.sum(axis=axes), 1)
    return np.asarray(2 * precision * recall / np.maximum(precision + recall, 1e-12))


def unequal_share(images: Images) -> NDArray[np.float64]:
    """Share of neighbouring pixels that differ, in a 5 x 5 window around each, `(n, c, h, w)`."""
    unequal = np.zeros(images.shape)
    unequal[..., 1:] += images[..., 1:] != images[..., :-1]
    unequal[..., 1:, :] += images[..., 1:, :] != images[..., :-1, :]
    found: NDArray[np.float64] = uniform_filter(unequal / 2, size=(1, 1, _WINDOW, _WINDOW), mode="nearest")
    return found


def _strongest(strength: Floats) -> NDArray[np.bool_]:
    """At most a tenth of each picture's pixels; ties leave pixels out, and nothing is an edge of strength 0."""
    limit = np.quantile(strength, 1 - SHARE, axis=(1, 2, 3), keepdims=True)
    highest = strength.max(axis=(1, 2, 3), keepdims=True)
    # Many ties at the top would leave nothing: then all of them are taken.
    return np.asarray(np.where(limit < highest, strength > limit, strength == highest) & (strength > 0))


def _edge_ssim(truth: Floats, found: Floats) -> float:
    """SSIM of two edge maps, each scaled to its own maximum: an edge map has no unit."""
    some, other = (
        np.rint(255 * part / np.maximum(part.max(axis=(1, 2, 3), keepdims=True), 1e-12)).astype(np.uint8)
        for part in (truth, found)
    )
    return float(distortion(some, other).ssim.mean())


def _neighbours_kept(originals: Images, obfuscated: Images) -> dict[str, float]:
    some, other = (
        np.concatenate([(part[..., 1:] == part[..., :-1]).ravel(), (part[..., 1:, :] == part[..., :-1, :]).ravel()])
        for part in (originals, obfuscated)
    )
    kept = {}
    for name, of in (("equal", some), ("unequal", ~some)):
        if of.any():
            kept[f"neighbours_kept_{name}"] = float(((other == some) & of).sum() / of.sum())
    return kept
