"""Every sentence of the card is true of the claim it stands on, for whatever can be released.

`CLAIMS` x `CONDITIONS` x `RECORDS` x `RELEASES` x `TRAININGS` are the cards that can be printed. A further kind of
any of them is one more line in its table; a further rule is one more function named `check_...`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
from mpmath import MPContext

from veilray.privacy import MECHANISMS, Claim, ConditionPolicy, Guarantee, ModelTraining, Releases
from veilray.privacy.audited import AUDITED, audited_as
from veilray.privacy.card import card_entries
from veilray.privacy.exact import decimal_text, delta_text
from veilray.privacy.guarantee import RecordKind
from veilray.privacy.mechanisms.randomised_response import transition_matrix

EXACT = MPContext()
EXACT.dps = 60

LISTED = np.random.default_rng(7).normal(size=(64, 8))
THREE: dict[str, Any] = {"sizes": "3,3,2", "shares": "3,1,0"}

CLAIMS: dict[str, tuple[str, Claim, int, dict[str, Any]]] = {
    "laplace, box": ("laplace", Claim.of("4"), 8, {}),
    "laplace, box, a third": ("laplace", Claim.of("1/3"), 784, {}),
    "laplace, ball": ("laplace", Claim.of("4"), 8, {"bound": "l1-ball"}),
    "laplace, element": ("laplace", Claim.of("1/3", unit="element"), 784, {}),
    "laplace, one number": ("laplace", Claim.of("1/2"), 1, {"clip": 1}),
    "gaussian, ball": ("gaussian", Claim.of("4", "1e-5"), 8, {}),
    "gaussian, ball, uneven delta": ("gaussian", Claim.of("1", "1.004e-6"), 784, {}),
    "gaussian, box": ("gaussian", Claim.of("4", "1/3000000"), 8, {"bound": "box"}),
    "gaussian, element": ("gaussian", Claim.of("1", "1e-5", "element"), 64, {}),
    "directional": ("directional", Claim.of("4"), 8, {}),
    "directional, blocks": ("directional", Claim.of("12"), 2000, {}),
    "directional, sphere": ("directional", Claim.of("4"), 8, {"form": "sphere"}),
    "codebook": ("codebook", Claim.of("4"), 8, {}),
    "selection": ("selection", Claim.of("4"), 8, {"candidates": LISTED}),
    **{f"blockwise, {of}": ("blockwise", Claim.of("4"), 8, {"of": of, **THREE}) for of in ("directional", "codebook")},
    "blockwise, laplace ball": ("blockwise", Claim.of("4"), 8, {"of": "laplace", "bound": "l1-ball", **THREE}),
    "blockwise, gaussian": ("blockwise", Claim.of("4", "1e-5"), 8, {"of": "gaussian", **THREE}),
    "blockwise, selection": ("blockwise", Claim.of("4"), 8, {"of": "selection", "candidates": LISTED, **THREE}),
    "cells": ("randomised_response", Claim.of("4"), 8, {"levels": 5}),
    "one cell": ("randomised_response", Claim.of("4"), 1, {"levels": 2}),
    "cells, each": ("randomised_response", Claim.of("2", unit="element"), 8, {"levels": 5}),
}

_LEVEL = ConditionPolicy(policy="randomised", epsilon=Fraction(2, 3), levels=3)
_NUMBER = ConditionPolicy(policy="randomised", epsilon=Fraction(1), low=Fraction(0), high=Fraction(100))
_PUBLIC, _WITHHELD = ConditionPolicy(policy="public"), ConditionPolicy(policy="withheld")

CONDITIONS: tuple[tuple[dict[str, ConditionPolicy], tuple[str, ...]], ...] = (
    ({}, ()),
    ({"diagnosis": _PUBLIC}, ()),
    ({"diagnosis": _LEVEL}, ()),
    ({"age": _NUMBER}, ()),
    ({"diagnosis": _WITHHELD}, ()),
    ({}, ("the width and height of the source",)),
    ({"diagnosis": _LEVEL, "age": _NUMBER, "view": _PUBLIC, "sex": _WITHHELD}, ("the width and height of the source",)),
)

RECORDS: tuple[RecordKind, ...] = get_args(RecordKind)

RELEASES = (
    None,
    Releases(images=9),
    Releases(images=9, patients=9, largest_patient=1),
    Releases(images=90, patients=20, largest_patient=7),
)

_TRAINED = {"data": "dp-sgd", "statement": "a ward", "epsilon": Fraction(7, 3), "delta": Fraction("1.0004e-7")}
TRAININGS = (
    None,
    ModelTraining(data="public", statement="a public set of other patients"),
    ModelTraining(data="other patients", statement="another ward"),
    ModelTraining(data="other records", statement="other records of the same folder"),
    ModelTraining(**_TRAINED),
    ModelTraining(data="not covered", statement="my own; released records are among them"),
)


@dataclass(frozen=True)
class Card:
    """A claim and the sentences that are printed of it, by heading."""

    name: str
    claim: Guarantee
    told: dict[str, str]

    @property
    def text(self) -> str:
        """All of them."""
        return " / ".join(self.told.values())


@cache
def cards(name: str) -> tuple[Card, ...]:
    mechanism, claim, dimension, options = CLAIMS[name]
    stated = MECHANISMS[mechanism].calibrate(claim, dimension, **options).guarantee(dimension)
    return tuple(_completed(name, stated))


def _completed(name: str, stated: Guarantee) -> Iterator[Card]:
    for (conditions, in_clear), record, releases, training in product(CONDITIONS, RECORDS, RELEASES, TRAININGS):
        if releases is not None and training is None:
            continue  # a release always says what the network was trained on
        if releases is not None and releases.largest_patient == 7 and 0 < len(conditions) < 4:
            continue  # reading many releases of one patient takes a second
        if training not in TRAININGS[:2] and (0 < len(conditions) < 4 or releases != RELEASES[2]):
            continue  # what the network was trained on changes no figure of the release
        whole = Guarantee(
            **{
                **{field: getattr(stated, field) for field in Guarantee.__dataclass_fields__},
                "conditions": conditions,
                "in_clear": in_clear,
                "record": record,
                "releases": releases,
                "model_training": training,
            }
        )
        yield Card(name, whole, {entry.heading: entry.text for entry in card_entries(whole)})


def number(text: str) -> Fraction:
    return Fraction(text.replace(",", "").rstrip("."))


def upper(value: Fraction) -> Any:
    return EXACT.mpf(value.numerator) / value.denominator


def bound_on_odds(epsilon: Fraction, candidates: int, delta: Fraction) -> Any:
    others = (candidates - 1) * EXACT.exp(-upper(epsilon))
    return min((1 + others * upper(delta)) / (1 + others), EXACT.mpf(1))


# --- the rules ---


def check_the_headline_is_the_claim(card: Card) -> None:
    whole = card.claim.unit == "image"
    epsilon = card.claim.total_image_epsilon if whole else card.claim.epsilon
    one = "cell" if card.claim.mechanism == "randomised_response" else "latent element"
    found = re.search(
        r"differential privacy for every ([\w ]+?)(?:, given the network)?: epsilon ([\d.,e-]+?)(,| \(pure\))",
        card.told["Claim"],
    )
    assert found is not None
    assert found[1] == (f"whole {card.claim.record}" if whole else f"single {one}")
    assert epsilon <= number(found[2]) <= epsilon * Fraction(1001, 1000)
    assert ("(pure)" in card.told["Claim"]) == (card.claim.delta == 0)
    assert ("but for a chance of delta" in card.told["Claim"]) == (whole and card.claim.delta > 0)


def check_the_headline_says_what_the_network_may_know(card: Card) -> None:
    training, told = card.claim.model_training, card.told["Claim"]
    unknown = training is not None and training.data == "not covered"
    assert (", given the network: " in told) == unknown
    assert (f"may be among the released {card.claim.record}s: what it tells of them is not covered" in told) == unknown
    private = training is not None and training.data == "dp-sgd"
    assert ("for a record of its training, epsilon 2.334 and delta 1.01e-7 are added" in told) == private
    assert card.told["In odds"] in card.claim.summary() or card.claim.odds_sentence() in card.claim.summary()
    assert ("given the network" in told) == ("is not covered" in card.claim.summary())


def check_what_the_network_was_trained_on_is_stated_and_not_covered(card: Card) -> None:
    training = card.claim.model_training
    assert ("Network trained on" in card.told) == (training is not None)
    assert "the records on which the network was trained" in card.told["Not covered"]
    if training is not None:
        assert card.told["Network trained on"] == f"{training.data}: {training.statement}"
        same = "which may be of the same patients" in card.told["Not covered"]
        assert same == (training.data == "other records")


def check_the_parts_of_the_headline_add_up(card: Card) -> None:
    found = re.search(r"of which ([\d.,]+) for the (\w+) and ([\d.,]+) for its randomised", card.told["Claim"])
    assert (found is not None) == (card.claim.unit == "image" and card.claim.conditions_epsilon > 0)
    if found is not None:
        assert number(found[1]) >= card.claim.image_epsilon
        assert number(found[3]) >= card.claim.conditions_epsilon
        assert found[2] == ("picture" if card.claim.record == "image" else "row")


def check_every_epsilon_printed_is_one_of_the_claim(card: Card) -> None:
    claim = card.claim
    known = {claim.epsilon, claim.total_image_epsilon, claim.element_epsilon, claim.patient_epsilon, Fraction(1, 2)}
    known |= {condition.epsilon for condition in claim.conditions.values()}
    known |= {claim.model_training.epsilon} if claim.model_training else set()
    printed = {decimal_text(each) for each in known if each is not None}
    text = " / ".join(text for heading, text in card.told.items() if heading != "Other units")
    assert {found.rstrip(".,") for found in re.findall(r"epsilon ([\d.,]+)", text)} <= printed


def check_every_delta_printed_covers_one_of_the_claim(card: Card) -> None:
    trained = card.claim.model_training.delta if card.claim.model_training else None
    deltas = (card.claim.delta, card.claim.image_delta, card.claim.patient_delta, trained)
    known = {delta for delta in deltas if delta}
    text = " / ".join(text for heading, text in card.told.items() if heading != "Audited")
    printed = {found.rstrip(".") for found in re.findall(r"(?<!at )delta ([\d.]+(?:e-\d+)?)", text)}
    assert printed == {delta_text(each) for each in known}
    assert all(any(0 <= number(text) / each - 1 <= Fraction(1, 100) for each in known) for text in printed)


def check_the_odds_are_never_understated(card: Card) -> None:
    found = re.search(r"right one gets at most ([\d.]+) %", card.told["In odds"])
    assert found is not None
    bound = 100 * bound_on_odds(card.claim.total_image_epsilon, 1000, card.claim.image_delta)
    assert bound <= upper(number(found[1])) <= bound * EXACT.mpf("1.01")
    together = re.search(r"joins all (\d+) (\w+)s of the worst patient gets at most ([\d.]+) %", card.told["In odds"])
    most = card.claim.releases.largest_patient if card.claim.releases else None
    assert (together is not None) == (most is not None and most > 1)
    if together is not None:
        assert (int(together[1]), together[2]) == (most, card.claim.record)
        spent, delta = card.claim.patient_epsilon, card.claim.patient_delta
        assert spent is not None and delta is not None
        assert upper(number(together[3])) >= 100 * bound_on_odds(spent, 1000, delta)


def check_no_correlation_is_claimed(card: Card) -> None:
    assert "correl" not in card.text


def check_nats_are_for_pure_claims_and_never_understated(card: Card) -> None:
    assert ("Ceiling" in card.told) == card.claim.pure
    if card.claim.pure:
        found = re.search(r"at most ([\d.,]+) nats", card.told["Ceiling"])
        assert found is not None
        epsilon = upper(card.claim.total_image_epsilon)
        c = epsilon / (1 - EXACT.exp(-epsilon))
        assert c - 1 - EXACT.log(c) <= upper(number(found[1])) <= 1.01 * (c - 1 - EXACT.log(c))


def check_audited_is_said_of_audited_variants_alone(card: Card) -> None:
    found, told = audited_as(card.claim), card.told["Audited"]
    assert ("certified" in told) == (found is not None)
    assert told.startswith("no. ") == (found is None)
    assert ("was not audited by measurement in this variant" in told) == (found is None)
    if found is not None:
        assert found in AUDITED.values()
        shown = re.search(r"with ([\d,]+) trials a side: at least ([\d.]+) % of the claimed (\w+)", told)
        assert shown is not None
        assert number(shown[1]) == found.trials
        assert number(shown[2]) <= 100 * found.share
        assert shown[3] == found.figure
        audited, _, missing = told.partition("Not audited: ")
        assert (f"rows of {found.dimension:,} " in audited) or found.dimension == 1
        assert (f" {card.claim.dimension:,} " in missing) == (card.claim.dimension not in (1, found.dimension))
        assert (f"epsilon {decimal_text(card.claim.epsilon)}" in missing) == (not 0.5 <= card.claim.epsilon <= 4)
        assert missing.endswith("this release itself.")


def check_a_table_is_not_called_a_picture_nor_a_picture_a_row(card: Card) -> None:
    ours = " ".join(text for heading, text in card.told.items() if heading != "Network trained on")
    if card.claim.record == "row":
        plain = ours.replace("public code book", "")
        assert not re.findall(r"\b(?:image|picture|pixel|code)s?\b", plain)
    else:
        ours = ours.replace(card.told["Audited"], "")  # an audit is of rows of numbers
        assert not re.findall(r"\brows?\b", ours)


def check_conditions_are_told_by_their_policy(card: Card) -> None:
    assert ("Conditions" in card.told) == bool(card.claim.conditions)
    for name, condition in card.claim.conditions.items():
        told = next(part for part in re.split(r"; (?!the true)", card.told["Conditions"]) if part.startswith(name))
        assert condition.policy in told
        assert ("(not covered)" in told) == (condition.policy == "public")
        word = re.compile(rf"\b{name}\b")
        assert bool(word.search(card.told["Covered"])) == (condition.policy == "randomised")
        assert bool(word.search(card.told["Not covered"])) == (condition.policy == "public")
        if condition.levels is not None and condition.epsilon is not None:
            found = re.search(r"true level with probability ([\d.]+) at most", told)
            assert found is not None
            true = Fraction(float(transition_matrix(condition.levels, condition.epsilon)[0, 0]))
            assert true <= number(found[1]) <= true * Fraction(1001, 1000)


def check_what_is_in_clear_is_said_wherever_it_limits_a_sentence(card: Card) -> None:
    clear = card.claim.shows_in_clear
    among = {
        "Claim": "agrees on all that is released in clear",
        "In odds": "that agree on all that is released in clear",
        "Ceiling": "beyond what is released in clear",
        "Covered": "that agree on what is released in clear",
    }
    for heading, words in among.items():
        if heading in card.told and not (heading == "Claim" and card.claim.unit == "element"):
            assert (words in card.told[heading]) == clear, heading
    for words in card.claim.in_clear:
        assert words in card.told["Not covered"]


def check_the_other_units(card: Card) -> None:
    claim, told = card.claim, card.told["Other units"]
    assert f"whole {claim.record} epsilon {decimal_text(claim.total_image_epsilon)}" in told
    assert bool(re.search(r"one (latent element|cell) epsilon", told)) == (claim.element_epsilon is not None)
    if claim.element_epsilon is not None:
        assert f"epsilon {decimal_text(claim.element_epsilon)}" in told
    known = claim.patient_epsilon is not None
    assert ("worst patient in this release alone" in told) == known
    assert ("worst patient unknown" in told) == (claim.releases is not None and not known)
    if known:
        assert claim.releases is not None and claim.releases.largest_patient is not None
        spent = claim.releases.largest_patient * claim.total_image_epsilon
        found = re.search(r"release alone \((\d+) (\w+?)s?\) epsilon ([\d.,]+)", told)
        assert found is not None
        assert (int(found[1]), found[2]) == (claim.releases.largest_patient, claim.record)
        assert number(found[3].rstrip(",")) >= spent
    read = re.search(r"read at delta 1e-6 the worst patient has epsilon ([\d.,]+)", told)
    if read is not None:
        assert "not what is charged" in told
        assert number(read[1]) < (claim.patient_epsilon or 0)


def check_the_warning_follows_the_largest_unit(card: Card) -> None:
    assert ("Warning" in card.told) == (card.claim.largest_epsilon >= 10)
    if "Warning" in card.told:
        patient = (card.claim.patient_epsilon or 0) > card.claim.total_image_epsilon
        assert ("the worst patient" in card.told["Warning"]) == patient


def check_every_sentence_is_one(card: Card) -> None:
    for heading, text in card.told.items():
        assert text and "  " not in text and "None" not in text and ".." not in text, heading
        assert text.endswith(".") or heading == "Network trained on"
        assert not re.search(r"\b1 (?:latent element|number|cell|image|row|patient)s\b", text), text


CHECKS = [value for name, value in sorted(globals().items()) if name.startswith("check_")]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", CLAIMS)
def test_every_sentence_of_the_card_is_true(name: str, check: Any) -> None:
    for card in cards(name):
        check(card)


def test_every_mechanism_bound_and_form_has_a_card() -> None:
    claims = [cards(name)[0].claim for name in CLAIMS]
    assert {claim.mechanism for claim in claims} == set(MECHANISMS)
    kinds = {"box", "l1-ball", "l2-ball", "direction", "index", "blocks", "none"}
    assert {claim.bound.kind for claim in claims} == kinds
    assert {claim.parameters.get("form") for claim in claims} >= {"gaussian", "sphere"}
    assert {claim.unit for claim in claims} == {"image", "element"}


def test_audited_and_not_audited_variants_both_occur() -> None:
    found = {name: audited_as(cards(name)[0].claim) for name in CLAIMS}
    assert found["laplace, box"] is not None and found["directional, sphere"] is not None
    assert found["blockwise, laplace ball"] is None and found["directional, blocks"] is None
