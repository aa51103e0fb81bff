"""What public conditions give away is found by how they group the records, not by how they are written."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilray.errors import Refused
from veilray.releases import condition_rules

LABELS = ["NORMAL", "PNEUMONIA", "NORMAL", "PNEUMONIA", "PNEUMONIA", "NORMAL", "NORMAL", "PNEUMONIA"]
LEVELS = {"label": ("NORMAL", "PNEUMONIA"), "icd": ("Z00", "J18")}


def facts(**columns: list[str]) -> list[dict[str, str]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def written(code: dict[str, str]) -> list[str]:
    return [code[label] for label in LABELS]


@pytest.mark.parametrize("label", ["withheld", "randomised:1"])
@pytest.mark.parametrize(
    "code",
    [
        {"NORMAL": "Z00", "PNEUMONIA": "J18"},
        {"NORMAL": "normal", "PNEUMONIA": "pneumonia"},
        {"NORMAL": "0", "PNEUMONIA": "1"},
        {"NORMAL": "PNEUMONIA", "PNEUMONIA": "NORMAL"},
        {"NORMAL": "NORMAL", "PNEUMONIA": "PNEUMONIA"},
    ],
    ids=["icd", "case", "class", "swapped", "copy"],
)
def test_a_twin_of_a_hidden_label_is_not_public(label: str, code: dict[str, str]) -> None:
    known = facts(label=LABELS, twin=written(code))
    policy = label.partition(":")[0]
    with pytest.raises(Refused, match=f"label must not be {policy} while twin is public") as caught:
        condition_rules({"label": label, "twin": "public"}, LEVELS, known)
    assert "Withhold or randomise twin too, or make label public" in str(caught.value)
    assert not any(value in str(caught.value) for value in ("NORMAL", "PNEUMONIA", "J18", "pneumonia"))
    condition_rules({"label": "public", "twin": "public"}, LEVELS, known)
    condition_rules({"label": label, "twin": "withheld"}, LEVELS, known)


def test_a_label_that_nobody_named_is_hidden_too() -> None:
    with pytest.raises(Refused, match="label must not be withheld while icd is public"):
        condition_rules(
            {"icd": "public"}, LEVELS, facts(label=LABELS, icd=written({"NORMAL": "Z00", "PNEUMONIA": "J"}))
        )


def test_a_finer_code_tells_the_label() -> None:
    codes = ["Z00.0", "J18.0", "Z00.1", "J18.0", "J18.9", "Z00.0", "Z00.1", "J18.9"]
    with pytest.raises(Refused, match="label must not be withheld while icd is public"):
        condition_rules({"icd": "public"}, LEVELS, facts(label=LABELS, icd=codes))


def test_a_coarser_code_does_not_tell_the_label() -> None:
    assert condition_rules({"organ": "public"}, LEVELS, facts(label=LABELS, organ=["lung"] * 8))
    site = ["a", "a", "b", "b", "a", "a", "b", "b"]
    assert condition_rules({"site": "public"}, LEVELS, facts(label=LABELS, site=site))


def test_two_conditions_that_tell_it_together_are_named_and_no_third() -> None:
    coin = ["x", "y", "y", "x", "x", "x", "y", "y"]
    other = ["p" if (label == "NORMAL") == (side == "x") else "q" for label, side in zip(LABELS, coin, strict=True)]
    known = facts(label=LABELS, coin=coin, other=other, view=["PA", "AP"] * 2 + ["AP", "PA"] * 2)
    assert condition_rules({"coin": "public"}, LEVELS, known)
    assert condition_rules({"other": "public"}, LEVELS, known)
    with pytest.raises(Refused, match="while coin and other are public, which on these records together tell it"):
        condition_rules({"coin": "public", "other": "public"}, LEVELS, known)
    with pytest.raises(Refused, match="while coin and other are public"):
        condition_rules({"coin": "public", "other": "public", "view": "public"}, LEVELS, known)
    dated = [{**row, "date": f"day {place}"} for place, row in enumerate([*known, *known[:2]])][1:]
    with pytest.raises(Refused, match="while coin and other are public"):
        condition_rules({"coin": "public", "other": "public", "date": "public"}, LEVELS, dated)


def test_a_number_tells_a_label_and_a_label_a_number() -> None:
    bounds = {"grade": (Fraction(0), Fraction(9))}
    grade = ["1", "7", "1.0", "7.00", "7e0", "1", "1", "7"]
    for policies in (
        {"grade": "public"},
        {"label": "public", "grade": "randomised:1"},
        {"label": "public", "grade": "withheld"},
    ):
        with pytest.raises(Refused, match="which on these records tells it exactly"):
            condition_rules(policies, LEVELS, facts(label=LABELS, grade=grade), bounds)


def test_records_whose_hidden_value_is_not_known_do_not_save_a_twin() -> None:
    labels = ["", *LABELS, ""]
    twin = ["J18", *written({"NORMAL": "Z00", "PNEUMONIA": "J18"}), "Z00"]
    with pytest.raises(Refused, match="label must not be withheld while icd is public"):
        condition_rules({"icd": "public"}, LEVELS, facts(label=labels, icd=twin))


def test_two_randomised_twins_have_an_epsilon_each() -> None:
    known = facts(label=LABELS, icd=written({"NORMAL": "Z00", "PNEUMONIA": "J18"}))
    rules = condition_rules({"label": "randomised:1", "icd": "randomised:2"}, LEVELS, known)
    assert sum(rule.policy.epsilon or 0 for rule in rules) == 3


def test_a_condition_that_hardly_repeats_tells_nothing_by_accident() -> None:
    """A thousand dates, ten of them twice, beside a rare label: the few that agree do so by chance."""
    labels = ["PNEUMONIA" if row % 40 == 0 else "NORMAL" for row in range(1000)]
    dates = [f"day {row}" for row in range(990)] + [f"day {row + 1}" for row in range(10)]
    assert condition_rules({"date": "public"}, LEVELS, facts(label=labels, date=dates))


def test_in_a_small_release_a_value_of_its_own_tells_nothing_but_a_copy_does() -> None:
    some = facts(label=LABELS, age=["3", "14", "15", "9", "2", "6", "5", "35"])
    assert condition_rules({"age": "public"}, LEVELS, some)
    bounds = {"years": (Fraction(0), Fraction(99))}
    copied = [{**row, "years": f"{row['age']}.0"} for row in some]
    with pytest.raises(Refused, match="years must not be randomised while age is public"):
        condition_rules({"age": "public", "years": "randomised:1"}, LEVELS, copied, bounds)


@pytest.mark.parametrize("count", [10, 500])
def test_a_condition_that_differs_for_every_record_is_asked_for(count: int) -> None:
    known = facts(label=["NORMAL"] * count, accession=[f"A{row}" for row in range(count)])
    with pytest.raises(Refused, match="accession must not be public, it is different for every record") as caught:
        condition_rules({"accession": "public"}, LEVELS, known)
    assert "A1" not in str(caught.value)
    assert condition_rules({"accession": "public:unique"}, LEVELS, known)[0].policy.policy == "public"
    assert condition_rules({"accession": "withheld"}, LEVELS, known)
    assert condition_rules({"accession": "public"}, LEVELS, known[:9])
    assert condition_rules({"accession": "public"}, LEVELS, [*known, known[0]])


@given(
    labels=st.lists(st.sampled_from(["a", "b", "c"]), min_size=4, max_size=40).filter(lambda some: len(set(some)) > 1),
    names=st.lists(st.text("xyz019 .+-", min_size=1, max_size=4), min_size=3, max_size=3, unique=True),
    policy=st.sampled_from(["withheld", "randomised:1"]),
)
def test_every_renaming_of_a_label_is_found(labels: list[str], names: list[str], policy: str) -> None:
    twin = [dict(zip("abc", names, strict=True))[label] for label in labels]
    known = facts(label=labels, twin=twin)
    same = len({name.strip().casefold() for name in names}) < 3 or any(not name.strip() for name in names)
    if same or len(set(map(_number, names))) < 3:
        return  # two names that are one
    with pytest.raises(Refused, match="label must not be"):
        condition_rules({"label": policy, "twin": "public"}, {"label": ("a", "b", "c")}, known, any_text=True)


def _number(name: str) -> object:
    try:
        return Fraction(name.strip()) if "/" not in name else name
    except (ValueError, ZeroDivisionError):
        return name
