"""OBFUSCATED holds obfuscated pictures and labels, and nothing else; RECORD holds the rest; the key neither."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from veilray.images import Collection, Geometry, ImageRef, Unreadable
from veilray.methods.obfuscation import Key, Obfuscation, nonce_of, obfuscate_folder, read_key

Fitted = Callable[..., Obfuscation]


@pytest.fixture
def made(tmp_path: Path, collection: Collection, fitted: Fitted, key: Key) -> Path:
    obfuscate_folder(collection, fitted(), key, tmp_path / "out", tmp_path / "record")
    return tmp_path / "out"


def chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Every chunk of a PNG, which must take up every byte of it."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = [], 8
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        assert struct.unpack(">I", content[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        found.append((kind, body))
        at += 12 + length
    return found


def test_every_byte_of_a_picture_is_header_or_pixels(made: Path) -> None:
    for path in (made / "images").iterdir():
        parts = chunks(path.read_bytes())
        assert [kind for kind, _ in parts] == [b"IHDR", b"IDAT", b"IEND"]
        assert parts[0][1] == struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0)
        inflated = zlib.decompressobj()
        assert len(inflated.decompress(parts[1][1])) == 16 * 17
        assert inflated.unused_data == b""


def test_nothing_but_pictures_labels_readme_and_json_crosses(made: Path) -> None:
    found = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
    told = json.loads((made / "obfuscated.json").read_text())
    assert found == sorted([*told["files"], "obfuscated.json"])
    assert {name for name in found if "/" not in name} == {"README", "labels.csv", "obfuscated.json"}
    assert not any(path.is_symlink() for path in made.rglob("*"))
    for name, sha256 in told["files"].items():
        assert hashlib.sha256((made / name).read_bytes()).hexdigest() == sha256


def test_no_source_name_crosses(made: Path, pictures: Path, collection: Collection, fitted: Fitted) -> None:
    everything = b"".join(path.read_bytes() + str(path.relative_to(made)).encode() for path in made.rglob("*.*"))
    everything += (made / "README").read_bytes()
    for secret in ("Meier", "Anna", str(pictures), "source", "record", "owner.key", "stray"):
        assert secret.encode() not in everything
    for path in pictures.rglob("*.png"):
        assert hashlib.sha256(path.read_bytes()).hexdigest().encode() not in everything


def test_names_are_random_and_times_are_one(made: Path) -> None:
    paths = list((made / "images").iterdir())
    assert len({path.stem for path in paths}) == 30
    assert all(len(bytes.fromhex(path.stem)) == 16 for path in paths)
    stats = [path.stat() for path in [made, *made.rglob("*")]]
    assert {stat.st_mtime_ns for stat in stats} == {stats[0].st_mtime_ns}
    assert stats[0].st_mtime_ns % (86_400 * 10**9) == 0
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o644}


def test_names_and_order_are_drawn_anew(
    tmp_path: Path, collection: Collection, fitted: Fitted, key: Key, made: Path
) -> None:
    again = tmp_path / "again"
    obfuscate_folder(collection, Obfuscation.load(tmp_path / "model"), key, again, tmp_path / "record2")
    orders = []
    for record in ("record", "record2"):
        rows = list(csv.DictReader((tmp_path / record / "pairs.csv").open()))
        orders.append([row["source"] for row in rows])
        assert orders[-1] != sorted(orders[-1])
    assert orders[0] != orders[1]
    assert not {path.name for path in (made / "images").iterdir()} & {p.name for p in (again / "images").iterdir()}


def test_the_record_has_the_pairs_and_is_private(tmp_path: Path, made: Path, collection: Collection, key: Key) -> None:
    record = tmp_path / "record"
    assert record.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in record.iterdir())
    model = Obfuscation.load(tmp_path / "model")
    identifier = json.loads((record / "job.json").read_text())["identifier"]
    rows = list(csv.DictReader((record / "pairs.csv").open()))
    assert {row["source"] for row in rows} == {ref.source for ref in collection.refs}
    for position, row in enumerate(rows):
        original = collection.read(collection.refs[int(row["image"])], Geometry(16))
        nonce = nonce_of(model, identifier, position, Path(row["released"]).stem)
        with Image.open(made / row["released"]) as picture:
            np.testing.assert_array_equal(model.obfuscate(original[None], key, [nonce])[0, 0], np.asarray(picture))


def test_labels_are_those_of_the_sources(tmp_path: Path, made: Path) -> None:
    labels = {row["path"]: row["label"] for row in csv.DictReader((made / "labels.csv").open())}
    rows = list(csv.DictReader((tmp_path / "record" / "pairs.csv").open()))
    assert len(labels) == len(rows) == 30
    assert all(labels[row["released"]] == row["source"].split("/")[0] for row in rows)


def test_labels_that_are_withheld_do_not_cross(
    tmp_path: Path, collection: Collection, fitted: Fitted, key: Key
) -> None:
    out = tmp_path / "out"
    made = obfuscate_folder(collection, fitted(), key, out, tmp_path / "r", label_policy="withheld")
    assert made.labels == ()
    assert not (out / "labels.csv").exists()
    assert b"PNEUMONIA" not in b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())


def test_the_key_is_in_its_file_and_nowhere_else(tmp_path: Path, made: Path) -> None:
    secret = base64.b64decode(json.loads((tmp_path / "owner.key").read_text())["secret"])
    forms = [secret, secret.hex().encode(), base64.b64encode(secret), base64.urlsafe_b64encode(secret), secret[::-1]]
    searched = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "owner.key"]
    assert len(searched) > 60
    for path in searched:
        content = path.read_bytes()
        assert not any(form in content for form in forms), path


def test_every_text_says_that_there_is_no_guarantee(tmp_path: Path, made: Path) -> None:
    for path in (made / "README", made / "obfuscated.json", tmp_path / "record" / "job.json", tmp_path / "owner.key"):
        assert "empirical, no formal guarantee" in path.read_text()
    told = json.loads((made / "obfuscated.json").read_text())
    assert told["guarantee"] is None
    assert told["key"] == read_key(tmp_path / "owner.key").identifier


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError, OSError])
def test_an_interrupted_run_leaves_nothing(
    tmp_path: Path, collection: Collection, fitted: Fitted, key: Key, monkeypatch: pytest.MonkeyPatch, stop: type
) -> None:
    model = fitted()
    monkeypatch.setattr("veilray.methods.obfuscation.owner._PIXELS", 16 * 16 * 10)
    before = set(tmp_path.iterdir())

    def interrupt(done: int, total: int) -> None:
        if done >= 20:
            raise stop

    with pytest.raises(stop):
        obfuscate_folder(collection, model, key, tmp_path / "out", tmp_path / "record", on_progress=interrupt)
    assert set(tmp_path.iterdir()) == before


def test_a_batch_is_of_pictures_in_a_row(tmp_path: Path, collection: Collection, fitted: Fitted, key: Key) -> None:
    model = fitted(map_scope="batch", map_batch=7)
    made = obfuscate_folder(collection, model, key, tmp_path / "out", tmp_path / "record")
    nonces = [nonce_of(model, "00" * 16, position, "") for position in range(made.images)]
    assert len(set(nonces)) == 5
    assert nonces[6] != nonces[7] == nonces[13]


def test_a_file_that_vanishes_goes_to_quarantine(
    tmp_path: Path, collection: Collection, fitted: Fitted, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, read = fitted(), Collection.read

    def once(self: Collection, ref: ImageRef, geometry: Geometry) -> np.ndarray:
        if ref.index == 7:
            raise Unreadable("file is absent")
        return read(self, ref, geometry)

    monkeypatch.setattr(Collection, "read", once)
    made = obfuscate_folder(collection, model, key, tmp_path / "out", tmp_path / "record")
    assert made.images == len(list((tmp_path / "out" / "images").iterdir())) == 29
    told = [(entry.source, entry.reason) for entry in made.quarantine]
    assert told == [(collection.refs[7].source, "unreadable after the scan")]
    assert json.loads((tmp_path / "out" / "obfuscated.json").read_text())["images"] == 29


@pytest.mark.parametrize(
    ("out", "record", "message"),
    [
        ("source", "record", "OBFUSCATED must be a new folder"),
        ("out", "source", "RECORD must be a new folder"),
        ("out", "out", "RECORD must lie outside OBFUSCATED"),
        ("out", "out/record", "RECORD must lie outside OBFUSCATED"),
        ("record/out", "record", "OBFUSCATED must lie outside RECORD"),
    ],
)
def test_folders_are_new_and_apart(
    tmp_path: Path, collection: Collection, fitted: Fitted, key: Key, out: str, record: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        obfuscate_folder(collection, fitted(), key, tmp_path / out, tmp_path / record)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("data", ["public", "other patients", "not covered"])
def test_the_hash_of_a_model_leaves_only_where_its_training_images_are_public(
    data: str, collection: Collection, fitted: Fitted, key: Key, tmp_path: Path
) -> None:
    """Fitting is deterministic: with the hash, a guess at all training images could be checked."""
    model = fitted(training_data=data, statement="a ward")
    obfuscate_folder(collection, model, key, tmp_path / "out", tmp_path / "record")
    crossing = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert (model.card.weights_sha256[:16].encode() in crossing) == (data == "public")
    assert model.identity(key) == model.identity(key)
    assert (model.identity(key) == model.identity(Key.fresh())) == (data == "public")
