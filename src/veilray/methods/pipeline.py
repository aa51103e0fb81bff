"""The main job: read -> encode -> bound -> randomise -> decode -> write, published once.

Planning looks at formats, geometry and names only and spends nothing. Running follows one order, which makes
an interrupted release safe to continue and a finished one impossible to repeat with other noise:

    reserve in the ledger -> draw -> durable in the private spool -> record the hash -> (all images) ->
    commit the release's hash in the ledger -> publish by rename

The row that a kept code's picture was made from is recorded with the hash, in the same transaction.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.errors import Refused
from veilray.images import Collection, ImageRef, Quarantined, restore
from veilray.ledger import Journal, ReleaseState
from veilray.methods.base import Method, Model, Progress, Release, ReleaseContext
from veilray.methods.conditions import ConditionRule, draw_conditions
from veilray.methods.declared import facts_of
from veilray.methods.kept import Kept
from veilray.methods.publication import ImageSpool
from veilray.methods.record import Committed, Record
from veilray.methods.spool import Describe
from veilray.methods.training_record import Overlap, find_training_record, released_training
from veilray.places import check_apart
from veilray.privacy import Entropy, Guarantee, Mechanism, Releases, SystemEntropy
from veilray.text import patient_key

__all__ = ["Outcome", "Plan", "check_same_job", "check_told", "continue_release", "plan_release", "start_release"]

_BATCH = 64
_SOURCES = {"sources_sha256": "files, cells, patients and labels", "pixels_sha256": "pixels"}
_ADDED_LATER = {"pixels_sha256"}
"""What the job of an earlier version does not hold."""


@dataclass(frozen=True)
class Plan:
    """Everything about a release that is fixed before anything is drawn.

    `guarantee` is complete: what the card will say. `job` is what a resumed run must be asked for again. `kept` is
    the public side of a method with a kept code; `describe` writes further files of the release. `decode_under` are
    facts that every picture is drawn under, whatever its own: fixed before any record is seen, so they cost nothing.
    """

    collection: Collection
    method: Method
    mechanism: Mechanism
    rules: tuple[ConditionRule, ...]
    guarantee: Guarantee
    images_of: Mapping[str, int]
    unidentified: int = 0
    keep_geometry: bool = False
    job: Mapping[str, Any] = field(default_factory=dict)
    kept: Kept | None = None
    describe: Describe | None = None
    decode_under: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """A finished release, or with `out` None the plan of one: claim, number of images, what was refused."""

    guarantee: Guarantee
    images: int
    quarantine: tuple[Quarantined, ...]
    out: Path | None = None
    record: Path | None = None

    @property
    def count(self) -> int:
        """Records released, or that would be."""
        return self.images

    @property
    def refused(self) -> tuple[Quarantined, ...]:
        """What was left out, for the owner."""
        return self.quarantine


def plan_release(
    collection: Collection,
    method: Method,
    mechanism: Mechanism,
    rules: tuple[ConditionRule, ...],
    *,
    keep_geometry: bool = False,
    job: Mapping[str, Any] | None = None,
    kept: Kept | None = None,
    describe: Describe | None = None,
    decode_under: Mapping[str, str] | None = None,
    allow_trained_on_released: bool = False,
) -> Plan:
    """Work out the whole claim of a release; spends nothing and looks at no pixel.

    The hashes that the scan took of the pixels are compared with those of the records that the model was fitted on.

    Args:
        collection: scanned beforehand, so that refused files are known before anything is drawn.
        keep_geometry: give each picture its source's rows, columns and bit depth back; listed as not covered.
        kept: `Kept.of` the method and mechanism; a release of a method with a kept code cannot start without.
        describe: writes the data set card from what release.json tells.
        decode_under: facts that the decoder is told of every picture in place of its own (a counterfactual).
        allow_trained_on_released: release by a network that may have been trained on these records; the headline of
            the claim then says so.

    Raises:
        ValueError: for zero images, a mechanism of another dimension than the model's, or facts to decode under that
            the model does not know.
        Refused: for a kept code that was not fitted on public images, or a network that may know the records.
    """
    refs = collection.refs
    if not refs:
        raise ValueError("IMAGES must hold at least one readable image, got none: see the quarantine for reasons")
    _code_may_leave(method)
    check_told(method, decode_under or {})
    training = released_training(
        method.card.training, trained_on(collection, method), allowed=allow_trained_on_released
    )
    patients = Counter(patient_key(ref.patient) for ref in refs)
    known = None not in patients
    guarantee = mechanism.guarantee(method.dimension).with_release(
        releases=Releases(
            images=len(refs),
            patients=len(patients) if known else None,
            largest_patient=max(patients.values()) if known else None,
            images_per_patient=collection.reading.images_per_patient,
        ),
        conditions={rule.name: rule.policy for rule in rules},
        model_training=training,
        in_clear=("rows, columns and bit depth of each source image, kept on request",) if keep_geometry else (),
    )
    images_of = {patient: count for patient, count in patients.items() if patient is not None}
    unidentified = patients[None]
    return Plan(
        collection,
        method,
        mechanism,
        rules,
        guarantee,
        images_of,
        unidentified,
        keep_geometry,
        dict(job or {}),
        kept,
        describe,
        dict(decode_under or {}),
    )


def trained_on(collection: Collection, method: Method) -> Overlap | None:
    """Which images of a scanned collection are among those that the model was fitted on; None where nobody knows.

    Patients are compared where the model says that its own were others: elsewhere equal keys say nothing.
    """
    record = find_training_record(method.card.weights_sha256)
    if record is None:
        return None
    others = method.card.training.data == "other patients"
    return record.overlap(collection.contents, collection.patients() if others else ())


def _code_may_leave(method: Method) -> None:
    """A kept code leaves with every release, so it must be of public images: its numbers can give a training image
    away. Raises Refused otherwise."""
    if method.kept_code is not None and method.card.training.data != "public":
        raise Refused(
            f"a kept code must be fitted on public images, got a model whose training data is "
            f"{method.card.training.data!r}: the code leaves with every release. Fit one with --training-data public"
        )


def check_told(method: Model, decode_under: Mapping[str, str]) -> None:
    """Facts to decode under must be ones that the model was shown. Raises ValueError otherwise."""
    for name, value in decode_under.items():
        if method.conditions is None:
            raise ValueError(f"decode under must go with a conditional model, got it with method {method.name}")
        allowed = method.conditions[name].allowed
        if not method.conditions[name].allows(value):
            raise ValueError(f"{name} to decode under must be {allowed}, got {value!r}")


def start_release(
    plan: Plan, out: Path, record_folder: Path, journal: Journal, progress: Progress | None = None
) -> Outcome:
    """Make a new release. Nothing stands at `out` until it is complete.

    Raises:
        ValueError: where `out` or the record exists already.
        Refused: by the ledger.
    """
    if os.path.lexists(out):
        raise ValueError(f"RELEASE must be a new folder, got {out}, which exists: choose another --out")
    _check_kept(plan)
    check_apart({"RECORD": record_folder, "RELEASE": out})
    if any(out.parent.glob(f".{glob.escape(out.name)}.*.spool")):
        raise ValueError(f"an unfinished release into {out} must be continued with --resume, got a new one")
    out.parent.mkdir(parents=True, exist_ok=True)
    entropy = SystemEntropy()
    identifier = entropy.bytes(16).hex()
    record = Record.create(record_folder)
    try:
        with record.locked():
            order = entropy.permutation(len(plan.collection.refs))
            refs = plan.collection.refs
            record.plan(
                ((position, refs[image], entropy.bytes(8).hex()) for position, image in enumerate(order)),
                plan.collection.quarantine,
            )
            record.write_job({**_asked(plan, out), "identifier": identifier})
            try:
                journal.reserve(identifier, plan.guarantee, plan.images_of, unidentified=plan.unidentified, out=out)
            except Refused:
                record.discard()  # nothing was reserved or drawn: leave no record of a release that never was
                raise
            record.note_reserved()
            return _complete(plan, identifier, out, record, journal, entropy, progress)
    finally:
        record.close()


def continue_release(
    plan: Plan, out: Path, record_folder: Path, journal: Journal, progress: Progress | None = None
) -> Outcome:
    """Bring an interrupted release to its end, under the reservation it already has.

    Images whose files were committed stay as they are; the others are drawn afresh, and nobody saw what the
    interrupted run may have drawn for them.

    Raises:
        ValueError: when the plan differs from what the record was started with.
        Refused: when a committed file is gone, or another process is at work.
    """
    _check_kept(plan)
    record = Record.open(record_folder)
    try:
        with record.locked():
            job = record.job()
            check_same_job(_asked(plan, out), job)
            identifier = str(job["identifier"])
            if not _reserved(journal, identifier, record):
                journal.reserve(identifier, plan.guarantee, plan.images_of, unidentified=plan.unidentified, out=out)
                record.note_reserved()
            return _complete(plan, identifier, out, record, journal, SystemEntropy(), progress)
    finally:
        record.close()


def _complete(
    plan: Plan,
    identifier: str,
    out: Path,
    record: Record,
    journal: Journal,
    entropy: Entropy,
    progress: Progress | None,
) -> Outcome:
    """Draw what is missing, commit, publish. Every step may have been done before."""
    if not isinstance(entropy, SystemEntropy):
        raise Refused(f"a release must draw from SystemEntropy, got {entropy!r}: seeds are for experiments")
    row = journal.release(identifier)
    spool = ImageSpool(out, identifier)
    digest = row.digest
    if row.state is ReleaseState.RESERVED:
        spool.prepare(record.committed())
        _draw_pending(plan, spool, record, entropy, progress)
        digest = spool.finish(
            identifier=identifier,
            version=version("veilray"),
            guarantee=plan.guarantee,
            card=plan.method.card,
            files=list(record.committed()),
            day=_today(),
            kept=plan.kept,
            describe=plan.describe,
            decoded_under=plan.decode_under,
        )
        journal.commit(identifier, digest)
    assert digest is not None  # a committed release always has one
    spool.publish(digest)
    journal.publish(identifier)
    record.export()
    done, _ = record.counts()
    return Outcome(plan.guarantee, done, tuple(record.quarantined()), out, record.folder)


def _draw_pending(plan: Plan, spool: ImageSpool, record: Record, entropy: Entropy, progress: Progress | None) -> None:
    pending = record.pending()
    done, total = record.counts()
    context = ReleaseContext(plan.mechanism, entropy)
    for start in range(0, len(pending), _BATCH):
        chunk = pending[start : start + _BATCH]
        refs = [plan.collection.refs[image] for _, image, _ in chunk]
        images, unread = _read(plan, refs)
        record.note(unread)
        conditions = draw_conditions(facts_of(refs), plan.rules, entropy)
        told = [{**row, **plan.decode_under} for row in conditions]
        drawn = plan.method.release(images, context, _known(plan, refs), told)
        codes = _code_rows(drawn)
        files = []
        for (position, _, name), ref, released, picture, code in zip(
            chunk, refs, conditions, drawn.pixels, codes, strict=True
        ):
            path, sha256 = spool.place(name, released, _in_geometry(plan, ref, picture))
            files.append(Committed(position, path, released, sha256, code))
        spool.settle()
        record.commit(files)
        done += len(chunk)
        if progress:
            progress(done, total)


def _read(plan: Plan, refs: Sequence[ImageRef]) -> tuple[NDArray[Any], list[Quarantined]]:
    """Pixels of the chunk, fitted to the model, and what could not be read. A file that has vanished since the scan
    becomes a blank picture: it was counted and charged, and a refusal now would tell. The owner is told, in RECORD."""
    geometry = plan.method.geometry
    images = np.zeros((len(refs), *geometry.shape), geometry.dtype)
    unread = []
    for row, ref in enumerate(refs):
        try:
            images[row] = plan.collection.read(ref, geometry)
        except (OSError, ValueError):
            unread.append(Quarantined(ref.source, "unreadable after the scan: released as if it were blank"))
    return images, unread


def _known(plan: Plan, refs: Sequence[ImageRef]) -> list[dict[str, str]]:
    """What the encoder is told: the true value of every condition that leaves. One withheld is withheld from it too,
    so that the latent, and with it the picture, still holds what it would have explained."""
    leaving = [rule.name for rule in plan.rules if rule.policy.policy != "withheld"]
    return [{name: row.get(name, "") for name in leaving} for row in facts_of(refs)]


def _code_rows(drawn: Release) -> list[bytes] | list[None]:
    if drawn.code is None:
        return [None] * len(drawn.pixels)
    return [row.tobytes() for row in np.ascontiguousarray(drawn.code, dtype="<f8")]


def _check_kept(plan: Plan) -> None:
    if (plan.kept is None) != (plan.method.kept_code is None):
        raise ValueError(f"kept must be Kept.of method {plan.method.name} and its mechanism, got another: plan it anew")


def _in_geometry(plan: Plan, ref: ImageRef, picture: NDArray[Any]) -> NDArray[Any]:
    if not plan.keep_geometry:
        return picture
    return restore(picture, replace(ref.original, channels=plan.method.geometry.channels))


def check_same_job(now: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    """A resumed run must ask for what the record was started with. Raises ValueError for another thing."""
    job = {**{name: now[name] for name in _ADDED_LATER & now.keys()}, **job}
    if "claim" in job:  # one that an earlier version wrote lacks the fields that came later
        job["claim"] = _claim_of_today(job["claim"], now)
    for asked in (*now, *sorted(job.keys() - now.keys() - {"identifier"})):
        name, was, value = _first_difference(asked, job.get(asked), now.get(asked))
        if was != value and asked in _SOURCES:  # no number derived from the sources belongs in a message
            raise ValueError(
                f"IMAGES or TABLE must hold the same {_SOURCES[asked]} as when this release was started, got others: "
                "resume with the same, or start a new release"
            )
        if was != value:
            raise ValueError(
                f"{name} must be {was!r} as when this release was started, got {value!r}: "
                "resume with the same images and options, or start a new release"
            )


def _claim_of_today(claim: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The claim of a job with the fields of this version. What this version also lists as in clear is no other claim:
    it covers less, and says so."""
    told = Guarantee.from_json(json.dumps(claim)).to_dict()
    if set(told["in_clear"]) <= set(now["claim"]["in_clear"]):
        told["in_clear"] = now["claim"]["in_clear"]
    return told


def _first_difference(name: str, was: Any, now: Any) -> tuple[str, Any, Any]:
    """The innermost field that differs, with both values: a whole claim would be unreadable in a message."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for field in (*was, *now):
            if was.get(field) != now.get(field):
                return _first_difference(f"{name} {field}", was.get(field), now.get(field))
    return name, was, now


def _asked(plan: Plan, out: Path) -> dict[str, Any]:
    """Everything a resumed run must share with the run it continues: options, sources, levels, the whole claim."""
    sources = hashlib.sha256()
    for ref in plan.collection.refs:
        sources.update(repr((ref.source, ref.frame, ref.patient, ref.label, sorted(ref.conditions.items()))).encode())
    return {
        **plan.job,
        "out": str(out),
        "sources_sha256": sources.hexdigest(),
        "pixels_sha256": hashlib.sha256(b"".join(plan.collection.contents)).hexdigest(),
        "levels": {rule.name: list(rule.levels) for rule in plan.rules},
        "claim": plan.guarantee.to_dict(),
        **({"decode_under": dict(plan.decode_under)} if plan.decode_under else {}),
        **({} if plan.kept is None else {"kept_code": plan.kept.sha256()}),
    }


def _reserved(journal: Journal, identifier: str, record: Record) -> bool:
    """False only when the first run died between writing its record and reserving: nothing was drawn then.

    Raises Refused where another ledger holds the reservation: what was drawn under it must not be charged elsewhere.
    """
    try:
        journal.release(identifier)
    except Refused:
        if record.is_reserved:
            raise
        return False
    return True


def _today() -> date:
    return datetime.now(UTC).date()
