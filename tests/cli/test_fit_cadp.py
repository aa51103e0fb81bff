"""`veilray fit cadp`, and all that a user does with the model afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

Run = Callable[..., "object"]
SHAPE = (
    "--size",
    8,
    "--levels",
    2,
    "--steps",
    2,
    "--width",
    8,
    "--epochs",
    1,
    "--training-data",
    "public",
    "--statement",
    "made up",
)


def digits(path: Path, start: int, count: int) -> Path:
    values, truth = load_digits(return_X_y=True)
    rows = slice(start, start + count)
    np.savez(
        path,
        images=(values[rows].reshape(-1, 8, 8) * 15).astype(np.uint8),
        label=np.where(truth[rows] % 2, "odd", "even"),
        patient=np.array([f"p{row // 2}" for row in range(count)]),
        age=(truth[rows] * 10).astype(str),
    )
    return path


@pytest.fixture
def private(tmp_path: Path) -> Path:
    return digits(tmp_path / "private.npz", 1000, 24)


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits(tmp_path_factory.mktemp("public") / "public.npz", 0, 240)


def test_fit_check_release_and_card_in_the_documented_order(
    veilray: Run, public: Path, private: Path, tmp_path: Path
) -> None:
    model, out = tmp_path / "model", tmp_path / "out"
    asked = ("--condition", "label,age", "--bounds", "age=0:90", "--keep", 6)
    fitted = veilray("fit", "cadp", public, "--out", model, *SHAPE, *asked)
    assert fitted.code == 0, fitted.err
    assert "6 directions of the latent may be kept" in fitted.out
    checked = veilray("check", private, "--model", model, "--epsilon", "4", "--preview", tmp_path / "p.png")
    assert checked.code == 0, checked.err
    assert "largest patient would spend epsilon 8" in checked.out
    assert (tmp_path / "p.png").stat().st_size > 1000
    policies = ("--label-policy", "randomised", "--label-epsilon", "1", "--condition-policy", "age=randomised:1/2")
    released = veilray("release", private, "--model", model, "--epsilon", "4", "--out", out, *policies, "--json")
    assert released.code == 0, released.err
    told = json.loads(released.out)["guarantee"]
    assert (told["mechanism"], told["parameters"]["of"], told["dimension"]) == ("blockwise", "directional", 6)
    assert json.loads((out / "release.json").read_text())["totals"]["image_epsilon"] == "11/2"
    assert len(list((out / "images").rglob("*.png"))) == 24
    shown = veilray("card", out)
    assert "the true level with probability 0.73" in shown.out
    assert "age randomised once within 0 to 90" in shown.out


@pytest.mark.parametrize("mechanism", ["laplace", "codebook", "selection"])
def test_other_mechanisms_on_the_same_model(
    veilray: Run, public: Path, private: Path, tmp_path: Path, mechanism: str
) -> None:
    assert veilray("fit", "cadp", public, "--out", tmp_path / "m", *SHAPE, "--keep", 6).code == 0
    asked = ("release", private, "--model", tmp_path / "m", "--epsilon", "2", "--mechanism", mechanism)
    released = veilray(*asked, "--out", tmp_path / "out", "--json")
    assert released.code == 0, released.err
    assert json.loads(released.out)["guarantee"]["parameters"]["of"] == mechanism


def test_a_counterfactual_says_so(veilray: Run, public: Path, private: Path, tmp_path: Path) -> None:
    assert veilray("fit", "cadp", public, "--out", tmp_path / "m", *SHAPE, "--keep", 6).code == 0
    asked = ("release", private, "--model", tmp_path / "m", "--epsilon", "2", "--out", tmp_path / "out")
    assert veilray(*asked, "--decode-under", "label=odd").code == 0
    assert "as if label = odd" in (tmp_path / "out" / "README").read_text()
    assert json.loads((tmp_path / "out" / "release.json").read_text())["decoded_under"] == {"label": "odd"}
    assert "drawn as if label = odd, whatever its own" in (tmp_path / "out" / "DATASET.md").read_text()


def test_the_audit_of_a_model_is_of_what_it_releases(veilray: Run, public: Path, tmp_path: Path) -> None:
    assert veilray("fit", "cadp", public, "--out", tmp_path / "m", *SHAPE, "--keep", 6).code == 0
    audited = veilray("audit", "--model", tmp_path / "m", "--epsilon", "2", "--trials", 1000, "--json")
    assert audited.code == 0, audited.err
    assert [report["subject"] for report in json.loads(audited.out)["reports"]] == [
        "blockwise",
        "blockwise through the file",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--condition", "sex"), "condition must be one of age, label, got 'sex'"),
        (("--bounds", "label"), "--bounds must be NAME=VALUE, got 'label'"),
        (("--condition", "age", "--bounds", "age=9"), "bounds of age must be LOW:HIGH, such as 0:100, got '9'"),
        (("--task", "age"), "task must be one of label or picture, got 'age'"),
        (("--coupling", "x"), "coupling must be affine or gin, got 'x'"),
        (("--keep", 0), "keep must be between 1 and 64, got 0"),
    ],
)
def test_wrong_use_is_named_without_a_traceback(
    veilray: Run, public: Path, tmp_path: Path, options: tuple[object, ...], message: str
) -> None:
    ran = veilray("fit", "cadp", public, "--out", tmp_path / "m", *SHAPE, *options)
    assert ran.code == 2
    assert message in " ".join(ran.err.split())
    assert "Traceback" not in ran.err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--decode-under", "label=seven"), "label to decode under must be one of even, odd, got 'seven'"),
        (("--condition-policy", "age=randomised:1"), "levels of age must be a public list of two or more"),
        (("--unit", "element"), "unit must be image for cadp"),
    ],
)
def test_releases_that_cannot_be_are_refused(
    veilray: Run, public: Path, private: Path, tmp_path: Path, options: tuple[object, ...], message: str
) -> None:
    assert veilray("fit", "cadp", public, "--out", tmp_path / "m", *SHAPE, "--keep", 6).code == 0
    asked = ("release", private, "--model", tmp_path / "m", "--epsilon", "2", "--out", tmp_path / "out")
    ran = veilray(*asked, *options)
    assert ran.code == 2
    assert message in " ".join(ran.err.split())
    assert not (tmp_path / "out").exists()
