"""What is measured of a map: edges, level sets, histograms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from veilray.methods.obfuscation import MapFamily, family_figures, survival
from veilray.methods.obfuscation.intensity_map import apply_each
from veilray.methods.obfuscation.survival import histogram_distance
from veilray.privacy import SeededEntropy

PICTURES = np.random.default_rng(0).integers(0, 12, (6, 1, 16, 16), dtype=np.uint8) * 20


def mapped(family: MapFamily) -> np.ndarray:
    return apply_each(PICTURES, family.tables([SeededEntropy(row) for row in range(len(PICTURES))]))


@pytest.mark.parametrize("smoothness", [0.0, 0.5, 1.0])
def test_level_sets_always_survive(smoothness: float) -> None:
    assert survival(PICTURES, mapped(MapFamily(8, smoothness))).level_sets == 1


def test_a_bijection_keeps_every_edge_and_one_level_keeps_none() -> None:
    assert survival(PICTURES, 255 - PICTURES).edges == 1
    assert survival(PICTURES, np.zeros_like(PICTURES)).edges == 0


def test_fewer_levels_keep_fewer_edges() -> None:
    kept = [survival(PICTURES, mapped(MapFamily(levels))).edges for levels in (2, 8, 256)]
    assert kept == sorted(kept)
    assert kept[0] == pytest.approx(0.5, abs=0.2)


def test_edges_count_pairs_across_and_along() -> None:
    picture = np.array([[[[0, 0], [1, 2]]]], np.uint8)
    flat = np.array([[[[0, 0], [1, 1]]]], np.uint8)
    assert survival(picture, flat).edges == pytest.approx(2 / 3)


def test_a_negative_keeps_the_histogram_and_noise_does_not() -> None:
    assert survival(PICTURES, 255 - PICTURES).histogram == pytest.approx(0, abs=1e-12)
    assert survival(PICTURES, np.zeros_like(PICTURES)).histogram > 0.5


def test_the_matching_is_the_best_that_keeps_or_turns_the_order() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        p, q = rng.integers(1, 9, 4), rng.integers(1, 9, 3)
        best = 0.0
        for turned in (q / q.sum(), (q / q.sum())[::-1]):
            for size in range(1, 4):
                for rows, columns in itertools.product(
                    itertools.combinations(range(4), size), itertools.combinations(range(3), size)
                ):
                    best = max(best, np.minimum((p / p.sum())[list(rows)], turned[list(columns)]).sum())
        assert histogram_distance(p, q) == pytest.approx(1 - best)


def test_figures_of_a_family_are_of_these_pictures() -> None:
    figures = family_figures(MapFamily(256), np.repeat(PICTURES, 20, axis=0))
    assert figures["residual_bits_uniform"] == pytest.approx(0.83, abs=0.03)
    assert figures["residual_bits"] < 0.2  # twelve levels seldom meet in one of 256
    assert figures["unique_preimage"] == pytest.approx(0.37, abs=0.03)
