"""Run the real command line in this process; train one tiny real model for all tests of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from veilray.cli.main import main
from veilray.cli.output import OUT, STATUS


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def veilray(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Ran]:
    monkeypatch.setenv("VEILRAY_LEDGER", str(tmp_path / "house" / "ledger.sqlite"))
    monkeypatch.setenv("COLUMNS", "200")
    for screen in (OUT, STATUS):  # made when first imported, by whatever width stood there then
        monkeypatch.setattr(screen, "width", 200)

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr("sys.argv", ["veilray", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Ran(int(ended.value.code or 0), _unwrapped(out), err)

    return run


def _unwrapped(text: str) -> str:
    """Terminal output as one line of words: boxes and line breaks fall where the width says."""
    return text if text.startswith("{") else " ".join(text.replace("│", " ").split())


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 small pictures with labels and patients, of which one patient has four."""
    path = tmp_path_factory.mktemp("pictures") / "pictures.npz"
    np.savez(
        path,
        images=gradients(24, seed=0),
        label=np.array(["NORMAL", "PNEUMONIA"] * 12),
        patient=np.array([f"p{max(0, index - 3)}" for index in range(24)]),
    )
    return path


@pytest.fixture(scope="session")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures to fit on, none of them among `pictures`."""
    path = tmp_path_factory.mktemp("public") / "public.npz"
    np.savez(path, images=gradients(24, seed=2))
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from veilray.api import fit

    folder = tmp_path_factory.mktemp("models") / "tiny"
    public = folder.with_suffix(".npz")
    np.savez(public, images=gradients(300, seed=1))
    fit(
        "dp-glow",
        public,
        folder,
        size=16,
        levels=2,
        steps=2,
        width=8,
        epochs=2,
        training_data="public",
        statement="random gradients",
    )
    return folder


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of obfuscation, a key, pictures, what was made of them, and a classifier; read only."""
    from veilray.cloud import CLOUD_TRAINING, cloud_train
    from veilray.images import Collection
    from veilray.methods.obfuscation import Key, Obfuscation, obfuscate_folder

    folder = tmp_path_factory.mktemp("house")
    rng = np.random.default_rng(0)
    for name, count in (("public", 40), ("private", 40)):
        images = rng.integers(0, 256, (count, 16, 16)).astype(np.uint8)
        np.savez(folder / f"{name}.npz", images=images, label=np.array(["left", "right"] * (count // 2)))
    with Collection.open(folder / "public.npz") as public:
        public.scan()
        Obfuscation.fit(public, folder / "batches", size=16, encoder="none", map_scope="batch", map_batch=5)
        Obfuscation.fit(public, folder / "pca", size=16, encoder="pca", features=2)
    key = Key.fresh()
    key.write(folder / "key")
    with Collection.open(folder / "private.npz") as private:
        private.scan()
        obfuscate_folder(private, Obfuscation.load(folder / "batches"), key, folder / "out", folder / "record")
    cloud_train(folder / "out", folder / "classifier", settings=replace(CLOUD_TRAINING, epochs=1))
    return folder


def gradients(count: int, seed: int) -> np.ndarray:
    """`(count, 16, 16)` uint8: a ramp under noise."""
    rng = np.random.default_rng(seed)
    return (rng.random((count, 16, 16)) * 80 + np.linspace(0, 160, 16)).astype(np.uint8)
