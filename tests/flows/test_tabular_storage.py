"""A flow of rows on disk: bit-equal when whole, refused with a reason when not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from veilray.flows import Condition, ConditionConfig, Glow, TabularConfig, TabularFlow, load_card, load_flow, save_flow
from veilray.flows.storage import CARD_FILE

SHAPE = TabularConfig(5, couplings=3, width=8)
ROWS = np.random.default_rng(0).normal(size=(20, 5))
TOLD = Condition.of(np.linspace(-1, 1, 20), np.arange(20) % 3)


@pytest.fixture
def flow() -> TabularFlow:
    flow = TabularFlow(SHAPE, ConditionConfig(1, (3,)), seed=4)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1)
    return flow


@pytest.fixture
def folder(flow: TabularFlow, tmp_path: Path) -> Path:
    save_flow(flow, tmp_path / "flow", {"data": "toy rows, public"})
    return tmp_path / "flow"


def edit(folder: Path, **changes: Any) -> None:
    card = json.loads((folder / CARD_FILE).read_text())
    (folder / CARD_FILE).write_text(json.dumps({**card, **changes}))


def test_loaded_flow_is_bit_equal(flow: TabularFlow, folder: Path) -> None:
    loaded = load_flow(folder, TabularFlow)
    assert not loaded.training
    assert (loaded.config, loaded.conditions) == (flow.config, flow.conditions)
    z = flow.encode(ROWS, TOLD)
    assert np.array_equal(loaded.encode(ROWS, TOLD), z)
    assert np.array_equal(loaded.decode(z, TOLD), flow.decode(z, TOLD))
    assert load_card(folder)["card"] == {"data": "toy rows, public"}


def test_a_flow_without_conditions_is_bit_equal(tmp_path: Path) -> None:
    flow = TabularFlow(SHAPE, seed=9).double()
    save_flow(flow, tmp_path, {})
    loaded = load_flow(tmp_path, TabularFlow)
    assert loaded.conditions is None
    assert loaded.dtype == torch.float64
    assert np.array_equal(loaded.encode(ROWS), flow.encode(ROWS))


def test_equal_flows_make_equal_files(flow: TabularFlow, folder: Path, tmp_path: Path) -> None:
    save_flow(flow, tmp_path / "again", {})
    assert [path.name for path in folder.glob("weights-*")] == [path.name for path in tmp_path.glob("again/weights-*")]


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated_weights_are_refused(folder: Path, keep: int) -> None:
    path = next(folder.glob("weights-*"))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="truncated or altered"):
        load_flow(folder, TabularFlow)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": {**SHAPE.to_dict(), "clamp": 1.0}}, "got another config"),
        ({"config": {**SHAPE.to_dict(), "width": 9}}, r"must be \(9, 8\)"),
        ({"config": {**SHAPE.to_dict(), "couplings": 10**9}}, "must be those of 1,000,000,000 steps"),
        ({"config": {**SHAPE.to_dict(), "depth": 3}}, "must describe a TabularFlow"),
        ({"conditions": {"continuous": 1, "categorical": [4]}}, r"whitening.shift must be \(7, 5\)"),
        ({"conditions": None}, r"whitening.shift must be \(0, 5\)"),
        ({"kind": "glow"}, "must be a TabularFlow, got a Glow"),
    ],
)
def test_a_changed_card_is_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    edit(folder, **changes)
    with pytest.raises(ValueError, match=message):
        load_flow(folder, TabularFlow)


def test_a_flow_of_rows_is_no_glow(folder: Path) -> None:
    with pytest.raises(ValueError, match="must be a Glow, got a TabularFlow"):
        load_flow(folder, Glow)
