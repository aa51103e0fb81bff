"""The owner's side: pictures in, OBFUSCATED and RECORD out. Nothing stands at OBFUSCATED until it is complete.

Unlike a release it is charged to no ledger, since nothing is claimed, and an interrupted run is not continued but
begun anew: empirical, no formal guarantee.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from veilray.cloud.labels import plain_label
from veilray.images import Collection, ImageRef, Quarantined
from veilray.methods.obfuscation.handover import Handover, spooled
from veilray.methods.obfuscation.keys import Key
from veilray.methods.obfuscation.method import Obfuscation
from veilray.places import check_apart
from veilray.privacy import SystemEntropy
from veilray.privacy.guarantee import EMPIRICAL
from veilray.releases.log import ImageLog, StagedFile
from veilray.releases.model import Progress

__all__ = ["LabelPolicy", "Obfuscated", "nonce_of", "obfuscate_folder"]

LabelPolicy = Literal["public", "withheld"]
_MOST, _PIXELS = 1024, 2**22
"""Pictures, and pixels, in memory at a time."""


@dataclass(frozen=True)
class Obfuscated:
    """What was made: where, of how many images, with which labels in clear, and what was refused."""

    out: Path
    record: Path
    images: int
    labels: tuple[str, ...]
    quarantine: tuple[Quarantined, ...]
    claim: str = EMPIRICAL


def obfuscate_folder(
    collection: Collection,
    model: Obfuscation,
    key: Key,
    out: Path,
    record_folder: Path,
    *,
    label_policy: LabelPolicy = "public",
    on_progress: Progress | None = None,
) -> Obfuscated:
    """Obfuscate every image of a scanned collection.

    Args:
        out: OBFUSCATED, a new folder.
        record_folder: RECORD, a new folder of mode 0700 outside it: pairs, quarantine, and what a map was drawn from.
        label_policy: `public` writes labels.csv, in clear; `withheld` writes none, for pictures sent for inference.

    Raises:
        ValueError: where a folder exists or lies in the other, RECORD lies in any OBFUSCATED, the policy is unknown,
            labels are incomplete or not plain, or nothing could be read.
    """
    _check(collection, out, record_folder, label_policy)
    entropy = SystemEntropy()
    identifier = entropy.bytes(16).hex()
    record = ImageLog.create(record_folder)
    try:
        with record.locked(), spooled(out) as handover:
            order = entropy.permutation(len(collection.refs))
            names = [entropy.bytes(16).hex() for _ in order]
            refs = collection.refs
            plan = ((position, refs[image], names[position]) for position, image in enumerate(order))
            record.plan(plan, collection.quarantine)
            record.write_job({**_job(model, key, out, identifier, label_policy), "reading": collection.reading.asked()})
            settle: Callable[[], None] = _nothing
            batch = max(1, min(_MOST, _PIXELS // model.geometry.dimension))
            for start in range(0, len(order), batch):
                # By name: where a file stands on the disk does not tell which pictures share a map.
                rows = sorted(range(start, min(start + batch, len(order))), key=names.__getitem__)
                taken, images = _read(collection, record, model, {row: refs[order[row]] for row in rows})
                nonces = [nonce_of(model, identifier, row, names[row]) for row in taken]
                obfuscated = model.obfuscate(images, key, nonces)
                settle()  # the pictures before these were written meanwhile
                placed = handover.place([names[row] for row in taken], obfuscated)
                labels = [refs[order[row]].label if label_policy == "public" else None for row in taken]
                settle = partial(_settle, handover, record, placed, taken, labels)
                if on_progress:
                    on_progress(start + len(rows), len(order))
            settle()
            if not handover.files:
                raise ValueError("IMAGES must hold at least one readable image, got none after the scan")
            record.export()
            done, _ = record.counts()
            told = tuple(sorted(set(handover.labels.values())))
            handover.finish(model, key)
        return Obfuscated(out, record.folder, done, told, tuple(record.quarantined()))
    except BaseException:
        record.close()
        if not os.path.lexists(out):
            record.discard()  # what it tells of was taken away
        raise
    finally:
        record.close()


def nonce_of(model: Obfuscation, identifier: str, position: int, name: str) -> bytes:
    """What a picture's map was drawn from beside key and model; all of it stands in RECORD.

    Args:
        identifier: of the run, from RECORD's job.
        position, name: of the picture in it. The name is random and public, which takes nothing from the map: without
            the key nobody can go from one to the other.
    """
    maps = model.recipe.maps
    if maps.scope == "image":
        return bytes.fromhex(name)
    return b"" if maps.scope == "key" else bytes.fromhex(identifier) + b"/%d" % (position // maps.batch)


def _check(collection: Collection, out: Path, record: Path, label_policy: str) -> None:
    if label_policy not in get_args(LabelPolicy):
        raise ValueError(f"label policy must be one of {', '.join(get_args(LabelPolicy))}, got {label_policy!r}")
    if not collection.refs:
        raise ValueError("IMAGES must hold at least one readable image, got none: see the quarantine for reasons")
    for what, folder in (("OBFUSCATED", out), ("RECORD", record)):
        if os.path.lexists(folder):
            raise ValueError(f"{what} must be a new folder, got {folder}, which exists: choose another")
    check_apart({"RECORD": record, "OBFUSCATED": out})
    if label_policy == "public":
        _check_labels([ref.label for ref in collection.refs])


def _check_labels(labels: Sequence[str | None]) -> None:
    given = [label for label in labels if label is not None]
    if given and len(given) < len(labels):
        raise ValueError(
            f"labels must be given for all images or for none, got {len(labels) - len(given)} of {len(labels)} "
            "without: complete them, or take --label-policy withheld"
        )
    for label in sorted(set(given)):
        plain_label(label)


def _job(model: Obfuscation, key: Key, out: Path, identifier: str, label_policy: str) -> dict[str, Any]:
    return {
        "kind": "obfuscation",
        "claim": EMPIRICAL,
        "identifier": identifier,
        "out": str(out),
        "key": key.identifier,
        "model_sha256": model.card.weights_sha256,
        "recipe": model.recipe.to_dict(),
        "label_policy": label_policy,
    }


def _read(
    collection: Collection, record: ImageLog, model: Obfuscation, refs: dict[int, ImageRef]
) -> tuple[list[int], NDArray[np.uint8]]:
    """Positions and pixels of what could be read; a file that has vanished since the scan goes to quarantine."""
    images = np.empty((len(refs), *model.geometry.shape), np.uint8)
    taken: list[int] = []
    for position, ref in refs.items():
        try:
            images[len(taken)] = collection.read(ref, model.geometry)
        except (OSError, ValueError):
            record.note([Quarantined(ref.source, "unreadable after the scan")])
        else:
            taken.append(position)
    return taken, images[: len(taken)]


def _settle(
    handover: Handover,
    record: ImageLog,
    placed: Callable[[], list[tuple[str, str]]],
    positions: Sequence[int],
    labels: Sequence[str | None],
) -> None:
    files = []
    for position, (path, sha256), label in zip(positions, placed(), labels, strict=True):
        if label is not None:
            handover.labels[path] = label
        files.append(StagedFile(position, path, {} if label is None else {"label": label}, sha256))
    record.commit(files)


def _nothing() -> None:
    """Nothing was placed yet."""
