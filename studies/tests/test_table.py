"""What plots read."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from veilray_studies import Interval, StudyTable
from veilray_studies.table import parse, text_of

TABLE = StudyTable(
    ("epsilon", "seed", "auc"), [("1", "0", "0.5"), ("1/2", "0", ""), ("1", "1", "0.75"), ("1/2", "1", "1")]
)


def test_groups_keep_the_order_of_the_file() -> None:
    groups = TABLE.group(by=("epsilon",))
    assert list(groups) == [("1",), ("1/2",)]
    assert groups["1",].column("auc") == ["0.5", "0.75"]
    assert TABLE.where(epsilon="1/2", seed="1").rows() == [{"epsilon": "1/2", "seed": "1", "auc": "1"}]
    assert TABLE.numbers("epsilon") == [1, 0.5, 1, 0.5]


def test_rows_are_copies() -> None:
    TABLE.rows()[0]["auc"] = "broken"
    TABLE[0]["auc"] = "broken"
    assert next(iter(TABLE))["auc"] == "0.5"


def test_the_mean_over_seeds_has_the_t_interval_of_scipy() -> None:
    values = [0.61, 0.7, 0.58, 0.66, 0.71]
    interval = Interval.of(values)
    low, high = t.interval(0.95, 4, np.mean(values), np.std(values, ddof=1) / math.sqrt(5))
    assert (interval.low, interval.high, interval.count) == (pytest.approx(low), pytest.approx(high), 5)
    assert Interval.of(values, 0.99).half_width > interval.half_width


def test_one_seed_has_no_interval_and_an_empty_field_no_mean() -> None:
    assert math.isnan(TABLE.where(epsilon="1", seed="0").mean("auc").half_width)
    assert math.isnan(TABLE.where(epsilon="1/2").mean("auc").mean)


def test_a_mean_never_pools_what_differs() -> None:
    with pytest.raises(ValueError, match="one row for each seed, got 4 rows"):
        TABLE.mean("auc")


def test_an_interval_needs_values_and_a_level() -> None:
    with pytest.raises(ValueError, match="one or more, got none"):
        Interval.of([])
    with pytest.raises(ValueError, match="level must be between 0 and 1, got 95"):
        Interval.of([0.5, 0.6], level=95)


def test_unknown_columns_and_texts_are_told() -> None:
    with pytest.raises(ValueError, match="column must be one of epsilon, seed, auc, got 'colour'"):
        TABLE.group(by=("colour",))
    with pytest.raises(ValueError, match="must hold numbers"):
        StudyTable(("a",), [("x",)]).numbers("a")


def test_an_older_table_is_read(tmp_path: Path) -> None:
    path = tmp_path / "older.csv"
    path.write_bytes(b'mechanism,value\r\n"directional, sphere",0.5\r\n')
    assert StudyTable.read(path).rows() == [{"mechanism": "directional, sphere", "value": "0.5"}]


def test_a_torn_last_line_is_left_out_and_another_is_told(tmp_path: Path) -> None:
    path = tmp_path / "torn.csv"
    with pytest.raises(ValueError, match="no such file: run the study first"):
        StudyTable.read(path)
    path.write_text("a,b\n1,2\n3,")
    assert len(StudyTable.read(path)) == 1
    path.write_text("a,b\n1\n3,4\n")
    with pytest.raises(ValueError, match="2 fields on each line, got 1 on line 2"):
        StudyTable.read(path)


def test_texts_are_stable() -> None:
    values = [True, np.bool_(False), 3, np.int64(3), 0.1, np.float64(0.1), Fraction(1, 3), None, "a, b"]
    assert [text_of(value) for value in values] == ["true", "false", "3", "3", "0.1", "0.1", "1/3", "", "a, b"]
    with pytest.raises(TypeError, match="got list"):
        text_of([1])
    with pytest.raises(ValueError, match="one line"):
        text_of("a\n")


@given(st.floats(allow_nan=False))
def test_a_number_survives_its_text(value: float) -> None:
    _, ((text,),) = parse(f"a\n{text_of(value)}\n".encode(), Path("table.csv"))
    assert float(text) == value
