"""Cells in processes: what finishes is kept, what hangs, dies or raises is written down, what is done is skipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from veilray.errors import Refused
from veilray_studies import StudyTable, draw_study, run_study
from veilray_studies.storage import open_for_append


def test_cells_are_run_kept_and_resumed(write, tmp_path: Path) -> None:
    out = tmp_path / "data" / "tiny.csv"
    path, told = write('mechanism = ["directional"]\nepsilon = ["1"]\nseed = [0, 1]'), []
    first = run_study(path, ("seed=0",), on_plan=told.append, progress=lambda *at: told.append(at))
    assert (first.complete, first.finished, first.rows) == (True, 1, 2)
    assert told == [first.plan, (0, 1, ""), (1, 1, "")]
    before = out.read_bytes()

    with pytest.raises(ValueError, match="got 1 of them finished: continue with --resume"):
        run_study(path)
    second = run_study(path, resume=True, jobs=2)
    assert (second.finished, len(second.plan.done)) == (1, 1)
    assert out.read_bytes().startswith(before)

    table = StudyTable.read(out)
    assert table.column("seed") == ["0", "0", "1", "1"]
    assert set(table.where(measure="correlation").column("threads")) == {"1"}
    assert all(0 < value < 60 for value in table.numbers("core_seconds"))
    assert 0.1 < table.where(measure="correlation").mean("value").mean < 0.4

    assert draw_study(path, ("seed=1",)) == [tmp_path / "data" / "tiny.txt"]
    assert (tmp_path / "data" / "tiny.txt").read_text().endswith(" 1")
    assert not (tmp_path / "data" / "tiny.csv.failed.jsonl").exists()


def test_the_same_cell_gives_the_same_bytes(write, tmp_path: Path) -> None:
    def measured(out: str) -> list[dict[str, str]]:
        run_study(write(top={"out": f'"{out}"'}), ("seed=0",))
        return [{**row, "core_seconds": ""} for row in StudyTable.read(tmp_path / out)]

    assert measured("a.csv") == measured("b.csv")


def test_faulty_cells_are_written_down_and_the_others_go_on(write, tmp_path: Path, capfd) -> None:
    faults = ["raise", "die", "no rows", "odd row", "print"]
    path = write(f'mechanism = "laplace"\nepsilon = "1"\nseed = 0\nfault = {faults}')
    outcome = run_study(path)
    assert not outcome.complete
    assert [(failure.cell.key[3], failure.error) for failure in outcome.failures] == [
        ("raise", "ArithmeticError: no such number"),
        ("die", "the process died: signal SIGKILL"),
        ("no rows", "ValueError: a cell must give one or more rows, got none"),
        ("odd row", "ValueError: a row must have measure, value, threads, got measure"),
    ]
    assert set(StudyTable.read(tmp_path / "data" / "tiny.csv").column("fault")) == {"print"}
    told = [json.loads(line) for line in outcome.failures_file.read_text().splitlines()]
    assert [line["cell"]["fault"] for line in told[:2]] == ["raise", "die"]
    assert "in _fail" in told[0]["trace"]
    assert capfd.readouterr().out == ""  # what a cell prints never mixes with a result


def test_a_hung_cell_is_killed(write, alive, tmp_path: Path) -> None:
    path = write('mechanism = "laplace"\nepsilon = "1"\nseed = 0\nfault = "hang"', limits="cell_minutes = 0.04")
    (failure,) = run_study(path).failures
    assert failure.error == "killed after 0.04 minutes"
    assert not any(alive(int(each.name.removeprefix("hanging-"))) for each in tmp_path.glob("hanging-*"))


def test_a_study_stops_when_its_core_hours_are_spent(write) -> None:
    path = write('mechanism = "laplace"\nepsilon = "0.01"\nseed = [0, 1, 2]', limits="core_hours = 1e-5")
    outcome = run_study(path)
    assert (outcome.finished, outcome.unstarted, outcome.complete) == (1, 2, False)
    with pytest.raises(ValueError, match="core-hours, got"):  # the statement has learnt from the first cell
        run_study(path, resume=True)


def test_a_wrong_study_makes_no_file(write, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="core-hours"):
        run_study(write(limits="core_hours = 0.0001"))
    with pytest.raises(ValueError, match="got none: run the study first"):
        draw_study(write())
    assert not (tmp_path / "data").exists()


def test_a_second_run_is_refused(write, tmp_path: Path, tiny) -> None:
    with open_for_append(tmp_path / "data" / "tiny.csv", tiny), pytest.raises(Refused, match="is in use"):
        run_study(write(), resume=True)
