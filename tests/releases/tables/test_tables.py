"""A released table: the claim and what it rests on, who is told what, what leaves, and what a kill leaves behind."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta

from veilray.errors import Refused
from veilray.ledger import Journal, ReleaseState
from veilray.methods.tables import CADPTable
from veilray.privacy import Claim, Entropy, SeededEntropy
from veilray.releases import Plan, continue_release, drawn_records, plan_table, read_release, start_release
from veilray.releases import tables as module
from veilray.tables import Policy, Records, RefusedRow, Schema

Plan = Callable[..., Plan]
Release = Callable[..., Path]


def source_rows(folder: Path) -> list[int]:
    with (folder / "pairs.csv").open() as file:
        return [int(row["source_row"]) for row in csv.DictReader(file)]


def column_of(folder: Path, name: str) -> list[str]:
    with (folder / "data.csv").open() as file:
        return [row[name] for row in csv.DictReader(file)]


# What is claimed.


def test_a_release_is_complete_and_says_what_it_claims(released: Release, make_plan: Plan, model: CADPTable) -> None:
    folder = released(12)
    told = read_release(folder)
    assert told["guarantee"] == make_plan(12).guarantee
    assert (told["guarantee"].record, told["guarantee"].releases.images) == ("row", 12)
    assert told["guarantee"].releases.largest_patient == 2
    assert told["totals"]["patient_epsilon"] == "8"
    assert told["model"] == model.card
    files = {path.name for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "README",
        "release.json",
        "data.csv",
        "data.parquet",
        "schema.yaml",
        "DATASET.md",
        "croissant.json",
    }
    assert set(told["files"]) == files - {"release.json"}
    for name, sha256 in told["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha256
    assert "epsilon 4 (pure)" in (folder / "README").read_text()


def test_rows_of_people_are_not_denied_where_they_are_released(
    released: Release, people: Callable[..., Records], tmp_path: Path
) -> None:
    """At a huge epsilon most released rows are rows of people, so nothing may say that none is."""
    private = people(40, 1)
    folder = released(private, epsilon="40000", mechanism="laplace", diagnosis="public", age="public")
    with (folder / "data.csv").open() as file:
        rows = {tuple(row.values()) for row in csv.DictReader(file)}
    private.write_csv(tmp_path / "private.csv")
    with (tmp_path / "private.csv").open() as file:
        people_rows = {tuple(row.values()) for row in csv.DictReader(file)}
    assert rows & people_rows, "the premise of this test"
    for name in ("README", "DATASET.md"):
        text = " ".join((folder / name).read_text().split())
        assert "No row is that of a person" not in text
        assert "row may equal that of a person" in text


@pytest.mark.parametrize("name", ["unseen_level", "out_of_bounds", "wrong_type", "missing"])
@pytest.mark.parametrize("action", ["quarantine", "error", "replace"])
def test_rows_left_out_for_their_cells_are_said_in_clear(
    people: Callable[..., Records], make_plan: Plan, name: str, action: str
) -> None:
    every = {"unseen_level", "out_of_bounds", "wrong_type", "missing"}
    policy = Policy(**{**dict.fromkeys(every, "replace"), name: action})
    private = people(4, 1)
    schema = private.schema.model_copy(update={"policy": policy})
    plan = make_plan(Records(schema, private.values, private.rows, private.patients))
    if action == "replace":
        form = "that a row has as many cells as the header, and none of more than 64 kB"
        assert plan.guarantee.in_clear[:-1] == (form, "that a row names its patient")
    else:
        assert plan.guarantee.in_clear[:-1] == ("that a row obeys the schema",)
    assert plan.guarantee.shows_in_clear


@pytest.mark.parametrize(
    ("drafted_from", "said"),
    [
        (None, "not drafted from rows"),
        ("public rows", "drafted from public rows"),
        ("private rows", "drafted from rows that are not public"),
    ],
)
def test_the_card_says_where_the_schema_is_from(
    tmp_path: Path, people: Callable[..., Records], drafted_from: str | None, said: str
) -> None:
    rows = people(40, 7)
    schema = rows.schema.model_copy(update={"drafted_from": drafted_from})
    public = Records(schema, rows.values, rows.rows, rows.patients)
    tiny = {"couplings": 2, "width": 4, "epochs": 1, "training_data": "public", "statement": "made up people"}
    fitted = CADPTable.fit(public, tmp_path / "model", condition="diagnosis", **tiny)
    loaded = CADPTable.load(tmp_path / "model")
    words = f"{said}, confirmed by a person as public knowledge"
    assert fitted.card.configuration["schema_provenance"] == words
    assert loaded.schema.drafted_from == drafted_from
    private = people(40, 8)
    plan = plan_table(private, (), loaded, loaded.calibrated(Claim.of("4")), ())
    assert f"the schema, which leaves with the rows: {words}" in plan.guarantee.not_covered()


def test_the_claim_does_not_tell_how_many_rows_were_refused(released: Release, tmp_path: Path) -> None:
    refused = tuple(
        RefusedRow(row, "age must be a whole number in [0, 120], got nothing")
        for row in (971971971, 971971972, 971971973)
    )
    folder = released(6, refused=refused)
    text = "".join(path.read_text("latin-1") for path in folder.iterdir())
    assert "971971" not in text.replace((folder / "data.parquet").read_text("latin-1"), "")
    assert "that a row obeys the schema" in (folder / "README").read_text()
    with (tmp_path / "out-record" / "quarantine.csv").open() as file:
        assert [row["row"] for row in csv.DictReader(file)] == ["971971971", "971971972", "971971973"]
    assert read_release(folder)["guarantee"].releases.images == 6


def test_a_plan_spends_nothing(tmp_path: Path, make_plan: Plan) -> None:
    assert make_plan(3).guarantee.releases is not None
    assert not list(tmp_path.iterdir())


def test_rows_of_another_schema_are_refused(model: CADPTable, people: Callable[..., Records]) -> None:
    private = people(4, 1)
    columns = tuple(
        column.model_copy(update={"levels": column.levels[::-1]}) if column.name == "diagnosis" else column
        for column in private.schema.columns
    )
    other = Schema(confirmed=True, patient="person", columns=columns)
    swapped = Records(other, private.values, private.rows, private.patients)
    with pytest.raises(ValueError, match="with the columns of the model's own schema, got others"):
        plan_table(swapped, (), model, model.calibrated(Claim.of("4")), ())


def test_no_row_is_no_release(make_plan: Plan, people: Callable[..., Records]) -> None:
    with pytest.raises(ValueError, match="TABLE must hold at least one row that the schema allows, got none"):
        make_plan(people(2, 1)[:0])


# Who is told what.


def told_and_known(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> tuple[list[Any], list[Any], Records]:
    """What decoder and encoder are told of each row, and what is released, all in the release's order."""
    told: list[Any] = []
    known: list[Any] = []
    encode, render = CADPTable.encode, CADPTable.render

    def seen_encode(self: CADPTable, records: Records, facts: Any = None) -> np.ndarray:
        known.extend(facts)
        assert not set(records.schema.names) & {"diagnosis", "age"}
        return encode(self, records, facts)

    def seen_render(self: CADPTable, drawn: np.ndarray, mechanism: Any, entropy: Entropy, facts: Any = None) -> Records:
        told.extend(facts)
        return render(self, drawn, mechanism, entropy, facts)

    monkeypatch.setattr(CADPTable, "encode", seen_encode)
    monkeypatch.setattr(CADPTable, "render", seen_render)
    return told, known, drawn_records(plan, SeededEntropy(11))[0]


POLICIES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "public": ({"diagnosis": "public"}, {}),
    "randomised": ({"diagnosis": "randomised:1/1000"}, {}),
    "withheld": ({}, {}),
    "number": ({"age": "randomised:1/1000"}, {}),
    "both": ({"diagnosis": "randomised:1/1000", "age": "randomised:1/1000"}, {}),
    "under": ({"diagnosis": "public"}, {"diagnosis": "malignant"}),
}


@pytest.mark.parametrize("name", POLICIES)
def test_the_decoder_is_told_what_leaves_and_no_more(
    monkeypatch: pytest.MonkeyPatch, make_plan: Plan, model: CADPTable, name: str
) -> None:
    policies, under = POLICIES[name]
    plan = make_plan(60, decode_under=under, **policies)
    told, known, out = told_and_known(monkeypatch, plan)
    order = SeededEntropy(11).permutation(60)
    truth = [{fact: row[fact] for fact in policies} for row in model.facts(plan.source[order])]
    assert known == truth
    assert [set(row) for row in told] == [set(policies) | set(under)] * 60
    assert set(out.schema.names) == {*model.row_schema.names, *policies}
    for fact, policy in policies.items():
        leaves = out.texts(fact)
        if policy == "public":
            assert leaves == [row[fact] for row in truth]
        else:
            assert leaves != [row[fact] for row in truth]
        if fact not in under and fact == "diagnosis":
            assert [row[fact] for row in told] == leaves
        if fact == "age":
            assert [round(float(row[fact])) for row in told] == pytest.approx(out.column("age"), abs=1)
    for fact, value in under.items():
        assert [row[fact] for row in told] == [value] * 60


@pytest.mark.parametrize("name", ["randomised", "withheld", "number"])
def test_a_decoder_that_sees_the_truth_would_be_found(
    monkeypatch: pytest.MonkeyPatch, make_plan: Plan, model: CADPTable, name: str
) -> None:
    """The broken build passes what the encoder knows to the decoder as well."""
    sound = CADPTable.release

    def broken(self: CADPTable, records: Records, mechanism: Any, entropy: Entropy, known: Any, told: Any) -> Records:
        truth = model.facts(plan.source[order])
        return sound(self, records, mechanism, entropy, known, truth)

    plan = make_plan(60, **POLICIES[name][0])
    order = SeededEntropy(11).permutation(60)
    monkeypatch.setattr(CADPTable, "release", broken)
    with pytest.raises(AssertionError):
        test_the_decoder_is_told_what_leaves_and_no_more(monkeypatch, make_plan, model, name)


def test_a_withheld_condition_does_not_move_the_release(make_plan: Plan, people: Callable[..., Records]) -> None:
    private = people(50, 1)
    values = private.values.copy()
    values[:, 0] = 1 - values[:, 0]
    values[:, 1] = 120 - values[:, 1]
    other = Records(private.schema, values, private.rows, private.patients)
    one, two = (drawn_records(make_plan(records), SeededEntropy(2))[0] for records in (private, other))
    assert one.schema.names == ("diameter", "grade", "visits", "seen", "ward")
    np.testing.assert_array_equal(one.values, two.values)


def test_a_randomised_whole_number_is_its_draw(make_plan: Plan) -> None:
    """Its noise has figures behind the point; the cell that leaves is the nearest whole number, not a fixed one."""
    out, pairs = drawn_records(make_plan(300, age="randomised:100"), SeededEntropy(1))
    truth = make_plan(300).source.column("age")[[row - 1 for _, row in pairs]]
    assert np.abs(out.column("age") - truth).mean() < 4
    assert len(np.unique(out.column("age"))) > 30


def test_conditions_add_up(make_plan: Plan) -> None:
    guarantee = make_plan(8, diagnosis="randomised:1", age="randomised:1/2").guarantee
    assert str(guarantee.total_image_epsilon) == "11/2"
    assert guarantee.conditions["age"].high == 120
    public = make_plan(8, diagnosis="public").guarantee
    assert any("diagnosis" in line for line in public.not_covered())


# A row is drawn by itself.


def test_other_rows_do_not_change_a_row_s_draw(make_plan: Plan, people: Callable[..., Records]) -> None:
    one, foreign = people(40, 1), people(40, 2)
    values = foreign.values.copy()
    values[7] = one.values[7]
    other = Records(one.schema, values, one.rows, one.patients)
    draws = []
    for records in (one, other):
        out, pairs = drawn_records(make_plan(records, diagnosis="randomised:1", age="randomised:1"), SeededEntropy(5))
        place = [source for _, source in pairs].index(8)
        draws.append(out.values[place])
    np.testing.assert_array_equal(draws[0], draws[1])


def test_chunks_are_joined_in_order(monkeypatch: pytest.MonkeyPatch, make_plan: Plan) -> None:
    monkeypatch.setattr(module, "_ROWS", 7)
    done: list[tuple[int, int]] = []
    plan = make_plan(20, "1", diagnosis="public")
    out, pairs = drawn_records(plan, SeededEntropy(5), lambda *at: done.append(at))
    assert [at for at, _ in pairs] == list(range(1, 21))
    assert done == [(7, 20), (14, 20), (20, 20)]
    truth = plan.source.column("diagnosis")[[row - 1 for _, row in pairs]]
    np.testing.assert_array_equal(out.column("diagnosis"), truth)


RUNS = 4000


def far_apart(model: CADPTable, people: Callable[..., Records]) -> tuple[Records, Records]:
    """Of many rows the two whose latents point most apart."""
    some = people(400, 5)
    latents = model.encode(some.only(model.row_schema.names), [{}] * len(some))
    units = latents / np.linalg.norm(latents, axis=1, keepdims=True)
    one, other = np.unravel_index(np.argmin(units @ units.T), (len(some), len(some)))
    return some[one : one + 1], some[other : other + 1]


def measured(model: CADPTable, make_plan: Plan, pair: tuple[Records, Records], epsilon: str) -> float:
    """A lower bound of epsilon, wrong once in ten thousand, of all that leaves: the best of a few events.

    The events: the released row lies on the first row's side of the latent, and each of its cells is the first row's.
    """
    rows = [one.only(model.row_schema.names) for one in pair]
    first, second = (model.encode(row, [{}])[0] for row in rows)
    towards = first / np.linalg.norm(first) - second / np.linalg.norm(second)
    events = []
    for seed, one in enumerate(pair):
        repeated = one[np.zeros(RUNS, dtype=np.int64)]
        out = drawn_records(make_plan(repeated, epsilon), SeededEntropy(seed))[0]
        side = model.encode(out, [{}] * RUNS) @ towards
        same = np.isclose(out.values, rows[0].values, equal_nan=True)
        events.append(np.column_stack([*(side > cut for cut in (0.0, 0.5, 1.0)), same]))
    hits = np.stack([event.sum(axis=0) for event in events])
    surely = beta.ppf(1e-5, hits[0], RUNS - hits[0] + 1)
    at_most = beta.ppf(1 - 1e-5, hits[1] + 1, RUNS - hits[1])
    return float(np.log(np.nanmax(surely / at_most)))


@pytest.mark.parametrize("epsilon", ["1", "4"])
def test_what_is_measured_through_the_table_stays_within_the_claim(
    model: CADPTable, make_plan: Plan, people: Callable[..., Records], epsilon: str
) -> None:
    found = measured(model, make_plan, far_apart(model, people), epsilon)
    assert 0.15 * float(epsilon) < found <= float(epsilon)  # it sees something, and no more than is claimed


def test_a_column_that_is_passed_through_is_found(
    monkeypatch: pytest.MonkeyPatch, model: CADPTable, make_plan: Plan, people: Callable[..., Records]
) -> None:
    sound = CADPTable.release

    def broken(self: CADPTable, records: Records, *rest: Any) -> Records:
        out = sound(self, records, *rest)
        out.values[:, records.schema.index("seen")] = records.column("seen")
        return out

    monkeypatch.setattr(CADPTable, "release", broken)
    assert measured(model, make_plan, far_apart(model, people), "4") > 4


@pytest.mark.parametrize("epsilon", ["1", "3"])
def test_twice_the_epsilon_is_found_before_the_decoder(
    model: CADPTable, people: Callable[..., Records], epsilon: str
) -> None:
    """Through cells a part of the signal is lost, so the mechanism as the table uses it is audited at the latent."""
    pair = far_apart(model, people)
    first, second = (model.encode(one.only(model.row_schema.names), [{}]) for one in pair)
    # The worst pair of a direction is v and -v.
    claimed, doubled = (model.calibrated(Claim.of(text)) for text in (epsilon, str(2 * int(epsilon))))
    unit = first[0] / np.linalg.norm(first)
    assert unit @ second[0] < 0

    def bound(mechanism: Any) -> float:
        hits = []
        for seed, row in enumerate((first, -first)):
            drawn = mechanism.release(np.repeat(row, 40_000, axis=0), SeededEntropy(seed))
            hits.append(int((drawn @ unit > claimed_threshold).sum()))
        surely = beta.ppf(5e-7, hits[0], 40_000 - hits[0] + 1)
        return math.log(surely / beta.ppf(1 - 5e-7, hits[1] + 1, 40_000 - hits[1]))

    claimed_threshold = float(claimed.guarantee(model.dimension).parameters["gamma"].split()[0])
    assert 0.5 * int(epsilon) < bound(claimed) <= int(epsilon)
    assert bound(doubled) > int(epsilon)


# What leaves.


def test_nothing_in_a_release_points_to_a_source(released: Release, tmp_path: Path, make_plan: Plan) -> None:
    import pyarrow.parquet as pq

    folder = released(30)
    everything = b"".join(path.read_bytes() for path in folder.iterdir())
    for word in (
        b"person-",
        b"source_row",
        b"released_row",
        str(tmp_path).encode(),
        b"seed",
        b"ledger.sqlite",
        b"record-",
    ):
        assert word not in everything, word
    header = (folder / "data.csv").read_text().splitlines()[0]
    assert header == "diameter,grade,visits,seen,ward"
    told = pq.read_metadata(folder / "data.parquet")
    assert set(told.metadata or {}) <= {b"ARROW:schema"}
    assert told.num_rows == 30
    assert len({path.stat().st_mtime for path in [folder, *folder.iterdir()]}) == 1


def test_the_released_schema_is_the_model_s_without_what_stays(
    released: Release, model: CADPTable, make_plan: Plan
) -> None:
    folder = released(30, diagnosis="public")
    schema = Schema.from_yaml(folder / "schema.yaml")
    assert schema.patient is None
    assert schema.columns == model.schema.without(["age"]).columns
    assert "person" not in (folder / "schema.yaml").read_text()


def test_both_files_hold_the_same_rows(released: Release) -> None:
    import pyarrow.parquet as pq

    from veilray.tables import read_records

    folder = released(30, diagnosis="randomised:1")
    schema = Schema.from_yaml(folder / "schema.yaml")
    of_csv, of_parquet = (read_records(folder / name, schema)[0].values for name in ("data.csv", "data.parquet"))
    np.testing.assert_allclose(of_csv, of_parquet, rtol=0, atol=1e-12)
    assert pq.read_schema(folder / "data.parquet").names[0] == "diagnosis"


def test_modes_of_release_and_record(released: Release, tmp_path: Path) -> None:
    folder = released(4)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o644}
    record = tmp_path / "out-record"
    assert stat.S_IMODE(record.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in record.iterdir()} == {0o600}


def test_the_order_is_drawn_anew(released: Release, tmp_path: Path) -> None:
    released(60, name="a", diagnosis="public")
    released(60, name="b", diagnosis="public")
    one, other = (source_rows(tmp_path / f"{name}-record") for name in "ab")
    assert sorted(one) == sorted(other) == list(range(1, 61))
    assert one != other
    assert one != list(range(1, 61))
    assert (tmp_path / "a" / "data.csv").read_bytes() != (tmp_path / "b" / "data.csv").read_bytes()


def test_the_record_joins_rows_with_their_sources(
    released: Release, tmp_path: Path, people: Callable[..., Records]
) -> None:
    private = people(60, 1)[10:]
    folder = released(private, diagnosis="public")
    truth = dict(zip(private.rows.tolist(), private.texts("diagnosis"), strict=True))
    assert [truth[row] for row in source_rows(tmp_path / "out-record")] == column_of(folder, "diagnosis")


def test_patients_are_charged(released: Release, tmp_path: Path) -> None:
    released(4, diagnosis="randomised:1")
    released(4, name="again")
    journal = Journal(tmp_path / "ledger.sqlite")
    assert [release.state for release in journal.releases()] == [ReleaseState.PUBLISHED] * 2
    assert journal.patients() == 2
    assert journal.spent("person-1-0") == 2 * 5 + 2 * 4


def test_a_twin_among_the_conditions_of_a_table_is_refused(make_plan: Plan, people: Callable[..., Records]) -> None:
    rows = people(30, 1)
    age = rows.schema.index("age")
    values = rows.values.copy()
    values[:, age] = np.where(rows.column("diagnosis") == 1, 70, 40)
    twins = Records(rows.schema, values, rows.rows, rows.patients)
    for policies in ({"diagnosis": "public"}, {"age": "public", "diagnosis": "randomised:1"}):
        with pytest.raises(Refused, match="which on these records tells it exactly"):
            make_plan(twins, **policies)
    assert make_plan(twins, age="public", diagnosis="public").guarantee.conditions["age"].policy == "public"
    values[:, age] = np.arange(30) + 20
    with pytest.raises(Refused, match="age must not be public, it is different for every record"):
        make_plan(Records(rows.schema, values, rows.rows, rows.patients), age="public")


# Started once, finished once.


def test_a_table_is_not_continued_in_another_ledger(
    tmp_path: Path, make_plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be drawn a second time, and charged where nobody counts the first."""
    plan, other = make_plan(6), Journal(tmp_path / "other.sqlite")

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("veilray.releases.staging.Staging.publish", interrupted)
        start_release(plan, tmp_path / "out", tmp_path / "record", Journal(tmp_path / "l.sqlite"))
    with pytest.raises(Refused, match="must be in the ledger, got none: use the ledger it was made with"):
        continue_release(plan, tmp_path / "out", tmp_path / "record", other)
    assert other.releases() == []
    assert continue_release(plan, tmp_path / "out", tmp_path / "record", Journal(tmp_path / "l.sqlite")).count == 6


def test_an_existing_destination_is_never_touched(tmp_path: Path, make_plan: Plan) -> None:
    (tmp_path / "out").mkdir()
    journal = Journal(tmp_path / "l.sqlite")
    with pytest.raises(ValueError, match="RELEASE must be a new folder"):
        start_release(make_plan(2), tmp_path / "out", tmp_path / "record", journal)
    assert journal.releases() == []


@pytest.mark.parametrize("record", ["out", "out/record", "."])
def test_the_record_lies_outside_the_release(tmp_path: Path, make_plan: Plan, record: str) -> None:
    with pytest.raises(ValueError, match=r"(RECORD must lie outside RELEASE|RELEASE must lie outside RECORD)"):
        start_release(
            make_plan(2), tmp_path / "home" / "out", tmp_path / "home" / record, Journal(tmp_path / "l.sqlite")
        )


def test_a_refusal_of_the_ledger_leaves_nothing(
    tmp_path: Path, make_plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise Refused("the budget is spent")

    monkeypatch.setattr(Journal, "reserve", refuse)
    with pytest.raises(Refused, match="budget is spent"):
        start_release(make_plan(2), tmp_path / "out", tmp_path / "record", Journal(tmp_path / "l.sqlite"))
    assert not (tmp_path / "record").exists()
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": "5"}, "epsilon must be '4' as when this release was started"),
        ({"records": 7}, "TABLE must hold the same files, cells, patients and labels as when"),
        ({"diagnosis": "public"}, "claim"),
        ({"decode_under": {"diagnosis": "benign"}}, "decode_under must be"),
    ],
)
def test_resuming_another_release_is_refused(
    tmp_path: Path, make_plan: Plan, released: Release, change: dict[str, Any], message: str
) -> None:
    folder = released(6)
    with pytest.raises(ValueError, match=message):
        continue_release(
            make_plan(**{"records": 6, **change}), folder, tmp_path / "out-record", Journal(tmp_path / "ledger.sqlite")
        )


def test_other_cells_are_another_release(
    tmp_path: Path, make_plan: Plan, released: Release, people: Callable[..., Records]
) -> None:
    folder = released(6)
    private = people(6, 1)
    private.values[3, 2] = 1.0
    with pytest.raises(ValueError, match="TABLE must hold the same files, cells"):
        continue_release(make_plan(private), folder, tmp_path / "out-record", Journal(tmp_path / "ledger.sqlite"))


def test_a_committed_file_that_was_altered_is_not_published(
    tmp_path: Path, make_plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, journal = make_plan(5), Journal(tmp_path / "l.sqlite")

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("veilray.releases.staging.Staging.publish", interrupted)
        start_release(plan, tmp_path / "out", tmp_path / "record", journal)
    data = next(tmp_path.glob(".out.*/data.csv"))
    data.write_text(data.read_text() + "\n")
    with pytest.raises(Refused, match="missing, altered or foreign"):
        continue_release(plan, tmp_path / "out", tmp_path / "record", journal)
    assert not (tmp_path / "out").exists()


KILL_POINTS = {
    "reserved": ("veilray.ledger.Journal.reserve", False),
    "noted": ("veilray.releases.log.ReleaseLog.note_reserved", False),
    "drawn": ("veilray.releases.tables.TableStaging.finish", False),
    "committed": ("veilray.ledger.Journal.commit", True),
    "published": ("veilray.releases.staging.Staging.publish", True),
}

KILLED_RUNS = """
import importlib, json, os, pickle, signal, sys
import pyarrow.parquet
from pathlib import Path
from veilray.ledger import Journal
from veilray.methods.tables import CADPTable
from veilray.releases import plan_table, start_release
from veilray.privacy import Claim

home, model, points = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
records = pickle.loads((home / "records.pickle").read_bytes())
loaded = CADPTable.load(model)
plan = plan_table(records, (), loaded, loaded.calibrated(Claim.of("4")), (), job={"epsilon": "4"})
for name, (target, _) in points.items():
    if os.fork():
        os.wait()
        continue
    path, _, method = target.rpartition(".")
    module, _, cls = path.rpartition(".")
    owner = getattr(importlib.import_module(module), cls)
    real = getattr(owner, method)

    def dying(*args, **kwargs):
        real(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, method, dying)
    start_release(plan, home / name / "out", home / name / "record", Journal(home / name / "l.sqlite"))
    os._exit(7)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, table_model: Path, people: Callable[..., Records]) -> Path:
    """A release that was killed at each point, all started in one process."""
    import pickle

    home = tmp_path_factory.mktemp("killed")
    (home / "records.pickle").write_bytes(pickle.dumps(people(10, 1)))
    for name in KILL_POINTS:
        (home / name).mkdir()
    arguments = [str(home), str(table_model), json.dumps(KILL_POINTS)]
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED_RUNS), *arguments], check=False, capture_output=True, timeout=300
    )
    assert run.returncode == 0, run.stderr.decode()
    return home


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("point", KILL_POINTS)
def test_killed_and_resumed_a_release_is_complete_and_drawn_once(
    killed: Path,
    model: CADPTable,
    people: Callable[..., Records],
    monkeypatch: pytest.MonkeyPatch,
    point: str,
) -> None:
    home, after_commit = killed / point, KILL_POINTS[point][1]
    journal = Journal(home / "l.sqlite")
    assert (home / "out").exists() is (point == "published")
    spooled = next(iter(home.glob(".out.*.spool")), home / "out")
    before = hashes(spooled) if spooled.exists() else {}
    plan = plan_table(people(10, 1), (), model, model.calibrated(Claim.of("4")), (), job={"epsilon": "4"})
    draws = []
    draw = module.drawn_records
    monkeypatch.setattr(module, "drawn_records", lambda *given: draws.append(1) or draw(*given))
    outcome = continue_release(plan, home / "out", home / "record", journal)
    assert outcome.count == 10
    assert len(draws) == (0 if after_commit else 1)
    final = hashes(home / "out")
    if after_commit:
        assert final == before, "what was committed is what is published"
    elif before:
        assert final["data.csv"] != before["data.csv"], "what was drawn and not committed is thrown away"
    assert read_release(home / "out")["guarantee"] == plan.guarantee
    assert sorted(source_rows(home / "record")) == list(range(1, 11))
    assert [release.state for release in journal.releases()] == [ReleaseState.PUBLISHED]
    assert not list(home.glob(".out.*")), "the spool must be gone"
    continue_release(plan, home / "out", home / "record", journal)
    assert hashes(home / "out") == final, "resuming a finished release must change nothing"
