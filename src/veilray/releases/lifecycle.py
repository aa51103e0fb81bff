"""The life of a release: reserve -> draw -> stage -> commit -> publish, once, for pictures and for rows.

This order makes an interrupted release safe to continue and a finished one impossible to repeat with other noise:

    reserve in the ledger -> draw -> durable in the private staging folder -> record the hash -> (all records) ->
    commit the release's hash in the ledger -> publish by rename

What is particular to pictures or rows is their writer's: `veilray.releases.images`, `veilray.releases.tables`.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Mapping
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from veilray.errors import Refused
from veilray.ledger import Journal, ReleaseState
from veilray.places import check_apart
from veilray.privacy import Entropy, Guarantee, SystemEntropy
from veilray.releases.log import ReleaseLog, find_record
from veilray.releases.model import Progress
from veilray.releases.plan import Outcome, Plan
from veilray.releases.staging import Origin, Staging

__all__ = ["continue_release", "run_release", "start_release"]

_SOURCES = {"sources_sha256": "files, cells, patients and labels", "pixels_sha256": "pixels"}
_ADDED_LATER = {"pixels_sha256"}
"""What the job of an earlier version does not hold."""


def run_release(
    plan: Plan[Any],
    out: Path,
    journal: Journal,
    log_folder: Path | None = None,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Start a release, or continue the one into `out`; its log lies beside the ledger unless a folder is given.

    Raises:
        ValueError, Refused: as `start_release` and `continue_release`.
    """
    logs = journal.path.absolute().parent / "records"
    if resume:
        return continue_release(plan, out, log_folder or find_record(logs, out), journal, progress)
    folder = log_folder or logs / f"{out.name}-{SystemEntropy().bytes(4).hex()}"
    return start_release(plan, out, folder.absolute(), journal, progress)


def start_release(
    plan: Plan[Any], out: Path, log_folder: Path, journal: Journal, progress: Progress | None = None
) -> Outcome:
    """Make a new release. Nothing stands at `out` until it is complete.

    Raises:
        ValueError: where `out` or the log exists already.
        Refused: by the ledger.
    """
    if os.path.lexists(out):
        raise ValueError(f"RELEASE must be a new folder, got {out}, which exists: choose another --out")
    plan.writer.check(plan)
    check_apart({"RELEASE": out, "RECORD": log_folder})
    if any(out.parent.glob(f".{glob.escape(out.name)}.*.spool")):
        raise ValueError(f"an unfinished release into {out} must be continued with --resume, got a new one")
    out.parent.mkdir(parents=True, exist_ok=True)
    entropy = SystemEntropy()
    identifier = entropy.bytes(16).hex()
    log = plan.writer.new_log(log_folder)
    try:
        with log.locked():
            plan.writer.arrange(plan, log, entropy)
            log.write_job({**_asked(plan, out), "identifier": identifier})
            try:
                _reserve(plan, identifier, out, log, journal)
            except Refused:
                log.discard()  # nothing was reserved or drawn: leave no log of a release that never was
                raise
            return _complete(plan, identifier, out, log, journal, entropy, progress)
    finally:
        log.close()


def continue_release(
    plan: Plan[Any], out: Path, log_folder: Path, journal: Journal, progress: Progress | None = None
) -> Outcome:
    """Bring an interrupted release to its end, under the reservation it already has.

    Records whose files were committed stay as they are; the others are drawn afresh, and nobody saw what the
    interrupted run may have drawn for them.

    Raises:
        ValueError: where there is no log, or the plan differs from what it was started with.
        Refused: when a committed file is gone, or another process is at work.
    """
    plan.writer.check(plan)
    log = plan.writer.open_log(log_folder)
    try:
        with log.locked():
            job = log.job()
            _check_same_job(_asked(plan, out), job)
            identifier = str(job["identifier"])
            if not _is_reserved(journal, identifier, log):
                _reserve(plan, identifier, out, log, journal)
            return _complete(plan, identifier, out, log, journal, SystemEntropy(), progress)
    finally:
        log.close()


def _reserve(plan: Plan[Any], identifier: str, out: Path, log: ReleaseLog, journal: Journal) -> None:
    journal.reserve(identifier, plan.guarantee, plan.records_of, unidentified=plan.unidentified, out=out)
    log.note_reserved()


def _is_reserved(journal: Journal, identifier: str, log: ReleaseLog) -> bool:
    """False only when the first run died between writing its log and reserving: nothing was drawn then.

    Raises Refused where another ledger holds the reservation: what was drawn under it must not be charged elsewhere.
    """
    try:
        journal.release(identifier)
    except Refused:
        if log.is_reserved:
            raise
        return False
    return True


def _complete(
    plan: Plan[Any],
    identifier: str,
    out: Path,
    log: ReleaseLog,
    journal: Journal,
    entropy: Entropy,
    progress: Progress | None,
) -> Outcome:
    """Draw what is missing, commit, publish. Every step may have been done before."""
    if not isinstance(entropy, SystemEntropy):
        raise Refused(f"a release must draw from SystemEntropy, got {entropy!r}: seeds are for experiments")
    row = journal.release(identifier)
    digest = row.digest
    if row.state is ReleaseState.RESERVED:
        origin = Origin(identifier, version("veilray"), _today())
        digest = plan.writer.stage(plan, out, log, entropy, origin, progress)
        journal.commit(identifier, digest)
    assert digest is not None  # a committed release always has one
    Staging(out, identifier).publish(digest)
    journal.publish(identifier)
    log.export()
    return Outcome(plan.guarantee, log.count(plan.guarantee), log.refused(plan.refused), out, log.folder)


def _asked(plan: Plan[Any], out: Path) -> dict[str, Any]:
    """Everything a resumed run must share with the run it continues: options, sources, levels, the whole claim."""
    return {
        **plan.job,
        "out": str(out),
        **plan.writer.asked(plan),
        "claim": plan.guarantee.to_dict(),
        **({"decode_under": dict(plan.decode_under)} if plan.decode_under else {}),
    }


def _check_same_job(now: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    """A resumed run must ask for what the log was started with. Raises ValueError for another thing."""
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


def _today() -> date:
    return datetime.now(UTC).date()
