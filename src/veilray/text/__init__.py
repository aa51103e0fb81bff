"""Texts as people write them, brought to one form: keys of patients, names, labels, cells; and shown safely."""

from veilray.text.normal_form import cell_text, normal_text, patient_key
from veilray.text.printable import printable

__all__ = ["cell_text", "normal_text", "patient_key", "printable"]
