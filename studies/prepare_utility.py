"""Prepare what the utility study reads: sets, nested kept codes, the k of each mechanism, a model for pictures.

    python studies/datasets.py NAME --out SETS/NAME
    veilray fit dp-glow SETS/NAME/public.npz --out GLOW --size S --levels L ...
    python studies/prepare_utility.py NAME --sets SETS/NAME --glow GLOW --out PREPARED [--codes invariant,pixels,...]
    veilray fit directional SETS/NAME/public.npz --out PREPARED/NAME/model ...

Everything is fitted on the public part, its labels unused; `--classes` says how many kinds there are, which is known of
any task. A code that is there already is not fitted again. Core-hours: about 1 for chest X-rays, 1 for Fashion-MNIST,
.3 for digits.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from veilray.codes import ContentCode, GramCode, LatentCode, LevelsCode, choose_keep, load_code, pseudo_tasks, save_code
from veilray.codes.choice import DECAYS, KEEPS
from veilray.flows import load_flow
from veilray.images import Collection, Geometry, manifest_root
from veilray.privacy import Mechanism
from veilray_studies.kinds.prepared import Prepared, mechanism_for
from veilray_studies.kinds.utility_settings import DECAYED

EPSILONS = ("0.25", "0.5", "1", "2", "4", "8")
MECHANISMS = ("laplace", "gaussian", "directional", "codebook", "selection")
KEEP = 32
Keeps = dict[str, dict[str, dict[str, list[float | None]]]]


def sets(source: Path, size: int, out: Path, one_a_patient: bool) -> None:
    """Write `sets.npz`: images of the three parts, labels and patients of the private and the test part."""
    arrays: dict[str, Any] = {}
    for part, path in [(part, _of(source, part)) for part in ("public", "private", "test")]:
        root = manifest_root(path) if path.suffix == ".csv" else None
        with Collection.open(path, root=root) as collection:
            collection.scan()
            chosen = _first_of_each_patient(collection) if one_a_patient and part == "private" else collection
            batches = [batch for _, batch in chosen.batches(Geometry(size, 1, 8), 256)]
            arrays[f"{part}_images"] = np.concatenate(batches)
            refs = chosen.refs
        names = sorted({str(ref.label) for ref in refs})
        arrays[f"{part}_labels"] = np.array([names.index(str(ref.label)) for ref in refs], dtype=np.int64)
        arrays[f"{part}_patients"] = np.array([str(ref.patient) for ref in refs])
    del arrays["public_labels"], arrays["public_patients"]
    np.savez_compressed(out / "sets.npz", **arrays)


def _of(source: Path, part: str) -> Path:
    for path in (source / f"{part}.npz", source / f"{part}.csv"):
        if path.exists():
            return path
    raise SystemExit(f"--sets must hold {part}.npz or {part}.csv, got neither in {source}: run studies/datasets.py")


def _first_of_each_patient(collection: Collection) -> Collection:
    seen: set[str | None] = set()
    return collection.subset(lambda ref: not (ref.patient in seen or seen.add(ref.patient)))  # type: ignore[func-returns-value]


def code(prepared: Prepared, kind: str, glow: Path | None) -> None:
    """Fit one nested code on the public images, unless it is there, and write the code rows of all parts."""
    folder = prepared.folder / "codes" / kind
    public = prepared.sets["public_images"]
    if not (folder / "code.json").exists():
        found: ContentCode | LatentCode
        if kind in ("gram", "levels"):
            if glow is None:
                raise SystemExit(f"{kind} needs --glow, a MODEL of `veilray fit dp-glow`")
            found = (GramCode if kind == "gram" else LevelsCode).fit(load_flow(glow), public, KEEP)
        else:
            found = ContentCode.fit(public, 8, kind, KEEP)
        save_code(found, folder)
    kept = load_code(folder)
    rows: dict[str, Any] = {
        part: kept.encode(prepared.sets[f"{part}_images"]) for part in ("public", "private", "test")
    }
    np.savez(folder.with_suffix(".npz"), **rows)


def keeps(
    prepared: Prepared, kinds: Sequence[str], classes: int
) -> dict[str, dict[str, dict[str, list[float | None]]]]:
    """The k of each code, mechanism and epsilon, by rehearsal on the public images; never the private ones."""
    chosen: Keeps = {}
    for kind in kinds:
        found = prepared.nested(kind)
        public = prepared.rows(kind)["public"]
        features = found.features(prepared.sets["public_images"]) if isinstance(found, ContentCode) else public
        tasks = pseudo_tasks(features, classes)
        chosen[kind] = {}
        decays = DECAYS if kind.endswith(DECAYED) else (None,)
        for mechanism in MECHANISMS if kind == "invariant" else ("directional",):
            chosen[kind][mechanism] = {}
            for epsilon in EPSILONS:
                possible = [
                    keep
                    for keep in KEEPS
                    if keep <= found.dimension and _possible(mechanism, epsilon, found.first(keep))
                ]
                best = choose_keep(public, tasks, _calibration(mechanism, epsilon, found), possible, decays=decays)
                chosen[kind][mechanism][epsilon] = [best.keep, best.decay]
                scores = " ".join(f"{keep}:{score:.3f}" for keep, score in best.scores.items())
                print(kind, mechanism, epsilon, best.keep, best.decay, "scores", scores, flush=True)
    return chosen


def _calibration(mechanism: str, epsilon: str, found: ContentCode | LatentCode) -> Callable[[int], Mechanism]:
    return lambda keep: mechanism_for(mechanism, epsilon, found.first(keep))


def _possible(mechanism: str, epsilon: str, found: ContentCode | LatentCode) -> bool:
    try:
        mechanism_for(mechanism, epsilon, found)
    except ValueError:
        return False
    return True


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and prepare one data set."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", help="of the prepared data set")
    parser.add_argument("--sets", type=Path, required=True, help="folder written by studies/datasets.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--glow", type=Path, help="MODEL of `veilray fit dp-glow`, for gram and levels")
    parser.add_argument("--codes", default="invariant,invariant-decayed,pixels,vae,gram,levels")
    parser.add_argument("--one-a-patient", action="store_true", help="release the first image of each patient only")
    options = parser.parse_args(arguments)
    folder = options.out / options.name
    (folder / "codes").mkdir(parents=True, exist_ok=True)
    if not (folder / "sets.npz").exists():
        sets(options.sets, options.size, folder, options.one_a_patient)
    prepared = Prepared(folder)
    kinds = options.codes.split(",")
    for kind in kinds:
        code(prepared, kind.removesuffix(DECAYED), options.glow)
    known = json.loads((folder / "keep.json").read_text()) if (folder / "keep.json").exists() else {}
    missing = [kind for kind in kinds if kind not in known]
    known |= keeps(prepared, missing, options.classes)
    (folder / "keep.json").write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    main()
