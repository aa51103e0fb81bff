"""What a network was trained on: the statement that travels, the hashes that stay, and the rule that a release obeys.

A claim "whatever the image was" is true of a network that has not seen the image. Training is deterministic, so a
network, and even the hash of its weights, can tell whether one grey level of a training image was another. Therefore:

* every model states what it was trained on, twice: on its card and beside its weights; the two are compared at loading;
* `fit` leaves keyed hashes of its records on the owner's side, beside the ledger, never in MODEL, which travels;
* `release` refuses a network that may have been trained on the records to be released, by its statement or by those
  hashes, unless that is asked for; then the headline of the card says so.

The hashes are HMAC-SHA-256 (RFC 2104) under a random key that lies beside them, in a file of mode 0600: as safe as the
ledger, no safer. They find records that are equal, not records that look alike.

The comparison looks at the records before anything is drawn, and a refusal is seen by the owner alone. An owner who
tells others of it tells them something that no claim covers.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veilray.durable import read_json
from veilray.errors import Refused
from veilray.ledger import default_ledger
from veilray.privacy import ModelTraining, SystemEntropy
from veilray.text import patient_key

__all__ = [
    "TRAINING_DATA",
    "Overlap",
    "TrainingRecord",
    "check_statement",
    "find_training_record",
    "released_training",
    "training_beside",
    "training_statement",
    "why_refused",
]

TRAINING_DATA = ("public", "other patients", "other records", "not covered")
"""What `fit` may be told. `other records`: of the same collection, where nothing says whose they are."""

_UNSTATED = "not stated"
_FORMAT = "veilray-training-record"
_FOLDER = "training"
_CURE = "fit one on public records or those of other patients, or give --allow-trained-on-released"


def training_statement(training_data: str, statement: str) -> ModelTraining:
    """What the card says of the training records.

    Raises:
        ValueError: for an unknown kind, or a kind that opens the gate without a word on where the records come from.
    """
    if training_data not in TRAINING_DATA:
        raise ValueError(f"training data must be one of {', '.join(TRAINING_DATA)}, got {training_data!r}")
    statement = statement.strip()
    if training_data != "not covered" and statement in ("", _UNSTATED):
        raise ValueError(
            f"statement must say in a sentence where the {training_data} training records come from, got none: "
            "it stands on the card of every release (--statement)"
        )
    return ModelTraining(data=training_data, statement=statement or _UNSTATED)  # type: ignore[arg-type]  # checked


def training_beside(training: ModelTraining) -> dict[str, str]:
    """The statement as it is stored beside the weights."""
    told = {"training_data": training.data, "statement": training.statement}
    amounts = {"training_epsilon": training.epsilon, "training_delta": training.delta}
    return told | {name: str(value) for name, value in amounts.items() if value is not None}


def check_statement(folder: Path, training: ModelTraining, beside: Mapping[str, Any]) -> None:
    """Compare the model card's statement with the one beside the weights: an edited card must not open the gate.

    Raises:
        ValueError: where they differ, or nothing stands beside the weights.
    """
    told = training_beside(training)
    if {name: beside.get(name) for name in told} != told:
        raise ValueError(
            f"the training statement of {folder / 'model.json'} must be the one beside the weights, got another: "
            "copy the model again, or fit it anew"
        )


@dataclass(frozen=True)
class Overlap:
    """How much of a release is among the records of a training: equal records, and patients with the same key."""

    records: tuple[int, ...]
    patients: int

    def __bool__(self) -> bool:
        return bool(self.records or self.patients)


@dataclass(frozen=True)
class TrainingRecord:
    """Keyed hashes of the records and patients that a model was fitted on.

    Attributes:
        key: of the HMAC, 32 random bytes.
        records: hashes of the records' contents.
        patients: hashes of the keys of their patients.
        chance: share of other people's records that equal one of these all the same: 0 for pictures; rows of a table
            with few levels are equal all the time.
    """

    key: bytes
    records: frozenset[str]
    patients: frozenset[str]
    chance: float = 0.0

    @classmethod
    def of(cls, records: Iterable[bytes], patients: Iterable[str], chance: float = 0.0) -> TrainingRecord:
        """The hashes of all that a fit was given, held out or not: contents of records, and keys of patients."""
        key = SystemEntropy().bytes(32)
        return cls(
            key,
            frozenset(_keyed(key, content) for content in records),
            frozenset(_keyed_patients(key, patients)),
            chance,
        )

    def write(self, weights_sha256: str) -> Path:
        """Leave the hashes on the owner's side, beside the ledger, in a file of mode 0600; durable at return."""
        path = _place(weights_sha256)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        told = {
            "format": _FORMAT,
            "version": 1,
            "key": self.key.hex(),
            "chance": self.chance,
            "records": sorted(self.records),
            "patients": sorted(self.patients),
        }
        part = path.with_suffix(f".{os.getpid()}.part")
        with os.fdopen(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            json.dump(told, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        return path

    def overlap(self, records: Sequence[bytes], patients: Iterable[str] = ()) -> Overlap:
        """The records that are equal to one of the training, by place, and how many patients are the same.

        Equal records count where there are more than chance brings, by five standard deviations.
        """
        equal = tuple(place for place, content in enumerate(records) if _keyed(self.key, content) in self.records)
        expected = self.chance * len(records)
        by_chance = expected + 5 * math.sqrt(expected * (1 - self.chance)) if self.chance else 0.0
        shared = len(_keyed_patients(self.key, patients) & self.patients)
        return Overlap(equal if len(equal) > by_chance else (), shared)


def find_training_record(weights_sha256: str) -> TrainingRecord | None:
    """The hashes that the fit of these weights left beside the ledger; None where it was fitted on another machine.

    Raises:
        ValueError: for a file that is damaged: whether records overlap is not known then.
    """
    path = _place(weights_sha256)
    return _read(path) if path.is_file() else None


def why_refused(training: ModelTraining, overlap: Overlap | None, record: str = "image") -> str | None:
    """Why a release by a network of this training is refused, with the cure; None where it is not.

    Args:
        overlap: with the records to be released; None where nobody knows it on this machine.
        record: what a record is called.
    """
    if training.data == "not covered" or training.statement == _UNSTATED:
        kind = training.data if training.data == "not covered" else f"{training.data}: {training.statement}"
        return (
            "a released model must state that it was trained on public records, on those of other patients, or with "
            f"differential privacy, got training data {kind!r}: {_CURE}"
        )
    if overlap:
        return (
            f"the released {record}s must not be among the records that the model was trained on, got "
            f"{_counted(overlap, record)}: leave them out (`veilray check` lists them), {_CURE}"
        )
    return None


def released_training(
    training: ModelTraining, overlap: Overlap | None, *, allowed: bool, record: str = "image"
) -> ModelTraining:
    """What the claim says of the training records; one rule for all methods.

    Args:
        overlap, record: see `why_refused`.
        allowed: a network that may know the released records is asked for; then the claim says "not covered".

    Raises:
        Refused: for a network that may know the records, unless that is allowed.
    """
    why = why_refused(training, overlap, record)
    if why is None:
        return training
    if not allowed:
        raise Refused(why)
    also = "; released records are among them" if overlap else ""
    return ModelTraining(data="not covered", statement=f"{training.statement}{also}")


def _counted(overlap: Overlap, record: str) -> str:
    parts = []
    if overlap.records:
        parts.append(f"{len(overlap.records):,} {record}{'' if len(overlap.records) == 1 else 's'}")
    if overlap.patients:
        parts.append(f"{overlap.patients:,} patient{'' if overlap.patients == 1 else 's'}")
    return " and ".join(parts)


def _place(weights_sha256: str) -> Path:
    return default_ledger().parent / _FOLDER / f"{weights_sha256}.json"


def _keyed_patients(key: bytes, patients: Iterable[str]) -> set[str]:
    names = {patient_key(patient) for patient in patients}
    return {_keyed(key, name.encode()) for name in names if name is not None}


def _keyed(key: bytes, content: bytes) -> str:
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def _read(path: Path) -> TrainingRecord:
    told = read_json(path, "the training record")
    try:
        if told["format"] != _FORMAT or told["version"] != 1:
            raise ValueError("another format")
        return TrainingRecord(
            bytes.fromhex(told["key"]), frozenset(told["records"]), frozenset(told["patients"]), float(told["chance"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} must be a training record of veilray, got: {error}: fit the model anew") from None
