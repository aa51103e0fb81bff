"""An OBFUSCATED folder that the cloud can learn from, and a second one sent later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from veilray.images import Collection
from veilray.methods.obfuscation import Obfuscation, new_key, obfuscate_folder, read_key

Hand = Callable[..., Path]


def pictures(path: Path, count: int, seed: int, classes: int = 2) -> Path:
    """A disc on the left, on the right, or in the middle, under noise of 40 grey levels."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:28, :28]
    kinds = np.arange(count) % classes
    centres = np.array([7, 20, 14])[kinds][:, None, None] + rng.integers(-2, 3, (count, 1, 1))
    disc = (rows - 14) ** 2 + (columns - centres) ** 2 < 30
    images = (disc * 150 + rng.integers(0, 40, (count, 28, 28))).astype(np.uint8)
    np.savez(path, images=images, label=np.array(["left", "right", "middle"])[kinds])
    return path


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and a key; what the cloud never sees."""
    folder = tmp_path_factory.mktemp("house")
    with Collection.open(pictures(folder / "public.npz", 40, 0)) as collection:
        collection.scan()
        Obfuscation.fit(
            collection, folder / "model", size=28, encoder="none", map_scope="key", map_levels=32, map_smoothness=1.0
        )
    new_key(folder / "key")
    return folder


@pytest.fixture(scope="session")
def hand(house: Path, tmp_path_factory: pytest.TempPathFactory) -> Hand:
    """Obfuscate `count` new pictures; returns OBFUSCATED, alone in a folder of its own."""

    def make(
        count: int = 120, seed: int = 1, classes: int = 2, key: str = "key", model: str = "model", **options: str
    ) -> Path:
        made = tmp_path_factory.mktemp("crossing")
        source = pictures(tmp_path_factory.mktemp("private") / "private.npz", count, seed, classes)
        with Collection.open(source) as collection:
            collection.scan()
            fitted, secret = Obfuscation.load(house / model), read_key(house / key)
            record = tmp_path_factory.mktemp("records") / "record"
            obfuscate_folder(collection, fitted, secret, made / "out", record, **options)
        return made / "out"

    return make


@pytest.fixture(scope="session")
def handed(hand: Hand) -> Path:
    return hand()
