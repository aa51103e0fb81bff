"""Where things may be written: nothing over what is there, and nothing into what it does not belong to.

What leaves, what stays, and what both are made from are never inside each other.

A RELEASE inside IMAGES would be read as images the next time. A RECORD or KEY inside a folder that leaves would leave
with it. One more file in a folder that leaves, and its recipient refuses it.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = [
    "OBFUSCATED_JSON",
    "RELEASE_JSON",
    "check_apart",
    "check_new_file",
    "check_outside_handed_over",
    "check_outside_sources",
    "write_new",
]

RELEASE_JSON = "release.json"
"""In every RELEASE."""
OBFUSCATED_JSON = "obfuscated.json"
"""In every OBFUSCATED."""
_HANDED_OVER = {"RELEASE": (RELEASE_JSON, b"veilray-release"), "OBFUSCATED": (OBFUSCATED_JSON, b"")}
"""The file that tells of each, and the format that it names first: other tools have files named release.json too."""
_BEGINNING = 1024
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}
"""What file systems without hard links answer: FAT, some of the network."""
_MANIFESTS = (".csv", ".parquet")


def check_apart(made: Mapping[str, Path], given: Mapping[str, Path] | None = None) -> None:
    """What is made lies neither in what is given nor in anything else that is made, nor around it; nor in a folder
    that was handed over before. Links and `..` are followed; nothing needs to be there yet.

    Args:
        made: name (`RELEASE`, `RECORD`) to place of each thing that will be written.
        given: the same of what is read. Two of these may lie as they like.

    Raises:
        ValueError: naming both.
    """
    for what, path in made.items():
        check_outside_handed_over(what, path)
        for other, place in {**(given or {}), **made}.items():
            if other == what:
                continue
            inner, outer = path.resolve(), place.resolve()
            if inner.is_relative_to(outer):
                raise ValueError(f"{what} must lie outside {other}, got {path} in {place}: choose another place")
            if outer.is_relative_to(inner):
                raise ValueError(f"{other} must lie outside {what}, got {place} in {path}: choose another place")


def check_outside_handed_over(what: str, path: Path) -> None:
    """Raises ValueError where `path`, there already or not, lies in a RELEASE or OBFUSCATED, by way of links too."""
    for folder in path.resolve().parents:
        for name, (mark, told) in _HANDED_OVER.items():
            if _begins_with(folder / mark, told):
                raise ValueError(
                    f"{what} must lie outside {name}, got {path} in {folder}: that folder leaves, with all in it"
                )


def check_outside_sources(made: Mapping[str, Path], images: Path, root: Path | None, sources: Iterable[str]) -> None:
    """The same for the files that a manifest lists: nothing is made in a folder that holds one of them.

    Args:
        made: as in `check_apart`.
        images: IMAGES; only a manifest is looked at here.
        root: where the manifest's files are; default: beside it.
        sources: their paths below it.

    Raises:
        ValueError: naming both.
    """
    if images.suffix.lower() not in _MANIFESTS:
        return
    base = (images.parent if root is None else root).resolve()
    folders = {(base / source).resolve().parent for source in sources}
    for what, path in made.items():
        within = [folder for folder in path.resolve().parents if folder in folders]
        if within:
            raise ValueError(f"{what} must lie outside IMAGES, got {path} in {within[0]}: choose another place")


def check_new_file(what: str, path: Path) -> None:
    """Raises ValueError where something is at `path`, a broken link too, or its folder is not there."""
    if os.path.lexists(path):
        raise ValueError(f"{what} must be a new file, got {path}, which exists: name another")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"{what} must be a file in a folder that is there, got {path}")


def write_new(what: str, path: Path, content: bytes) -> None:
    """Write a file that is not there yet, whole or not at all.

    Raises:
        ValueError: where something is there, even if it came after `check_new_file`, or the file cannot be made.
    """
    check_new_file(what, path)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _put_in_place(what, partial, path)
    except FileExistsError:
        raise ValueError(f"{what} must be a new file, got {path}, which exists: name another") from None
    except OSError as error:
        raise ValueError(f"{what} must be a file that can be made, got {path}: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)


def _put_in_place(what: str, partial: Path, path: Path) -> None:
    """Give the file its name. A link fails where something is there, which a rename would replace."""
    try:
        os.link(partial, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        check_new_file(what, path)
        partial.rename(path)


def _begins_with(path: Path, told: bytes) -> bool:
    if not told or not os.path.lexists(path):
        return os.path.lexists(path)
    if not path.is_file():  # reading a pipe would never end
        return False
    try:
        with path.open("rb") as file:
            return told in file.read(_BEGINNING)
    except OSError:
        return True  # who cannot look into it must not put anything beside it
