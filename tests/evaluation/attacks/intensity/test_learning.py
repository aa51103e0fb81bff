"""Learning from obfuscated pictures alone: random maps that merge levels are found, and read in context."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from veilray.evaluation.attacks.intensity.channel import LEVELS, Channel
from veilray.evaluation.attacks.intensity.context import read_in_context
from veilray.evaluation.attacks.intensity.cooccurrence import explained
from veilray.evaluation.attacks.intensity.laws import Laws
from veilray.evaluation.attacks.intensity.learning import learn_channel


def test_laws_count_every_pixel_and_every_pair_of_neighbours(pictures):
    laws = Laws.of(pictures(3, 0, 20))
    assert laws.levels.sum() == laws.places.sum() == 3 * 400
    assert laws.neighbours.sum() == 3 * 2 * 2 * 19 * 20
    assert np.array_equal(laws.neighbours, laws.neighbours.T)
    for part in (laws.known.levels, laws.known.neighbours, laws.known.places):
        assert part.sum() == np.float64(1).round(12) or abs(part.sum() - 1) < 1e-9
        assert part.min() >= 0


def test_each_round_explains_the_pictures_better(pictures, a_table):
    own, released = Laws.of(pictures(80, 2)), Laws.of(a_table[pictures(24, 1)])
    found = [
        explained(learn_channel(own, released, np.random.default_rng(0), rounds=rounds), own.known, released)
        for rounds in (1, 5, 25, 125)
    ]
    assert all(later > earlier for earlier, later in pairwise(found))


def test_known_levels_are_held_fast(pictures, a_table, rng):
    known = np.zeros((LEVELS, LEVELS))
    known[np.arange(100, 120), a_table[100:120]] = 5
    own, released = Laws.of(pictures(80, 2)), Laws.of(a_table[pictures(24, 1)])
    found = learn_channel(own, released, rng, rounds=20, known=known)
    np.testing.assert_allclose(found.likelihood[np.arange(100, 120), a_table[100:120]], 1, atol=1e-9)


def test_neighbours_tell_merged_levels_apart(pictures, a_table, rng):
    own, originals = pictures(80, 2), pictures(12, 1)
    truth = Channel(np.eye(LEVELS)[a_table], Laws.of(own).known.levels)
    alone = np.abs(truth.decode(a_table[originals]).astype(float) - originals).mean()
    read = np.abs(read_in_context(truth, own, a_table[originals], rng).astype(float) - originals).mean()
    assert read < alone / 3
