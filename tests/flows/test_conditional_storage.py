"""A conditional flow on disk: bit-equal when whole, refused with a reason when not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from veilray.flows import (
    Condition,
    ConditionalGlow,
    ConditionConfig,
    Glow,
    GlowConfig,
    load_card,
    load_flow,
    save_flow,
)
from veilray.flows.storage import CARD_FILE

SHAPE = GlowConfig(8, 1, 8, 2, 2, 8)


@pytest.fixture
def flow(images: np.ndarray) -> ConditionalGlow:
    flow = ConditionalGlow(SHAPE, ConditionConfig(2, (3,)), seed=4)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return flow


@pytest.fixture
def folder(flow: ConditionalGlow, tmp_path: Path) -> Path:
    save_flow(flow, tmp_path / "flow", {"data": "toy images, public"})
    return tmp_path / "flow"


def edit(folder: Path, **changes: Any) -> None:
    card = json.loads((folder / CARD_FILE).read_text())
    (folder / CARD_FILE).write_text(json.dumps({**card, **changes}))


def test_loaded_flow_is_bit_equal(flow: ConditionalGlow, folder: Path, images: np.ndarray) -> None:
    condition = Condition.of(np.random.default_rng(0).normal(size=(16, 2)), np.arange(16) % 3)
    loaded = load_flow(folder, ConditionalGlow)
    assert not loaded.training
    assert loaded.conditions == flow.conditions
    expected = flow.encode(images[:16], condition)
    assert torch.equal(loaded.encode(images[:16], condition).flat(), expected.flat())
    assert torch.equal(loaded.decode(expected, condition), flow.decode(expected, condition))


def test_float64_flows_stay_float64(flow: ConditionalGlow, tmp_path: Path) -> None:
    save_flow(flow.double(), tmp_path, {})
    loaded = load_flow(tmp_path, ConditionalGlow)
    assert loaded.dtype == torch.float64
    assert all(torch.equal(a, b) for a, b in zip(flow.parameters(), loaded.parameters(), strict=True))


def test_options_are_saved_and_loaded(tmp_path: Path, images: np.ndarray) -> None:
    config = GlowConfig(8, 1, 8, 2, 2, 8, coupling="gin", downsampling="reshape")
    flow = ConditionalGlow(config, ConditionConfig(2, (3,)), seed=4)
    condition = Condition.of(np.random.default_rng(0).normal(size=(16, 2)), np.arange(16) % 3)
    save_flow(flow, tmp_path, {})
    loaded = load_flow(tmp_path, ConditionalGlow)
    assert loaded.config == config
    assert torch.equal(loaded.encode(images[:16], condition).flat(), flow.encode(images[:16], condition).flat())


def test_the_card_says_what_the_flow_is_told(folder: Path) -> None:
    card = load_card(folder)
    assert card["kind"] == "conditional-glow"
    assert card["conditions"] == {"continuous": 2, "categorical": [3], "embedding": 64, "maps": 4}


def test_a_flow_of_the_other_kind_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be a Glow, got a ConditionalGlow in"):
        load_flow(folder)
    save_flow(Glow(SHAPE), tmp_path / "plain", {})
    with pytest.raises(ValueError, match="must be a ConditionalGlow, got a Glow in"):
        load_flow(tmp_path / "plain", ConditionalGlow)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conditions": {"continuous": 2, "categorical": [4]}}, r"must be \(64, 9\) .*, got \(64, 8\)"),
        ({"conditions": {"continuous": 4}}, "got another config"),
        ({"conditions": {"continuous": 2, "categorical": [3], "colour": 1}}, "must describe a ConditionalGlow"),
        ({"conditions": None}, "must describe a ConditionalGlow"),
        ({"kind": "spline"}, "kind must be glow or conditional-glow or tabular, got 'spline'"),
        ({"kind": "glow"}, "must be a ConditionalGlow, got a Glow"),
    ],
)
def test_a_changed_card_is_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    edit(folder, **changes)
    with pytest.raises(ValueError, match=message):
        load_flow(folder, ConditionalGlow)


def test_one_flipped_bit_is_refused(folder: Path) -> None:
    path = next(folder.glob("weights-*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="must have the SHA-256"):
        load_flow(folder, ConditionalGlow)
