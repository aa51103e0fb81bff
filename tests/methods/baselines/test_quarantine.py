"""What is published and broken can be measured and cannot be released."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import veilray
from veilray.cli.main import app
from veilray.methods import METHODS, baselines, load_method
from veilray.methods.baselines import CADPAsPublished
from veilray.releases import Method


def model_folder(folder: Path, method: str) -> Path:
    """A MODEL folder as a forger would write it."""
    folder.mkdir()
    card = {
        "name": "published",
        "method": method,
        "geometry": {"size": 8, "channels": 1, "bits": 8},
        "geometry_rule": "area",
        "training": {"data": "public", "statement": "digits"},
        "training_images": 1,
        "training_patients": None,
        "weights_sha256": "0" * 64,
    }
    (folder / "model.json").write_text(json.dumps(card))
    return folder


def test_it_is_no_method_and_is_not_registered() -> None:
    assert not issubclass(CADPAsPublished, Method)
    assert not [name for name in METHODS if METHODS[name].__module__.startswith(baselines.__name__)]
    assert not [name for name in ("save", "load", "calibrated", "card") if hasattr(CADPAsPublished, name)]
    assert CADPAsPublished.guarantee is None


@pytest.mark.parametrize("name", ["CADPAsPublished", "cadp-as-published", "cadp_as_published"])
def test_no_model_folder_can_name_it(name: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", name)
    with pytest.raises(ValueError, match=f"method must be one of .*, got '{name}'"):
        load_method(folder)


def test_the_command_line_refuses_it_and_writes_nothing(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", "cadp-as-published")
    np.savez(tmp_path / "images.npz", images=np.zeros((4, 8, 8), np.uint8), label=np.arange(4))
    asked = ["--model", str(folder), "--epsilon", "1", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["release", str(tmp_path / "images.npz"), *asked])
    assert result.exit_code != 0
    assert not (tmp_path / "out").exists()
    fit = CliRunner().invoke(app, ["fit", "cadp-as-published", str(tmp_path / "images.npz"), "--out", str(tmp_path)])
    assert fit.exit_code == 2


def test_only_what_measures_imports_it() -> None:
    """By text, which also finds an import within a function; pyproject.toml names the importers one by one."""
    source = Path(veilray.__file__).parent
    imports = re.compile(r"methods\.baselines\b|methods import .*\bbaselines\b")
    users = [path.relative_to(source) for path in source.rglob("*.py") if imports.search(path.read_text())]
    rooms = {path.parts[0] for path in users if path.parts[:2] != ("methods", "baselines")}
    assert rooms == {"evaluation"}
