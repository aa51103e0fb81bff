"""One cell in a process of its own: one thread, its own process group, gone when the runner is gone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from veilray_studies.cells import Cell
from veilray_studies.contract import Parameters, Study
from veilray_studies.table import text_of

__all__ = ["Ended", "Worker"]

_SPAWN = multiprocessing.get_context("spawn")
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_LEAVE_SECONDS = 5


@dataclass(frozen=True)
class Ended:
    """How a cell ended: rows of texts and processor seconds, or the error in their place."""

    rows: list[tuple[str, ...]] = field(default_factory=list)
    core_seconds: float = 0.0
    error: str = ""
    trace: str = ""


class Worker:
    """A cell and its process. Made first and started then, so that an interrupt never loses sight of a process."""

    def __init__(self, study: Study, cell: Cell, base: Path) -> None:
        self.cell = cell
        self._receiver, self._sender = _SPAWN.Pipe(duplex=False)
        self._process = _SPAWN.Process(target=_work, args=(self._sender, study, dict(cell.parameters), base))
        self._started = time.monotonic()
        self._gone = False

    def start(self) -> None:
        """Start the process."""
        self._started = time.monotonic()
        with _one_thread():
            self._process.start()
        self._sender.close()  # so that the end of the process is the end of the pipe

    @property
    def seconds(self) -> float:
        """Wall seconds since the start."""
        return time.monotonic() - self._started

    @property
    def waitables(self) -> tuple[Connection, int]:
        """For `multiprocessing.connection.wait`: one is ready once the cell has sent its rows or died."""
        return self._receiver, self._process.sentinel

    def end(self) -> Ended:
        """What the cell sent, or how its process died; then the process and all its children are gone."""
        try:
            ended: Ended | None = self._receiver.recv() if self._receiver.poll() else None
        except (EOFError, OSError):
            ended = None
        self._process.join(_LEAVE_SECONDS)
        code = self._process.exitcode
        self.kill()
        if ended is None:
            return Ended(error=f"the process died: {_how(code)}")
        return ended

    def kill(self) -> None:
        """End the process and its children at once; again does nothing."""
        if self._gone:
            return
        if self._process.pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
            self._process.join()
        self._process.close()
        self._receiver.close()
        self._gone = True


def _how(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    return f"signal {signal.Signals(-code).name}"


@contextmanager
def _one_thread() -> Iterator[None]:
    """Thread pools take their size from the environment when they are loaded, so it is set before the child starts."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _work(sender: Connection, study: Study, cell: Parameters, base: Path) -> None:
    """What the child does. It leaves the terminal's process group, so that an interrupt reaches the runner alone."""
    os.setpgid(0, 0)
    os.dup2(2, 1)  # what a cell prints must not mix with the runner's result
    threading.Thread(target=_die_with_the_runner, daemon=True).start()
    try:
        rows = _texts(study, study.run(cell, base))
        ended = Ended(rows, core_seconds=sum(os.times()[:4]))
    except BaseException as error:  # noqa: BLE001 - whatever ends a cell is told to the runner, and ends no other
        told = f"{type(error).__name__}: {error}"
        ended = Ended(core_seconds=sum(os.times()[:4]), error=told, trace=traceback.format_exc())
    sender.send(ended)
    sender.close()


def _die_with_the_runner() -> None:
    runner = multiprocessing.parent_process()
    if runner is not None:
        runner.join()
        os.killpg(0, signal.SIGKILL)


def _texts(study: Study, rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    if not rows:
        raise ValueError("a cell must give one or more rows, got none")
    for row in rows:
        if row.keys() != set(study.result_columns):
            raise ValueError(f"a row must have {', '.join(study.result_columns)}, got {', '.join(row) or 'nothing'}")
    return [tuple(text_of(row[name]) for name in study.result_columns) for row in rows]
