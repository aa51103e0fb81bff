"""docs/reference/utility.md shows what `studies/utility_page.py` makes of the committed rows."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from veilray.evaluation.study import STUDIES, StudyTable
from veilray.evaluation.study.table import text_of

SCRIPT = Path(__file__).parents[2] / "studies" / "utility_page.py"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("utility_page", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def rows() -> StudyTable:
    study = STUDIES["utility"]
    told = {"dataset": "digits", "code": "invariant", "mechanism": "raw", "epsilon": "none", "space": "code"}
    told |= {"learner": "code-logistic", "metric": "accuracy", "value": "0.9", "seed": "0"}
    return StudyTable(study.columns, [[text_of(told.get(name)) for name in study.columns]])


def test_the_page_is_what_the_script_makes(script: Any) -> None:
    if not (script.DATA.exists() and script.PAGE.exists()):
        pytest.skip("the study or its page is not there yet")
    page = script.PAGE.read_text("utf-8")
    assert script.BLOCK.search(page), "the page shows no table"
    assert page == script.anew(page, StudyTable.read(script.DATA)), "write it anew: python studies/utility_page.py"


def test_only_blocks_are_replaced_and_twice_is_once(script: Any, rows: StudyTable) -> None:
    page = "# A\n\n<!-- table digits code -->\nold\n<!-- end -->\nB\n<!-- computed: x -->\nkept\n<!-- end -->\n"
    once = script.anew(page, rows)
    assert once.startswith("# A\n\n<!-- table digits code -->\n\nAccuracy")
    assert once.endswith("\n\n<!-- end -->\nB\n<!-- computed: x -->\nkept\n<!-- end -->\n")
    assert "| raw | code-logistic | 0.900 |" in once
    assert "old" not in once
    assert script.anew(once, rows) == once


def test_a_block_without_rows_is_refused(script: Any, rows: StudyTable) -> None:
    with pytest.raises(ValueError, match="must have rows"):
        script.anew("<!-- table digits image -->\n<!-- end -->", rows)
