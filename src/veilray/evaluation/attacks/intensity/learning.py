"""Learning a map from obfuscated pictures alone: no pair, no key, no oracle.

The attacker knows from its own pictures how often source levels stand side by side, P(x, x'), and where, P(g, x). A
channel W would turn these into W'PW and PW over released levels; the channel that makes the counts in the obfuscated
pictures most likely is found by expectation maximisation, as the emissions of a hidden Markov model with a known
transition law (Baum, Petrie, Soules and Weiss 1970). It needs no order of levels and no one-to-one map: levels that
are merged at random are untangled by their neighbours. The old way to open a substitution cipher, for pictures.
"""

from __future__ import annotations

import numpy as np

from veilray.evaluation.attacks.intensity.channel import LEVELS, Channel, Floats
from veilray.evaluation.attacks.intensity.laws import Laws

__all__ = ["ROUNDS", "learn_channel"]

ROUNDS = 400
"""Of expectation maximisation; each raises the likelihood, after some hundreds by next to nothing."""

_JITTER = 0.1
"""Of the first guess: exact evenness is a saddle where no places are known."""

_TINY = 1e-12


def learn_channel(
    own: Laws, released: Laws, rng: np.random.Generator, *, rounds: int = ROUNDS, known: Floats | None = None
) -> Channel:
    """The channel that best explains counts in obfuscated pictures.

    Args:
        own: counts in the attacker's own pictures.
        released: counts in obfuscated pictures that share a map.
        rng: of the first guess.
        rounds: of expectation maximisation.
        known: `(256, 256)` counts of (x, y) from known pairs under the same map; a source level in them is held fast.
    """
    laws = own.known
    seen = np.flatnonzero(released.levels)
    channel = released.levels[seen] * (1 + _JITTER * rng.random((LEVELS, len(seen))))
    channel /= channel.sum(axis=1, keepdims=True)
    fast = np.zeros(LEVELS, dtype=bool)
    if known is not None:
        counts = known[:, seen]
        fast = counts.sum(axis=1) > 0
        channel[fast] = counts[fast] / counts[fast].sum(axis=1, keepdims=True)
    beside = released.neighbours[np.ix_(seen, seen)]
    beside = beside / beside.sum()
    where = released.places[:, seen] / released.places.sum()
    held = channel[fast].copy()
    for _ in range(rounds):
        half = laws.neighbours @ channel
        told = 2 * half @ (beside / (channel.T @ half + _TINY)) + laws.places.T @ (
            where / (laws.places @ channel + _TINY)
        )
        channel = np.maximum(channel * told, _TINY)
        channel /= channel.sum(axis=1, keepdims=True)
        channel[fast] = held
    likelihood = np.zeros((LEVELS, LEVELS))
    likelihood[:, seen] = channel
    return Channel(likelihood, laws.levels)
