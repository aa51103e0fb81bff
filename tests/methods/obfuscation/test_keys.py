"""The secret stays in its file; a file that is not whole, or not private, is refused."""

from __future__ import annotations

import base64
import copy
import json
import os
import pickle
import traceback
from pathlib import Path

import pytest

from veilray.errors import Refused
from veilray.methods.obfuscation import Key, new_key, read_key, rotate_key


def secret_of(path: Path) -> bytes:
    return base64.b64decode(json.loads(path.read_text())["secret"])


def test_a_key_file_is_private_and_read_back(tmp_path: Path) -> None:
    key = new_key(tmp_path / "k")
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    read = read_key(tmp_path / "k")
    assert (read.identifier, read.created) == (key.identifier, key.created)
    assert read.stream("a", b"b").bytes(32) == key.stream("a", b"b").bytes(32)


def test_secrets_are_32_fresh_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        new_key(tmp_path / name)
    secrets = {secret_of(tmp_path / name) for name in ("a", "b")}
    assert [len(secret) for secret in secrets] == [32, 32]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    new_key(tmp_path / "k")
    before = (tmp_path / "k").read_bytes()
    with pytest.raises(ValueError, match="KEY must be a new file"):
        new_key(tmp_path / "k")
    assert (tmp_path / "k").read_bytes() == before


def test_a_key_goes_to_a_folder_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="KEY must be a file in a folder that is there"):
        new_key(tmp_path / "nowhere" / "k")


def test_a_rotated_key_names_the_one_it_replaces(tmp_path: Path) -> None:
    old = new_key(tmp_path / "old")
    new = rotate_key(tmp_path / "old", tmp_path / "new")
    assert read_key(tmp_path / "new").replaces == old.identifier != new.identifier
    assert secret_of(tmp_path / "old") != secret_of(tmp_path / "new")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    new_key(tmp_path / "k")
    (tmp_path / "k").chmod(mode)
    with pytest.raises(Refused, match="readable by its owner only"):
        read_key(tmp_path / "k")


@pytest.mark.parametrize("damage", ["truncated", "secret", "identifier", "format", "text", "list", "missing"])
def test_a_damaged_key_file_is_refused_without_quoting_it(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "k"
    new_key(path)
    told = json.loads(path.read_text())
    secret = told["secret"]
    whole = path.read_text()
    if damage == "truncated":
        path.write_text(whole[: whole.index(secret) + len(secret) - 4])
    elif damage == "missing":
        path.unlink()
    elif damage in ("text", "list"):
        path.write_text(secret if damage == "text" else json.dumps([secret]))
    else:
        told[damage] = {"secret": secret[:-4], "identifier": "0" * 32, "format": "other"}[damage]
        path.write_text(json.dumps(told))
    with pytest.raises(ValueError, match="KEY must be") as raised:
        read_key(path)
    chain = "".join(traceback.format_exception(raised.value))
    assert secret[:12] not in chain
    assert raised.value.__context__ is None or secret[:12] not in repr(vars(raised.value.__context__))


def test_a_link_is_no_key_file(tmp_path: Path) -> None:
    new_key(tmp_path / "k")
    (tmp_path / "link").symlink_to(tmp_path / "k")
    with pytest.raises(ValueError, match="KEY must be a key file"):
        read_key(tmp_path / "link")


def test_what_is_shown_of_a_key_is_not_its_secret(tmp_path: Path) -> None:
    key = new_key(tmp_path / "k")
    secret = secret_of(tmp_path / "k")
    shown = f"{key!r} {key} {key.public()} {key.stream('a')!r}"
    for form in (secret.hex(), base64.b64encode(secret).decode(), repr(secret)[2:-1]):
        assert form not in shown
    assert not hasattr(key, "__dict__")


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_keys_and_streams_are_not_copied(copied: object) -> None:
    key = Key.fresh()
    for secret in (key, key.stream("a")):
        with pytest.raises(TypeError, match="must not be copied or pickled"):
            copied(secret)  # type: ignore[operator]


def test_streams_differ_by_key_purpose_nonce_and_row() -> None:
    key = Key.fresh()
    streams = [
        key.stream("a", b"1"),
        key.stream("a", b"2"),
        key.stream("b", b"1"),
        key.stream("a1"),
        key.stream("a").row(1),
        Key.fresh().stream("a", b"1"),
    ]
    assert len({stream.bytes(16) for stream in streams}) == len(streams)


def test_the_public_identifier_is_not_the_secret(tmp_path: Path) -> None:
    key = new_key(tmp_path / "k")
    assert key.identifier not in secret_of(tmp_path / "k").hex()
    assert len(key.identifier) == 32


def test_a_pipe_or_a_folder_is_no_key_file(tmp_path: Path) -> None:
    """And is refused at once: reading the pipe would wait for ever."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ValueError, match="KEY must be a key file made by"):
            read_key(path)


@pytest.mark.parametrize("field", [{"created": "\x1b[2J"}, {"created": {}}, {"replaces": [1]}, {"replaces": "\x1b"}])
def test_the_public_part_is_what_veilray_writes(tmp_path: Path, field: dict[str, object]) -> None:
    new_key(tmp_path / "k")
    told = json.loads((tmp_path / "k").read_text())
    (tmp_path / "k").write_text(json.dumps(told | field))
    with pytest.raises(ValueError, match="KEY must be a whole key file"):
        read_key(tmp_path / "k")


def test_a_key_is_never_put_into_what_goes_to_the_cloud(tmp_path: Path) -> None:
    (tmp_path / "out" / "images").mkdir(parents=True)
    (tmp_path / "out" / "obfuscated.json").touch()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    for path in (tmp_path / "out" / "k", tmp_path / "out" / "images" / "k", tmp_path / "link" / "k"):
        with pytest.raises(ValueError, match="KEY must lie outside OBFUSCATED"):
            new_key(path)
        assert not path.exists()


def test_a_key_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        new_key(tmp_path / "k")
    assert not list(tmp_path.iterdir())
