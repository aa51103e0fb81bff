"""The pages of obfuscation: their commands are run as they stand, in order, on small pictures and with fewer epochs."""

from __future__ import annotations

import json
import re
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from veilray.cli.main import main
from veilray.evaluation.attacks.intensity import UNetReconstruction

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
CLOUD = HOW_TO / "train-in-somebody-elses-cloud.md"
ATTACK = HOW_TO / "attack-an-obfuscation.md"
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
EXPECTED = re.compile(r"# exit code (\d+)$")
TRAINS = ("fit", "cloud-train")
FEWER = ["--epochs", "2"]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty house with pictures under the names that the pages use."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VEILRAY_LEDGER", str(tmp_path / "house" / "ledger.sqlite"))
    (tmp_path / "sets" / "digits").mkdir(parents=True)
    for seed, (part, count) in enumerate((("public", 60), ("private", 60), ("test", 12))):
        discs(tmp_path / "sets" / "digits" / f"{part}.npz", count, seed)
    return tmp_path


def discs(path: Path, count: int, seed: int) -> None:
    """A disc on the left or on the right, under noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:28, :28]
    kinds = np.arange(count) % 2
    disc = (rows - 14) ** 2 + (columns - np.array([7, 20])[kinds][:, None, None]) ** 2 < 30
    np.savez(path, images=(disc * 150 + rng.integers(0, 40, (count, 28, 28))).astype(np.uint8), label=kinds)


def blocks(page: Path) -> list[tuple[str, str]]:
    found = [(language, body) for language, body in BLOCK.findall(page.read_text("utf-8"))]
    assert found
    return found


def commands(body: str) -> Iterator[tuple[list[str], int]]:
    """Words and exit code of each `veilray` line; what fetches data is left out."""
    for line in body.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0] == "veilray":
            code = EXPECTED.search(line)
            yield words[1:], int(code[1]) if code else 0


def follow(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for language, body in blocks(page):
        if language == "python":
            exec(compile(body, page.name, "exec"), {})
            continue
        for words, code in commands(body):
            arguments = words + (FEWER if words[0] in TRAINS else [])
            monkeypatch.setattr("sys.argv", ["veilray", *arguments])
            with pytest.raises(SystemExit) as ended:
                main()
            assert int(ended.value.code or 0) == code, words


def test_both_sides_run_as_told(
    house: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    follow(CLOUD, monkeypatch)
    assert re.search(r"^\d+ of 12 right$", capsys.readouterr().out, re.MULTILINE)
    assert (house / "predictions-2.csv").exists()
    assert stat.S_IMODE((house / "digits.key").stat().st_mode) == 0o600
    crossed = b"".join(path.read_bytes() for path in (house / "to-the-cloud").rglob("*") if path.is_file())
    never = [json.loads((house / "digits.key").read_text())["secret"], "sets/digits", "private.npz", str(house)]
    assert [word for word in never if word.encode() in crossed] == []


@pytest.mark.slow
def test_the_attacks_run_as_told(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UNetReconstruction.__init__, "__defaults__", (8, 500))  # steps, most pairs
    follow(CLOUD, monkeypatch)
    follow(ATTACK, monkeypatch)
    for folder in (house / "attacks").iterdir():
        told = json.loads((folder / "figures.json").read_text())
        assert told["guarantee"] is None
        assert (folder / "sheet.png").exists()
        page = ATTACK.read_text("utf-8")
        unexplained = [name for name in told if not explained(name, page)]
        assert unexplained == []


def explained(field: str, page: str) -> bool:
    stem = re.sub(r"_(low|high|count)$", "", field)
    stem = re.sub(r"^null_", "", re.sub(r"^ssim_with_\d+_pairs$", "ssim_with_1_pairs", stem))
    return f"`{stem}`" in page
