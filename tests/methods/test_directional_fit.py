"""Fitting: wrong options are refused before anything is read, k is chosen, an interrupted fit goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import veilray
from veilray.codes import ContentCode, GramCode
from veilray.flows import training
from veilray.images import Collection
from veilray.methods import DirectionalRelease, code_fitting, load_method
from veilray.releases import read_card

TinyFit = Callable[..., Path]
Options = dict[str, Any]


def test_k_is_chosen_on_the_public_images(tiny_fit: TinyFit) -> None:
    card = read_card(tiny_fit("directional", content="pixels", for_epsilon="2"))
    scores = {int(name.split("_")[-1]): score for name, score in card.figures.items() if name.startswith("rehearsal")}
    assert set(scores) == {2, 3, 4, 6, 8, 12, 16, 24}  # 27 for 216 images, at most
    assert card.figures["kept"] == max(scores, key=lambda keep: (scores[keep], -keep))
    assert card.configuration["kept_for_epsilon"] == "2"


@pytest.mark.parametrize("code", ["gram", "levels"])
def test_k_of_a_code_in_the_latent_is_chosen_too(tiny_fit: TinyFit, code: str) -> None:
    method = load_method(tiny_fit("directional", code=code))
    assert method.dimension == method.card.figures["kept"]
    assert sum(name.startswith("rehearsal") for name in method.card.figures) >= 8


def test_only_k_that_can_carry_the_claim_are_tried(tiny_fit: TinyFit) -> None:
    card = read_card(tiny_fit("directional", content="pixels", for_epsilon="36"))  # five blocks
    assert min(int(name.split("_")[-1]) for name in card.figures if name.startswith("rehearsal")) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"code": "pixels"}, "code must be one of content, gram, levels, got 'pixels'"),
        ({"content": "gram"}, "content must be one of invariant, pixels, vae"),
        ({"code": "gram", "content": "pixels"}, "content must go with code content"),
        ({"code": "levels", "content": "invariant"}, "content must go with code content"),
        ({"keep": 0}, "keep must be between 1 and 64, got 0"),
        ({"keep": -1}, "keep must be between 1 and 64, got -1"),
        ({"keep": 65}, "keep must be between 1 and 64, got 65"),
        ({"for_epsilon": 0}, "epsilon must be above 0"),
        ({"for_epsilon": -1}, "epsilon must not be negative"),
        ({"for_epsilon": "one"}, "epsilon must be a decimal number or a fraction"),
        ({"for_epsilon": 0.5}, "epsilon must be exact"),
        ({"for_epsilon": 1000}, "for_epsilon must be one that a direction can carry"),
        ({"classes": 0}, "classes must be between 2 and 256, got 0"),
        ({"classes": 1}, "classes must be between 2 and 256, got 1"),
        ({"classes": 257}, "classes must be between 2 and 256, got 257"),
        ({"code_epochs": 0}, "code_epochs must be 1 or more"),
        ({"content": "pixels", "code_epochs": 3}, "code_epochs must go with a content that trains a network"),
        ({"code": "gram", "code_epochs": 3}, "code_epochs must go with a content that trains a network"),
        ({"batch_size": 0}, "batch_size must be above 0"),
        ({"epochs": 0}, "epochs must be above 0"),
        ({"training_data": "stolen"}, "training data must be one of"),
        ({"size": 9}, "size"),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["directional", "selection"])
def test_wrong_options_are_refused_before_an_image_is_read(
    public_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_options: Options,
    options: Options, message: str, method: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(Collection, "to_memmap", lambda *_: pytest.fail("images were read"))
    with pytest.raises(ValueError, match=message):
        veilray.fit(method, public_digits, tmp_path / "m", **{**tiny_options, **options})
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (14, {"content": "pixels"}, "IMAGES must hold 20 or more beside those held out, got 13"),
        (14, {"code": "levels"}, "IMAGES must hold 20 or more beside those held out, got 13"),
        (30, {"content": "pixels", "keep": 27}, "keep must be below the number of training images, 27, got 27"),
        (30, {"content": "vae", "keep": 40}, "keep must be below the number of training images, 27, got 40"),
        (30, {"content": "pixels", "classes": 14}, "classes must be at most 13, half of the training images"),
    ],
)
def test_too_few_images_for_what_is_asked_are_refused_untrained(
    public_digits: Path, tmp_path: Path, tiny_options: Options, count: int, options: Options, message: str
) -> None:
    with np.load(public_digits) as public:
        np.savez(tmp_path / "few.npz", images=public["images"][:count])
    with pytest.raises(ValueError, match=message):
        veilray.fit("directional", tmp_path / "few.npz", tmp_path / "m", **{**tiny_options, **options})
    assert not (tmp_path / "m").exists()


def test_few_images_are_no_error(public_digits: Path, tmp_path: Path, tiny_options: Options) -> None:
    with np.load(public_digits) as public:
        np.savez(tmp_path / "few.npz", images=public["images"][:24])
    for name, options in (("content", {"content": "pixels"}), ("latent", {"code": "levels"})):
        fitted = veilray.fit("directional", tmp_path / "few.npz", tmp_path / name, **{**tiny_options, **options})
        assert fitted.card.figures["kept"] == 2


def test_a_finished_model_is_not_fitted_over(
    directional_model: Path, public_digits: Path, tiny_options: Options
) -> None:
    before = {path: path.read_bytes() for path in directional_model.rglob("*") if path.is_file()}
    for resume in (False, True):
        with pytest.raises(ValueError, match="which holds a finished model"):
            veilray.fit("directional", public_digits, directional_model, resume=resume, **tiny_options)
    assert before == {path: path.read_bytes() for path in directional_model.rglob("*") if path.is_file()}


# Interrupted and resumed.

PIXELS: Options = {"content": "pixels", "for_epsilon": 2}


def interrupted_after_code(
    monkeypatch: pytest.MonkeyPatch, images: Path, folder: Path, options: Options, at: str = "Rehearsal"
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(code_fitting, at, interrupt)
        with pytest.raises(KeyboardInterrupt):
            veilray.fit("directional", images, folder, **options)


def interrupted_after_an_epoch(monkeypatch: pytest.MonkeyPatch, images: Path, folder: Path, options: Options) -> None:
    real = training.Checkpoint.save

    def save(*arguments: Any) -> None:
        real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(training.Checkpoint, "save", save)
        with pytest.raises(KeyboardInterrupt):
            veilray.fit("directional", images, folder, **options)


def assert_equal_models(folder: Path, whole: Path, images: np.ndarray) -> None:
    one, other = load_method(folder), load_method(whole)
    assert isinstance(one, DirectionalRelease)
    assert isinstance(other, DirectionalRelease)
    assert np.array_equal(one.encode(images), other.encode(images))
    codes = one.encode(images)
    assert np.array_equal(one.decode(codes), other.decode(codes))
    timeless = [{k: v for k, v in m.card.figures.items() if k != "training_seconds"} for m in (one, other)]
    assert timeless[0] == timeless[1]
    assert one.card.configuration == other.card.configuration
    assert not list(folder.glob(".*"))


def test_once_the_code_is_there_it_is_not_fitted_again(
    public_digits: Path, private_digits: np.ndarray, tmp_path: Path, tiny_fit: TinyFit, tiny_options: Options,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    options = {**tiny_options, **PIXELS}
    interrupted_after_code(monkeypatch, public_digits, tmp_path / "m", options)
    assert (tmp_path / "m" / "code.json").exists()
    assert not (tmp_path / "m" / "model.json").exists()
    with pytest.raises(ValueError, match="MODEL must be a folder written by"):
        load_method(tmp_path / "m")
    with pytest.raises(ValueError, match="continue it with --resume"):
        veilray.fit("directional", public_digits, tmp_path / "m", **options)
    monkeypatch.setattr(ContentCode, "fit", lambda *_, **__: pytest.fail("the code was fitted again"))
    veilray.fit("directional", public_digits, tmp_path / "m", resume=True, **options)
    monkeypatch.undo()
    assert_equal_models(tmp_path / "m", tiny_fit("directional", content="pixels", for_epsilon="2"), private_digits)


@pytest.mark.parametrize(
    ("name", "options"), [("content", {"content": "pixels", "keep": 4}), ("gram", {"code": "gram", "keep": 4})]
)
def test_a_fit_goes_on_from_the_flows_checkpoint(
    public_digits: Path, private_digits: np.ndarray, tmp_path: Path, tiny_fit: TinyFit, tiny_options: Options,
    monkeypatch: pytest.MonkeyPatch, name: str, options: Options,
) -> None:  # fmt: skip
    folder = tmp_path / name
    interrupted_after_an_epoch(monkeypatch, public_digits, folder, {**tiny_options, **options})
    assert json.loads((folder / "checkpoint" / "state.json").read_text())["run"]["epoch"] == 1
    assert not list(folder.glob(".training*"))
    veilray.fit("directional", public_digits, folder, resume=True, **{**tiny_options, **options})
    assert_equal_models(folder, tiny_fit("directional", **options), private_digits)


def test_a_fit_that_was_stopped_at_the_code_begins_anew(
    public_digits: Path, tmp_path: Path, tiny_options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**tiny_options, **PIXELS}
    interrupted_after_code(monkeypatch, public_digits, tmp_path / "m", options, at="pseudo_tasks")
    assert not (tmp_path / "m").exists()
    veilray.fit("directional", public_digits, tmp_path / "m", resume=True, **options)


def test_a_fit_stopped_between_latent_code_and_card_goes_on(
    public_digits: Path, tmp_path: Path, tiny_options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**tiny_options, "code": "gram", "keep": 4}

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(GramCode, "fit", interrupt)
        with pytest.raises(KeyboardInterrupt):
            veilray.fit("directional", public_digits, tmp_path / "m", **options)
    veilray.fit("directional", public_digits, tmp_path / "m", resume=True, **options)
    assert load_method(tmp_path / "m").dimension == 4


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, public_digits: Path, tiny_options: Options) -> Path:
    """A fit that was interrupted once its code, of chosen k, was there."""
    folder = tmp_path_factory.mktemp("begun") / "m"
    with pytest.MonkeyPatch.context() as patched:
        interrupted_after_code(patched, public_digits, folder, {**tiny_options, **PIXELS})
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"content": "vae"}, "content must be as in the interrupted fit, pixels, got vae"),
        ({"content": None}, "content must be as in the interrupted fit, pixels, got invariant"),
        ({"keep": 1}, "keep must be as in the interrupted fit"),
        ({"for_epsilon": "3"}, "kept_for_epsilon must be as in the interrupted fit, 2, got 3"),
        ({"classes": 4}, "classes must be as in the interrupted fit, 2, got 4"),
        ({"size": 4, "levels": 1}, "size, channels and bits must be as in the interrupted fit"),
    ],
    ids=str,
)
def test_an_interrupted_fit_is_not_continued_as_another(
    public_digits: Path, begun: Path, tmp_path: Path, tiny_options: Options, changes: Options, message: str
) -> None:
    folder = Path(shutil.copytree(begun, tmp_path / "m"))
    with pytest.raises(ValueError, match=message):
        veilray.fit("directional", public_digits, folder, resume=True, **{**tiny_options, **PIXELS, **changes})


def test_a_begun_fit_without_a_word_on_its_k_asks_for_it(
    public_digits: Path, begun: Path, tmp_path: Path, tiny_options: Options
) -> None:
    folder = Path(shutil.copytree(begun, tmp_path / "m"))
    (folder / "checkpoint" / "code-choice.json").unlink()
    options = {**tiny_options, **PIXELS}
    keep = json.loads((folder / "code.json").read_text())["dimension"]
    with pytest.raises(ValueError, match=f"keep must be given .* use --keep {keep}"):
        veilray.fit("directional", public_digits, folder, resume=True, **options)
    fitted = veilray.fit("directional", public_digits, folder, resume=True, keep=keep, **options)
    assert fitted.card.configuration["kept_for_epsilon"] == "given"
