"""The real command in real processes: killed, interrupted, and started twice."""

from __future__ import annotations

import signal
from pathlib import Path

from veilray_studies import StudyTable, run_study

GRIDS = """
mechanism = "laplace"
epsilon = "1"
seed = 0
---
mechanism = "laplace"
epsilon = "1"
seed = 1
fault = "hang"
---
mechanism = "laplace"
epsilon = "1"
seed = 2
"""


def test_killed_and_resumed(write, in_process, until, alive, tmp_path: Path) -> None:
    path, out = write(GRIDS), tmp_path / "data" / "tiny.csv"
    runner = in_process(path)
    (hanging,) = until(lambda: list(tmp_path.glob("hanging-*")))
    runner.kill()
    runner.communicate()
    before = out.read_bytes()
    assert StudyTable.read(out).column("seed") == ["0", "0"]
    until(lambda: not alive(int(hanging.name.removeprefix("hanging-"))))

    out.write_bytes(before + b"laplace,1,2,,correl")  # as a crash in the middle of a row leaves it
    outcome = run_study(path, ("seed=0,2",), resume=True)
    assert (len(outcome.plan.done), outcome.finished) == (1, 1)
    assert out.read_bytes().startswith(before)
    assert StudyTable.read(out).column("seed") == ["0", "0", "2", "2"]


def test_interrupted_while_a_second_run_is_refused(write, in_process, until, alive, tmp_path: Path) -> None:
    path = write(GRIDS)
    first = in_process(path, "--json")
    (hanging,) = until(lambda: list(tmp_path.glob("hanging-*")))

    second = in_process(path, "--resume")
    _, told = second.communicate(timeout=60)
    assert second.returncode == 3
    assert "another process is running this study" in told

    first.send_signal(signal.SIGINT)
    out, told = first.communicate(timeout=60)
    assert first.returncode == 130
    assert out == ""
    assert "3 cells, 0 done, 3 left" in told
    assert "what was finished is kept, and --resume continues" in told
    assert "Traceback" not in told
    assert StudyTable.read(tmp_path / "data" / "tiny.csv").column("seed") == ["0", "0"]
    until(lambda: not alive(int(hanging.name.removeprefix("hanging-"))))
