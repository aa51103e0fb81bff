"""Staging: the unfinished release, private until it is whole, and published by one rename."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from veilray.errors import Refused
from veilray.places import RELEASE_JSON
from veilray.privacy import Guarantee
from veilray.privacy.card import ReleaseOrigin
from veilray.releases.log import StagedFile
from veilray.releases.model import ModelCard

__all__ = ["FORMAT", "RELEASE_JSON", "Describe", "Origin", "Staging", "claim_of", "origin_of", "sha256_of"]

FORMAT = "veilray-release"

Describe = Callable[[Mapping[str, Any]], Mapping[str, str]]
"""Writes further files for people and data tools: what release.json tells so far -> file name to text. The same
contents must give the same text, so that a resumed release is the same release."""


@dataclass(frozen=True)
class Origin:
    """Which release it is: the ledger's identifier, the software's version, and the day."""

    identifier: str
    version: str
    day: date


class Staging:
    """The unfinished release: a hidden folder of mode 0700 beside its destination, on the same file system."""

    def __init__(self, out: Path, identifier: str) -> None:
        self.out = out
        self.folder = out.parent / f".{out.name}.{identifier[:12]}.spool"
        self._touched = {self.folder}

    def prepare(self, committed: Iterable[StagedFile]) -> None:
        """Make the staging folder, and throw away every file in it whose hash was not committed: nobody saw those.

        Raises:
            Refused: when a committed file is gone or altered; it must not be drawn again.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        keep = {file.path: file.sha256 for file in committed}
        for path in [path for path in self.folder.rglob("*") if path.is_file()]:
            if str(path.relative_to(self.folder)) not in keep:
                path.unlink()
        folders = [path for path in self.folder.rglob("*") if path.is_dir()]
        for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()  # an empty label folder would show a label that was drawn and thrown away
        for name, sha256 in keep.items():
            path = self.folder / name
            if not path.is_file() or sha256_of(path) != sha256:
                raise Refused(
                    f"a committed file of this release is missing or altered in {self.folder}: it must not be drawn "
                    "again. Put it back from a backup, or make a new release (charged anew)"
                )

    def fsync(self) -> None:
        """Make the folder entries of everything placed so far durable, before its hashes are committed."""
        for folder in self._touched:
            _sync_folder(folder)

    def write(self, name: str, text: str) -> None:
        """Write one further file of the release, durably."""
        _write(self.folder / name, text)

    def keep(self, name: str) -> None:
        """Make a file that was written into the staging folder durable."""
        with (self.folder / name).open("rb") as file:
            os.fsync(file.fileno())

    def finalise(
        self, told: Mapping[str, Any], listed: Mapping[str, str], day: date, describe: Describe | None = None
    ) -> str:
        """Write release.json, which names every hash, and give everything one time; return its SHA-256.

        Args:
            told: what release.json says beside `files`.
            listed: path to SHA-256 of the files so far.
            day: of the release.
            describe: writes further files.
        """
        named = dict(listed)
        for name, text in ({} if describe is None else describe({**told, "files": _sorted(named)})).items():
            self.write(name, text)
            named[name] = sha256_of(self.folder / name)
        self.write(RELEASE_JSON, json.dumps({**told, "files": _sorted(named)}, indent=2) + "\n")
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
        for path in [*self.folder.rglob("*"), self.folder]:
            os.utime(path, (moment, moment))  # one time for all: the order of the work does not show
        self.fsync()
        return sha256_of(self.folder / RELEASE_JSON)

    def publish(self, digest: str) -> None:
        """Rename the finished folder into place. Doing it again changes nothing.

        Raises:
            Refused: when something else stands at the destination, or the committed bytes are gone.
        """
        if self.out.exists():
            if not (self.out / RELEASE_JSON).is_file() or sha256_of(self.out / RELEASE_JSON) != digest:
                raise Refused(f"RELEASE must be a new folder, got {self.out}, which holds something else")
            return
        if not (self.folder / RELEASE_JSON).is_file() or sha256_of(self.folder / RELEASE_JSON) != digest:
            raise Refused(f"the committed release is missing or altered in {self.folder}: it must not be drawn again")
        self._check_committed()
        for path in [self.folder, *self.folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        self.folder.rename(self.out)
        _sync_folder(self.out.parent)

    def _check_committed(self) -> None:
        """Every file must have its committed hash, and nothing else may lie beside them."""
        listed = dict(json.loads((self.folder / RELEASE_JSON).read_bytes())["files"])
        found = {
            path.relative_to(self.folder).as_posix(): sha256_of(path)
            for path in self.folder.rglob("*")
            if path.is_file() and path != self.folder / RELEASE_JSON
        }
        if found != listed:
            strange = sorted(found.items() ^ listed.items())[0][0]
            raise Refused(
                f"{strange} of this release is missing, altered or foreign in {self.folder}: nothing is published"
            )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def claim_of(guarantee: Guarantee, card: ModelCard, origin: Origin) -> dict[str, Any]:
    """What every release.json begins with: what it is, the claim with its totals, and the model."""
    return {
        "format": FORMAT,
        "version": 1,
        "identifier": origin.identifier,
        "date": origin.day.isoformat(),
        "software": f"veilray {origin.version}",
        "guarantee": guarantee.to_dict(),
        "totals": {
            "image_epsilon": str(guarantee.total_image_epsilon),
            "image_delta": str(guarantee.image_delta),
            "patient_epsilon": _text(guarantee.patient_epsilon),
            "patient_delta": _text(guarantee.patient_delta),
        },
        "model": card.for_release().model_dump(mode="json"),
    }


def origin_of(card: ModelCard, origin: Origin) -> ReleaseOrigin:
    """Where a release is from, for its card."""
    day, software = origin.day.isoformat(), f"veilray {origin.version}"
    return ReleaseOrigin(origin.identifier, day, software, card.name, card.method)


def _text(value: Fraction | None) -> str | None:
    return None if value is None else str(value)


def _sorted(files: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted(files.items()))


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
