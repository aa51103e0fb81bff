"""A folder that is not what its list says is refused, in words."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from veilray.cloud import open_obfuscated
from veilray.images import write_image


@pytest.fixture
def copied(handed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(handed, tmp_path / "out"))


def relisted(folder: Path, **changes: object) -> None:
    path = folder / "obfuscated.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_pictures_and_labels_come_in_the_order_of_their_names(handed: Path) -> None:
    received = open_obfuscated(handed)
    assert (received.images.shape, received.images.dtype) == ((120, 1, 28, 28), np.uint8)
    assert list(received.paths) == sorted(received.paths)
    assert received.labels is not None
    assert sorted(set(received.labels)) == ["left", "right"]
    assert received.told.order == "map-last"


def test_labels_may_be_absent(hand: object) -> None:
    assert open_obfuscated(hand(20, label_policy="withheld")).labels is None  # type: ignore[operator]


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing", "foreign", "labels"])
def test_a_damaged_folder_is_refused(copied: Path, damage: str) -> None:
    first = min((copied / "images").iterdir())
    content = first.read_bytes()
    if damage == "truncated":
        first.write_bytes(content[:-20])
    elif damage == "altered":
        first.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])
    elif damage == "missing":
        first.unlink()
    elif damage == "foreign":
        (copied / "images" / "more.png").write_bytes(content)
    else:
        (copied / "labels.csv").write_text((copied / "labels.csv").read_text()[:-5])
    message = {"missing": "which is missing", "foreign": "which is foreign"}.get(damage, "truncated or altered")
    with pytest.raises(ValueError, match=message):
        open_obfuscated(copied)


def test_a_truncated_list_is_refused(copied: Path) -> None:
    path = copied / "obfuscated.json"
    path.write_text(path.read_text()[:300])
    with pytest.raises(ValueError, match="got another or a truncated one"):
        open_obfuscated(copied)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be a folder with obfuscated\.json in it"):
        open_obfuscated(tmp_path)


@pytest.mark.parametrize("path", ["../outside.png", "/etc/passwd", "images/../../x"])
def test_paths_that_lead_out_are_refused(copied: Path, path: str) -> None:
    relisted(copied, files={path: "0" * 64})
    with pytest.raises(ValueError, match="files must lie inside the folder"):
        open_obfuscated(copied)


def test_a_picture_of_another_size_is_refused(copied: Path) -> None:
    first = min((copied / "images").iterdir())
    first.unlink()
    content = write_image(first, np.zeros((30, 28), np.uint8))
    files = json.loads((copied / "obfuscated.json").read_text())["files"]
    relisted(copied, files=files | {f"images/{first.name}": hashlib.sha256(content).hexdigest()})
    with pytest.raises(ValueError, match=r"must be (28 x 28|a picture of)"):
        open_obfuscated(copied)
    relisted(copied, geometry={"size": 30, "channels": 1, "bits": 8})
    with pytest.raises(ValueError, match="must be 30 x 30"):
        open_obfuscated(copied)


def test_a_claim_is_refused(copied: Path) -> None:
    relisted(copied, claim="epsilon 1")
    with pytest.raises(ValueError, match="claim: "):
        open_obfuscated(copied)


@pytest.mark.parametrize("kind", ["pipe", "link", "link to a folder"])
def test_what_is_no_plain_file_is_refused(copied: Path, tmp_path: Path, kind: str) -> None:
    first = min((copied / "images").iterdir())
    if kind == "link to a folder":
        (copied / "more").symlink_to(tmp_path)
    else:
        away = first.rename(tmp_path / "away.png")
        os.mkfifo(first) if kind == "pipe" else first.symlink_to(away)
    with pytest.raises(ValueError, match="must hold plain files"):
        open_obfuscated(copied)


def test_the_readme_is_checked_too(copied: Path) -> None:
    (copied / "README").write_text("epsilon 1")
    with pytest.raises(ValueError, match="README must have the listed SHA-256"):
        open_obfuscated(copied)


def test_pictures_that_no_memory_holds_are_refused(copied: Path) -> None:
    files = json.loads((copied / "obfuscated.json").read_text())["files"]
    content = (copied / "README").read_bytes()
    more = {f"images/{number}.png": hashlib.sha256(content).hexdigest() for number in range(4000)}
    for path in more:
        (copied / path).write_bytes(content)
    relisted(copied, files=files | more, images=4120, geometry={"size": 4096, "channels": 3, "bits": 8})
    with pytest.raises(ValueError, match=r"must (fit into memory|be a picture|be 4096)"):
        open_obfuscated(copied)


@pytest.mark.parametrize("label", ["=1+1", "@x", "-cmd|' /C calc'!A0", "two\nlines", "\x1b[2J", "", "x" * 201])
def test_labels_that_are_not_plain_are_refused(copied: Path, label: str) -> None:
    relabelled(copied, [label])
    with pytest.raises(ValueError, match="a label must"):
        open_obfuscated(copied)


@pytest.mark.parametrize("label", ["+ve", "-1", "a, b", "\u00c4rzte", "\u03b2 > 2"])
def test_labels_of_any_language_come_through(copied: Path, label: str) -> None:
    relabelled(copied, [label])
    assert set(open_obfuscated(copied).labels or ()) == {label}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("x" * 200_000, "must be a table of short text"),
        ("\udcff", "must be a table of short text"),
        ("", "must have the columns path and label"),
        ("twice", "must give every picture one label, got 121 for 120"),
    ],
)
def test_a_table_of_labels_that_is_none_is_refused(copied: Path, table: str, message: str) -> None:
    rows = (copied / "labels.csv").read_text().splitlines()
    text = "\n".join([*rows, rows[1]]) if table == "twice" else table
    relabelled(copied, text)
    with pytest.raises(ValueError, match=message):
        open_obfuscated(copied)


def relabelled(folder: Path, given: list[str] | str) -> None:
    """Another labels.csv, listed as it is: the labels in turn, or a text."""
    files = json.loads((folder / "obfuscated.json").read_text())["files"]
    if isinstance(given, list):
        text = io.StringIO()
        rows = [(path, given[row % len(given)]) for row, path in enumerate(p for p in files if p.startswith("images/"))]
        csv.writer(text).writerows([("path", "label"), *rows])
        given = text.getvalue()
    content = given.encode(errors="surrogateescape")
    (folder / "labels.csv").write_bytes(content)
    relisted(folder, files=files | {"labels.csv": hashlib.sha256(content).hexdigest()})
