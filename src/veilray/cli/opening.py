"""What several commands need: opening IMAGES and reading NAME=VALUE options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from veilray.cli.output import Advance, progress_stages
from veilray.places import check_apart, check_outside_sources

if TYPE_CHECKING:
    from veilray.images import Collection, Reading

__all__ = ["READING", "open_images", "parse_columns", "parse_pairs", "reading_of", "scanned"]


def open_images(
    images: Path, reading: Reading, made: Mapping[str, Path] | None = None, what: str = "IMAGES"
) -> Collection:
    """Open a folder, array file or manifest and scan it: every file is decoded once by format rules.

    Args:
        made: name to place of what the command will write: it must lie outside the images.
        what: their name in messages.
    """
    check_apart(made or {}, {what: images})
    with progress_stages(*READING) as stages:
        return scanned(images, reading, made or {}, *stages)


READING = ("looking for images", "reading images")


def reading_of(
    layout: str,
    root: Path | None,
    columns: Sequence[str] | None,
    split: str | None,
    images_per_patient: int | None,
    range: str | None,
    invert: bool | None,
    dialect: Sequence[str] | None,
) -> Reading:
    """How records are read, as the options of `fit`, `check`, `release` and `obfuscate` say it."""
    from veilray.images import Reading
    from veilray.text import read_dialect

    return Reading(
        layout,
        root,
        columns=parse_columns(columns),
        split=split,
        images_per_patient=images_per_patient,
        range=range,
        invert=invert,
        dialect=read_dialect(dialect),
    )


def scanned(
    images: Path, reading: Reading, made: Mapping[str, Path], on_found: Advance, on_read: Advance
) -> Collection:
    """Open and scan, telling the two stages of `READING`."""
    from veilray.images import Collection

    on_found(0, 0)
    collection = Collection.open(images, reading=reading, progress=on_found)
    try:
        check_outside_sources(made, images, reading.base, (ref.source for ref in collection.refs))
        collection.scan(progress=on_read)
    except BaseException:
        collection.close()
        raise
    return collection


def parse_columns(texts: Sequence[str] | None) -> dict[str, str]:
    """Read `ROLE=NAME,ROLE=NAME` options; an empty name says that no column has the role."""
    columns: dict[str, str] = {}
    for text in ",".join(texts or []).split(",") if texts else []:
        role, equals, name = text.partition("=")
        if not equals or not role:
            raise ValueError(f"--columns must be ROLE=NAME, such as patient=case, got {text!r}")
        if role.strip() in columns:
            raise ValueError(f"--columns must name each role once, got {role.strip()!r} twice")
        columns[role.strip()] = name.strip()
    return columns


def parse_pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """Read repeated `NAME=VALUE` options. Raises ValueError for another form or a name given twice."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise ValueError(f"{option} must be NAME=VALUE, got {text!r}")
        if name in pairs:
            raise ValueError(f"{option} must name each condition once, got {name!r} twice")
        pairs[name] = value
    return pairs
