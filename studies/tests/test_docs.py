"""The documentation says what `veilray-study` does: commands, options, Python.

`python studies/tests/test_docs.py` writes the table of options of `docs/how-to/run-a-study.md` anew.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from veilray_studies.cli import app

REPOSITORY = Path(__file__).parents[2]
CONFIGURATIONS = sorted((REPOSITORY / "studies").glob("*.toml"))


def _of_the_package() -> ModuleType:
    """How the package's own test of the documentation reads pages."""
    spec = importlib.util.spec_from_file_location("docs_of_the_package", REPOSITORY / "tests" / "docs" / "test_docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


docs = _of_the_package()
PAGE: Path = docs.DOCS / "how-to" / "run-a-study.md"


def test_the_page_of_figures_is_as_its_script_writes_it() -> None:
    """The cards on it too: a card on a page must say what the package says today."""
    spec = importlib.util.spec_from_file_location("figures_page", REPOSITORY / "studies" / "figures_page.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert (docs.DOCS / "reference" / "figures.md").read_text() == script.page()


def command() -> Any:
    return typer.main.get_command(app)


def with_table(page: str) -> str:
    """The page with the table of options written anew."""
    table = f"<!-- options of veilray-study -->\n\n{docs.option_table(command())}\n\n<!-- end -->"
    return str(docs.TABLE.sub(lambda found: table, page))


def shown() -> list[tuple[str, list[str]]]:
    """Page and words of every `veilray-study` command line: of the pages, and of the configurations' first lines."""
    found = [(name, words) for name in docs.NAMES for words in docs.shown_commands(REPOSITORY / name, "veilray-study")]
    for path in CONFIGURATIONS:
        lines = re.findall(r"^#\s+veilray-study (.+)$", path.read_text("utf-8"), re.MULTILINE)
        found += [(path.name, line.split()) for line in lines]
    return found


def test_every_command_shown_has_this_form() -> None:
    lines = shown()
    assert len({page for page, _ in lines}) >= 8
    for page, words in lines:
        assert Path(words[0]).suffix == ".toml", (page, words)
        assert words[0] == "keeps.toml" or (REPOSITORY / words[0]).is_file(), (page, words)
        command().make_context("veilray-study", list(words))  # parsed as the shell would call it, never run


def test_every_script_named_is_there() -> None:
    pages = [*(REPOSITORY / name for name in docs.NAMES), *CONFIGURATIONS]
    named = {
        script for page in pages for script in re.findall(r"\bstudies/[\w/]+\.(?:py|toml)\b", page.read_text("utf-8"))
    }
    assert len(named) >= 15
    assert [script for script in sorted(named) if not (REPOSITORY / script).is_file() and "/kinds/" not in script] == []


def test_the_option_table_is_that_of_the_command() -> None:
    page = PAGE.read_text("utf-8")
    assert docs.TABLE.findall(page) == ["veilray-study"]
    assert page == with_table(page), "write it anew: python studies/tests/test_docs.py"


@pytest.mark.parametrize("name", docs.NAMES)
def test_python_examples_use_names_that_exist(name: str) -> None:
    for block in docs.fences(REPOSITORY / name, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "veilray_studies":
                module = importlib.import_module(node.module or "")
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text("utf-8")), "utf-8")
