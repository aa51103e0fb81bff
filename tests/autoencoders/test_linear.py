"""The linear autoencoder: the decomposition is the true one, and its bits are those of its own density."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import multivariate_normal

from veilray.autoencoders import LinearAutoencoder


def test_components_are_those_of_the_exact_decomposition(
    training: NDArray[np.uint8], held_out: NDArray[np.uint8]
) -> None:
    fitted = LinearAutoencoder.fit(training, held_out, features=6)
    rows = training.reshape(len(training), -1).astype(np.float64)
    _, _, exact = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    overlap = np.linalg.svd(fitted.components.double().numpy() @ exact[:6].T)[1]
    assert overlap.min() > 0.999


def test_all_components_rebuild_every_pixel(training: NDArray[np.uint8], held_out: NDArray[np.uint8]) -> None:
    fitted = LinearAutoencoder.fit(training, held_out, features=400)
    assert np.abs(fitted.reconstruct(held_out).astype(int) - held_out).max() <= 1


def test_bits_are_those_of_the_density_averaged_over_each_bin(held_out: NDArray[np.uint8]) -> None:
    small = held_out[:, :, 6:14, 6:14]
    fitted = LinearAutoencoder.fit(small, small[:4], features=5)
    u, kept = fitted.components.double().numpy(), fitted.variances.double().numpy() + 1 / 12
    left = float(fitted.residual) + 1 / 12
    covariance = u.T @ np.diag(kept) @ u + left * (np.eye(64) - u.T @ u)
    law = multivariate_normal(fitted.mean.double().numpy(), covariance)
    rng = np.random.default_rng(0)
    for row, bits in zip(small[:4].reshape(4, -1), fitted.bits_per_dimension(small[:4]), strict=True):
        spread = law.logpdf(row + rng.uniform(size=(4000, 64)))
        assert bits == pytest.approx(-spread.mean() / (64 * np.log(2)), abs=0.002)


def test_more_features_than_images_are_refused(training: NDArray[np.uint8], held_out: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="features must be at most 9 with 10 images, got 10"):
        LinearAutoencoder.fit(training[:10], held_out, features=10)


def test_few_images_give_half_as_many_features(training: NDArray[np.uint8], held_out: NDArray[np.uint8]) -> None:
    assert LinearAutoencoder.fit(training[:11], held_out).config.features == 5


def test_what_is_left_of_noise_is_known_from_few_images() -> None:
    noise = np.random.default_rng(0).normal(128, 30, (60, 1, 32, 32)).clip(0, 255).astype(np.uint8)
    fitted = LinearAutoencoder.fit(noise[:40], noise[40:], features=20)
    assert float(fitted.residual) ** 0.5 == pytest.approx(30, rel=0.1)


def test_constant_pictures_are_rebuilt(held_out: NDArray[np.uint8]) -> None:
    grey = np.full((20, 1, 8, 8), 77, np.uint8)
    fitted = LinearAutoencoder.fit(grey, grey, features=2)
    assert np.array_equal(fitted.reconstruct(grey), grey)
    assert fitted.figures["psnr"] == 100


def test_a_negative_variance_is_refused(training: NDArray[np.uint8], held_out: NDArray[np.uint8]) -> None:
    description, tensors = LinearAutoencoder.fit(training, held_out, features=2).state()
    with pytest.raises(ValueError, match="0 or more"):
        LinearAutoencoder.from_state(description, tensors | {"residual": torch.tensor(-1.0)})
