"""`veilray features`: the kept code of a release as arrays."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "releases"))  # the tiny method with a kept code
from pooled import PooledMethod, register_for

Run = Callable[..., "object"]


@pytest.fixture
def release(veilray: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    register_for(monkeypatch)
    PooledMethod.made().save(tmp_path / "pooled")
    ran = veilray(
        "release", pictures, "--model", tmp_path / "pooled", "--epsilon", "8", "--label-policy", "randomised",
        "--label-epsilon", "1/2", "--condition-levels", "label=NORMAL,PNEUMONIA", "--out", tmp_path / "release",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    return tmp_path / "release"


def test_it_writes_arrays_without_pickles(veilray: Run, release: Path, tmp_path: Path) -> None:
    ran = veilray("features", release, "--out", tmp_path / "f.npz", "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert (told["images"], told["dimension"], told["epsilon"], told["labels"]) == (24, 4, "17/2", True)
    with np.load(tmp_path / "f.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["code"], np.load(release / "codes.npy"))
        assert arrays["features"].shape == (24, 4)
        assert [Path(path).parts[1] for path in arrays["path"]] == arrays["label"].tolist()
        assert str(arrays["epsilon"]) == "17/2"
        assert "directional" in str(arrays["description"])


def test_it_never_overwrites(veilray: Run, release: Path, tmp_path: Path) -> None:
    (tmp_path / "f.npz").write_bytes(b"mine")
    ran = veilray("features", release, "--out", tmp_path / "f.npz")
    assert ran.code == 2
    assert "must be a new file" in ran.err
    assert (tmp_path / "f.npz").read_bytes() == b"mine"
    assert veilray("features", release, "--out", tmp_path / "f.csv").code == 2


def test_a_release_of_pictures_alone_is_told_the_cure(
    veilray: Run, pictures: Path, model: Path, tmp_path: Path
) -> None:
    veilray("release", pictures, "--model", model, "--epsilon", "8", "--out", tmp_path / "r")
    ran = veilray("features", tmp_path / "r", "--out", tmp_path / "f.npz")
    assert ran.code == 2
    assert "ask for a release by a method with a kept code" in ran.err
    assert not (tmp_path / "f.npz").exists()
