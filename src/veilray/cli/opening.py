"""What several commands need: opening IMAGES and reading NAME=VALUE options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from veilray.cli.output import progress_bar

if TYPE_CHECKING:
    from veilray.images import Collection

__all__ = ["open_images", "parse_columns", "parse_pairs"]


def open_images(
    images: Path,
    layout: str,
    root: Path | None,
    *,
    columns: Sequence[str] | None = None,
    dialect: Sequence[str] | None = None,
) -> Collection:
    """Open a folder, array file or manifest and scan it: every file is decoded once by format rules."""
    from veilray.images import Collection
    from veilray.text import read_dialect

    collection = Collection.open(
        images, layout=layout, root=root, columns=parse_columns(columns), dialect=read_dialect(dialect)
    )
    with progress_bar("reading images") as progress:
        collection.scan(progress=progress)
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
