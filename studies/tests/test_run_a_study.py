"""The page on studies: its kind is run on its own configuration, and its table read as it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "run-a-study.md"
TITLED = re.compile(r'^```python title="([^"]+)"\n(.*?)^```', re.DOTALL | re.MULTILINE)
PLAIN = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
CONFIG = re.compile(r"^```toml\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The kind as a module of its own, the configuration, and the reader's lines."""
    text = PAGE.read_text("utf-8")
    (kind,) = TITLED.findall(text)
    (config,) = CONFIG.findall(text)
    (reader,) = PLAIN.findall(text)
    (tmp_path / Path(kind[0]).name).write_text(kind[1])
    (tmp_path / "keeps.toml").write_text(config.replace("20000", "500"))
    (tmp_path / "read.py").write_text(reader)
    return tmp_path


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_kind_runs_its_configuration(folder: Path) -> None:
    study = ("-c", "import keeps; from veilray_studies.cli import main; main()", "keeps.toml")
    planned = run(folder, *study, "--dry-run")
    assert planned.stdout.startswith("51 cells, 0 done, 51 left"), planned.stderr
    done = run(folder, *study, "--cells", "epsilon=1", "--cells", "seed=0,1", "--cells", "keep=4")
    assert done.returncode == 0, done.stdout + done.stderr
    drawn = run(folder, *study, "--plot")
    assert drawn.stdout.strip().endswith("keeps.png")
    read = run(folder, "read.py")
    assert re.findall(r"^(\w+) 1 4 0\.\d{3} \+- 0\.\d{3}, 2 seeds$", read.stdout, re.M) == ["laplace", "directional"]


def test_the_kind_is_in_the_style_of_the_project(folder: Path) -> None:
    pytest.importorskip("ruff", reason='the style is checked by ruff: pip install -e ".[dev]"')
    configuration = str(PAGE.parents[2] / "pyproject.toml")
    own = 'lint.isort.known-first-party = ["veilray", "veilray_studies"]'
    for step in (["check", "--ignore", "PLC0415"], ["format", "--check"]):
        ran = run(folder, "-m", "ruff", *step, "--no-cache", "--config", configuration, "--config", own, "keeps.py")
        assert ran.returncode == 0, ran.stdout + ran.stderr
