"""Where the ledger lies: one absolute place, or a sentence that says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from veilray.ledger import Journal, default_ledger, ledger_path


def test_the_environment_moves_the_ledger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VEILRAY_LEDGER", str(tmp_path / "there.sqlite"))
    assert default_ledger() == ledger_path() == tmp_path / "there.sqlite"
    monkeypatch.delenv("VEILRAY_LEDGER")
    assert default_ledger().name == "ledger.sqlite"
    assert default_ledger().is_absolute()


@pytest.mark.parametrize("told", ["ledger/ledger.sqlite", "ledger.sqlite", "./l", "sqlite:///l.sqlite"])
def test_a_relative_setting_is_refused_with_its_cure(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setenv("VEILRAY_LEDGER", told)
    with pytest.raises(ValueError, match=r"\$VEILRAY_LEDGER must be an absolute path, got .*\$PWD"):
        default_ledger()


def test_what_is_given_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert ledger_path("l.sqlite") == ledger_path(Path("l.sqlite")) == tmp_path / "l.sqlite"


@pytest.mark.parametrize("written", ["~/l.sqlite", "sqlite:///~/l.sqlite", Path("~/l.sqlite")])
def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: str | Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ledger_path(written) == tmp_path / "l.sqlite"
    monkeypatch.setenv("VEILRAY_LEDGER", str(written))
    assert default_ledger() == tmp_path / "l.sqlite"


def test_a_sqlite_url_is_its_file_and_makes_no_folder_of_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Journal(f"sqlite:///{tmp_path}/a.sqlite").path == tmp_path / "a.sqlite"
    assert Journal("sqlite:///b.sqlite").path == tmp_path / "b.sqlite"
    assert {path.name for path in tmp_path.iterdir()} == {"a.sqlite", "b.sqlite"}


@pytest.mark.parametrize(
    "written",
    [
        "postgresql://house/ledger",
        "postgresql+psycopg://u:secret@h/d",
        "mysql://h/d",
        "file:///l.sqlite",
        Path("postgresql://h/d"),
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///l?mode=ro",
        Path("sqlite:///l.sqlite"),
        "",
        "~nobody-of-this-name/l.sqlite",
    ],
)
def test_what_is_no_file_is_refused_and_nothing_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: str | Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="ledger must be a path") as caught:
        Journal(written)
    assert "secret" not in str(caught.value), "a URL may hold a password"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a b.sqlite", "50%.sqlite", "what?.sqlite", "#1.sqlite", "ü.sqlite"])
def test_any_file_name_is_a_ledger(tmp_path: Path, name: str) -> None:
    assert Journal(tmp_path / name).budget is None
    assert [path.name for path in tmp_path.iterdir()] == [name]
