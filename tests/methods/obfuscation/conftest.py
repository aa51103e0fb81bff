"""Models without an encoder, pictures with names that must not travel, and a key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from veilray.images import Collection, write_image
from veilray.methods.obfuscation import Key, Obfuscation, new_key


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    folder = tmp_path / "source"
    for index in range(30):
        label = folder / ("NORMAL" if index % 2 else "PNEUMONIA")
        label.mkdir(parents=True, exist_ok=True)
        write_image(label / f"Meier-Anna-{index}.png", rng.integers(0, 256, (20, 17), dtype=np.uint8))
    return folder


@pytest.fixture
def collection(pictures: Path) -> Iterator[Collection]:
    with Collection.open(pictures) as opened:
        opened.scan()
        yield opened


@pytest.fixture
def fitted(tmp_path: Path, collection: Collection) -> Callable[..., Obfuscation]:
    def make(name: str = "model", **options: object) -> Obfuscation:
        return Obfuscation.fit(collection, tmp_path / name, **{"size": 16, "encoder": "none", **options})

    return make


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return new_key(tmp_path / "owner.key")


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[Collection]:
    """60 pictures that an autoencoder of few numbers can tell apart."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:28, :28]
    centres = rng.uniform(6, 22, (60, 2, 1, 1))
    images = 230 * np.exp(-((rows - centres[:, 0]) ** 2 + (columns - centres[:, 1]) ** 2) / 40)
    np.savez(tmp_path / "blobs.npz", images=images.astype(np.uint8), label=np.array(["left", "right"] * 30))
    with Collection.open(tmp_path / "blobs.npz") as opened:
        opened.scan()
        yield opened
