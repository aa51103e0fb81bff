"""From folders to the game: an obfuscated set, its record and the originals, as the owner's own evaluation has them.

The owner plays the attacker here, and is the only one who can: originals and RECORD never leave the house.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from veilray.cloud import read_handed
from veilray.evaluation.attacks.intensity.base import Images, KnownPairs, ObfuscatedSet, Setting, View
from veilray.images import Collection, Geometry, ImageRef, Unreadable
from veilray.methods.obfuscation import Key, Obfuscation
from veilray.releases.log import ImageLog, ReleaseLog

__all__ = ["Attacked", "open_attacked"]

_SAME_KEY = 8
"""Pictures that the attacker obfuscates under one key of its own before it takes another."""


@dataclass(frozen=True, eq=False)
class Attacked:
    """The game, with the file name in OBFUSCATED of each target."""

    target: ObfuscatedSet
    names: tuple[str, ...]


def open_attacked(
    obfuscated: Path,
    record: Path,
    images: Collection,
    own: Collection,
    rng: np.random.Generator,
    *,
    setting: Setting,
    known_pairs: int = 0,
    pictures: int = 100,
    own_pictures: int = 1000,
    model: Obfuscation | None = None,
    key: Key | None = None,
) -> Attacked:
    """Draw targets and known pairs, and read everything.

    Args:
        obfuscated: OBFUSCATED, written by `veilray obfuscate`.
        record: its RECORD.
        images: the originals, opened as they were for `veilray obfuscate`.
        own: the attacker's own pictures.
        rng: which targets, pairs and own pictures are taken.
        setting: `same-key` takes the known pairs from RECORD; the others make them of `own` under fresh keys.
        known_pairs: how many; they are no targets.
        pictures, own_pictures: most targets and own pictures.
        model: public; needed for pairs of the attacker's own, and with `key` for chosen plaintext.

    Raises:
        ValueError: where the folders do not belong together, or too few pictures are left.
    """
    told = read_handed(obfuscated)
    geometry = Geometry(told.geometry.size, told.geometry.channels)
    if key is not None and key.identifier != told.key:
        raise ValueError(f"KEY must be the one of {obfuscated}, {told.key}, got {key.identifier}")
    pairs = _pairs_of(record, images)
    if model is not None and model.card.weights_sha256 != ReleaseLog(record).job().get("model_sha256"):
        raise ValueError(f"MODEL must be the one of {obfuscated}, got another: its hash is in RECORD")
    order = _by_map([pairs[number] for number in rng.permutation(len(pairs))])
    same_key = known_pairs if setting == "same-key" else 0
    given, targets = order[:same_key], order[same_key : same_key + pictures]
    if not targets:
        raise ValueError(f"known pairs must leave a target, got {known_pairs} of {len(pairs)} pictures")
    with Collection.open(obfuscated) as released:
        at = {ref.source: ref for ref in released.refs}
        absent = [pair.released for pair in given + targets if pair.released not in at]
        if absent:
            raise ValueError(f"RECORD must be the one of {obfuscated}, got one of {absent[0]}, which is not in it")
        seen = _read(released, [at[pair.released] for pair in given + targets], geometry)
    sources = [pair.original for pair in given + targets]
    truth, labels = _read(images, sources, geometry), _labels(sources)
    rows = np.sort(rng.permutation(len(own))[:own_pictures])
    own_refs = [own.refs[row] for row in rows]
    kept = _read(own, own_refs, geometry)
    known = None
    if same_key:
        known = KnownPairs(truth[:same_key], seen[:same_key], None if labels is None else labels[:same_key])
    elif known_pairs and model is not None:
        known = _own_pairs(kept[:known_pairs], _labels(own_refs), model)
    maps = np.array([pair.map for pair in targets])
    view = View(
        own=kept,
        obfuscated=seen[same_key:],
        setting=setting,
        maps=maps if maps.any() else None,
        pairs=known,
        obfuscate=None if model is None or key is None else _machine(model, key),
        own_attributes=_labels(own_refs),
    )
    patients = [ref.patient for ref in sources[same_key:]]
    target = ObfuscatedSet(
        view,
        truth[same_key:],
        patients=None if None in patients else np.array(patients),
        attributes=None if labels is None else labels[same_key:],
    )
    return Attacked(target, tuple(Path(pair.released).name for pair in targets))


@dataclass(frozen=True)
class _Pair:
    """An original, the path of its obfuscated picture, and the number of the map between them; 0 if there is one."""

    original: ImageRef
    released: str
    map: int


def _by_map(pairs: Sequence[_Pair]) -> list[_Pair]:
    """Pictures of one map together, maps in the order in which they first come."""
    rank = {number: place for place, number in enumerate(dict.fromkeys(pair.map for pair in pairs))}
    return sorted(pairs, key=lambda pair: rank[pair.map])


def _pairs_of(record: Path, images: Collection) -> list[_Pair]:
    """What RECORD tells. Who shares a map is nowhere in OBFUSCATED; the attacker is given it all the same."""
    by_source = {(ref.source, ref.frame): ref for ref in images.refs}
    try:
        with closing(ImageLog.open(record)) as opened:
            rows = list(opened.pairs())
            positions = {file.path: file.position for file in opened.committed()}
            shared = _shared_by(opened.job(), opened.counts()[1])
    except (sqlite3.DatabaseError, json.JSONDecodeError, KeyError, TypeError):
        raise ValueError(f"RECORD must be whole, got {record}: truncated or altered") from None
    missing = [row["source"] for row in rows if (row["source"], row["frame"]) not in by_source]
    if missing or not rows:
        raise ValueError(
            f"IMAGES must hold the {len(rows)} originals of RECORD, got {len(missing)} fewer: "
            "is it the RECORD of these IMAGES?"
        )
    return [
        _Pair(by_source[row["source"], row["frame"]], row["released"], positions[row["released"]] // shared)
        for row in rows
    ]


def _shared_by(job: dict[str, Any], pictures: int) -> int:
    """How many pictures in a row share a map."""
    if job.get("kind") != "obfuscation":
        raise ValueError(f"RECORD must be written by `veilray obfuscate`, got one of {job.get('kind', 'a release')}")
    maps = job["recipe"]["maps"]
    if job["recipe"]["order"] == "no-map" or maps["scope"] == "key":
        return pictures
    return int(maps["batch"]) if maps["scope"] == "batch" else 1


def _read(collection: Collection, refs: Sequence[ImageRef], geometry: Geometry) -> Images:
    pictures = []
    for ref in refs:
        try:
            pictures.append(collection.read(ref, geometry))
        except Unreadable as error:
            raise ValueError(f"{ref.source} must be a whole picture, got: {error}") from None
    return np.stack(pictures).astype(np.uint8)


def _labels(refs: Sequence[ImageRef]) -> Any:
    """The labels as an array; None where one is missing."""
    labels = [ref.label for ref in refs]
    return None if None in labels else np.array(labels)


def _own_pairs(own: Images, labels: Any, model: Obfuscation) -> KnownPairs:
    """The attacker's own pictures under keys that it makes itself: the method is public."""
    parts = [model.obfuscate(own[first : first + _SAME_KEY], Key.fresh()) for first in range(0, len(own), _SAME_KEY)]
    return KnownPairs(own, np.concatenate(parts), None if labels is None else labels[: len(own)])


def _machine(model: Obfuscation, key: Key) -> Callable[[Images], Images]:
    return lambda asked: model.obfuscate(asked, key)
