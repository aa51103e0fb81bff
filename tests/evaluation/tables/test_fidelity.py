"""Fidelity is 1 for the same rows, and falls with what is broken: marginals, or how columns go together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from veilray.evaluation.tables import fidelity
from veilray.tables import Records

pytest.importorskip("sdmetrics", reason="sdmetrics must be installed: pip install 'veilray[yardsticks]'")


def test_the_same_rows_agree(private: Records) -> None:
    found = fidelity(private, private)
    assert found.column_shapes == pytest.approx(1)
    assert found.column_pair_trends == pytest.approx(1)
    assert set(found.shapes) == set(private.schema.names)
    assert len(found.trends) == 10


def test_shuffled_columns_keep_shapes_and_lose_trends(private: Records) -> None:
    rng = np.random.default_rng(1)
    apart = np.stack([rng.permutation(column) for column in private.values.T], axis=1)
    found = fidelity(private, Records.of(private.schema, apart))
    assert found.column_shapes == pytest.approx(1)
    assert found.trends["age", "ill"] < 0.8


def test_shifted_numbers_lose_their_shape(private: Records) -> None:
    moved = private.values.copy()
    moved[:, 0] += 40
    shapes = fidelity(private, Records.of(private.schema, moved)).shapes
    assert shapes["age"] < 0.5
    assert shapes["ill"] == 1


def test_a_constant_release_is_scored(private: Records) -> None:
    found = fidelity(private, Records.of(private.schema, np.repeat(private.values[:1], 50, axis=0)))
    assert 0 <= found.column_shapes < 0.6
    assert all(np.isfinite(score) for score in found.trends.values())


def test_nothing_is_printed(
    private: Records, people: Callable[[int, int], Records], capsys: pytest.CaptureFixture[str]
) -> None:
    fidelity(private, people(50, 3))
    assert capsys.readouterr() == ("", "")


def test_other_columns_are_refused(private: Records) -> None:
    with pytest.raises(ValueError, match="columns of the real rows"):
        fidelity(private, private.only(["age"]))
