"""The first layer of a flow of rows: what a Gaussian explains is gone, and the way back is exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from veilray.flows.layers.whitening import Whitening

ROWS = 4000


@pytest.fixture(scope="module")
def told() -> torch.Tensor:
    """One number and one of two levels, as a flow encodes them."""
    rng = np.random.default_rng(1)
    level = rng.random(ROWS) < 0.3
    return torch.from_numpy(np.stack([rng.normal(size=ROWS), level, ~level], axis=1))


@pytest.fixture(scope="module")
def rows(told: torch.Tensor) -> torch.Tensor:
    """Correlated rows of three numbers whose mean the condition moves."""
    rng = np.random.default_rng(2)
    mixed = rng.normal(size=(ROWS, 3)) @ np.array([[1.0, 0.9, 0.0], [0.0, 0.4, 0.0], [0.0, 0.3, 2.0]])
    moved = told.numpy() @ np.array([[0.5, 0.0, 1.0], [3.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    return torch.from_numpy(mixed + moved + 4.0)


@pytest.fixture(scope="module")
def layer(rows: torch.Tensor, told: torch.Tensor) -> Whitening:
    made = Whitening(3, 3).double()
    made.set_from(rows, told, torch.zeros(1, 3, dtype=torch.float64))
    return made


def test_it_is_the_identity_until_it_is_set(rows: torch.Tensor, told: torch.Tensor) -> None:
    y, log_abs_det = Whitening(3, 3).double()(rows, told)
    torch.testing.assert_close(y, rows)
    assert not log_abs_det.any()


def test_what_it_was_set_from_comes_out_white(layer: Whitening, rows: torch.Tensor, told: torch.Tensor) -> None:
    y, _ = layer(rows, told)
    assert y.mean(dim=0).abs().max() < 0.01
    torch.testing.assert_close(y.T.cov(), torch.eye(3, dtype=torch.float64), atol=0.03, rtol=0)
    assert (y.T @ told).abs().max() / ROWS < 0.01  # the condition tells nothing linear any more


def test_the_inverse_undoes_it(layer: Whitening, rows: torch.Tensor, told: torch.Tensor) -> None:
    torch.testing.assert_close(layer.inverse(layer(rows, told)[0], told), rows)


def test_its_log_determinant_is_that_of_its_jacobian(layer: Whitening, rows: torch.Tensor, told: torch.Tensor) -> None:
    jacobian = torch.autograd.functional.jacobian(lambda x: layer(x, told[:1])[0], rows[:1])[0, :, 0]
    torch.testing.assert_close(layer(rows[:1], told[:1])[1][0], torch.linalg.slogdet(jacobian)[1])


def test_a_row_does_not_depend_on_the_others(layer: Whitening, rows: torch.Tensor, told: torch.Tensor) -> None:
    torch.testing.assert_close(layer(rows[:1], told[:1])[0], layer(rows, told)[0][:1], rtol=0, atol=1e-12)


def test_what_is_not_told_has_the_mean_of_all_rows(layer: Whitening, rows: torch.Tensor) -> None:
    untold = torch.zeros(1, 3, dtype=torch.float64)
    back = layer.inverse(torch.zeros(1, 3, dtype=torch.float64), untold)
    torch.testing.assert_close(back[0], rows.mean(dim=0), atol=1e-9, rtol=0)


def test_a_flow_without_conditions_needs_none(rows: torch.Tensor) -> None:
    layer = Whitening(3, 0).double()
    layer.set_from(rows, None, None)
    y, _ = layer(rows, None)
    torch.testing.assert_close(y.T.cov(), torch.eye(3, dtype=torch.float64), atol=0.03, rtol=0)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_few_rows_and_constant_columns_stay_finite(count: int) -> None:
    few = torch.from_numpy(np.random.default_rng(0).normal(size=(count, 12)))
    few[:, 3] = 1.5
    layer = Whitening(12, 0).double()
    layer.set_from(few, None, None)
    y, log_abs_det = layer(few, None)
    assert torch.isfinite(y).all()
    assert torch.isfinite(log_abs_det).all()
    torch.testing.assert_close(layer.inverse(y, None), few, atol=1e-6, rtol=0)


def test_one_row_is_refused() -> None:
    with pytest.raises(ValueError, match="rows must be 2 or more, got 1"):
        Whitening(3, 0).set_from(torch.zeros(1, 3), None, None)


def test_it_is_saved_with_the_weights(layer: Whitening, rows: torch.Tensor, told: torch.Tensor) -> None:
    again = Whitening(3, 3).double()
    again.load_state_dict(layer.state_dict())
    assert not list(layer.parameters())  # nothing of it is trained
    torch.testing.assert_close(again(rows, told)[0], layer(rows, told)[0])
