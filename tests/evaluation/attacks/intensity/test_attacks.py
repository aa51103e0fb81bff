"""Each attack breaks what it is made for, and fails where it must."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from veilray.evaluation.attacks.intensity import (
    CiphertextOnly,
    CoOccurrence,
    EdgeLeak,
    GreyRamp,
    HistogramAttribute,
    KeyReuse,
    KnownPairAttack,
    RankMatching,
    UNetReconstruction,
)
from veilray.evaluation.attacks.intensity.cooccurrence import seriation
from veilray.evaluation.attacks.intensity.grey_ramp import ramps
from veilray.evaluation.attacks.intensity.histogram_attribute import histogram_features
from veilray.evaluation.attacks.intensity.laws import Laws


def test_rank_matching_undoes_a_monotone_map_and_no_random_one(make_game, a_table, rng):
    monotone = np.sort(a_table)
    result = RankMatching().run(make_game(monotone), rng)
    assert result.has_power
    assert result.gains["ssim"].low > 0.2
    assert RankMatching().run(make_game(a_table), rng).gains["ssim"].high < 0


def test_seriation_finds_the_order_of_a_permutation(make_game, a_permutation, rng):
    target = make_game(a_permutation)
    order = seriation(Laws.of(target.view.obfuscated))
    source = np.argsort(a_permutation)[order]
    assert abs(np.corrcoef(source, np.arange(len(source)))[0, 1]) > 0.95
    assert CoOccurrence().run(target, rng).gains["ssim"].low > 0.2


def test_key_reuse_opens_a_random_map_without_a_pair(make_game, a_table, rng):
    result = KeyReuse(rounds=100).run(make_game(a_table), rng)
    assert result.has_power
    assert result.gains["ssim"].low > 0.05
    assert result.gains["psnr"].low > 3


def test_a_fresh_map_for_each_picture_defeats_key_reuse(make_game, a_table, rng):
    result = KeyReuse(rounds=100).run(make_game(a_table, per_picture=True), rng)
    assert result.gains["ssim"].high < 0.05


def test_key_reuse_learns_a_map_for_each_batch(make_game, a_table, rng):
    one, other = make_game(a_table), make_game(a_table[::-1].copy())
    maps = np.arange(24) // 12
    blend = np.where((maps == 0)[:, None, None, None], one.view.obfuscated, other.view.obfuscated)
    target = replace(one, view=replace(one.view, obfuscated=blend, maps=maps))
    told = KeyReuse(rounds=100).run(target, rng)
    untold = KeyReuse(rounds=100).run(replace(target, view=replace(target.view, maps=None)), rng)
    assert told.gains["psnr"].low > 3
    assert told.released.value > untold.released.value + 0.1
    few = KeyReuse(pictures=14, rounds=5).reconstruct(target.view, rng)
    assert few.images.shape == (14, 1, 32, 32)
    assert few.channels.of.tolist() == [0] * 12 + [1] * 2


def test_one_picture_is_attacked_by_itself(make_game, a_table, rng):
    target = make_game(a_table, per_picture=True)
    result = CiphertextOnly(pictures=4).run(target, rng)
    assert result.reconstructions.shape == (4, 1, 32, 32)
    errors = np.abs(result.reconstructions.astype(float) - target.originals[:4])
    plain = np.abs(target.view.obfuscated[:4].astype(float) - target.originals[:4])
    assert errors.mean() < plain.mean() / 2


def test_known_pairs_make_a_curve(make_game, a_table, rng):
    result = KnownPairAttack(rounds=50).run(make_game(a_table), rng)
    curve = [result.figures[f"ssim_with_{count}_pairs"] for count in (1, 2, 5, 10)]
    assert curve[-1] == result.released.value > 0.8
    assert curve[0] < curve[-1] + 0.05
    assert result.figures["bits_after"] < 3


def test_pairs_under_another_key_are_no_known_pairs(make_game, a_table, rng):
    target = make_game(a_table)
    with pytest.raises(ValueError, match="known pairs must be made with the targets' key"):
        KnownPairAttack().reconstruct(replace(target.view, setting="informed"), rng)
    with pytest.raises(ValueError, match="known pairs must be 1 or more, got none"):
        KnownPairAttack().reconstruct(replace(target.view, pairs=None), rng)


def test_a_ramp_opens_one_key_and_not_a_fresh_map(make_game, a_table, rng):
    assert GreyRamp().run(make_game(a_table), rng).released.low > 0.8
    assert GreyRamp().run(make_game(a_table, per_picture=True), rng).gains["ssim"].high < 0
    with pytest.raises(ValueError, match="must be the owner's machine"):
        GreyRamp().reconstruct(replace(make_game(a_table).view, obfuscate=None), rng)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 16, 16), (3, 28, 28), (1, 5, 7)])
def test_a_ramp_holds_every_level(shape):
    asked = ramps(shape)
    assert asked.shape[1:] == shape
    assert np.array_equal(np.unique(asked), np.arange(256))


def test_edges_leak_through_a_monotone_map_and_level_sets_through_any(make_game, a_table, rng):
    open_one = EdgeLeak().run(make_game(np.sort(a_table)), rng)
    assert open_one.positive.value == pytest.approx(1)
    assert open_one.released.low > open_one.negative.high
    assert open_one.reconstructions is None
    assert EdgeLeak().run(make_game(a_table), rng).figures["neighbours_kept_equal"] == 1


def test_outlines_on_a_flat_ground_leak_through_a_random_map(rng, make_game, a_table):
    target = make_game(a_table)
    discs = np.full((24, 1, 32, 32), 20, dtype=np.uint8)
    for number, disc in enumerate(discs[:, 0]):
        disc[4 + number % 8 : 20, 6 + number // 4 : 24] = 180
    shown = replace(target, originals=discs, view=replace(target.view, obfuscated=a_table[discs]))
    result = EdgeLeak().run(shown, rng)
    assert result.released.low > max(0.9, result.negative.high)


def test_counts_give_an_attribute_away_whatever_the_map(make_game, a_table, rng):
    target = make_game(a_table, per_picture=True)
    flat, busy = np.arange(24) % 2, np.arange(80) % 2

    def darkened(images, attribute):  # an attribute that shows in the counts: a share of the picture is black
        dark = images.copy()
        dark[attribute == 1, :, :12] = 0
        return dark

    tables = np.random.default_rng(1).integers(0, 64, (24, 256)).astype(np.uint8)
    originals = darkened(target.originals, flat)
    view = replace(
        target.view,
        own=darkened(target.view.own, busy),
        obfuscated=tables[np.arange(24)[:, None, None, None], originals],
        own_attributes=busy,
        pairs=None,
    )
    result = HistogramAttribute().run(replace(target, originals=originals, view=view, attributes=flat), rng)
    assert result.released.value > 0.9
    assert result.figures["advantage"] == pytest.approx(result.released.value - 0.5)
    with pytest.raises(ValueError, match="attributes of targets and of own pictures must be given"):
        HistogramAttribute().run(target, rng)


def test_ordered_counts_forget_which_level_they_are_of(pictures, a_permutation):
    some = pictures(3, 0)
    assert np.array_equal(histogram_features(some, ordered=True), histogram_features(a_permutation[some], ordered=True))
    assert not np.array_equal(
        histogram_features(some, ordered=False), histogram_features(a_permutation[some], ordered=False)
    )


def test_a_network_learns_a_map_from_pairs(make_game, a_table, rng):
    target = make_game(a_table, pairs=64)
    result = UNetReconstruction(steps=30).run(target, rng)
    assert result.reconstructions.shape == target.originals.shape
    assert result.gains["psnr"].low > 1
    with pytest.raises(ValueError, match="known pairs must be given for u-net, got none"):
        UNetReconstruction().reconstruct(replace(target.view, pairs=None), rng)


def test_a_network_repeats_itself_by_its_seed(make_game, a_table):
    view = make_game(a_table, targets=2).view
    network = UNetReconstruction(steps=2)
    some, other, another = (network.reconstruct(view, np.random.default_rng(seed)).images for seed in (1, 1, 2))
    assert np.array_equal(some, other)
    assert not np.array_equal(some, another)


def test_a_network_takes_any_size_and_colour(pictures, rng):
    from veilray.evaluation.attacks.intensity import KnownPairs, View

    grey = pictures(4, 0, 28)[..., :27]
    colour = np.repeat(grey, 3, axis=1)
    view = View(own=colour, obfuscated=colour, pairs=KnownPairs(colour, colour))
    assert UNetReconstruction(steps=1).reconstruct(view, rng).images.shape == (4, 3, 28, 27)
