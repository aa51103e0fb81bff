"""Own features: the same for everybody, sensitive to what pictures differ in, and silent about torch's generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from veilray.evaluation.similarity import density_coverage, kid, own_features


def blobs(count: int, spread: float, seed: int, size: int = 28) -> np.ndarray:
    rng = np.random.default_rng(seed)
    place = rng.uniform(-3, 3, (count, 2, 1, 1)) + (size - 1) / 2
    row, column = np.mgrid[:size, :size]
    distance = (row - place[:, 0]) ** 2 + (column - place[:, 1]) ** 2
    return (255 * np.exp(-distance / (2 * spread**2)))[:, None].astype(np.uint8)


def test_features_depend_on_seed_and_image_alone() -> None:
    images = blobs(300, 3, 0)
    found = own_features(images)
    assert found.shape == (300, 512)
    np.testing.assert_array_equal(found, own_features(images))
    np.testing.assert_allclose(found[290:], own_features(images[290:]), rtol=1e-4, atol=1e-5)
    assert not np.allclose(found, own_features(images, seed=1))


def test_features_are_of_the_size_that_the_kernel_wants() -> None:
    found = own_features(np.random.default_rng(0).integers(0, 256, (50, 3, 32, 32), dtype=np.uint8))
    assert 0.01 < (found**2).mean() < 10


def test_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    own_features(blobs(3, 3, 0))
    assert torch.equal(torch.rand(1), expected)


def test_pictures_of_one_kind_are_nearer_than_of_two() -> None:
    real, same, other = (own_features(blobs(200, spread, seed)) for spread, seed in ((3, 0), (3, 1), (5, 2)))
    assert kid(real, same) < 0.1 * kid(real, other)
    assert density_coverage(real, same).coverage > 0.8
    assert density_coverage(real, other).coverage < 0.1


@pytest.mark.parametrize(
    "images",
    [np.zeros((2, 28, 28), np.uint8), np.zeros((2, 1, 28, 28)), np.zeros((2, 1, 4, 28), np.uint8)],
)
def test_other_shapes_are_refused(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"images must be \(n, c, h, w\) uint8"):
        own_features(images)
