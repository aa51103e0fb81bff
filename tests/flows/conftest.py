"""Small flows and toy images, made once a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from veilray.flows import FlowTraining, Glow, GlowConfig, train


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small nets run fastest on one thread, and several test processes do not spin against each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def toy_images(n: int, seed: int, size: int = 8, channels: int = 1, bits: int = 8) -> np.ndarray:
    """Smooth blobs with a bright centre that moves, `(n, channels, size, size)`."""
    rng = np.random.default_rng(seed)
    grid = np.arange(size)
    centre = rng.uniform(0.3 * size, 0.7 * size, (n, channels, 2, 1, 1))
    distance = (grid[:, None] - centre[:, :, 0]) ** 2 + (grid[None, :] - centre[:, :, 1]) ** 2
    blob = np.exp(-distance / size) * rng.uniform(0.5, 0.9, (n, channels, 1, 1))
    noisy = np.clip(blob + 0.05 + 0.01 * rng.standard_normal(blob.shape), 0, 1)
    return (noisy * (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16)


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return toy_images(256, seed=0)


@pytest.fixture(scope="session")
def validation() -> np.ndarray:
    return toy_images(64, seed=1)


TOY = GlowConfig(size=8, channels=1, bits=8, levels=2, steps=3, width=16)
QUICK = FlowTraining(epochs=3, batch_size=32, learning_rate=2e-3, warmup_epochs=0.5, ema_decay=0.9, seed=3)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, images: np.ndarray, validation: np.ndarray) -> tuple[Glow, Path]:
    """A Glow trained for some epochs, and the folder of its run."""
    folder = tmp_path_factory.mktemp("trained")
    flow = Glow(TOY, seed=1)
    train(flow, images, validation, FlowTraining(**{**QUICK.__dict__, "epochs": 12}), folder)
    return flow, folder
