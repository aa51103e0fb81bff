"""The commands as a user meets them: results, exit codes, messages without tracebacks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from veilray.images import write_image
from veilray.ledger import Journal

Run = Callable[..., "object"]


def test_fit_release_card_in_the_documented_order(veilray: Run, public: Path, pictures: Path, tmp_path: Path) -> None:
    fitted = veilray(
        "fit", "dp-glow", public, "--out", tmp_path / "model", "--size", 16, "--levels", 2, "--steps", 2,
        "--width", 8, "--epochs", 1, "--training-data", "public", "--statement", "gradients",
    )  # fmt: skip
    assert fitted.code == 0, fitted.err
    assert "bits per dimension" in fitted.out
    out = tmp_path / "release"
    released = veilray("release", pictures, "--model", tmp_path / "model", "--epsilon", "8", "--out", out)
    assert released.code == 0, released.err
    assert "epsilon 8 (pure)" in released.out
    assert "worst patient in this release alone (4 images) epsilon 32" in released.out
    shown = veilray("card", out)
    assert shown.code == 0
    assert "Among 1,000 equally likely images" in shown.out
    identifier = json.loads((out / "release.json").read_text())["identifier"]
    assert f"{identifier}, of {datetime.now(UTC).date().isoformat()}" in shown.out
    assert "model model (dp-glow)" in shown.out
    page = veilray("card", out, "--html", tmp_path / "card.html")
    assert page.code == 0
    written = (tmp_path / "card.html").read_text()
    assert "not for diagnosis" in written
    assert identifier in written
    assert identifier in (out / "README").read_text()
    assert identifier in (out / "DATASET.md").read_text()


def test_a_release_of_the_training_images_is_refused_and_check_lists_them(
    veilray: Run, public: Path, tmp_path: Path
) -> None:
    fit = ["fit", "dp-glow", public, "--size", 16, "--levels", 2, "--steps", 2, "--width", 8, "--epochs", 1]
    warned = veilray(*fit, "--out", tmp_path / "m")
    assert "`veilray release` will refuse this model" in warned.err
    refused = veilray("release", public, "--model", tmp_path / "m", "--epsilon", "8", "--out", tmp_path / "r")
    assert (refused.code, refused.out) == (3, "")
    assert "give --allow-trained-on-released" in refused.err
    assert not (tmp_path / "r").exists()
    assert veilray(*fit, "--out", tmp_path / "n", "--training-data", "public").code == 2
    stated = ["--training-data", "public", "--statement", "gradients"]
    assert veilray(*fit, "--out", tmp_path / "n", *stated).code == 0
    checked = veilray("check", public, "--model", tmp_path / "n", "--json")
    told = json.loads(checked.out)["training"]
    assert checked.code == 1
    assert len(told["among_training"]) == 24
    assert "got 24 images" in told["release_refuses"]
    asked = ["release", public, "--model", tmp_path / "n", "--epsilon", "8", "--out", tmp_path / "r"]
    assert veilray(*asked).code == 3
    allowed = veilray(*asked, "--allow-trained-on-released")
    assert allowed.code == 0, allowed.err
    assert "what it tells of them is not covered" in allowed.out


def test_release_says_everything_as_json(veilray: Run, pictures: Path, model: Path, tmp_path: Path) -> None:
    ran = veilray("release", pictures, "--model", model, "--epsilon", "1/3", "--out", tmp_path / "r", "--json")
    told = json.loads(ran.out)
    assert told["guarantee"]["epsilon"] == "1/3"
    assert told["images"] == 24
    assert Path(told["record"]).is_dir()
    assert json.loads(veilray("card", tmp_path / "r", "--json").out)["guarantee"] == told["guarantee"]


def test_an_element_claim_prints_the_whole_image_beside_it(
    veilray: Run, pictures: Path, model: Path, tmp_path: Path
) -> None:
    ran = veilray(
        "release", pictures, "--model", model, "--epsilon", "3", "--unit", "element", "--out", tmp_path / "r", "--json"
    )
    told = json.loads(ran.out)["guarantee"]
    assert (told["epsilon"], told["element_epsilon"], told["image_epsilon"]) == ("3", "3", "768")


def test_dry_run_and_check_spend_nothing(veilray: Run, pictures: Path, model: Path, tmp_path: Path) -> None:
    dry = veilray("release", pictures, "--model", model, "--epsilon", "8", "--out", tmp_path / "r", "--dry-run")
    assert dry.code == 0
    assert "nothing was spent" in dry.out
    checked = veilray("check", pictures, "--model", model, "--epsilon", "8", "--preview", tmp_path / "preview.png")
    assert checked.code == 0, checked.err
    assert "largest patient: 4 images" in checked.out
    assert "would spend epsilon 32" in checked.out
    assert (tmp_path / "preview.png").stat().st_size > 1000
    assert not (tmp_path / "r").exists()
    assert not (tmp_path / "house").exists()


def test_check_tells_images_of_another_kind_from_the_models_own(
    veilray: Run, pictures: Path, model: Path, tmp_path: Path
) -> None:

    noise = np.random.default_rng(1).integers(0, 256, (20, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "noise.npz", images=noise)
    own = json.loads(veilray("check", pictures, "--model", model, "--json").out)["domain"]
    other = json.loads(veilray("check", tmp_path / "noise.npz", "--model", model, "--json").out)["domain"]
    assert own["share_outside"] <= 0.3
    assert own["separation"] <= 0.4
    assert other["share_outside"] >= 0.9
    assert other["separation"] >= 0.9
    assert "another kind than the model knows" in veilray("check", tmp_path / "noise.npz", "--model", model).out


def test_refused_files_give_exit_code_1_and_are_listed(veilray: Run, model: Path, tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "images" / "A"
    folder.mkdir(parents=True)
    Image.new("L", (20, 10), 90).save(folder / "good.png")
    (folder / "broken.png").write_bytes((folder / "good.png").read_bytes()[:40])
    checked = veilray("check", folder.parent, "--model", model)
    assert checked.code == 1
    assert "broken.png" in checked.out
    ran = veilray("release", folder.parent, "--model", model, "--epsilon", "8", "--out", tmp_path / "r")
    assert ran.code == 1
    assert len(list((tmp_path / "r" / "images").glob("*.png"))) == 1
    record = next((tmp_path / "house" / "records").iterdir())
    assert "broken.png" in (record / "quarantine.csv").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epsilon", "-1"], "must not be negative"),
        (["--epsilon", "0"], "epsilon must be above 0"),
        (["--epsilon", "four"], "decimal number or a fraction"),
        (["--epsilon", "nan"], "decimal number or a fraction"),
        (["--epsilon", "4", "--unit", "pixel"], "unit must be image or element"),
        (["--epsilon", "4", "--mechanism", "magic"], "mechanism must be one of"),
        (["--epsilon", "4", "--mechanism", "gaussian"], "delta"),
        (["--epsilon", "4", "--mechanism", "directional", "--mechanism-option", "blocks=x"], "blocks must be a whole"),
        (["--epsilon", "4", "--mechanism", "codebook", "--mechanism-option", "words=1.5"], "words must be a whole"),
        (["--epsilon", "4", "--mechanism", "directional", "--mechanism-option", "in_clear=1"], "epsilon infinite"),
        (["--epsilon", "4", "--mechanism-option", "colour=red"], "options of laplace must be among"),
        (["--epsilon", "4", "--mechanism", "directional", "--candidates", "9"], "must go with mechanism selection"),
        (["--epsilon", "4", "--label-policy", "secret"], "public, randomised"),
        (["--epsilon", "4", "--label-policy", "randomised"], "label epsilon must be given"),
        (
            ["--epsilon", "4", "--condition-policy", "label=randomised:1", "--condition-levels", "label=NORMAL,=x"],
            "spreadsheet",
        ),
        (
            ["--epsilon", "4", "--condition-policy", "label=randomised:1", "--condition-levels", "label=A,A"],
            "all different",
        ),
        (["--epsilon", "4", "--label-epsilon", "1"], "label policy randomised"),
        (["--epsilon", "4", "--condition-policy", "label"], "NAME=VALUE"),
        (["--epsilon", "4", "--layout", "nowhere.toml"], "layout"),
        (["--epsilon", "4", "--resume"], "RECORD"),
    ],
)
def test_wrong_use_is_named_without_a_traceback(
    veilray: Run, pictures: Path, model: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    ran = veilray("release", pictures, "--model", model, "--out", tmp_path / "r", *options)
    assert ran.code == 2, ran.err
    assert message in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "r").exists()


def test_missing_and_foreign_inputs_are_named(veilray: Run, pictures: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    out = tmp_path / "r"
    for images, chosen in [
        (tmp_path / "nowhere", model),
        (tmp_path / "empty", model),
        (pictures, tmp_path / "empty"),
        (pictures, "builtin:nothing"),
    ]:
        ran = veilray("release", images, "--model", chosen, "--epsilon", "4", "--out", out)
        assert ran.code == 2, ran
        assert "must" in ran.err
        assert "Traceback" not in ran.err
    assert veilray("card", tmp_path / "empty").code == 2


def test_a_truncated_model_is_named(veilray: Run, pictures: Path, model: Path, tmp_path: Path) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    weights = next(broken.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])
    ran = veilray("release", pictures, "--model", broken, "--epsilon", "4", "--out", tmp_path / "r")
    assert ran.code == 2
    assert "SHA-256" in ran.err


def test_epsilon_and_out_have_no_default_and_there_is_no_seed(veilray: Run, pictures: Path, model: Path) -> None:
    assert veilray("release", pictures, "--model", model, "--out", "x").code == 2
    assert veilray("release", pictures, "--model", model, "--epsilon", "1").code == 2
    assert veilray("release", pictures, "--model", model, "--epsilon", "1", "--out", "x", "--seed", "1").code == 2


def test_an_existing_release_is_not_overwritten(veilray: Run, pictures: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    ran = veilray("release", pictures, "--model", model, "--epsilon", "4", "--out", tmp_path / "r")
    assert ran.code == 2
    assert "choose another --out" in ran.err
    assert list((tmp_path / "r").iterdir()) == []


def test_a_finished_release_can_be_resumed_and_a_busy_one_is_refused(
    veilray: Run, pictures: Path, model: Path, tmp_path: Path
) -> None:
    from veilray.releases import ImageLog

    told = json.loads(
        veilray("release", pictures, "--model", model, "--epsilon", "4", "--out", tmp_path / "r", "--json").out
    )
    resume = ("release", pictures, "--model", model, "--epsilon", "4", "--out", tmp_path / "r", "--resume")
    assert veilray(*resume).code == 0
    with ImageLog.open(Path(told["record"])).locked():
        busy = veilray(*resume)
    assert busy.code == 3
    assert busy.err.splitlines()[-1].startswith("veilray: refused")
    assert len(Journal(tmp_path / "house" / "ledger.sqlite").releases()) == 1


def test_public_labels_become_folders_and_private_ones_do_not(
    veilray: Run, pictures: Path, model: Path, tmp_path: Path
) -> None:
    veilray(
        "release", pictures, "--model", model, "--epsilon", "4", "--out", tmp_path / "r", "--label-policy", "public"
    )
    assert {path.name for path in (tmp_path / "r" / "images").iterdir()} == {"NORMAL", "PNEUMONIA"}
    shown = veilray("card", tmp_path / "r")
    assert "label public (not covered)" in shown.out


def test_a_release_is_itself_a_collection(veilray: Run, pictures: Path, model: Path, tmp_path: Path) -> None:
    veilray(
        "release", pictures, "--model", model, "--epsilon", "4", "--out", tmp_path / "r", "--label-policy", "public"
    )
    told = json.loads(veilray("check", tmp_path / "r" / "images", "--model", model, "--json").out)
    assert told["images"] == 24
    assert told["labels"] == {"NORMAL": 12, "PNEUMONIA": 12}


def test_columns_and_dialect_say_how_a_manifest_is_read(veilray: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    for index in range(4):
        write_image(tmp_path / "study" / f"{index}.png", np.full((1, 16, 16), 40 * index, np.uint8))
    rows = [f"{index}.png;k{index // 2};m\u00fcde" for index in range(4)]
    manifest = tmp_path / "study" / "m.csv"
    manifest.write_bytes("\n".join(["where;case;finding", *rows]).encode("cp1252"))
    asked = ("check", manifest, "--model", model, "--json")
    how = ("--dialect", "encoding=cp1252", "--columns", "path=where,patient=case", "--columns", "label=finding")
    assert "--dialect encoding=NAME" in veilray(*asked).err
    assert "--columns path=NAME" in veilray(*asked, *how[:2]).err
    told = json.loads(veilray(*asked, *how).out)
    assert (told["images"], told["patients"], told["labels"]) == (4, 2, {"m\u00fcde": 4})
    dry = veilray("release", manifest, "--model", model, "--epsilon", 8, "--out", tmp_path / "r", *how, "--dry-run")
    assert dry.code == 0
    assert "worst patient in this release alone (2 images) epsilon 16" in dry.out
    assert "--columns must be ROLE=NAME" in veilray(*asked, "--columns", "case").err


def test_help_is_fast_and_does_not_load_torch() -> None:
    code = "import sys, veilray.cli.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_fit_refuses_a_finished_model_and_a_shape_that_does_not_fit(
    veilray: Run, pictures: Path, model: Path, tmp_path: Path
) -> None:
    again = veilray("fit", "dp-glow", pictures, "--out", model, "--size", 16)
    assert again.code == 2
    assert "new folder" in again.err
    odd = veilray("fit", "dp-glow", pictures, "--out", tmp_path / "m", "--size", 28, "--levels", 3)
    assert odd.code == 2
    assert "use --levels 2" in odd.err
    assert not (tmp_path / "m").exists()


def test_an_interrupted_fit_resumes_to_the_same_weights(
    veilray: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from veilray.flows import training

    shape = ["--size", 16, "--levels", 2, "--steps", 2, "--width", 8, "--epochs", 3, "--batch-size", 8]
    whole = veilray("fit", "dp-glow", pictures, "--out", tmp_path / "whole", *shape)
    assert whole.code == 0, whole.err
    log = training.LOG_FILE
    epochs = iter(range(100))
    save = training.Checkpoint.save

    def interrupted(*args: object, **kwargs: object) -> object:
        result = save(*args, **kwargs)
        if next(epochs) == 1:
            raise KeyboardInterrupt
        return result

    with monkeypatch.context() as patched:
        patched.setattr(training.Checkpoint, "save", interrupted)
        broken = veilray("fit", "dp-glow", pictures, "--out", tmp_path / "parts", *shape)
    assert broken.code == 130
    assert "--resume continues" in broken.err
    assert not (tmp_path / "parts" / "model.json").exists()
    assert veilray("release", pictures, "--model", tmp_path / "parts", "--epsilon", "1", "--out", "x").code == 2
    resumed = veilray("fit", "dp-glow", pictures, "--out", tmp_path / "parts", *shape, "--resume")
    assert resumed.code == 0, resumed.err
    weights = [
        json.loads((tmp_path / name / "model.json").read_text())["weights_sha256"] for name in ("whole", "parts")
    ]
    assert weights[0] == weights[1]
    assert len((tmp_path / "parts" / log).read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("mechanism", "options"),
    [
        ("laplace", ["--bound", "l1-ball"]),
        ("gaussian", ["--delta", "1e-6"]),
        ("directional", []),
        ("directional", ["--mechanism-option", "form=sphere", "--mechanism-option", "blocks=2"]),
        ("codebook", []),
        ("selection", ["--candidates", "64"]),
    ],
)
def test_every_mechanism_releases_and_resumes(
    veilray: Run, pictures: Path, model: Path, tmp_path: Path, mechanism: str, options: list[str]
) -> None:
    asked = ["release", pictures, "--model", model, "--epsilon", "4", "--out", tmp_path / "r"]
    asked += ["--mechanism", mechanism, *options]
    ran = veilray(*asked, "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)["guarantee"]
    assert (told["mechanism"], told["image_epsilon"]) == (mechanism, "4")
    assert len(list((tmp_path / "r" / "images").glob("*.png"))) == 24
    assert veilray(*asked, "--resume").code == 0


def test_a_selection_releases_only_pictures_of_its_public_list(
    veilray: Run, pictures: Path, model: Path, tmp_path: Path
) -> None:
    asked = ["--model", model, "--epsilon", "4", "--mechanism", "selection", "--candidates", "8"]
    told = {}
    for run in "ab":
        veilray("release", pictures, *asked, "--out", tmp_path / run)
        told[run] = {path.read_bytes() for path in (tmp_path / run / "images").glob("*.png")}
    assert len(told["a"] | told["b"]) <= 8


def test_a_budget_is_policy_and_its_refusal_is_exit_code_3(
    veilray: Run, pictures: Path, model: Path, tmp_path: Path
) -> None:
    assert "nothing was released yet; no budget is set" in veilray("ledger", "show").out
    assert not (tmp_path / "house").exists(), "looking makes no ledger"
    assert "epsilon 20 (pure sum)" in veilray("ledger", "init", "--epsilon", "20").out
    assert veilray("ledger", "init", "--epsilon", "40").code == 3
    fits = veilray("release", pictures, "--model", model, "--epsilon", "4", "--out", tmp_path / "a")
    assert fits.code == 0, fits.err
    beyond = veilray("release", pictures, "--model", model, "--epsilon", "4", "--out", tmp_path / "b")
    assert beyond.code == 3
    assert "budget of a patient is epsilon 20, and this release would take one to 32" in beyond.err
    assert not (tmp_path / "b").exists()
    assert not list(tmp_path.glob(".b.*"))
    assert len(list((tmp_path / "house" / "records").iterdir())) == 1
    shown = veilray("ledger", "show")
    assert f"{tmp_path / 'a'} published: 24 images, epsilon 4 each, worst patient 16" in shown.out
    told = json.loads(veilray("ledger", "show", "--json").out)
    assert told["budget"] == {"epsilon": "20", "delta": "0", "accounting": "sum"}
    assert [row["state"] for row in told["releases"]] == ["published"]
    assert [(row["out"], row["records"], row["record"]) for row in told["releases"]] == [
        (str(tmp_path / "a"), 24, "image")
    ]


@pytest.mark.parametrize("asked", [(), ("--dry-run",), ("--json",)])
def test_a_release_says_which_ledger_is_charged_and_what_its_budget_is(
    veilray: Run, pictures: Path, model: Path, tmp_path: Path, asked: tuple[str, ...]
) -> None:
    release = ("release", pictures, "--model", model, "--epsilon", "1", "--out", tmp_path / "r", *asked)
    ledger = tmp_path / "house" / "ledger.sqlite"
    if asked == ("--dry-run",):
        assert f"ledger {ledger}: a new one; no budget is set" in veilray(*release).err
        assert not ledger.exists(), "a dry run makes none"
    veilray("ledger", "init", "--epsilon", "8")
    ran = veilray(*release)
    assert ran.code == 0, ran.err
    assert f"ledger {ledger}: a patient may be spent epsilon 8 (pure sum)" in ran.err
    assert "may be spent" not in ran.out


def test_a_relative_ledger_is_one_place_or_refused(
    veilray: Run, pictures: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    release = ("release", pictures, "--model", model, "--epsilon", "1", "--out", tmp_path / "r")
    ran = veilray(*release, "--ledger", "l.sqlite", "--dry-run")
    assert f"ledger {tmp_path / 'l.sqlite'}: a new one" in ran.err
    assert str(tmp_path / "l.sqlite") in veilray("ledger", "init", "--epsilon", "2", "--ledger", "l.sqlite").out
    assert "epsilon 2 (pure sum)" in veilray("ledger", "show", "--ledger", "sqlite:///l.sqlite").out
    url = veilray(*release, "--ledger", "postgresql://house/ledger")
    assert (url.code, "must be a path or sqlite:///PATH" in url.err) == (2, True)
    monkeypatch.setenv("VEILRAY_LEDGER", "ledger/ledger.sqlite")
    for command in (release, ("ledger", "show"), ("ledger", "init", "--epsilon", "1")):
        ran = veilray(*command)
        assert (ran.code, "$VEILRAY_LEDGER must be an absolute path" in ran.err) == (2, True)
    assert not (tmp_path / "r").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"l.sqlite"}


def test_nothing_of_the_users_is_deleted_or_mixed(veilray: Run, pictures: Path, model: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("x")
    asked = ["release", pictures, "--model", model, "--epsilon", "8", "--out", tmp_path / "r"]
    veilray("ledger", "init", "--epsilon", "1")
    assert veilray(*asked, "--record", mine).code == 2
    assert veilray("fit", "dp-glow", pictures, "--out", mine, "--size", 16, "--levels", 2).code == 2
    assert veilray("demo", "--data", mine, "--out", tmp_path).code == 2
    assert veilray(*asked, "--record", tmp_path / "r" / "record").code == 2
    assert (mine / "thesis.txt").read_text() == "x"


def test_words_of_a_card_are_not_markup(veilray: Run, public: Path, pictures: Path, tmp_path: Path) -> None:
    shape = ["--size", 16, "--levels", 2, "--steps", 2, "--width", 8, "--epochs", 1]
    stated = ["--training-data", "public", "--statement", "s [/b] [red]hi[/red]"]
    veilray("fit", "dp-glow", public, "--out", tmp_path / "m", *shape, *stated)
    ran = veilray("check", pictures, "--model", tmp_path / "m", "--epsilon", "1")
    assert ran.code == 0, ran.err
    assert "s [/b] [red]hi[/red]" in ran.out


def test_a_mistyped_ledger_is_named_and_not_made(veilray: Run, tmp_path: Path) -> None:
    ran = veilray("ledger", "show", "--ledger", tmp_path / "legder.sqlite")
    assert ran.code == 2
    assert "must be a ledger that exists" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_card_does_not_overwrite_a_file(veilray: Run, pictures: Path, model: Path, tmp_path: Path) -> None:
    assert veilray("release", pictures, "--model", model, "--epsilon", "1", "--out", tmp_path / "r").code == 0
    (tmp_path / "thesis.html").write_text("mine")
    ran = veilray("card", tmp_path / "r", "--html", tmp_path / "thesis.html")
    assert (ran.code, "--html must be a new file" in ran.err) == (2, True)
    assert (tmp_path / "thesis.html").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size", "0"], "batch_size must be above 0"),
        (["--batch-size", "-3"], "batch_size must be above 0"),
        (["--epochs", "0"], "epochs must be above 0"),
        (["--learning-rate", "1e10"], "learning_rate must be at most 1"),
        (["--learning-rate", "inf"], "learning_rate must be at most 1"),
        (["--learning-rate", "-1"], "learning_rate must be above 0"),
        (["--learning-rate", "nan"], "learning_rate must be above 0"),
    ],
)
@pytest.mark.parametrize("method", ["dp-glow", "directional"])
def test_a_schedule_that_cannot_train_is_named_before_anything_is_made(
    veilray: Run, pictures: Path, tmp_path: Path, method: str, options: list[str], message: str
) -> None:
    ran = veilray("fit", method, pictures, "--out", tmp_path / "m", "--size", 8, "--levels", 1, *options)
    assert ran.code == 2, ran.err
    assert message in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "27"], "--size must be an even number of 2 or more, at most 1024, got 27: use 28"),
        (["--size", "0"], "--size must be an even number"),
        (["--minutes", "0"], "--minutes must be above 0"),
        (["--minutes", "nan"], "--minutes must be above 0"),
    ],
)
def test_a_demo_that_cannot_be_is_named_before_anything_is_made(
    veilray: Run, tmp_path: Path, options: list[str], message: str
) -> None:
    ran = veilray("demo", "--out", tmp_path / "demo", *options)
    assert (ran.code, message in ran.err) == (2, True), ran.err
    assert not (tmp_path / "demo").exists()
