"""One table, one result: whatever dialect its file has, and from a data frame, Arrow, Parquet and a workbook alike."""

from __future__ import annotations

import datetime as dt
import unicodedata

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from veilray.images import Collection, Reading, write_image
from veilray.tables import Column, Dialect, Schema, read_records
from veilray.text.dialect import MISSING_WORDS

COLUMNS = (
    Column(name="Größe", kind="continuous", low=0, high=1_000_000, missing=True, decimals=2),
    Column(name="visits", kind="integer", low=0, high=1_000_000, missing=True),
    Column(name="seen", kind="date", low="1990-01-01", high="2030-12-31", missing=True),
    Column(name="smokes", kind="categorical", levels=("False", "True"), missing=True),
    Column(name="code", kind="categorical", levels=("1", "2", "3"), missing=True),
    Column(name="Straße", kind="categorical", levels=("Öde", "Übel"), missing=True),
)
SCHEMA = Schema(confirmed=True, patient="Kind", columns=COLUMNS)
NAMES = ("Kind", *SCHEMA.names)
ROWS = st.tuples(
    st.sampled_from(["Müller", "Özil", "7", "007"]),
    st.none() | st.integers(0, 10**8).map(lambda n: n / 100),
    st.none() | st.integers(0, 10**6),
    st.none() | st.dates(dt.date(1990, 1, 1), dt.date(2030, 12, 31)),
    st.none() | st.booleans(),
    st.none() | st.sampled_from([1, 2, 3]),
    st.none() | st.sampled_from(["Öde", "Übel"]),
)


@st.composite
def dialects(draw):
    decimal = draw(st.sampled_from([".", ","]))
    return Dialect(
        delimiter=draw(st.sampled_from([",", ";", "\t", "|"])),
        decimal=decimal,
        thousands=draw(st.sampled_from([sign for sign in ("", ",", ".", "'", " ") if sign != decimal])),
        date=draw(st.sampled_from(["YYYY-MM-DD", "DD.MM.YYYY", "DD/MM/YYYY", "MM/DD/YYYY", "YYYYMMDD"])),
        encoding=draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252", "mac-roman"])),
    )


@st.composite
def spellings(draw, dialect):
    """How a file writes its cells: normal form, missing word, groups of digits, fractions, true and false."""
    form = draw(st.sampled_from(["NFC"] if dialect.encoding in ("cp1252", "mac-roman") else ["NFC", "NFD"]))
    missing = draw(st.sampled_from(["", *MISSING_WORDS]))
    gaps = draw(st.booleans())  # a table with gaps writes 7 as 7.0
    truth = draw(st.sampled_from([("False", "True"), ("false", "true"), ("FALSE", "TRUE"), ("0", "1")]))

    def number(value, decimals):
        whole, _, rest = f"{value:,.{decimals}f}".partition(".")
        return whole.replace(",", dialect.thousands) + (dialect.decimal + rest if rest else "")

    def spell(value):
        if value is None:
            return missing
        if isinstance(value, bool):
            return truth[value]
        if isinstance(value, float):
            return number(value, 2)
        if isinstance(value, int):
            return f"{value}{dialect.decimal}0" if gaps else number(value, 0)
        if isinstance(value, dt.date):
            written = dialect.date.replace("YYYY", f"{value.year:04}").replace("MM", f"{value.month:02}")
            return written.replace("DD", f"{value.day:02}")
        return unicodedata.normalize(form, value)

    return spell


def written(rows, header, dialect, spell):
    lines = [dialect.delimiter.join(f'"{spell(cell)}"' for cell in row) for row in [header, *rows]]
    return ("\r\n".join(lines) + "\r\n").encode(dialect.encoding)


def frame_of(rows):
    frame = pd.DataFrame(rows, columns=list(NAMES))
    frame["seen"] = pd.to_datetime(frame["seen"])
    return frame.astype({"Größe": "float64", "visits": "float64", "smokes": "boolean", "code": "float64"})


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_table_is_one_table_in_every_dialect_and_form(tmp_path, data):
    rows = data.draw(st.lists(ROWS, min_size=1, max_size=6))
    dialect = data.draw(dialects())
    path = tmp_path / "t.csv"
    path.write_bytes(written(rows, NAMES, dialect, data.draw(spellings(dialect))))
    frame = frame_of(rows)
    arrow = pa.Table.from_pandas(frame.astype({"visits": "Int64", "code": "Int64"}), preserve_index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    first, refused = read_records(path, SCHEMA, dialect=dialect)
    assert refused == []
    assert first.patients == tuple(row[0] for row in rows)
    for source in (frame, arrow, tmp_path / "t.parquet"):
        for spoken in (Dialect(), dialect):
            again, refused = read_records(source, SCHEMA, dialect=spoken)
            assert refused == []
            assert again.patients == first.patients
            np.testing.assert_array_equal(again.values, first.values)


def test_a_workbook_is_the_same_table(tmp_path):
    pytest.importorskip("openpyxl", reason="needs pip install 'veilray[excel]'")
    rows = [("Müller", 22.5, 7, dt.date(2001, 2, 3), True, 1, "Öde"), ("007", None, None, None, None, None, None)]
    frame = frame_of(rows)
    frame.to_excel(tmp_path / "t.xlsx", index=False)
    ours, refused = read_records(tmp_path / "t.xlsx", SCHEMA)
    assert refused == []
    assert ours.patients == ("Müller", "007")
    np.testing.assert_array_equal(ours.values, read_records(frame, SCHEMA)[0].values)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    (folder / "NORMAL").mkdir()
    for name in ("0.png", "1.png", unicodedata.normalize("NFD", "Größe.png")):
        write_image(folder / "NORMAL" / name, np.zeros((1, 4, 4), np.uint8))
    return folder


HEADER = st.tuples(
    st.sampled_from(["path", "Path", "file", "Filename", "Image Index"]),
    st.sampled_from(["patient", "Patient ID", "subject_id", "PATIENT"]),
    st.sampled_from(["label", "Class", "labels", "target"]),
    st.just("bmi"),
)
FACTS = st.tuples(
    st.none() | st.sampled_from(["Müller", "7", "P 1"]),
    st.none() | st.sampled_from(["NORMAL", "Öde", "A|B"]),
    st.none() | st.sampled_from([22.25, 1000.25]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_manifest_is_one_manifest_in_every_dialect_and_form(study, data):
    facts = data.draw(st.lists(FACTS, min_size=3, max_size=3))
    names = [f"NORMAL/{name}" for name in ("0.png", "1.png", "Größe.png")]
    rows = [(name, *row) for name, row in zip(names, facts, strict=True)]
    dialect = data.draw(dialects())
    header, slash = data.draw(HEADER), data.draw(st.sampled_from("/\\"))
    path = study / f"m{data.draw(st.sampled_from(['.csv', '.tsv', '.txt']))}"
    spelt = [(row[0].replace("/", slash), *row[1:]) for row in rows]
    path.write_bytes(written(spelt, header, dialect, data.draw(spellings(dialect))))
    pd.DataFrame(rows, columns=["path", "patient", "label", "bmi"]).to_parquet(study / "m.parquet")

    def facts_in(manifest, dialect):
        with Collection.open(manifest, reading=Reading(dialect=dialect)) as collection:
            assert collection.quarantine == []
            return [(ref.source, ref.patient, ref.label, dict(ref.conditions)) for ref in collection.refs]

    ours = facts_in(path, dialect)
    assert ours == facts_in(study / "m.parquet", None)
    for read, (_, patient, label, bmi) in zip(ours, rows, strict=True):
        assert read[1:3] == (patient, label)
        assert {name: float(text) for name, text in read[3].items()} == ({} if bmi is None else {"bmi": bmi})
