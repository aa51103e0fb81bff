"""The pages on obfuscation show what `studies/obfuscation_page.py` makes of the committed rows."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from veilray.evaluation.study import STUDIES, StudyTable
from veilray.evaluation.study.table import text_of

STUDIES_FOLDER = Path(__file__).parents[2] / "studies"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("obfuscation_page", STUDIES_FOLDER / "obfuscation_page.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table_of(*rows: dict[str, str]) -> StudyTable:
    study = STUDIES["obfuscation"]
    return StudyTable(study.columns, [[text_of(row.get(name)) for name in study.columns] for row in rows])


RAW = {"data": "coronary", "setting": "raw", "measure": "utility-cnn", "seed": "0", "figure": "auc"} | {
    "value": "0.9",
    "low": "0.8",
    "high": "1",
}


def test_the_pages_are_what_the_script_makes(script: Any) -> None:
    if not script.DATA.exists():
        pytest.skip("the study is not there yet")
    rows = StudyTable.read(script.DATA)
    for path in script.PAGES:
        page = path.read_text("utf-8")
        assert page == script.anew(page, rows), "write it anew: python studies/obfuscation_page.py"


def test_only_blocks_are_replaced_and_twice_is_once(script: Any) -> None:
    page = (
        "# A\n<!-- obfuscation:utility coronary -->\nold\n<!-- end -->\nB\n<!-- computed: x -->\nkept\n<!-- end -->\n"
    )
    once = script.anew(page, table_of(RAW))
    assert once.startswith("# A\n<!-- obfuscation:utility coronary -->\n\n| setting |")
    assert once.endswith("\n\n<!-- end -->\nB\n<!-- computed: x -->\nkept\n<!-- end -->\n")
    assert "| raw | 0.900 (0.800 to 1.000) |" in once
    assert "old" not in once
    assert script.anew(once, table_of(RAW)) == once


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("utility nowhere", r"data must be one of chest-x-ray, .* got 'nowhere'"),
        ("other", "table must be one of utility"),
    ],
)
def test_an_unknown_table_or_data_set_is_refused(script: Any, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        script.anew(f"<!-- obfuscation:{name} -->\n<!-- end -->", table_of(RAW))
