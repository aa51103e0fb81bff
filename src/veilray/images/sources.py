"""Sources: which files a folder tree, a manifest or a single file names, and which are put in quarantine at once.

What devices leave beside originals is passed over; see `leftovers.py`. A manifest that lists such a file is told so.
Nothing is opened here but folders and manifests.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from veilray.images.base import Limits
from veilray.images.formats import format_of, known_extensions
from veilray.images.layout import Facts, Layout, load_layout
from veilray.images.leftovers import HIDDEN, left_by_device
from veilray.images.manifest import EXTENSIONS as MANIFESTS
from veilray.images.manifest import locate, manifest_root, read_manifest
from veilray.images.reading import Reading
from veilray.images.unreadable import Unreadable, refusal
from veilray.text import PLAIN, normal_text
from veilray.text.printable import printable

__all__ = ["Quarantined", "Skipped", "Source", "find_sources"]

Found: TypeAlias = "Source | Quarantined | Skipped"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A file that is not released, and the format rule that says why.

    The list of these stays in the house: `source` names a file, and the page where only one of several is refused,
    though `reason` holds nothing of its pixels. In both, signs that a terminal would obey are written as escapes.
    """

    source: str = field(repr=False)
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", printable(self.source))
        object.__setattr__(self, "reason", printable(self.reason))


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder that is no image and was not looked into; `entry` of the public list says why."""

    entry: str


@dataclass(frozen=True, slots=True)
class Source:
    """One file to open: its name below the root, its place, and what its path or manifest row says."""

    name: str = field(repr=False)
    path: Path = field(repr=False)
    facts: Facts = field(default_factory=Facts, repr=False)

    def is_of(self, split: str | None) -> bool:
        """False when the path or row says that the file is of another part than the one that is wanted."""
        known = self.facts.split
        return split is None or known is None or normal_text(known) == normal_text(split)


def find_sources(path: Path, reading: Reading, limits: Limits) -> Iterator[Found]:
    """List the files of IMAGES in a fixed order: sorted for a folder, as written for a manifest.

    Args:
        path: a folder, a manifest or one file of a known format.
        reading: its layout reads the paths of a folder; its root is where a manifest's files are, if not beside it, its
            dialect how a manifest is written, its columns what is what in it.
        limits: the longest path.

    Raises:
        ValueError: `path` is none of these, `root` without a manifest, or a manifest that cannot be read.
    """
    layout = reading.layout if isinstance(reading.layout, Layout) else load_layout(reading.layout)
    root = None if reading.root is None else Path(reading.root)
    if path.suffix.lower() in MANIFESTS and path.is_file():
        yield from _listed(path, root, reading, limits)
        return
    if root is not None:
        raise ValueError("root must be given with a manifest only")
    if reading.dialect != PLAIN:
        raise ValueError("dialect must be given with a manifest or a table only")
    if reading.columns and path.is_dir():
        raise ValueError("columns must be given with a manifest or an array file only: a folder has a layout")
    if path.is_dir():
        yield from _walk(path, layout, reading, limits)
    elif path.is_file():
        try:
            format_of(path)
        except Unreadable as error:
            raise ValueError(f"images must be a folder, a manifest or an image file: {error}") from None
        try:
            _check_file(path.stat(), limits)
            yield Source(path.name, path)
        except (Unreadable, OSError) as error:
            yield Quarantined(path.name, str(refusal(error)))
    else:
        kinds = " ".join((*known_extensions(), *MANIFESTS))
        raise ValueError(f"images must be an existing folder or a file ({kinds}), got {str(path)!r}")


def _walk(root: Path, layout: Layout, reading: Reading, limits: Limits) -> Iterator[Found]:
    # A list of folders still to do, not recursion: a tree may be deeper than Python's stack.
    pending: list[tuple[str, Path]] = [("", root)]
    while pending:
        above, folder = pending.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            yield Quarantined(above or ".", str(refusal(error)))
            continue
        folders = []
        for entry in entries:
            if skipped := _passed_over(entry):
                yield Skipped(skipped)
                continue
            name = f"{above}{entry.name}"
            try:
                if entry.is_symlink():
                    raise Unreadable("is a symbolic link: links are not followed")
                if not _is_utf8(entry.name):
                    raise Unreadable("name must be UTF-8")
                if len(name) > limits.max_path:
                    raise Unreadable(f"path must be at most {limits.max_path} characters, got {len(name)}")
                if entry.is_dir(follow_symlinks=False):
                    folders.append((f"{name}/", Path(entry.path)))
                    continue
                source = Source(name, Path(entry.path), layout.facts(name))
                if source.is_of(reading.split):
                    format_of(source.path)
                    _check_file(entry.stat(follow_symlinks=False), limits)
                yield source
            except (Unreadable, OSError) as error:
                yield Quarantined(name, str(refusal(error)))
        pending.extend(reversed(folders))


def _listed(manifest: Path, root: Path | None, reading: Reading, limits: Limits) -> Iterator[Found]:
    named = manifest_root(manifest)
    if root is None and named is not None:
        raise ValueError(
            f"root must be given for this manifest: it says that its files lie under {str(named)!r}; "
            "if you trust it, pass that folder as root"
        )
    base = Path(os.path.normpath((root if root is not None else manifest.parent).absolute()))
    if not base.is_dir():
        raise ValueError(f"root must be an existing folder, got {str(base)!r}")
    seen: set[str] = set()
    for row in read_manifest(manifest, reading.dialect, reading.columns):
        name = f"{manifest.name}:{row.number}"
        try:
            if row.fault is not None:
                raise Unreadable(row.fault)
            if len(row.path) > 4 * limits.max_path:
                raise Unreadable(f"path must be at most {4 * limits.max_path} characters, got {len(row.path)}")
            name = row.path or name
            name, place = locate(base, row.path)
            if len(name) > limits.max_path:
                raise Unreadable(f"path must be at most {limits.max_path} characters, got {len(name)}")
            if name in seen:
                raise Unreadable("is listed twice: one row per file")
            seen.add(name)
            source = Source(name, place, row.facts)
            if source.is_of(reading.split):
                if made := _made_by_device(name):
                    raise Unreadable(f"is what a device leaves beside originals ({made}): take its row out")
                format_of(place)
                _check_file(place.stat(follow_symlinks=False), limits)
            yield source
        except (Unreadable, OSError) as error:
            yield Quarantined(name, str(refusal(error)))


def _passed_over(entry: os.DirEntry[str]) -> str | None:
    """Why an entry of a folder is neither image nor fault: the entry of the public list, or that it is hidden."""
    try:
        folder = entry.is_dir(follow_symlinks=False)
    except OSError:
        folder = False
    made = left_by_device(entry.name, folder=folder)
    return HIDDEN if made is None and entry.name.startswith(".") else made


def _made_by_device(name: str) -> str | None:
    """The entry of the public list that a listed path, or a folder above it, matches."""
    *folders, last = name.split("/")
    found = (left_by_device(part, folder=True) for part in folders)
    return next((entry for entry in found if entry is not None), left_by_device(last, folder=False))


def _check_file(status: os.stat_result, limits: Limits) -> None:
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise Unreadable("must be an ordinary file, got a folder, pipe, socket or device")
    if status.st_size == 0:
        raise Unreadable("file must not be empty, got 0 bytes")
    if status.st_size > limits.max_file_bytes:
        raise Unreadable(f"file must be at most {limits.max_file_bytes} bytes, got more")


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
