"""The registry of image formats: one line per format makes it known to collections, the command line and the tests."""

from __future__ import annotations

from pathlib import Path

from veilray.images.arrays import ArrayFormat
from veilray.images.base import Format
from veilray.images.raster import RasterFormat
from veilray.images.unreadable import Unreadable
from veilray.registry import Registry

__all__ = ["FORMATS", "format_of", "known_extensions"]

FORMATS = Registry[Format]("image format")
FORMATS.register("raster")(RasterFormat())
FORMATS.register("arrays")(ArrayFormat())


def known_extensions() -> tuple[str, ...]:
    """Every extension a registered format takes, in order of registration."""
    return tuple(extension for name in FORMATS for extension in FORMATS[name].extensions)


def format_of(path: Path) -> Format:
    """The format of a file by its extension, in either case; raises Unreadable for an unknown one."""
    extension = path.suffix.lower()
    for name in FORMATS:
        if extension in FORMATS[name].extensions:
            return FORMATS[name]
    raise Unreadable(f"extension must be one of {' '.join(known_extensions())}, got {extension or 'none'}")
