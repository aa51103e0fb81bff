"""RECORD: what never leaves the house. Which source became which file, what was refused, how far the work is.

Of a method with a kept code it also holds the released rows, each committed with its picture in one transaction:
they are the release, not a secret, and codes.npy is made of them.

One folder of mode 0700 with one SQLite file of mode 0600. It is written in the same order as the rule of
exactly-once release asks: a file is durable in the private staging folder before its hash is recorded here, and an
image whose hash is recorded is never drawn again.
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veilray.errors import Refused
from veilray.images import ImageRef, Quarantined
from veilray.privacy import Guarantee

__all__ = ["ImageLog", "ReleaseLog", "StagedFile", "find_record", "rule_of"]

_DATABASE = "record.sqlite"
_JOB = "job.json"
_RESERVED = "reserved"

_TABLES = """
CREATE TABLE IF NOT EXISTS item (
    position INTEGER PRIMARY KEY, image INTEGER NOT NULL, source TEXT NOT NULL, frame INTEGER NOT NULL,
    patient TEXT, label TEXT, name TEXT NOT NULL UNIQUE, released TEXT, sha256 TEXT, code BLOB);
CREATE TABLE IF NOT EXISTS quarantine (source TEXT NOT NULL, reason TEXT NOT NULL);
"""


@dataclass(frozen=True)
class StagedFile:
    """One image whose file is durable: its place in the release, path there, and hash.

    `code` is the released row of a method with a kept code, as the bytes of little-endian float64.
    """

    position: int
    path: str
    conditions: dict[str, str]
    sha256: str
    code: bytes | None = None


class ReleaseLog:
    """A folder of mode 0700 that never leaves: what was asked for, a lock, and tables for people."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def make(folder: Path) -> None:
        """Make the folder. Raises ValueError where there is one with something in it."""
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"RECORD must be a new folder, got {folder}: continue it with --resume or name another")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)

    def has_job(self) -> bool:
        """Whether something was asked for."""
        return (self.folder / _JOB).is_file()

    def discard(self) -> None:
        """Throw the record away; only for a release that was never reserved."""
        shutil.rmtree(self.folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the record alone; a second process is refused rather than made to wait."""
        descriptor = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Refused(f"RECORD {self.folder} is in use: another process is making this release") from None
            yield
        finally:
            os.close(descriptor)

    def write_job(self, job: dict[str, Any]) -> None:
        """Write what was asked for; a record without it was never reserved and can be thrown away."""
        part = self.folder / (_JOB + ".part")
        descriptor = os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(job, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.folder / _JOB)

    def job(self) -> dict[str, Any]:
        """What was asked for."""
        return dict(json.loads((self.folder / _JOB).read_text()))

    def note_reserved(self) -> None:
        """Note, durably, that a ledger holds the reservation: from now on another ledger must not take its place."""
        descriptor = os.open(self.folder / _RESERVED, os.O_CREAT | os.O_WRONLY, 0o600)
        os.fsync(descriptor)
        os.close(descriptor)

    @property
    def is_reserved(self) -> bool:
        """Whether a reservation was noted. False also where the run died between the reservation and the note."""
        return (self.folder / _RESERVED).is_file()

    def close(self) -> None:
        """Release what is held open."""

    def export(self) -> None:
        """Write tables for people."""

    def count(self, guarantee: Guarantee) -> int:
        """How many records were released."""
        return guarantee.releases.images if guarantee.releases else 0

    def refused(self, planned: tuple[Any, ...]) -> tuple[Any, ...]:
        """What was left out, or could not be read, for the owner."""
        return planned

    def write_csv(self, name: str, columns: list[str], rows: Iterable[dict[str, Any]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(rows)
        descriptor = os.open(self.folder / name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text.getvalue())
            file.flush()
            os.fsync(file.fileno())


def rule_of(folder: Path) -> dict[str, Any]:
    """The intensity rule that the images of a RECORD were read by, as words of `Reading`; empty where none was said.

    A damaged RECORD is empty too: whoever opens it says what is wrong with it.
    """
    record = ReleaseLog(folder)
    try:
        said = record.job()["reading"] if record.has_job() else {}
        return {name: said[name] for name in ("range", "invert") if name in said}
    except (ValueError, TypeError, KeyError):
        return {}


class ImageLog(ReleaseLog):
    """The private record of one release.

    Args:
        folder: made with mode 0700 by `Record.create`; must exist for `Record.open`.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._database = sqlite3.connect(folder / _DATABASE, timeout=60)
        self._database.execute("PRAGMA synchronous=FULL")

    @classmethod
    def create(cls, folder: Path) -> ImageLog:
        """A new, empty record. Raises ValueError where the folder already holds one."""
        cls.make(folder)
        os.close(os.open(folder / _DATABASE, os.O_CREAT | os.O_RDWR, 0o600))
        record = cls(folder)
        with record._database:
            record._database.executescript(_TABLES)
        return record

    @classmethod
    def open(cls, folder: Path) -> ImageLog:
        """An existing record. Raises ValueError where there is none."""
        if not (folder / _DATABASE).is_file() or not (folder / _JOB).is_file():
            raise ValueError(
                f"RECORD must be a folder written by `veilray release` or `veilray obfuscate`, got {folder}"
            )
        record = cls(folder)
        record._add_code_column()
        return record

    def close(self) -> None:
        """Release the database file."""
        self._database.close()

    def plan(self, items: Iterable[tuple[int, ImageRef, str]], quarantine: Sequence[Quarantined]) -> None:
        """Write down what will be released: `(position, ref, name)` in the release's random order."""
        with self._database:
            self._database.executemany(
                "INSERT INTO item (position, image, source, frame, patient, label, name) VALUES (?,?,?,?,?,?,?)",
                (
                    (position, ref.index, ref.source, ref.frame, ref.patient, ref.label, name)
                    for position, ref, name in items
                ),
            )
            self._database.executemany(
                "INSERT INTO quarantine VALUES (?, ?)", ((entry.source, entry.reason) for entry in quarantine)
            )

    def pending(self) -> list[tuple[int, int, str]]:
        """`(position, image index, name)` of all images without a committed file, in release order."""
        rows = self._database.execute("SELECT position, image, name FROM item WHERE sha256 IS NULL ORDER BY position")
        return [(int(position), int(image), str(name)) for position, image, name in rows]

    def commit(self, files: Iterable[StagedFile]) -> None:
        """Record the hashes of files that are already durable, in one transaction.

        Raises:
            Refused: for an image that was committed before: it must not be drawn twice.
        """
        with self._database:
            for file in files:
                released = json.dumps({"path": file.path, "conditions": file.conditions})
                changed = self._database.execute(
                    "UPDATE item SET sha256 = ?, released = ?, code = ? WHERE position = ? AND sha256 IS NULL",
                    (file.sha256, released, file.code, file.position),
                )
                if changed.rowcount != 1:
                    raise Refused(f"position {file.position} must be committed once, got a second draw")

    def committed(self) -> Iterator[StagedFile]:
        """All committed files, in release order."""
        rows = self._database.execute(
            "SELECT position, released, sha256, code FROM item WHERE sha256 IS NOT NULL ORDER BY position"
        )
        for position, released, sha256, code in rows:
            told = json.loads(released)
            yield StagedFile(int(position), told["path"], told["conditions"], sha256, code)

    def note(self, entries: Sequence[Quarantined]) -> None:
        """Add to the quarantine list; for the owner only."""
        with self._database:
            self._database.executemany(
                "INSERT INTO quarantine VALUES (?, ?)", ((entry.source, entry.reason) for entry in entries)
            )

    def counts(self) -> tuple[int, int]:
        """`(committed, planned)` images."""
        done, total = self._database.execute("SELECT COUNT(sha256), COUNT(*) FROM item").fetchone()
        return int(done), int(total)

    def quarantined(self) -> list[Quarantined]:
        """The refused files with their reasons."""
        rows = self._database.execute("SELECT source, reason FROM quarantine")
        return [Quarantined(source, reason) for source, reason in rows]

    def count(self, guarantee: Guarantee) -> int:
        return self.counts()[0]

    def refused(self, planned: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(self.quarantined())

    def pairs(self) -> Iterator[dict[str, Any]]:
        """Each committed image with its source: what evaluation on the owner's side reads."""
        rows = self._database.execute(
            "SELECT image, source, frame, patient, label, released FROM item WHERE sha256 IS NOT NULL ORDER BY position"
        )
        for image, source, frame, patient, label, released in rows:
            yield {
                "image": image,
                "source": source,
                "frame": frame,
                "patient": patient or "",
                "label": label or "",
                "released": json.loads(released)["path"],
            }

    def export(self) -> None:
        """Write `pairs.csv` and `quarantine.csv` (mode 0600) for people; the database stays the truth."""
        self.write_csv("pairs.csv", ["image", "source", "frame", "patient", "label", "released"], self.pairs())
        refused = ({"source": entry.source, "reason": entry.reason} for entry in self.quarantined())
        self.write_csv("quarantine.csv", ["source", "reason"], refused)

    def _add_code_column(self) -> None:
        """Bring a record of an earlier version up to this one: none of its releases had a kept code."""
        if "code" in self._columns():
            return
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            if "code" not in self._columns():  # another process may have been first
                self._database.execute("ALTER TABLE item ADD COLUMN code BLOB")

    def _columns(self) -> set[str]:
        return {str(row[1]) for row in self._database.execute("PRAGMA table_info(item)")}


def find_record(records: Path, out: Path) -> Path:
    """The newest record of a release into `out`, among the default records beside a ledger.

    Raises:
        ValueError: when there is none.
    """
    for job in sorted(records.glob(f"*/{_JOB}"), key=lambda path: path.stat().st_mtime, reverse=True):
        if json.loads(job.read_text()).get("out") == str(out):
            return job.parent
    raise ValueError(f"RECORD of {out} must lie in {records}, got none: name it with --record")
