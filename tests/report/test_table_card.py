"""The data set card of a table: complete, made of release.json alone, and nothing in it can be taken for markup."""

from __future__ import annotations

import importlib.util
import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from veilray.privacy import Bound, ConditionPolicy, Guarantee, ModelTraining, Releases
from veilray.releases import ModelCard
from veilray.report.table_card import table_files

PUBLIC = ConditionPolicy(policy="public")
DRAWN = ConditionPolicy(policy="randomised", epsilon=Fraction(1), levels=2)
DENIALS = re.compile(r"[Nn]o (row|record|picture|image)[^.]{0,40}(person|patient)|no personal data|[Ff]ully anonym")
COLUMNS = [
    {"name": "diagnosis", "kind": "categorical"},
    {"name": "age|years", "kind": "integer"},
    {"name": "bmi", "kind": "continuous"},
    {"name": "seen", "kind": "date"},
]


def told(diagnosis: ConditionPolicy = PUBLIC, rows: int = 3, **changes: Any) -> dict[str, Any]:
    training = ModelTraining(data="public", statement="a public survey")
    guarantee = Guarantee(
        unit="image",
        epsilon=Fraction(4),
        image_epsilon=Fraction(4),
        bound=Bound(kind="direction"),
        dimension=3,
        mechanism="directional",
        conditions={"diagnosis": diagnosis},
        model_training=training,
        releases=Releases(images=rows, patients=2, largest_patient=2),
        in_clear=("that a row obeys the schema",),
        record="row",
    )
    card = ModelCard(
        name='ward "7": small',
        method="cadp-table",
        geometry={"columns": 3, "conditions": 1},
        geometry_rule="each cell is brought to the schema",
        training=training,
        training_images=10,
        training_patients=5,
        weights_sha256="d" * 64,
    )
    return {
        "format": "veilray-release",
        "version": 1,
        "identifier": "0123456789abcdef" * 2,
        "date": "2025-03-01",
        "software": "veilray 0.1.0",
        "guarantee": guarantee.to_dict(),
        "model": card.model_dump(mode="json"),
        "table": {"data": "data.csv", "schema": "schema.yaml", "rows": rows, "columns": COLUMNS},
        "files": dict.fromkeys(["README", "data.csv", "data.parquet", "schema.yaml"], "a" * 64),
        **changes,
    }


def card_of(contents: dict[str, Any]) -> str:
    return table_files(contents)["DATASET.md"]


def test_it_says_what_a_card_must() -> None:
    text = card_of(told())
    for heading in ("What it is", "Claim", "What is not covered", "Composition", "How to use it", "Model", "Files"):
        assert f"\n## {heading}\n" in text
    assert "epsilon 4 (pure)" in text
    assert "that a row obeys the schema" in text
    assert "Not for diagnosis" in text
    assert "a public survey" in text
    assert not re.search(r"\n{4,}|{{|{%", text)
    assert "image" not in text.replace("image_", "")


def test_its_header_is_yaml() -> None:
    yaml = pytest.importorskip("yaml")
    _, header, _ = card_of(told()).split("---\n", 2)
    read = yaml.safe_load(header)
    assert read["license"] == "other"
    assert read["size_categories"] == ["n<1K"]
    assert read["pretty_name"] == '3 rows released by ward "7": small with differential privacy'


def test_its_python_is_python() -> None:
    for block in re.findall(r"```python\n(.*?)```", card_of(told()), re.DOTALL):
        compile(block, "card", "exec")


def test_every_column_says_how_it_left() -> None:
    text = card_of(told(DRAWN))
    assert "| diagnosis | categorical | randomised |" in text
    assert "| age\\|years | integer | randomised with its row |" in text
    assert "| diagnosis | categorical | public |" in card_of(told())


def test_a_counterfactual_is_said_in_both_cards() -> None:
    made = table_files(told(decoded_under={"diagnosis": "malignant"}))
    assert all("every row was drawn as if diagnosis = malignant" in text for text in made.values())
    assert "Counterfactual" not in card_of(told())


def test_it_does_not_deny_that_a_row_may_be_that_of_a_person() -> None:
    text = card_of(told())
    assert not DENIALS.search(text)
    assert "A released row may\nequal that of a person" in text
    assert "one tells little" not in text, "at a large epsilon one row tells all"
    assert "synthetic" not in "".join(table_files(told()).values()), "each row is of one source row"


@pytest.mark.parametrize("data", ["public", "other patients", "not covered"])
def test_what_the_network_was_trained_on_is_a_sentence(data: str) -> None:
    contents = told()
    contents["model"]["training"] = {"data": data, "statement": "a survey"}
    assert f"The network was trained on: {data}: a survey\n" in card_of(contents)


def test_one_patient_is_one_patient() -> None:
    contents = told()
    contents["guarantee"]["releases"].update(patients=1, largest_patient=3)
    assert "They are of 1 patient." in card_of(contents)
    assert "They are of 2 patients, at most 2 of one." in card_of(told())


def test_one_row_is_one_row() -> None:
    assert card_of(told(rows=1)).count("1 row released by")


def test_the_same_contents_give_the_same_card() -> None:
    assert table_files(told()) == table_files(json.loads(json.dumps(told())))


def test_croissant_lists_every_file_with_its_hash_and_every_column() -> None:
    croissant = json.loads(table_files(told())["croissant.json"])
    objects = {each["@id"]: each for each in croissant["distribution"]}
    assert set(objects) == {"README", "data.csv", "data.parquet", "schema.yaml"}
    assert {each["sha256"] for each in objects.values()} == {"a" * 64}
    (rows,) = croissant["recordSet"]
    assert [field["name"] for field in rows["field"]] == [column["name"] for column in COLUMNS]
    assert [field["dataType"] for field in rows["field"]] == ["sc:Text", "sc:Integer", "sc:Float", "sc:Date"]


@pytest.mark.skipif(importlib.util.find_spec("mlcroissant") is None, reason="the extra croissant is not installed")
def test_croissant_is_read_by_its_own_tool(tmp_path: Path) -> None:
    import mlcroissant

    path = tmp_path / "croissant.json"
    path.write_text(table_files(told())["croissant.json"])
    found = mlcroissant.Dataset(jsonld=path).metadata
    assert not found.ctx.issues.errors, found.ctx.issues.errors
