"""What an earlier version made still opens, verifies and resumes; the archive was written by commit 618c13c."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zipfile
from pathlib import Path

import pytest

import veilray
from veilray.api import OpenedRelease
from veilray.ledger import Journal, ReleaseState

ARCHIVE = Path(__file__).parent / "made-by-618c13c.zip"
WRITTEN_IN = "/tmp/compat"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders of the earlier version, as if they had been made here."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    for job in tmp_path.glob("*/job.json"):
        job.write_text(job.read_text().replace(WRITTEN_IN, str(tmp_path)))
    monkeypatch.setenv("VEILRAY_LEDGER", str(tmp_path / "house" / "ledger.sqlite"))
    return tmp_path


@pytest.mark.parametrize(("name", "count"), [("release", 6), ("code-release", 6), ("table-release", 12)])
def test_a_release_opens_and_verifies(made: Path, name: str, count: int) -> None:
    opened = veilray.open_release(made / name)
    assert len(opened) == count
    assert opened.guarantee.releases is not None
    assert opened.guarantee.releases.images == count
    assert opened.model.training.data == "public"


def test_a_kept_code_is_read_and_its_mechanism_rebuilt(made: Path) -> None:
    opened = veilray.open_release(made / "code-release")
    assert isinstance(opened, OpenedRelease)
    assert opened.features().shape == (6, 2)
    assert opened.encode(opened.images).shape == (6, 2)


def test_a_ledger_knows_what_was_spent(made: Path) -> None:
    journal = Journal(made / "house" / "ledger.sqlite")
    states = [row.state for row in journal.releases()]
    assert sorted(states) == sorted([ReleaseState.PUBLISHED] * 3 + [ReleaseState.RESERVED] * 2)
    assert journal.spent("b0") == 16  # two rows of a person, each in two releases at epsilon 4


def test_a_half_done_release_of_pictures_is_resumed(made: Path) -> None:
    rows = sqlite3.connect(made / "half-record" / "record.sqlite").execute(
        "SELECT released, sha256 FROM item WHERE sha256 IS NOT NULL"
    )
    committed = {json.loads(told)["path"]: sha256 for told, sha256 in rows}
    assert len(committed) == 2
    outcome = veilray.release(
        made / "source",
        made / "model",
        "8",
        made / "half",
        record=made / "half-record",
        label_policy="randomised",
        label_epsilon="1",
        resume=True,
    )
    assert outcome.count == 6
    for path, sha256 in committed.items():
        assert hashlib.sha256((made / "half" / path).read_bytes()).hexdigest() == sha256
    assert len(veilray.open_release(made / "half")) == 6


def test_a_half_done_release_of_a_table_is_resumed(made: Path) -> None:
    outcome = veilray.release(
        made / "private.csv",
        made / "table-model",
        "4",
        made / "table-half",
        record=made / "table-half-record",
        label_policy="public",
        resume=True,
    )
    assert outcome.count == 12
    assert len(veilray.open_release(made / "table-half")) == 12
