"""The engine: what is kept is never stale, and folding changes nothing but the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
import torch

from veilray.flows import Glow, GlowConfig
from veilray.flows.layers import Step

CONFIG = GlowConfig(8, 1, 8, 2, 2, 8)


def _images() -> torch.Tensor:
    return torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def _in_place(flow: Glow) -> None:
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.mul_(1.1).add_(0.02)


def _load(flow: Glow) -> None:
    other = Glow(CONFIG, seed=7)
    _in_place(other)
    flow.load_state_dict(other.state_dict())


def _assign(flow: Glow) -> None:
    other = Glow(CONFIG, seed=7)
    _in_place(other)
    flow.load_state_dict(other.state_dict(), assign=True)


def _optimise(flow: Glow, *, fused: bool) -> None:
    optimiser = torch.optim.Adam(flow.parameters(), lr=1e-2, fused=fused)
    for _ in range(2):
        optimiser.zero_grad()
        flow.loss(torch.rand(4, 1, 8, 8) - 0.5).mean().backward()
        optimiser.step()


def _replace_data(flow: Glow) -> None:
    for parameter in flow.parameters():
        parameter.data = parameter.data * 1.1 + 0.02


def _edit_data(flow: Glow) -> None:
    for parameter in flow.parameters():
        parameter.data.mul_(1.1).add_(0.02)


def _replace_parameter(flow: Glow) -> None:
    step = flow.levels[0][0]
    step.mix.factors = torch.nn.Parameter(step.mix.factors + 0.3)


def _initialise(flow: Glow) -> None:
    flow.initialise(3 * torch.rand(8, 1, 8, 8))


def _rotation(flow: Glow) -> None:
    rotation = flow.levels[0][0].mix.rotation
    rotation.copy_(rotation.T.clone())


CHANGES: dict[str, Callable[[Glow], None]] = {
    "in-place edit": _in_place,
    "load_state_dict": _load,
    "load_state_dict(assign=True)": _assign,
    "optimiser step": lambda flow: _optimise(flow, fused=False),
    "fused optimiser step": lambda flow: _optimise(flow, fused=True),
    "new .data": _replace_data,
    "edit of .data": _edit_data,
    "new parameter": _replace_parameter,
    "initialise": _initialise,
    "buffer": _rotation,
    "to float64": lambda flow: flow.double(),
    "to float64 and back, edited": lambda flow: (flow.double(), _in_place(flow), flow.float())[0],
}


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_kept_is_stale(change: str) -> None:
    flow, images = Glow(CONFIG), _images()
    old = flow.encode(images)
    flow.decode(old)  # everything is kept now
    CHANGES[change](flow)
    fresh = Glow(CONFIG, seed=3).to(flow.dtype)
    fresh.load_state_dict(flow.state_dict())
    encoded = flow.encode(images)
    assert torch.equal(encoded.flat(), fresh.encode(images).flat())
    assert torch.equal(flow.decode(encoded), images)
    assert change.startswith("to float64") or not torch.equal(encoded.flat(), old.flat())


def test_inverse_after_each_optimiser_step_is_current() -> None:
    flow, images = Glow(CONFIG), _images()
    for _ in range(4):
        _optimise(flow, fused=True)
        assert torch.equal(flow.decode(flow.encode(images)), images)


def test_weights_made_in_inference_mode_are_not_stale() -> None:
    with torch.inference_mode():
        flow = Glow(CONFIG)
        images = _images()
        first = flow.encode(images).flat()
        for parameter in flow.parameters():
            parameter.add_(0.05)
        assert not torch.equal(flow.encode(images).flat(), first)
        assert torch.equal(flow.decode(flow.encode(images)), images)


@pytest.mark.parametrize("coupling", ["affine", "gin"])
def test_folded_steps_equal_their_layers(coupling: Literal["affine", "gin"]) -> None:
    flow = Glow(GlowConfig(8, 1, 8, 1, 3, 8, coupling)).double()
    x = torch.rand(4, 1, 8, 8, dtype=torch.float64) - 0.5
    flow.initialise(x)
    _in_place(flow)
    y, ladj = flow.squeeze(x), torch.zeros(4, dtype=torch.float64)
    for step in flow.levels[0]:
        assert isinstance(step, Step)
        before = y
        y, change = step.call_and_ladj(before)
        assert torch.allclose(step.inverse(y), before, atol=1e-12)
        ladj = ladj + change
    assert torch.allclose(flow.inverse(y.flatten(1)), x, atol=1e-12)
    folded, folded_ladj = flow.call_and_ladj(x)
    assert torch.allclose(folded, y.flatten(1), atol=1e-12)
    assert torch.allclose(folded_ladj, ladj, atol=1e-10)


def test_steps_are_folded_once() -> None:
    flow, images = Glow(CONFIG), _images()
    flow.encode(images)
    kept = [flow._cache.get(step) for level in flow._steps() for step in level]
    flow.decode(flow.encode(images))
    again = [flow._cache.get(step) for level in flow._steps() for step in level]
    assert all(one is other for one, other in zip(kept, again, strict=True))
