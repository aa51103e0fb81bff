"""The pages show what `studies/pages.py` makes of the committed rows, for every table of every study."""

from __future__ import annotations

import importlib.util
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from veilray_studies import STUDIES, StudyTable
from veilray_studies.table import text_of

STUDIES_FOLDER = Path(__file__).parents[1]

ROWS: dict[str, dict[str, str]] = {
    "cadp": {
        "setting": "digits-labelled", "release": "raw", "policy": "none", "epsilon": "none", "seed": "0",
        "learner": "logistic", "metric": "accuracy", "value": "0.9", "chance": "0.1",
    },
    "obfuscation": {
        "data": "coronary", "setting": "raw", "measure": "utility-cnn", "seed": "0", "figure": "auc", "value": "0.9",
        "low": "0.8", "high": "1",
    },
    "tables": {
        "table": "adult", "setting": "labelled", "learner": "linear", "metric": "auc", "chance": "0.5", "seed": "0",
        "release": "raw", "policy": "none", "epsilon": "none", "value": "0.9", "low": "0.89", "high": "0.91",
    },
    "utility": {
        "dataset": "digits", "code": "invariant", "mechanism": "raw", "epsilon": "none", "space": "code",
        "learner": "code-logistic", "metric": "accuracy", "value": "0.9", "seed": "0",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("pages", STUDIES_FOLDER / "pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows() -> dict[str, StudyTable]:
    return {name: table_of(name, row) for name, row in ROWS.items()}


def table_of(study: str, row: dict[str, str]) -> StudyTable:
    columns = (*STUDIES[study].columns,)
    return StudyTable(columns, [[text_of(row.get(name)) for name in columns]])


def test_the_pages_are_what_the_script_makes(script: Any) -> None:
    pages = script.pages()
    assert len(pages) >= 5
    for path, page in pages.items():
        assert page == script.anew(page), f"write {path.name} anew: python studies/pages.py"


@pytest.mark.parametrize(
    ("study", "name", "shown"),
    [
        ("cadp", "digits-labelled", "| `raw` |  | logistic | 0.900 |"),
        ("obfuscation", "utility coronary", "| raw |  | 0.900 (0.800 to 1.000) |"),
        ("tables", "adult-labelled", "| `raw` |  | linear | 0.900 |"),
        ("utility", "digits code", "| raw | code-logistic | 0.900 |"),
    ],
)
def test_only_blocks_are_replaced_and_twice_is_once(
    script: Any, rows: dict[str, StudyTable], study: str, name: str, shown: str
) -> None:
    page = f"# A\n<!-- study {study} {name} -->\nold\n<!-- end -->\nB\n<!-- computed: x -->\nkept\n<!-- end -->\n"
    once = script.anew(page, rows)
    assert once.startswith(f"# A\n<!-- study {study} {name} -->\n\n")
    assert once.endswith("\n\n<!-- end -->\nB\n<!-- computed: x -->\nkept\n<!-- end -->\n")
    assert shown in once
    assert "old" not in once
    assert script.anew(once, rows) == once


@pytest.mark.parametrize(
    ("study", "name", "message"),
    [
        ("cadp", "orl-faces", "setting must be one of digits-labelled"),
        ("obfuscation", "utility nowhere", r"data must be one of chest-x-ray, .* got 'nowhere'"),
        ("obfuscation", "other", "table must be one of utility"),
        ("tables", "diabetes-scarce", "must be one of adult-labelled, got diabetes-scarce"),
        ("utility", "digits image", "must have rows"),
        ("other", "anything", "study kind must be one of"),
    ],
)
def test_an_unknown_table_or_one_without_rows_is_refused(
    script: Any, rows: dict[str, StudyTable], study: str, name: str, message: str
) -> None:
    with pytest.raises((ValueError, KeyError), match=message):
        script.anew(f"<!-- study {study} {name} -->\n<!-- end -->", {**rows, "other": rows["cadp"]})


@pytest.mark.parametrize(
    ("study", "columns", "over_all"),
    [
        ("cadp", ("setting",), {"attacks", "membership"}),
        ("tables", ("table", "setting"), {"target", "fidelity", "risks", "linkage"}),
    ],
)
def test_a_page_has_a_table_for_each_setting_of_its_study(
    script: Any, study: str, columns: tuple[str, ...], over_all: set[str]
) -> None:
    config = tomllib.loads((STUDIES_FOLDER / f"{study}.toml").read_text("utf-8"))
    cells = [cell for grid in config["grid"] for cell in product(*(many(grid[name]) for name in columns))]
    shown = [name for page in script.pages().values() for found, name in script.BLOCK.findall(page) if found == study]
    assert sorted(shown) == sorted({"-".join(cell) for cell in cells} | over_all)


def many(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]
