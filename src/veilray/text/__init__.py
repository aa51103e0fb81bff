"""Texts as people write them: one form of keys, names and cells, dialects, which column says what; shown safely."""

from veilray.text.dialect import MISSING_WORDS, PLAIN, Dialect
from veilray.text.dialect_entries import GivenDialect, read_dialect
from veilray.text.folder_name import folder_name
from veilray.text.normal_form import cell_text, normal_text, patient_key
from veilray.text.printable import printable
from veilray.text.roles import ROLES, SYNONYMS, resolve_roles

__all__ = [
    "MISSING_WORDS",
    "PLAIN",
    "ROLES",
    "SYNONYMS",
    "Dialect",
    "GivenDialect",
    "cell_text",
    "folder_name",
    "normal_text",
    "patient_key",
    "printable",
    "read_dialect",
    "resolve_roles",
]
