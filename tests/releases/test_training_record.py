"""A network that may know the released records: refused, or said in the headline; one rule for all methods."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import veilray
from veilray.errors import Refused
from veilray.methods import load_method
from veilray.methods.tables import CADPTable
from veilray.privacy import ModelTraining
from veilray.privacy.card import card_entries
from veilray.releases.training_record import (
    Overlap,
    TrainingRecord,
    check_statement,
    find_training_record,
    released_training,
    training_beside,
    training_statement,
)
from veilray.tables import Records

FITS = {
    "dp-glow": {},
    "directional": {"content": "pixels", "keep": 4},
    "directional in the latent": {"code": "gram", "keep": 4},
    "selection": {"content": "pixels", "keep": 4},
    "cadp": {"keep": 4},
}


def fitted(tiny_fit: Callable[..., Path], name: str, **options: Any) -> Path:
    return tiny_fit(name.split(maxsplit=1)[0], **FITS[name], **options)


def records_of(*names: str) -> list[bytes]:
    return [hashlib.sha256(name.encode()).digest() for name in names]


@pytest.mark.parametrize("statement", ["", "  ", "not stated"])
@pytest.mark.parametrize("data", ["public", "other patients", "other records"])
def test_a_kind_that_opens_the_gate_needs_a_statement(data: str, statement: str) -> None:
    with pytest.raises(ValueError, match=f"statement must say in a sentence where the {data} training records"):
        training_statement(data, statement)


def test_an_unknown_kind_of_training_data_is_refused() -> None:
    with pytest.raises(ValueError, match="training data must be one of public"):
        training_statement("private", "")


def test_what_is_not_covered_needs_no_statement() -> None:
    assert training_statement("not covered", "").data == "not covered"


@pytest.mark.parametrize(
    "training",
    [
        ModelTraining(data="not covered", statement="my own"),
        ModelTraining(data="public", statement="not stated"),  # as models of earlier versions say
    ],
)
def test_a_model_that_may_know_the_records_is_refused_unless_that_is_allowed(training: ModelTraining) -> None:
    with pytest.raises(Refused, match="must state that it was trained on public records"):
        released_training(training, None, allowed=False)
    assert released_training(training, None, allowed=True).data == "not covered"


@pytest.mark.parametrize("data", ["public", "other patients", "other records", "dp-sgd"])
def test_a_model_of_other_records_is_released_as_it_says(data: str) -> None:
    amounts = {"epsilon": "1", "delta": "1/1000000"} if data == "dp-sgd" else {}
    training = ModelTraining(data=data, statement="a ward", **amounts)  # type: ignore[arg-type]
    assert released_training(training, None, allowed=False) == training
    assert released_training(training, Overlap((), 0), allowed=True) == training


def test_an_overlap_is_refused_whatever_the_model_says_of_itself() -> None:
    training = ModelTraining(data="public", statement="a ward")
    with pytest.raises(Refused, match="got 2 images and 1 patient: leave them out"):
        released_training(training, Overlap((3, 5), 1), allowed=False)
    allowed = released_training(training, Overlap((3, 5), 1), allowed=True)
    assert (allowed.data, allowed.statement) == ("not covered", "a ward; released records are among them")


def test_equal_records_and_patients_are_found_by_place() -> None:
    record = TrainingRecord.of(records_of("a", "b"), ["p1"])
    assert record.overlap(records_of("c", "b", "a"), ["p1", "p2"]) == Overlap((1, 2), 1)
    assert not record.overlap(records_of("c"), ["p2"])


def test_rows_that_are_equal_by_chance_are_no_overlap() -> None:
    record = TrainingRecord.of(records_of("a"), [], chance=0.5)
    by_chance = record.overlap(records_of(*["a"] * 52, *["b"] * 48))
    assert not by_chance
    assert len(record.overlap(records_of(*["a"] * 100)).records) == 100


def test_the_hashes_are_keyed_anew_for_each_fit() -> None:
    one, two = (TrainingRecord.of(records_of("a"), ["p"]) for _ in range(2))
    assert not one.records & two.records
    assert not one.patients & two.patients
    assert hashlib.sha256(b"a").hexdigest() not in one.records


def test_the_hashes_lie_beside_the_ledger_for_their_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEILRAY_LEDGER", str(tmp_path / "house" / "ledger.sqlite"))
    record = TrainingRecord.of(records_of("a"), ["p"], chance=0.25)
    path = record.write("0" * 64)
    assert path.is_relative_to(tmp_path / "house")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert find_training_record("0" * 64) == record
    assert find_training_record("1" * 64) is None
    path.write_text(path.read_text()[:-40])
    with pytest.raises(ValueError, match="training record must be JSON"):
        find_training_record("0" * 64)
    path.write_text(json.dumps({"format": "veilray-training-record", "version": 1}))
    with pytest.raises(ValueError, match="must be a training record of veilray"):
        find_training_record("0" * 64)


@pytest.mark.parametrize("name", list(FITS))
def test_no_model_folder_holds_a_hash_of_its_records(
    name: str, tiny_fit: Callable[..., Path], public_digits: Path
) -> None:
    folder = fitted(tiny_fit, name)
    record = find_training_record(load_method(folder).card.weights_sha256)
    assert record is not None
    assert len(record.patients) == 240
    inside = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert record.key not in inside
    assert not any(known.encode() in inside for known in record.records | record.patients)


@pytest.mark.parametrize("name", list(FITS))
def test_the_training_images_are_not_released(
    name: str, tiny_fit: Callable[..., Path], public_digits: Path, tmp_path: Path
) -> None:
    with pytest.raises(Refused, match="must not be among the records that the model was trained on, got 240 images"):
        veilray.release(public_digits, fitted(tiny_fit, name), "4", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["dp-glow", "cadp"])
def test_a_release_by_a_network_that_may_know_the_records_says_so_in_its_headline(
    name: str, tiny_fit: Callable[..., Path], public_digits: Path, tmp_path: Path
) -> None:
    folder = fitted(tiny_fit, name, training_data="not covered")
    with pytest.raises(Refused, match="must state that it was trained on public records"):
        veilray.release(public_digits, folder, "4", tmp_path / "out")
    outcome = veilray.release(public_digits, folder, "4", tmp_path / "out", allow_trained_on_released=True)
    claim = card_entries(outcome.guarantee)[0].text
    assert claim.startswith("local differential privacy for every whole image, given the network: epsilon 4")
    assert "trained on records that may be among the released images" in claim
    readme = " ".join((tmp_path / "out" / "README").read_text().split())
    assert " ".join(claim.split()) in readme
    card = (tmp_path / "out" / "DATASET.md").read_text()
    assert card.count("trained on records that may be among the released images") == 2  # summary and claim


def test_a_kept_code_of_images_that_are_not_public_never_leaves(
    tiny_fit: Callable[..., Path], public_digits: Path, tmp_path: Path
) -> None:
    folder = fitted(tiny_fit, "directional", training_data="other patients")
    with pytest.raises(Refused, match="a kept code must be fitted on public images"):
        veilray.release(public_digits, folder, "4", tmp_path / "out", allow_trained_on_released=True)


@pytest.mark.parametrize("data", ["public", "other patients", "not covered"])
def test_the_hash_of_weights_leaves_only_where_the_training_images_are_public(
    data: str, tiny_fit: Callable[..., Path], tmp_path: Path
) -> None:
    """Training is deterministic: with the hash, a guess at the training images can be checked."""
    folder = fitted(tiny_fit, "dp-glow", training_data=data)
    card = load_method(folder).card
    np.savez(tmp_path / "private.npz", images=np.arange(2 * 64, dtype=np.uint8).reshape(2, 8, 8))
    allowed = data == "not covered"
    veilray.release(tmp_path / "private.npz", folder, "4", tmp_path / "out", allow_trained_on_released=allowed)
    leaving = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert (card.weights_sha256.encode() in leaving) == (data == "public")
    validation = str(card.figures["validation_bits_per_dimension"]).encode()
    assert (validation in leaving) == (data == "public")
    assert veilray.open_release(tmp_path / "out").model.training.data == data


@pytest.mark.parametrize("name", list(FITS))
@pytest.mark.parametrize("edit", [{"data": "public"}, {"statement": "a public set"}])
def test_an_edited_statement_on_the_model_card_is_found(
    name: str, edit: dict[str, str], tiny_fit: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(fitted(tiny_fit, name, training_data="other patients"), folder)
    change_card(folder, edit)
    with pytest.raises(ValueError, match=r"training statement of .* must be the one beside the weights"):
        load_method(folder)


def test_an_edited_statement_on_the_card_of_a_table_model_is_found(table_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(table_model, folder)
    change_card(folder, {"statement": "everybody"})
    with pytest.raises(ValueError, match=r"training statement of .* must be the one beside the weights"):
        CADPTable.load(folder)


def test_the_rows_that_a_table_model_was_trained_on_are_not_released(
    table_model: Path, table_file: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(Refused, match="got 300 rows"):
        veilray.release(table_file(300, 7), table_model, "4", tmp_path / "out")
    outcome = veilray.release(table_file(20, 8), table_model, "4", tmp_path / "out")
    assert not outcome.guarantee.network_may_know


def test_a_table_of_the_same_patients_is_refused_where_others_were_stated(
    tmp_path: Path, people: Callable[..., Records]
) -> None:
    options = {"couplings": 2, "width": 16, "epochs": 1, "training_data": "other patients", "statement": "a ward"}
    model = CADPTable.fit(people(60, 7), tmp_path / "model", **options)
    again = people(60, 7)
    changed = Records(again.schema, people(60, 9).values, again.rows, again.patients)
    record = find_training_record(model.card.weights_sha256)
    assert record is not None
    from veilray.releases import rows_trained_on

    overlap = rows_trained_on(changed, model)
    assert overlap is not None
    assert (overlap.records, overlap.patients) == ((), 30)


def test_what_stands_beside_the_weights_is_compared_whole(tmp_path: Path) -> None:
    training = ModelTraining(data="dp-sgd", statement="a ward", epsilon="1", delta="1/100000")  # type: ignore[arg-type]
    check_statement(tmp_path, training, training_beside(training))
    for beside in ({}, {**training_beside(training), "training_epsilon": "1/2"}):
        with pytest.raises(ValueError, match="must be the one beside the weights"):
            check_statement(tmp_path, training, beside)


def change_card(folder: Path, edit: dict[str, str]) -> None:
    card = json.loads((folder / "model.json").read_text())
    card["training"].update(edit)
    (folder / "model.json").write_text(json.dumps(card))
