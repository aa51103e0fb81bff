"""Hostile and broken files: one clear error, or refused rows; never a crash, never a cell in a message."""

from __future__ import annotations

import gzip
import os
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from veilray.tables import Column, Records, Schema, draft_schema, read_records

HEAD = "age,bmi,stage,sex,seen\n"
GOOD = "61,22.4,II,f,2001-02-03\n"
TEXT = HEAD + GOOD


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got an empty file"),
        (b"\n\n", "blank lines"),
        (HEAD, "one row or more"),
        (HEAD + "\n\n", "one row or more"),
        (GOOD * 3, "distinct names|got none named"),
        ("61,22,1,0,7\n1,2,3,4,5\n", "got a first line of numbers"),
        ("age,age,bmi,stage,sex,seen\n", "distinct names, got 'age' twice"),
        ("age, age,bmi,stage,sex,seen\n", "distinct names, got 'age' twice"),
        (TEXT.encode("utf-16-be"), "NUL byte"),
        ((TEXT + GOOD.replace("f", "ü")).encode("latin-1"), "got another encoding in line 3"),
        ((HEAD + "1,2,I,ü").encode()[:-1], "half a character"),
        (HEAD.encode() + b"61,\0,II,f,2001-02-03\n", "NUL byte in line 2"),
        (gzip.compress(TEXT.encode(), mtime=0), "NUL byte|another encoding"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "NUL byte|another encoding"),
        (HEAD + '61,22.4,II,"f,2001-02-03\n' + GOOD * 3, "close every quote"),
        (HEAD.replace("sex", "x" * 200_000) + GOOD, "a line that is none"),
        ("n," * 600_000 + HEAD + GOOD, "header of at most"),
        (",".join(f"n{n}" for n in range(10_001)) + "\n" + GOOD, "at most 10,000 columns, got 10,001"),
        ("=cmd|' /C calc'!A0,bmi,stage,sex,seen\n" + GOOD, "got none named 'age'"),
    ],
)
def test_a_file_that_is_no_table_is_one_clear_error(schema, write, content, message):
    path = write(content)
    with pytest.raises(ValueError, match=message) as error:
        read_records(path, schema)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError):
        draft_schema(path).schema()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("61,22.4,II,=HYPERLINK(1),2001-02-03", "sex must be one of f, m, got another text"),
        ("61,22.4,II,+f,2001-02-03", "sex must be"),
        ("61,22.4,ii,f,2001-02-03", "stage must be"),
        ('61,22.4,"I\nI",f,2001-02-03', "stage must be"),
        ("61,1e400,II,f,2001-02-03", "bmi must be a number in [5, 100], got a value out of bounds"),
        ("61,inf,II,f,2001-02-03", "bmi must be a number in [5, 100], got something else"),
        ("６１,22.4,II,f,2001-02-03", "age must be"),
        ("6\u200b1,22.4,II,f,2001-02-03", "age must be"),
        ("61,22.4,II,f,99999-01-01", "seen must be"),
        ("61,22.4,II,f,2001-02-30", "seen must be"),
        ("61,22.4,II,f", "row must have 5 cells, got 4"),
        ("61,22.4,II,f,2001-02-03,", "row must have 5 cells, got 6"),
        (f"61,22.4,II,{'f' * 65_537},2001-02-03", "sex must be one of f, m, got more than 65,536 bytes"),
        (f"{'1' * 5_000_000},22.4,II,f,2001-02-03", "age must be"),
        (f"{'9' * 60_000},22.4,II,f,2001-02-03", "age must be a whole number in [0, 120], got a value out of bounds"),
        ("," * 100_000, "row must have 5 cells, got 100001"),
    ],
)
def test_a_bad_row_is_refused_and_its_neighbours_are_read(schema, write, row, reason):
    records, (refused,) = read_records(write(HEAD + GOOD + row + "\n" + GOOD), schema)
    assert records.rows.tolist() == [1, 3]
    assert refused.row == 2
    assert refused.reason.startswith(reason)


def test_the_last_row_needs_no_line_end(schema, write):
    assert len(read_records(write(HEAD + GOOD + GOOD.strip()), schema)[0]) == 2


def test_a_number_below_zero_by_sign_alone_is_zero(schema, write):
    records, _ = read_records(write(HEAD + GOOD.replace("61", "-0")), schema)
    assert not np.signbit(records.values).any()


def test_folders_pipes_and_other_files_are_refused(schema, tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for name, message in (
        ("", "got a folder"),
        ("pipe.csv", "existing file"),
        ("none.csv", "existing file"),
    ):
        with pytest.raises(ValueError, match=message):
            read_records(tmp_path / name, schema)
    (tmp_path / "t.ods").write_text(TEXT)
    with pytest.raises(ValueError, match=r"must end in .csv, .tsv, .txt, .parquet, .xlsx, got .ods"):
        read_records(tmp_path / "t.ods", schema)
    (tmp_path / "t.parquet").write_text(TEXT)
    with pytest.raises(ValueError, match="must be a Parquet file"):
        read_records(tmp_path / "t.parquet", schema)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text('61,;"\n\r\tIf=é.-', max_size=30), max_size=6).map("\n".join))
def test_any_text_below_a_header_is_rows_or_one_error(schema, tmp_path, text):
    path = tmp_path / "any.csv"
    path.write_text(HEAD + GOOD + text, encoding="utf-8", newline="")
    try:
        records, refused = read_records(path, schema)
    except ValueError as error:
        assert "close every quote" in str(error)
        return
    rows = [*records.rows.tolist(), *(row.row for row in refused)]
    assert sorted(rows) == list(range(1, len(rows) + 1))


@pytest.mark.parametrize("count", [100_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_a_million_rows_of_fifteen_columns_take_less_than_a_minute_of_one_core(tmp_path, count):
    numbers = [Column(name=f"x{n}", kind="continuous", low=-10, high=10, decimals=4) for n in range(6)]
    counts = [Column(name=f"n{n}", kind="integer", low=0, high=9_999) for n in range(4)]
    names = [Column(name=f"k{n}", kind="categorical", levels=("a", "b", "c")) for n in range(3)]
    days = [Column(name=f"d{n}", kind="date", low="1950-01-01", high="2020-01-01") for n in range(2)]
    schema = Schema(columns=[*numbers, *counts, *names, *days])
    ends = np.array([column.span for column in schema.columns])
    values = np.random.default_rng(0).uniform(ends[:, 0], ends[:, 1], (count, 15))
    Records.of(schema, values).write_csv(tmp_path / "big.csv")
    start = time.process_time()
    records, refused = read_records(tmp_path / "big.csv", schema)
    assert time.process_time() - start < 60 * count / 1_000_000
    assert (len(records), len(refused)) == (count, 0)
