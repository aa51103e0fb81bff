"""RELEASE: the folder that leaves the house, built in a private spool and published by one rename.

    RELEASE/
        README          the card in plain words
        release.json    guarantee, model card, hashes of all files
        manifest.csv    file name and released conditions
        images/         fresh random names; class sub-folders only where the label is released
        DATASET.md, croissant.json      the data set card, for people and for data tools
        codes.npy, kept_code/           only of a method with a kept code: see `kept.py`

Nothing in it links to a source: names are random, order is random, times are one and the same, and picture
files carry pixels only.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from veilray.errors import Refused
from veilray.flows.durable import read_json
from veilray.images import write_image
from veilray.methods.base import ModelCard
from veilray.methods.kept import CANDIDATES, CODES, KEPT_FOLDER, Kept
from veilray.methods.record import Committed
from veilray.privacy import Guarantee
from veilray.privacy.card import card_text

__all__ = ["RELEASE_JSON", "Describe", "Spool", "read_release", "sha256_of"]

RELEASE_JSON = "release.json"
_FORMAT = "veilray-release"
_LARGEST_JSON = 2**30

Describe = Callable[[Mapping[str, Any]], Mapping[str, str]]
"""Writes further files for people and data tools: what release.json tells so far -> file name to text. The same
contents must give the same text, so that a resumed release is the same release."""


class Spool:
    """The unfinished release: a hidden folder of mode 0700 beside its destination, on the same file system."""

    def __init__(self, out: Path, identifier: str) -> None:
        self.out = out
        self.folder = out.parent / f".{out.name}.{identifier[:12]}.spool"
        self._touched = {self.folder}

    def prepare(self, committed: Iterable[Committed]) -> None:
        """Make the spool, and throw away every file in it whose hash was not committed: nobody saw those.

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

    def place(self, name: str, conditions: dict[str, str], pixels: NDArray[Any]) -> tuple[str, str]:
        """Write one released image durably; return its path in the release and its SHA-256."""
        label = conditions.get("label")
        relative = Path("images", *([label] if label else []), f"{name}.png")
        path = self.folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        self._touched |= {path.parent, path.parent.parent}
        written = write_image(path, pixels)
        return relative.as_posix(), hashlib.sha256(written).hexdigest()

    def settle(self) -> None:
        """Make the folder entries of everything placed so far durable, before its hashes are committed."""
        for folder in self._touched:
            _sync_folder(folder)

    def finish(
        self,
        *,
        identifier: str,
        version: str,
        guarantee: Guarantee,
        card: ModelCard,
        files: Sequence[Committed],
        day: date,
        kept: Kept | None = None,
        describe: Describe | None = None,
        decoded_under: Mapping[str, str] | None = None,
    ) -> str:
        """Write everything else beside the images; return the SHA-256 of release.json, which names all hashes.

        Raises:
            Refused: where the rows of a kept code were not committed with their images.
        """
        _write(self.folder / "manifest.csv", _manifest(files))
        readme = _readme(guarantee, card, len(files), kept, describe is not None, decoded_under or {})
        _write(self.folder / "README", readme)
        told = {
            "format": _FORMAT,
            "version": 1,
            "identifier": identifier,
            "date": day.isoformat(),
            "software": f"veilray {version}",
            "guarantee": guarantee.to_dict(),
            "totals": {
                "image_epsilon": str(guarantee.total_image_epsilon),
                "image_delta": str(guarantee.image_delta),
                "patient_epsilon": _text(guarantee.patient_epsilon),
                "patient_delta": _text(guarantee.patient_delta),
            },
            "model": card.model_dump(mode="json"),
            **({"decoded_under": dict(decoded_under)} if decoded_under else {}),
            **({} if kept is None else kept.write(self.folder, _rows(files))),
        }
        listed = {file.path: file.sha256 for file in files}
        written = ["manifest.csv", "README", *([] if kept is None else kept.names(self.folder))]
        listed |= {name: sha256_of(self.folder / name) for name in written}
        told["files"] = dict(sorted(listed.items()))
        for name, text in ({} if describe is None else describe(told)).items():
            _write(self.folder / name, text)
            listed[name] = sha256_of(self.folder / name)
        told["files"] = dict(sorted(listed.items()))
        _write(self.folder / RELEASE_JSON, json.dumps(told, indent=2) + "\n")
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
        for path in [*self.folder.rglob("*"), self.folder]:
            os.utime(path, (moment, moment))  # one time for all: the order of the work does not show
        self.settle()
        return sha256_of(self.folder / RELEASE_JSON)

    def publish(self, digest: str) -> None:
        """Rename the finished spool into place. Doing it again changes nothing.

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
        """Every file must have its committed hash, and nothing else may lie in the spool."""
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


def read_release(folder: Path) -> dict[str, Any]:
    """The contents of release.json, with `guarantee` as a `Guarantee` and `model` as a `ModelCard`.

    Raises:
        ValueError: where the folder is no release of this project.
    """
    path = folder / RELEASE_JSON
    if not path.is_file():
        raise ValueError(f"RELEASE must be a folder with {RELEASE_JSON} in it, got {folder}")
    if path.stat().st_size > _LARGEST_JSON:
        raise ValueError(f"{path} must be at most {_LARGEST_JSON:,} bytes, got {path.stat().st_size:,}")
    told = read_json(path, RELEASE_JSON)
    if told.get("format") != _FORMAT or told.get("version") != 1:
        raise ValueError(f"{path} must be a {_FORMAT} of version 1, got another file")
    told["guarantee"] = Guarantee.from_json(json.dumps(told.get("guarantee")))
    told["model"] = ModelCard.model_validate(told.get("model"))
    return told


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _rows(files: Sequence[Committed]) -> list[bytes]:
    rows = [file.code for file in files if file.code is not None]
    if len(rows) != len(files):
        raise Refused(
            f"{len(files) - len(rows)} committed images have no code row in RECORD: they must not be drawn again. "
            "Make a new release (charged anew)"
        )
    return rows


def _text(value: Fraction | None) -> str | None:
    return None if value is None else str(value)


def _manifest(files: Sequence[Committed]) -> str:
    columns = ["path", *sorted({name for file in files for name in file.conditions})]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows({"path": file.path, **file.conditions} for file in files)
    return text.getvalue()


def _readme(
    guarantee: Guarantee,
    card: ModelCard,
    count: int,
    kept: Kept | None,
    described: bool,
    decoded_under: Mapping[str, str],
) -> str:
    title = f"{count:,} released images"
    files = "Files: images/ (PNG), manifest.csv, release.json (the claim for machines, SHA-256 of every file).\n"
    if kept is not None:
        also = f", {CANDIDATES} (the public list)" if kept.candidates is not None else ""
        files += (
            f"The pictures were made from {CODES}: {kept.code.dimension} released numbers an image, in the order of "
            "manifest.csv.\nBoth leave under the one claim above.\n"
            f"{KEPT_FOLDER}/ (the public function that these numbers are of){also}.\n"
        )
    if decoded_under:
        facts = ", ".join(f"{name} = {value}" for name, value in sorted(decoded_under.items()))
        files += f"Counterfactual: every picture was drawn as if {facts}, whatever its own.\n"
    if described:
        files += "DATASET.md and croissant.json: the data set card, for people and for data tools.\n"
    return (
        f"{title}\n{'=' * len(title)}\n\n"
        "These pictures were made by veilray from images that stay where they were taken.\n"
        "This is what is promised about them:\n\n"
        f"{card_text(guarantee)}\n"
        f"Model: {card.name} ({card.method}), weights SHA-256 {card.weights_sha256}.\n"
        f"Geometry, brought from each source by this rule:\n{textwrap.indent(card.geometry_rule, '  ')}\n"
        f"{files}"
    )


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
