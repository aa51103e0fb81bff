"""Texts as people write them: one form of keys, names, labels and cells, and which column says what."""

from veilray.text.normal_form import cell_text, normal_text, patient_key
from veilray.text.roles import ROLES, SYNONYMS, resolve_roles

__all__ = ["ROLES", "SYNONYMS", "cell_text", "normal_text", "patient_key", "resolve_roles"]
