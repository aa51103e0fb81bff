"""One small fit of every registered code, and toy pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from veilray.codes import ContentCode, GramCode, KeptCode, LevelsCode
from veilray.flows import Glow, GlowConfig

KEEP = 4


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small nets run fastest on one thread, and their sums are then the same every time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pictures(n: int, seed: int, size: int = 8) -> NDArray[np.uint8]:
    """Blobs whose place, width and brightness vary, `(n, 1, size, size)`."""
    rng = np.random.default_rng(seed)
    grid = np.arange(size)
    row, column = rng.uniform(0.25 * size, 0.75 * size, (2, n, 1))
    distance = ((grid - row) ** 2)[:, :, None] + ((grid - column) ** 2)[:, None, :]
    blobs = np.exp(-distance / rng.uniform(size / 2, 2 * size, (n, 1, 1))) * rng.uniform(0.4, 0.9, (n, 1, 1))
    noisy = np.clip(blobs + 0.05 + 0.02 * rng.standard_normal(blobs.shape), 0, 1)
    return (255 * noisy[:, None]).astype(np.uint8)


@pytest.fixture(scope="session")
def public() -> NDArray[np.uint8]:
    return pictures(240, seed=0)


@pytest.fixture(scope="session")
def others() -> NDArray[np.uint8]:
    return pictures(24, seed=1)


@torch.enable_grad()
def small_flow(images: NDArray[np.uint8], steps: int = 40) -> Glow:
    flow = Glow(GlowConfig(size=8, levels=2, steps=2, width=8), seed=3)
    continuous = (torch.from_numpy(images).float() + 0.5) / 256 - 0.5
    flow.initialise(continuous)
    optimiser = torch.optim.Adam(flow.parameters(), lr=5e-3)
    for _ in range(steps):
        loss = flow.loss(continuous).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    flow.zero_grad(set_to_none=True)
    return flow.eval()


@pytest.fixture(scope="session")
def flow(public: NDArray[np.uint8]) -> Glow:
    return small_flow(public)


Fit = Callable[[NDArray[np.uint8], Glow, int], KeptCode]

FITS: dict[str, Fit] = {
    "pixels": lambda images, flow, seed: ContentCode.fit(images, 8, "pixels", KEEP),
    "vae": lambda images, flow, seed: ContentCode.fit(images, 8, "vae", KEEP, epochs=2, width=8, seed=seed),
    "invariant": lambda images, flow, seed: ContentCode.fit(images, 8, "invariant", KEEP, epochs=2, width=8, seed=seed),
    "levels": lambda images, flow, seed: LevelsCode.fit(flow, images, KEEP, seed, samples=8, probes=2),
    "gram": lambda images, flow, seed: GramCode.fit(flow, images, KEEP, seed, samples=8),
}


@pytest.fixture(scope="session")
def fitted(public: NDArray[np.uint8], flow: Glow) -> dict[str, KeptCode]:
    return {name: fit(public, flow, 0) for name, fit in FITS.items()}


@pytest.fixture(params=FITS)
def code(request: pytest.FixtureRequest, fitted: dict[str, KeptCode]) -> KeptCode:
    return fitted[request.param]
