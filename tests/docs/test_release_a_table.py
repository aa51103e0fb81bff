"""The page on releasing a table: its commands and its Python are run as they stand, in order, with fewer epochs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from veilray import open_release
from veilray.cli.main import main
from veilray.releases import OpenedTable
from veilray.tables import Records, Schema

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "how-to" / "release-a-table.md"
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
EXPECTED = re.compile(r"# exit code (\d+)$")
FEWER = ["--epochs", "2", "--couplings", "2", "--width", "16"]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty house with the page's table, cut small."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VEILRAY_LEDGER", str(tmp_path / "house" / "ledger.sqlite"))
    monkeypatch.setenv("COLUMNS", "100")
    schema = Schema.from_yaml(REPOSITORY / "studies" / "tables" / "breast-cancer.yaml")
    found = load_breast_cancer()
    records = Records.of(schema, np.column_stack([found.data, found.target])).snapped()
    folder = tmp_path / "sets" / "breast-cancer"
    folder.mkdir(parents=True)
    schema.to_yaml(folder / "schema.yaml")
    for part, first in (("public", 0), ("private", 80)):
        records[first : first + 80].write_csv(folder / f"{part}.csv")
    return tmp_path


def commands(body: str) -> Iterator[tuple[list[str], int]]:
    """Words and exit code of each `veilray` line."""
    for line in body.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0] == "veilray":
            code = EXPECTED.search(line)
            yield words[1:], int(code[1]) if code else 0


def test_every_block_runs_in_order(
    house: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    for language, body in BLOCK.findall(PAGE.read_text("utf-8")):
        if language == "python":
            quick = body.replace("epochs=100", "epochs=2, couplings=2, width=16")
            exec(compile(quick, PAGE.name, "exec"), names)
            continue
        for words, code in commands(body):
            arguments = words + (FEWER if words[0] == "fit" else [])
            monkeypatch.setattr("sys.argv", ["veilray", *arguments])
            with pytest.raises(SystemExit) as ended:
                main()
            assert int(ended.value.code or 0) == code, words
    assert "confirmed: false" in (house / "drafted.yaml").read_text()
    told = capsys.readouterr()
    assert "6 rows refused" in told.out
    assert "1 row refused" in told.out
    assert "in every row, got a value out of bounds in row 3" in told.err
    for name, rows in (("release", 80), ("release-python", 80), ("release-sklearn", 80), ("release-withheld", 80)):
        opened = open_release(house / name)
        assert isinstance(opened, OpenedTable)
        assert len(opened) == rows
        assert ("diagnosis" in opened.schema.names) == (name != "release-withheld")


def test_what_the_page_shows_of_a_draft_is_open(house: Path) -> None:
    shown = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    with pytest.raises(ValueError, match="low must be given for kind continuous"):
        Schema.from_text(shown[0])
