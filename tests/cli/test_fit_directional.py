"""`veilray fit directional` and `selection`, and all that a user does with the model afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from veilray.releases import read_card

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


@pytest.fixture
def private(private_digits: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "private.npz"
    patients = np.array([f"q{max(0, number - 3)}" for number in range(24)])
    np.savez(path, images=private_digits[:24, 0], label=np.array(["odd", "even"] * 12), patient=patients)
    return path


@pytest.mark.parametrize("method", ["directional", "selection"])
def test_fit_check_release_and_card_in_the_documented_order(
    veilray: Run, public_digits: Path, private: Path, tmp_path: Path, method: str
) -> None:
    model, out = tmp_path / "model", tmp_path / "out"
    fitted = veilray("fit", method, public_digits, "--out", model, *SHAPE, "--content", "pixels", "--keep", 4)
    assert fitted.code == 0, fitted.err
    assert "216 training images, 4 numbers kept of a picture," in fitted.out
    assert read_card(model).name == "model"
    checked = veilray("check", private, "--model", model, "--epsilon", "2", "--preview", tmp_path / "p.png")
    assert checked.code == 0, checked.err
    assert "distance from the model's own images" in checked.out
    assert "largest patient would spend epsilon 8" in checked.out
    assert (tmp_path / "p.png").stat().st_size > 1000
    asked = ("release", private, "--model", model, "--epsilon", "2", "--out", out)
    dry = veilray(*asked, "--dry-run")
    assert dry.code == 0, dry.err
    assert "nothing was spent" in dry.out
    assert not out.exists()
    assert not (tmp_path / "house" / "ledger.sqlite").exists()
    released = veilray(*asked, "--json")
    assert released.code == 0, released.err
    told = json.loads(released.out)["guarantee"]
    assert (told["mechanism"], told["image_epsilon"], told["dimension"]) == (method, "2", 4)
    assert len(list((out / "images").glob("*.png"))) == 24
    assert np.load(out / "codes.npy").shape == (24, 4)
    shown = veilray("card", out)
    assert shown.code == 0
    assert "epsilon 2 (pure)" in shown.out
    assert veilray(*asked).code == 2
    assert veilray(*asked, "--resume").code == 0


def test_k_is_chosen_by_default_and_printed(veilray: Run, public_digits: Path, tmp_path: Path) -> None:
    ran = veilray("fit", "directional", public_digits, "--out", tmp_path / "m", *SHAPE, "--code-epochs", 1)
    assert ran.code == 0, ran.err
    card = read_card(tmp_path / "m")
    assert card.configuration["content"] == "invariant"
    assert card.configuration["kept_for_epsilon"] == "1"
    assert f" {card.figures['kept']:.0f} numbers kept of a picture" in ran.out


def test_the_figures_are_told_as_json(veilray: Run, public_digits: Path, tmp_path: Path) -> None:
    options = ("--code", "levels", "--for-epsilon", "1/2", "--classes", 3, "--json")
    told = json.loads(veilray("fit", "directional", public_digits, "--out", tmp_path / "m", *SHAPE, *options).out)
    assert told["model"] == str(tmp_path / "m")
    assert told["kept"] == read_card(tmp_path / "m").figures["kept"]
    assert "rehearsal_score_at_2" in told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--code", "magic"), "code must be one of content, gram, levels"),
        (("--content", "magic"), "content must be one of"),
        (("--code", "gram", "--content", "pixels"), "content must go with code content"),
        (("--keep", 0), "keep must be between 1 and 64"),
        (("--keep", 1000), "keep must be between 1 and 64"),
        (("--keep", "few"), "keep"),
        (("--for-epsilon", 0), "epsilon must be above 0"),
        (("--for-epsilon", "-1"), "epsilon must not be negative"),
        (("--for-epsilon", "one"), "decimal number or a fraction"),
        (("--classes", 1), "classes must be between 2 and 256"),
        (("--code-epochs", 0), "code_epochs must be 1 or more"),
        (("--batch-size", 0), "batch_size must be above 0"),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["directional", "selection"])
def test_wrong_use_is_named_without_a_traceback(
    veilray: Run, public_digits: Path, tmp_path: Path, method: str, options: tuple[object, ...], message: str
) -> None:
    ran = veilray("fit", method, public_digits, "--out", tmp_path / "m", *SHAPE, *options)
    assert ran.code == 2
    assert message in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "m").exists()


def test_options_of_another_method_are_unknown(veilray: Run, public_digits: Path, tmp_path: Path) -> None:
    assert veilray("fit", "dp-glow", public_digits, "--out", tmp_path / "m", "--keep", 4).code == 2


def test_an_interrupted_fit_says_so_and_goes_on(
    veilray: Run, public_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from veilray.methods import code_fitting

    asked = ("fit", "directional", public_digits, "--out", tmp_path / "m", *SHAPE, "--content", "pixels")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(code_fitting, "Rehearsal", interrupt)
        broken = veilray(*asked)
    assert broken.code == 130
    assert "--resume continues" in broken.err
    assert sorted(path.name for path in (tmp_path / "m").iterdir() if path.suffix != ".safetensors") == [
        "checkpoint", "code.json",
    ]  # fmt: skip
    again = veilray(*asked)
    assert (again.code, "--resume" in again.err) == (2, True)
    assert veilray(*asked, "--resume").code == 0
    finished = veilray(*asked, "--resume")
    assert (finished.code, "finished model" in finished.err) == (2, True)


def test_a_selection_model_takes_candidates_and_no_other_mechanism(
    veilray: Run, private: Path, selection_model: Path, tmp_path: Path
) -> None:
    asked = ("release", private, "--model", selection_model, "--epsilon", "4", "--out", tmp_path / "r")
    assert "mechanism must be selection" in veilray(*asked, "--mechanism", "laplace").err
    assert "candidates must be between 2 and the" in veilray(*asked, "--candidates", 10**6).err
    assert veilray(*asked, "--candidates", 4).code == 0
    assert len({path.read_bytes() for path in (tmp_path / "r" / "images").glob("*.png")}) <= 4
    assert np.load(tmp_path / "r" / "kept_code" / "candidates.npy").shape == (4, 4)


def test_a_tampered_model_is_named(veilray: Run, private: Path, selection_model: Path, tmp_path: Path) -> None:
    import shutil

    broken = Path(shutil.copytree(selection_model, tmp_path / "broken"))
    (broken / "candidates.npy").write_bytes((broken / "candidates.npy").read_bytes()[:-1])
    for command in (("check", private), ("release", private, "--epsilon", "1", "--out", tmp_path / "r")):
        ran = veilray(*command, "--model", broken)
        assert ran.code == 2
        assert "candidates.npy must be" in ran.err
        assert "Traceback" not in ran.err


def test_two_bars_on_a_terminal_are_no_error(
    veilray: Run, public_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from veilray.cli.output import STATUS

    monkeypatch.setattr(STATUS, "_force_terminal", True)
    assert STATUS.is_terminal
    ran = veilray("fit", "directional", public_digits, "--out", tmp_path / "m", *SHAPE, "--code-epochs", 2, "--keep", 2)
    assert ran.code == 0, ran.err
