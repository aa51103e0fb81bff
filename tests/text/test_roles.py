from __future__ import annotations

import unicodedata

import pytest

from veilray.text.roles import ROLES, SYNONYMS, resolve_roles


@pytest.mark.parametrize("role", ROLES)
def test_each_public_name_is_taken_whatever_its_case_and_joints(role):
    for name in SYNONYMS[role]:
        for spelt in (name, name.upper(), name.title().replace("_", " "), name.replace("_", "-"), f" {name} "):
            assert resolve_roles(["view", spelt]) == {role: spelt}


def test_no_name_stands_for_two_roles():
    names = [name for role in ROLES for name in SYNONYMS[role]]
    assert len(set(names)) == len(names)


def test_the_roles_own_name_comes_before_others():
    assert resolve_roles(["class", "label", "file", "path"]) == {"path": "path", "label": "label"}
    assert resolve_roles(["Label", "label"]) == {"label": "label"}


def test_two_columns_that_could_be_meant_are_a_question():
    with pytest.raises(ValueError, match=r"one column for patient, got 'subject', 'patient_id'.*--columns patient="):
        resolve_roles(["path", "subject", "patient_id"])


def test_what_the_user_says_comes_first():
    names = ["path", "label", "class", "child"]
    assert resolve_roles(names, {"label": "class", "patient": "child"}) == {
        "path": "path",
        "patient": "child",
        "label": "class",
    }


def test_an_empty_name_says_that_no_column_has_the_role():
    assert resolve_roles(["path", "class", "target"], {"label": ""}) == {"path": "path"}


def test_a_column_that_the_user_gave_to_one_role_is_not_taken_for_another():
    assert resolve_roles(["path", "group"], {"patient": "group"}) == {"path": "path", "patient": "group"}


def test_a_name_in_another_normal_form_is_the_same_name():
    spelt = unicodedata.normalize("NFD", "Schlüssel")
    assert resolve_roles(["path", spelt], {"patient": "Schlüssel"})["patient"] == spelt


@pytest.mark.parametrize(
    ("names", "columns", "message"),
    [
        (["a", "b"], {}, "must have a column for path, got 'a', 'b': say which it is with --columns path=NAME"),
        ([], {}, "got none"),
        (
            ["path"],
            {"patient": "child"},
            "column for patient must be one of those of the manifest: 'path', got 'child'",
        ),
        (["path"], {"person": "path"}, "columns must be given for path, patient, group, label, split, got 'person'"),
        (["path", "a"], {"patient": "a", "label": "a"}, "columns must name each column once, got 'a' for label too"),
    ],
)
def test_what_cannot_be_resolved_lists_the_names_and_the_cure(names, columns, message):
    with pytest.raises(ValueError) as caught:
        resolve_roles(names, columns, required=["path"])
    assert message in str(caught.value)


def test_a_file_that_holds_its_images_has_no_path():
    roles = tuple(role for role in ROLES if role != "path")
    assert resolve_roles(["images", "image", "labels"], roles=roles) == {"label": "labels"}
