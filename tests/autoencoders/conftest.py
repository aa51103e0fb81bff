"""Small fits of every registered autoencoder, on pictures of blobs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from veilray.autoencoders import AUTOENCODERS, Autoencoder

SIZE = 20


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small nets run fastest on one thread, and their sums are then the same every time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def blobs(n: int, seed: int, size: int = SIZE) -> NDArray[np.uint8]:
    """Blobs whose place, width and brightness vary, `(n, 1, size, size)`."""
    rng = np.random.default_rng(seed)
    grid = np.arange(size)
    row, column = rng.uniform(0.25 * size, 0.75 * size, (2, n, 1))
    distance = ((grid - row) ** 2)[:, :, None] + ((grid - column) ** 2)[:, None, :]
    light = np.exp(-distance / rng.uniform(size, 3 * size, (n, 1, 1))) * rng.uniform(0.4, 0.9, (n, 1, 1))
    noisy = np.clip(light + 0.05 + 0.02 * rng.standard_normal(light.shape), 0, 1)
    return (255 * noisy[:, None]).astype(np.uint8)


@pytest.fixture(scope="session")
def training() -> NDArray[np.uint8]:
    return blobs(480, seed=0)


@pytest.fixture(scope="session")
def held_out() -> NDArray[np.uint8]:
    return blobs(70, seed=1)


@pytest.fixture(scope="session", params=list(AUTOENCODERS))
def fitted(request: pytest.FixtureRequest, training: NDArray[np.uint8], held_out: NDArray[np.uint8]) -> Autoencoder:
    smaller = {"width": 24} if request.param == "vae" else {}
    return AUTOENCODERS[request.param].fit(training, held_out, features=8, epochs=12, seed=3, **smaller)
