"""Tables as a user meets them: draft, fit, check, release and open; every wrong use a sentence and an exit code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import veilray as library
from veilray.ledger import Journal
from veilray.tables import Dialect, Policy, Records, Schema

Run = Callable[..., "object"]
FIT = ("--couplings", 2, "--width", 8, "--epochs", 2, "--batch-size", 32)
HEADER = "diagnosis,age,diameter,grade,visits,seen,ward,person"
GOOD = "benign,61,12.5,low,3,2010-05-06,north,p1"


@pytest.fixture(scope="module")
def table(table_file: Callable[..., Path]) -> Path:
    return table_file(24, 1)


@pytest.fixture
def schema(tmp_path: Path, people: Callable[..., Records]) -> Path:
    people(1).schema.to_yaml(tmp_path / "people.yaml")
    return tmp_path / "people.yaml"


@pytest.fixture
def release_of(veilray: Run, table_model: Path, table: Path, tmp_path: Path) -> Run:
    def run(*options: object, source: Path = table) -> object:
        asked = ("release", source, "--model", table_model, "--epsilon", "4", "--out", tmp_path / "out")
        return veilray(*asked, *options)

    return run


def said(ran: object) -> str:
    text = " ".join(ran.err.split())
    assert "Traceback" not in text
    return text


# The documented order.


def test_check_drafts_a_schema_that_a_person_must_confirm(veilray: Run, table: Path, tmp_path: Path) -> None:
    drafted = veilray("check", table, "--out", tmp_path / "draft.yaml")
    assert drafted.code == 0, drafted.err
    assert "person says whose row it is" in drafted.out
    assert "confirmed: false" in (tmp_path / "draft.yaml").read_text()
    assert veilray("check", table, "--out", tmp_path / "draft.yaml").code == 2  # never overwritten
    fitted = veilray("fit", "cadp", table, "--schema", tmp_path / "draft.yaml", "--out", tmp_path / "model", *FIT)
    assert fitted.code == 2
    assert "CONFIRM" in said(fitted) or "must be" in said(fitted)
    assert not (tmp_path / "model").exists()


def test_a_draft_says_what_it_found_as_json(veilray: Run, table: Path, tmp_path: Path) -> None:
    told = json.loads(veilray("check", table, "--out", tmp_path / "draft.yaml", "--json").out)
    assert told["schema"] == str(tmp_path / "draft.yaml")
    assert told["patient"] == "person"
    assert "diameter" in told["bounds_to_give"]


def test_fit_check_release_card_and_open(
    veilray: Run, table_file: Callable[..., Path], table: Path, schema: Path, tmp_path: Path
) -> None:
    model, out = tmp_path / "model", tmp_path / "out"
    stated = ("--training-data", "public", "--statement", "made up")
    fitted = veilray("fit", "cadp", table_file(120, 7), "--schema", schema, "--condition", "diagnosis", "--keep", 3,
                     "--out", model, *FIT, *stated)  # fmt: skip
    assert fitted.code == 0, fitted.err
    assert "3 directions of 6 columns" in fitted.out
    checked = veilray("check", table, "--model", model, "--epsilon", "4")
    assert checked.code == 0, checked.err
    assert "24 valid rows, 12 patients" in checked.out
    assert "largest patient would spend epsilon 8" in checked.out
    assert not (tmp_path / "house" / "ledger.sqlite").exists()
    released = veilray("release", table, "--model", model, "--epsilon", "4", "--label-policy", "public", "--out", out)
    assert released.code == 0, released.err
    assert "Released: 24 rows" in released.out
    shown = veilray("card", out, "--html", tmp_path / "card.html")
    assert "Among 1,000 equally likely rows" in shown.out
    assert "24 released rows" in (tmp_path / "card.html").read_text()
    frame = library.open_release(out).to_pandas()
    assert frame["diagnosis"].value_counts().to_dict() == {
        name: (table.read_text()).count(f"\n{name},") for name in ("benign", "malignant")
    }


def test_fit_without_a_condition_takes_none(
    veilray: Run, table_file: Callable[..., Path], schema: Path, tmp_path: Path
) -> None:
    fitted = veilray("fit", "cadp", table_file(60, 7), "--schema", schema, "--out", tmp_path / "m", *FIT, "--json")
    assert fitted.code == 0, fitted.err
    assert json.loads(fitted.out)["kept"] == 7
    refused = veilray("release", table_file(60, 7), "--model", tmp_path / "m", "--epsilon", 1, "--out", tmp_path / "o",
                      "--label-policy", "public")  # fmt: skip
    assert refused.code == 2
    assert "label policy must be left out for a model that was told no condition" in said(refused)


def test_check_looks_at_a_table_through_its_schema(veilray: Run, table: Path, schema: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_text("\n".join([HEADER, GOOD, GOOD.replace("61", "161"), GOOD.replace("benign", "=SUM(A1)"), ""]))
    ran = veilray("check", broken, "--schema", schema)
    assert ran.code == 1
    assert "1 valid row, 1 patient" in ran.out
    assert "2 rows refused" in ran.out
    assert "161" not in ran.out
    assert "SUM" not in ran.out
    told = json.loads(veilray("check", broken, "--schema", schema, "--json").out)
    assert [entry["row"] for entry in told["quarantine"]] == [2, 3]


# Tables as other programs write them.


def german(table: Path, folder: Path) -> Path:
    """The table as a German office program saves it: semicolons, decimal commas, DD.MM.YYYY, cp1252."""
    header, *rows = table.read_text().splitlines()
    lines = [header.replace(",", ";")]
    for row in rows:
        cells = row.replace(".", "#").split(",")
        cells = [".".join(reversed(cell.split("-"))) if cell.count("-") == 2 else cell for cell in cells]
        lines.append(";".join(cells).replace("#", ","))
    folder.mkdir(exist_ok=True)
    path = folder / "german.csv"
    path.write_bytes(("\r\n".join(lines).replace("north", "nörth") + "\r\n").encode("cp1252"))
    return path


GERMAN = ("--dialect", "decimal=,", "--dialect", "date=DD.MM.YYYY", "--dialect", "encoding=cp1252")


def test_a_dialect_that_is_given_is_that_of_check_fit_and_release(
    veilray: Run, table_file: Callable[..., Path], schema: Path, tmp_path: Path
) -> None:
    schema.write_text(schema.read_text().replace("north", "nörth"))
    path = german(table_file(60, 7), tmp_path)
    refused = veilray("check", path, "--schema", schema)
    assert refused.code == 2
    assert "--dialect encoding=NAME" in said(refused)
    assert json.loads(veilray("check", path, "--schema", schema, *GERMAN, "--json").out)["rows"] == 60
    public = german(table_file(60, 8), tmp_path / "public")
    stated = ("--training-data", "public", "--statement", "made up")
    fitted = veilray("fit", "cadp", public, "--schema", schema, "--out", tmp_path / "m", *FIT, *GERMAN, *stated)
    assert fitted.code == 0, fitted.err
    kept = Schema.from_yaml(tmp_path / "m" / "schema.yaml").dialect
    assert (kept.decimal, kept.date, kept.encoding) == (",", "DD.MM.YYYY", "cp1252")
    released = veilray("release", path, "--model", tmp_path / "m", "--epsilon", 4, "--out", tmp_path / "out")
    assert released.code == 0, released.err
    assert Schema.from_yaml(tmp_path / "out" / "schema.yaml").dialect == Dialect()
    assert len(library.open_release(tmp_path / "out").to_pandas()) == 60
    plain = tmp_path / "plain.csv"
    plain.write_text(table_file(60, 7).read_text().replace("north", "nörth"))
    again = ("release", plain, "--model", tmp_path / "m", "--epsilon", 4, "--out", tmp_path / "again")
    assert veilray(*again, "--dry-run").code == 1  # the model's dialect has no decimal point
    assert veilray(*again, "--dialect", "default", "--dry-run").code == 0


def test_check_drafts_the_dialect_and_names_what_it_leaves_open(
    veilray: Run, table_file: Callable[..., Path], tmp_path: Path
) -> None:
    path = german(table_file(60, 7), tmp_path)
    told = json.loads(veilray("check", path, "--out", tmp_path / "d.yaml", "--json").out)
    assert told["dialect"] == {"delimiter": ";", "decimal": ",", "date": "DD.MM.YYYY", "encoding": "cp1252"}
    assert list(told["questions"]) == ["encoding"]
    assert "to answer: encoding" in veilray("check", path, "--out", tmp_path / "e.yaml").out


def test_a_dialect_of_another_form_is_a_sentence(veilray: Run, table: Path, schema: Path, tmp_path: Path) -> None:
    for entry, message in (
        ("decimal", "dialect must be NAME=VALUE, a .toml, .yaml, .yml file or default, got 'decimal'"),
        ("comma=,", "dialect must have only delimiter, decimal"),
        ("date=DD.MM.YY", "dialect: date must be one of YYYY-MM-DD"),
        (str(tmp_path / "none.toml"), "dialect must be an existing file"),
    ):
        ran = veilray("check", table, "--schema", schema, "--dialect", entry)
        assert ran.code == 2
        assert message in said(ran)


# Policies of the conditions.


@pytest.mark.parametrize(
    ("options", "columns", "total"),
    [
        ((), set(), "4"),
        (("--label-policy", "public"), {"diagnosis"}, "4"),
        (("--label-policy", "randomised", "--label-epsilon", "1"), {"diagnosis"}, "5"),
        (("--condition-policy", "age=randomised:1/2"), {"age"}, "9/2"),
        (("--label-policy", "public", "--condition-policy", "age=public"), {"diagnosis", "age"}, "4"),
        (("--decode-under", "diagnosis=malignant", "--decode-under", "age=70"), set(), "4"),
    ],
)
def test_policies(release_of: Run, tmp_path: Path, options: tuple[str, ...], columns: set[str], total: str) -> None:
    ran = release_of(*options, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["rows"] == 24
    told = json.loads((tmp_path / "out" / "release.json").read_text())
    assert told["totals"]["image_epsilon"] == total
    assert told.get("decoded_under", {}).keys() == ({"diagnosis", "age"} if "--decode-under" in options else set())
    header = (tmp_path / "out" / "data.csv").read_text().splitlines()[0].split(",")
    assert set(header) & {"diagnosis", "age"} == columns


def test_a_dry_run_spends_nothing(release_of: Run, tmp_path: Path) -> None:
    ran = release_of("--dry-run")
    assert ran.code == 0
    assert "Would be claimed for 24 rows; nothing was spent" in ran.out
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "house" / "ledger.sqlite").exists()


def test_resume_of_a_finished_release_changes_nothing(release_of: Run, tmp_path: Path) -> None:
    assert release_of().code == 0
    before = (tmp_path / "out" / "data.csv").read_bytes()
    assert release_of().code == 2
    assert release_of("--resume").code == 0
    assert (tmp_path / "out" / "data.csv").read_bytes() == before
    other = release_of("--resume", "--label-policy", "public")
    assert other.code == 2
    assert "as when this release was started" in said(other)


def test_an_interrupted_release_is_continued(release_of: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("veilray.releases.staging.Staging.publish", interrupted)
        ran = release_of()
    assert ran.code == 130
    assert "--resume continues" in said(ran)
    again = release_of()
    assert again.code == 2
    assert "must be continued with --resume" in said(again)
    assert release_of("--resume").code == 0
    assert len(Journal(tmp_path / "house" / "ledger.sqlite").releases()) == 1


def test_a_table_is_counted_in_rows_and_found_by_its_place(release_of: Run, veilray: Run, tmp_path: Path) -> None:
    assert release_of().code == 0
    shown = veilray("ledger", "show").out
    assert re.search(rf"{tmp_path / 'out'} published: [0-9]+ rows, epsilon", shown), shown
    assert "image" not in shown
    (told,) = json.loads(veilray("ledger", "show", "--json").out)["releases"]
    assert (told["record"], told["out"]) == ("row", str(tmp_path / "out"))
    assert told["records"] > 0


def test_a_spent_budget_refuses(release_of: Run, veilray: Run, tmp_path: Path) -> None:
    shown = veilray("ledger", "init", "--epsilon", "3")
    assert shown.code == 0, shown.err
    ran = release_of()
    assert ran.code == 3
    assert "refused" in said(ran)
    assert not (tmp_path / "out").exists()


# Wrong use.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--keep-geometry",), "must be left out for a table"),
        (("--layout", "flat"), "must be left out for a table"),
        (("--root", "."), "must be left out for a table"),
        (("--condition-levels", "diagnosis=a,b"), "must be left out for a table"),
        (("--condition-policy", "sex=public"), "condition must be one of diagnosis, age, got 'sex'"),
        (("--condition-policy", "label=public"), "condition must be one of diagnosis, age, got 'label'"),
        (("--condition-policy", "diagnosis=shown"), "policy of diagnosis must be public, randomised:EPSILON"),
        (("--condition-policy", "age=randomised"), "must hold its epsilon"),
        (("--label-policy", "randomised"), "label epsilon must be given"),
        (("--label-policy", "public", "--condition-policy", "diagnosis=public"), "must be given once"),
        (("--decode-under", "diagnosis=other"), "diagnosis to decode under must be one of benign, malignant"),
        (("--decode-under", "visits=3"), "condition must be one of diagnosis, age, got 'visits'"),
        (("--epsilon", "0"), "epsilon must be"),
        (("--epsilon", "x"), "epsilon must be"),
        (("--mechanism", "magic"), "mechanism must be one of"),
        (("--mechanism", "gaussian"), "delta"),
        (("--candidates", "4"), "candidates must go with mechanism selection"),
        (("--resume",), "RECORD of"),
    ],
)
def test_wrong_releases_are_named(release_of: Run, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    ran = release_of(*options)
    assert ran.code == 2
    assert message in said(ran)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--condition", "sex"), "column must be one of diagnosis, age"),
        (("--condition", "seen"), "condition must be a category or a number, got the date seen"),
        (("--size", 8), "--size must be left out for a table"),
        (("--levels", 2), "--levels must be left out for a table"),
        (("--bounds", "age=0:9"), "--bounds must be left out for a table"),
        (("--layout", "flat"), "--layout must be left out for a table"),
        (("--coupling", "gin"), "--coupling must be left out for a table"),
        (("--keep", 9), "keep must be between 1 and the 7 columns"),
        (("--epochs", 0), "epochs must be"),
    ],
)
def test_wrong_fits_are_named(
    veilray: Run, table: Path, schema: Path, tmp_path: Path, options: tuple[object, ...], message: str
) -> None:
    ran = veilray("fit", "cadp", table, "--schema", schema, "--out", tmp_path / "m", *options)
    assert ran.code == 2
    assert message in said(ran)
    assert not (tmp_path / "m").exists()


def test_a_schema_that_nobody_confirmed_is_not_fitted(veilray: Run, table: Path, schema: Path, tmp_path: Path) -> None:
    schema.write_text(schema.read_text().replace("confirmed: true", "confirmed: false"))
    ran = veilray("fit", "cadp", table, "--schema", schema, "--out", tmp_path / "m")
    assert ran.code == 2
    assert "schema must be confirmed" in said(ran)


def test_tables_and_pictures_are_not_mixed_up(
    veilray: Run, table: Path, table_model: Path, schema: Path, pictures: Path, model: Path, tmp_path: Path
) -> None:
    out = ("--epsilon", "1", "--out", tmp_path / "out")
    for wrong, message in (
        (("release", table, "--model", model, *out), "must"),
        (("release", pictures, "--model", table_model, *out), "must"),
        (("fit", "cadp", pictures, "--couplings", 2, "--out", tmp_path / "m"), "--couplings must go with --schema"),
        (("fit", "cadp", pictures, "--schema", schema, "--out", tmp_path / "m"), "must"),
        (("fit", "dp-glow", table, "--out", tmp_path / "m"), "must"),
        (("check", pictures), "TABLE must end in"),
        (("check", pictures, "--model", table_model), "TABLE must end in"),
        (("check", table, "--model", model), "must"),
        (("check", table, "--schema", schema, "--epsilon", 1), "--epsilon must go with --model"),
        (("check", table, "--schema", schema, "--preview", tmp_path / "p.png"), "--preview must be left out"),
        (("check", table, "--schema", schema, "--layout", "flat"), "--layout must be left out for a table"),
        (("check", table, "--schema", schema, "--out", tmp_path / "s.yaml"), "--out must go with neither"),
    ):
        ran = veilray(*wrong)
        assert ran.code == 2, wrong
        assert message in said(ran), wrong
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "m").exists()


# Hostile files.


def hostile(lines: list[str]) -> bytes:
    return "\n".join([*lines, ""]).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n".join([HEADER, GOOD]).encode("utf-16-le"), "encoding=NAME"),
        (hostile([HEADER, GOOD.replace("north", "nörth")]).decode().encode("latin-1"), "UTF-8"),
        (hostile([HEADER.replace("ward", "age"), GOOD]), "must"),
        (hostile([HEADER.replace("ward", "=cmd()"), GOOD]), "must"),
        (hostile([HEADER]), "must have one row or more"),
        (hostile([HEADER, GOOD.replace("61", "161")]), "must hold at least one row that the schema allows, got none"),
        (hostile([HEADER, GOOD.replace("p1", "")]), "must hold at least one row that the schema allows, got none"),
        (hostile([HEADER, GOOD + "\0"]), "must"),
        (b"", "must"),
    ],
)
def test_hostile_files_are_refused(release_of: Run, tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "hostile.csv"
    path.write_bytes(content)
    ran = release_of(source=path)
    assert ran.code == 2
    assert message in said(ran)
    assert not (tmp_path / "out").exists()


def test_hostile_rows_are_left_out_and_said_to_the_owner_alone(release_of: Run, tmp_path: Path) -> None:
    path = tmp_path / "hostile.csv"
    rows = [
        GOOD,
        GOOD + ",more",
        "benign,61",
        GOOD.replace("benign", '"=HYPERLINK(""http://x"")"'),
        GOOD.replace("61", "-1"),
        GOOD.replace("12.5", "1e400"),
        GOOD.replace("low", "x" * 70_000),
        GOOD.replace("p1", "p2"),
    ]
    path.write_bytes(hostile([HEADER, *rows]))
    ran = release_of("--label-policy", "public", source=path)
    assert ran.code == 1
    assert "6 rows were refused; quarantine.csv in RECORD lists them" in ran.out
    assert "HYPERLINK" not in ran.out + ran.err
    record = next((tmp_path / "house" / "records").iterdir())
    listed = (record / "quarantine.csv").read_text()
    assert [line.split(",")[0] for line in listed.splitlines()[1:]] == ["2", "3", "4", "5", "6", "7"]
    assert "HYPERLINK" not in listed
    assert len(library.open_release(tmp_path / "out")) == 2


# In Python.


@pytest.mark.parametrize("kind", ["frame", "arrow", "parquet", "csv"])
def test_every_kind_of_table_is_taken(
    kind: str, table: Path, table_model: Path, people: Callable[..., Records], tmp_path: Path
) -> None:
    frame = people(24, 1).to_pandas().assign(person=people(24, 1).patients)
    if kind == "parquet":
        frame.to_parquet(tmp_path / "people.parquet")
    if kind == "arrow":
        import pyarrow as pa

        given: object = pa.Table.from_pandas(frame)
    else:
        given = {"frame": frame, "parquet": tmp_path / "people.parquet", "csv": str(table)}[kind]
    options = {"ledger": tmp_path / "l.sqlite", "label_policy": "public"}
    outcome = library.release(given, table_model, "4", tmp_path / "out", **options)
    assert (outcome.count, outcome.refused) == (24, ())
    released = library.open_release(tmp_path / "out")
    assert sorted(released.records.texts("diagnosis")) == sorted(people(24, 1).texts("diagnosis"))
    assert outcome.guarantee.releases.patients == 12


def test_a_frame_is_fitted_and_no_row_is_left_out_for_a_cell_that_is_replaced(
    people: Callable[..., Records], tmp_path: Path
) -> None:
    every = {"unseen_level": "replace", "out_of_bounds": "replace", "wrong_type": "replace", "missing": "replace"}
    schema = people(1).schema.model_copy(update={"policy": Policy(**every)})
    frame = people(60, 7).to_pandas().assign(person=people(60, 7).patients)
    small = {"couplings": 2, "width": 8, "epochs": 2, "batch_size": 32}
    stated = {"training_data": "public", "statement": "made up"}
    library.fit("cadp", frame, tmp_path / "m", schema=schema, condition="diagnosis", **small, **stated)
    frame = people(60, 8).to_pandas().assign(person=people(60, 8).patients)
    frame.loc[:4, "visits"] = 1000
    outcome = library.release(frame, tmp_path / "m", "2", tmp_path / "out", ledger=tmp_path / "l.sqlite")
    assert outcome.count == 60
    assert "as many cells as the header" in outcome.guarantee.in_clear[0]
    assert "obeys the schema" not in (tmp_path / "out" / "README").read_text()


def test_wrong_words_in_python(people: Callable[..., Records], model: Path, tmp_path: Path) -> None:
    frame = people(4, 1).to_pandas()
    with pytest.raises(ValueError, match="schema must be given for a table"):
        library.fit("cadp", frame, tmp_path / "m")
    with pytest.raises(ValueError, match="method must be cadp for a table, got 'dp-glow'"):
        library.fit("dp-glow", frame, tmp_path / "m", schema=people(1).schema)
    with pytest.raises(ValueError, match="MODEL must be of tables to release a table"):
        library.release(frame, model, "1", tmp_path / "out")


@pytest.mark.parametrize("count", [50_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_a_long_table(release_of: Run, people: Callable[..., Records], tmp_path: Path, count: int) -> None:
    records = people(count, 3)
    frame = records.to_pandas().assign(person=records.patients)
    frame["seen"] = frame["seen"].dt.strftime("%Y-%m-%d")
    frame.to_csv(tmp_path / "long.csv", index=False)
    ran = release_of("--label-policy", "randomised", "--label-epsilon", "1", source=tmp_path / "long.csv")
    assert ran.code == 0, ran.err
    released = library.open_release(tmp_path / "out")
    assert len(released) == count
    agreed = np.mean(np.isin(released.records.column("diagnosis"), [0, 1]))
    assert agreed == 1
    assert isinstance(Schema.from_yaml(tmp_path / "out" / "schema.yaml"), Schema)
