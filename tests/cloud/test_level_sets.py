"""What the cloud is told of a pixel does not depend on the names of grey levels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from veilray.cloud import CLOUD_TRAINING, fit_network
from veilray.cloud.level_sets import TOLD, level_sets
from veilray.cloud.training import probabilities


def pictures(count: int, channels: int, seed: int, levels: int = 256) -> torch.Tensor:
    found = np.random.default_rng(seed).integers(0, levels, (count, channels, 12, 10))
    return torch.from_numpy(found)


def test_one_to_one_renaming_changes_nothing() -> None:
    levels = pictures(5, 3, 0, levels=20)
    for seed in range(3):
        table = torch.from_numpy(np.random.default_rng(seed).permutation(256))
        assert torch.equal(level_sets(table[levels]), level_sets(levels))
    joined = level_sets(levels // 2)
    assert not torch.equal(joined, level_sets(levels))


def test_a_set_is_told_by_its_size_place_and_spread() -> None:
    levels = torch.full((1, 1, 5, 5), 7)
    levels[0, 0, 1, 0] = levels[0, 0, 3, 0] = 200
    told = level_sets(levels)[0]
    assert told.shape == (TOLD, 5, 5)
    # Two pixels in the first column, rows 1 and 3 of 0 to 4: from -1 to 1 that is -.5 and .5.
    expected = [np.log(2) / np.log(25), 0, -1, 0.5, 0, 0, 0]
    assert told[:, 1, 0].tolist() == pytest.approx(expected, abs=1e-6)
    assert told[:, 3, 0].tolist() == pytest.approx(expected, abs=1e-6)
    of_others = told[:, 2, 2]
    assert of_others[0] == pytest.approx(np.log(23) / np.log(25))
    assert of_others[5:].tolist() == [1, 1]


def test_each_picture_and_channel_is_told_by_itself() -> None:
    levels = pictures(4, 2, 1, levels=9)
    together = level_sets(levels)
    assert together.shape == (4, 2 * TOLD, 12, 10)
    for row in range(4):
        assert torch.allclose(level_sets(levels[row : row + 1])[0], together[row])
        for channel in range(2):
            alone = level_sets(levels[row : row + 1, channel : channel + 1])[0]
            part = together[row, 5 * channel : 5 * channel + 5]
            assert torch.allclose(alone[:5], part)
            assert torch.equal(alone[5:], together[row, [10 + channel, 12 + channel]])


def test_a_map_for_each_picture_hides_from_a_plain_network_what_level_sets_tell() -> None:
    """A disc, large or small; ripples of a few levels become noise of full height under a map for each picture."""
    rng = np.random.default_rng(3)
    row, column = np.mgrid[:28, :28]
    sizes = np.arange(360) % 2
    disc = (row - 14) ** 2 + (column - 14) ** 2 < np.array([30, 60])[sizes][:, None, None]
    rippled = np.where(disc, 100, 20) + rng.integers(0, 8, disc.shape)
    images = np.stack([rng.permutation(256)[picture] for picture in rippled])[:, None].astype(np.uint8)
    right = {}
    for network in ("level-sets", "cnn"):
        settings = replace(CLOUD_TRAINING, epochs=4, batch_size=16)
        model, _ = fit_network(images[:240], sizes[:240], 2, network=network, settings=settings)
        right[network] = float((probabilities(model, images[240:]).argmax(axis=1) == sizes[240:]).mean())
    assert right["level-sets"] > 0.95
    assert right["cnn"] < 0.7
