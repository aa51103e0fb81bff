"""Records: choosing rows, and the forms in which they leave."""

from __future__ import annotations

import math

import numpy as np
import pytest

from veilray.tables import Records, read_records

VALUES = [[61, 22.44, 1, 0, 730_200], [7, math.nan, math.nan, 1, 730_201], [90, 30.26, 2, 1, 730_202]]


@pytest.fixture
def records(schema):
    return Records.of(schema, VALUES)


def test_rows_are_chosen_by_slice_places_and_mask(records):
    assert records[1:].rows.tolist() == [2, 3]
    assert records[np.array([2, 0])].rows.tolist() == [3, 1]
    assert records[np.array([True, False, True])].column("age").tolist() == [61, 90]
    with pytest.raises(TypeError, match="got one place"):
        records[0]


def test_patients_follow_their_rows(schema):
    records = Records(schema, np.array(VALUES), np.arange(1, 4), ("a", "b", "c"))
    assert records[[2, 0]].patients == ("c", "a")
    assert records.only(["sex"]).patients == ("a", "b", "c")


def test_only_keeps_the_order_of_the_schema(records):
    part = records.only(["sex", "age"])
    assert part.schema.names == ("age", "sex")
    assert part.values.tolist() == [[61, 0], [7, 1], [90, 1]]


def test_texts_are_as_a_file_holds_them(records):
    assert records.texts("stage") == ["II", "", "III"]
    assert records.texts("bmi") == ["22.4", "", "30.3"]
    assert records.texts("seen")[0] == "2000-03-21"


@pytest.mark.parametrize("values", [[[1.0, 2.0]], [1.0] * 5])
def test_values_of_another_shape_are_refused(schema, values):
    with pytest.raises(ValueError, match=r"values must be \(n, 5\)"):
        Records.of(schema, values)


def test_pandas_gets_the_types_of_the_schema(records):
    frame = records.to_pandas()
    assert [str(kind) for kind in frame.dtypes] == ["int64", "float64", "category", "category", "datetime64[s]"]
    assert frame["stage"].cat.ordered
    assert list(frame["sex"].cat.categories) == ["f", "m"]
    assert frame["bmi"][0] == 22.44
    assert frame.isna().sum().sum() == 2


def test_a_whole_number_may_be_missing_in_pandas(schema):
    column = schema.column("age").model_copy(update={"missing": True})
    frame = Records.of(schema.model_copy(update={"columns": (column,)}), [[3], [math.nan]]).to_pandas()
    assert str(frame["age"].dtype) == "Int64"
    assert frame["age"].isna().tolist() == [False, True]


@pytest.mark.parametrize("form", ["csv", "parquet", "arrow", "pandas"])
def test_every_form_reads_back_as_what_was_snapped(records, schema, tmp_path, form):
    path = tmp_path / f"out.{form}"
    if form == "csv":
        records.write_csv(path)
    elif form == "parquet":
        records.write_parquet(path)
    source = {"arrow": records.snapped().to_arrow, "pandas": records.snapped().to_pandas}.get(form, lambda: path)()
    again, refused = read_records(source, schema)
    assert refused == []
    np.testing.assert_array_equal(again.values, records.snapped().values)


def test_what_no_column_allows_is_never_written(schema, tmp_path):
    wild = Records.of(schema, [[math.nan, math.inf, -9, 99, -math.inf], [1e300, -1e300, 0.5, math.nan, 1e12]])
    wild.write_csv(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines()[1:] == [
        "60,100.0,I,m,2000-01-01",
        "120,5.0,I,f,2020-12-31",
    ]


def test_no_rows_are_a_header(schema, tmp_path):
    none = Records.of(schema, np.empty((0, 5)))
    none.write_csv(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "age,bmi,stage,sex,seen\n"
    assert len(none.to_pandas()) == none.to_arrow().num_rows == 0
