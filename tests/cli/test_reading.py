"""How records are read, on every command alike: split, images per patient, range, inversion."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import veilray as package
from veilray.releases.model import read_card

Run = Callable[..., "object"]

STATED = ("--training-data", "public", "--statement", "made up")
SHAPE = ("--size", 8, "--levels", 1, "--steps", 1, "--width", 4, "--epochs", 1, *STATED)


def twelve_bits(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random((count, 8, 8)) * 1000 + np.linspace(0, 3000, 8)).astype(np.uint16)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    path = tmp_path / "films.npz"
    patients = [f"p{index // 3}" for index in range(30)]
    splits = ["train"] * 24 + ["test"] * 6
    np.savez(path, images=twelve_bits(30), patient=patients, split=splits)
    return path


@pytest.fixture
def public_films(tmp_path: Path) -> Path:
    """Others than `films`, to fit on."""
    path = tmp_path / "public-films.npz"
    np.savez(path, images=twelve_bits(30, seed=1))
    return path


@pytest.fixture
def twelve(veilray: Run, public_films: Path, tmp_path: Path) -> Path:
    fitted = veilray(
        "fit", "dp-glow", public_films, "--out", tmp_path / "twelve", *SHAPE, "--range", "0:4095", "--invert"
    )
    assert fitted.code == 0, fitted.err
    return tmp_path / "twelve"


def told(release: Path) -> dict:
    return json.loads((release / "release.json").read_text())


def test_the_rule_of_the_fit_is_the_models_and_the_releases_own(
    veilray: Run, films: Path, twelve: Path, tmp_path: Path
):
    card = read_card(twelve)
    assert (card.intensity.range, card.intensity.invert) == ((0.0, 4095.0), True)
    assert "stored values 0 to 4095" in card.geometry_rule
    veilray("release", films, "--model", twelve, "--epsilon", "4", "--out", tmp_path / "r")
    assert told(tmp_path / "r")["model"]["intensity"] == {"range": [0.0, 4095.0], "invert": True}
    assert "stored values 0 to 4095" in (tmp_path / "r" / "README").read_text()


def test_another_rule_is_stated_in_the_release_and_asked_for_again(
    veilray: Run, films: Path, twelve: Path, tmp_path: Path
):
    asked = ["release", films, "--model", twelve, "--epsilon", "4", "--out", tmp_path / "r"]
    assert veilray(*asked, "--range", "0:2000", "--no-invert").code == 0
    readme = (tmp_path / "r" / "README").read_text()
    assert "stored values 0 to 2000" in readme
    assert "exchanged" not in readme
    resumed = veilray(*asked, "--resume")
    assert resumed.code == 2
    assert "range" in resumed.err
    assert veilray(*asked, "--range", "0:2000", "--no-invert", "--resume").code == 0
    assert read_card(twelve).intensity.range == (0.0, 4095.0)


def test_a_card_without_a_rule_stays_as_it_was(veilray: Run, pictures: Path, model: Path, tmp_path: Path):
    assert "intensity" not in json.loads((model / "model.json").read_text())
    veilray("release", pictures, "--model", model, "--epsilon", "4", "--out", tmp_path / "r")
    assert "intensity" not in told(tmp_path / "r")["model"]
    assert "images_per_patient" not in told(tmp_path / "r")["guarantee"]["releases"]


def test_the_first_images_of_each_patient_are_stated_on_the_card(
    veilray: Run, films: Path, twelve: Path, tmp_path: Path
):
    asked = ["release", films, "--model", twelve, "--epsilon", "4", "--out", tmp_path / "r", "--split", "train"]
    ran = veilray(*asked, "--images-per-patient", 1)
    assert ran.code == 0, ran.err
    assert "at most 1 image of a patient was taken, the first by the order of the manifest" in ran.out
    releases = told(tmp_path / "r")["guarantee"]["releases"]
    assert releases == {"images": 8, "patients": 8, "largest_patient": 1, "images_per_patient": 1}
    other = veilray(*asked, "--images-per-patient", 2, "--resume")
    assert (other.code, "images_per_patient" in other.err) == (2, True)
    assert veilray(*asked, "--images-per-patient", 1, "--resume").code == 0


def test_fit_takes_the_split_and_the_first_of_each_patient(veilray: Run, films: Path, tmp_path: Path):
    ran = veilray(
        "fit", "dp-glow", films, "--out", tmp_path / "m", *SHAPE, "--split", "train", "--images-per-patient", 2
    )
    assert ran.code == 0, ran.err
    card = read_card(tmp_path / "m")
    assert (card.training_patients, card.training_images) == (7, 14)  # of 8 patients one is held out


def test_check_warns_of_a_container_that_is_too_wide(veilray: Run, films: Path, model: Path):
    ran = veilray("check", films, "--model", model)
    assert "no pixel of a sample is above 6.1 % of the range" in ran.out
    assert "--range 0:4095" in ran.out
    assert "nearly black" not in veilray("check", films, "--model", model, "--range", "0:4095").out


def test_check_counts_what_it_skips(veilray: Run, model: Path, tmp_path: Path):
    (tmp_path / "study" / "@eaDir").mkdir(parents=True)
    for place in (tmp_path / "study", tmp_path / "study" / "@eaDir"):
        Image.new("L", (9, 9), 200).save(place / "a.png")
    (tmp_path / "study" / "Thumbs.db").write_bytes(b"x")
    ran = veilray("check", tmp_path / "study", "--model", model)
    assert ran.code == 0
    assert "skipped, no images: @eaDir (1), Thumbs.db (1)" in ran.out
    assert json.loads(veilray("check", tmp_path / "study", "--model", model, "--json").out)["skipped"] == {
        "@eaDir": 1,
        "Thumbs.db": 1,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--range", "5"], "range must be LOW:HIGH, such as 0:4095, or full, got '5'"),
        (["--range", "9:1"], "range must be LOW:HIGH with LOW below HIGH"),
        (["--images-per-patient", "0"], "images per patient must be a whole number of 1 or more, got 0"),
        (["--split", "val"], "split must be one of test, train, got 'val'"),
    ],
)
def test_wrong_words_are_named_without_a_traceback(veilray: Run, films: Path, model: Path, options, message):
    ran = veilray("check", films, "--model", model, *options)
    assert (ran.code, message in ran.err) == (2, True), ran.err
    assert "Traceback" not in ran.err


def test_a_table_has_no_range(veilray: Run, tmp_path: Path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    ran = veilray("check", tmp_path / "t.csv", "--range", "0:1")
    assert (ran.code, "--range must be left out for a table" in ran.err) == (2, True)


def test_the_same_words_in_python(films: Path, tmp_path: Path):
    method = package.fit(
        "dp-glow", films, tmp_path / "m", size=8, levels=1, steps=1, width=4, epochs=1,
        training_data="public", statement="made up", range=(0, 4095), split="train", images_per_patient=2,
    )  # fmt: skip
    assert method.card.intensity.range == (0, 4095)
    outcome = package.release(
        films,
        tmp_path / "m",
        "4",
        tmp_path / "r",
        ledger=tmp_path / "l",
        split="test",
        images_per_patient=1,
        invert=True,
    )
    assert outcome.count == 2
    assert told(tmp_path / "r")["model"]["intensity"] == {"range": [0.0, 4095.0], "invert": True}


def test_obfuscation_keeps_the_rule_too(veilray: Run, films: Path, tmp_path: Path):
    fitted = veilray(
        "fit", "obfuscation", films, "--out", tmp_path / "o", "--encoder", "none", "--size", 8, "--range", "0:4095"
    )
    assert fitted.code == 0, fitted.err
    assert read_card(tmp_path / "o").intensity.range == (0.0, 4095.0)
    assert veilray("keys", "new", "--out", tmp_path / "key").code == 0
    ran = veilray(
        "obfuscate", films, "--model", tmp_path / "o", "--key", tmp_path / "key", "--out", tmp_path / "out",
        "--record", tmp_path / "house" / "record", "--label-policy", "withheld", "--split", "test",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "6 images" in ran.out


def test_an_attack_reads_the_originals_as_they_were_obfuscated(veilray: Run, films: Path, tmp_path: Path):
    from veilray.releases.log import rule_of

    veilray("fit", "obfuscation", films, "--out", tmp_path / "o", "--encoder", "none", "--size", 8, "--range", "0:4095")
    veilray("keys", "new", "--out", tmp_path / "key")
    ran = veilray(
        "obfuscate", films, "--model", tmp_path / "o", "--key", tmp_path / "key", "--out", tmp_path / "out",
        "--record", tmp_path / "house" / "record", "--label-policy", "withheld", "--invert",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert rule_of(tmp_path / "house" / "record") == {"range": [0.0, 4095.0], "invert": True}
    assert rule_of(tmp_path / "elsewhere") == {}


@pytest.mark.parametrize("rule", [{"range": [5, 1]}, {"range": [0, 1e300]}, {"range": "0:1"}, {"invert": "perhaps"}])
def test_a_rule_that_is_none_is_named(veilray: Run, pictures: Path, model: Path, tmp_path: Path, rule: dict):
    import shutil

    shutil.copytree(model, tmp_path / "m")
    card = json.loads((tmp_path / "m" / "model.json").read_text())
    (tmp_path / "m" / "model.json").write_text(json.dumps({**card, "intensity": rule}))
    ran = veilray("check", pictures, "--model", tmp_path / "m")
    assert (ran.code, "model card of version 1" in ran.err) == (2, True), ran.err


def test_check_says_how_many_images_lack_a_patient(veilray: Run, model: Path, tmp_path: Path):
    np.savez(tmp_path / "gap.npz", images=np.full((3, 8, 8), 200, np.uint8), patient=[7.0, 8.0, np.nan])
    assert "3 images, no patient key for 1 image" in veilray("check", tmp_path / "gap.npz", "--model", model).out
