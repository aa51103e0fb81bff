"""One person, one key: card, ledger, split and audit count alike, however a key is written."""

from __future__ import annotations

import tempfile
import unicodedata
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from veilray.evaluation.attacks.base import ReleasedCodes
from veilray.evaluation.bootstrap import mean
from veilray.evaluation.patients import patient_keys
from veilray.images import Collection
from veilray.ledger import Journal
from veilray.methods import DPGlow
from veilray.methods.tables import CADPTable
from veilray.methods.tables.model import _held_out
from veilray.privacy import MECHANISMS, Claim
from veilray.releases import Plan, condition_rules, facts_of, plan_release, plan_table
from veilray.tables import Records

PERSONS = ("7", "007", "Müller", "P-1 a", "Å")
BLANKS = st.sampled_from(["", " ", "\t", "\u00a0", "\ufeff", "\0", "\u200b"])


@st.composite
def spelling(draw: st.DrawFn) -> tuple[str, str]:
    """A person, and one way to write their key."""
    person = draw(st.sampled_from(PERSONS))
    written = unicodedata.normalize(draw(st.sampled_from(["NFC", "NFD"])), person)
    if person == "7":
        written += draw(st.sampled_from(["", ".0", ".00"]))
    return person, draw(BLANKS) + written + draw(BLANKS)


written = st.lists(spelling(), min_size=10, max_size=30)


def planned(people: Callable[..., Records], model: CADPTable, keys: list[str], epsilon: str = "1") -> Plan:
    rows = people(len(keys), 1)
    records = Records(rows.schema, rows.values, rows.rows, tuple(keys))
    return plan_table(records, (), model, model.calibrated(Claim.of(epsilon)), ())


@settings(max_examples=30, deadline=None)
@given(told=written)
def test_the_card_says_what_the_ledger_charges(
    people: Callable[..., Records], model: CADPTable, told: list[tuple[str, str]]
) -> None:
    persons, keys = [person for person, _ in told], [key for _, key in told]
    plan = planned(people, model, keys)
    claimed = plan.guarantee.releases
    assert claimed is not None
    assert claimed.patients == len(set(persons))
    assert claimed.largest_patient == max(persons.count(person) for person in persons)
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "l.sqlite")
        journal.reserve("a", plan.guarantee, plan.records_of, unidentified=plan.unidentified)
        assert journal.patients() == claimed.patients
        assert {journal.spent(key) for key in keys} == {Fraction(persons.count(person)) for person in persons}


@settings(max_examples=50, deadline=None)
@given(told=written)
def test_no_person_is_on_both_sides_of_the_split(people: Callable[..., Records], told: list[tuple[str, str]]) -> None:
    persons = [person for person, _ in told]
    if len(set(persons)) < 2:
        return
    rows = people(len(told), 1)
    kept, held_out = _held_out(Records(rows.schema, rows.values, rows.rows, tuple(key for _, key in told)))
    sides = [{persons[row - 1] for row in part.rows} for part in (kept, held_out)]
    assert not sides[0] & sides[1]


@settings(max_examples=50, deadline=None)
@given(told=written)
def test_the_audit_counts_the_same_persons(told: list[tuple[str, str]]) -> None:
    persons, keys = [person for person, _ in told], np.array([key for _, key in told], dtype=object)
    assert patient_keys(keys).tolist() == persons
    mechanism = MECHANISMS["laplace"].calibrate(Claim.of("1"), 2)
    rows = np.zeros((len(told), 2))
    target = ReleasedCodes(mechanism, rows, rows, None, keys)
    (gallery,) = target.one_a_patient(np.random.default_rng(0))
    assert sorted(persons[row] for row in gallery) == sorted(set(persons))
    values = np.arange(len(told), dtype=np.float64)
    assert mean(values, keys, resamples=20) == mean(values, np.array(persons), resamples=20)


def test_a_key_that_says_nothing_is_no_patient(people: Callable[..., Records], model: CADPTable) -> None:
    plan = planned(people, model, ["a", "a", "\u200b"])
    assert plan.guarantee.releases is not None
    assert (plan.guarantee.releases.patients, plan.guarantee.releases.largest_patient) == (None, None)
    assert (plan.records_of, plan.unidentified) == ({"a": 2}, 1)


def test_pictures_are_counted_alike(method: DPGlow, tmp_path: Path) -> None:
    keys = ["A", " A", "A ", "Mu\u0308ller", "M\u00fcller", "7.0", "7"]
    pixels = np.random.default_rng(0).integers(0, 256, (len(keys), 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "pictures.npz", images=pixels, patient=np.array(keys))
    with Collection.open(tmp_path / "pictures.npz") as collection:
        collection.scan()
        drawn_by = MECHANISMS["laplace"].calibrate(Claim.of("1"), method.dimension)
        plan = plan_release(collection, method, drawn_by, condition_rules({}, {}, facts_of(collection.refs)))
    assert plan.guarantee.releases is not None
    assert (plan.guarantee.releases.patients, plan.guarantee.releases.largest_patient) == (3, 3)
    journal = Journal(tmp_path / "l.sqlite")
    journal.reserve("a", plan.guarantee, plan.records_of)
    assert [journal.spent(key) for key in keys] == [3, 3, 3, 2, 2, 2, 2]
