"""Maps are what the family says: uniform, in runs, many to one, and fixed by their stream alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from veilray.methods.obfuscation import IntensityMap, Key, MapFamily
from veilray.methods.obfuscation.intensity_map import apply_each
from veilray.privacy import SeededEntropy

families = st.builds(MapFamily, levels=st.integers(2, 256), smoothness=st.floats(0, 1))


def tables_of(family: MapFamily, count: int, seed: int = 0) -> np.ndarray:
    return family.tables([SeededEntropy(f"{seed} {row}") for row in range(count)])


@given(families, st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_a_map_leads_to_its_target_levels_only(family: MapFamily, seed: int) -> None:
    table = family.draw(SeededEntropy(seed)).table
    assert table.dtype == np.uint8
    assert set(table.tolist()) <= set(family.targets.tolist())
    assert (family.targets[0], family.targets[-1], len(set(family.targets.tolist()))) == (0, 255, family.levels)


@given(families, st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_a_map_has_at_most_so_many_monotone_pieces(family: MapFamily, seed: int) -> None:
    table = family.draw(SeededEntropy(seed)).table.astype(int)
    steps = [int(step) for step in np.sign(np.diff(table)) if step]
    pieces, direction = 1, 0
    for step in steps:  # the fewest monotone pieces, greedily
        if direction and step != direction:
            pieces, direction = pieces + 1, 0
        else:
            direction = step
    assert pieces <= family.runs


def test_smoothness_one_is_monotone_either_way_with_collisions() -> None:
    tables = tables_of(MapFamily(256, 1.0), 40).astype(int)
    ups = np.array([(np.diff(table) >= 0).all() for table in tables])
    downs = np.array([(np.diff(table) <= 0).all() for table in tables])
    assert (ups | downs).all()
    assert 5 < ups.sum() < 35
    assert all(len(set(table.tolist())) < 256 for table in tables)


@pytest.mark.parametrize("smoothness", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("levels", [3, 64, 256])
def test_values_are_uniform_over_the_target_levels(levels: int, smoothness: float) -> None:
    family = MapFamily(levels, smoothness)
    counts = np.bincount(tables_of(family, 400).reshape(-1), minlength=256)[family.targets]
    assert chisquare(counts).pvalue > 1e-6


def test_a_random_function_of_256_levels_loses_the_known_bits() -> None:
    """0.83 of 8 bits a uniform pixel, and e**-1 = 37 % of the levels alone in their target."""
    maps = [IntensityMap(table) for table in tables_of(MapFamily(256), 300)]
    assert np.mean([each.residual_entropy() for each in maps]) == pytest.approx(0.83, abs=0.01)
    assert np.mean([each.preimage_sizes()[1] / 256 for each in maps]) == pytest.approx(1 / math.e, abs=0.01)


@pytest.mark.parametrize("smoothness", [0.25, 0.75, 1.0])
def test_smoothness_changes_the_order_and_not_the_collisions(smoothness: float) -> None:
    """The same stream draws the same values, sorted in runs."""
    rough, smooth = (tables_of(MapFamily(64, value), 20) for value in (0.0, smoothness))
    assert not np.array_equal(rough, smooth)
    np.testing.assert_array_equal(np.sort(rough, axis=1), np.sort(smooth, axis=1))


def test_h_of_x_given_y_is_the_mean_entropy_of_the_pre_images() -> None:
    rng = np.random.default_rng(0)
    each = IntensityMap(tables_of(MapFamily(16), 1)[0])
    histogram = rng.integers(0, 50, 256)
    joint = 0.0
    for target in np.unique(each.table):
        shares = histogram[each.table == target] / histogram.sum()
        inside = shares[shares > 0] / shares.sum() if shares.sum() else shares
        joint += shares.sum() * -(inside[inside > 0] * np.log2(inside[inside > 0])).sum()
    assert each.residual_entropy(histogram) == pytest.approx(joint)


def test_a_bijection_leaves_nothing_open() -> None:
    each = IntensityMap(np.random.default_rng(0).permutation(256).astype(np.uint8))
    assert each.residual_entropy() == pytest.approx(0, abs=1e-12)
    assert each.preimage_sizes()[1] == 256


def test_pre_image_sizes_add_up_to_all_levels() -> None:
    sizes = IntensityMap(tables_of(MapFamily(10), 1)[0]).preimage_sizes()
    assert sizes.sum() == 256
    assert (sizes * np.arange(257)).sum() == 256


@given(st.integers(0, 2**32), st.sampled_from([(3, 1, 4, 4), (2, 3, 5, 7), (0, 1, 2, 2)]))
@settings(max_examples=20, deadline=None)
def test_pixels_are_looked_up_one_by_one(seed: int, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    tables = tables_of(MapFamily(), shape[0], seed).reshape(-1, 256)
    expected = [table[image] for table, image in zip(tables, images, strict=True)]
    np.testing.assert_array_equal(apply_each(images, tables), np.array(expected, np.uint8).reshape(shape))


def test_key_and_nonce_fix_a_map_and_either_changes_it() -> None:
    first, second = Key.fresh(), Key.fresh()
    family = MapFamily()
    table = family.draw(first.stream("map", b"n")).table
    np.testing.assert_array_equal(table, family.draw(first.stream("map", b"n")).table)
    for other in (first.stream("map", b"m"), second.stream("map", b"n")):
        assert not np.array_equal(table, family.draw(other).table)


@pytest.mark.parametrize("smoothness", [0.0, 0.4, 1.0])
def test_every_map_takes_as_many_bytes(smoothness: float) -> None:
    class Counting(SeededEntropy):
        taken = 0

        def fill(self, out: memoryview) -> None:
            self.taken += len(out)
            super().fill(out)

    streams = [Counting(seed) for seed in range(20)]
    MapFamily(97, smoothness).tables(streams)
    assert len({stream.taken for stream in streams}) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"levels": 1}, "map levels must be 2 to 256, got 1"),
        ({"levels": 257}, "map levels must be 2 to 256, got 257"),
        ({"smoothness": 1.5}, "map smoothness must be 0 to 1, got 1.5"),
        ({"smoothness": math.nan}, "map smoothness must be 0 to 1, got nan"),
        ({"scope": "patient"}, "map scope must be one of image, batch, key, got 'patient'"),
        ({"batch": 0}, "map batch must be 1 or more, got 0"),
    ],
)
def test_families_that_are_none_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MapFamily(**given)  # type: ignore[arg-type]


def test_pixels_of_16_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="images must be uint8, got uint16"):
        MapFamily().draw(SeededEntropy(0)).apply(np.zeros((1, 4, 4), np.uint16))
