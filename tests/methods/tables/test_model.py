"""The model of a table: what is saved is what is loaded, a row is its own, and no wrong fit or file is taken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from veilray.methods import read_card
from veilray.methods.tables import CADPTable
from veilray.methods.tables.model import _hash_of
from veilray.privacy import Claim, SeededEntropy, SystemEntropy
from veilray.tables import Column, Records, Schema

SMALL: dict[str, Any] = {"couplings": 2, "width": 8, "epochs": 2, "batch_size": 16}
MECHANISMS = {
    "directional": (Claim.of("4"), {}),
    "laplace": (Claim.of("4"), {}),
    "gaussian": (Claim.of("4", "1/100000"), {}),
    "codebook": (Claim.of("4"), {}),
    "selection": (Claim.of("4"), {"candidates": 64}),
}


def row_of(model: CADPTable, records: Records) -> Records:
    return records.only(model.row_schema.names)


def is_valid(records: Records) -> bool:
    return np.array_equal(records.values, records.snapped().values, equal_nan=True)


def test_a_saved_model_is_the_same_model(model: CADPTable, tmp_path: Path, people: Callable[..., Records]) -> None:
    model.save(tmp_path / "again")
    again, private = CADPTable.load(tmp_path / "again"), people(50, 3)
    facts = model.facts(private)
    rows = row_of(model, private)
    assert np.array_equal(model.encode(rows, facts), again.encode(rows, facts))
    first, second = (one.sample(20, SeededEntropy(1)).values for one in (model, again))
    np.testing.assert_array_equal(first, second)
    assert (again.card, again.schema, again.domain) == (model.card, model.schema, model.domain)


def test_the_card_says_what_it_was_fitted_on(model: CADPTable, people: Callable[..., Records]) -> None:
    card = model.card
    patients = set(people(300, 7).patients or ())
    assert card.method == "cadp-table"
    assert card.training_patients == len(patients) - round(0.1 * len(patients))
    assert card.levels_of == {"diagnosis": ("benign", "malignant")}
    assert card.configuration["schema_sha256"] == model.schema.sha256()
    assert "person-" not in card.model_dump_json()
    assert model.row_schema.names == ("diameter", "grade", "visits", "seen", "ward")


@pytest.mark.parametrize("name", MECHANISMS)
def test_every_mechanism_makes_valid_rows(model: CADPTable, people: Callable[..., Records], name: str) -> None:
    claim, options = MECHANISMS[name]
    mechanism = model.calibrated(claim, name, **options)
    private = people(60, 3)
    facts = model.facts(private)
    made = model.release(row_of(model, private), mechanism, SystemEntropy(), facts, facts)
    assert is_valid(made)
    assert mechanism.guarantee(model.dimension).image_epsilon == claim.epsilon


@settings(max_examples=40, deadline=None)
@given(drawn=arrays(np.float64, (3, 5), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_whatever_a_mechanism_draws_is_a_valid_row(model: CADPTable, drawn: np.ndarray) -> None:
    mechanism = model.calibrated(Claim.of("4"), "laplace")
    with np.errstate(over="ignore"):
        assert is_valid(model.render(drawn, mechanism, SeededEntropy(1), None))


def test_a_latent_is_of_its_own_cells_alone(model: CADPTable, people: Callable[..., Records]) -> None:
    one, other = people(30, 3), people(30, 4)
    facts, foreign = model.facts(one), model.facts(other)
    mixed = Records(one.schema, np.concatenate([other.values[:29], one.values[29:]]), one.rows)
    whole = model.encode(row_of(model, one), facts)
    np.testing.assert_array_equal(model.encode(row_of(model, mixed), [*foreign[:29], facts[29]])[29], whole[29])
    np.testing.assert_allclose(model.encode(row_of(model, one[:1]), facts[:1]), whole[:1], atol=1e-4)


def test_a_draw_does_not_depend_on_the_other_rows(model: CADPTable, people: Callable[..., Records]) -> None:
    one, other = people(30, 3), people(30, 4)
    mixed = Records(one.schema, np.concatenate([other.values[:29], one.values[29:]]), one.rows)
    mechanism = model.calibrated(Claim.of("4"))

    def last(records: Records) -> np.ndarray:
        facts = model.facts(records)
        return model.release(row_of(model, records), mechanism, SeededEntropy(5), facts, facts).values[29]

    np.testing.assert_array_equal(last(one), last(mixed))


def test_the_condition_moves_what_is_made(model: CADPTable) -> None:
    benign, malignant = (
        model.sample(400, SeededEntropy(1), [{"diagnosis": name}] * 400).column("diameter")
        for name in ("benign", "malignant")
    )
    assert np.nanmean(malignant) > np.nanmean(benign) + 1


def test_the_domain_tells_rows_of_another_kind(model: CADPTable, people: Callable[..., Records]) -> None:
    own = row_of(model, people(200, 9))
    rng = np.random.default_rng(0)
    low, high = np.array([column.span for column in own.schema.columns]).T
    foreign = Records.of(own.schema, rng.uniform(low, high, own.values.shape)).snapped()
    assert model.domain.separation(model.domain_scores(own)) < 0.4
    assert model.domain.separation(model.domain_scores(foreign)) > 0.6


def test_a_fit_is_continued(tmp_path: Path, people: Callable[..., Records]) -> None:
    public = people(80, 1)
    whole = CADPTable.fit(public, tmp_path / "whole", condition="diagnosis", **SMALL)

    class Stop(Exception):
        pass

    def stop(progress: Any) -> None:
        raise Stop

    with pytest.raises(Stop):
        CADPTable.fit(public, tmp_path / "parts", condition="diagnosis", on_progress=stop, **SMALL)
    with pytest.raises(ValueError, match="resume"):
        CADPTable.fit(public, tmp_path / "parts", condition="diagnosis", **SMALL)
    parts = CADPTable.fit(public, tmp_path / "parts", condition="diagnosis", resume=True, **SMALL)
    assert parts.card.weights_sha256 == whole.card.weights_sha256


def test_a_model_that_is_told_nothing(tmp_path: Path, people: Callable[..., Records]) -> None:
    model = CADPTable.fit(people(40, 1), tmp_path / "model", keep=2, **SMALL)
    assert (model.conditions, model.dimension, model.card.configuration["task"]) == (None, 2, "row")
    again = CADPTable.load(tmp_path / "model")
    assert is_valid(again.release(people(5, 2), again.calibrated(Claim.of("2")), SystemEntropy(), None, None))


def test_a_table_of_one_column(tmp_path: Path) -> None:
    schema = Schema(confirmed=True, columns=(Column(name="age", kind="integer", low=0, high=120),))
    public = Records.of(schema, np.arange(20, 80)[:, None])
    model = CADPTable.fit(public, tmp_path / "model", **SMALL)
    assert is_valid(model.release(public, model.calibrated(Claim.of("2")), SystemEntropy(), None, None))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"condition": "sex"}, "column must be one of diagnosis, age, .*, got 'sex'"),
        ({"condition": "diagnosis,diagnosis"}, "conditions must be one or more different names"),
        ({"condition": "seen"}, "condition must be a category or a number, got the date seen"),
        (
            {"condition": "diagnosis,age,diameter,grade,visits,ward,seen"},
            "condition must be a category or a number, got the date seen",
        ),
        ({"task": "sex"}, "column must be one of .*, got 'sex'"),
        ({"keep": 0}, "keep must be between 1 and the 7 columns that are no condition, got 0"),
        ({"keep": 8}, "keep must be between 1 and the 7 columns that are no condition, got 8"),
        ({"couplings": 0}, "couplings must be a whole number from 1 to 256, got 0"),
        ({"width": 0}, "width must be a whole number from 1 to 8,192, got 0"),
        ({"epochs": 0}, "epochs must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"training_data": "mine"}, "training.data must be"),
    ],
)
def test_fits_that_cannot_be_are_refused(
    tmp_path: Path, people: Callable[..., Records], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        CADPTable.fit(people(60, 1), tmp_path / "model", **{**SMALL, **options})
    assert not (tmp_path / "model").exists()


def test_a_schema_that_nobody_confirmed_is_refused(tmp_path: Path, people: Callable[..., Records]) -> None:
    public = people(60, 1)
    draft = public.schema.model_copy(update={"confirmed": False})
    with pytest.raises(ValueError, match=r"schema must be confirmed, got one that is not: .* `confirmed: true`"):
        CADPTable.fit(Records(draft, public.values, public.rows, public.patients), tmp_path / "model", **SMALL)


@pytest.mark.parametrize("count", [0, 1, 9])
def test_too_few_rows_are_refused(tmp_path: Path, people: Callable[..., Records], count: int) -> None:
    with pytest.raises(ValueError, match=f"TABLE must hold at least 10 valid rows to train on, got {count}"):
        CADPTable.fit(people(20, 1)[:count], tmp_path / "model", **SMALL)


def test_rows_of_one_patient_are_refused(tmp_path: Path, people: Callable[..., Records]) -> None:
    public = people(30, 1)
    one = Records(public.schema, public.values, public.rows, ("the only one",) * 30)
    with pytest.raises(ValueError, match="at least two patients"):
        CADPTable.fit(one, tmp_path / "model", **SMALL)


def test_conditions_alone_are_no_row(tmp_path: Path, people: Callable[..., Records]) -> None:
    public = people(30, 1).only(["diagnosis", "age"])
    with pytest.raises(ValueError, match="must have a column that is no condition, got 2 conditions alone"):
        CADPTable.fit(public, tmp_path / "model", condition="diagnosis,age", **SMALL)


@pytest.fixture
def copied(tmp_path: Path, table_model: Path) -> Path:
    return Path(shutil.copytree(table_model, tmp_path / "copied"))


def files_of(folder: Path) -> list[str]:
    """What a release reads; the log and the checkpoint are of the fit."""
    return sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix != ".jsonl")


def test_a_file_that_is_gone_or_cut_short_is_refused(copied: Path) -> None:
    for name in files_of(copied):
        path = copied / name
        whole = path.read_bytes()
        for broken in (None, whole[: len(whole) // 2], b""):
            path.unlink()
            if broken is not None:
                path.write_bytes(broken)
            with pytest.raises(ValueError, match="must"):
                CADPTable.load(copied)
            path.write_bytes(whole)
    assert CADPTable.load(copied)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("schema.yaml", "high: 120", "high: 121"),
        ("schema.yaml", "malignant", "Malignant"),
        ("coordinates.json", '"benign", "malignant"', '"malignant", "benign"'),
        ("coordinates.json", '"missing": 0.', '"missing": 0.0'),
        ("directions.json", '"', "'"),
    ],
)
def test_an_altered_file_is_refused(copied: Path, name: str, old: str, new: str) -> None:
    path = copied / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match="must"):
        CADPTable.load(copied)


@pytest.mark.parametrize(
    "conditions",
    [
        None,
        "diagnosis",
        [None],
        ["diagnosis"],
        [{"name": 3}],
        [{"name": "nobody", "levels": ["a", "b"]}],
        [{"name": "diagnosis", "levels": ["benign", "malignant"]}],
    ],
)
def test_conditions_of_a_forger_who_mends_the_hash_are_refused(copied: Path, conditions: Any) -> None:
    told = json.loads((copied / "coordinates.json").read_text())
    (copied / "coordinates.json").write_text(json.dumps({**told, "conditions": conditions}))
    with pytest.raises(ValueError, match="must hold the weights its model card tells of"):
        CADPTable.load(copied)
    read_card(copied).model_copy(update={"weights_sha256": _hash_of(copied)}).write(copied)
    with pytest.raises(ValueError, match="must"):
        CADPTable.load(copied)
