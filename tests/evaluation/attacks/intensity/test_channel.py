"""Channels: posteriors, couplings and bits are what they are by definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilray.evaluation.attacks.intensity.channel import LEVELS, Channel, coupled, joint_counts, residual_bits

FLAT = np.full(LEVELS, 1 / LEVELS)


@given(st.integers(0, 2**32), st.integers(1, 256))
def test_a_coupling_has_both_marginals(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    sources, released = rng.random(LEVELS), np.zeros(LEVELS)
    order = rng.permutation(LEVELS)[:levels]
    released[order] = rng.random(levels) + 1e-3
    joint = coupled(sources, released, order)
    np.testing.assert_allclose(joint.sum(axis=1), sources / sources.sum(), atol=1e-12)
    np.testing.assert_allclose(joint.sum(axis=0), released / released.sum(), atol=1e-12)


@settings(max_examples=15)
@given(st.integers(0, 2**32))
def test_a_table_is_read_back_as_the_mean_of_each_preimage(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 64, LEVELS)
    joint = np.zeros((LEVELS, LEVELS))
    joint[np.arange(LEVELS), table] = 1
    channel = Channel.of_joint(joint, FLAT)
    for level in np.unique(table):
        assert channel.means[level] == pytest.approx(np.flatnonzero(table == level).mean())
    np.testing.assert_allclose(channel.posterior.sum(axis=1), 1)


def test_drawing_follows_the_law(rng) -> None:
    likelihood = np.zeros((LEVELS, LEVELS))
    likelihood[:, 3], likelihood[:, 200] = 0.25, 0.75
    drawn = Channel(likelihood, FLAT).draw(rng.integers(0, 256, (40, 1, 50, 50)).astype(np.uint8), rng)
    assert set(np.unique(drawn)) == {3, 200}
    assert (drawn == 200).mean() == pytest.approx(0.75, abs=0.01)
    table = rng.permutation(256)
    one_hot = np.eye(LEVELS)[table]
    every = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    assert np.array_equal(Channel(one_hot, FLAT).draw(every, rng), table[every])


def test_bits_of_a_pair_of_levels_made_one(rng) -> None:
    originals = rng.integers(0, 256, (8, 1, 64, 64)).astype(np.uint8)
    halved = (originals // 2).astype(np.uint8)
    assert residual_bits(originals, halved, np.zeros(8)) == pytest.approx(1, abs=0.01)
    known = Channel.of_joint(joint_counts(originals, halved), FLAT)
    assert known.bits(originals, halved).mean() == pytest.approx(1 - np.log2(0.95), abs=0.01)
    wrong = Channel(known.likelihood[::-1], FLAT)
    assert wrong.bits(originals, halved).mean() > 8
