"""Obfuscation in the hands of hostile and of careless users: told in words, and nothing half-made or leaked."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from veilray.images import Collection
from veilray.methods.obfuscation import Key, Obfuscation, obfuscate_folder

Run = Callable[..., Any]
_HEARS_CTRL_C = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
from veilray.cli.main import main
main()
"""


def obfuscate(veilray: Run, house: Path, out: Path, images: Path | None = None, **options: object) -> Any:
    given: dict[str, object] = {"model": house / "batches", "key": house / "key", "out": out} | options
    flags = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", value)]
    return veilray("obfuscate", images or house / "private.npz", *flags)


def test_the_order_of_the_labels_does_not_tell_who_shares_a_map(house: Path) -> None:
    rows = [row["path"] for row in csv.DictReader((house / "out" / "labels.csv").open())]
    assert rows == sorted(rows)
    made = [row["released"] for row in csv.DictReader((house / "record" / "pairs.csv").open())]
    assert rows != made


def test_files_are_written_in_the_order_of_their_names(house: Path, tmp_path: Path) -> None:
    """A folder may list its files as they were written: that must not be the order in which they share maps."""
    placed: list[str] = []
    model = Obfuscation.load(house / "batches")
    from veilray.methods.obfuscation.handover import Handover

    original = Handover.place

    def seen(self: Handover, names: Any, images: Any) -> Any:
        placed.extend(names)
        return original(self, names, images)

    with pytest.MonkeyPatch.context() as patch, Collection.open(house / "private.npz") as private:
        private.scan()
        patch.setattr(Handover, "place", seen)
        obfuscate_folder(private, model, Key.fresh(), tmp_path / "out", tmp_path / "record")
    assert len(placed) == 40
    assert all(one < other for one, other in pairwise(placed))


@pytest.mark.parametrize("label", ["=1+1", "two\nlines", "x" * 201])
def test_labels_that_are_not_plain_stay_at_home(veilray: Run, house: Path, tmp_path: Path, label: str) -> None:
    source = tmp_path / "images.npz"
    np.savez(source, images=np.zeros((4, 16, 16), np.uint8), label=np.array(["plain", label] * 2))
    ran = obfuscate(veilray, house, tmp_path / "out", source)
    assert (ran.code, "a label must" in ran.err) == (2, True)
    assert not (tmp_path / "out").exists()
    assert obfuscate(veilray, house, tmp_path / "out", source, label_policy="withheld").code == 0


def test_labels_are_for_all_images_or_for_none(veilray: Run, house: Path, tmp_path: Path) -> None:
    from veilray.images import write_image

    for name in ("a/1.png", "b/2.png", "3.png"):
        (tmp_path / "study" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "study" / name, np.zeros((16, 16), np.uint8))
    ran = obfuscate(veilray, house, tmp_path / "out", tmp_path / "study")
    assert (ran.code, "labels must be given for all images or for none, got 1 of 3 without" in ran.err) == (2, True)


def test_a_record_is_never_put_into_what_goes_to_the_cloud(veilray: Run, house: Path, tmp_path: Path) -> None:
    sent = Path(shutil.copytree(house / "out", tmp_path / "sent"))
    (tmp_path / "link").symlink_to(tmp_path)
    for out, record in (
        (tmp_path / "out", sent / "record"),
        (tmp_path / "link" / "out", tmp_path / "out" / "record"),
        (tmp_path / "sent" / ".." / "out", tmp_path / "out" / "record"),
    ):
        ran = obfuscate(veilray, house, out, record=record)
        assert (ran.code, "RECORD must lie outside OBFUSCATED" in ran.err) == (2, True)
    assert not (tmp_path / "out").exists()
    assert not (sent / "record").exists()


def test_obfuscated_is_not_put_into_images_by_way_of_a_link(veilray: Run, house: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "images")
    ran = obfuscate(veilray, house, tmp_path / "link" / "out", tmp_path / "images")
    assert (ran.code, "OBFUSCATED must lie outside IMAGES" in ran.err) == (2, True)


def test_the_cloud_puts_nothing_into_obfuscated(veilray: Run, house: Path) -> None:
    before = sorted((house / "out").iterdir())
    trained = veilray("cloud-train", house / "out", "--out", house / "out" / "classifier")
    predicted = veilray("cloud-predict", house / "classifier", house / "out", "--out", house / "out" / "p.csv")
    for ran in (trained, predicted):
        assert (ran.code, "must lie outside OBFUSCATED" in ran.err) == (2, True)
    assert sorted((house / "out").iterdir()) == before


@pytest.mark.parametrize("out", ["file/out", "out"])
def test_a_folder_that_cannot_be_made_is_told_before_the_work(
    veilray: Run, house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "out").mkdir()
    monkeypatch.setattr("veilray.cloud.programs.fit_network", lambda *_, **__: pytest.fail("trained for nothing"))
    ran = veilray("cloud-train", house / "out", "--out", tmp_path / out)
    assert (ran.code, "CLASSIFIER must be a " in ran.err) == (2, True)


def test_a_classifier_is_complete_or_not_there(
    veilray: Run, house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("veilray.cloud.classifier.ClassifierCard.model_dump_json", interrupted)
    assert veilray("cloud-train", house / "out", "--out", tmp_path / "c", "--epochs", 1).code == 130
    assert not list(tmp_path.glob("*c*"))


def test_predictions_are_complete_or_not_there(
    veilray: Run, house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    ran = veilray("cloud-predict", house / "classifier", house / "out", "--out", tmp_path / "p.csv")
    assert (ran.code, "No space" in ran.err) == (2, True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"claim": "epsilon 1"}, "claim: "),
        ({"levels": ["a", "=1+1"]}, "a label must not begin as a formula does"),
        ({"levels": [str(number) for number in range(10_000)]}, "weight must be (10000, "),
        ({"geometry": {"size": 4096, "channels": 3, "bits": 8}}, "must be"),
        ({"network": "resnet"}, "weights must be those that their JSON describes"),
        ({"key": "\x1b[2J"}, "key: "),
    ],
)
def test_a_classifier_that_claims_to_be_another_is_refused_in_a_line(
    veilray: Run, house: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    folder = Path(shutil.copytree(house / "classifier", tmp_path / "classifier"))
    card = json.loads((folder / "classifier.json").read_text())
    (folder / "classifier.json").write_text(json.dumps(card | changes))
    ran = veilray("cloud-predict", folder, house / "out", "--out", tmp_path / "p.csv")
    assert (ran.code, message in ran.err, ran.err.count("\n")) == (2, True, 1), ran.err


@pytest.mark.parametrize(
    ("change", "message"),
    [(lambda tensor: tensor * torch.nan, "must be finite"), (lambda tensor: tensor.double(), "must be ")],
)
def test_weights_that_predict_nothing_are_refused(
    veilray: Run, house: Path, tmp_path: Path, change: Callable[[torch.Tensor], torch.Tensor], message: str
) -> None:
    folder = Path(shutil.copytree(house / "classifier", tmp_path / "classifier"))
    weights = load((folder / "weights.safetensors").read_bytes())
    content = save({name: change(each) if each.is_floating_point() else each for name, each in weights.items()})
    (folder / "weights.safetensors").write_bytes(content)
    card = json.loads((folder / "classifier.json").read_text())
    card["weights_sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "classifier.json").write_text(json.dumps(card))
    ran = veilray("cloud-predict", folder, house / "out", "--out", tmp_path / "p.csv")
    assert (ran.code, message in ran.err, (tmp_path / "p.csv").exists()) == (2, True, False)


@pytest.mark.parametrize(
    "header",
    [
        "[" * 100_000,
        {"autoencoder": [1]},
        {"autoencoder": {"autoencoder": "pca", "config": {"size": 16, "channels": 1, "features": 10**30}}},
        {"recipe": [1]},
        {},
    ],
    ids=["deep", "no description", "giant", "no recipe", "no autoencoder"],
)
def test_a_model_with_a_strange_header_is_refused(
    veilray: Run, house: Path, tmp_path: Path, header: str | dict[str, Any]
) -> None:
    folder = Path(shutil.copytree(house / "pca", tmp_path / "model"))
    content = (folder / "weights.safetensors").read_bytes()
    if isinstance(header, dict):
        told = json.loads(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"][
            "obfuscation"
        ])  # fmt: skip
        header = json.dumps(told | header if header else {"recipe": told["recipe"]})
    content = save(load(content), metadata={"obfuscation": header})
    (folder / "weights.safetensors").write_bytes(content)
    card = json.loads((folder / "model.json").read_text())
    card["weights_sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "model.json").write_text(json.dumps(card))
    ran = obfuscate(veilray, house, tmp_path / "out", model=folder)
    assert (ran.code, "must be" in ran.err or "must have" in ran.err, (tmp_path / "out").exists()) == (2, True, False)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_is_checked(veilray: Run, house: Path, tmp_path: Path, seed: int) -> None:
    fitted = veilray("fit", "obfuscation", house / "public.npz", "--out", tmp_path / "m", "--size", 16, "--seed", seed)
    assert (fitted.code, "seed must be 0 to" in fitted.err) == (2, True)
    trained = veilray("cloud-train", house / "out", "--out", tmp_path / "c", "--seed", -1)
    assert (trained.code, "seed must be 0 to" in trained.err) == (2, True)
    assert not (tmp_path / "m").exists()
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_ended_run_leaves_nothing(house: Path, tmp_path: Path, ending: signal.Signals) -> None:
    """By the user or by a scheduler, in the midst of training."""
    command = [sys.executable, "-c", _HEARS_CTRL_C, "cloud-train", house / "out", "--out", tmp_path / "c"]
    process = subprocess.Popen([*command, "--epochs", "100000"], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert list(tmp_path.iterdir()), "no work was begun"
        process.send_signal(ending)
        _, told = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, "interrupted" in told, "Traceback" in told) == (130, True, False)
    assert not list(tmp_path.iterdir())
