"""The table of the utility study for the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest
import utility_rows

from veilray_studies import StudyTable
from veilray_studies.kinds.utility_keeps import keeps_table
from veilray_studies.kinds.utility_table import table


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> StudyTable:
    return utility_rows.written(tmp_path_factory.mktemp("study") / "utility.csv")


def cells(text: str) -> dict[tuple[str, ...], list[str]]:
    """Cells by code, mechanism and learner."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {tuple(line[:3]): line[3:] for line in lines}


def test_a_line_holds_mean_interval_and_kept_numbers_by_epsilon(rows: StudyTable) -> None:
    found = cells(table(rows, "chest-x-ray", "code"))
    assert found["kept code", "mechanism", "learner"] == ["no claim", *(f"epsilon {e}" for e in utility_rows.EPSILONS)]
    assert found["`invariant`", "codebook", "code-logistic"][-1] == "0.874 ± 0.025 (4)"
    assert found["`pixels`", "directional", "code-logistic"][-1] == "0.896 ± 0.025 (2)"


def test_the_ends_stand_under_no_claim(rows: StudyTable) -> None:
    found = cells(table(rows, "fashion-mnist", "image"))
    assert found["", "raw", "logistic"] == ["0.800 ± 0.025", *[""] * 6]
    assert found["", "null", "logistic"] == ["0.100 ± 0.025", *[""] * 6]
    assert {mechanism for _, mechanism, _ in found} == {"mechanism", "---", "raw", "null", "directional"}


def test_a_score_that_does_not_clear_the_null_has_a_star(rows: StudyTable) -> None:
    low = [{**row, "value": "0.51"} if row["mechanism"] == "laplace" else row for row in rows]
    found = cells(table(StudyTable(rows.columns, [tuple(row.values()) for row in low]), "chest-x-ray", "code"))
    assert set(found["`invariant`", "laplace", "code-logistic"][1:]) == {"0.510 ± 0.000 (4) *"}
    assert not any("*" in cell for cell in found["`invariant`", "directional", "code-logistic"])


def test_the_opening_says_scale_seeds_and_chance(rows: StudyTable) -> None:
    opening = table(rows, "fashion-mnist", "code").splitlines()[0]
    assert opening.startswith("Accuracy on real test images: mean over 3 seeds")
    assert "Chance is 0.1." in opening


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    text = table(utility_rows.written(tmp_path / "one.csv", seeds=1), "chest-x-ray", "code")
    assert "mean over 1 seed " in text
    assert cells(text)["`invariant`", "codebook", "code-logistic"][-1] == "0.864 (4)"


def test_each_forced_k_stands_beside_the_same_numbers_without_noise(rows: StudyTable) -> None:
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in keeps_table(rows, "chest-x-ray").split("\n")
    ]
    assert lines[0] == ["k", "no noise", "no noise, direction alone", "epsilon 1", "epsilon 4"]
    assert [line[0] for line in lines[2:]] == ["1", "4", "16"]
    assert lines[3][1:] == ["0.842", "0.807", *["**0.782 ± 0.025**"] * 2]  # 4 is what was chosen


def test_a_forced_k_is_in_no_other_table(rows: StudyTable) -> None:
    bare = StudyTable(rows.columns, [tuple(row.values()) for row in rows if not row["keep"]])
    assert table(rows, "chest-x-ray", "code") == table(bare, "chest-x-ray", "code")


def test_a_data_set_without_rows_is_refused(rows: StudyTable) -> None:
    with pytest.raises(ValueError, match="must have rows with a forced k in the table, got none of digits"):
        keeps_table(rows, "digits")
    with pytest.raises(ValueError, match="must have rows in the table, got none of digits code"):
        table(rows, "digits", "code")
