"""The transformer: scikit-learn's own checks, the way there and back, and that only a release leaves the house."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from veilray import TableCADP
from veilray.errors import Refused
from veilray.releases import open_table
from veilray.tables import Column, Schema

SCHEMA = Schema(
    confirmed=True,
    patient="who",
    columns=(
        Column(name="age", kind="integer", low=0, high=120),
        Column(name="bmi", kind="continuous", low=5, high=100, missing=True, decimals=1),
        Column(name="sex", kind="categorical", levels=("f", "m")),
        Column(name="ill", kind="categorical", levels=("no", "yes")),
    ),
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a hundred tiny fits, none of which must outlive a power cut


STATED = {"training_data": "public", "statement": "made up people"}


def tiny(schema: Any = None, **options: Any) -> TableCADP:
    return TableCADP(schema, **{"couplings": 2, "width": 4, "epochs": 1, "random_state": 0, **STATED, **options})


def people(count: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age = rng.integers(20, 90, count)
    bmi = np.where(rng.random(count) < 0.1, np.nan, rng.normal(25, 4, count).round(1))
    sex, ill = rng.choice(["f", "m"], count), np.where(age + rng.normal(0, 9, count) > 55, "yes", "no")
    return pd.DataFrame({"who": [f"p{n}" for n in range(count)], "age": age, "bmi": bmi, "sex": sex, "ill": ill})


@parametrize_with_checks([TableCADP(couplings=2, width=4, epochs=1, **STATED)])
def test_scikit_learn_takes_it_for_a_transformer(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_rows_come_back_from_their_latents() -> None:
    rows = people(80)
    flow = tiny(SCHEMA, condition="ill", epochs=3).fit(rows)
    latents = flow.transform(rows)
    back = flow.inverse_transform(latents, rows)
    assert latents.shape == (80, 3)
    assert back.dtype == object
    framed = flow.set_output(transform="pandas").inverse_transform(latents, rows[["ill"]])
    pd.testing.assert_frame_equal(framed, rows.drop(columns="who"), check_dtype=False, check_categorical=False)
    assert framed.dtypes["sex"] == pd.CategoricalDtype(["f", "m"])
    untold = flow.inverse_transform(latents)
    assert untold["ill"].isna().all()
    assert not untold["age"].isna().any()


def test_numbers_come_back_as_numbers_of_their_precision() -> None:
    rows = np.random.default_rng(1).normal(size=(60, 3)) * [1e-3, 1, 1e6]
    flow = tiny().fit(rows)
    back = flow.inverse_transform(flow.transform(rows))
    assert back.dtype == np.float64
    assert np.abs((back - rows) / np.ptp(rows, axis=0)).max() < 1e-5


def test_what_is_not_kept_is_the_priors_mean() -> None:
    rows = people(80)
    flow = tiny(SCHEMA, condition="ill", keep=1).fit(rows)
    assert flow.transform(rows).shape == (80, 1)
    assert list(flow.get_feature_names_out()) == ["direction0"]
    same = [flow.inverse_transform([[0.5]], [["yes"]]) for _ in range(2)]
    assert (same[0] == same[1]).all()


def test_the_latent_follows_the_conditions_and_the_random_state() -> None:
    rows = people(80)
    flow = tiny(SCHEMA, condition="ill").fit(rows)
    other = rows.assign(ill=np.where(rows["ill"] == "yes", "no", "yes"))
    assert not np.allclose(flow.transform(rows), flow.transform(other))
    np.testing.assert_array_equal(flow.transform(rows), clone(flow).fit(rows).transform(rows))
    assert not np.allclose(flow.transform(rows), clone(flow).set_params(random_state=1).fit(rows).transform(rows))


@pytest.mark.parametrize("shown", [pa.Table.from_pandas, lambda rows: rows], ids=["arrow", "pandas"])
def test_every_container_of_rows_gives_the_same_latents(shown: Callable[[pd.DataFrame], Any]) -> None:
    rows = people(80)
    flow = tiny(SCHEMA).fit(shown(rows))
    assert list(flow.feature_names_in_) == list(SCHEMA.names)
    expected = tiny(SCHEMA).fit(rows).transform(rows)
    np.testing.assert_array_equal(flow.transform(shown(rows)), expected)
    moved = rows[["sex", "ill", "age", "bmi"]].assign(further="does not count")
    np.testing.assert_array_equal(flow.transform(moved), expected)


def test_a_schema_is_read_off_public_rows_of_any_kind() -> None:
    rows = people(60).drop(columns="who").assign(seen=pd.Timestamp("2020-01-01") + pd.to_timedelta(range(60), "D"))
    rows["old"] = rows["age"] > 60
    schema = tiny().fit(rows).schema_
    kinds = {column.name: column.kind for column in schema.columns}
    assert kinds["age"] == "integer"
    assert kinds["bmi"] == "continuous"
    assert kinds["seen"] == "date"
    assert {kinds[name] for name in ("sex", "ill", "old")} == {"categorical"}
    assert [column.name for column in schema.columns if column.missing] == ["bmi"]
    assert schema.column("age").span[0] < rows["age"].min()


@pytest.mark.parametrize(
    "stated",
    [
        {"training_data": "not covered", "statement": "a ward"},
        {"training_data": "other patients", "statement": "a ward"},
        {"training_data": "public", "statement": " "},
        {},
    ],
)
def test_no_schema_is_read_off_rows_that_nobody_called_public(stated: dict[str, str]) -> None:
    rows = people(60)[["age", "sex"]].assign(income=[*range(59), 1_234_567], sex=["f"] * 59 + ["one of a kind"])
    plain = {"training_data": "not covered", "statement": "", **stated}
    with pytest.raises(Refused, match="schema must be given for rows that are not declared public") as caught:
        tiny(**plain).fit(rows)
    for cure in ("veilray check TABLE", 'training_data="public"', "statement"):
        assert cure in str(caught.value)
    assert "1234567" not in str(caught.value)
    schema = Schema(confirmed=True, columns=(Column(name="age", kind="integer", low=0, high=120), SCHEMA.column("bmi")))
    if plain["training_data"] == "public":
        return  # without a statement it is refused whatever the schema
    assert tiny(schema, **plain).fit(people(60)).schema_ == schema, "a person has confirmed it"


def test_a_schema_that_was_read_off_says_so_and_is_confirmed_by_nobody(tmp_path: Path) -> None:
    flow = tiny().fit(people(60)[["age", "sex"]])
    assert (flow.schema_.drafted_from, flow.schema_.confirmed) == ("public rows", False)
    opened = flow.release(people(30, 1)[["age", "sex"]], 1, tmp_path / "out", ledger=tmp_path / "ledger")
    assert (opened.schema.drafted_from, opened.schema.confirmed) == ("public rows", False)
    for name in ("README", "DATASET.md"):
        text = " ".join((tmp_path / "out" / name).read_text().split())
        assert "the schema, which leaves with the rows: drafted from public rows, confirmed by nobody" in text
    flow.save(tmp_path / "model")
    assert (TableCADP.load(tmp_path / "model").transform([[50, "f"]]) == flow.transform([[50, "f"]])).all()


def test_rows_beyond_a_schema_that_was_read_off_count_as_its_bounds() -> None:
    rows = people(60)[["age", "sex"]]
    flow = tiny().fit(rows)
    low, high = (int(end) for end in flow.schema_.column("age").span)
    outside = pd.DataFrame({"age": [low - 50, high + 50], "sex": ["f", "never seen"]})
    at_bounds = pd.DataFrame({"age": [low, high], "sex": ["f", "f"]})
    np.testing.assert_array_equal(flow.transform(outside)[0], flow.transform(at_bounds)[0])
    assert np.isfinite(flow.transform(outside)).all()


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (["only"] * 30, "levels must be 2 to 256"),
        ([None] * 30, "X must have a value in every column, got none in strange"),
        (["-a", "b"] * 15, "must not begin with = "),
    ],
)
def test_a_column_that_no_schema_describes_is_named(column: list[Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        tiny().fit(people(30).assign(strange=column))


def test_a_row_that_the_given_schema_refuses_has_no_latent() -> None:
    rows = people(60)
    flow = tiny(SCHEMA).fit(rows)
    rows.loc[3, "age"] = 130
    tiny(SCHEMA).fit(rows)  # left out
    with pytest.raises(ValueError, match=r"got row 4: age must be a whole number in \[0, 120\]"):
        flow.transform(rows)


def test_a_schema_that_nobody_confirmed_is_refused(tmp_path: Path) -> None:
    SCHEMA.model_copy(update={"confirmed": False}).to_yaml(tmp_path / "table.yaml")
    with pytest.raises(ValueError, match="schema must be confirmed"):
        tiny(tmp_path / "table.yaml").fit(people(60))


def test_missing_cells_are_allowed_where_the_schema_says_so() -> None:
    assert get_tags(tiny()).input_tags.allow_nan
    assert get_tags(tiny(SCHEMA)).input_tags.allow_nan
    whole = SCHEMA.only(["age", "sex"])
    assert not get_tags(tiny(whole)).input_tags.allow_nan
    with pytest.raises(ValueError, match="contains NaN"):
        tiny(whole).fit(np.array([[30.0, np.nan]] * 30))


def test_it_stands_in_pipelines_and_searches() -> None:
    rows = people(90).drop(columns="who")
    answers = rows.pop("ill")
    search = GridSearchCV(
        make_pipeline(tiny(), LogisticRegression()), {"tablecadp__width": [2, 4]}, cv=2, error_score="raise"
    )
    assert search.fit(rows, answers).best_score_ > 0.6
    assert search.best_params_["tablecadp__width"] in (2, 4)
    framed = search.best_estimator_[0].set_output(transform="pandas").transform(rows)
    assert list(framed.columns) == ["direction0", "direction1", "direction2"]


def test_it_is_pickled_whole_and_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rows = people(60)
    flow = tiny(SCHEMA, condition=["ill"]).fit(rows)
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(flow)).transform(rows), flow.transform(rows))


def test_a_saved_model_is_loaded_as_it_was(tmp_path: Path) -> None:
    rows = people(60)
    flow = tiny(SCHEMA, condition=["ill"]).fit(rows)
    flow.save(tmp_path / "model")
    loaded = TableCADP.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.transform(rows), flow.transform(rows))
    with pytest.raises(ValueError, match="MODEL must be a new folder"):
        flow.save(tmp_path / "model")


def test_an_array_needs_no_names_after_loading(tmp_path: Path) -> None:
    rows = np.random.default_rng(2).normal(size=(40, 2))
    flow = tiny().fit(rows)
    flow.save(tmp_path)
    np.testing.assert_array_equal(TableCADP.load(tmp_path).transform(rows), flow.transform(rows))


def test_a_release_is_charged_and_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    flow = tiny(SCHEMA, condition="ill").fit(people(80))
    opened = flow.release(
        people(40, seed=1), 4, tmp_path / "out", label_policy="randomised", label_epsilon=1, ledger=tmp_path / "ledger"
    )
    assert len(opened) == 40
    assert str(opened.guarantee.total_image_epsilon) == "5"
    assert opened.schema.names == ("age", "bmi", "sex", "ill")
    assert len(open_table(tmp_path / "out")) == 40
    assert (tmp_path / "ledger").exists()
    assert not list((tmp_path / "scratch").iterdir())


def test_a_release_of_an_array_refuses_a_float_epsilon_and_a_dry_run(tmp_path: Path) -> None:
    rows = np.random.default_rng(3).normal(size=(40, 2))
    flow = tiny().fit(rows)
    with pytest.raises(ValueError, match="epsilon must be exact"):
        flow.release(rows, 0.5, tmp_path / "out", ledger=tmp_path / "ledger")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dry run must be asked of"):
        flow.release(rows, 1, tmp_path / "out", dry_run=True)
    others = np.random.default_rng(4).uniform(-1, 1, size=(40, 2))
    assert flow.release(others, 1, tmp_path / "out", ledger=tmp_path / "ledger").schema.names == ("x0", "x1")


def test_nothing_is_done_before_a_fit(tmp_path: Path) -> None:
    for use in (
        lambda flow: flow.inverse_transform([[0.0]]),
        lambda flow: flow.save(tmp_path),
        lambda flow: flow.schema_,
    ):
        with pytest.raises(NotFittedError):
            use(tiny())


def test_wrong_latents_and_conditions_are_named() -> None:
    flow = tiny(SCHEMA, condition="ill").fit(people(60))
    with pytest.raises(ValueError, match="Z must have the 3 directions of the latent, got 2"):
        flow.inverse_transform(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="conditions must be of the 1 rows of Z, got 2"):
        flow.inverse_transform(np.zeros((1, 3)), [["yes"], ["no"]])
    with pytest.raises(ValueError, match="conditions must be what the schema allows, got row 1: ill must be"):
        flow.inverse_transform(np.zeros((1, 3)), [["perhaps"]])
    with pytest.raises(ValueError, match="X must have the 4 columns of the schema, got 3"):
        tiny(SCHEMA.model_copy(update={"patient": None})).fit(np.zeros((30, 3)))
    with pytest.raises(ValueError, match="X must have the columns of the schema, got none named 'ill'"):
        tiny(SCHEMA).fit(people(60).drop(columns="ill"))
    with pytest.raises(ValueError, match="got none named 'who'"):
        tiny(SCHEMA).fit(people(60).drop(columns="who"))


def test_importing_the_package_does_not_load_scikit_learn() -> None:
    code = "import sys, veilray; assert 'TableCADP' in dir(veilray); sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
