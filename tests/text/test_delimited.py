from __future__ import annotations

import csv
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from veilray.text import Dialect
from veilray.text.delimited import DelimitedText


@pytest.fixture
def opened(tmp_path):
    def of(content, **entries):
        (tmp_path / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        return DelimitedText(tmp_path / "t.csv", Dialect(**entries))

    return of


@pytest.mark.parametrize(
    ("text", "delimiter", "names"),
    [
        ("a,b\n1,2\n", ",", ("a", "b")),
        ("a;b\n1,5;2\n", ";", ("a", "b")),
        ("Gr\u00f6\u00dfe, cm;Alter\n160;34\n", ";", ("Gr\u00f6\u00dfe, cm", "Alter")),
        ("a\tb, c, d\n1\t2\n", "\t", ("a", "b, c, d")),
        ("sep=;\r\na;b,c\r\n1;2,5\r\n", ";", ("a", "b,c")),
        ('"sep=|"\na|b\n1|2\n', "|", ("a", "b")),
        ("# root: /x,,\r\nsep=;\r\na;b\r\n1;2\r\n", ";", ("a", "b")),
        (",a,b\n0,1,2\n", ",", ("a", "b")),
        ("Unnamed: 0,a,b\n0,1,2\n", ",", ("a", "b")),
        ("only\n1\n", ",", ("only",)),
    ],
)
def test_header_and_first_rows_tell_the_delimiter(opened, text, delimiter, names):
    text = opened(text)
    assert (text.delimiter, text.names) == (delimiter, names)


def test_rows_that_end_with_a_delimiter_have_no_cell_there(opened):
    text = opened("a,b\n1,2,\n3,4,\n")
    assert (text.names, text.width) == (("a", "b"), 3)
    assert list(text.rows()) == [["1", "2", ""], ["3", "4", ""]]
    assert opened("a,b\n1,2,3\n").width == 2


def test_a_blank_line_is_a_missing_cell_where_there_is_one_column(opened):
    assert list(opened('a\n1\n\n2\n""\n\n\n').rows()) == [["1"], [""], ["2"], [""]]
    assert list(opened("a\n\n\n").rows()) == []
    assert list(opened("a,b\n1,2\n\n3,4\n\n").rows()) == [["1", "2"], ["3", "4"]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_mark_tells_the_encoding(opened, encoding):
    text = opened("a,M\u00fcller\n1,\u00fc\n".encode(encoding))
    assert (text.names, list(text.rows())) == (("a", "M\u00fcller"), [["1", "\u00fc"]])


def test_another_encoding_is_declared_or_an_error_with_its_cure(opened):
    content = "a,M\u00fcller\n1,\u00fc\n".encode("cp1252")
    with pytest.raises(ValueError, match=r"must be UTF-8, got another encoding in line 1.*--dialect encoding=NAME"):
        opened(content)
    assert opened(content, encoding="cp1252").names == ("a", "M\u00fcller")


def test_names_in_two_normal_forms_are_one_name(opened):
    with pytest.raises(ValueError, match="distinct names"):
        opened("M\u00fcller,Mu\u0308ller\n1,2\n")


_CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=["Cc"]), max_size=8)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(_CELLS, min_size=2, max_size=2), max_size=8),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_is_written_in_a_dialect_is_read_in_it(opened, rows, delimiter, encoding, end):
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    text = opened(buffer.getvalue().encode(encoding), delimiter=delimiter, encoding=encoding)
    assert list(text.rows()) == rows
