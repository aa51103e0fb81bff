"""A released table in a stranger's hands: rows, schema and claim, and nothing that was altered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import veilray
from veilray.ledger import Journal
from veilray.releases import OpenedTable, Plan, is_table, open_table, start_release
from veilray.releases.reader import receive
from veilray.releases.staging import sha256_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_plan: Callable[..., Plan]) -> Path:
    home = tmp_path_factory.mktemp("opened")
    start_release(make_plan(25, diagnosis="public"), home / "out", home / "record", Journal(home / "l.sqlite"))
    return home / "out"


@pytest.fixture
def copied(tmp_path: Path, folder: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copied"))


def test_three_lines_for_a_stranger(folder: Path) -> None:
    release = veilray.open_release(folder)
    assert isinstance(release, OpenedTable)
    frame = release.to_pandas()
    assert len(release) == len(frame) == 25
    assert list(frame.columns) == ["diagnosis", "diameter", "grade", "visits", "seen", "ward"]
    assert list(frame["diagnosis"].cat.categories) == ["benign", "malignant"]
    assert frame["grade"].cat.ordered
    assert release.to_arrow().num_rows == 25
    assert release.guarantee.record == "row"
    assert repr(release).startswith("OpenedTable(25 rows of 6 columns in ")
    np.testing.assert_array_equal(release.records.values, release.records.snapped().values)


def test_pictures_and_tables_are_told_apart(folder: Path) -> None:
    assert is_table(folder)
    with pytest.raises(ValueError, match="RELEASE must hold pictures, got a table"):
        receive(folder)


@pytest.mark.parametrize("name", ["data.csv", "data.parquet", "schema.yaml", "README", "DATASET.md"])
def test_an_altered_or_missing_file_is_refused(copied: Path, name: str) -> None:
    (copied / name).write_bytes((copied / name).read_bytes() + b"\n")
    with pytest.raises(ValueError, match=r"must have the SHA-256 that release.json names"):
        open_table(copied)
    (copied / name).unlink()
    with pytest.raises(ValueError, match="must"):
        open_table(copied)


def forge(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Alter release.json, with the hashes of all files as they are now."""
    told = json.loads((folder / "release.json").read_text())
    told["files"] = {name: sha256_of(folder / name) for name in told["files"]}
    change(told)
    (folder / "release.json").write_text(json.dumps(told))


@pytest.mark.parametrize(
    "row", ["other,1.0,low,1,2001-01-01,north", "benign,1.0,low,99,2001-01-01,north", "benign,1.0,low"]
)
def test_rows_that_their_own_schema_refuses(copied: Path, row: str) -> None:
    lines = (copied / "data.csv").read_text().splitlines()
    (copied / "data.csv").write_text("\n".join([*lines[:-1], row, ""]))
    forge(copied, lambda told: None)
    with pytest.raises(ValueError, match=r"must hold the rows that release.json claims"):
        open_table(copied)


def test_another_number_of_rows_is_refused(copied: Path) -> None:
    lines = (copied / "data.csv").read_text().splitlines()
    (copied / "data.csv").write_text("\n".join([*lines, lines[-1], ""]))
    forge(copied, lambda told: None)
    with pytest.raises(ValueError, match=r"must hold the rows that release.json claims"):
        open_table(copied)


@pytest.mark.parametrize("name", ["../data.csv", "/etc/passwd", "images/../../x"])
def test_a_file_outside_the_folder_is_refused(copied: Path, name: str) -> None:
    forge(copied, lambda told: told["files"].update({name: "0" * 64}))
    with pytest.raises(ValueError, match="must"):
        open_table(copied)


def test_data_that_are_not_listed_are_refused(copied: Path) -> None:
    forge(copied, lambda told: told["files"].pop("data.csv"))
    with pytest.raises(ValueError, match="must"):
        open_table(copied)


def test_no_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"RELEASE must be a folder with release.json in it"):
        is_table(tmp_path)
