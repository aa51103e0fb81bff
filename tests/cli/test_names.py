"""Names of files are shown, and never obeyed: not by the terminal, and not as markup."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from veilray.cli.output import OUT, STATUS, progress_bar
from veilray.images import write_image

Run = Callable[..., Any]

EVIL = (
    "a\x1b[2J\x1b[31m.png",
    "b\nreleased: all.png",
    "c\u202egnp.png",
    "d[red]x[bold].png",
    "e\x07\x08\x7f.png",
    "f:bomb:.png",
)
SHOWN = ("a\\x1b[2J", "b\\nreleased", "c\\u202e", "d[red]x[bold]", "e\\x07\\x08\\x7f", "f:bomb:", "ward\\x1b")


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Good pictures beside broken ones, all in a folder and under names that would have a terminal do things."""
    folder = tmp_path / "images" / "ward\x1b]0;owned\x07"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(40):
        write_image(folder / f"{number}.png", rng.integers(0, 256, (16, 16)).astype(np.uint8))
    whole = (folder / "0.png").read_bytes()
    for name in EVIL:
        (folder / name).write_bytes(whole[:40])
    (folder / "\x1b[31mgood.png").write_bytes(whole)
    return tmp_path / "images"


def shown(ran: Any) -> str:
    text: str = ran.out + ran.err
    obeyed = sorted({sign for sign in text if not sign.isprintable() and sign != "\n"})
    assert not obeyed, f"{obeyed} reached the terminal"
    assert "Traceback" not in text
    return text


def test_check_lists_what_it_refused(veilray: Run, hostile: Path, model: Path) -> None:
    ran = veilray("check", hostile, "--model", model)
    text = shown(ran)
    assert ran.code == 1
    for written in SHOWN:
        assert written in text, written
    assert not [line for line in ran.err.splitlines() if line.startswith("released: all")]


def test_json_is_escaped_too(veilray: Run, hostile: Path, model: Path) -> None:
    ran = veilray("check", hostile, "--model", model, "--json")
    assert "\\\\x1b[2J" in shown(ran)
    assert "\\\\x7f" in ran.out


def test_fit_and_release_and_obfuscate(veilray: Run, hostile: Path, model: Path, house: Path, tmp_path: Path) -> None:
    out = tmp_path / "out\x1b[2J"
    fitted = veilray(
        "fit", "dp-glow", hostile, "--out", out, "--size", 8, "--levels", 1, "--steps", 1, "--width", 4, "--epochs", 1,
        "--statement", "from \x1b[2Jthere",
    )  # fmt: skip
    assert "out\\x1b[2J" in shown(fitted)
    for number, policy in enumerate(("withheld", "public")):
        ran = veilray(
            "release", hostile, "--model", model, "--epsilon", 1, "--out", f"{out}{number}", "--label-policy", policy
        )
        assert ran.code == (1 if policy == "withheld" else 2)
        shown(ran)
    shown(veilray("card", f"{out}0"))
    shown(veilray("ledger", "show"))
    ran = veilray("obfuscate", hostile, "--model", house / "batches", "--key", house / "key", "--out", f"{out}o")
    assert (ran.code, "a label must be one line" in shown(ran)) == (2, True)
    kept = ("--record", tmp_path / "record\x1b[31m", "--label-policy", "withheld")
    ran = veilray("obfuscate", hostile, "--model", house / "batches", "--key", house / "key", "--out", f"{out}p", *kept)
    assert (ran.code, "record\\x1b[31m" in shown(ran)) == (1, True)


def test_errors_name_files_on_one_line(veilray: Run, hostile: Path, model: Path, house: Path, tmp_path: Path) -> None:
    evil = tmp_path / "no\nsuch\x1b[2J"
    foreign = Path(shutil.copytree(house / "out", tmp_path / "sent"))
    (foreign / EVIL[0]).touch()
    for asked in (
        ("check", evil, "--model", model),
        ("check", hostile, "--model", evil),
        ("card", evil),
        ("features", evil, "--out", tmp_path / "f.npz"),
        ("cloud-train", foreign, "--out", tmp_path / "c"),
        ("keys", "new", "--out", evil / "key"),
        ("ledger", "show", "--ledger", evil),
        (str(evil),),
        ("check", hostile, f"--{evil}"),
    ):
        ran = veilray(*asked)
        shown(ran)
        assert ran.code == 2, asked
        assert "\\x1b[2J" in ran.err, asked
        assert len([line for line in ran.err.splitlines() if line.startswith("veilray: ")]) == 1


def test_a_terminal_is_told_no_more(hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever way text takes through rich: as a string, a renderable, a title, or beside a bar."""
    evil = "x\x1b[2J\x9by[red]z[/red]:bomb:"
    table = Table(title=evil)
    table.add_column(evil)
    table.add_row(evil)
    for console in (OUT, STATUS):
        for what in (evil, table, Panel(evil), Panel(Text(evil), title=Text(evil)), Text(evil)):
            console.print(what, width=200)
    with progress_bar(evil) as advance:
        advance(1, 2, evil)
    text = "".join(capsys.readouterr())
    assert not [sign for sign in text if not sign.isprintable() and sign != "\n"]
    assert text.count("[red]z[/red]:bomb:") > 10


def test_a_bar_is_told_no_more(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(STATUS, "_force_terminal", True)
    monkeypatch.setattr(STATUS, "is_interactive", True)
    with progress_bar("x\x1b[41m[red]z[/red]") as advance:
        advance(1, 2, "y\x1b[42m[red]z[/red]")
    text = "".join(capsys.readouterr())
    assert "\\x1b[41m" in text
    assert "\x1b[41m" not in text
    assert "\x1b[42m" not in text
