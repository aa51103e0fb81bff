"""What the code attacks' tests share: a mechanism with everything it needs, and releases of normal codes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from veilray.evaluation.attacks import ReleasedCodes
from veilray.evaluation.audit import calibrated
from veilray.privacy import Claim, Mechanism, SeededEntropy


def mechanism(name: str, epsilon: str, dimension: int = 8) -> Mechanism:
    return calibrated(name, Claim.of(epsilon, "1e-5" if name == "gaussian" else 0), dimension)


def codes(released_by: Mechanism, count: int = 1000, labels: int = 2, releases: int = 1) -> ReleasedCodes:
    rng = np.random.default_rng(3)
    shape = (count, released_by.dimension)
    latent = rng.normal(size=shape)
    if released_by.name == "randomised_response":
        latent = rng.integers(0, 2, shape).astype(np.float64)
    drawn = np.stack([released_by.release(latent, SeededEntropy(f"attack {number}")) for number in range(releases)])
    return ReleasedCodes(released_by, drawn if releases > 1 else drawn[0], latent, rng.integers(0, labels, count))


@pytest.fixture
def make_mechanism() -> Callable[..., Mechanism]:
    return mechanism


@pytest.fixture
def make_codes() -> Callable[..., ReleasedCodes]:
    return codes
