"""Everything about a release that is fixed before anything is drawn, for pictures and for rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from veilray.images import Quarantined
from veilray.privacy import Entropy, Guarantee, Mechanism, Releases
from veilray.privacy.guarantee import RecordKind
from veilray.releases.conditions import ConditionRule
from veilray.releases.log import ReleaseLog
from veilray.releases.model import Model, ModelCard, Progress
from veilray.releases.staging import Describe, Origin
from veilray.releases.training_record import Overlap, find_training_record, released_training
from veilray.tables import RefusedRow
from veilray.text import patient_key

__all__ = ["Outcome", "Plan", "ReleaseWriter", "check_decode_under", "completed_claim", "overlap_with"]

Source = TypeVar("Source")
Refusal = Quarantined | RefusedRow


@dataclass(frozen=True)
class Plan(Generic[Source]):
    """Everything about a release that is fixed before anything is drawn.

    Attributes:
        source: the records to be released: a scanned `Collection`, or `Records`.
        refused: what was left out, for the owner.
        guarantee: complete: what the card will say.
        records_of: how many records of each patient are released; `unidentified` counts those without a key.
        writer: what stages records of this kind.
        job: what a resumed run must be asked for again.
        describe: writes further files of the release.
        decode_under: conditions that every record is decoded under, whatever its own: fixed before any record is seen,
            so they cost nothing.
    """

    source: Source
    refused: tuple[Refusal, ...]
    model: Model
    mechanism: Mechanism
    rules: tuple[ConditionRule, ...]
    guarantee: Guarantee
    records_of: Mapping[str, int]
    unidentified: int
    writer: ReleaseWriter[Source]
    job: Mapping[str, Any] = field(default_factory=dict)
    describe: Describe | None = None
    decode_under: Mapping[str, str] = field(default_factory=dict)

    @property
    def leaving(self) -> list[str]:
        """The conditions that leave. The encoder is told their true values; one withheld is withheld from it too, so
        that the latent, and with it the release, still holds what it would have explained."""
        return [rule.name for rule in self.rules if rule.policy.policy != "withheld"]


@dataclass(frozen=True)
class Outcome:
    """A finished release, or with `out` None the plan of one: the claim, how many records, what was left out."""

    guarantee: Guarantee
    count: int
    refused: tuple[Refusal, ...]
    out: Path | None = None
    record: Path | None = None


class ReleaseWriter(ABC, Generic[Source]):
    """Puts the records of one kind into the staging folder, and says what leaves. All else is shared: `lifecycle`."""

    def check(self, plan: Plan[Source]) -> None:
        """Refuse a plan that this writer could not finish, before anything is reserved. Raises ValueError."""

    @abstractmethod
    def asked(self, plan: Plan[Source]) -> dict[str, Any]:
        """What identifies the records and how they are written, as JSON types: a resumed run must have the same."""

    @abstractmethod
    def new_log(self, folder: Path) -> ReleaseLog:
        """A new, empty log. Raises ValueError where the folder holds something."""

    @abstractmethod
    def open_log(self, folder: Path) -> ReleaseLog:
        """The log of a release that was begun. Raises ValueError where there is none."""

    def arrange(self, plan: Plan[Source], log: Any, entropy: Entropy) -> None:
        """Write down, before the reservation, in which order records will leave, where that is kept for resuming."""

    @abstractmethod
    def stage(
        self,
        plan: Plan[Source],
        out: Path,
        log: Any,
        entropy: Entropy,
        origin: Origin,
        progress: Progress | None,
    ) -> str:
        """Draw what is not staged yet, make everything durable; return the SHA-256 of release.json."""


def check_decode_under(model: Model, decode_under: Mapping[str, str]) -> None:
    """Conditions to decode under must be ones that the model was shown. Raises ValueError otherwise."""
    for name, value in decode_under.items():
        if model.conditions is None:
            raise ValueError(f"decode under must go with a conditional model, got it with method {model.name}")
        allowed = model.conditions[name].allowed
        if not model.conditions[name].allows(value):
            raise ValueError(f"{name} to decode under must be {allowed}, got {value!r}")


def overlap_with(card: ModelCard, contents: Sequence[bytes], patients: Iterable[str]) -> Overlap | None:
    """Which records are among those that a model was fitted on; None where nobody on this machine knows.

    Patients are compared where the model says that its own were others: elsewhere equal keys say nothing.

    Args:
        contents: a hash of each record. patients: the keys of their patients.
    """
    record = find_training_record(card.weights_sha256)
    if record is None:
        return None
    return record.overlap(contents, patients if card.training.data == "other patients" else ())


def completed_claim(
    model: Model,
    mechanism: Mechanism,
    rules: Sequence[ConditionRule],
    patients: Sequence[str | None],
    overlap: Overlap | None,
    *,
    record: RecordKind,
    allow_trained_on_released: bool,
    in_clear: tuple[str, ...],
    images_per_patient: int | None = None,
) -> tuple[Guarantee, dict[str, int], int]:
    """The mechanism's claim with what the release adds to it; how many records each patient has; how many have none.

    Args:
        patients: the key of each record's patient, as its source has it.
        overlap: with the records that the model was fitted on.

    Raises:
        Refused: for a network that may know the records.
    """
    training = released_training(model.card.training, overlap, allowed=allow_trained_on_released, record=record)
    counted = Counter(map(patient_key, patients))
    unidentified = counted.pop(None, 0)
    records_of = {patient: count for patient, count in counted.items() if patient is not None}
    known = bool(records_of) and not unidentified
    guarantee = mechanism.guarantee(model.dimension).with_release(
        releases=Releases(
            images=len(patients),
            patients=len(records_of) if known else None,
            largest_patient=max(records_of.values()) if known else None,
            images_per_patient=images_per_patient,
        ),
        conditions={rule.name: rule.policy for rule in rules},
        model_training=training,
        in_clear=in_clear,
        record=record,
    )
    return guarantee, records_of, unidentified
