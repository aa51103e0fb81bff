"""Conditions as values: whole, sliced, missing, and refused with a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from veilray.flows import Condition, ConditionConfig

NAN = float("nan")


def test_arrays_of_one_dimension_become_one_column() -> None:
    condition = Condition.of(np.array([0.5, NAN]), np.array([3, -1], dtype=np.int32))
    assert condition.continuous.shape == condition.categorical.shape == (2, 1)
    assert condition.continuous.dtype == torch.float64
    assert condition.categorical.dtype == torch.int64


def test_what_is_not_given_has_no_columns() -> None:
    assert Condition.of(continuous=[[1, 2, 3]]).categorical.shape == (1, 0)
    assert Condition.of(categorical=[1, 2]).continuous.shape == (2, 0)
    with pytest.raises(ValueError, match="got neither"):
        Condition.of()


def test_an_array_that_changes_later_does_not_change_the_condition() -> None:
    values = np.zeros((2, 1), np.float32)
    condition = Condition.of(values)
    values[:] = 7
    assert not condition.continuous.any()


@pytest.mark.parametrize(
    "rows", [slice(1, 3), np.array([1, 2]), torch.tensor([1, 2])], ids=["slice", "array", "tensor"]
)
def test_rows_are_taken_from_both(rows: Any) -> None:
    condition = Condition.of(np.arange(8.0).reshape(4, 2), np.arange(4))[rows]
    assert condition.continuous.tolist() == [[2, 3], [4, 5]]
    assert condition.categorical.tolist() == [[1], [2]]


def test_to_changes_the_dtype_of_the_continuous_values_only() -> None:
    condition = Condition.of([0.5], [1]).to("cpu", torch.float64)
    assert condition.continuous.dtype == torch.float64
    assert condition.categorical.dtype == torch.int64


@pytest.mark.parametrize(
    ("continuous", "categorical", "message"),
    [
        (torch.zeros(2), torch.zeros(2, 0, dtype=torch.int64), r"continuous must be \(n, values\) and floating"),
        (torch.zeros(2, 1).long(), torch.zeros(2, 0).long(), "floating, got .* torch.int64"),
        (torch.zeros(2, 1), torch.zeros(2, 1), r"categorical must be \(n, conditions\) and int64"),
        (torch.zeros(2, 1), torch.zeros(3, 1).long(), "categorical must be 2 rows like continuous, got 3"),
        (torch.full((2, 1), float("inf")), torch.zeros(2, 0).long(), "must be finite, or NaN where missing"),
        (torch.zeros(2, 1), torch.full((2, 1), -2), "levels from 0, or -1 where missing, got -2"),
    ],
)
def test_malformed_conditions_are_refused(continuous: torch.Tensor, categorical: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Condition(continuous, categorical)


def test_levels_that_are_not_whole_are_refused() -> None:
    with pytest.raises(ValueError, match=r"categorical must be whole numbers, got torch\.float64"):
        Condition.of(categorical=np.array([0.5]))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "one continuous or categorical at least, got none"),
        ({"continuous": -1}, "continuous must be a whole number of 0 or more, got -1"),
        ({"continuous": True}, "continuous must be a whole number of 0 or more, got True"),
        ({"categorical": (3, 0)}, "numbers of levels, 1 or more each, got 0"),
        ({"continuous": 1, "maps": 0}, "maps must be a whole number of 1 or more, got 0"),
        ({"continuous": 1, "embedding": 0}, "embedding must be a whole number of 1 or more, got 0"),
    ],
)
def test_config_errors_name_the_value(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConditionConfig(**values)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (Condition.of([[1.0, 2.0]], [[1, 1]]), "one row an image, 2, got 1"),
        (Condition.of([1.0, 2.0], [[1, 1], [1, 1]]), r"continuous must be \(2, 2\), got \(2, 1\)"),
        (Condition.of([[1.0, 2.0]] * 2), r"categorical must be \(2, 2\), got \(2, 0\)"),
        (Condition.of([[1.0, 2.0]] * 2, [[1, 1], [1, 3]]), "categorical condition 1 must be from -1 to 2, got 3"),
    ],
)
def test_a_condition_of_another_kind_is_refused(condition: Condition, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConditionConfig(2, (4, 3)).check(condition, 2)


def test_encoding_marks_what_is_missing() -> None:
    config = ConditionConfig(2, (3,))
    rows = config.encode(Condition.of([[0.5, NAN], [NAN, -2.0]], [2, -1]))
    assert rows.tolist() == [[0.5, 0, 0, 1, 0, 0, 0, 1], [0, -2, 1, 0, 1, 0, 0, 0]]
    assert rows.shape[1] == config.features


@given(continuous=st.integers(0, 3), categorical=st.lists(st.integers(1, 4), max_size=3), rows=st.integers(0, 3))
def test_the_missing_condition_fits_its_config(continuous: int, categorical: list[int], rows: int) -> None:
    if not continuous and not categorical:
        return
    config = ConditionConfig(continuous, tuple(categorical))
    condition = config.missing(rows)
    config.check(condition, rows)
    assert config.encode(condition).sum() == rows * (continuous + len(categorical))
    assert ConditionConfig(**config.to_dict()) == config
