"""A small population with a pattern: those who are old and heavy are ill more often."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from veilray.tables import Column, Records, Schema

SCHEMA = Schema(
    columns=(
        Column(name="age", kind="integer", low=0, high=120),
        Column(name="bmi", kind="continuous", low=5, high=100, decimals=1, missing=True),
        Column(name="visit", kind="date", low="2001-01-01", high="2003-12-31"),
        Column(name="town", kind="categorical", levels=("north", "south", "west"), missing=True),
        Column(name="ill", kind="categorical", levels=("no", "yes")),
    )
)


def population(count: int, seed: int) -> Records:
    rng = np.random.default_rng(seed)
    low, high = SCHEMA.column("visit").span
    age = rng.normal(55, 18, count).round()
    bmi = 22 + age / 15 + rng.normal(0, 2, count)
    ill = rng.random(count) < 1 / (1 + np.exp(-(age - 55) / 6))
    bmi[rng.random(count) < 0.05] = np.nan
    town = rng.integers(0, 3, count).astype(np.float64)
    town[rng.random(count) < 0.05] = np.nan
    visit = rng.integers(int(low), int(high) + 1, count)
    return Records.of(SCHEMA, np.stack([age, bmi, visit, town, ill], axis=1)).snapped()


@pytest.fixture(scope="session")
def people() -> Callable[[int, int], Records]:
    """Rows of so many people, drawn with a seed."""
    return population


@pytest.fixture(scope="session")
def private() -> Records:
    return population(400, 1)


@pytest.fixture(scope="session")
def others() -> Records:
    """People who are not in the release."""
    return population(400, 2)
