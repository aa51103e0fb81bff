"""Smooth pictures, random maps drawn here, and the game that they make."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from veilray.evaluation.attacks.intensity import KnownPairs, ObfuscatedSet, View


def smooth(count: int, seed: int, size: int = 32) -> np.ndarray:
    """`(count, 1, size, size)` uint8: soft random shapes under one shading, with a little noise."""
    rng = np.random.default_rng(seed)
    shapes = gaussian_filter(rng.normal(size=(count, size, size)), (0, 4, 4))
    shading = np.add.outer(np.linspace(40, 150, size), np.linspace(0, 60, size))
    return np.clip(shading + 300 * shapes + rng.normal(0, 1.5, shapes.shape), 0, 255)[:, None].astype(np.uint8)


def random_table(seed: int, levels: int = 64) -> np.ndarray:
    """A random function of 256 levels onto `levels` ones."""
    rng = np.random.default_rng(seed)
    return rng.permutation(256)[:levels][rng.integers(0, levels, 256)].astype(np.uint8)


def permutation(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(256).astype(np.uint8)


def game(table: np.ndarray, *, per_picture: bool = False, targets: int = 24, pairs: int = 10) -> ObfuscatedSet:
    """Targets under one map, or each under one of its own, with pairs and an oracle under the first."""
    originals, own = smooth(targets, 1), smooth(80, 2)
    known = smooth(pairs, 3)
    tables = [random_table(100 + row) for row in range(targets)] if per_picture else [table] * targets
    view = View(
        own=own,
        obfuscated=np.stack([by[picture] for by, picture in zip(tables, originals, strict=True)]),
        setting="same-key",
        maps=np.arange(targets) if per_picture else None,
        pairs=KnownPairs(known, table[known]),
        obfuscate=lambda asked: table[asked],
    )
    return ObfuscatedSet(view, originals)


@pytest.fixture
def make_game() -> Callable[..., ObfuscatedSet]:
    return game


@pytest.fixture
def a_table() -> np.ndarray:
    return random_table(7)


@pytest.fixture
def a_permutation() -> np.ndarray:
    return permutation(7)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture
def pictures() -> Callable[..., np.ndarray]:
    return smooth
