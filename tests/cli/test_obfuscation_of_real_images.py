"""The owner's and the cloud's commands on the three data sets of the study: X-rays, angiograms, clothes."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veilray.privacy.guarantee import EMPIRICAL

Run = Callable[..., Any]
FASHION = Path("/usr/share/datasets/fashion-mnist")


def chest_x_rays(shared_data: Path, folder: Path) -> None:
    """JPEG files in folders by label; a hospital's likeliest shape."""
    for part, split, count in (("public", "train", 30), ("private", "train", 60), ("test", "test", 10)):
        for label in ("NORMAL", "PNEUMONIA"):
            files = sorted((shared_data / "kermany_cxr" / split / label).iterdir())
            start = 30 if part == "private" else 0
            (folder / part / label).mkdir(parents=True)
            for file in files[start : start + count]:
                shutil.copy(file, folder / part / label)


def coronary_angiograms(shared_data: Path, folder: Path) -> None:
    with np.load(shared_data / "xca_patches_32.npz") as file:
        images, labels, split = file["images"], file["label"], file["split"]
    for part, name in (("public", "validation"), ("private", "train"), ("test", "test")):
        rows = split == name
        np.savez(folder / f"{part}.npz", images=images[rows], label=labels[rows])


def clothes(shared_data: Path, folder: Path) -> None:
    if not FASHION.is_dir():
        pytest.skip("no Fashion-MNIST here: apt-get install dataset-fashion-mnist")
    with gzip.open(FASHION / "train-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28)
    with gzip.open(FASHION / "train-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read()[8:], np.uint8)
    for start, (part, count) in zip((0, 1000, 2000), (("public", 100), ("private", 300), ("test", 40)), strict=True):
        rows = slice(start, start + count)
        np.savez(folder / f"{part}.npz", images=images[rows], label=labels[rows])


@pytest.mark.parametrize(
    ("write", "size", "recipe"),
    [
        (chest_x_rays, 64, ("--encoder", "vae", "--order", "map-last", "--epochs", 1)),
        (coronary_angiograms, 32, ("--encoder", "pca", "--order", "map-first")),
        (clothes, 28, ("--encoder", "none", "--map-scope", "key")),
    ],
)
def test_every_command_works_on(
    veilray: Run,
    shared_data: Path,
    tmp_path: Path,
    write: Callable[[Path, Path], None],
    size: int,
    recipe: tuple[object, ...],
) -> None:
    write(shared_data, tmp_path)
    suffix = "" if (tmp_path / "public").is_dir() else ".npz"
    public, private, test = (tmp_path / f"{part}{suffix}" for part in ("public", "private", "test"))
    sent, frames, house = tmp_path / "sent", tmp_path / "frames", tmp_path / "house"
    owner = ("--model", tmp_path / "model", "--key", tmp_path / "key")
    originals = ("--release", sent, "--record", house / "sent", "--images", private, "--own", public, "--pictures", 12)
    for words in (
        ("fit", "obfuscation", public, "--out", tmp_path / "model", "--size", size, *recipe),
        ("keys", "new", "--out", tmp_path / "key"),
        ("obfuscate", private, *owner, "--out", sent, "--record", house / "sent"),
        ("cloud-train", sent, "--out", tmp_path / "classifier", "--epochs", 2),
        ("obfuscate", test, *owner, "--label-policy", "withheld", "--out", frames, "--record", house / "frames"),
        ("cloud-predict", tmp_path / "classifier", frames, "--out", tmp_path / "predictions.csv"),
        ("card", sent),
        ("attack", "rank-matching", *originals, "--out", tmp_path / "attacked"),
    ):
        ran = veilray(*words)
        assert ran.code == 0, ran.err
        assert EMPIRICAL in ran.out
    with (tmp_path / "predictions.csv").open() as file:
        predicted = {row["path"] for row in csv.DictReader(file)}
    assert predicted == {f"images/{path.name}" for path in (frames / "images").iterdir()}
    told = json.loads((tmp_path / "attacked" / "figures.json").read_text())
    assert (told["claim"], told["targets"]) == (EMPIRICAL, 12)
    assert len(list((tmp_path / "attacked" / "reconstructions").iterdir())) == 12
