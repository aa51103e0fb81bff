"""What several commands need: opening IMAGES and reading NAME=VALUE options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from veilray.cli.output import progress_bar

if TYPE_CHECKING:
    from veilray.images import Collection, Reading

__all__ = ["open_images", "parse_pairs"]


def open_images(images: Path, reading: Reading) -> Collection:
    """Open a folder, array file or manifest and scan it: every file is decoded once by format rules."""
    from veilray.images import Collection

    collection = Collection.open(images, reading=reading)
    with progress_bar("reading images") as progress:
        collection.scan(progress=progress)
    return collection


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
