"""The game: what does not fit is refused, controls are made of the truth, and every attack is known by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from veilray.evaluation.attacks.intensity import ATTACKS_ON_PICTURES, GreyRamp, KnownPairs, RankMatching, View


def test_all_attacks_are_registered_under_their_names():
    assert {name: ATTACKS_ON_PICTURES[name].name for name in ATTACKS_ON_PICTURES} == {
        name: name
        for name in (
            "rank-matching", "co-occurrence", "ciphertext-only", "key-reuse", "known-pairs", "grey-ramp", "edge-leak",
            "histogram-attribute", "u-net",
        )
    }  # fmt: skip


def test_the_clear_view_hides_nothing(make_game, a_table):
    target = make_game(a_table)
    clear = target.clear
    assert np.array_equal(clear.obfuscated, target.originals)
    assert np.array_equal(clear.pairs.obfuscated, clear.pairs.originals)
    assert np.array_equal(clear.obfuscate(target.originals), target.originals)


def test_a_result_stands_between_its_controls_and_above_the_mean_image(make_game, a_table, rng):
    result = GreyRamp().run(make_game(a_table), rng)
    assert result.has_power
    assert result.verdict == "no line"
    assert result.negative.high < result.released.low <= result.positive.high
    assert result.gains["ssim"].value == pytest.approx(result.released.value - result.negative.value)
    row = result.to_row()
    assert row["ssim_gain"] == result.gains["ssim"].value
    assert row["ms_ssim_scales"] == 2
    assert row["setting"] == "same-key"


def test_what_the_map_destroyed_is_a_floor_for_what_the_attacker_lacks(make_game, a_table, rng):
    figures = GreyRamp().run(make_game(a_table), rng).figures
    assert 1 < figures["bits_lost_by_the_map"] <= figures["bits_after"] < figures["bits_before"] - 4


def test_a_patient_with_several_pictures_widens_the_interval(make_game, a_table, rng):
    target = make_game(a_table)
    alone = RankMatching().run(target, np.random.default_rng(0))
    two = RankMatching().run(replace(target, patients=np.arange(24) // 12), np.random.default_rng(0))
    assert two.released.value == alone.released.value
    assert (two.released.low, two.released.high) != (alone.released.low, alone.released.high)


def test_what_does_not_fit_is_refused(pictures):
    some = pictures(4, 0)
    with pytest.raises(ValueError, match="own must be of the targets' shape"):
        View(own=pictures(4, 0, 16), obfuscated=some)
    with pytest.raises(ValueError, match="setting must be one of informed, uninformed, same-key, got 'x'"):
        View(own=some, obfuscated=some, setting="x")
    with pytest.raises(ValueError, match="maps must be one number a target"):
        View(own=some, obfuscated=some, maps=np.zeros(3, dtype=np.int64))
    with pytest.raises(ValueError, match=r"obfuscated must be .* uint8"):
        View(own=some, obfuscated=some.astype(np.float32))
    with pytest.raises(ValueError, match="known pairs must be uint8 of one shape"):
        KnownPairs(some, some[:2])
