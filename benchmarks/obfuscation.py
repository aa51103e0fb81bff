"""Obfuscation: pictures of 64 x 64 a second, from an archive to a complete folder for the cloud, on all cores.

python benchmarks/obfuscation.py                10,000 pictures made on the spot
python benchmarks/obfuscation.py IMAGES         your own
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from veilray.images import Collection
from veilray.methods.obfuscation import Key, Obfuscation, obfuscate_folder

COUNT, SIZE = 10_000, 64
ENCODERS = ("none", "pca", "vae")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = options.images or _made(folder / "made.npz")
        with Collection.open(path) as collection:
            collection.scan()
            models = {encoder: _fitted(collection, folder / encoder, encoder) for encoder in ENCODERS}
            rates: dict[str, list[float]] = {encoder: [] for encoder in ENCODERS}
            for turn in range(options.rounds):
                for encoder, model in models.items():
                    rates[encoder].append(_rate(collection, model, folder / f"{encoder} {turn}"))
    print("| encoder, then a map an image | images a second | of each round |\n|---|---|---|")
    for encoder, found in rates.items():
        each = ", ".join(f"{rate:,.0f}" for rate in found)
        print(f"| {encoder} | {statistics.median(found):,.0f} | {each} |")


def _made(path: Path) -> Path:
    rng = np.random.default_rng(0)
    shapes = np.concatenate(
        [gaussian_filter(rng.normal(size=(1000, SIZE, SIZE)), (0, 4, 4)) for _ in range(COUNT // 1000)]
    )
    np.savez(path, images=np.clip(120 + 600 * shapes, 0, 255).astype(np.uint8))
    return path


def _fitted(collection: Collection, folder: Path, encoder: str) -> Obfuscation:
    """How good the encoder is does not change what it costs: one pass, of a minute at most."""
    return Obfuscation.fit(collection, folder, size=SIZE, encoder=encoder, epochs=1, max_minutes=1.0)


def _rate(collection: Collection, model: Obfuscation, out: Path) -> float:
    begun = time.perf_counter()
    done = obfuscate_folder(collection, model, Key.fresh(), out / "obfuscated", out / "record")
    return done.images / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
