"""The page for whoever holds a RELEASE: its Python is run as it stands, on small releases of every kind."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.datasets import load_digits

import veilray

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "train-on-a-release.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    ("method", "label"), [("directional", "public"), ("directional", "randomised"), ("selection", "public")]
)
def test_every_block_runs_in_order(
    method: str,
    label: str,
    tiny_fit: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    values, digits = load_digits(return_X_y=True)
    pictures = (values[300:540].reshape(-1, 8, 8) * 15).astype(np.uint8)  # other ones than the model was fitted on
    np.savez("my-pictures.npz", images=pictures, label=np.where(digits[300:540] % 2, "odd", "even"))
    model = tiny_fit(method, content="pixels", keep=4)
    drawn = {"label_epsilon": "2"} if label == "randomised" else {}
    veilray.release("my-pictures.npz", model, "4", "release", label_policy=label, ledger="house/ledger.sqlite", **drawn)
    names: dict[str, Any] = {}
    for block in BLOCK.findall(PAGE.read_text("utf-8")):
        exec(compile(block, PAGE.name, "exec"), names)
    plt.close("all")
    assert (tmp_path / "look.png").exists()
    said = dict(
        re.findall(r"^(on the code|aware of the mechanism|on pictures|null): ([\d.]+)$", capsys.readouterr().out, re.M)
    )
    assert len(said) == 4
    assert float(said["on the code"]) > 0.6 > float(said["null"])
    assert float(said["aware of the mechanism"]) > 0.6
    assert (names["response"] is None) == (label == "public")
