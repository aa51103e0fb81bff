"""Texts as people write them: one form of keys, names, labels and cells, which column says what; and shown safely."""

from veilray.text.normal_form import cell_text, normal_text, patient_key
from veilray.text.printable import printable
from veilray.text.roles import ROLES, SYNONYMS, resolve_roles

__all__ = ["ROLES", "SYNONYMS", "cell_text", "normal_text", "patient_key", "printable", "resolve_roles"]
