"""From folders to the game: an obfuscated set, its record and the originals, as the owner's own evaluation has them.

The owner plays the attacker here, and is the only one who can: originals and RECORD never leave the house.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from veilray.evaluation.attacks.intensity.base import Images, KnownPairs, ObfuscatedSet, Setting, View
from veilray.flows.durable import read_json
from veilray.images import Collection, Geometry, ImageRef
from veilray.methods.obfuscation import Key, Obfuscation
from veilray.methods.obfuscation.handover import OBFUSCATED_JSON
from veilray.methods.record import Record

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
    told = read_json(obfuscated / OBFUSCATED_JSON, OBFUSCATED_JSON)
    shape = told["geometry"]
    geometry = Geometry(shape["size"], shape["channels"])
    if model is not None and model.card.weights_sha256 != told["model_sha256"]:
        raise ValueError(f"MODEL must be the one of {obfuscated}, got another: its hash is in {OBFUSCATED_JSON}")
    pairs = _pairs_of(record, images)
    order = [pairs[number] for number in rng.permutation(len(pairs))]
    same_key = known_pairs if setting == "same-key" else 0
    given, targets = order[:same_key], order[same_key : same_key + pictures]
    if not targets:
        raise ValueError(f"known pairs must leave a target, got {known_pairs} of {len(pairs)} pictures")
    with Collection.open(obfuscated) as released:
        at = {ref.source: ref for ref in released.refs}
        absent = [name for _, name in given + targets if name not in at]
        if absent:
            raise ValueError(f"RECORD must be the one of {obfuscated}, got one of {absent[0]}, which is not in it")
        seen = _read(released, [at[name] for _, name in given + targets], geometry)
    sources = [ref for ref, _ in given + targets]
    truth, labels = _read(images, sources, geometry), _labels(sources)
    rows = np.sort(rng.permutation(len(own))[:own_pictures])
    own_refs = [own.refs[row] for row in rows]
    kept = _read(own, own_refs, geometry)
    known = None
    if same_key:
        known = KnownPairs(truth[:same_key], seen[:same_key], None if labels is None else labels[:same_key])
    elif known_pairs and model is not None:
        known = _own_pairs(kept[:known_pairs], _labels(own_refs), model)
    one_map = told["map"] is None or told["map"]["scope"] == "key"
    view = View(
        own=kept,
        obfuscated=seen[same_key:],
        setting=setting,
        maps=None if one_map else np.arange(len(targets)),  # which pictures share a batch's map is not told
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
    return Attacked(target, tuple(Path(name).name for _, name in targets))


def _pairs_of(record: Path, images: Collection) -> list[tuple[ImageRef, str]]:
    """Each original beside the path of its obfuscated picture."""
    by_source = {(ref.source, ref.frame): ref for ref in images.refs}
    opened = Record.open(record)
    try:
        rows = list(opened.pairs())
    finally:
        opened.close()
    missing = [row["source"] for row in rows if (row["source"], row["frame"]) not in by_source]
    if missing or not rows:
        raise ValueError(
            f"IMAGES must hold the {len(rows)} originals of RECORD, got {len(missing)} fewer: "
            "is it the RECORD of these IMAGES?"
        )
    return [(by_source[row["source"], row["frame"]], row["released"]) for row in rows]


def _read(collection: Collection, refs: Sequence[ImageRef], geometry: Geometry) -> Images:
    return np.stack([collection.read(ref, geometry) for ref in refs]).astype(np.uint8)


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
