"""Whole cells or nothing: what the CSV holds after crashes of every kind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from veilray.errors import Refused
from veilray_studies.storage import finished_cells, open_for_append

KEYS = [("laplace", "1", "0", ""), ("a, b", "1/2", "1", "x")]
ROWS = [("correlation", "0.5", "1"), ("distortion", "2.0", "")]
BYTES = (
    b"mechanism,epsilon,seed,fault,measure,value,threads,core_seconds,software,cell_rows\n"
    b"laplace,1,0,,correlation,0.5,1,1.25,0.1,2\n"
    b"laplace,1,0,,distortion,2.0,,1.25,0.1,2\n"
    b'"a, b",1/2,1,x,correlation,0.5,1,0.5,0.1,2\n'
    b'"a, b",1/2,1,x,distortion,2.0,,0.5,0.1,2\n'
)


def fill(path: Path, tiny) -> None:
    with open_for_append(path, tiny) as file:
        file.append(KEYS[0], ROWS, 1.251, "0.1")
        file.append(KEYS[1], ROWS, 0.5, "0.1")


def test_the_bytes_are_these(tmp_path: Path, tiny) -> None:
    fill(tmp_path / "t.csv", tiny)
    assert (tmp_path / "t.csv").read_bytes() == BYTES
    table, finished = finished_cells(tmp_path / "t.csv", tiny)
    assert finished == {KEYS[0]: 1.25, KEYS[1]: 0.5}
    assert [row["measure"] for row in table] == ["correlation", "distortion"] * 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.integers(0, len(BYTES)))
def test_a_file_torn_anywhere_is_mended_to_whole_cells(tmp_path: Path, tiny, cut: int) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(BYTES[:cut])
    _, seen = finished_cells(path, tiny)
    with open_for_append(path, tiny) as file:
        assert file.finished == seen
        for key in KEYS[len(seen) :]:
            file.append(key, ROWS, {KEYS[0]: 1.25, KEYS[1]: 0.5}[key], "0.1")
    assert path.read_bytes() == BYTES


def test_reading_mends_nothing(tmp_path: Path, tiny) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(BYTES[:-3])
    assert len(finished_cells(path, tiny)[0]) == 2
    assert path.read_bytes() == BYTES[:-3]


def test_a_table_of_other_columns_is_refused_and_left_alone(tmp_path: Path, tiny) -> None:
    path = tmp_path / "t.csv"
    fill(path, tiny)
    tiny.result_columns = (*tiny.result_columns, "new")
    with pytest.raises(ValueError, match="a table keeps its columns; name another `out`"), open_for_append(path, tiny):
        pass
    assert path.read_bytes() == BYTES
    path.write_bytes(b"a letter")
    with pytest.raises(ValueError, match="without its header"), open_for_append(path, tiny):
        pass
    assert path.read_bytes() == b"a letter"


@pytest.mark.parametrize("lines", [(0, 1, 3, 4), (0, 1, 2, 1, 2), (0, 1, 3, 2, 4)])
def test_a_table_edited_by_hand_is_refused(tmp_path: Path, tiny, lines: tuple[int, ...]) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"".join(BYTES.splitlines(keepends=True)[number] for number in lines))
    with pytest.raises(ValueError, match="each cell once with all its rows, got another on line"):
        finished_cells(path, tiny)


def test_two_writers_are_refused(tmp_path: Path, tiny) -> None:
    path = tmp_path / "t.csv"
    with (
        open_for_append(path, tiny),
        pytest.raises(Refused, match="another process is running this study"),
        open_for_append(path, tiny),
    ):
        pass
    fill(path, tiny)


def test_a_full_disk_leaves_no_half_cell(tmp_path: Path, tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    write = os.write
    with open_for_append(path, tiny) as file:
        file.append(KEYS[0], ROWS, 1.25, "0.1")
        before = path.read_bytes()

        def full(descriptor: int, content: memoryview) -> int:
            if len(content) < 60:
                raise OSError(28, "No space left on device")
            return write(descriptor, content[:40])

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            file.append(KEYS[1], ROWS, 0.5, "0.1")
    assert path.read_bytes() == before
