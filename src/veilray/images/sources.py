"""Sources: which files a folder tree, a manifest or a single file names, and which are put in quarantine at once.

Nothing is opened here but folders and manifests.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from veilray.images.base import Limits, Unreadable, refusal
from veilray.images.formats import format_of, known_extensions
from veilray.images.layout import Facts, Layout
from veilray.images.manifest import EXTENSIONS as MANIFESTS
from veilray.images.manifest import locate, manifest_root, read_manifest
from veilray.text.dialect import PLAIN, Dialect

__all__ = ["Quarantined", "Source", "find_sources"]


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A file that is not released, and the format rule that says why.

    The list of these stays in the house: `source` names a file, though `reason` holds nothing of its pixels.
    """

    source: str = field(repr=False)
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """One file to open: its name below the root, its place, and what its path or manifest row says."""

    name: str = field(repr=False)
    path: Path = field(repr=False)
    facts: Facts = field(default_factory=Facts, repr=False)


def find_sources(
    path: Path,
    layout: Layout,
    root: Path | None,
    limits: Limits,
    dialect: Dialect | None = None,
    columns: Mapping[str, str] | None = None,
) -> Iterator[Source | Quarantined]:
    """List the files of IMAGES in a fixed order: sorted for a folder, as written for a manifest.

    Args:
        path: a folder, a manifest or one file of a known format.
        layout: reads the paths of a folder.
        root: where a manifest's files are, if not beside it.
        limits: the longest path.
        dialect: how a manifest is written.
        columns: role to column of a manifest.

    Raises:
        ValueError: `path` is none of these, `root` without a manifest, or a manifest that cannot be read.
    """
    if path.suffix.lower() in MANIFESTS and path.is_file():
        yield from _listed(path, root, limits, dialect, columns)
        return
    if root is not None:
        raise ValueError("root must be given with a manifest only")
    if dialect is not None and dialect != PLAIN:
        raise ValueError("dialect must be given with a manifest or a table only")
    if columns and path.is_dir():
        raise ValueError("columns must be given with a manifest or an array file only: a folder has a layout")
    if path.is_dir():
        yield from _walk(path, layout, limits)
    elif path.is_file():
        try:
            format_of(path)
        except Unreadable as error:
            raise ValueError(f"images must be a folder, a manifest or an image file: {error}") from None
        try:
            _check_file(path.stat(), limits)
            yield Source(path.name, path)
        except (Unreadable, OSError) as error:
            yield Quarantined(_printable(path.name), str(refusal(error)))
    else:
        kinds = " ".join((*known_extensions(), *MANIFESTS))
        raise ValueError(f"images must be an existing folder or a file ({kinds}), got {str(path)!r}")


def _walk(root: Path, layout: Layout, limits: Limits) -> Iterator[Source | Quarantined]:
    # A list of folders still to do, not recursion: a tree may be deeper than Python's stack.
    pending: list[tuple[str, Path]] = [("", root)]
    while pending:
        above, folder = pending.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            yield Quarantined(_printable(above) or ".", str(refusal(error)))
            continue
        folders = []
        for entry in entries:
            if entry.name.startswith("."):
                continue  # what file managers and version control leave behind
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
                place = Path(entry.path)
                format_of(place)
                _check_file(entry.stat(follow_symlinks=False), limits)
                yield Source(name, place, layout.facts(name))
            except (Unreadable, OSError) as error:
                yield Quarantined(_printable(name), str(refusal(error)))
        pending.extend(reversed(folders))


def _listed(
    manifest: Path,
    root: Path | None,
    limits: Limits,
    dialect: Dialect | None,
    columns: Mapping[str, str] | None,
) -> Iterator[Source | Quarantined]:
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
    for row in read_manifest(manifest, dialect, columns):
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
            format_of(place)
            _check_file(place.stat(follow_symlinks=False), limits)
            yield Source(name, place, row.facts)
        except (Unreadable, OSError) as error:
            yield Quarantined(_printable(name), str(refusal(error)))


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


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
