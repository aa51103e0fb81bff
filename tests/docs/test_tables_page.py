"""docs/reference/tables.md shows what `studies/tables_page.py` makes of the committed rows."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from veilray.evaluation.study import STUDIES, StudyTable
from veilray.evaluation.study.kinds.tables_text import (
    ADDED,
    NOTHING_ADDED,
    UNKNOWN,
    target_table,
    utility_table,
    verdict,
)
from veilray.evaluation.study.table import text_of
from veilray.tables import Schema

STUDIES_FOLDER = Path(__file__).parents[2] / "studies"
SCHEMA = re.compile(r"^```yaml\n(format: veilray-schema\n.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("tables_page", STUDIES_FOLDER / "tables_page.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table_of(*rows: dict[str, str]) -> StudyTable:
    columns = (*STUDIES["tables"].columns,)
    return StudyTable(columns, [[text_of(row.get(name)) for name in columns] for row in rows])


BASE = {"table": "adult", "setting": "labelled", "learner": "linear", "metric": "auc", "chance": "0.5", "seed": "0"}
RAW = BASE | {"release": "raw", "policy": "none", "epsilon": "none", "value": "0.9", "low": "0.89", "high": "0.91"}
PUBLIC = RAW | {"release": "public-only", "value": "0.8"}
NULL = RAW | {"release": "null-conditional", "policy": "public", "value": "0.7", "low": "0.65", "high": "0.75"}
RELEASED = BASE | {
    "release": "directional",
    "policy": "public",
    "epsilon": "4",
    "value": "0.85",
    "low": "0.84",
    "high": "0.86",
    "column_shapes": "0.93",
    "column_pair_trends": "0.91",
    "rank_one": "0.2",
    "rank_one_line": "0.36",
    "singling_out": "0.01",
    "singling_out_high": "0.05",
    "linkability": "0",
    "linkability_high": "0.02",
    "inference": "0.03",
    "inference_high": "0.1",
}
CENTRAL = RELEASED | {"release": "central", "policy": "none", "rank_one": "", "rank_one_line": ""}


def test_the_page_is_what_the_script_makes(script: Any) -> None:
    if not script.DATA.exists():
        pytest.skip("the study is not there yet")
    page = script.PAGE.read_text("utf-8")
    assert page == script.anew(page, StudyTable.read(script.DATA)), "write it anew: python studies/tables_page.py"


def test_the_page_has_a_table_for_each_table_and_setting_of_the_study(script: Any) -> None:
    config = tomllib.loads((STUDIES_FOLDER / "tables.toml").read_text("utf-8"))
    pairs = [pair for grid in config["grid"] for pair in product(many(grid["table"]), many(grid["setting"]))]
    asked = {"-".join(pair) for pair in pairs}
    assert sorted(script.BLOCK.findall(script.PAGE.read_text("utf-8"))) == sorted(asked | script.OVER_ALL.keys())


def many(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def test_only_blocks_are_replaced_and_twice_is_once(script: Any) -> None:
    page = "# A\n\n<!-- tables adult-labelled -->\nold\n<!-- end -->\nB\n<!-- found -->\n"
    once = script.anew(page, table_of(RAW, RELEASED))
    assert once.startswith("# A\n\n<!-- tables adult-labelled -->\n\n| release |")
    assert once.endswith("\n\n<!-- end -->\nB\n<!-- found -->\n")
    assert "| `raw` |  | linear | 0.900 |  |" in once
    assert "old" not in once
    assert script.anew(once, table_of(RAW, RELEASED)) == once


def test_a_table_without_rows_is_refused(script: Any) -> None:
    with pytest.raises(ValueError, match="must be one of adult-labelled, got diabetes-scarce"):
        script.anew("<!-- tables diabetes-scarce -->\n<!-- end -->", table_of(RAW))


def over_seeds(row: dict[str, str], *values: str) -> Iterator[dict[str, str]]:
    for seed, value in enumerate(values):
        yield row | {"seed": str(seed), "value": value}


@pytest.mark.parametrize(
    ("floors", "expected"),
    [
        ((NULL, PUBLIC), ADDED),
        ((NULL, PUBLIC | {"value": "0.845"}), NOTHING_ADDED),
        ((NULL | {"high": "0.845"}, PUBLIC), NOTHING_ADDED),
        ((NULL,), UNKNOWN),
        ((PUBLIC,), UNKNOWN),
    ],
)
def test_a_release_is_held_against_its_best_floor(floors: tuple[dict[str, str], ...], expected: str) -> None:
    rows = table_of(RAW, *floors, RELEASED)
    assert verdict(rows.where(release="directional"), rows) == expected


def test_chance_is_a_floor() -> None:
    rows = table_of(NULL | {"high": "0.4"}, PUBLIC | {"value": "0.4"}, RELEASED | {"low": "0.49"})
    assert verdict(rows.where(release="directional"), rows) == NOTHING_ADDED


def test_seeds_that_scatter_widen_the_interval() -> None:
    rows = table_of(NULL, PUBLIC, *over_seeds(RELEASED, "0.75", "0.95"))
    assert verdict(rows.where(release="directional"), rows) == NOTHING_ADDED


def test_a_central_release_covers_the_condition_so_the_true_one_is_no_floor() -> None:
    rows = table_of(NULL | {"high": "0.99"}, PUBLIC, CENTRAL)
    assert verdict(rows.where(release="central"), rows) == ADDED


def test_the_target_table_shows_the_distance_on_the_same_split() -> None:
    rows = [*over_seeds(RAW, "0.9", "0.8"), *over_seeds(RELEASED, "0.88", "0.78")]
    made = target_table(table_of(*rows))
    assert "| adult | linear | `directional` | public | 0.830 ± 0.635 | 0.020 ± 0.000 | " in made


def test_a_randomised_condition_tells_its_share() -> None:
    randomised = RELEASED | {"policy": "randomised", "condition_epsilon": "2"}
    made = target_table(table_of(RAW, randomised, randomised | {"seed": "1", "condition_epsilon": "1"}))
    assert "| randomised, epsilon 1 or 2 of it |" in made


def test_a_star_says_that_nothing_was_added() -> None:
    rows = table_of(RAW, NULL, PUBLIC, RELEASED, RELEASED | {"epsilon": "1", "value": "0.7", "low": "0.69"})
    made = utility_table(rows, "adult", "labelled")
    assert "| `directional` | public | linear |  | 0.700 * | 0.850 |" in made


def test_fidelity_risks_and_linkage_are_over_all_tables(script: Any) -> None:
    page = "".join(f"<!-- tables {name} -->\n<!-- end -->\n" for name in ("fidelity", "risks", "linkage"))
    made = script.anew(page, table_of(RELEASED, RELEASED | {"learner": "boosting"}, CENTRAL))
    assert "| adult | labelled | `directional` | public | columns | 0.930 |" in made
    assert "| adult | labelled | `central` |  | pairs | 0.910 |" in made
    assert "| adult | labelled | `directional` | 0.010 (to 0.050) | 0.000 (to 0.020) | 0.030 (to 0.100) |" in made
    assert "| adult | labelled | named | 0.200 |" in made
    assert "| adult | labelled | at most | 0.360 |" in made


def test_the_schema_on_the_page_is_one(script: Any) -> None:
    (shown,) = SCHEMA.findall(script.PAGE.read_text("utf-8"))
    schema = Schema.from_text(shown)
    assert {column.kind for column in schema.columns} == {"continuous", "integer", "ordinal", "categorical", "date"}
    page = script.PAGE.read_text("utf-8")
    named = [*Schema.model_fields, *schema.columns[0].model_fields_set, "levels", "decimals", "missing", "unit"]
    assert [name for name in named if f"`{name}`" not in page] == []
