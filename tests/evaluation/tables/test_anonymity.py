"""Attacks on a released table win on the raw rows, and nothing on rows of other people."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from veilray.evaluation.tables import AnonymityRisk, anonymity_risks, inference, linkability, singling_out
from veilray.tables import Column, Records, Schema

pytest.importorskip("anonymeter", reason="anonymeter must be installed: make install")


@pytest.fixture(scope="module")
def raw(private: Records, others: Records) -> tuple[AnonymityRisk, ...]:
    return anonymity_risks(private, private, others, secret="ill", attacks=100)


@pytest.fixture(scope="module")
def harmless(private: Records, others: Records, people: Callable[[int, int], Records]) -> tuple[AnonymityRisk, ...]:
    return anonymity_risks(private, people(400, 3), others, secret="ill", attacks=100)


def test_raw_rows_give_everything_away(raw: tuple[AnonymityRisk, ...]) -> None:
    assert all(result.low > 0.3 and result.beats_blind for result in raw), raw


def test_rows_of_other_people_tell_nothing_of_one(harmless: tuple[AnonymityRisk, ...]) -> None:
    assert all(result.low < 0.05 for result in harmless), harmless


def test_what_is_known_of_the_population_is_in_the_control(harmless: tuple[AnonymityRisk, ...]) -> None:
    told = harmless[-1]
    assert told.attack == "inference of ill"
    assert told.success > 0.6
    assert told.control > 0.6


def test_the_same_seed_attacks_the_same_people(private: Records, others: Records) -> None:
    first, second = (linkability(private, private, others, attacks=60, seed=4) for _ in range(2))
    assert (first.risk, first.success, first.control) == (second.risk, second.success, second.control)


def test_a_number_is_inferred_too(private: Records, others: Records) -> None:
    assert inference(private, private, others, secret="bmi", attacks=60).low > 0.5


def test_negative_numbers_are_no_hits_by_accident(private: Records) -> None:
    schema = Schema(
        columns=(
            Column(name="change", kind="continuous", low=-100, high=100),
            Column(name="dose", kind="continuous", low=0, high=1),
        )
    )
    rng = np.random.default_rng(1)
    rows = [Records.of(schema, rng.uniform([-100, 0], [-1, 1], (200, 2))) for _ in range(3)]
    assert inference(*rows, secret="change", attacks=150).success < 0.4


def test_a_release_without_rare_values_allows_no_question() -> None:
    schema = Schema(columns=(Column(name="ill", kind="categorical", levels=("no", "yes")),))
    rows = Records.of(schema, [[0], [0], [1], [1]])
    result = singling_out(rows, rows[np.array([0, 0, 1, 1])], rows, columns=1)
    assert (result.attacks, result.risk, result.low, result.high) == (1, 0, 0, 1)


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        (lambda rows: inference(rows, rows, rows[:0], secret="ill"), "control must hold at least one row"),
        (lambda rows: inference(rows, rows.only(["ill"]), rows, secret="ill"), "released must have the columns"),
        (lambda rows: inference(rows, rows, rows, secret="ill", known=["ill"]), "known must be"),
        (lambda rows: linkability(rows, rows, rows, known=(["age"], [])), "known must be"),
    ],
)
def test_impossible_attacks_are_refused(
    attack: Callable[[Records], AnonymityRisk], said: str, private: Records
) -> None:
    with pytest.raises(ValueError, match=said):
        attack(private)
