"""What an attacker believes of a map: the law of the released level given the source level, and what follows.

A map sends source level x to released level y, many to one; behind an autoencoder it does so only roughly. Both are a
channel, a table P(y | x). With a prior on x it gives the posterior P(x | y), its mean E[x | y] (the least squared
error that looks at one pixel), and the attacker's remaining uncertainty in bits: -log2 of what it believed of the true
level, on average. No attacker that looks at single pixels gets below H(X | Y).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVELS", "Channel", "Channels", "Floats", "coupled", "joint_counts", "residual_bits"]

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]

LEVELS = 256

_DOUBT = 0.05
"""Of the posterior that stays with the prior: an attacker who is wrong should not be certain."""


@dataclass(frozen=True, eq=False)
class Channel:
    """P(y | x) beside P(x).

    Attributes:
        likelihood: `(256, 256)`, row x the law of y; rows sum to 1.
        prior: `(256,)` of x; sums to 1.
    """

    likelihood: Floats
    prior: Floats

    @classmethod
    def of_joint(cls, joint: Floats, prior: Floats) -> Channel:
        """From weights `(256, 256)` of (x, y) seen together; a source level never seen spreads over all that were."""
        rows = joint.sum(axis=1, keepdims=True)
        usual = joint.sum(axis=0) + 1e-9
        return cls(np.where(rows > 0, joint / np.maximum(rows, 1e-300), usual / usual.sum()), prior)

    @property
    def posterior(self) -> Floats:
        """`(256, 256)`, row y the law of x; the prior where y is impossible."""
        joint = (self.likelihood * self.prior[:, None]).T
        total = joint.sum(axis=1, keepdims=True)
        return np.where(total > 1e-12, joint / np.maximum(total, 1e-300), self.prior)

    @property
    def means(self) -> Floats:
        """`(256,)`: E[x | y]."""
        return np.asarray(self.posterior @ np.arange(LEVELS))

    def decode(self, obfuscated: Images) -> Images:
        """Each pixel by its mean alone."""
        table = np.rint(self.means).astype(np.uint8)
        return np.asarray(table[obfuscated])

    def draw(self, originals: Images, rng: np.random.Generator) -> Images:
        """Send pictures through the channel: what the owner's machine would make of them, as the attacker believes."""
        reach = np.cumsum(self.likelihood, axis=1)
        reach = reach / reach[:, -1:] + np.arange(LEVELS)[:, None]
        at = np.searchsorted(reach.ravel(), originals + rng.random(originals.shape), side="right")
        return np.asarray(np.clip(at - originals.astype(np.int64) * LEVELS, 0, LEVELS - 1), dtype=np.uint8)

    def bits(self, originals: Images, obfuscated: Images) -> Floats:
        """-log2 of what was believed of each true pixel, mean of each picture `(n,)`."""
        believed = (1 - _DOUBT) * self.posterior + _DOUBT * _never_zero(self.prior)
        return _bits_of(believed[obfuscated, originals])


@dataclass(frozen=True, eq=False)
class Channels:
    """What is believed of the map of each target: `of[i]` is the number of its channel."""

    each: tuple[Channel, ...]
    of: NDArray[np.int64]

    def bits(self, originals: Images, obfuscated: Images) -> float:
        """What the attacker still lacks, bits a pixel."""
        found = [
            self.each[number].bits(originals[self.of == number], obfuscated[self.of == number])
            for number in np.unique(self.of)
        ]
        return float(np.concatenate(found).mean())

    def prior_bits(self, originals: Images) -> float:
        """What it lacked before it saw the targets, bits a pixel."""
        return float(_bits_of(_never_zero(self.each[0].prior)[originals]).mean())


def coupled(sources: Floats, released: Floats, order: NDArray[np.int64]) -> Floats:
    """Match two histograms mass by mass, the released levels taken in `order`: histogram matching as a joint law.

    Args:
        sources: `(256,)` masses of x, taken in ascending order.
        released: `(256,)` masses of y.
        order: the released levels, the one believed darkest first; levels that are left out get no mass.

    Returns:
        `(256, 256)` joint of (x, y) with these marginals.
    """
    masses = released[order] / released[order].sum()
    below = np.concatenate([[0.0], np.cumsum(sources / sources.sum())])
    limits = np.concatenate([[0.0], np.cumsum(masses)])
    low = np.maximum(below[:-1, None], limits[None, :-1])
    high = np.minimum(below[1:, None], limits[None, 1:])
    joint = np.zeros((LEVELS, LEVELS))
    joint[:, order] = np.maximum(high - low, 0)
    return joint


def joint_counts(originals: Images, obfuscated: Images) -> Floats:
    """`(256, 256)`: how often x became y."""
    keys = originals.astype(np.int64) * LEVELS + obfuscated
    return np.bincount(keys.ravel(), minlength=LEVELS**2).reshape(LEVELS, LEVELS).astype(np.float64)


def residual_bits(originals: Images, obfuscated: Images, maps: NDArray[np.int64]) -> float:
    """H(X | Y) in bits a pixel, within the pictures of each map, weighted by their number: a plug-in estimate.

    With one map a picture the picture's own histogram is the prior, and the figure is lower for it.
    """
    found = []
    for number in np.unique(maps):
        rows = maps == number
        joint = joint_counts(originals[rows], obfuscated[rows])
        given = joint / np.maximum(joint.sum(axis=0), 1)
        logs = np.log2(given, out=np.zeros_like(given), where=given > 0)
        found.append((-(joint * logs).sum() / joint.sum(), rows.sum()))
    bits, weights = np.array(found).T
    return float(np.average(bits, weights=weights))


def _never_zero(prior: Floats) -> Floats:
    return 0.99 * prior + 0.01 / LEVELS


def _bits_of(believed: Floats) -> Floats:
    return np.asarray(-np.log2(believed).mean(axis=(1, 2, 3)))
