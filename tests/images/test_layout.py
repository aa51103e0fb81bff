"""Layouts: what a path says, as data."""

from __future__ import annotations

import pytest

from veilray.images import Unreadable, layouts, load_layout, parse_layout


@pytest.mark.parametrize(
    ("path", "patient", "group", "label", "subtype"),
    [
        ("train/PNEUMONIA/person1000_bacteria_2931.jpeg", "train/bacteria/1000", None, "PNEUMONIA", "bacteria"),
        ("train/PNEUMONIA/person1000_virus_1681.jpeg", "train/virus/1000", None, "PNEUMONIA", "virus"),
        ("test/PNEUMONIA/person1_virus_6.jpeg", "test/virus/1", None, "PNEUMONIA", "virus"),
        ("train/PNEUMONIA/person447_virus_921_1.jpeg", "train/virus/447", None, "PNEUMONIA", "virus"),
        ("train/NORMAL/IM-0115-0001.jpeg", "train/normal/0115", None, "NORMAL", "normal"),
        ("train/NORMAL/IM-0115-0001-0002.jpeg", "train/normal/0115", None, "NORMAL", "normal"),
        ("test/NORMAL/NORMAL2-IM-0381-0001.jpeg", "test/normal2/0381", "test/normal/0381", "NORMAL", "normal"),
        ("train/NORMAL/NORMAL2-IM-0381-0001-0003.jpeg", "train/normal2/0381", "train/normal/0381", "NORMAL", "normal"),
    ],
)
def test_kermany_names(path, patient, group, label, subtype):
    facts = load_layout("kermany").facts(path)
    assert (facts.patient, facts.group, facts.label) == (patient, group or patient, label)
    assert facts.split == path.partition("/")[0]
    assert facts.conditions == {"subtype": subtype}


@pytest.mark.parametrize(
    "path",
    [
        "train/NORMAL/person1_virus_6.jpeg",
        "train/PNEUMONIA/IM-0115-0001.jpeg",
        "val/NORMAL/IM-0115-0001.jpeg",
        "train/PNEUMONIA/person1_fungus_6.jpeg",
        "train/NORMAL/IM-0115-0001.jpeg.png",
        "NORMAL/IM-0115-0001.jpeg",
    ],
)
def test_names_that_are_not_kermanys_are_refused(path):
    with pytest.raises(Unreadable, match="no rule of layout kermany matches the path"):
        load_layout("kermany").facts(path)


@pytest.mark.parametrize(
    ("path", "label", "split"),
    [
        ("a.png", None, None),
        ("cats/a.png", "cats", None),
        ("cats/deep/er/a.png", "cats", None),
        ("train/cats/a.png", "cats", "train"),
        ("test/a.png", None, "test"),
        ("größe/ä\n.png", "größe", None),
    ],
)
def test_folders_are_labels_and_patients_are_unknown(path, label, split):
    facts = load_layout("folders").facts(path)
    assert (facts.patient, facts.group, facts.label, facts.split) == (None, None, label, split)


def test_a_long_path_is_refused_before_it_is_matched():
    with pytest.raises(Unreadable, match="path must be at most 1024 characters"):
        load_layout("folders").facts("a" * 1_025)


def test_a_layout_of_ones_own(tmp_path):
    (tmp_path / "mine.toml").write_text(
        "name = 'mine'\n[[rule]]\nname = 'r'\npattern = '(?P<who>[a-z]{1,9})-(?P<view>ap|pa)?.png'\n"
        "patient = 'p-{who}'\nconditions.view = '{view}'\n"
    )
    layout = load_layout(tmp_path / "mine.toml")
    assert layout.facts("bob-ap.png").patient == "p-bob"
    assert layout.facts("bob-ap.png").conditions == {"view": "ap"}
    assert layout.facts("bob-.png").conditions == {}


def test_an_unknown_layout_is_refused_with_the_known_ones():
    assert layouts() == ("folders", "kermany")
    with pytest.raises(ValueError, match=r"layout must be one of folders, kermany or an existing \.toml file, got 'x'"):
        load_layout("x")


@pytest.mark.parametrize(
    "text",
    [
        "name = ",
        "name = 'x'",
        "name = 'x'\nrule = []",
        "name = 'x'\n[[rule]]\nname = 'r'\npattern = 'a'\nowner = 'b'",
        "name = 'x'\n[[rule]]\nname = 'r'\npattern = 'a'\npatient = '{who}'",
        "name = 'x'\n[[rule]]\nname = 'r'\npattern = '(a+)+'",
        "name = 'x'\n[[rule]]\nname = 'r'\npattern = 3",
    ],
)
def test_what_is_no_layout_is_refused(text):
    with pytest.raises(ValueError, match="must"):
        parse_layout(text)


@pytest.mark.parametrize("template", ["{a.__class__}", "{a!r}", "{", "{a}}", "{}"])
def test_templates_hold_names_of_groups_and_nothing_else(template):
    with pytest.raises(ValueError, match="braces only around the name of a group"):
        parse_layout(f"name = 'x'\n[[rule]]\nname = 'r'\npattern = '(?P<a>b)'\nlabel = '{template}'")
