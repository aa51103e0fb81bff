"""Any label is a folder, and no two labels are one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilray.text import folder_name

LABELS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=80)


@pytest.mark.parametrize("label", ["NORMAL", "No Finding", "grade 2.5", "a_b-c+d"])
def test_a_plain_label_is_its_own_folder(label: str) -> None:
    assert folder_name(label) == label


STRANGE = [".", "..", "../a", "/etc", "a/b", "a\\b", "con", "NUL.txt", "a.", "a ", "-rf", "肺炎", "A|B", "%41"]


@pytest.mark.parametrize("label", STRANGE)
def test_what_a_file_system_takes_for_something_else_is_written_out(label: str, tmp_path: Path) -> None:
    name = folder_name(label)
    assert name != label
    assert re.fullmatch(r"[A-Za-z0-9 ._+%~-]+", name)
    (tmp_path / name).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@given(LABELS)
def test_a_name_is_short_and_plain(label: str) -> None:
    name = folder_name(label)
    assert re.fullmatch(r"[A-Za-z0-9%_.+~-][A-Za-z0-9 ._+%~-]*", name)
    assert len(name) <= 113
    assert not name.endswith((" ", "."))
    assert not name.startswith((" ", "."))


@given(st.lists(LABELS, unique=True, max_size=8))
def test_two_labels_never_share_a_folder(labels: list[str]) -> None:
    assert len({folder_name(label) for label in labels}) == len(labels)
