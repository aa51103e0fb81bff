"""The data set card: complete, made of release.json alone, and read by the tools it is written for."""

from __future__ import annotations

import importlib.util
import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from veilray.images import RULE
from veilray.privacy import Bound, ConditionPolicy, Guarantee, ModelTraining, Releases
from veilray.releases import ModelCard
from veilray.report.dataset_card import dataset_files

PUBLIC = ConditionPolicy(policy="public")
DRAWN = ConditionPolicy(policy="randomised", epsilon=Fraction(1), levels=2)
WITHHELD = ConditionPolicy(policy="withheld")
CODE = {"kind": "gram", "dimension": 8, "sha256": "c" * 64}


def told(label: ConditionPolicy = PUBLIC, kept: bool = True, **changes: Any) -> dict[str, Any]:
    training = ModelTraining(data="public", statement="other pictures")
    guarantee = Guarantee(
        unit="image",
        epsilon=Fraction(4),
        image_epsilon=Fraction(4),
        bound=Bound(kind="direction"),
        dimension=8,
        mechanism="directional",
        conditions={"label": label},
        model_training=training,
        releases=Releases(images=3, patients=2, largest_patient=2),
    )
    card = ModelCard(
        name='chest "x-ray": small',
        method="directional",
        geometry={"size": 8, "channels": 1, "bits": 8},
        geometry_rule=RULE,
        training=training,
        training_images=10,
        training_patients=5,
        weights_sha256="d" * 64,
    )
    folders = ["", "", ""] if label is WITHHELD else ["A/", "A/", "B/"]
    names = [f"images/{folder}{index:016x}.png" for index, folder in enumerate(folders)]
    names += ["README", "manifest.csv", *(["codes.npy", "kept_code/code.json"] if kept else [])]
    return {
        "format": "veilray-release",
        "version": 1,
        "identifier": "0123456789abcdef" * 2,
        "date": "2025-03-01",
        "software": "veilray 0.1.0",
        "guarantee": guarantee.to_dict(),
        "model": card.model_dump(mode="json"),
        **({"kept_code": CODE} if kept else {}),
        "files": dict.fromkeys(names, "a" * 64),
        **changes,
    }


def card_of(contents: dict[str, Any]) -> str:
    return dataset_files(contents)["DATASET.md"]


def test_it_says_what_a_card_must() -> None:
    text = card_of(told())
    for heading in (
        "What it is", "Claim", "What is not covered", "Composition", "How it was made", "Intended use", "Open it",
        "Train on the code", "Files", "Licence",
    ):  # fmt: skip
        assert f"\n## {heading}\n" in text
    assert "epsilon 4 (pure)" in text
    assert "not for diagnosis" in text
    assert "Set by the publisher." in text
    assert 'veilray.open_release("path/to/this/folder")' in text
    assert not re.search(r"\n{4,}|{{|{%", text)


def test_its_header_is_yaml() -> None:
    yaml = pytest.importorskip("yaml")
    _, header, _ = card_of(told()).split("---\n", 2)
    read = yaml.safe_load(header)
    assert read["license"] == "other"
    assert read["size_categories"] == ["n<1K"]
    assert read["pretty_name"].startswith('3 pictures released by chest "x-ray": small')


def test_its_python_is_python() -> None:
    for block in re.findall(r"```python\n(.*?)```", card_of(told()), re.DOTALL):
        compile(block, "card", "exec")


def test_labels_are_counted_only_where_they_are_released() -> None:
    assert "| A | 2 |\n| B | 1 |" in card_of(told(PUBLIC))
    assert "not covered by the claim" in card_of(told(PUBLIC))
    assert "counts of what was drawn, not of what was true" in card_of(told(DRAWN))
    withheld = card_of(told(WITHHELD))
    assert "| A |" not in withheld
    assert "Labels were not released." in withheld
    assert "image-classification" not in withheld


def test_pictures_alone_have_no_code_to_train_on() -> None:
    text = card_of(told(kept=False))
    assert "Train on the code" not in text
    assert "codes.npy" not in text


def test_the_same_contents_give_the_same_card() -> None:
    assert dataset_files(told()) == dataset_files(json.loads(json.dumps(told())))


def test_croissant_lists_every_file_but_pictures_with_its_hash() -> None:
    croissant = json.loads(dataset_files(told())["croissant.json"])
    objects = {each["@id"]: each for each in croissant["distribution"] if each["@type"] == "cr:FileObject"}
    assert set(objects) == {"README", "manifest.csv", "codes.npy", "kept_code/code.json"}
    assert all(each["sha256"] == "a" * 64 for each in objects.values())
    assert croissant["datePublished"] == "2025-03-01"
    assert croissant["license"] == "set by the publisher"


@pytest.mark.skipif(importlib.util.find_spec("mlcroissant") is None, reason="needs veilray[croissant]")
@pytest.mark.parametrize("label", [PUBLIC, WITHHELD])
def test_croissant_reads_it_and_its_records(
    tmp_path: Path, label: ConditionPolicy, caplog: pytest.LogCaptureFixture
) -> None:
    import hashlib

    import mlcroissant

    contents = told(label)
    columns = "path" if label is WITHHELD else "path,label"
    rows = [f"images/{index}.png" + ("" if label is WITHHELD else ",A") for index in range(3)]
    (tmp_path / "manifest.csv").write_text("\r\n".join([columns, *rows]) + "\r\n")
    contents["files"]["manifest.csv"] = hashlib.sha256((tmp_path / "manifest.csv").read_bytes()).hexdigest()
    (tmp_path / "croissant.json").write_text(dataset_files(contents)["croissant.json"])
    dataset = mlcroissant.Dataset(str(tmp_path / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    assert not dataset.metadata.ctx.issues.warnings
    assert not caplog.records, "the context must be the standard one"
    records = list(dataset.records("manifest"))
    assert [record["manifest/path"] for record in records] == [f"images/{index}.png".encode() for index in range(3)]
    assert all(("manifest/label" in record) == (label is PUBLIC) for record in records)
