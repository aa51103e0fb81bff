"""The flow of rows: invertible, with the density it states, bounded far out, and blind to other rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from veilray.flows import Condition, ConditionConfig, TabularConfig, TabularFlow

BOTH = ConditionConfig(2, (3,))


def told(n: int, seed: int = 0) -> Condition:
    """Two values and a level each row, some of them missing."""
    rng = np.random.default_rng(seed)
    values = np.where(rng.random((n, 2)) < 0.2, np.nan, rng.normal(size=(n, 2)))
    return Condition.of(values, rng.integers(-1, 3, n))


@dataclass(frozen=True)
class Case:
    name: str
    dimension: int
    conditions: ConditionConfig | None

    def make(self, dtype: torch.dtype = torch.float32) -> TabularFlow:
        """Return a flow whose weights are all away from their start, as after training."""
        flow = TabularFlow(TabularConfig(self.dimension, couplings=4, width=16), self.conditions, seed=3)
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        return flow.to(dtype).eval()

    def rows(self, n: int = 6, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).normal(size=(n, self.dimension))

    def condition(self, n: int = 6, seed: int = 0) -> Condition | None:
        return None if self.conditions is None else told(n, seed)


CASES = [Case("five, told", 5, BOTH), Case("four", 4, None), Case("one, told", 1, BOTH), Case("one", 1, None)]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_case
def test_inverse_undoes_the_flow(case: Case) -> None:
    flow, rows = case.make(), torch.as_tensor(case.rows(200)).float()
    z, log_abs_det = flow(rows, case.condition(200))
    assert z.shape == rows.shape
    assert log_abs_det.shape == (200,)
    assert (z - rows).abs().max() > 0.1
    assert (flow.inverse(z, case.condition(200)) - rows).abs().max() <= 1e-4


@every_case
def test_log_determinant_is_that_of_the_jacobian(case: Case) -> None:
    flow, rows, condition = case.make(torch.float64), torch.as_tensor(case.rows()), case.condition()
    _, log_abs_det = flow(rows, condition)
    for row in range(len(rows)):
        one = None if condition is None else condition[row : row + 1]
        jacobian = torch.autograd.functional.jacobian(lambda x, one=one: flow(x[None], one)[0][0], rows[row])
        assert torch.allclose(torch.linalg.slogdet(jacobian).logabsdet, log_abs_det[row], atol=1e-10)


def test_the_density_integrates_to_one() -> None:
    flow = Case("one, told", 1, BOTH).make(torch.float64)
    line = torch.linspace(-60, 60, 40_001, dtype=torch.float64)
    condition = told(1)[[0] * len(line)]
    with torch.no_grad():
        density = flow.log_prob(line[:, None], condition).exp()
    assert float(torch.trapezoid(density, line)) == pytest.approx(1, abs=1e-3)


def test_a_fresh_flow_only_permutes() -> None:
    flow, rows = TabularFlow(TabularConfig(5)), torch.randn(8, 5)
    z, log_abs_det = flow(rows)
    assert torch.equal(z.sort(dim=1).values, rows.sort(dim=1).values)
    assert not log_abs_det.any()
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(rows).sum(dim=1)
    assert torch.allclose(flow.log_prob(rows), normal, atol=1e-5)
    assert torch.allclose(flow.loss(rows), -normal / (5 * math.log(2)), atol=1e-5)


@every_case
def test_gradient_reaches_every_parameter_both_ways(case: Case) -> None:
    rows = torch.as_tensor(case.rows(32)).float()
    for way in ("loss", "inverse"):
        flow = case.make()
        getattr(flow, way)(rows, case.condition(32)).square().sum().backward()
        for name, parameter in flow.named_parameters():
            assert parameter.grad is not None, name
            assert bool(parameter.grad.isfinite().all()), name
            assert bool(parameter.grad.abs().sum() > 0), name


def test_inverse_is_differentiable_in_latents_and_continuous_conditions() -> None:
    flow, z = CASES[0].make(), torch.randn(6, 5, requires_grad=True)
    values = torch.randn(6, 2, requires_grad=True)
    flow.inverse(z, Condition.of(values, [0, 1, 2, -1, 0, 1])).square().sum().backward()
    for leaf in (z, values):
        assert leaf.grad is not None
        assert bool((leaf.grad.abs().sum(dim=1) > 0).all())


@pytest.mark.parametrize("dimension", [2, 3, 7])
def test_every_number_is_moved(dimension: int) -> None:
    """Whatever the seed draws, two couplings give every number a scale of its own."""
    for seed in range(5):
        flow = TabularFlow(TabularConfig(dimension, couplings=2, width=4), seed=seed)
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter.add_(0.3)
        rows = torch.randn(1, dimension)
        jacobian = torch.autograd.functional.jacobian(lambda x, flow=flow: flow(x[None])[0][0], rows[0])
        assert not bool((jacobian == 1).any())


@every_case
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_finite_latent_decodes_finite_and_every_finite_row_encodes(case: Case, data: st.DataObject) -> None:
    wild = data.draw(arrays(np.float64, (3, case.dimension), elements=st.floats(allow_nan=False, allow_infinity=False)))
    flow = case.make()
    assert np.isfinite(flow.decode(wild, case.condition(3))).all()
    assert np.isfinite(flow.encode(wild, case.condition(3))).all()


@every_case
@pytest.mark.parametrize("scale", [0.6, 6.0, 60.0])
def test_noised_latents_decode_and_encode_back(case: Case, scale: float) -> None:
    flow, condition = case.make(), case.condition(100)
    z = flow.encode(case.rows(100), condition)
    noised = z + np.random.default_rng(1).laplace(scale=scale, size=z.shape)
    error = flow.encode(flow.decode(noised, condition), condition) - noised
    assert np.linalg.norm(error, axis=1).max() <= 1e-4 * np.linalg.norm(noised, axis=1).max()


@every_case
def test_no_row_depends_on_another(case: Case) -> None:
    flow, rows, condition = case.make(), case.rows(9000), case.condition(9000)
    z = flow.encode(rows, condition)
    back = flow.decode(z, condition)
    for row in (0, 8191, 8192, 8999):
        one = None if condition is None else condition[row : row + 1]
        assert np.allclose(flow.encode(rows[row : row + 1], one), z[row : row + 1], atol=1e-5)
        assert np.allclose(flow.decode(z[row : row + 1], one), back[row : row + 1], atol=1e-5)
    changed = rows.copy()
    changed[0] += 1
    assert np.array_equal(flow.encode(changed, condition)[1:], z[1:])


def test_encoding_is_deterministic_and_float64_even_in_training_mode() -> None:
    case = CASES[0]
    flow = case.make().train()
    first, second = (flow.encode(case.rows(), case.condition()) for _ in range(2))
    assert first.dtype == np.float64
    assert np.array_equal(first, second)


def test_no_condition_is_the_condition_of_which_nothing_is_known() -> None:
    flow, rows = CASES[0].make(), CASES[0].rows()
    assert np.array_equal(flow.encode(rows), flow.encode(rows, BOTH.missing(6)))
    assert not np.allclose(flow.encode(rows), flow.encode(rows, Condition.of(np.zeros((6, 2)), [0] * 6)))


def test_a_foreign_value_of_a_condition_is_bounded() -> None:
    flow, rows = CASES[0].make(), CASES[0].rows(1)
    near, far = (Condition.of([[value, 0.0]], [1]) for value in (10.0, 1e30))
    assert np.array_equal(flow.encode(rows, near), flow.encode(rows, far))


def test_the_condition_steers_every_coupling() -> None:
    flow, rows = CASES[0].make(), CASES[0].rows(1)
    latents = [flow.encode(rows, Condition.of([[0.0, 0.0]], [level])) for level in range(3)]
    assert not any(np.allclose(latents[i], latents[i - 1], atol=1e-3) for i in range(3))


@pytest.mark.parametrize(
    ("rows", "condition", "message"),
    [
        (np.zeros((2, 4)), told(2), r"rows must be \(n, 5\), got \(2, 4\)"),
        (np.zeros(5), told(5), r"rows must be \(n, 5\), got \(5,\)"),
        (np.zeros((2, 5)), told(3), "condition must be one row a row, 2, got 3"),
        (np.zeros((2, 5)), Condition.of([[1.0], [1.0]]), r"continuous must be \(2, 2\), got \(2, 1\)"),
        (np.full((2, 5), np.nan), told(2), "rows must be finite"),
        (np.full((2, 5), np.inf), told(2), "rows must be finite"),
    ],
)
def test_mistakes_are_named(rows: np.ndarray, condition: Condition, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CASES[0].make().encode(rows, condition)


def test_a_condition_is_refused_by_a_flow_that_takes_none() -> None:
    with pytest.raises(ValueError, match="condition must be None"):
        CASES[1].make().encode(CASES[1].rows(), told(6))


@pytest.mark.parametrize(
    ("field", "value"),
    [("dimension", 0), ("dimension", 2.5), ("couplings", 0), ("width", True), ("clamp", 0.0), ("clamp", 6.0)],
)
def test_settings_out_of_range_are_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{field} must be .*, got {value}"):
        TabularConfig(**{"dimension": 3, field: value})


def test_config_survives_its_dictionary() -> None:
    config = TabularConfig(7, couplings=3, width=9, clamp=1.5)
    assert TabularConfig.from_dict(config.to_dict()) == config


def test_the_seed_sets_the_flow() -> None:
    config = TabularConfig(6, couplings=2, width=4)
    one, same, other = (TabularFlow(config, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_repr_names_the_shape() -> None:
    assert repr(TabularFlow(TabularConfig(3, 2, 4), BOTH)).startswith("TabularFlow(dimension=3, couplings=2, width=4")
