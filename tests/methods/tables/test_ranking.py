"""Which directions matter: those that move the answer, and no row's Jacobian leaks into another's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from veilray.flows import ConditionConfig, TabularConfig, TabularFlow
from veilray.methods.tables.ranking import ranked_directions, row_reader


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(600, 4))


@pytest.fixture(scope="module")
def flow() -> TabularFlow:
    """A fresh flow only permutes, so what matters of a row matters of its latent."""
    return TabularFlow(TabularConfig(dimension=4, couplings=2, width=8), ConditionConfig(0, (2,)))


def test_the_first_direction_is_what_is_asked_for(flow: TabularFlow, rows: np.ndarray) -> None:
    asked = torch.tensor([[0.6], [0.0], [0.8], [0.0]])
    found = ranked_directions(flow, rows, None, 2, lambda x: x @ asked)
    shown = flow.decode(found.directions.double().numpy().T)[0]
    assert abs(shown @ asked.double().numpy()[:, 0]) == pytest.approx(1, abs=1e-4)
    assert found.importance[1] <= 0.002 * found.importance[0]


def test_directions_are_orthonormal_and_most_comes_first(flow: TabularFlow, rows: np.ndarray) -> None:
    found = ranked_directions(flow, rows, None, 4, lambda x: x * torch.tensor([1.0, 3.0, 2.0, 0.0]))
    directions = found.directions.double().numpy()
    np.testing.assert_allclose(directions.T @ directions, np.eye(4), atol=1e-6)
    np.testing.assert_allclose(found.importance.double().numpy(), [9, 4, 1, 0.009], rtol=1e-3)


def test_every_row_has_its_own_jacobian(flow: TabularFlow, rows: np.ndarray) -> None:
    # The answer of a row depends on its own number times itself: the mean square of 2 x is 4.
    found = ranked_directions(flow, rows[:512], None, 1, lambda x: x[:, :1] ** 2)
    expected = float(np.mean(4 * rows[:512, 0] ** 2))
    assert float(found.importance[0]) == pytest.approx(expected, rel=1e-3)


def test_the_reader_learns_a_category_and_a_number(rows: np.ndarray) -> None:
    category = row_reader(rows, (rows[:, 1] > 0).astype(np.int64))
    told = category(torch.from_numpy(rows.astype(np.float32))).argmax(dim=1).numpy()
    assert (told == (rows[:, 1] > 0)).mean() > 0.9
    number = row_reader(rows, rows[:, 2])
    answers = number(torch.from_numpy(rows.astype(np.float32)))[:, 0].numpy()
    assert np.corrcoef(answers, rows[:, 2])[0, 1] > 0.9


def test_the_same_rows_give_the_same_reader(rows: np.ndarray) -> None:
    state = torch.get_rng_state()
    first, second = (row_reader(rows, rows[:, 0], steps=5) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("keep", [0, 5])
def test_more_or_fewer_directions_than_there_are_are_refused(flow: TabularFlow, rows: np.ndarray, keep: int) -> None:
    with pytest.raises(ValueError, match=f"keep must be between 1 and 4, got {keep}"):
        ranked_directions(flow, rows, None, keep, None)


def test_one_row_or_one_level_tells_nothing(flow: TabularFlow, rows: np.ndarray) -> None:
    with pytest.raises(ValueError, match="rows must be 2 or more, got 1"):
        ranked_directions(flow, rows[:1], None, 1, None)
    with pytest.raises(ValueError, match="two levels or more"):
        row_reader(rows, np.zeros(len(rows), dtype=np.int64))
