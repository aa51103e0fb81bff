"""The pages on manifests and dialects list what the reader takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from veilray.text import MISSING_WORDS, SYNONYMS
from veilray.text.dialect import DATE_FORMATS, Dialect

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("role", SYNONYMS)
def test_every_name_of_a_role_is_listed(role: str) -> None:
    row = f"| `{role}` | {', '.join(f'`{name}`' for name in SYNONYMS[role])} |"
    assert row in (REFERENCE / "layouts.md").read_text("utf-8")


def test_every_entry_date_format_and_missing_word_is_listed() -> None:
    page = (REFERENCE / "tables.md").read_text("utf-8")
    section = page.partition("### Dialect")[2].partition("###")[0]
    assert [name for name in (*Dialect.model_fields, *DATE_FORMATS, *MISSING_WORDS) if f"`{name}`" not in section] == []
