"""What the name of a column says in public: bounds that hold for every person, usual codings, and identifiers.

Bounds are wide on purpose: they take every living person, so that a value at a bound is an error of measurement and
not a rare patient. Each is for the unit that stands beside it; a table in another unit needs its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["CODINGS", "Public", "is_identifier", "is_patient", "plain_name", "public_bounds"]


@dataclass(frozen=True, slots=True)
class Public:
    """Bounds that are public knowledge, in a unit."""

    low: int
    high: int
    unit: str = ""


_BOUNDS = {
    Public(0, 120, "years"): "age age_years age_at_diagnosis age_at_scan age_at_admission",
    Public(5, 100, "kg/m2"): "bmi body_mass_index",
    Public(30, 300, "mmHg"): "systolic systolic_bp systolic_blood_pressure sbp sysbp sys_bp ap_hi trestbps",
    Public(10, 200, "mmHg"): "diastolic diastolic_bp diastolic_blood_pressure dbp diabp dia_bp ap_lo",
    Public(10, 300, "mmHg"): "bp blood_pressure mean_arterial_pressure map resting_blood_pressure",
    Public(10, 350, "1/min"): "heart_rate hr pulse pulse_rate thalach max_heart_rate resting_heart_rate",
    Public(0, 120, "1/min"): "respiratory_rate resp_rate rr",
    Public(20, 45, "degrees Celsius"): "temperature temp body_temperature body_temp",
    Public(0, 100, "%"): "spo2 oxygen_saturation sao2 percent percentage pct ejection_fraction hematocrit haematocrit",
    Public(0, 650, "kg"): "weight body_weight weight_kg",
    Public(20, 280, "cm"): "height body_height height_cm",
    Public(0, 168, "hours"): "hours_per_week",
    Public(0, 24, "hours"): "hours_per_day hours_of_sleep sleep_hours",
    Public(1900, 2100): "year birth_year year_of_birth admission_year diagnosis_year",
    Public(1, 12): "month birth_month admission_month",
    Public(0, 50, "years"): "years_of_education education_years education_num",
    Public(0, 50): "pregnancies children number_of_children",
    Public(0, 2000, "mg/dl"): "chol cholesterol total_cholesterol ldl hdl glucose blood_glucose",
    Public(2, 25, "%"): "hba1c",
    Public(0, 100, "mg/dl"): "creatinine serum_creatinine",
    Public(0, 30, "g/dl"): "hemoglobin haemoglobin",
    Public(80, 220, "mmol/l"): "sodium serum_sodium",
    Public(0, 15, "mmol/l"): "potassium serum_potassium",
}
_BY_NAME = {name: public for public, names in _BOUNDS.items() for name in names.split()}

# Forms offer these answers together: where a table shows some of them, the draft lists all.
CODINGS: tuple[tuple[str, ...], ...] = (
    ("female", "male"),
    ("Female", "Male"),
    ("F", "M"),
    ("f", "m"),
    ("no", "yes"),
    ("No", "Yes"),
    ("N", "Y"),
    ("false", "true"),
    ("False", "True"),
    ("FALSE", "TRUE"),
    ("negative", "positive"),
    ("0", "1"),
)

_PATIENT_NAMES = (
    "patient patient_id patientid patient_key patient_no patient_nr patient_nbr patient_number subject subject_id "
    "subjectid person person_id participant participant_id pid mrn medical_record_number record_id"
)
_IDENTIFIER_NAMES = (
    "id uuid guid index row row_id rowid key name first_name last_name firstname lastname surname family_name "
    "given_name full_name patient_name email e_mail mail phone telephone mobile fax address street postcode "
    "post_code zip zip_code zipcode ssn social_security_number nhs_number insurance_number passport iban account "
    "account_number accession accession_number date_of_birth dob birth_date birthdate ip ip_address url"
)
_PATIENTS = frozenset(_PATIENT_NAMES.split())
_IDENTIFIERS = frozenset(_IDENTIFIER_NAMES.split())


def plain_name(name: str) -> str:
    """A column's name in lower case with underscores: `PatientID`, `patient-id` and `Patient id` are one."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", apart.lower()).strip("_")


def public_bounds(name: str) -> Public | None:
    """The bounds that a column's name tells, or None."""
    return _BY_NAME.get(plain_name(name))


def is_patient(name: str) -> bool:
    """Whether a column's name says that it tells whose record a row is."""
    return plain_name(name) in _PATIENTS


def is_identifier(name: str) -> bool:
    """Whether a column's name says that it points at a person, place or record."""
    plain = plain_name(name)
    return plain in _IDENTIFIERS or plain in _PATIENTS or plain.endswith("_id")
