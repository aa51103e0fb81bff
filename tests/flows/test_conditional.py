"""The conditional Glow: a flow under every condition, exact on integers, row by row, differentiable both ways."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from veilray.flows import Condition, ConditionalGlow, ConditionConfig, Glow, GlowConfig, Latent
from veilray.flows.conditioner import Conditioner


@dataclass(frozen=True)
class Case:
    name: str
    config: GlowConfig
    conditions: ConditionConfig


CASES = [
    Case("numbers", GlowConfig(8, 1, 8, 2, 2, 8), ConditionConfig(3)),
    Case("categories", GlowConfig(6, 1, 8, 1, 3, 8), ConditionConfig(0, (4, 2))),
    Case("both, 3 channels", GlowConfig(4, 3, 8, 2, 2, 8), ConditionConfig(2, (3,), embedding=16, maps=2)),
    Case("16 bits, 3 levels", GlowConfig(8, 1, 16, 3, 2, 8), ConditionConfig(1, (5,))),
    Case("gin, reshape", GlowConfig(4, 3, 8, 2, 2, 8, "gin", "reshape"), ConditionConfig(2, (3, 4))),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def data(case: Case, n: int = 6, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(n, *case.config.shape, generator=torch.Generator().manual_seed(seed)).to(dtype) - 0.5


def pixels(case: Case, n: int = 6, seed: int = 0) -> np.ndarray:
    dtype = np.uint8 if case.config.bits <= 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 2**case.config.bits, (n, *case.config.shape), dtype=dtype)


def told(case: Case, n: int = 6, seed: int = 0) -> Condition:
    """Draw conditions, some of them missing."""
    rng = np.random.default_rng(seed)
    continuous = rng.normal(size=(n, case.conditions.continuous))
    continuous[rng.random(continuous.shape) < 0.2] = np.nan
    levels = rng.integers(-1, case.conditions.categorical, (n, len(case.conditions.categorical)))
    return Condition.of(continuous, levels)


def trained(case: Case, dtype: torch.dtype = torch.float32) -> ConditionalGlow:
    """Initialise and take some steps of maximum likelihood."""
    flow = ConditionalGlow(case.config, case.conditions, seed=1)
    flow.initialise(data(case, 16, 9), told(case, 16, 9))
    optimiser = torch.optim.Adam(flow.parameters(), lr=5e-3)
    for step in range(8):
        optimiser.zero_grad()
        flow.loss(data(case, 16, 10 + step), told(case, 16, 10 + step)).mean().backward()
        optimiser.step()
    return flow.to(dtype).eval()


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("gradients", [True, False], ids=["autograd", "no autograd"])
def test_inverse_undoes_the_flow(case: Case, dtype: torch.dtype, gradients: bool) -> None:
    flow, x, condition = trained(case, dtype), data(case, dtype=dtype), told(case)
    with torch.set_grad_enabled(gradients):
        y = flow(x, condition)
        assert y.dtype == dtype and y.shape == (6, case.config.dimension)
        assert (flow.inverse(y, condition) - x).abs().max() <= (1e-5 if dtype == torch.float32 else 1e-12)


@every_case
def test_log_determinant_is_that_of_the_jacobian(case: Case) -> None:
    flow, x, condition = trained(case, torch.float64), data(case, 2, dtype=torch.float64), told(case, 2)
    y, ladj = flow.call_and_ladj(x, condition)
    for row in range(2):
        alone = condition[row : row + 1]
        jacobian = torch.autograd.functional.jacobian(lambda v, c=alone: flow(v[None], c)[0], x[row])
        expected = torch.linalg.slogdet(jacobian.reshape(y.shape[1], y.shape[1])).logabsdet
        assert torch.allclose(ladj[row], expected, rtol=1e-9, atol=1e-9)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(y).sum(dim=1)
    assert torch.allclose(flow.log_prob(x, condition), normal + ladj)


@every_case
def test_gradient_reaches_every_parameter_both_ways(case: Case) -> None:
    flow, x, condition = trained(case), data(case, 32), told(case, 32)
    y = flow(x, condition).detach()
    for value in (flow.loss(x, condition).sum(), flow.inverse(y, condition).square().sum()):
        flow.zero_grad()
        value.backward()
        for name, parameter in flow.named_parameters():
            assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()), name
            assert bool(parameter.grad.abs().sum() > 0), name


@every_case
def test_integers_survive_encode_and_decode_under_their_condition(case: Case) -> None:
    for flow in (ConditionalGlow(case.config, case.conditions), trained(case)):
        images, condition = pixels(case), told(case)
        latent = flow.encode(images, condition)
        assert latent.shapes == case.config.latent_shapes
        assert np.array_equal(flow.decode(latent, condition).numpy(), images)


@pytest.mark.parametrize(
    "config",
    [GlowConfig(8, 1, 8, 2, 2, 8), GlowConfig(8, 1, 8, 2, 2, 8, "gin", "reshape")],
    ids=["default", "gin, reshape"],
)
def test_integers_survive_several_conditions_at_once_some_of_them_missing(config: GlowConfig) -> None:
    case = Case("several", config, ConditionConfig(2, (3, 4)))
    flow, images, nan = trained(case), pixels(case, 5), float("nan")
    condition = Condition.of(
        [[0.5, -1.0], [nan, 2.0], [0.1, nan], [nan, nan], [nan, nan]],
        [[0, 3], [2, -1], [-1, 1], [1, 0], [-1, -1]],
    )
    latent = flow.encode(images, condition)
    assert np.array_equal(flow.decode(latent, condition).numpy(), images)
    alone = flow.encode(images[4:], flow.conditions.missing(1))
    assert torch.allclose(latent.flat()[4], alone.flat()[0], atol=1e-5)
    told_otherwise = flow.encode(images, flow.conditions.missing(5)).flat()
    assert (latent.flat() - told_otherwise).abs().amax(dim=1)[:4].min() > 1e-3


@every_case
def test_every_step_listens_to_the_condition(case: Case) -> None:
    """Another condition must reach each coupling net, not only the first."""
    flow, x = trained(case), data(case, 8)
    one, other = (flow.conditioner(told(case, 8, seed).to(dtype=flow.dtype)) for seed in (1, 5))
    assert len(one) == case.config.levels
    for level, first, second in zip(flow._steps(), one, other, strict=True):
        x = flow.squeeze(x)
        for step, here, there in zip(level, first, second, strict=True):
            before = x
            x = step.call_and_ladj(before, here)[0]
            assert not torch.equal(x, step.call_and_ladj(before, there)[0])
        x = x[:, : x.shape[1] // 2]


@every_case
def test_no_row_depends_on_another(case: Case) -> None:
    flow, images, condition = trained(case), pixels(case), told(case)
    others, other_condition = pixels(case, seed=1), told(case, seed=1)
    others[2] = images[2]
    continuous, categorical = other_condition.continuous.clone(), other_condition.categorical.clone()
    continuous[2], categorical[2] = condition.continuous[2], condition.categorical[2]
    mixed = Condition(continuous, categorical)
    latent, other = flow.encode(images, condition), flow.encode(others, mixed)
    assert torch.equal(latent.flat()[2], other.flat()[2])
    assert not torch.equal(latent.flat()[1], other.flat()[1])
    assert torch.equal(flow.decode(latent, condition)[2], flow.decode(other, mixed)[2])


def test_chunks_take_their_own_rows_of_the_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    flow, images, condition = trained(CASES[2]), pixels(CASES[2], 7), told(CASES[2], 7)
    whole, bits = flow.encode(images, condition).flat(), flow.bits_per_dimension(images, condition)
    monkeypatch.setattr("veilray.flows.multiscale.CHUNK_PIXELS", 3 * 16)
    latent = flow.encode(images, condition)
    assert torch.allclose(latent.flat(), whole, atol=1e-5)
    assert np.array_equal(flow.decode(latent, condition).numpy(), images)
    assert torch.allclose(flow.bits_per_dimension(images, condition), bits, atol=1e-5)


def test_no_images_are_no_images() -> None:
    case = CASES[2]
    flow = ConditionalGlow(case.config, case.conditions)
    latent = flow.encode(pixels(case, 0), told(case, 0))
    assert latent.flat().shape == (0, case.config.dimension)
    assert flow.decode(latent, told(case, 0)).shape == (0, *case.config.shape)


def test_another_condition_decodes_to_another_image() -> None:
    case = CASES[0]
    flow, latent = trained(case), Latent.from_flat(torch.randn(4, 64), case.config.latent_shapes)
    assert not torch.equal(flow.decode(latent, told(case, 4, 1)), flow.decode(latent, told(case, 4, 2)))


@every_case
def test_a_condition_of_any_size_stays_finite_and_invertible(case: Case) -> None:
    flow, images = trained(case), pixels(case)
    known = told(case)
    far = Condition(torch.full_like(known.continuous, 1e30), known.categorical)
    assert np.array_equal(flow.decode(flow.encode(images, far), far).numpy(), images)


def test_folded_steps_equal_their_layers() -> None:
    case = Case("one level", GlowConfig(8, 1, 8, 1, 3, 8), ConditionConfig(3, (2,)))
    flow, x, condition = trained(case, torch.float64), data(case, dtype=torch.float64), told(case)
    with torch.no_grad():
        for parameter in flow.parameters():  # no film is left at its start, where it does nothing
            parameter.mul_(1.1).add_(0.02)
    y, ladj = flow.squeeze(x), torch.zeros(6, dtype=torch.float64)
    given = flow.conditioner(condition)[0]
    for step, what in zip(flow._steps()[0], given, strict=True):
        before = y
        y, change = step.call_and_ladj(before, what)
        assert torch.allclose(step.inverse(y, what), before, atol=1e-12)
        ladj = ladj + change
    folded, folded_ladj = flow.call_and_ladj(x, condition)
    assert torch.allclose(folded, y.flatten(1), atol=1e-12)
    assert torch.allclose(folded_ladj, ladj, atol=1e-10)


def test_initialisation_standardises_every_hidden_channel() -> None:
    case = CASES[0]
    flow = ConditionalGlow(case.config, case.conditions)
    x, condition = data(case, 64), told(case, 64)
    flow.initialise(x, condition)
    step = flow._steps()[0][0]
    net, given = step.coupling.net, flow.conditioner(condition.to(dtype=flow.dtype))[0][0]
    kept = step.mix(step.actnorm(flow.squeeze(x)))[:, : step.coupling.kept]
    hidden = net.first_norm(net.first(torch.cat((kept.clamp(-4, 4), given.maps), dim=1)))
    deviation, mean = torch.std_mean(hidden, dim=(0, 2, 3))
    assert torch.allclose(mean, torch.zeros(8), atol=1e-4)
    assert torch.allclose(deviation, torch.ones(8), atol=1e-2)


def test_missing_values_start_neutral_and_are_learned() -> None:
    case = CASES[2]
    fresh = Conditioner(case.conditions, case.config, torch.Generator().manual_seed(0))
    missing = case.conditions.missing(1)
    assert not fresh.embed(missing).any()
    assert trained(case).conditioner.embed(missing).any()


def _jvp(f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor) -> dict[str, Tensor]:
    """The derivative of f at x along v, by every way that torch has."""
    return {
        "forward": torch.func.jvp(f, (x,), (v,))[1],
        "vmap of forward": torch.func.vmap(lambda w: torch.func.jvp(f, (x,), (w,))[1])(v[None])[0],
        "double backward": torch.autograd.functional.jvp(f, x, v)[1],
    }


@pytest.mark.parametrize("gradients", [True, False], ids=["autograd", "no autograd"])
@pytest.mark.parametrize("kind", ["glow", "latent", "condition"])
@pytest.mark.parametrize("case", [CASES[2], CASES[4]], ids=lambda case: case.name)
def test_derivatives_of_the_inverse_agree_with_differences(case: Case, kind: str, gradients: bool) -> None:
    """In-place ReLUs and kept foldings must be invisible to forward mode, vmap and double backward."""
    condition = told(case, 3).to(dtype=torch.float64)
    condition = Condition(condition.continuous.nan_to_num(), condition.categorical)
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(3, case.config.dimension, generator=generator, dtype=torch.float64)
    flow = trained(case, torch.float64)
    function: Callable[[Tensor], Tensor] = lambda z: flow.inverse(z, condition)  # noqa: E731
    if kind == "condition":
        latent, x = x, condition.continuous
        function = lambda c: flow.inverse(latent, Condition(c, condition.categorical))  # noqa: E731
    if kind == "glow":
        plain = Glow(case.config).double()
        with torch.no_grad():
            for parameter in plain.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        function = plain.inverse
    v = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    with torch.set_grad_enabled(gradients):
        derivatives = _jvp(function, x, v)
        difference = (function(x + 1e-6 * v) - function(x - 1e-6 * v)) / 2e-6
    for name, derivative in derivatives.items():
        if gradients or name != "double backward":
            assert torch.allclose(derivative, difference, atol=1e-6), name
    assert difference.abs().max() > 1e-3


def test_sampling_follows_condition_generator_and_temperature() -> None:
    case = CASES[0]
    flow, condition = trained(case), told(case, 4)
    draws = [flow.sample(condition, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    cold = flow.sample(condition[torch.tensor([0, 0])], temperature=0.0)
    assert torch.equal(cold[0], cold[1])
    unknown = flow.sample(3, torch.Generator().manual_seed(1))
    assert torch.equal(unknown, flow.sample(case.conditions.missing(3), torch.Generator().manual_seed(1)))
    with pytest.raises(ValueError, match="temperature must be 0 or more, got -1"):
        flow.sample(condition, temperature=-1)


def test_every_method_refuses_a_condition_that_does_not_fit() -> None:
    case = CASES[0]
    flow = ConditionalGlow(case.config, case.conditions)
    x, images, short = data(case), pixels(case), told(case, 5)
    latent = flow.encode(images, told(case))
    calls: list[Callable[[], object]] = [
        lambda: flow(x, short),
        lambda: flow.call_and_ladj(x, short),
        lambda: flow.inverse(latent.flat(), short),
        lambda: flow.log_prob(x, short),
        lambda: flow.loss(x, short),
        lambda: flow.initialise(x, short),
        lambda: flow.encode(images, short),
        lambda: flow.decode(latent, short),
        lambda: flow.bits_per_dimension(images, short),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="one row an image, 6, got 5"):
            call()
    with pytest.raises(ValueError, match="continuous must be"):
        flow.sample(Condition.of([[1.0]]))


def test_the_seed_gives_the_flow() -> None:
    case = CASES[1]
    one, same, other = (ConditionalGlow(case.config, case.conditions, seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.conditioner.direct.weight, other.conditioner.direct.weight)


def test_copies_are_independent() -> None:
    case = CASES[0]
    flow, images, condition = trained(case), pixels(case), told(case)
    before = flow.encode(images, condition).flat()
    twin = copy.deepcopy(flow)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(0.01)
    assert torch.equal(flow.encode(images, condition).flat(), before)
    assert np.array_equal(twin.decode(twin.encode(images, condition), condition).numpy(), images)


def test_the_usual_size_stays_small() -> None:
    flow = ConditionalGlow(GlowConfig(64, 1, 8, 4, 8, 64), ConditionConfig(32, (14,)))
    assert sum(parameter.numel() for parameter in flow.parameters()) < 2_500_000


def test_repr_names_the_flow_and_its_conditions() -> None:
    case = CASES[2]
    flow = ConditionalGlow(case.config, case.conditions)
    assert repr(flow).startswith("ConditionalGlow(size=4, channels=3")
    assert repr(flow).endswith("continuous=2, categorical=[3], embedding=16, maps=2)")
