"""The claim survives JSON exactly, refuses contradictions, and says what it does not cover."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilray.privacy import (
    Bound,
    Claim,
    ConditionPolicy,
    Guarantee,
    ModelTraining,
    Releases,
    guarantee_schema,
)
from veilray.privacy.card import card_entries, card_text
from veilray.privacy.mechanisms.randomised_response import transition_matrix

POSITIVE = st.fractions(min_value=Fraction(1, 10**6), max_value=10**6)
DELTA = st.fractions(min_value=0, max_value=Fraction(1, 2))
WORDS = st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=20)

BOUNDS = st.one_of(
    st.builds(Bound, kind=st.sampled_from(["box", "l1-ball", "l2-ball"]), radius=POSITIVE),
    st.builds(Bound, kind=st.sampled_from(["direction", "index", "blocks", "none"])),
)
CONDITIONS = st.one_of(
    st.builds(ConditionPolicy, policy=st.sampled_from(["public", "withheld"])),
    st.builds(ConditionPolicy, policy=st.just("randomised"), epsilon=POSITIVE, levels=st.integers(2, 99)),
    st.builds(
        ConditionPolicy,
        policy=st.just("randomised"),
        epsilon=POSITIVE,
        low=st.fractions(-100, 0),
        high=st.fractions(Fraction(1, 9), 100),
    ),
)
TRAINING = st.one_of(
    st.none(),
    st.builds(ModelTraining, data=st.sampled_from(["public", "other patients", "not covered"]), statement=WORDS),
    st.builds(ModelTraining, data=st.just("dp-sgd"), statement=WORDS, epsilon=POSITIVE, delta=DELTA),
)
RELEASES = st.one_of(
    st.none(),
    st.builds(
        Releases,
        images=st.integers(0, 99),
        patients=st.none() | st.integers(0, 99),
        largest_patient=st.none() | st.integers(0, 99),
    ),
)


@st.composite
def guarantees(draw: st.DrawFn) -> Guarantee:
    unit = draw(st.sampled_from(["image", "element", "patient", "pixels", "metric"]))
    epsilon, delta = draw(POSITIVE), draw(DELTA)
    return Guarantee(
        unit=unit,
        epsilon=epsilon,
        delta=delta,
        image_epsilon=epsilon if unit == "image" else draw(POSITIVE),
        image_delta=delta if unit == "image" else draw(DELTA),
        element_epsilon=draw(st.none() | (st.just(epsilon) if unit == "element" else POSITIVE)),
        bound=draw(BOUNDS),
        dimension=draw(st.integers(1, 10**6)),
        mechanism=draw(WORDS),
        parameters=draw(st.dictionaries(WORDS, WORDS, max_size=3)),
        conditions=draw(st.dictionaries(WORDS, CONDITIONS, max_size=3)),
        model_training=draw(TRAINING),
        releases=draw(RELEASES),
        in_clear=tuple(draw(st.lists(WORDS, max_size=2))),
    )


def example(**changes: object) -> Guarantee:
    given_values: dict[str, object] = {
        "unit": "image",
        "epsilon": Fraction(8),
        "image_epsilon": Fraction(8),
        "bound": Bound(kind="box", radius=Fraction(3)),
        "dimension": 64,
        "mechanism": "laplace",
    }
    return Guarantee(**{**given_values, **changes})


@given(guarantees())
def test_json_round_trip_is_exact(guarantee):
    assert Guarantee.from_json(guarantee.to_json()) == guarantee
    assert Guarantee.from_json(json.dumps(guarantee.to_dict())) == guarantee


def test_numbers_in_json_are_text():
    written = json.loads(example(epsilon=Fraction(1, 3), image_epsilon=Fraction(1, 3)).to_json())
    assert written["epsilon"] == "1/3"


@pytest.mark.parametrize("field", ["epsilon", "delta", "image_epsilon", "image_delta", "element_epsilon"])
def test_floats_are_refused(field):
    with pytest.raises(ValueError, match="must be exact"):
        Guarantee.from_json(json.dumps({**example().to_dict(), field: 0.5}))


def test_unknown_fields_are_refused_at_every_level():
    plain = example().to_dict()
    with pytest.raises(ValueError, match="guarantee must be valid JSON"):
        Guarantee.from_json(json.dumps({**plain, "seed": 1}))
    with pytest.raises(ValueError, match="guarantee must be valid JSON"):
        Guarantee.from_json(json.dumps({**plain, "bound": {**plain["bound"], "seed": 1}}))


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"schema_version": 2}', b"\xff"])
def test_other_text_is_refused(text):
    with pytest.raises(ValueError):
        Guarantee.from_json(text)


def test_schema_has_no_number_where_a_fraction_stands():
    schema = guarantee_schema()
    assert schema["properties"]["epsilon"]["type"] == "string"
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_epsilon": Fraction(9)}, "image_epsilon must equal epsilon"),
        ({"delta": Fraction(1), "image_delta": Fraction(1)}, "delta must be below 1"),
        ({"unit": "element", "element_epsilon": Fraction(9)}, "element_epsilon must equal epsilon"),
        ({"dimension": 0}, "greater than or equal to 1"),
    ],
)
def test_contradictions_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        example(**changes)


def test_parts_refuse_contradictions():
    with pytest.raises(ValueError, match="radius must be positive"):
        Bound(kind="box")
    with pytest.raises(ValueError, match="radius must be absent"):
        Bound(kind="none", radius=Fraction(1))
    with pytest.raises(ValueError, match="radius must be absent for blocks"):
        Bound(kind="blocks", radius=Fraction(1))
    with pytest.raises(ValueError, match="epsilon and delta must be given"):
        ModelTraining(data="dp-sgd", statement="trained")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": 3}, "epsilon must be given for a randomised condition"),
        ({"epsilon": 1}, "levels or low and high must be given for a randomised condition, got neither"),
        ({"epsilon": 1, "low": 0}, "levels or low and high must be given for a randomised condition, got neither"),
        ({"epsilon": 1, "levels": 3, "low": 0, "high": 9}, "got both"),
        ({"epsilon": 1, "levels": 3, "high": 9}, "low and high must be given together"),
        ({"epsilon": 1, "low": 9, "high": 9}, "low must be below high, got 9 and 9"),
        ({"epsilon": 1, "low": 0.5, "high": 9}, "must be exact"),
        ({"policy": "public", "levels": 3}, "epsilon, levels, low and high must be absent for a public condition"),
        ({"policy": "withheld", "low": 0, "high": 9}, "must be absent for a withheld condition"),
    ],
)
def test_a_condition_is_drawn_over_levels_or_within_bounds(changes, message):
    with pytest.raises(ValueError, match=message):
        ConditionPolicy(**{"policy": "randomised", **changes})


def test_json_from_before_there_were_bounds_is_read():
    drawn = ConditionPolicy(policy="randomised", epsilon=Fraction(1), levels=2)
    plain = example(conditions={"label": drawn}).to_dict()
    del plain["conditions"]["label"]["low"], plain["conditions"]["label"]["high"]
    assert Guarantee.from_json(json.dumps(plain)).conditions == {"label": drawn}


def test_the_card_says_how_often_a_randomised_label_is_true_and_between_what_a_number_was_drawn():
    conditions = {
        "label": ConditionPolicy(policy="randomised", epsilon=Fraction(1, 2), levels=4),
        "age": ConditionPolicy(policy="randomised", epsilon=Fraction(1), low=0, high=100),
        "t": ConditionPolicy(policy="randomised", epsilon=Fraction(3), low=Fraction(-5, 2), high=4),
    }
    told = next(e.text for e in card_entries(example(conditions=conditions)) if e.heading == "Conditions")
    assert told == (
        "age randomised once within 0 to 100 (epsilon 1, added); "
        "label randomised once over 4 public levels (epsilon 0.5, added; "
        "the true level with probability 0.3547 at most); "
        "t randomised once within -2.5 to 4 (epsilon 3, added)."
    )
    kept = transition_matrix(4, "1/2")[0, 0]
    assert kept <= 0.3547 < kept + 1e-4


@pytest.mark.parametrize("epsilon", [Fraction(1, 10**9), Fraction(1), Fraction(800)])
def test_the_probability_on_the_card_is_never_understated(epsilon):
    policy = ConditionPolicy(policy="randomised", epsilon=epsilon, levels=3)
    text = next(e.text for e in card_entries(example(conditions={"label": policy})) if e.heading == "Conditions")
    assert transition_matrix(3, epsilon)[0, 0] <= float(text.split("probability ")[1].split()[0]) <= 1


def test_the_worst_patient_pays_for_all_images_and_their_conditions():
    guarantee = example().with_release(
        releases=Releases(images=100, patients=50, largest_patient=30),
        conditions={"label": ConditionPolicy(policy="randomised", epsilon=Fraction(1, 2), levels=4)},
        model_training=ModelTraining(data="public", statement="chest X-rays"),
    )
    assert guarantee.total_image_epsilon == Fraction(17, 2)
    assert guarantee.patient_epsilon == 255
    assert guarantee.patient_delta == 0
    assert guarantee.largest_epsilon == 255
    assert guarantee.protects_little


def test_no_patient_key_means_no_claim_about_patients():
    guarantee = example(releases=Releases(images=3))
    assert guarantee.patient_epsilon is None
    assert guarantee.patient_delta is None
    assert any("no patient key" in line for line in guarantee.not_covered())
    assert not guarantee.protects_little


def test_what_is_not_covered_names_conditions_in_clear_and_training():
    guarantee = example(
        conditions={"view": ConditionPolicy(policy="public"), "label": ConditionPolicy(policy="withheld")},
        in_clear=("the folder",),
        model_training=ModelTraining(data="dp-sgd", statement="private", epsilon=Fraction(3), delta=Fraction(1, 10**5)),
    )
    text = " / ".join(guarantee.not_covered())
    assert "view" in text
    assert "label" not in text
    assert "the folder" in text
    assert "epsilon 3, delta 1e-5" in text


def test_odds_sentence():
    assert example(epsilon=Fraction(4), image_epsilon=Fraction(4)).odds_sentence() == (
        "Among 1,000 equally likely images the right one gets at most 5.19 % (a blind guess gets 0.1 %)."
    )


def test_ceilings_are_for_pure_claims_only():
    assert float(example().ceiling() or 0) == pytest.approx(4.923, rel=2e-3)
    assert example(delta=Fraction(1, 9), image_delta=Fraction(1, 9)).ceiling() is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "epsilon must be above 0"),
        ((1, 1), r"delta must be in \[0, 1\)"),
        ((1, 0, "patient"), "unit must be image or element"),
        ((0.5,), "must be exact"),
    ],
)
def test_claims_refuse_what_they_cannot_mean(arguments, message):
    with pytest.raises(ValueError, match=message):
        Claim.of(*arguments)


def test_a_claim_built_directly_refuses_floats_too():
    with pytest.raises(ValueError, match="must be exact"):
        Claim(0.5)  # type: ignore[arg-type]


def test_the_most_that_were_taken_of_a_patient_is_stated_and_kept():
    guarantee = example(releases=Releases(images=9, patients=5, largest_patient=2, images_per_patient=2))
    assert Guarantee.from_json(guarantee.to_json()) == guarantee
    assert guarantee.to_dict()["releases"]["images_per_patient"] == 2
    assert "at most 2 images of a patient were taken, the first by the order" in " ".join(card_text(guarantee).split())
    with pytest.raises(ValueError, match="largest_patient must be at most images_per_patient 2, got 3"):
        example(releases=Releases(images=9, patients=5, largest_patient=3, images_per_patient=2))


def test_a_claim_without_such_a_rule_says_nothing_of_it():
    guarantee = example(releases=Releases(images=9, patients=5, largest_patient=2))
    assert "images_per_patient" not in guarantee.to_json()
    assert "Selection" not in card_text(guarantee)
