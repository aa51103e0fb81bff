"""One battery of properties for every flow and layer. A new flow is one line in FLOWS."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from veilray.flows import Flow, Glow, GlowConfig
from veilray.flows.layers import ActNorm, AffineCoupling, GinCoupling, InvertibleConv, ReshapingSqueeze, Squeeze, Step


@dataclass(frozen=True)
class Case:
    name: str
    make: Callable[[], Flow]
    shape: tuple[int, int, int]


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


FLOWS = [
    Case("squeeze", Squeeze, (3, 4, 6)),
    Case("reshaping squeeze", ReshapingSqueeze, (3, 4, 6)),
    Case("actnorm", lambda: ActNorm(3), (3, 4, 4)),
    Case("invertible convolution", lambda: InvertibleConv(6, _generator()), (6, 3, 3)),
    Case("affine coupling", lambda: AffineCoupling(4, 8, _generator()), (4, 4, 4)),
    Case("affine coupling, odd channels", lambda: AffineCoupling(5, 8, _generator()), (5, 3, 3)),
    Case("gin coupling", lambda: GinCoupling(4, 8, _generator()), (4, 4, 4)),
    Case("gin coupling, odd channels", lambda: GinCoupling(5, 8, _generator()), (5, 3, 3)),
    Case("step", lambda: Step(6, 8, _generator()), (6, 3, 3)),
    Case("step, gin", lambda: Step(6, 8, _generator(), coupling=GinCoupling), (6, 3, 3)),
    Case("glow", lambda: Glow(GlowConfig(8, 1, 8, 2, 2, 8)), (1, 8, 8)),
    Case("glow, one level", lambda: Glow(GlowConfig(6, 1, 8, 1, 3, 8)), (1, 6, 6)),
    Case("glow, 3 channels", lambda: Glow(GlowConfig(4, 3, 8, 2, 2, 8)), (3, 4, 4)),
    Case("glow, 5 channels", lambda: Glow(GlowConfig(4, 5, 8, 1, 2, 8)), (5, 4, 4)),
    Case("glow, 16 bits", lambda: Glow(GlowConfig(8, 1, 16, 3, 2, 8)), (1, 8, 8)),
    Case("glow, gin", lambda: Glow(GlowConfig(8, 1, 8, 2, 2, 8, coupling="gin")), (1, 8, 8)),
    Case("glow, gin, reshape", lambda: Glow(GlowConfig(4, 3, 8, 2, 2, 8, "gin", "reshape")), (3, 4, 4)),
]
STATES = ["untrained", "trained", "loaded"]
ROUND_TRIP = {torch.float32: 1e-5, torch.float64: 1e-12}


def data(case: Case, n: int = 6, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, *case.shape, generator=generator).to(dtype) - 0.5


@torch.enable_grad()
def fit(flow: Flow, case: Case, steps: int = 8) -> Flow:
    """Initialise and take some steps of maximum likelihood."""
    if isinstance(flow, (ActNorm, AffineCoupling, Step, Glow)):
        flow.initialise(data(case, 16, seed=9))
    parameters = list(flow.parameters())
    if not parameters:
        return flow
    optimiser = torch.optim.Adam(parameters, lr=5e-3)
    for step in range(steps):
        y, ladj = flow.call_and_ladj(data(case, 16, seed=10 + step))
        loss = (0.5 * y.flatten(1).square().sum(dim=1) - ladj).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return flow


def prepared(case: Case, state: str, folder: Path, dtype: torch.dtype = torch.float32) -> Flow:
    flow = case.make()
    if state != "untrained":
        flow = fit(flow, case)
    if state == "loaded":
        save_file({key: value.contiguous() for key, value in flow.state_dict().items()}, folder / "flow")
        other = case.make()
        with torch.no_grad():
            other.inverse(other(data(case)))  # fills every cache before the weights change
        other.load_state_dict(load_file(folder / "flow"))
        flow = other
    return flow.to(dtype).eval()


pytestmark = pytest.mark.parametrize("case", FLOWS, ids=lambda case: case.name)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("dtype", ROUND_TRIP, ids=str)
@pytest.mark.parametrize("gradients", [True, False], ids=["autograd", "no autograd"])
def test_inverse_undoes_the_flow(case: Case, state: str, dtype: torch.dtype, gradients: bool, tmp_path: Path) -> None:
    flow = prepared(case, state, tmp_path, dtype)
    x = data(case, dtype=dtype)
    with torch.set_grad_enabled(gradients):
        y = flow(x)
        assert y.dtype == dtype
        assert (flow.inverse(y) - x).abs().max() <= ROUND_TRIP[dtype]
        assert torch.equal(flow.inv(y), flow.inverse(y))
        assert flow.inv.inv is flow


@pytest.mark.parametrize("state", STATES)
def test_log_determinant_is_that_of_the_jacobian(case: Case, state: str, tmp_path: Path) -> None:
    flow = prepared(case, state, tmp_path, torch.float64)
    x = data(case, 2, dtype=torch.float64)
    y, ladj = flow.call_and_ladj(x)
    assert ladj.shape == (2,)
    for row in range(2):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow(v[None])[0].flatten(), x[row])
        expected = torch.linalg.slogdet(jacobian.reshape(y[0].numel(), y[0].numel())).logabsdet
        assert torch.allclose(ladj[row], expected, rtol=1e-9, atol=1e-9)
    assert torch.allclose(flow.log_abs_det_jacobian(x, y), ladj)
    assert torch.allclose(flow.inv.log_abs_det_jacobian(y, x), -ladj)


def test_gradient_reaches_every_parameter(case: Case) -> None:
    flow = fit(case.make(), case)
    y, ladj = flow.call_and_ladj(data(case))
    weights = torch.linspace(0.5, 1.5, y.numel()).reshape(y.shape)
    ((y.square() * weights).sum() - ladj.sum()).backward() if list(flow.parameters()) else None
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()), name
        assert bool(parameter.grad.abs().sum() > 0), name


def test_gradient_of_the_inverse_reaches_every_parameter(case: Case) -> None:
    flow = fit(case.make(), case)
    y = flow(data(case)).detach()
    if not list(flow.parameters()):
        return
    flow.inverse(y).square().sum().backward()
    assert all(bool(parameter.grad.abs().sum() > 0) for parameter in flow.parameters())


@pytest.mark.parametrize("state", STATES)
def test_with_and_without_autograd_agree(case: Case, state: str, tmp_path: Path) -> None:
    flow = prepared(case, state, tmp_path, torch.float64)
    x = data(case, dtype=torch.float64)
    y, ladj = flow.call_and_ladj(x)
    with torch.no_grad():
        same, same_ladj = flow.call_and_ladj(x)
        assert torch.allclose(flow(x), y, rtol=0, atol=1e-12)
    assert torch.allclose(same, y, rtol=0, atol=1e-12)
    assert torch.allclose(same_ladj, ladj, rtol=1e-12)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("scale", [0.6, 2.0, 6.0])
def test_noised_outputs_decode_finite_and_encode_back(case: Case, state: str, scale: float, tmp_path: Path) -> None:
    flow = prepared(case, state, tmp_path)
    torch.manual_seed(2)
    with torch.no_grad():
        y = flow(data(case, 32))
        y = y + torch.distributions.Laplace(0.0, scale).sample(y.shape)
        x = flow.inverse(y)
        assert bool(torch.isfinite(x).all())
        error = (flow(x) - y).flatten(1).norm(dim=1) / y.flatten(1).norm(dim=1)
    assert error.max() <= 1e-4


def test_no_row_depends_on_another(case: Case, tmp_path: Path) -> None:
    flow = prepared(case, "trained", tmp_path)
    x = data(case)
    other = data(case, seed=1)
    other[2] = x[2]
    with torch.no_grad():
        y = flow(x)
        assert torch.equal(flow(other)[2], y[2])
        assert torch.equal(flow.inverse(flow(other))[2], flow.inverse(y)[2])
        alone = flow(x[2:3])
    assert torch.allclose(alone[0], y[2], rtol=1e-5, atol=1e-5)


def test_is_deterministic(case: Case, tmp_path: Path) -> None:
    x = data(case)
    with torch.no_grad():
        first, second = (prepared(case, "trained", tmp_path)(x) for _ in range(2))
    assert torch.equal(first, second)


def test_saved_and_loaded_is_bit_equal(case: Case, tmp_path: Path) -> None:
    x = data(case)
    with torch.no_grad():
        before = prepared(case, "trained", tmp_path)
        after = prepared(case, "loaded", tmp_path)
        y = before(x)
        assert torch.equal(after(x), y)
        assert torch.equal(after.inverse(y), before.inverse(y))


def test_copies_are_independent(case: Case, tmp_path: Path) -> None:
    flow = prepared(case, "trained", tmp_path)
    x = data(case)
    with torch.no_grad():
        y = flow(x)
        twin = copy.deepcopy(flow)
        for parameter in twin.parameters():
            parameter.add_(0.01)
        assert torch.equal(flow(x), y)
        assert (twin.inverse(twin(x)) - x).abs().max() <= 1e-5


def test_repr_names_the_flow(case: Case) -> None:
    flow = case.make()
    assert repr(flow).startswith(type(flow).__name__)
    assert repr(flow.inv) == f"Inverse({flow!r})"
