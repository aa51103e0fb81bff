"""The CSV as its one writer sees it: held alone, mended after a crash, appended to one whole cell at a time."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from veilray.errors import Refused
from veilray_studies.contract import Study
from veilray_studies.table import StudyTable, parse, text_of

__all__ = ["Finished", "StudyFile", "finished_cells", "open_for_append"]

Finished = dict[tuple[str, ...], float]
"""Key of each finished cell and the processor seconds that it took."""


class StudyFile:
    """A CSV that this process holds alone. Made by `open_for_append`."""

    def __init__(self, path: Path, study: Study, descriptor: int) -> None:
        self.path, self._study, self._descriptor = path, study, descriptor
        content = _read(descriptor)
        whole, self.finished = _whole_cells(content, path, study)
        self.mended = len(content) - whole
        if self.mended:
            os.ftruncate(descriptor, whole)
        if not whole:
            self._append([study.columns])
        elif self.mended:
            os.fsync(descriptor)

    @property
    def failures(self) -> Path:
        """Where failed cells are written down, one JSON object a line."""
        return self.path.with_name(f"{self.path.name}.failed.jsonl")

    def append(self, key: Sequence[str], results: Sequence[Sequence[str]], seconds: float, software: str) -> None:
        """Append all rows of one finished cell and wait until they are durable."""
        kept = (text_of(round(seconds, 2)), software, text_of(len(results)))
        self._append([(*key, *result, *kept) for result in results])

    def append_failure(self, told: dict[str, Any]) -> None:
        """Write down a cell that failed, beside the CSV."""
        with self.failures.open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")

    def _append(self, rows: Sequence[Sequence[str]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        left = memoryview(text.getvalue().encode())
        end = os.lseek(self._descriptor, 0, os.SEEK_END)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, end)  # a full disk must not leave half of a cell
            raise


@contextmanager
def open_for_append(path: Path, study: Study) -> Iterator[StudyFile]:
    """Hold a study's CSV alone, made where absent; what a crash tore is dropped from its end.

    Raises:
        Refused: while another process holds it.
        ValueError: for a CSV that is not this study's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"{path} is in use: another process is running this study") from None
        yield StudyFile(path, study, descriptor)
    finally:
        os.close(descriptor)


def finished_cells(path: Path, study: Study) -> tuple[StudyTable, Finished]:
    """The whole cells of a study's CSV, without touching it; none where there is no file.

    Raises:
        ValueError: for a CSV that is not this study's.
    """
    content = path.read_bytes() if path.exists() else b""
    whole, finished = _whole_cells(content, path, study)
    _, rows = parse(content[:whole], path)
    return StudyTable(study.columns, rows), finished


def _whole_cells(content: bytes, path: Path, study: Study) -> tuple[int, Finished]:
    """How many bytes of `content` are whole cells, and which cells they are.

    A crash tears the end only: the last line, or the last cell of several rows. Anything else was made by hand.
    """
    header, rows = parse(content, path)
    if not header and not ",".join(study.columns).startswith(content.decode("utf-8", "replace")):
        raise ValueError(f"{path} must be the CSV of this study, got a file without its header: name another `out`")
    if header and tuple(header) != study.columns:
        raise ValueError(
            f"{path} must have the columns {','.join(study.columns)}, got {','.join(header)}: "
            "a table keeps its columns; name another `out`"
        )
    finished: Finished = {}
    done, keys = 0, len(study.key_columns)
    seconds, count = study.columns.index("core_seconds"), study.columns.index("cell_rows")
    while done < len(rows):
        key, size = tuple(rows[done][:keys]), _count(rows[done][count])
        mine = [row for row in rows[done : done + size] if tuple(row[:keys]) == key and row[count] == rows[done][count]]
        if len(mine) < size and done + len(mine) == len(rows):
            break
        if key in finished or not size or len(mine) < size:
            raise ValueError(f"{path} must hold each cell once with all its rows, got another on line {done + 2}")
        finished[key] = float(rows[done][seconds])
        done += size
    lines = content.split(b"\n")[: done + 1] if header else []
    return sum(len(line) + 1 for line in lines), finished


def _count(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _read(descriptor: int) -> bytes:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return file.read()
