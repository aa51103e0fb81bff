"""Reading: the rows that are taken, the rows that are refused, and what the policy makes of the rest."""

from __future__ import annotations

import math
import unicodedata

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from veilray.tables import Column, Dialect, Policy, RefusedRow, Schema, ignored_columns, read_records

HEAD = "age,bmi,stage,sex,seen\n"
GOOD = "61,22.4,II,f,2001-02-03\n"


def with_policy(schema, **policy):
    return schema.model_copy(update={"policy": Policy(**policy)})


def test_a_good_table_becomes_numbers(schema, write):
    records, refused = read_records(write(HEAD + GOOD + "7,,,m,2000-01-01\n"), schema)
    assert refused == []
    np.testing.assert_array_equal(records.values, [[61, 22.4, 1, 0, 730_519], [7, math.nan, math.nan, 1, 730_120]])
    assert records.rows.tolist() == [1, 2]
    assert records.patients is None


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_read_from_the_header(schema, write, delimiter):
    text = (HEAD + GOOD).replace(",", delimiter)
    assert len(read_records(write(text), schema)[0]) == 1


def test_order_blanks_marks_and_windows_lines_do_not_matter(schema, write):
    text = '\ufeff seen , sex,"stage",bmi,age\r\n2001-02-03, f ,II,"22.4", 61\r\n\r\n'
    assert read_records(write(text), schema)[0].values.tolist() == [[61, 22.4, 1, 0, 730_519]]


def test_columns_beyond_the_schema_are_named_and_left_out(schema, write):
    path = write("note," + HEAD + '"two\nlines, ""quoted""",' + GOOD + ",7,,,m,2000-01-01\n")
    assert ignored_columns(path, schema) == ("note",)
    records, _ = read_records(path, schema)
    assert records.rows.tolist() == [1, 2]


def test_a_refused_row_names_the_rule_and_not_the_cell(schema, write):
    secret = "Smith"
    path = write(HEAD + GOOD + f"{secret},900,II,{secret},2001-02-03\n" + GOOD)
    records, refused = read_records(path, schema)
    assert records.rows.tolist() == [1, 3]
    assert refused == [
        RefusedRow(2, "age must be a whole number in [0, 120], got something else (and 2 more of its columns)")
    ]


def test_row_numbers_stay_right_beside_ragged_rows(schema, write):
    path = write(HEAD + "1,2\n" + GOOD + "\n" + GOOD.replace("61", "x") + "1,2,3,4,5,6\n" + GOOD)
    records, refused = read_records(path, schema)
    assert records.rows.tolist() == [2, 5]
    assert [(row.row, row.reason[:24]) for row in refused] == [
        (1, "row must have 5 cells, g"),
        (3, "age must be a whole numb"),
        (4, "row must have 5 cells, g"),
    ]


def test_row_numbers_stay_right_over_many_blocks(schema, write, monkeypatch):
    monkeypatch.setattr("veilray.tables.delimited._BLOCKS", (1_000, 100_000))
    rows = [GOOD] * 300
    rows[130], rows[250] = "1,2\n", GOOD.replace("f", f'"{"x" * 2_000}"')  # the second is longer than a block
    records, refused = read_records(write(HEAD + "".join(rows)), schema)
    assert [row.row for row in refused] == [131, 251]
    assert records.rows.tolist() == [row for row in range(1, 301) if row not in (131, 251)]


def test_error_stops_before_anything_else(schema, write):
    strict = with_policy(schema, out_of_bounds="error")
    path = write(HEAD + "1,2\n" + GOOD + GOOD.replace("61", "200") * 4)
    with pytest.raises(ValueError) as error:
        read_records(path, strict)
    assert str(error.value) == (
        "age must be a whole number in [0, 120] in every row, got a value out of bounds in row 3 (and 3 others)"
    )


def test_replace_takes_the_bound_a_gap_or_the_middle(schema, write):
    lenient = with_policy(
        schema, out_of_bounds="replace", wrong_type="replace", unseen_level="replace", missing="replace"
    )
    path = write(HEAD + "200,-1e400,IV,x,1999-01-01\n" + ",old,,,soon\n")
    records, refused = read_records(path, lenient)
    assert refused == []
    np.testing.assert_array_equal(
        records.values, [[120, 5, math.nan, 0, 730_120], [60, math.nan, math.nan, 0, 733_955]]
    )


def test_a_row_without_its_patient_is_refused(schema, write):
    whose = schema.model_copy(update={"patient": "who"})
    path = write("who," + HEAD + "anna," + GOOD + " ," + GOOD + "bert," + GOOD)
    records, refused = read_records(path, whose)
    assert records.patients == ("anna", "bert")
    assert refused == [RefusedRow(2, "who must be given, got nothing")]
    assert ignored_columns(path, whose) == ()


def test_a_table_of_refused_rows_is_empty_not_an_error(schema, write):
    records, refused = read_records(write(HEAD + "1\n2\n"), schema)
    assert (len(records), len(refused)) == (0, 2)


def test_a_missing_column_is_an_error(schema, write):
    with pytest.raises(ValueError, match="got none named 'sex', 'seen'"):
        read_records(write("age,bmi,stage\n1,2,I\n"), schema)


def test_progress_ends_at_the_whole(schema, write):
    path = write(HEAD + GOOD * 1_000)
    calls = []
    read_records(path, schema, on_progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (path.stat().st_size, path.stat().st_size)


def test_frames_and_arrow_tables_obey_the_same_rules(schema):
    frame = pd.DataFrame(
        {
            "age": [61.0, 7.5, math.inf],
            "bmi": [22.4, math.nan, 30.0],
            "stage": ["II", None, 3],  # several types in one column
            "sex": pd.Categorical(["f", "m", "m"]),
            "seen": pd.to_datetime(["2001-02-03", "2001-02-03 10:00", "2001-02-03"], format="mixed"),
        }
    )
    records, refused = read_records(frame, schema)
    assert records.values.tolist() == [[61, 22.4, 1, 0, 730_519]]
    assert [row.row for row in refused] == [2, 3]
    assert "2 more" not in refused[0].reason and "1 more" in refused[0].reason
    assert len(read_records(pa.Table.from_pandas(frame.iloc[:1]), schema)[0]) == 1


@pytest.mark.parametrize("levels", [("False", "True"), ("false", "true"), ("0", "1")])
@pytest.mark.parametrize("cells", [["True", "False"], ["true", "false"], [True, False], [1, 0], [1.0, 0.0]])
def test_yes_and_no_are_one_however_they_are_written(levels, cells):
    frame = pd.DataFrame({"smokes": cells})
    for column in (
        Column(name="smokes", kind="categorical", levels=levels),
        Column(name="smokes", kind="integer", low=0, high=1),
    ):
        records, refused = read_records(frame, Schema(columns=(column,)))
        assert (records.values.ravel().tolist(), refused) == ([1, 0], [])


def test_codes_that_gaps_made_into_fractions_are_their_levels(write):
    column = Column(name="code", kind="categorical", levels=("1", "2", "3"), missing=True)
    schema = Schema(columns=(column,))
    path = write("code\n1.0\n\n3.0\n")
    for source in (path, pd.read_csv(path, skip_blank_lines=False)):
        records, refused = read_records(source, schema)
        np.testing.assert_array_equal(records.values.ravel(), [0, math.nan, 2])
        assert refused == []
    exact = Schema(columns=(Column(name="code", kind="categorical", levels=("1", "1.0")),))
    assert read_records(write("code,x\n1.0,\n1,\n"), exact)[0].values.ravel().tolist() == [1, 0]


def test_a_blank_line_in_a_table_of_one_column_is_a_missing_cell(write):
    schema = Schema(columns=(Column(name="age", kind="integer", low=0, high=120),))
    records, refused = read_records(write("age\n1\n\n3\n\n\n"), schema)
    assert records.rows.tolist() == [1, 3]
    assert refused == [RefusedRow(2, "age must be a whole number in [0, 120], got nothing")]


@pytest.mark.parametrize("word", ["NA", "NULL", "#N/A", ".", "NaT", "<NA>", "nan", "?"])
def test_nobody_is_called_by_a_missing_word(schema, write, word):
    whose = schema.model_copy(update={"patient": "who"})
    _, refused = read_records(write("who," + HEAD + f"{word}," + GOOD), whose)
    assert refused == [RefusedRow(1, "who must be given, got nothing")]


def test_a_patient_has_one_key_in_every_form(schema, write):
    whose = schema.model_copy(update={"patient": "who"})
    keys = ["27018512345", "27018512345.0", " 27018512345", "M\u00fcller", "Mu\u0308ller"]
    records, _ = read_records(write("who," + HEAD + "".join(f"{key},{GOOD}" for key in keys)), whose)
    assert records.patients == ("27018512345",) * 3 + ("M\u00fcller",) * 2
    frame = pd.DataFrame({"who": [27018512345.0, math.nan], "age": [61, 61]})
    only = Schema(patient="who", columns=schema.columns[:1])
    assert read_records(frame, only)[0].patients == ("27018512345",)


def test_names_and_levels_are_one_in_both_normal_forms(write):
    schema = Schema(columns=(Column(name="Gr\u00f6\u00dfe", kind="ordinal", levels=("\u00d6de", "U\u0308bel")),))
    text = "Gr\u00f6\u00dfe\n\u00d6de\n\u00dcbel\n"
    for form in ("NFC", "NFD"):
        assert read_records(write(unicodedata.normalize(form, text)), schema)[0].values.ravel().tolist() == [0, 1]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC", "America/Sao_Paulo", "+05:30"])
def test_midnight_is_the_local_day(zone):
    schema = Schema(columns=(Column(name="seen", kind="date", low="2000-01-01", high="2020-12-31"),))
    frame = pd.DataFrame({"seen": pd.to_datetime(["2001-02-03", "2010-07-08"]).tz_localize(zone)})
    assert read_records(frame, schema)[0].values.ravel().tolist() == [730_519, 733_961]


@pytest.mark.parametrize("text", ["2001-02-03 08:00", "2001-02-03T08:00:00Z"])
def test_a_time_of_day_is_named(write, text):
    schema = Schema(columns=(Column(name="seen", kind="date", low="2000-01-01", high="2020-12-31"),))
    for source in (write(f"seen\n{text}\n"), pd.DataFrame({"seen": [pd.Timestamp(text)]})):
        _, (refused,) = read_records(source, schema)
        assert refused.reason.endswith("got a day with a time of day, which must be cut off")


def test_a_column_of_another_type_refuses_only_where_the_schema_needs_it(schema):
    table = pa.table({"age": [61], "at": pa.array([0], pa.time64("us")), "all": [[1, 2]]})
    assert len(read_records(table, Schema(columns=schema.columns[:1]))[0]) == 1
    needs = Schema(columns=(Column(name="at", kind="integer", low=0, high=1),))
    with pytest.raises(ValueError, match=r"at must hold numbers, texts or days, got times of day \(time64\[us\]\)"):
        read_records(table, needs)


def test_rows_that_end_with_a_delimiter_are_whole_and_more_cells_are_an_error(schema, write):
    body = GOOD.replace("\n", ",\n")
    assert len(read_records(write(HEAD + body * 3), schema)[0]) == 3
    with pytest.raises(ValueError, match="must have a name above every cell"):
        read_records(write(HEAD + body + GOOD.replace("\n", ",x\n")), schema)


def test_a_declared_dialect_comes_before_the_schemas(schema, write):
    text = "age;bmi;stage;sex;seen\n61;22,4;II;f;03.02.2001\n"
    german = Dialect(decimal=",", date="DD.MM.YYYY")
    kept = schema.model_copy(update={"dialect": german})
    assert read_records(write(text), schema, dialect=german)[0].values.tolist() == [[61, 22.4, 1, 0, 730_519]]
    assert len(read_records(write(text), kept)[0]) == 1
    assert len(read_records(write(HEAD + GOOD), kept)[0]) == 0
    assert len(read_records(write(HEAD + GOOD), kept, dialect=Dialect())[0]) == 1


@pytest.mark.parametrize(
    ("column", "text", "got"),
    [
        (
            Column(name="x", kind="continuous", low=0, high=99),
            "22,4",
            "a number of another dialect: see --dialect decimal=",
        ),
        (Column(name="x", kind="integer", low=0, high=99), "1.000,0", "a number of another dialect"),
        (Column(name="x", kind="integer", low=0, high=99), "61.5", "something else"),
        (Column(name="x", kind="integer", low=0, high=99), "old", "something else"),
        (Column(name="x", kind="date", low="2000-01-01", high="2020-01-01"), "03.02.2001", "a day of another dialect"),
        (Column(name="x", kind="date", low="2000-01-01", high="2020-01-01"), "2001-02-30", "something else"),
        (Column(name="x", kind="date", low="2000-01-01", high="2020-01-01"), "soon", "something else"),
    ],
)
def test_what_another_dialect_would_take_is_named(write, column, text, got):
    _, (refused,) = read_records(write(f'x\n"{text}"\n'), Schema(columns=(column,)))
    assert f", got {got}" in refused.reason


def test_a_column_of_lists_is_an_error(schema):
    table = pa.table({name: [[1]] for name in schema.names})
    with pytest.raises(ValueError, match="age must hold numbers, texts or days, got list"):
        read_records(table, schema)


def test_another_source_is_an_error(schema):
    with pytest.raises(TypeError, match="got dict"):
        read_records({"age": [1]}, schema)
