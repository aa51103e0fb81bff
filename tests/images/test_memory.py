"""A hundred thousand images are scanned and read in any order within bounded memory."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import numpy as np

READ = """
import resource, sys
import numpy as np
from veilray.images import Collection, Geometry
with Collection.open(sys.argv[1]) as collection:
    scan = collection.scan()
    order = np.random.default_rng(0).permutation(len(collection))
    batches = collection.batches(Geometry(28), 500, order)
    total = sum(int(pixels[:, 0, 0, 0].astype(np.int64).sum()) for _, pixels in batches)
print(scan.images, scan.surplus, total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_a_hundred_thousand_images(tmp_path):
    count, block = 100_000, np.random.default_rng(0).integers(0, 256, (1_000, 28, 28), dtype=np.uint8)
    images = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, (count, 28, 28))
    for at in range(0, count, 1_000):
        images[at : at + 1_000] = block
        images[at : at + 1_000, 27, :4] = np.arange(at, at + 1_000, dtype="<u4").view(np.uint8).reshape(-1, 4)
    first = int(images[:, 0, 0].astype(np.int64).sum())
    np.savez_compressed(tmp_path / "a.npz", images=images, label=np.arange(count) % 10)
    del images
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / "a.npz")], capture_output=True, text=True, check=True, timeout=120
    )
    scanned, surplus, total, kibibytes = map(int, done.stdout.split())
    assert (scanned, surplus, total) == (count, 0, first)
    assert kibibytes < 1.5 * 2**20


def test_an_array_is_streamed_not_loaded(tmp_path):
    header = {"descr": "|u1", "fortran_order": False, "shape": (4_000, 256, 256)}
    archive = zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with archive, archive.open("images.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, header)
        for _ in range(250):
            member.write(bytes(2**20))
    script = (
        "import resource, sys\nfrom veilray.images import FORMATS, Limits\nfrom pathlib import Path\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "file = FORMATS['arrays'].open(Path(sys.argv[1]), Limits())\n"
        "assert sum(1 for _ in file) == 4000\nfile.read(3999)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.npz")], capture_output=True, text=True, check=True, timeout=120
    )
    assert int(done.stdout) < 32 * 2**10  # KiB, of 250 MiB
