"""Drafts: what they guess from names and types, and that nothing in them comes from a single record."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

from veilray.tables import Dialect, Draft, DraftColumn, Schema, draft_schema, read_records


def table(write, **columns):
    rows = zip(*columns.values(), strict=True)
    return write("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n")


def drafted(write, **columns):
    draft = draft_schema(table(write, **columns))
    return {column.name: column for column in draft.columns}, dict(draft.left_out), draft


def test_known_names_get_public_bounds_whatever_the_table_holds(write):
    columns, _, _ = drafted(write, age=range(30, 70), BMI=[21.5] * 40)
    assert (columns["age"].kind, columns["age"].low, columns["age"].high) == ("integer", 0, 120)
    assert (columns["BMI"].kind, columns["BMI"].low, columns["BMI"].high) == ("continuous", 5, 100)


def test_bounds_of_unknown_names_stay_open_and_the_text_asks_for_them(write):
    _, _, draft = drafted(write, marker=[n * 7 % 31 for n in range(40)], score=[n / 7 for n in range(40)])
    assert draft.open_columns == ("marker", "score")
    text = draft.to_text()
    assert text.count("# CONFIRM: give the public bounds") == 4
    with pytest.raises(ValueError, match=r"columns\[0\].low must be given for kind integer \(marker\)"):
        draft.schema()


def test_a_completed_draft_reads_its_table(write, tmp_path):
    path = table(write, mark=[n * 7 % 31 for n in range(40)], sex=["F", "M"] * 20)
    draft = draft_schema(path)
    filled = draft.to_text().replace("low:  #", "low: 0  #").replace("high:  #", "high: 31  #")
    (tmp_path / "s.yaml").write_text(filled)
    schema = Schema.from_yaml(tmp_path / "s.yaml")
    assert not schema.confirmed
    assert len(read_records(path, schema)[0]) == 40


def test_known_bounds_that_do_not_fit_the_unit_are_not_taken(write):
    columns, _, _ = drafted(write, age=[f"-0.{n:02}" for n in range(1, 41)])
    assert columns["age"].is_open


def test_levels_that_few_rows_show_are_not_named(write):
    columns, _, draft = drafted(write, ward=["north"] * 30 + ["south"] * 20 + ["vip"] * 19)
    assert columns["ward"].levels == ("north", "south")
    assert "vip" not in draft.to_text()
    assert "read from this table" in draft.to_text()


def test_levels_that_few_patients_show_are_not_named_however_many_rows_they_have(write):
    ward = ["north"] * 30 + ["south"] * 20 + ["vip"] * 60 + ["back again"] * 20
    patient = [*range(50), *[777] * 60, *["7", "7.0", " 7", "8"] * 5]
    columns, _, draft = drafted(write, patient=patient, ward=ward)
    assert columns["ward"].levels == ("north", "south")
    assert "20 patients or more show each" in draft.to_text()
    assert "vip" not in draft.to_text()
    columns, _, draft = drafted(write, ward=ward)
    assert "vip" in columns["ward"].levels, "nothing says whose the rows are"


def test_a_draft_says_that_it_was_drafted_from_rows_until_a_person_says_more(write):
    _, _, draft = drafted(write, age=range(30, 70))
    assert draft.schema().drafted_from == "private rows"
    assert draft.schema().provenance == "drafted from rows that are not public, confirmed by nobody"
    assert "drafted_from: private rows  # CONFIRM" in draft.to_text()


def test_levels_stand_in_an_order_that_tells_no_frequency(write):
    columns, _, _ = drafted(write, code=[3] * 20 + [10] * 40 + [1] * 30)
    assert columns["code"].levels == ("1", "3", "10")


def test_at_most_fifty_levels_are_named(write):
    columns, _, _ = drafted(write, ward=[f"w{n:02}" for n in range(60) for _ in range(20)])
    assert len(columns["ward"].levels) == 50


def test_a_usual_coding_is_given_whole(write):
    columns, _, _ = drafted(write, sex=["F"] * 40, dead=[0] * 39 + [1])
    assert columns["sex"].levels == ("F", "M")
    assert columns["dead"].levels == ("0", "1")


def test_codes_below_zero_are_whole_numbers(write):
    columns, _, _ = drafted(write, shift=[-1, 0, 1, 2] * 20)
    assert columns["shift"].kind == "integer"


def test_days_are_dates_with_open_bounds(write):
    columns, _, _ = drafted(write, seen=[f"2001-01-{n:02}" for n in range(1, 29)])
    assert columns["seen"].kind == "date"
    assert columns["seen"].is_open


def test_what_points_at_a_person_is_no_column(write):
    columns, left_out, draft = drafted(
        write,
        PatientID=["p1", "p2"] * 20,
        email=["a@b.c"] * 40,
        visit_id=[1, 2] * 20,
        note=[f"text {n}" for n in range(40)],
        number=range(1_000, 1_040),
        sex=["F", "M"] * 20,
    )
    assert draft.patient == "PatientID"
    assert list(columns) == ["sex"]
    assert list(left_out) == ["email", "visit_id", "note", "number"]


def test_a_name_that_could_do_harm_is_left_out_and_cannot_leave_its_comment(write):
    path = write('"=a\nformat: evil",sex\n' + "1,F\n2,M\n" * 20)
    draft = draft_schema(path)
    assert draft.left_out[0][0] == "=a\nformat: evil"
    assert draft.schema().names == ("sex",)


def test_cells_that_may_be_missing_are_told_by_twenty_rows(write):
    columns, _, _ = drafted(write, a=[""] * 20 + [1.5, 2.5] * 20, b=["NA"] * 19 + [1.5] + [1.5, 2.5] * 20)
    assert columns["a"].missing
    assert not columns["b"].missing
    assert "lack it" in columns["b"].notes[-1]


def test_a_table_of_identifiers_alone_is_an_error(write):
    with pytest.raises(ValueError, match="identifiers and free text only"):
        draft_schema(table(write, id=range(30), name=["x"] * 30))


def test_every_column_has_a_comment_that_says_what_to_confirm():
    column = DraftColumn("a", "integer", 0, 9, (), False, "", ("kind and unit",))
    lines = Draft((column,), None, ()).to_text().splitlines()
    assert lines[lines.index('  - name: "a"') - 1] == "  # CONFIRM: kind and unit"


# The dialect.


def drafted_text(write, text, **options):
    return draft_schema(write(text), **options)


def lines(*columns, header="a;b", delimiter=";"):
    return "\n".join([header, *(delimiter.join(map(str, row)) for row in zip(*columns, strict=True))]) + "\n"


def test_a_german_table_shows_its_dialect(write):
    numbers = [f"{n}".replace(".", ",") for n in (n / 8 for n in range(40))]
    days = [f"{n % 28 + 1:02}.03.2001" for n in range(40)]
    draft = drafted_text(write, "sep=;\n" + lines(numbers, days))
    assert draft.dialect.told() == {"delimiter": ";", "decimal": ",", "date": "DD.MM.YYYY"}
    assert draft.questions == ()
    assert [column.kind for column in draft.columns] == ["continuous", "date"]


def test_a_plain_table_has_the_default_dialect_and_its_missing_words_are_listed(write):
    draft = drafted_text(write, lines(range(40), ["F", "M"] * 20, header="age,sex", delimiter=","))
    assert draft.dialect == Dialect()
    assert draft.schema().dialect == Dialect()
    assert '"NULL"' in draft.to_text()


def test_days_that_can_be_read_two_ways_are_left_open(write):
    text = lines([f"{n % 12 + 1:02}/05/2020" for n in range(40)], range(40), header="a;age")
    draft = drafted_text(write, text)
    (question,) = draft.questions
    assert (question.entry, question.answers) == ("date", ("DD/MM/YYYY", "MM/DD/YYYY"))
    bounds = draft.to_text().replace("give the public bounds", "").replace("low:  #", "low: 2000-01-01  #")
    with pytest.raises(ValueError, match=r"dialect\.date must be a valid string, got nothing"):
        Schema.from_text(bounds.replace("high:  #", "high: 2030-01-01  #"))
    assert "DD/MM/YYYY or MM/DD/YYYY" in draft.to_text()
    assert drafted_text(write, text, dialect="date=MM/DD/YYYY").questions == ()


def test_one_day_can_settle_the_format(write):
    draft = drafted_text(write, lines(["01/02/2020"] * 39 + ["31/03/2020"], range(40)))
    assert (draft.dialect.date, draft.questions) == ("DD/MM/YYYY", ())


def test_groups_of_three_digits_are_a_question_and_another_column_answers_it(write):
    groups = [f"{n % 9 + 1},{n:03}" for n in range(40)]
    (question,) = drafted_text(write, lines(groups, range(40))).questions
    assert question.entry == "decimal"
    draft = drafted_text(write, lines(groups, [f"{n},5" for n in range(40)]))
    assert (draft.dialect.decimal, draft.dialect.thousands, draft.questions) == (",", "", ())
    draft = drafted_text(write, lines(groups, [f"{n}.5" for n in range(40)]))
    assert (draft.dialect.decimal, draft.dialect.thousands, draft.questions) == (".", ",", ())


def test_a_word_in_a_column_of_numbers_is_a_question(write):
    draft = drafted_text(write, lines([*(n / 8 for n in range(40)), *["unknown"] * 20], ["x", "y"] * 30))
    (question,) = draft.questions
    assert (question.entry, question.answers) == ("missing", ("unknown",))
    assert draft.columns[0].kind == "continuous"
    assert draft.columns[0].missing


def test_an_encoding_that_is_not_utf8_is_a_question(write):
    draft = drafted_text(write, lines(["f\u00fcnf", "zw\u00f6lf"] * 20, range(40)).encode("cp1252"))
    assert (draft.dialect.encoding, [one.entry for one in draft.questions]) == ("cp1252", ["encoding"])
    assert draft.columns[0].levels == ("f\u00fcnf", "zw\u00f6lf")


def test_two_delimiters_that_fit_are_a_question(write):
    (question,) = drafted_text(write, "a,b;c,d\n" + "1,2;3,4\n2,3;4,5\n" * 30).questions
    assert (question.entry, question.answers) == ("delimiter", ("comma", "semicolon"))


def test_a_pipe_is_drafted(write):
    text = lines(range(40), ["F", "M"] * 20, header="age|sex", delimiter="|")
    assert drafted_text(write, text).dialect.delimiter == "|"


def test_columns_that_no_schema_has_are_left_out_with_their_reason():
    frame = pd.DataFrame(
        {
            "seen": [dt.time(8, n) for n in range(40)],
            "series": [[1, 2]] * 40,
            "when": pd.date_range("2001-01-01 08:00", periods=40),
            "gone": [None] * 40,
            "same": [5] * 40,
            "sex": ["F", "M"] * 20,
        }
    )
    draft = draft_schema(frame)
    assert [column.name for column in draft.columns] == ["sex"]
    reasons = dict(draft.left_out)
    assert "got times of day" in reasons["seen"]
    assert "several values in a cell" in reasons["series"]
    assert "time of day" in reasons["when"]
    assert "all cells are missing" in reasons["gone"]
    assert "a constant tells nothing" in reasons["same"]
