"""The shelf: a collection's files, a few of them open at a time."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from veilray.images.base import ImageFile, Limits
from veilray.images.formats import format_of
from veilray.images.reading import Reading

__all__ = ["Shelf"]

# An open array may keep its decompressed rows on disk, which is dear to make again; 32 stay far below the usual 1,024
# open files of a process.
_MOST_OPEN = 32


class Shelf:
    """Files by name, opened when asked for; the one longest unused is closed when too many are open."""

    def __init__(self, limits: Limits, reading: Reading) -> None:
        self.limits = limits
        self.reading = reading
        self.digests: dict[tuple[str, int], bytes] = {}
        self._paths: dict[str, Path] = {}
        self._open: OrderedDict[str, ImageFile] = OrderedDict()
        self._closed = False

    def place(self, name: str, path: Path) -> None:
        """Remember where a file is."""
        self._paths[name] = path

    def take(self, name: str) -> ImageFile:
        """The open file; raises Unreadable when a format rule no longer takes it, ValueError after `close`."""
        if self._closed:
            raise ValueError("collection must be open, got a closed one: open it again")
        if name in self._open:
            self._open.move_to_end(name)
            return self._open[name]
        path = self._paths[name]
        file = format_of(path).open(path, self.limits, self.reading)
        self._open[name] = file
        if len(self._open) > _MOST_OPEN:
            self._open.popitem(last=False)[1].close()
        return file

    def put_back(self, name: str) -> None:
        """Close one file."""
        if name in self._open:
            self._open.pop(name).close()

    def close(self) -> None:
        """Close all files; temporary ones vanish."""
        self._closed = True
        for name in list(self._open):
            self.put_back(name)
