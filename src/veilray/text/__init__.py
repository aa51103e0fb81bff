"""Texts as people write them, brought to one form: keys of patients, names, labels, cells."""

from veilray.text.normal_form import cell_text, normal_text, patient_key

__all__ = ["cell_text", "normal_text", "patient_key"]
