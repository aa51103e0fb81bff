from __future__ import annotations

import datetime as dt
import sys
import zipfile

import pytest

from veilray.text import Dialect
from veilray.text.workbook import Workbook


@pytest.fixture
def book(tmp_path):
    openpyxl = pytest.importorskip("openpyxl", reason="needs pip install 'veilray[excel]'")

    def of(rows, name="t.xlsx", then=None):
        made = openpyxl.Workbook()
        for row in rows:
            made.active.append(row)
        if then is not None:
            then(made)
        made.save(tmp_path / name)
        return tmp_path / name

    return of


def test_cells_become_texts_of_the_dialect(book):
    rows = [
        [None, "day", "number", "yes", "code", "when"],
        [0, dt.datetime(2001, 2, 3), 22.5, True, "#N/A", dt.datetime(2001, 2, 3, 8)],
        [1, None, 7.0, False, " x ", None],
    ]
    read = Workbook(book(rows), Dialect(decimal=","))
    assert read.names == ("day", "number", "yes", "code", "when")
    assert list(read.rows()) == [
        ["0", "2001-02-03", "22,5", "True", "#N/A", "2001-02-03 08:00:00"],
        ["1", "", "7", "False", "x", ""],
    ]


def test_empty_rows_count_inside_a_table_and_not_below_it(book):
    read = Workbook(book([["a", "b"], [1, 2], [], [3, None], [None, None], [""]]))
    assert list(read.rows()) == [["1", "2"], ["", ""], ["3", ""]]


def test_a_sheet_is_chosen_by_its_name(book):
    path = book([["a"], [1]], then=lambda made: made.create_sheet("second").append(["b"]))
    assert Workbook(path).names == ("a",)
    assert Workbook(path, Dialect(sheet="second")).names == ("b",)
    with pytest.raises(ValueError, match="sheet must be one of 'Sheet', 'second', got 'third'"):
        Workbook(path, Dialect(sheet="third"))


def test_a_formula_without_a_stored_value_is_refused(book):
    with pytest.raises(ValueError, match="got a formula that Excel stored no value of, in row 1 of column 'b'"):
        list(Workbook(book([["a", "b"], [1, "=A2+1"]])).rows())


def test_merged_names_are_refused(book):
    with pytest.raises(ValueError, match="got merged cells in its first row"):
        Workbook(book([["a", None, "c"], [1, 2, 3]], then=lambda made: made.active.merge_cells("A1:B1")))


def test_cells_beyond_the_names_are_kept_to_be_refused(book):
    assert list(Workbook(book([["a"], [1, 2]])).rows()) == [["1", "2"]]


def test_what_unpacks_to_too_much_is_refused_before_it_is_parsed(book, tmp_path):
    path = book([["a"], [1]])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/bomb.bin", bytes(50 * 2**20))
    with pytest.raises(ValueError, match="must unpack to at most"):
        Workbook(path)


def test_declared_entities_are_refused(book, tmp_path):
    path = book([["a"], [1]])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("xl/more.xml", '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aa">]><x>&a;</x>')
    with pytest.raises(ValueError, match=r"must declare no XML entities, got some in 'xl/more.xml'"):
        Workbook(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"a,b\n1,2\n", b"\xd0\xcf\x11\xe0 an old .xls"])
def test_what_is_no_workbook_is_one_sentence(book, tmp_path, content):
    (tmp_path / "x.xlsx").write_bytes(content)
    with pytest.raises(ValueError, match="must be an Excel workbook"):
        Workbook(tmp_path / "x.xlsx")


def test_without_the_extra_the_error_names_the_cure(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ImportError, match=r"pip install 'veilray\[excel\]'"):
        Workbook(tmp_path / "x.xlsx")
