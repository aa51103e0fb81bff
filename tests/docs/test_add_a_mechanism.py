"""The example of the page on adding a mechanism is run as it stands, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from veilray.privacy import MECHANISMS

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "add-a-mechanism.md"
FILE = re.compile(r"^```python title=\"([^\"]+)\"\n(.*?)^```", re.DOTALL | re.MULTILINE)

# The example's file is found as part of the package without being put into it.
CONFTEST = """
from pathlib import Path
import veilray.privacy.mechanisms as package
package.__path__.append(str(Path(__file__).parent))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place, text in FILE.findall(PAGE.read_text("utf-8")):
        (tmp_path / Path(place).name).write_text(text)
    return tmp_path


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def test_the_page_holds_one_mechanism_and_one_test_file() -> None:
    places = [place for place, _ in FILE.findall(PAGE.read_text("utf-8"))]
    assert places == ["src/veilray/privacy/mechanisms/signs.py", "tests/privacy/mechanisms/test_signs.py"]


def test_the_example_keeps_its_claim_and_passes_its_own_tests(folder: Path) -> None:
    (folder / "conftest.py").write_text(CONFTEST)
    ran = run(folder, "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), "test_signs.py")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "failed" not in ran.stdout and " passed" in ran.stdout


def test_the_example_is_in_the_style_of_the_project(folder: Path) -> None:
    pytest.importorskip("ruff", reason='the style is checked by ruff: pip install -e ".[dev]"')
    configuration = str(PAGE.parents[2] / "pyproject.toml")
    own = 'lint.isort.known-first-party = ["veilray"]'  # there is no src folder beside the example
    for step in (["check"], ["format", "--check"]):
        ran = run(folder, "ruff", *step, "--no-cache", "--config", configuration, "--config", own, ".")
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_example_stays_out_of_the_registry_of_other_tests() -> None:
    assert "signs" not in MECHANISMS
