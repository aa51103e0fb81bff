"""Owner, folder, cloud, and back: what the cloud learns, what it refuses, what it cannot know."""

from __future__ import annotations

import ast
import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import veilray.cloud
from veilray.cloud import CLOUD_TRAINING, cloud_predict, cloud_train, load_classifier
from veilray.errors import Refused
from veilray.images import Collection
from veilray.methods.obfuscation import Obfuscation, new_key

Hand = Callable[..., Path]
SHORT = replace(CLOUD_TRAINING, epochs=6, batch_size=16)


@pytest.fixture(scope="module")
def trained(handed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cloud") / "classifier"
    cloud_train(handed, out, settings=SHORT)
    return out


def test_new_frames_are_predicted(trained: Path, hand: Hand, tmp_path: Path) -> None:
    later = hand(60, seed=2)
    predicted = cloud_predict(trained, later, tmp_path / "p.csv")
    assert predicted.figures["accuracy"] > 0.9
    assert predicted.figures["auc"] > 0.95
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    assert [row["path"] for row in rows] == list(predicted.paths)
    for row, probabilities in zip(rows, predicted.probabilities, strict=True):
        assert row["predicted"] == predicted.levels[int(probabilities.argmax())]
        assert float(row["probability of left"]) == pytest.approx(probabilities[0], abs=1e-6)


def test_frames_without_labels_are_predicted_alike(trained: Path, hand: Hand, tmp_path: Path) -> None:
    predicted = cloud_predict(trained, hand(20, seed=3, label_policy="withheld"), tmp_path / "p.csv")
    assert (predicted.figures, len(predicted.paths)) == ({}, 20)


def test_three_classes_are_learned(hand: Hand, tmp_path: Path) -> None:
    classifier = cloud_train(hand(150, seed=4, classes=3), tmp_path / "c", settings=SHORT)
    assert classifier.card.levels == ("left", "middle", "right")
    assert cloud_predict(tmp_path / "c", hand(60, seed=5, classes=3), tmp_path / "p.csv").figures["accuracy"] > 0.8


def test_a_classifier_is_read_back(trained: Path, handed: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 28, 28), dtype=np.uint8)
    first, second = load_classifier(trained), load_classifier(trained)
    np.testing.assert_array_equal(first.predict_proba(images), second.predict_proba(images))
    assert first.card.claim == "empirical, no formal guarantee"
    assert first.card.figures["seconds_per_epoch"] > 0


def test_another_key_is_refused_unless_it_is_allowed(trained: Path, house: Path, hand: Hand, tmp_path: Path) -> None:
    new_key(house / "other-key")
    later = hand(20, seed=6, key="other-key")
    with pytest.raises(Refused, match=r"pictures must be obfuscated under key [0-9a-f]{32} as in training, got"):
        cloud_predict(trained, later, tmp_path / "p.csv")
    assert not (tmp_path / "p.csv").exists()
    assert len(cloud_predict(trained, later, tmp_path / "p.csv", allow_other_key=True).paths) == 20


@pytest.mark.parametrize(("size", "error", "message"), [(28, Refused, "by model"), (32, ValueError, "28 x 28")])
def test_another_model_or_size_is_refused(
    trained: Path, house: Path, hand: Hand, tmp_path: Path, size: int, error: type[Exception], message: str
) -> None:
    with Collection.open(house / "public.npz") as collection:
        collection.scan()
        Obfuscation.fit(collection, house / f"other-{size}", size=size, encoder="none", map_levels=9)
    with pytest.raises(error, match=message):
        cloud_predict(trained, hand(20, model=f"other-{size}"), tmp_path / "p.csv", allow_other_key=True)


@pytest.mark.parametrize("file", ["weights.safetensors", "classifier.json"])
@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_damaged_classifier_is_refused(trained: Path, tmp_path: Path, file: str, damage: str) -> None:
    import shutil

    copied = Path(shutil.copytree(trained, tmp_path / "c"))
    content = (copied / file).read_bytes()
    (copied / file).unlink()
    if damage == "truncated":
        (copied / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"must be|must have"):
        load_classifier(copied)


def test_nothing_is_overwritten(trained: Path, handed: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="CLASSIFIER must be a new folder"):
        cloud_train(handed, trained)
    (tmp_path / "p.csv").write_text("mine")
    with pytest.raises(ValueError, match="--out must be a new file"):
        cloud_predict(trained, handed, tmp_path / "p.csv")


def test_training_needs_labels(hand: Hand, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must come with labels to train on"):
        cloud_train(hand(20, label_policy="withheld"), tmp_path / "c")


def test_the_cloud_opens_nothing_but_what_it_was_handed(hand: Hand, house: Path, tmp_path: Path) -> None:
    """A process of its own, watched by the interpreter: which files it opens, which modules it has."""
    handed = hand(30, seed=7)
    program = (
        "import json, sys, pathlib\n"
        "opened = []\n"
        "sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == 'open' else None)\n"
        "from dataclasses import replace\n"
        "from veilray.cloud import CLOUD_TRAINING, cloud_predict, cloud_train\n"
        "given, out = map(pathlib.Path, sys.argv[1:])\n"
        "cloud_train(given, out / 'c', settings=replace(CLOUD_TRAINING, epochs=1))\n"
        "cloud_predict(out / 'c', given, out / 'p.csv')\n"
        "(out / 'told.json').write_text(json.dumps([opened, sorted(sys.modules)]))\n"
    )
    subprocess.run([sys.executable, "-c", program, handed, tmp_path], check=True, timeout=100)
    opened, modules = json.loads((tmp_path / "told.json").read_text())
    of_the_owner = handed.parent.parent
    touched = [name for name in opened if name.startswith(str(of_the_owner)) and not name.startswith(str(tmp_path))]
    assert touched
    assert all(Path(name).is_relative_to(handed) for name in touched)
    assert not any(str(house) in name for name in opened)
    assert not [module for module in modules if module.startswith(("veilray.methods", "veilray.autoencoders"))]


def test_the_cloud_imports_nothing_of_the_owner() -> None:
    for path in Path(veilray.cloud.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.startswith(("veilray.methods", "veilray.autoencoders")) for name in names), path
