"""A small collection of real files, for tests of what is done with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from veilray.images import Collection, write_image


@pytest.fixture
def folder_of_images(tmp_path: Path) -> Callable[[int], Path]:
    def make(count: int) -> Path:
        rng = np.random.default_rng(count)
        folder = tmp_path / "source"
        for label in ("NORMAL", "PNEUMONIA"):
            (folder / label).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            pixels = rng.integers(0, 256, (12, 9), dtype=np.uint8)
            write_image(folder / ("NORMAL" if index % 2 else "PNEUMONIA") / f"secret-name-{index}.png", pixels)
        return folder

    return make


@pytest.fixture
def scanned(folder_of_images: Callable[[int], Path]) -> Callable[[int], Collection]:
    def make(count: int) -> Collection:
        collection = Collection.open(folder_of_images(count))
        collection.scan()
        return collection

    return make
