"""Tables in and out of files; knows formats, columns and schemas, nothing of privacy."""

from __future__ import annotations

from veilray.tables.column import MISSING_WORDS, Column, Kind
from veilray.tables.draft import draft_schema
from veilray.tables.draft_text import Draft, DraftColumn
from veilray.tables.reading import Progress, ignored_columns, read_records
from veilray.tables.records import Records, RefusedRow
from veilray.tables.schema import Action, Policy, Schema
from veilray.tables.texts import EXTENSIONS
from veilray.text.dialect import Dialect

__all__ = [
    "EXTENSIONS",
    "MISSING_WORDS",
    "Action",
    "Column",
    "Dialect",
    "Draft",
    "DraftColumn",
    "Kind",
    "Policy",
    "Progress",
    "Records",
    "RefusedRow",
    "Schema",
    "draft_schema",
    "ignored_columns",
    "read_records",
]
