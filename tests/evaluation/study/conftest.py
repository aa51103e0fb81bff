"""Registers the tiny study, and writes configurations for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # spawned cells take this path over and import the kind by its name
import tiny_study

HERE = Path(__file__).parent
Write = Callable[..., Path]


@pytest.fixture
def tiny() -> tiny_study.Tiny:
    return tiny_study.Tiny()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write `study.toml` with the given tables; returns its path."""

    def write(grid: str = 'mechanism = ["laplace"]\nepsilon = ["1"]\nseed = [0, 1]', **tables: Any) -> Path:
        top = {"name": '"tiny"', "kind": '"tiny"', "out": '"data/tiny.csv"', **tables.pop("top", {})}
        text = "\n".join(f"{name} = {value}" for name, value in top.items())
        for name, body in tables.items():
            text += f"\n[{name}]\n{body}"
        for body in grid.split("---"):
            text += f"\n[[grid]]\n{body.strip()}"
        path = tmp_path / "study.toml"
        path.write_text(text + "\n")
        return path

    return write


def _interruptible() -> None:
    """A shell starts what runs in its background with interrupts ignored, and a child inherits that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def in_process() -> Callable[..., subprocess.Popen[str]]:
    """`veilray study ARGUMENTS` in a real process of its own."""

    def start(*arguments: object) -> subprocess.Popen[str]:
        code = "import tiny_study; from veilray.cli.main import main; main()"
        return subprocess.Popen(
            [sys.executable, "-c", code, "study", *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(HERE), "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_interruptible,  # noqa: PLW1509  no threads here
        )

    return start


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], Any]:
    """Wait until something is true."""

    def wait(holds: Callable[[], Any]) -> Any:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if told := holds():
                return told
            time.sleep(0.02)
        raise AssertionError("did not happen within 30 seconds")

    return wait


@pytest.fixture
def alive() -> Callable[[int], bool]:
    """Whether a process runs; one that is dead and not yet collected does not."""

    def runs(process: int) -> bool:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
        return state.stdout.strip()[:1] not in ("", "Z")

    return runs
