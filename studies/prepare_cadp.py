"""Prepare what the CADP study reads: for each data set and setting its images, a fitted model, the label's share.

    python studies/datasets.py digits --out SETS/digits          (likewise fashion-mnist and kermany)
    python studies/prepare_cadp.py NAME --sets SETS --out PREPARED [--data FOLDER] [--max-minutes M]

NAME is one of the settings below. A step whose result is there already is not done again. `--data` holds
`orl_faces.npz` and `pneumoniamnist.npz`. Core-minutes: about 8 a setting, 4 for the faces.

labelled: the public half has its labels, so a recipient can train on it and sample from it. scarce: a few of them have.
missing: the public half holds no image of some classes. faces: the public half holds other people.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.codes import ContentCode, choose_keep, load_code, pseudo_tasks, save_code
from veilray.codes.choice import KEEPS
from veilray.evaluation.utility import LEARNERS, score
from veilray.images import Collection, Geometry, hash_fraction, manifest_root
from veilray.images.geometry import fit as resized
from veilray.methods import CADP, load_method
from veilray.privacy import Claim
from veilray.privacy.mechanisms.directional import Directional
from veilray_studies.kinds.cadp_prepared import SHARES, CadpSet
from veilray_studies.kinds.cadp_release import Asked, released

Parts = dict[str, tuple[NDArray[Any], list[str], list[str]]]
"""public, private and test: images `(n, 1, h, w)`, label texts, patients."""

EPSILONS = ("0.5", "1", "2", "4", "8")
MISSING = ("7", "8", "9")
"""Classes of Fashion-MNIST that the public half of `missing` does not hold: sneaker, bag, ankle boot."""


@dataclass(frozen=True)
class Setting:
    """Where the images come from, how large they are, how many labels of a class are public (None: all)."""

    source: str
    size: int
    levels: int
    labels_of_a_class: int | None = None
    without: tuple[str, ...] = ()
    epochs: int = 20
    code: bool = False
    shares: bool = False


SETTINGS = {
    "digits-labelled": Setting("digits", 28, 2, epochs=24, shares=True),
    "fashion-mnist-labelled": Setting("fashion-mnist", 28, 2, epochs=8, shares=True),
    "pneumoniamnist-labelled": Setting("pneumoniamnist", 28, 2, shares=True),
    "chest-x-ray-labelled": Setting("kermany", 32, 3, shares=True),
    "fashion-mnist-scarce": Setting("fashion-mnist", 28, 2, epochs=8, labels_of_a_class=5, code=True),
    "chest-x-ray-scarce": Setting("kermany", 32, 3, labels_of_a_class=10, code=True),
    "fashion-mnist-missing": Setting("fashion-mnist", 28, 2, epochs=8, without=MISSING, code=True),
    "orl-faces": Setting("orl", 32, 3, epochs=60),
}


def parts(setting: Setting, sources: Path, data: Path) -> Parts:
    """The three parts of a setting, with all labels."""
    if setting.source == "orl":
        return _orl(data, setting.size)
    if setting.source == "pneumoniamnist":
        return _pneumonia(data)
    folder = sources / setting.source
    found: Parts = {}
    most = {"public": 10_000, "private": 3_000, "test": 3_000}
    for part in ("public", "private", "test"):
        path = next(path for path in (folder / f"{part}.npz", folder / f"{part}.csv") if path.exists())
        root = manifest_root(path) if path.suffix == ".csv" else None
        with Collection.open(path, root=root) as collection:
            collection.scan()
            chosen = _one_a_patient(collection) if part == "private" else collection
            refs = chosen.refs[: most[part]] if setting.source == "fashion-mnist" else chosen.refs
            wanted = {ref.source + str(ref.frame) for ref in refs}
            some = chosen.subset(lambda ref, wanted=wanted: ref.source + str(ref.frame) in wanted)  # type: ignore[misc]
            images = np.concatenate([batch for _, batch in some.batches(Geometry(setting.size, 1, 8), 256)])
            found[part] = (images, [str(ref.label) for ref in some.refs], [str(ref.patient) for ref in some.refs])
    return found


def _one_a_patient(collection: Collection) -> Collection:
    seen: set[str | None] = set()
    return collection.subset(lambda ref: not (ref.patient in seen or seen.add(ref.patient)))  # type: ignore[func-returns-value]


def _orl(data: Path, size: int) -> Parts:
    """People 1 to 20 are public; of people 21 to 40 seven pictures are private and three are tested."""
    with np.load(data / "orl_faces.npz") as file:
        images, person = file["images"], file["person"]
    faces = np.stack([resized(image[:, :, None], Geometry(size, 1, 8)) for image in images])
    number = np.arange(len(person)) % 10
    chosen = {
        "public": person <= 20,
        "private": (person > 20) & (number < 7),
        "test": (person > 20) & (number >= 7),
    }
    names = np.array([f"person {value:02d}" for value in person])
    return {part: (faces[rows], names[rows].tolist(), names[rows].tolist()) for part, rows in chosen.items()}


def _pneumonia(data: Path) -> Parts:
    """The official test part is tested; halves of the others by hash of the position. No patients are known."""
    with np.load(data / "pneumoniamnist.npz") as file:
        images, label, split = file["images"][:, None], file["label"], file["split"]
    names = np.array([f"pneumoniamnist/{index:05d}" for index in range(len(label))])
    half = np.array([hash_fraction(str(name)) < 0.5 for name in names])
    text = np.array(["NORMAL", "PNEUMONIA"])[label]
    chosen = {"public": (split != "test") & half, "private": (split != "test") & ~half, "test": split == "test"}
    return {part: (images[rows], text[rows].tolist(), names[rows].tolist()) for part, rows in chosen.items()}


def write_sets(setting: Setting, found: Parts, folder: Path) -> None:
    """Write `sets.npz`, with only the public labels that the setting grants."""
    images, labels, _ = found["public"]
    kept = np.array([label not in setting.without for label in labels])
    images, labels = images[kept], [label for label, stays in zip(labels, kept, strict=True) if stays]
    if setting.labels_of_a_class is not None:
        given: dict[str, int] = {}
        for row, label in enumerate(labels):
            given[label] = given.get(label, 0) + 1
            if given[label] > setting.labels_of_a_class:
                labels[row] = ""
    names = sorted({*found["private"][1], *found["test"][1]})
    arrays: dict[str, Any] = {
        "public_images": images,
        "public_labels": np.array(labels),
        "label_names": np.array(names),
    }
    for part in ("private", "test"):
        pictures, truth, patients = found[part]
        arrays[f"{part}_images"] = pictures
        arrays[f"{part}_labels"] = np.array([names.index(label) for label in truth], dtype=np.int64)
        arrays[f"{part}_patients"] = np.array(patients)
    np.savez_compressed(folder / "sets.npz", **arrays)
    columns = {"images": images[:, 0], "label": np.array(labels)}
    np.savez_compressed(folder / "public.npz", **columns, patient=np.array([f"p{row}" for row in range(len(images))]))


def write_model(setting: Setting, folder: Path, max_minutes: float) -> None:
    """Fit `cadp` on the public images; `veilray fit cadp` on `public.npz` does the same."""
    with Collection.open(folder / "public.npz") as collection:
        collection.scan()
        fitted = CADP.fit(
            collection,
            folder / "model",
            size=setting.size,
            levels=setting.levels,
            width=48,
            epochs=setting.epochs,
            max_minutes=max_minutes,
            training_data="public",
            statement=f"the public half of {setting.source}",
            name=folder.name,
        )
    print(folder.name, fitted.card.figures, flush=True)


def write_code(prepared: CadpSet, folder: Path, classes: int) -> None:
    """Fit the self-supervised content code on the public images, unlabelled, and choose k at each epsilon."""
    nested = ContentCode.fit(prepared.sets["public_images"], 8, "invariant", 32)
    save_code(nested, folder / "code")
    public = nested.encode(prepared.sets["public_images"])
    tasks = pseudo_tasks(nested.features(prepared.sets["public_images"]), classes)
    keeps = {}
    for epsilon in EPSILONS:
        mechanism: Callable[[int], Directional] = lambda k, epsilon=epsilon: Directional.calibrate(Claim.of(epsilon), k)  # type: ignore[misc] # noqa: E731
        keeps[epsilon] = choose_keep(public, tasks, mechanism, KEEPS).keep
    (folder / "keep.json").write_text(json.dumps(keeps) + "\n")
    print(folder.name, "keeps", keeps, flush=True)


def take_code(source: Path, folder: Path) -> None:
    """Take the content code, and its k, of a set that studies/prepare_utility.py prepared from the same public part."""
    shutil.copytree(source / "codes" / "invariant", folder / "code", dirs_exist_ok=True)
    chosen = json.loads((source / "keep.json").read_text())["invariant"]["directional"]
    (folder / "keep.json").write_text(json.dumps({epsilon: chosen[epsilon][0] for epsilon in EPSILONS}) + "\n")


def write_shares(prepared: CadpSet, folder: Path) -> None:
    """Choose the label's share of epsilon on the public images: half of them released, the other half tested."""
    images = prepared.sets["public_images"][:2000]
    labels = prepared.public_labels[:2000]
    half = np.arange(len(images)) % 2 == 0
    model = load_method(folder / "model")
    assert isinstance(model, CADP)
    chosen: dict[str, dict[str, Any]] = {}
    for epsilon in EPSILONS:
        scores = {}
        for share in SHARES:
            asked = Asked("directional", Fraction(epsilon), "randomised", Fraction(share))
            drawn = released(model, images[half], labels[half], prepared.label_names, asked, f"share {epsilon} {share}")
            found = score(LEARNERS["logistic"](), drawn.pictures, drawn.labels, images[~half], labels[~half])
            scores[share] = round(found.value, 4)
        chosen[epsilon] = {"share": max(scores, key=lambda share: scores[share]), "scores": scores}
        print(folder.name, "share", epsilon, chosen[epsilon], flush=True)
    (folder / "shares.json").write_text(json.dumps(chosen, indent=2) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and prepare one setting."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=tuple(SETTINGS))
    parser.add_argument("--sets", type=Path, required=True, help="folder of the sets that studies/datasets.py wrote")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the .npz sets")
    parser.add_argument("--out", type=Path, required=True, help="folder of prepared settings")
    parser.add_argument("--code", type=Path, help="a set of prepare_utility.py with a content code of the same images")
    parser.add_argument("--max-minutes", type=float, default=6.0, help="of training the flow")
    options = parser.parse_args(arguments)
    setting, folder = SETTINGS[options.name], options.out / options.name
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "sets.npz").exists():
        write_sets(setting, parts(setting, options.sets, options.data), folder)
    if not (folder / "model" / "model.json").exists():
        write_model(setting, folder, options.max_minutes)
    prepared = CadpSet(folder)
    if setting.code and not (folder / "keep.json").exists():
        if options.code:
            take_code(options.code, folder)
        else:
            write_code(prepared, folder, len(prepared.label_names))
    if setting.code:
        load_code(folder / "code")
    if setting.shares and not (folder / "shares.json").exists():
        write_shares(prepared, folder)


if __name__ == "__main__":
    main()
