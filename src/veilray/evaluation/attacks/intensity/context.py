"""Reading a map's pictures in context: which of the merged levels a pixel had is seen from those around it.

E[x | y] ignores the neighbours, and behind a map that merges four random levels it is nearly the mean of all. But
pictures are smooth. The attacker sends its own pictures through the map as it believes it to be, guesses them back,
and learns by counting what the true level was, given the released level and the means of the guesses nearby; then
guesses again with that, a few times, doing the same to the targets. Each stage looks at the outcome of the one before,
as in auto-context (Tu 2008). Nothing is learned but look-up tables.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from veilray.evaluation.attacks.intensity.channel import LEVELS, Channel, Floats

__all__ = ["WINDOWS", "read_in_context"]

Images = NDArray[np.uint8]

WINDOWS = ((3, 9), (3, 9), (3, 7), (3, 5), (3, 5), (3, 5))
"""Sides in pixels of the two windows whose means each stage looks at: far first, while guesses are poor."""

_STEPS = 32
"""A mean is told to 8 grey levels."""

_PIXELS = 1_500_000
"""Of the attacker's own that a table is counted on."""


def read_in_context(channel: Channel, own: Images, obfuscated: Images, rng: np.random.Generator) -> Images:
    """Reconstruct pictures by levels and their neighbourhood, `(n, c, h, w)` uint8.

    Args:
        channel: what is believed of the map.
        own: the attacker's own pictures, of the targets' shape.
        obfuscated: pictures under this map.
        rng: of the pictures sent through the channel.
    """
    own = own[: max(1, _PIXELS // own[0].size)]
    seen = np.unique(obfuscated)
    number = np.zeros(LEVELS, dtype=np.int64)
    number[seen] = np.arange(len(seen))
    sent = channel.draw(own, rng)
    means = channel.means
    trial, guess = means[sent], means[obfuscated]
    usable = np.isin(sent, seen)
    truth = own[usable].astype(np.float64)
    size = _STEPS**2 * len(seen)
    for windows in WINDOWS:
        keys = _keys(trial, windows) * len(seen) + number[sent]
        counted = keys[usable]
        count = np.bincount(counted, minlength=size)
        table = np.bincount(counted, truth, minlength=size) / np.maximum(count, 1)
        trial = np.where(usable & (count[keys] > 0), table[keys], trial)
        there = _keys(guess, windows) * len(seen) + number[obfuscated]
        guess = np.where(count[there] > 0, table[there], guess)
    return np.asarray(np.rint(guess), dtype=np.uint8)


def _keys(values: Floats, windows: tuple[int, int]) -> NDArray[np.int64]:
    """The two window means of each pixel as one number."""
    keys = np.zeros(values.shape, dtype=np.int64)
    for side in windows:
        around = uniform_filter(values, size=(1, 1, side, side), mode="nearest")
        keys = keys * _STEPS + np.clip(around * _STEPS / LEVELS, 0, _STEPS - 1).astype(np.int64)
    return keys
