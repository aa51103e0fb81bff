"""Studies are a project of their own: the package works without them, and sends nobody to their scripts."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import veilray

PACKAGE = Path(veilray.__file__).parent


def texts(module: ast.Module) -> Iterator[str]:
    """Every text in a module that a user may read; docstrings are for who reads the code."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    told = {id(node.body[0].value) for node in ast.walk(module) if isinstance(node, documented) and _documented(node)}
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value


def _documented(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return bool(node.body) and isinstance(node.body[0], ast.Expr)


def test_no_message_of_the_package_names_a_script_of_the_studies() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 100
    named = [(path.name, text) for path in files for text in texts(ast.parse(path.read_text())) if "studies/" in text]
    assert named == []


def test_the_command_line_works_without_the_studies() -> None:
    code = (
        "import sys\nsys.modules['veilray_studies'] = None\nfrom veilray.cli.main import main\n"
        "sys.argv = ['veilray', 'study', 'x.toml']\nmain()"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2
    assert ran.stderr.startswith("veilray: No such command 'study'")
