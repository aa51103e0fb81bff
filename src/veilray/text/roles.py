"""Which column says what: the path, patient, group, label and split of an image, under the names that people give them.

A column named as its role always has that role. Without one, a name of the public list below is taken, whatever its
case and whether it is written with blanks, hyphens or underscores. The user can say which column it is, and an empty
name says that no column has the role.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from veilray.text.normal_form import normal_text

__all__ = ["ROLES", "SYNONYMS", "resolve_roles"]

ROLES = ("path", "patient", "group", "label", "split")

SYNONYMS: dict[str, tuple[str, ...]] = {
    "path": (
        "path",
        "paths",
        "file",
        "files",
        "filename",
        "file_name",
        "filepath",
        "file_path",
        "image",
        "image_path",
        "image_file",
        "image_name",
        "image_filename",
        "image_index",
        "img",
        "img_path",
        "relative_path",
    ),
    "patient": (
        "patient",
        "patients",
        "patient_id",
        "patient_ids",
        "patientid",
        "patient_key",
        "patient_number",
        "subject",
        "subjects",
        "subject_id",
        "subject_ids",
        "subjectid",
    ),
    "group": ("group", "groups", "group_id"),
    "label": (
        "label",
        "labels",
        "class",
        "classes",
        "class_name",
        "class_label",
        "target",
        "targets",
        "finding_labels",
    ),
    "split": ("split", "splits", "subset", "partition"),
}

_JOINTS = re.compile(r"[\s_\-]+")
_MOST_SHOWN = 20


def resolve_roles(
    names: Sequence[str],
    columns: Mapping[str, str] | None = None,
    *,
    roles: Sequence[str] = ROLES,
    required: Collection[str] = (),
    what: str = "manifest",
) -> dict[str, str]:
    """Find the column of each role.

    Args:
        names: the columns, or arrays, that there are.
        columns: role to name, as the user says it; an empty name says that no column has the role.
        roles: those to look for: a file that holds the images themselves has no `path`.
        required: roles that must be found.
        what: what errors call the source of the names.

    Returns:
        Role to name, as `names` spells it; a role without a column is left out.

    Raises:
        ValueError: an unknown role or name, one column for two roles, several columns that could have a role, or none
            for a required one. The message lists the names and says how to name the right one.

    Example:
        >>> resolve_roles(["file", "Patient ID", "view"])
        {'path': 'file', 'patient': 'Patient ID'}
        >>> resolve_roles(["path", "child", "class"], {"patient": "child", "label": ""})
        {'path': 'path', 'patient': 'child'}
    """
    said = dict(columns or {})
    if strange := [role for role in said if role not in roles]:
        raise ValueError(f"columns must be given for {', '.join(roles)}, got {strange[0]!r}")
    found = {role: _named(name, names, role, what) for role, name in said.items() if name}
    for name in found.values():
        if sharing := [role for role, other in found.items() if other == name][1:]:
            raise ValueError(f"columns must name each column once, got {name!r} for {sharing[0]} too")
    for role in roles:
        if role in said:
            continue
        taken = set(found.values())
        candidates = _candidates(role, [name for name in names if name not in taken])
        if len(candidates) > 1:
            raise ValueError(
                f"{what} must have one column for {role}, got {_shown(candidates)}: {_cure(role, candidates[0])}, "
                f"or --columns {role}= for none"
            )
        if candidates:
            found[role] = candidates[0]
    for role in roles:
        if role in required and role not in found:
            raise ValueError(f"{what} must have a column for {role}, got {_shown(names)}: {_cure(role, 'NAME')}")
    return {role: found[role] for role in roles if role in found}


def _named(name: str, names: Sequence[str], role: str, what: str) -> str:
    """The column that the user means: spelt alike, or alike in normal form."""
    wanted = normal_text(name)
    for known in names:
        if known == name:
            return known
    for known in names:
        if normal_text(known) == wanted:
            return known
    raise ValueError(f"column for {role} must be one of those of the {what}: {_shown(names)}, got {name!r}")


def _candidates(role: str, names: Sequence[str]) -> list[str]:
    """The columns that could have a role; its own name comes before all others, exactly spelt before folded."""
    for matches in (
        [name for name in names if normal_text(name) == role],
        [name for name in names if _folded(name) == role],
        [name for name in names if _folded(name) in SYNONYMS[role]],
    ):
        if matches:
            return matches
    return []


def _folded(name: str) -> str:
    return _JOINTS.sub("_", normal_text(name).casefold())


def _cure(role: str, name: str) -> str:
    return f"say which it is with --columns {role}={name} (columns= in Python)"


def _shown(names: Sequence[str]) -> str:
    shown = [repr(name) for name in names[:_MOST_SHOWN]] + (["..."] if len(names) > _MOST_SHOWN else [])
    return ", ".join(shown) or "none"
