"""A tiny real Glow and a small collection of real files, for tests of what is done with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from veilray.flows import Glow, GlowConfig
from veilray.images import RULE, Collection, write_image
from veilray.methods import DPGlow, ModelCard
from veilray.methods.domain import Domain
from veilray.privacy import ModelTraining


@pytest.fixture(scope="session")
def method() -> DPGlow:
    flow = Glow(GlowConfig(size=8, levels=2, steps=2, width=8))
    card = ModelCard(
        name="tiny",
        method="dp-glow",
        geometry={"size": 8, "channels": 1, "bits": 8},
        geometry_rule=RULE,
        training=ModelTraining(data="public", statement="random numbers"),
        training_images=0,
        training_patients=None,
        levels_of={"label": ("NORMAL", "PNEUMONIA")},
        weights_sha256="0" * 64,
    )
    return DPGlow(flow, card, Domain.of(np.arange(10.0)))


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
