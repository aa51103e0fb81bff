"""What every command keeps to: it is visible from its beginning, overwrites nothing, and writes to no wrong place."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veilray.cli.output import progress_stages

Run = Callable[..., Any]
STATED = ("--training-data", "public", "--statement", "made up")
TINY = ("--size", 16, "--levels", 1, "--steps", 1, "--width", 4, "--epochs", 1, *STATED)


@pytest.fixture
def released(veilray: Run, pictures: Path, directional_release: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(directional_release, tmp_path / "released"))


@pytest.fixture(scope="module")
def directional_release(
    tmp_path_factory: pytest.TempPathFactory, directional_model: Path, private_digits: np.ndarray
) -> Path:
    """A release with a kept code; read only."""
    from veilray.api import release

    folder = tmp_path_factory.mktemp("released")
    few = folder / "few.npz"
    np.savez(few, images=private_digits[:8, 0], label=np.array(["odd", "even"] * 4), patient=np.arange(8))
    release(few, directional_model, 4, folder / "release", record=folder / "record", ledger=folder / "ledger.sqlite")
    return folder / "release"


# The version.


def test_the_version_is_told_without_torch(veilray: Run) -> None:
    ran = veilray("--version")
    assert ran.code == 0
    assert ran.out == f"veilray {version('veilray')} (torch {version('torch')}, Python {sys.version.split()[0]})"
    code = (
        "import sys, veilray.cli.main as m\nsys.argv = ['veilray', '--version']\n"
        "try: m.main()\nfinally: print('torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60).stdout
    assert told.splitlines()[1] == "False"


# Visible from the beginning.


def commands(place: Path, pictures: Path, model: Path, house: Path, released: Path) -> dict[str, list[object]]:
    """A command line of each command that works on data, with `--json` where it has one."""
    made = ["--out", place / "made"]
    attacked = ["--release", house / "out", "--record", house / "record", "--images", house / "private.npz"]
    return {
        "fit dp-glow": ["fit", "dp-glow", pictures, *made, *TINY, "--json"],
        "fit obfuscation": ["fit", "obfuscation", pictures, *made, "--size", 16, "--encoder", "none", "--json"],
        "check": ["check", pictures, "--model", model, "--json"],
        "release": ["release", pictures, "--model", model, "--epsilon", 1, *made, "--json"],
        "audit": ["audit", "--mechanism", "laplace", "--epsilon", 1, "--trials", 1000, "--dimension", 1, "--json"],
        "features": ["features", released, "--out", place / "f.npz", "--json"],
        "obfuscate": [
            "obfuscate", house / "private.npz", "--model", house / "batches", "--key", house / "key", *made, "--json"
        ],
        "cloud-train": ["cloud-train", house / "out", *made, "--epochs", 1, "--json"],
        "cloud-predict": ["cloud-predict", house / "classifier", house / "out", "--out", place / "p.csv", "--json"],
        "attack": ["attack", "rank-matching", *attacked, "--own", pictures, *made, "--pictures", 4, "--json"],
    }  # fmt: skip


FIRST_LINE = {
    "fit dp-glow": "looking for images",
    "fit obfuscation": "looking for images",
    "check": "looking for images",
    "release": "ledger ",  # which one, and its budget, before anything is drawn
    "audit": "auditing laplace",
    "features": "reading the release",
    "obfuscate": "looking for images",
    "cloud-train": "reading pictures",
    "cloud-predict": "reading pictures",
    "attack": "looking for images",
}


@pytest.mark.parametrize("name", FIRST_LINE)
def test_work_is_seen_on_stderr_and_the_result_on_stdout(
    veilray: Run, pictures: Path, model: Path, house: Path, released: Path, tmp_path: Path, name: str
) -> None:
    ran = veilray(*commands(tmp_path, pictures, model, house, released)[name])
    assert ran.code == 0, ran.err
    assert ran.err.startswith(FIRST_LINE[name])
    json.loads(ran.out)


def test_it_is_seen_before_the_work_and_not_after(
    veilray: Run, pictures: Path, model: Path, house: Path, released: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Whatever the first piece of work would be, something has been said by then."""

    def stop(*_: object, **__: object) -> None:
        raise ValueError("the work began")

    monkeypatch.setattr("veilray.images.Collection.open", stop)
    monkeypatch.setattr("veilray.cloud.received._read_image", stop)
    monkeypatch.setattr("veilray.releases.dataset.open_release", stop)
    monkeypatch.setattr("veilray.evaluation.audit.audit_mechanism", stop)
    for name, asked in commands(tmp_path, pictures, model, house, released).items():
        ran = veilray(*asked)
        assert "the work began" in ran.err, (name, ran)
        if name.startswith("cloud"):  # the list of files is read first, and it is short
            continue
        assert ran.err.startswith(FIRST_LINE[name]), name


def test_stages_begin_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_stages("one", "two", "three", begun=False) as (one, two, three):
        assert capsys.readouterr().err == ""
        one(0, 0)
        assert capsys.readouterr().err == "one\n"
        one(1, 2)
        assert capsys.readouterr().err == ""
        one(2, 2)
        assert capsys.readouterr().err == "two\n"
        two(1, 2)
        three(1, 1)
        assert capsys.readouterr().err == "three\n"


# Nothing is overwritten.


def test_no_command_overwrites_what_it_did_not_make(
    veilray: Run,
    pictures: Path,
    model: Path,
    house: Path,
    released: Path,
    table_file: Callable[..., Path],
    tmp_path: Path,
) -> None:
    table = table_file(8, 5)
    mine = {
        ending: tmp_path / f"thesis{ending}" for ending in ("", ".html", ".png", ".npz", ".csv", ".yaml", ".sqlite")
    }
    for path in mine.values():
        path.write_text("mine")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "thesis").write_text("mine")
    claim = ("--model", model, "--epsilon", 1)
    obfuscated = ("obfuscate", house / "private.npz", "--model", house / "batches", "--key", house / "key")
    attacked = ("--release", house / "out", "--record", house / "record", "--images", house / "private.npz")
    for asked in (
        ("card", released, "--html", mine[".html"]),
        ("check", pictures, *claim, "--preview", mine[".png"]),
        ("check", table, "--out", mine[".yaml"]),
        ("features", released, "--out", mine[".npz"]),
        ("cloud-predict", house / "classifier", house / "out", "--out", mine[".csv"]),
        ("keys", "new", "--out", mine[""]),
        ("keys", "rotate", house / "key", "--out", mine[""]),
        ("keys", "show-public", house / "key", "--out", mine[""]),
        *((*command, "--out", there)
          for there in (folder, mine[""])
          for command in (
              ("fit", "dp-glow", pictures, *TINY),
              ("fit", "obfuscation", pictures, "--size", 16, "--encoder", "none"),
              ("release", pictures, *claim),
              obfuscated,
              ("cloud-train", house / "out", "--epochs", 1),
              ("attack", "rank-matching", *attacked, "--own", pictures),
              ("demo", "--data", pictures),
          )),
        ("release", pictures, *claim, "--out", tmp_path / "r", "--record", folder),
        (*obfuscated, "--out", tmp_path / "o", "--record", folder),
        ("ledger", "init", "--epsilon", 1, "--ledger", mine[".sqlite"]),
        ("release", pictures, *claim, "--out", tmp_path / "r", "--ledger", mine[".sqlite"]),
    ):  # fmt: skip
        ran = veilray(*asked)
        assert ran.code == 2, (asked, ran)
        assert "Traceback" not in ran.err
        assert ran.err.splitlines()[-1].startswith("veilray: "), asked
    assert {path.read_text() for path in mine.values()} == {"mine"}
    assert [path.name for path in folder.iterdir()] == ["thesis"]
    assert (folder / "thesis").read_text() == "mine"


def test_a_preview_names_a_kind_of_picture(veilray: Run, pictures: Path, model: Path, tmp_path: Path) -> None:
    """Without an ending the plotter would add one, and write over a file that nobody named."""
    (tmp_path / "preview.png").write_text("mine")
    ran = veilray("check", pictures, "--model", model, "--epsilon", 1, "--preview", tmp_path / "preview")
    assert (ran.code, "--preview must end in .png" in ran.err) == (2, True)
    assert (tmp_path / "preview.png").read_text() == "mine"


def test_a_demo_replaces_an_earlier_one_and_nothing_else(veilray: Run, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "demo" / "pictures").mkdir(parents=True)
    (tmp_path / "demo" / ".veilray-demo").touch()
    (tmp_path / "demo" / "thesis.txt").write_text("mine")
    ran = veilray("demo", "--data", pictures, "--out", tmp_path / "demo", "--size", 4)
    assert (ran.code, "must hold nothing but an earlier demo, got thesis.txt" in ran.err) == (2, True)
    assert (tmp_path / "demo" / "thesis.txt").read_text() == "mine"
    gone = veilray("demo", "--data", tmp_path / "nowhere", "--out", tmp_path / "demo")
    assert (gone.code, "--data must be an existing folder" in gone.err) == (2, True)
    assert (tmp_path / "demo" / "pictures").is_dir()


# Places.


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder of pictures, a manifest of them within, and a link to it."""
    from veilray.images import write_image

    folder = tmp_path / "study"
    (folder / "ward").mkdir(parents=True)
    rows = ["path,patient"]
    for number in range(4):
        write_image(folder / "ward" / f"{number}.png", np.full((16, 16), 10 * number, np.uint8))
        rows.append(f"ward/{number}.png,p{number}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "link").symlink_to(folder)
    return folder


@pytest.mark.parametrize(
    ("images", "out"),
    [
        ("study", "study/r"),
        ("study", "study/ward/deep/r"),
        ("study", "link/r"),
        ("link", "study/r"),
        ("study", "x/../study/r"),
        ("study", "study"),
        ("study/ward", "study"),
        ("study/manifest.csv", "study/ward/r"),
        ("study/manifest.csv", "link/ward/r"),
    ],
)
@pytest.mark.parametrize("command", ["release", "fit", "obfuscate"])
def test_what_is_made_lies_outside_images_and_not_around_them(
    veilray: Run, study: Path, model: Path, house: Path, tmp_path: Path, command: str, images: str, out: str
) -> None:
    before = sorted(study.rglob("*"))
    asked = {
        "release": ("release", "--model", model, "--epsilon", 1),
        "fit": ("fit", "dp-glow", *TINY),
        "obfuscate": ("obfuscate", "--model", house / "batches", "--key", house / "key"),
    }[command]
    ran = veilray(*asked, tmp_path / images, "--out", tmp_path / out)
    assert (ran.code, "must lie outside" in ran.err) == (2, True), ran.err
    assert sorted(study.rglob("*")) == before


def test_a_release_beside_a_manifest_or_a_table_is_fine(veilray: Run, study: Path, model: Path) -> None:
    ran = veilray(
        "release", study / "manifest.csv", "--model", model, "--epsilon", 1, "--out", study / "r", "--dry-run"
    )
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(
    ("option", "place", "message"),
    [
        ("--record", "r/record", "RECORD must lie outside RELEASE"),
        ("--record", "study/record", "RECORD must lie outside IMAGES"),
        ("--record", "link/ward/record", "RECORD must lie outside IMAGES"),
        ("--record", "sent/record", "RECORD must lie outside RELEASE"),
        ("--ledger", "r/ledger.sqlite", "LEDGER must lie outside RELEASE"),
        ("--ledger", "study/ledger.sqlite", "LEDGER must lie outside IMAGES"),
        ("--ledger", "sent/images/ledger.sqlite", "LEDGER must lie outside RELEASE"),
        ("--out", "sent/r", "RELEASE must lie outside RELEASE"),
    ],
)
def test_what_stays_lies_outside_what_leaves(
    veilray: Run, study: Path, released: Path, model: Path, tmp_path: Path, option: str, place: str, message: str
) -> None:
    released.rename(tmp_path / "sent")
    out = [] if option == "--out" else ["--out", tmp_path / "r"]
    ran = veilray("release", study, "--model", model, "--epsilon", 1, *out, option, tmp_path / place)
    assert (ran.code, message in ran.err) == (2, True), ran.err
    assert not (tmp_path / "r").exists()
    assert not (tmp_path / place).exists()


def test_rows_of_a_table_keep_to_the_same(
    veilray: Run, table_file: Callable[..., Path], table_model: Path, tmp_path: Path
) -> None:
    asked = ("release", table_file(8, 6), "--model", table_model, "--epsilon", 1, "--out", tmp_path / "r")
    ran = veilray(*asked, "--ledger", tmp_path / "r" / "ledger.sqlite")
    assert (ran.code, "LEDGER must lie outside RELEASE" in ran.err) == (2, True), ran.err
    ran = veilray(*asked[:-1], table_model / "r")
    assert (ran.code, "RELEASE must lie outside MODEL" in ran.err) == (2, True), ran.err


def test_nothing_is_added_to_a_release(veilray: Run, released: Path, house: Path) -> None:
    before = sorted(released.rglob("*"))
    for asked in (
        ("card", released, "--html", released / "card.html"),
        ("features", released, "--out", released / "images" / "f.npz"),
        ("keys", "new", "--out", released / "key"),
        ("cloud-train", house / "out", "--out", released / "c"),
    ):
        ran = veilray(*asked)
        assert (ran.code, "must lie outside RELEASE" in ran.err) == (2, True), ran.err
    assert sorted(released.rglob("*")) == before
