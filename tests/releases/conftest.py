"""A small collection of real files, for tests of what is done with them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from veilray.images import Collection, write_image
from veilray.ledger import Journal
from veilray.privacy import Claim
from veilray.releases import Method, condition_rules, facts_of, plan_release, start_release
from veilray.releases.features import Kept
from veilray.report.dataset_card import dataset_files

sys.path.insert(0, str(Path(__file__).parent))  # a fresh process imports the tiny method by its name, too
from pooled import PooledMethod, register_for


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


@pytest.fixture
def pooled(monkeypatch: pytest.MonkeyPatch) -> PooledMethod:
    """A method with a kept code, known for this test only."""
    register_for(monkeypatch)
    return PooledMethod.made()


@pytest.fixture
def release_of(tmp_path: Path, scanned: Callable[[int], Collection]) -> Callable[..., Path]:
    """Make a release of `count` pictures; returns its folder. RECORD and ledger lie beside it."""

    def make(
        method: Method,
        count: int = 6,
        *,
        epsilon: str = "8",
        mechanism: str = "directional",
        label: str = "withheld",
        keep_geometry: bool = False,
        **options: str,
    ) -> Path:
        collection = scanned(count)
        claim = Claim.of(epsilon)
        drawn_by = method.calibrated(claim, mechanism, **options)
        plan = plan_release(
            collection,
            method,
            drawn_by,
            condition_rules({"label": label}, method.card.levels_of, facts_of(collection.refs)),
            keep_geometry=keep_geometry,
            kept=Kept.of(method, drawn_by, claim, options),
            describe=dataset_files,
        )
        start_release(plan, tmp_path / "out", tmp_path / "record", Journal(tmp_path / "ledger.sqlite"))
        return tmp_path / "out"

    return make
