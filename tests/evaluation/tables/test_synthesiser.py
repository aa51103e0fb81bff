"""The central line: valid rows, a pattern that survives a large epsilon, noise of the scale that epsilon asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from dp_accounting.rdp import compute_epsilon

from veilray.evaluation.tables import Synthesis, score_on_real, synthesise, synthesiser
from veilray.tables import Records

pytest.importorskip("mbi", reason="mbi must be installed: pip install 'veilray[yardsticks]'")
pytest.importorskip("opendp", reason="opendp must be installed: pip install 'veilray[yardsticks]'")


@pytest.fixture(scope="module")
def synthesis(people: Callable[[int, int], Records]) -> Synthesis:
    return synthesise(people(2000, 1), people(2000, 2), 8.0, target="ill", bins=6, iterations=300)


def test_rows_are_valid(synthesis: Synthesis) -> None:
    assert len(synthesis.records) == 2000
    np.testing.assert_array_equal(synthesis.records.values, synthesis.records.snapped().values)


def test_a_large_epsilon_keeps_the_pattern(synthesis: Synthesis, others: Records) -> None:
    assert score_on_real(synthesis.records, others, "ill", resamples=100).score.low > 0.8


def test_the_tables_are_a_tree_that_holds_the_target(synthesis: Synthesis) -> None:
    assert len(synthesis.tables) == 3
    assert all("ill" in table for table in synthesis.tables)
    assert {name for table in synthesis.tables for name in table} == set(synthesis.records.schema.names)
    assert ("age", "bmi", "ill") in synthesis.tables


def test_columns_apart_from_each_other_stay_so(people: Callable[[int, int], Records]) -> None:
    public = people(2000, 2)
    rows = synthesise(people(2000, 1), public, 50.0, target="ill", bins=6, iterations=100).records
    real, drawn = (abs(np.corrcoef(records.column("visit"), records.column("age"))[0, 1]) for records in (public, rows))
    assert real < 0.1
    assert drawn < 0.1


def test_noise_is_as_large_as_epsilon_asks(
    private: Records, people: Callable[[int, int], Records], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    sound = synthesiser._gaussian

    def watched(counts: Any, distance: float, scale: float, rho: float) -> Any:
        seen.append((sound(counts, distance, scale, rho) - counts, distance, scale))
        raise KeyboardInterrupt

    monkeypatch.setattr(synthesiser, "_gaussian", watched)
    with pytest.raises(KeyboardInterrupt):
        synthesise(private, people(2000, 2), 1.0)
    noise, distance, scale = seen[0]
    assert distance == pytest.approx(np.sqrt(2 * 4))
    assert np.std(noise) == pytest.approx(scale, rel=0.25)


def test_one_row_moves_the_counts_by_no_more_than_was_charged(
    private: Records, people: Callable[[int, int], Records]
) -> None:
    cells = synthesiser.Cells.fit(people(500, 2), 6)
    tables = synthesiser._tree(cells.encode(people(500, 2)), cells.sizes, 4)
    changed = Records.of(private.schema, private.values.copy())
    changed.values[0] = [120, 100, changed.schema.column("visit").span[1], np.nan, 1 - changed.values[0, 4]]
    one, other = (
        np.concatenate([synthesiser._table(cells.encode(rows), table, cells.sizes).ravel() for table in tables])
        for rows in (private, changed)
    )
    assert np.linalg.norm(one - other) == pytest.approx(np.sqrt(2 * len(tables)))


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 8.0])
def test_rho_costs_epsilon(epsilon: float) -> None:
    rho = synthesiser._rho(epsilon, 1e-6)
    orders = np.geomspace(1.01, 1e4, 4000)
    spent, _ = compute_epsilon(orders, orders * rho, 1e-6)
    assert spent <= epsilon
    assert spent == pytest.approx(epsilon, rel=0.01)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"epsilon": 0.0}, "epsilon must be above 0"), ({"delta": 0.0}, "delta in"), ({"target": "x"}, "column must be")],
)
def test_a_wrong_wish_is_refused(options: dict[str, Any], said: str, private: Records) -> None:
    with pytest.raises(ValueError, match=said):
        synthesise(private, private, **{"epsilon": 1.0, **options})
