"""The published release step does what was published: couple a batch, bound too little, and ignore epsilon."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from veilray.methods.baselines import (
    AS_CONFIGURED,
    AS_RUN,
    CADPAsPublished,
    CADPConfig,
    published_clip,
    published_noise_scale,
    published_radius,
    published_release,
)

TINY = {"depths": (1, 1), "channels": (6, 6), "flat_width": 16, "learning_rate": 3e-3}
LATENTS = arrays(np.float64, (3, 5), elements=st.floats(-1e6, 1e6))


def stripes(rows: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Pictures 8x8 of two kinds, lying and standing stripes of random grey."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, rows)
    bands = np.repeat(rng.integers(40, 200, (rows, 4, 1)), 2, axis=1) + rng.integers(0, 30, (rows, 8, 8))
    return np.where(labels[:, None, None] == 1, bands, bands.swapaxes(1, 2))[:, None].astype(np.uint8), labels


@pytest.fixture(scope="module")
def fitted() -> CADPAsPublished:
    return CADPAsPublished.fit(*stripes(), 2, epochs=6, config=replace(AS_RUN, **TINY), batch_size=16)


@given(LATENTS, st.floats(1e-3, 10))
def test_the_clip_bounds_the_norm_of_the_batch(latents: np.ndarray, radius: float) -> None:
    clipped = published_clip(latents, radius)
    norm = np.linalg.norm(latents, ord=1)
    assert np.linalg.norm(clipped, ord=1) <= radius * (1 + 1e-9)
    if norm <= radius:
        assert np.array_equal(clipped, latents)
    else:
        assert np.allclose(clipped * (norm / radius), latents, rtol=1e-9, atol=1e-300)


def test_batches_are_clipped_one_by_one() -> None:
    batches = np.random.default_rng(0).normal(size=(4, 3, 5))
    assert np.allclose(published_clip(batches, 0.5), [published_clip(batch, 0.5) for batch in batches])


def test_of_one_image_the_clip_bounds_each_element_not_their_sum() -> None:
    clipped = published_clip(np.full((1, 64), 7.0), 0.5)
    assert np.abs(clipped).max() == pytest.approx(0.5)
    assert np.abs(clipped).sum() == pytest.approx(32)


def test_another_image_changes_what_comes_of_this_one() -> None:
    own = np.ones((1, 4))
    quiet, loud = (published_clip(np.vstack((own, other * own)), 0.5)[0] for other in (1, 100))
    assert quiet[0] / loud[0] == pytest.approx(101 / 2)


@given(st.floats(0.01, 8))
def test_the_noise_is_the_same_for_every_epsilon_up_to_8(epsilon: float) -> None:
    assert published_noise_scale(epsilon) == pytest.approx(0.5)
    assert published_radius(epsilon) == pytest.approx(epsilon / 2)


def test_beyond_8_the_radius_stands_still() -> None:
    assert published_radius(100.0) == 4.0
    assert published_noise_scale(16.0) == 0.25


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf, math.nan])
def test_an_epsilon_that_is_none_is_refused(epsilon: float) -> None:
    with pytest.raises(ValueError, match="epsilon must be above 0 and finite"):
        published_radius(epsilon)


def test_the_noise_is_laplace_of_that_scale() -> None:
    drawn = published_release(np.zeros((2000, 50)), 1.0, np.random.default_rng(0))
    assert np.abs(drawn).mean() == pytest.approx(0.5, rel=0.02)
    assert drawn.var() == pytest.approx(0.5, rel=0.03)


def test_whole_batches_alone_are_released() -> None:
    latents = np.random.default_rng(0).normal(size=(10, 4))
    assert len(published_release(latents, 1.0, np.random.default_rng(1), batch_size=4)) == 8
    for wrong in (0, 11):
        with pytest.raises(ValueError, match=r"batch_size must be in \[1, 10\]"):
            published_release(latents, 1.0, np.random.default_rng(1), batch_size=wrong)


def test_the_claim_is_exceeded_by_far() -> None:
    """Two images of a batch of one, told apart by the noise's own likelihood: right more often than e / (1 + e)."""
    first, second = np.full((400, 64), 5.0), np.full((400, 64), -5.0)
    drawn = published_release(first, 1.0, np.random.default_rng(0))
    own, other = (np.abs(drawn - published_clip(row[:1], 0.5)).sum(axis=1) for row in (first, second))
    assert (own < other).mean() > 0.99 > math.e / (1 + math.e)


def test_training_lowers_the_bits(fitted: CADPAsPublished) -> None:
    images, labels = stripes()
    fresh = CADPAsPublished.fit(images, labels, 2, epochs=0, config=replace(AS_RUN, **TINY))
    assert fitted.bits_per_dimension(images, labels).mean() < fresh.bits_per_dimension(images, labels).mean() - 0.05


def test_volume_kept_means_no_fewer_bits_than_the_prior_allows() -> None:
    """A GIN network under N(0, I) can never beat 8 + log2(2 pi) / 2 bits, which is worse than random pixels."""
    images, labels = stripes()
    trained = CADPAsPublished.fit(images, labels, 2, epochs=5, config=replace(AS_CONFIGURED, **TINY), batch_size=16)
    assert trained.bits_per_dimension(images, labels).min() >= 8 + math.log2(2 * math.pi) / 2 - 1e-5


def test_images_come_back_under_their_own_label(fitted: CADPAsPublished) -> None:
    images, labels = stripes()
    latents = fitted.encode(images, labels)
    assert latents.dtype == np.float64
    assert latents.shape == (len(images), 64)
    assert np.array_equal(fitted.decode(latents, labels), images)
    assert (fitted.decode(latents, 1 - labels) != images).any()


def test_each_latent_comes_from_its_own_image(fitted: CADPAsPublished) -> None:
    images, labels = stripes(300)
    assert np.allclose(fitted.encode(images, labels)[290:], fitted.encode(images[290:], labels[290:]), atol=1e-5)


def test_a_release_is_pictures_and_no_guarantee(fitted: CADPAsPublished) -> None:
    images, labels = stripes()
    first, same, other = (
        fitted.release(images, labels, 1.0, np.random.default_rng(seed), batch_size=10) for seed in (0, 0, 1)
    )
    assert first.shape == (90, 1, 8, 8)
    assert first.dtype == np.uint8
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    assert fitted.guarantee is None


def test_decoding_is_finite_for_every_latent(fitted: CADPAsPublished) -> None:
    assert fitted.decode(np.full((2, 64), 1e30), np.array([0, 1])).shape == (2, 1, 8, 8)


def test_the_same_seed_trains_the_same_network() -> None:
    images, labels = stripes(32)
    config: CADPConfig = replace(AS_CONFIGURED, **TINY)
    first, same = (CADPAsPublished.fit(images, labels, 2, 2, seed=3, config=config, batch_size=16) for _ in range(2))
    for name, weight in first.network.state_dict().items():
        assert torch.equal(weight, same.network.state_dict()[name])


def test_training_stops_when_its_time_is_over() -> None:
    images, labels = stripes(64)
    seconds = iter(range(100))
    CADPAsPublished.fit(images, labels, 2, 10**9, 1 / 60, config=replace(AS_RUN, **TINY), clock=lambda: next(seconds))
    assert next(seconds) == 2  # asked once before the first step, once after it


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((4, 1, 8, 8))}, "images of 8 bits must be torch.uint8"),
        ({"labels": np.zeros(3, int)}, "labels must be 4, one an image, got 3"),
        ({"batch_size": 5}, r"batch_size must be in \[1, 4\], got 5"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], message: str) -> None:
    given = {"images": np.zeros((4, 1, 8, 8), np.uint8), "labels": np.zeros(4, int), "batch_size": 4} | change
    with pytest.raises(ValueError, match=message):
        CADPAsPublished.fit(levels=2, epochs=1, config=replace(AS_RUN, **TINY), **given)  # type: ignore[arg-type]
