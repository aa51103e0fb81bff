"""Reading images: time to open, scan and read, and the most memory that took.

python benchmarks/images.py                     100,000 small pictures made on the spot
python benchmarks/images.py FOLDER [LAYOUT]     your own
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from veilray.images import Collection, Geometry

COUNT = 100_000


def main() -> None:
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "folders", Geometry(64))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pictures.npz"
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rng = np.random.default_rng(0)
        np.savez(path, images=rng.integers(0, 256, (COUNT, 28, 28), dtype=np.uint8))
        print(f"made {path.stat().st_size / 2**20:.0f} MiB (this process held {before / 1024:.0f} MiB before)")
        measure(path, "folders", Geometry(28))


def measure(path: Path, layout: str, geometry: Geometry) -> None:
    times = {}
    began = time.perf_counter()
    with Collection.open(path, layout=layout) as collection:
        times["open"] = time.perf_counter() - began
        began = time.perf_counter()
        collection.scan()
        times["scan"] = time.perf_counter() - began
        began = time.perf_counter()
        order = np.random.default_rng(0).permutation(len(collection))
        for _ in collection.batches(geometry, 64, order):
            pass
        times["read in random order"] = time.perf_counter() - began
        print(f"{len(collection):,} images: " + ", ".join(f"{name} {spent:.1f} s" for name, spent in times.items()))
    print(f"most memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
