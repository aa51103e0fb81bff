"""The tables of the study of tables, and the verdict on a release."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from veilray_studies import STUDIES, StudyTable
from veilray_studies.kinds.tables_text import (
    ADDED,
    NOTHING_ADDED,
    UNKNOWN,
    target_table,
    utility_table,
    verdict,
)
from veilray_studies.table import text_of


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


def test_fidelity_risks_and_linkage_are_over_all_tables() -> None:
    rows = table_of(RELEASED, RELEASED | {"learner": "boosting"}, CENTRAL)
    made = "\n".join(STUDIES["tables"].table(rows, name) for name in ("fidelity", "risks", "linkage"))
    assert "| adult | labelled | `directional` | public | columns | 0.930 |" in made
    assert "| adult | labelled | `central` |  | pairs | 0.910 |" in made
    assert "| adult | labelled | `directional` | 0.010 (to 0.050) | 0.000 (to 0.020) | 0.030 (to 0.100) |" in made
    assert "| adult | labelled | named | 0.200 |" in made
    assert "| adult | labelled | at most | 0.360 |" in made
