"""docs/reference/cadp.md shows what `studies/cadp_page.py` makes of the committed rows."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path
from typing import Any

import pytest

from veilray.evaluation.study import STUDIES, StudyTable
from veilray.evaluation.study.table import text_of

STUDIES_FOLDER = Path(__file__).parents[2] / "studies"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("cadp_page", STUDIES_FOLDER / "cadp_page.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table_of(*rows: dict[str, str]) -> StudyTable:
    study = STUDIES["cadp"]
    return StudyTable(study.columns, [[text_of(row.get(name)) for name in study.columns] for row in rows])


RAW = {"setting": "digits-labelled", "release": "raw", "policy": "none", "epsilon": "none", "seed": "0"} | {
    "learner": "logistic",
    "metric": "accuracy",
    "value": "0.9",
    "chance": "0.1",
}
RELEASED = RAW | {"release": "directional", "policy": "public", "epsilon": "1", "low": "0.6"}
ATTACKED = RELEASED | {"rank_one": "0.02", "rank_one_line": "0.03", "verification": "0.6", "verification_line": "0.7"}
MEMBER = RAW | {"release": "membership", "metric": "membership auc", "low": "0.4", "high": "0.6", "control": "1"}


def test_the_page_is_what_the_script_makes(script: Any) -> None:
    if not script.DATA.exists():
        pytest.skip("the study is not there yet")
    page = script.PAGE.read_text("utf-8")
    assert page == script.anew(page, StudyTable.read(script.DATA)), "write it anew: python studies/cadp_page.py"


def test_the_page_has_a_table_for_each_setting_of_the_study(script: Any) -> None:
    config = tomllib.loads((STUDIES_FOLDER / "cadp.toml").read_text("utf-8"))
    listed = [grid["setting"] if isinstance(grid["setting"], list) else [grid["setting"]] for grid in config["grid"]]
    settings = {name for names in listed for name in names}
    page = script.PAGE.read_text("utf-8")
    shown = script.BLOCK.findall(page)
    assert sorted(shown) == sorted(settings | script.OVER_ALL.keys())
    assert [name for name in settings if f"| `{name}` |" not in page] == []


def test_only_blocks_are_replaced_and_twice_is_once(script: Any) -> None:
    rows = table_of(RAW, RELEASED)
    page = "# A\n\n<!-- cadp digits-labelled -->\nold\n<!-- end -->\nB\n<!-- computed: x -->\nkept\n<!-- end -->\n"
    once = script.anew(page, rows)
    assert once.startswith("# A\n\n<!-- cadp digits-labelled -->\n\n| release |")
    assert once.endswith("\n\n<!-- end -->\nB\n<!-- computed: x -->\nkept\n<!-- end -->\n")
    assert "| `raw` |  | logistic | 0.900 |" in once
    assert "old" not in once
    assert script.anew(once, rows) == once


def test_attacks_and_membership_are_over_all_settings(script: Any) -> None:
    page = "<!-- cadp attacks -->\n<!-- end -->\n<!-- cadp membership -->\n<!-- end -->"
    made = script.anew(page, table_of(ATTACKED, MEMBER))
    assert "| digits-labelled | 1 | 0.020 | 0.030 | 0.600 | 0.700 |" in made
    assert "| digits-labelled | logistic | auc | 0.900 (0.400 to 0.600) | 1.000 |" in made


def test_a_setting_without_rows_is_refused(script: Any) -> None:
    with pytest.raises(ValueError, match="setting must be one of digits-labelled"):
        script.anew("<!-- cadp orl-faces -->\n<!-- end -->", table_of(RAW))
