"""Schemas: their file, its errors, and choosing columns."""

from __future__ import annotations

import pytest

from veilray.tables import Column, Dialect, Policy, Schema

LINE = "columns: [{name: a, kind: integer, low: 0, high: 9}]"


def test_a_schema_survives_its_file(schema, tmp_path):
    told = schema.model_copy(update={"patient": "who", "policy": Policy(missing="replace")})
    told.to_yaml(tmp_path / "s.yaml")
    again = Schema.from_yaml(tmp_path / "s.yaml")
    assert again == told
    assert again.sha256() == told.sha256()


def test_the_hash_is_of_the_meaning_not_of_the_file():
    one = Schema.from_text(LINE)
    assert Schema.from_text(LINE.replace("low: 0", "low: 0.0 ")).sha256() == one.sha256()
    assert Schema.from_text(LINE.replace("high: 9", "high: 8")).sha256() != one.sha256()


def test_a_schema_keeps_its_dialect_and_one_without_keeps_its_hash(schema, tmp_path):
    german = schema.model_copy(update={"dialect": Dialect(decimal=",", missing=("-",))})
    german.to_yaml(tmp_path / "s.yaml")
    assert Schema.from_yaml(tmp_path / "s.yaml") == german
    assert german.sha256() != schema.sha256()
    assert "dialect" not in schema.to_text()


def test_where_it_was_drafted_from_is_kept_and_said(tmp_path):
    drafted = Schema.from_text(f"{LINE}\ndrafted_from: private rows\nconfirmed: true")
    drafted.to_yaml(tmp_path / "s.yaml")
    assert Schema.from_yaml(tmp_path / "s.yaml") == drafted
    assert drafted.provenance == "drafted from rows that are not public, confirmed by a person as public knowledge"
    assert drafted.sha256() != Schema.from_text(f"{LINE}\nconfirmed: true").sha256()
    with pytest.raises(ValueError, match="drafted_from must be 'public rows' or 'private rows'"):
        Schema.from_text(f"{LINE}\ndrafted_from: a ward")


def test_the_hash_is_that_of_earlier_versions():
    known = Schema.from_text(LINE).sha256()
    assert known == "494acfcbe9be90e477a230cdadd9abfe4ef00f0209ffa52a7f4ccfc4e7946359"


def test_dates_need_no_quotes():
    schema = Schema.from_text("columns: [{name: a, kind: date, low: 2001-01-01, high: 2002-01-01}]")
    assert schema.columns[0].low == "2001-01-01"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a YAML mapping with columns, got nothing"),
        ("[", "must be YAML, got an error in line 1"),
        ("a: 1\na: 2", "must be YAML, got an error in line 2: a stands there twice"),
        ("a: !!python/object/apply:os.getcwd []", "must be YAML"),
        ("confirmed: true", "columns must be given, got nothing"),
        ("columns: []", "columns must be 1 to 1,000, got 0"),
        ("columns: 3", "columns must be a valid tuple, got 3"),
        (f"{LINE}\nsecret: 1", "secret must be left out"),
        (f"{LINE}\nversion: 2", "version must be 1, got 2"),
        (f"{LINE}\npatient: a", "patient must not be one of columns"),
        (f"{LINE}\npatient: =a", "patient must not begin with ="),
        (f"{LINE}\nconfirmed: 'true'", "confirmed must be a valid boolean"),
        (f"{LINE}\npolicy: {{missing: drop}}", "policy.missing must be 'quarantine', 'error' or 'replace', got 'drop'"),
        (LINE.replace("low: 0", "low: "), r"columns\[0\].low must be given for kind integer \(a\), got nothing"),
        (f"{LINE}\ndialect: {{date: }}", "dialect.date must be a valid string, got nothing"),
        (f"{LINE}\ndialect: {{decimal: ';'}}", "dialect.decimal must be '.' or ',', got ';'"),
        (LINE.replace("integer", "number"), r"columns\[0\].kind must be 'continuous'"),
        ("columns: [{name: a, kind: ordinal, levels: [no, yes]}]", r"columns\[0\].levels\[0\] must be text, got False"),
        (LINE[:-1] + ", {name: a, kind: integer, low: 0, high: 1}]", "distinct names, got 'a' twice"),
    ],
)
def test_a_file_that_is_no_schema_is_one_sentence(tmp_path, text, message):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        Schema.from_yaml(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_or_not_text_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        Schema.from_yaml(tmp_path / "s.yaml")
    (tmp_path / "s.yaml").write_bytes("# ü".encode("latin-1"))
    with pytest.raises(ValueError, match="UTF-8"):
        Schema.from_yaml(tmp_path / "s.yaml")


def test_columns_are_chosen_in_the_order_of_the_schema(schema):
    assert schema.only(["sex", "age"]).names == ("age", "sex")
    assert schema.without(["sex", "age"]).names == ("bmi", "stage", "seen")
    with pytest.raises(ValueError, match="column must be one of age, bmi, stage, sex, seen, got 'weight'"):
        schema.column("weight")
    with pytest.raises(ValueError, match="one or more"):
        schema.without(schema.names)


def test_a_thousand_columns_are_the_most():
    columns = [Column(name=f"c{n}", kind="integer", low=0, high=1) for n in range(1_001)]
    assert len(Schema(columns=columns[:-1]).names) == 1_000
    with pytest.raises(ValueError):
        Schema(columns=columns)
