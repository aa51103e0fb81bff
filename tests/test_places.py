"""Nothing is written over what is there, nor into what it does not belong to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from veilray.places import check_apart, check_new_file, check_outside_handed_over, check_outside_sources, write_new

Place = Callable[[Path], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "images" / "a").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "images")
    return tmp_path


@pytest.mark.parametrize(
    "place",
    [
        lambda top: top / "images",
        lambda top: top / "images" / "new",
        lambda top: top / "images" / "a" / "b" / "new",
        lambda top: top / "link" / "new",
        lambda top: top / "other" / ".." / "images" / "new",
        lambda top: top / "link" / "a" / ".." / "new",
    ],
)
def test_what_is_made_lies_outside_what_is_given(tree: Path, place: Place) -> None:
    with pytest.raises(ValueError, match="RELEASE must lie outside IMAGES"):
        check_apart({"RELEASE": place(tree)}, {"IMAGES": tree / "images"})


def test_what_is_given_lies_outside_what_is_made(tree: Path) -> None:
    with pytest.raises(ValueError, match="IMAGES must lie outside RELEASE"):
        check_apart({"RELEASE": tree / "images"}, {"IMAGES": tree / "link" / "a"})


def test_a_relative_path_is_followed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree / "images")
    with pytest.raises(ValueError, match="RELEASE must lie outside IMAGES"):
        check_apart({"RELEASE": Path("r")}, {"IMAGES": tree / "images"})
    with pytest.raises(ValueError, match="RELEASE must lie outside IMAGES"):
        check_apart({"RELEASE": Path("r")}, {"IMAGES": Path()})


def test_two_that_are_made_lie_apart(tree: Path) -> None:
    with pytest.raises(ValueError, match="RECORD must lie outside RELEASE"):
        check_apart({"RELEASE": tree / "r", "RECORD": tree / "r" / "record"})
    with pytest.raises(ValueError, match="LEDGER must lie outside RELEASE"):
        check_apart({"LEDGER": tree / "r" / "ledger.sqlite", "RELEASE": tree / "r"})


def test_neighbours_and_the_place_beside_a_file_are_fine(tree: Path) -> None:
    check_apart({"RELEASE": tree / "images-released", "RECORD": tree / "record"}, {"IMAGES": tree / "images"})
    check_apart({"RELEASE": tree / "images" / "r"}, {"TABLE": tree / "images" / "table.csv"})


@pytest.mark.parametrize(
    ("mark", "content", "leaves"),
    [
        ("release.json", '{\n  "format": "veilray-release"', True),
        ("obfuscated.json", "", True),
        ("release.json", '{"branches": ["main"]}', False),
        ("package.json", "{}", False),
    ],
)
def test_nothing_goes_into_what_was_handed_over(tmp_path: Path, mark: str, content: str, leaves: bool) -> None:
    (tmp_path / "sent" / "images").mkdir(parents=True)
    (tmp_path / "sent" / mark).write_text(content)
    (tmp_path / "link").symlink_to(tmp_path / "sent" / "images")
    for place in (tmp_path / "sent" / "x", tmp_path / "sent" / "images" / "x", tmp_path / "link" / "x"):
        if leaves:
            with pytest.raises(ValueError, match="KEY must lie outside"):
                check_outside_handed_over("KEY", place)
        else:
            check_outside_handed_over("KEY", place)
    check_outside_handed_over("KEY", tmp_path / "x")


def test_a_pipe_under_that_name_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "release.json")
    check_outside_handed_over("KEY", tmp_path / "x")


def test_of_a_manifest_the_folders_of_its_files_count(tree: Path) -> None:
    manifest = tree / "images" / "manifest.csv"
    for place in (tree / "images" / "a" / "r", tree / "link" / "a" / "deep" / "r"):
        with pytest.raises(ValueError, match="RELEASE must lie outside IMAGES"):
            check_outside_sources({"RELEASE": place}, manifest, None, ["a/1.png"])
    check_outside_sources({"RELEASE": tree / "images" / "r"}, manifest, None, ["a/1.png"])
    with pytest.raises(ValueError, match="RELEASE must lie outside IMAGES"):
        check_outside_sources({"RELEASE": tree / "images" / "r"}, tree / "m.csv", tree / "images", ["1.png"])
    check_outside_sources({"RELEASE": tree / "images" / "r"}, tree / "images" / "x.npz", None, ["x.npz"])


@pytest.mark.parametrize("there", ["file", "folder", "broken link"])
def test_what_is_there_stays(tmp_path: Path, there: str) -> None:
    path = tmp_path / "x"
    if there == "file":
        path.write_text("mine")
    elif there == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "nowhere")
    for write in (lambda: check_new_file("--out", path), lambda: write_new("--out", path, b"ours")):
        with pytest.raises(ValueError, match="--out must be a new file"):
            write()
    assert [each.name for each in tmp_path.iterdir()] == ["x"]
    assert there != "file" or path.read_text() == "mine"


@pytest.mark.parametrize("links", [True, False])
def test_what_came_in_the_meantime_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    path, sync = tmp_path / "x", os.fsync

    def meanwhile(descriptor: int) -> None:
        path.write_text("mine")
        sync(descriptor)

    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fsync", meanwhile)
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(ValueError, match="must be a new file"):
        write_new("--out", path, b"ours")
    assert ([each.name for each in tmp_path.iterdir()], path.read_text()) == (["x"], "mine")


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    write_new("--out", tmp_path / "x", b"ours")
    assert ([each.name for each in tmp_path.iterdir()], (tmp_path / "x").read_bytes()) == (["x"], b"ours")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be a file in a folder that is there"):
        check_new_file("--out", tmp_path / "no" / "x")
