"""What fitting any method begins with: a new MODEL folder, public images, a tenth of the patients held out."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from numpy.typing import NDArray

from veilray.flows import FlowTraining
from veilray.images import Collection, Geometry, IntensityRule, hash_fraction
from veilray.releases.declared import facts_of
from veilray.releases.training_record import TrainingRecord

__all__ = [
    "PublicCollection",
    "PublicImages",
    "check_model_folder",
    "ema_decay",
    "fitted_to",
    "public_images",
    "public_levels",
    "training_schedule",
]

_VALIDATION_SHARE = 0.1
_BEGUN = ("checkpoint", "code.json")
"""What an interrupted fit leaves behind to continue from."""
_SCRATCH = ".training-"


PublicCollection: TypeAlias = Collection | Callable[[], Collection]
"""Scanned images, or what opens and scans them: that may take long, and is called once all options are known to fit."""


@dataclass(frozen=True)
class PublicImages:
    """Images `(n, c, h, w)` to train on and to validate with, of different patients, and what is known of each.

    `record` holds keyed hashes of them all, for the owner's side: `fit` leaves it before it writes the model card.
    `geometry_rule` and `intensity` say how they were brought to the model, for that card.
    """

    training: NDArray[Any]
    validation: NDArray[Any]
    patients: int | None
    levels_of: dict[str, tuple[str, ...]]
    record: TrainingRecord
    geometry_rule: str
    intensity: IntensityRule
    training_facts: list[dict[str, str]] = field(default_factory=list)
    validation_facts: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def public_images(given: PublicCollection, geometry: Geometry, folder: Path, *, resume: bool) -> Iterator[PublicImages]:
    """Read the images into memory maps inside a MODEL folder that must be new, and take them away afterwards.

    Plain pixels must not stay in a folder that is handed on. So the files lose their names as soon as they are mapped,
    and what a fit that was killed while reading left behind goes when it is resumed.

    Raises:
        ValueError: for a folder that holds a model or something else, fewer than 10 images, or a single patient.
    """
    found = check_model_folder(folder, resume=resume)
    collection = given if isinstance(given, Collection) else given()
    if len(collection.refs) < 10:
        raise ValueError(f"IMAGES must hold at least 10 images to train on, got {len(collection.refs)}")
    if not collection.scanned:
        collection.scan()
    kept, held_out = _hold_out(collection)
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left)
    scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=folder))
    try:
        training, validation = (
            _mapped(part, geometry, scratch / name) for part, name in ((kept, "training"), (held_out, "validation"))
        )
        if os.name == "posix":  # elsewhere a mapped file cannot be removed
            shutil.rmtree(scratch)
        patients = None if collection.unidentified else len(kept.patients())
        yield PublicImages(
            training,
            validation,
            patients,
            public_levels(collection),
            TrainingRecord.of(collection.contents, collection.patients()),
            collection.geometry_rule,
            collection.reading.intensity,
            facts_of(kept.refs),
            facts_of(held_out.refs),
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if not found and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def check_model_folder(folder: Path, *, resume: bool) -> bool:
    """Whether the folder is there. Raises ValueError for one that holds anything but what may be continued."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise ValueError(f"MODEL must be a new folder, got the file {folder}")
    if (folder / "model.json").exists():
        raise ValueError(f"MODEL must be a new folder, got {folder}, which holds a finished model")
    inside = {path.name for path in folder.iterdir()}
    if inside and not resume:
        raise ValueError(f"MODEL must be a new folder, got {folder}: continue it with --resume or name another")
    if not inside.intersection(_BEGUN) and any(not name.startswith(_SCRATCH) for name in inside):
        raise ValueError(f"MODEL must be a new folder or one of an interrupted fit, got {folder}: name another")
    return True


def training_schedule(
    *, epochs: int, batch_size: int, learning_rate: float, seed: int, max_minutes: float | None
) -> FlowTraining:
    """How the network is trained, checked before an image is read. Raises ValueError for what cannot train."""
    return FlowTraining(
        epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed, max_minutes=max_minutes
    )


def fitted_to(schedule: FlowTraining, count: int) -> FlowTraining:
    """The schedule for `count` training images: no batch is larger, and the average is over the end of the steps."""
    decay = ema_decay(schedule.epochs * count // schedule.batch_size)
    return replace(schedule, batch_size=min(schedule.batch_size, count), ema_decay=decay)


def ema_decay(steps: int) -> float:
    """Average the weights over about the last twentieth of the steps, at least 100 and at most 1,000 of them."""
    return 1 - 1 / min(1000, max(100, steps // 20))


def public_levels(collection: Collection) -> dict[str, tuple[str, ...]]:
    """The levels of each condition that the training images show: public ones, usable for randomisation."""
    levels: dict[str, set[str]] = {}
    for ref in collection.refs:
        for name, value in [("label", ref.label), *ref.conditions.items()]:
            if value is not None:
                levels.setdefault(name, set()).add(value)
    return {name: tuple(sorted(values)) for name, values in levels.items() if 2 <= len(values) <= 256}


def _hold_out(collection: Collection) -> tuple[Collection, Collection]:
    """Training and validation images: the tenth of the patients whose hashes come first is held out."""
    groups = sorted({ref.group for ref in collection.refs}, key=lambda key: hash_fraction(key, "veilray-validation:"))
    chosen = set(groups[: max(1, round(_VALIDATION_SHARE * len(groups)))])
    if len(chosen) == len(groups):
        raise ValueError(f"IMAGES must hold at least two patients, so that one can be held out, got {len(groups)}")
    return collection.subset(lambda ref: ref.group not in chosen), collection.subset(lambda ref: ref.group in chosen)


def _mapped(collection: Collection, geometry: Geometry, folder: Path) -> NDArray[Any]:
    folder.mkdir(parents=True, exist_ok=True)
    return collection.to_memmap(geometry, folder)
