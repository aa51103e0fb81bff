"""docs/reference/tables.md tells every field of a schema, and the one it shows is one."""

from __future__ import annotations

import re
from pathlib import Path

from veilray.tables import Schema

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "tables.md"
SCHEMA = re.compile(r"^```yaml\n(format: veilray-schema\n.*?)^```", re.DOTALL | re.MULTILINE)


def test_the_schema_on_the_page_is_one() -> None:
    (shown,) = SCHEMA.findall(PAGE.read_text("utf-8"))
    schema = Schema.from_text(shown)
    assert {column.kind for column in schema.columns} == {"continuous", "integer", "ordinal", "categorical", "date"}
    page = PAGE.read_text("utf-8")
    named = [*Schema.model_fields, *schema.columns[0].model_fields_set, "levels", "decimals", "missing", "unit"]
    assert [name for name in named if f"`{name}`" not in page] == []
