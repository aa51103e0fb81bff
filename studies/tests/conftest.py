"""Registers the tiny study and writes configurations for it; runs the command; fits one tiny real model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from sklearn.datasets import load_digits

from veilray.api import fit
from veilray_studies.cli import main

sys.path.insert(0, str(Path(__file__).parent))  # spawned cells take this path over and import the kind by its name
import tiny_study

# The same examples in every run of CI: a build fails for what changed, not for the draw. At a desk they vary.
settings.register_profile("steady", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("steady")

HERE = Path(__file__).parent
Write = Callable[..., Path]


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def _own_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What fits leave beside the ledger must not land in the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VEILRAY_LEDGER", str(tmp_path_factory.mktemp("custodian") / "ledger.sqlite"))
        yield


@pytest.fixture
def veilray_study(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run the real command in this process."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr("sys.argv", ["veilray-study", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Ran(int(ended.value.code or 0), out.strip(), err)

    return run


@pytest.fixture(scope="session")
def tiny_options() -> dict[str, Any]:
    """Of a model of 8 x 8 pictures that is fitted in half a second."""
    return {
        "size": 8, "levels": 2, "steps": 2, "width": 8, "epochs": 2, "training_data": "public", "statement": "digits",
    }  # fmt: skip


@pytest.fixture(scope="session")
def directional_model(tmp_path_factory: pytest.TempPathFactory, tiny_options: dict[str, Any]) -> Path:
    """A MODEL of `veilray fit directional`, of 240 handwritten digits."""
    folder = tmp_path_factory.mktemp("fits")
    values, digits = load_digits(return_X_y=True)
    images, names = (values[:240].reshape(-1, 8, 8) * 15).astype(np.uint8), [f"p{number}" for number in range(240)]
    np.savez(folder / "digits.npz", images=images, label=np.where(digits[:240] % 2, "odd", "even"), patient=names)
    fit("directional", folder / "digits.npz", folder / "model", content="pixels", keep=4, **tiny_options)
    return folder / "model"


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
    """`veilray-study ARGUMENTS` in a real process of its own."""

    def start(*arguments: object) -> subprocess.Popen[str]:
        code = "import tiny_study; from veilray_studies.cli import main; main()"
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]), "COLUMNS": "200"},
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
