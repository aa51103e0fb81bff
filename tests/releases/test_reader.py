"""A release from a stranger: altered, incomplete and hostile ones are refused, each with its reason."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pooled import PooledMethod

from veilray.releases.dataset import open_release
from veilray.releases.reader import receive

ReleaseOf = Callable[..., Path]
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(pooled: PooledMethod, release_of: ReleaseOf) -> Path:
    return release_of(pooled, 4, label="public")


def rewrite(folder: Path, change: Change) -> None:
    """What a hostile publisher does: change release.json."""
    path = folder / "release.json"
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


def put(folder: Path, name: str, content: bytes) -> None:
    """Change a file and its hash."""
    (folder / name).write_bytes(content)
    rewrite(folder, lambda told: told["files"].update({name: hashlib.sha256(content).hexdigest()}))


def npy(array: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def test_a_release_as_it_was_made_is_taken(folder: Path) -> None:
    received = receive(folder)
    assert len(received.paths) == 4
    assert set(received.conditions) == {"label"}
    assert received.kept is not None
    assert received.kept.rows.shape == (4, 4)


@pytest.mark.parametrize(
    "name",
    ["README", "manifest.csv", "codes.npy", "kept_code/code.json", "DATASET.md", "croissant.json", "images"],
)
def test_an_altered_file_is_named(folder: Path, name: str) -> None:
    path = folder / name
    path = next(path.rglob("*.png")) if path.is_dir() else path
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ValueError, match=f"{path.name} must have the SHA-256"):
        receive(folder)


def test_without_verifying_pictures_are_not_read_and_all_else_is(folder: Path) -> None:
    picture = next(folder.rglob("*.png"))
    picture.write_bytes(b"altered")
    opened = open_release(folder, verify=False)
    with pytest.raises(ValueError, match="must be a picture"):
        _ = opened.images
    (folder / "README").write_text("altered")
    with pytest.raises(ValueError, match="README must have the SHA-256"):
        receive(folder, verify=False)


def test_a_missing_file_is_named(folder: Path) -> None:
    picture = next(folder.rglob("*.png"))
    picture.unlink()
    with pytest.raises(ValueError, match=rf"{picture.name} of the release must be in"):
        receive(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/etc/passwd",
        "images/../../outside",
        "a\\b",
        "./README",
        "C:x",
        "a//b",
        "",
        ".",
        "x" * 2000,
        "a\x1b[2J",
    ],
)
def test_a_name_that_leads_outside_is_refused(folder: Path, name: str) -> None:
    (folder.parent / "outside").write_bytes(b"")
    rewrite(folder, lambda told: told["files"].update({name: hashlib.sha256(b"").hexdigest()}))
    with pytest.raises(ValueError, match="must be plain names inside the folder"):
        receive(folder)


def test_a_link_is_refused(folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.write_bytes((folder / "README").read_bytes())
    (folder / "README").unlink()
    (folder / "README").symlink_to(outside)
    with pytest.raises(ValueError, match="got a link"):
        receive(folder)


def test_a_folder_that_is_a_link_is_refused(folder: Path) -> None:
    (folder / "kept_code").rename(folder.parent / "elsewhere")
    (folder / "kept_code").symlink_to(folder.parent / "elsewhere")
    with pytest.raises(ValueError, match="got a link"):
        receive(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(np.zeros((4, 4)))[:-8], "bytes of numbers"),
        (npy(np.zeros((3, 4))), r"must have shape \(4, 4\)"),
        (npy(np.zeros((4, 5))), r"must have shape \(4, 4\)"),
        (npy(np.full((4, 4), np.inf)), "must be finite"),
        (npy(np.array([[{}] * 4] * 4, dtype=object), allow_pickle=True), "little-endian float64"),
        (b"PK", "must be a NumPy .npy file"),
    ],
)
def test_codes_that_are_none_are_refused(folder: Path, content: bytes, message: str) -> None:
    put(folder, "codes.npy", content)
    with pytest.raises(ValueError, match=message):
        receive(folder)


@pytest.mark.parametrize("name", ["codes.npy", "kept_code/candidates.npy", "manifest.csv"])
def test_a_file_too_large_for_its_contents_is_not_read(
    pooled: PooledMethod, release_of: ReleaseOf, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("_LARGEST_TABLE", "_LARGEST_LIST"):
        monkeypatch.setattr(f"veilray.releases.reader.{limit}", 2**19)
    folder = release_of(pooled, 2, mechanism="selection")
    put(folder, name, bytes(2**20))
    with pytest.raises(ValueError, match=f"{name} must be at most"):
        receive(folder)


CHANGES: list[tuple[Change, str]] = [
    (lambda told: told.update(files=[]), "must be a table"),
    (lambda told: told["files"].update(README="0"), "must have a SHA-256 each"),
    (lambda told: told["files"].pop("codes.npy"), r"must list codes\.npy"),
    (lambda told: told["files"].pop("manifest.csv"), r"must list manifest\.csv"),
    (lambda told: told["files"].pop("kept_code/code.json"), r"must list kept_code/code\.json"),
    (lambda told: told["files"].pop(next(n for n in told["files"] if "images/" in n)), "and nothing else"),
    (lambda told: told["kept_code"].update(dimension=10**12), "kept code must be pooled of 4 numbers"),
    (lambda told: told["kept_code"].update(kind="other"), "kept code must be other"),
    (lambda told: told["kept_code"].update(sha256="0" * 64), "must name the SHA-256"),
    (lambda told: told["mechanism"].update(dimension=10**12), "dimension"),
    (lambda told: told["mechanism"].update(epsilon="1e400"), "must be that of the claim"),
    (lambda told: told["mechanism"].update(epsilon=0.5), "must be exact"),
    (lambda told: told["mechanism"].update(name="laplace"), "must be that of the claim"),
    (lambda told: told["mechanism"].update(seed="1"), "seed"),
    (lambda told: told.pop("mechanism"), "Recipe"),
    (lambda told: told.pop("guarantee"), "guarantee must be valid JSON"),
    (lambda told: told.pop("model"), "ModelCard"),
    (lambda told: told["guarantee"]["releases"].update(images=5), "must list 5 images"),
    (lambda told: told["model"]["geometry"].update(size=10**9), "size must be a whole number"),
    (lambda told: told["model"].update(geometry={"width": 8}), "geometry must be size"),
    (lambda told: told["model"]["geometry"].update(size=16), "kept code must be of pictures"),
    (lambda told: told.update(version=2), "must be a veilray-release of version 1"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_a_release_json_that_does_not_fit_is_refused(folder: Path, change: Change, message: str) -> None:
    rewrite(folder, change)
    with pytest.raises(ValueError, match=message):
        open_release(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], "and nothing else"),
        (lambda rows: [*rows, rows[-1]], "and nothing else"),
        (lambda rows: [*rows, "../x.png,A"], "and nothing else"),
        (lambda rows: [*rows[:-1], rows[-1] + ",more"], "must have 2 values in every row"),
        (lambda rows: ["file,label", *rows[1:]], "must have a column path"),
        (lambda rows: [], "must be a CSV file with a header"),
        (lambda rows: ["\xff"], "must be a CSV file with a header"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    folder: Path, change: Callable[[list[str]], list[str]], message: str
) -> None:
    rows = (folder / "manifest.csv").read_text().splitlines()
    put(folder, "manifest.csv", "\r\n".join(change(rows)).encode("latin-1"))
    with pytest.raises(ValueError, match=message):
        receive(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"format": "another"}'])
def test_what_is_no_release_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError, match=r"RELEASE must be a folder with release\.json"):
        receive(tmp_path)
    (tmp_path / "release.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"release\.json"):
        receive(tmp_path)


def test_options_other_than_those_that_drew_are_found(folder: Path) -> None:
    rewrite(folder, lambda told: told["mechanism"]["options"].update(form="sphere"))
    with pytest.raises(ValueError, match="must have the parameters that the release tells of"):
        _ = open_release(folder).mechanism


def test_a_list_of_candidates_that_was_altered_is_found(pooled: PooledMethod, release_of: ReleaseOf) -> None:
    folder = release_of(pooled, 2, mechanism="selection")
    name = "kept_code/candidates.npy"
    put(folder, name, npy(np.load(folder / name) + 1))
    with pytest.raises(ValueError, match="must have the parameters that the release tells of"):
        _ = open_release(folder).mechanism
