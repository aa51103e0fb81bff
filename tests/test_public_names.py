"""What `import veilray` gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import veilray
from veilray.registry import Registry


def test_every_public_name_is_there() -> None:
    for name in veilray.__all__:
        assert getattr(veilray, name) is not None
    assert sorted(dir(veilray)) == sorted(veilray.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        veilray.nothing  # noqa: B018


def test_import_does_not_load_torch() -> None:
    code = "import sys, veilray; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_the_main_job_in_python(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = (rng.random((40, 8, 8)) * 80 + np.linspace(0, 160, 8)).astype(np.uint8)
    np.savez(tmp_path / "images.npz", images=images, label=np.arange(40) % 3)
    shape = {"size": 8, "levels": 1, "steps": 2, "width": 4, "epochs": 1}
    method = veilray.fit(
        "dp-glow", tmp_path / "images.npz", tmp_path / "model", training_data="public", statement="noise", **shape
    )
    assert method.card.training.data == "public"
    np.savez(tmp_path / "private.npz", images=255 - images, label=np.arange(40) % 3)
    outcome = veilray.release(
        tmp_path / "private.npz",
        tmp_path / "model",
        "1/2",
        tmp_path / "release",
        label_policy="randomised",
        label_epsilon="1",
        ledger=tmp_path / "ledger.sqlite",
    )
    assert outcome.count == 40
    assert str(outcome.guarantee.total_image_epsilon) == "3/2"
    told = json.loads((tmp_path / "release" / "release.json").read_text())
    assert told["guarantee"]["conditions"]["label"] == {
        "policy": "randomised",
        "epsilon": "1",
        "levels": 3,
        "low": None,
        "high": None,
    }
    with pytest.raises(ValueError, match="epsilon must be exact"):
        veilray.release(tmp_path / "images.npz", tmp_path / "model", 0.5, tmp_path / "r", ledger=tmp_path / "l")  # type: ignore[arg-type]


def test_a_registry_refuses_doubles_and_names_what_it_knows() -> None:
    shapes: Registry[int] = Registry("shape")
    shapes.register("square")(4)
    assert list(shapes) == ["square"]
    assert len(shapes) == 1
    assert "square" in shapes
    with pytest.raises(ValueError, match="shape must be one of square, got 'circle'"):
        shapes["circle"]
    with pytest.raises(ValueError, match="must be new"):
        shapes.register("square")(5)
