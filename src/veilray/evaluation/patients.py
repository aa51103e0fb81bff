"""One key per patient, as card and ledger count them: intervals and galleries must not make two of a person."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from veilray.text import patient_key

__all__ = ["patient_keys"]


def patient_keys(keys: ArrayLike) -> NDArray[Any]:
    """Keys `(n,)` of patients in normal form (`veilray.text.patient_key`); keys that are numbers stay as they are.

    Keys that say nothing become one empty key.

    Example:
        >>> patient_keys([" A", "A ", "7.0", "7"]).tolist()
        ['A', 'A', '7', '7']
    """
    given = np.asarray(keys)
    if given.dtype.kind in "biuf":
        return given
    known = {key: patient_key(key) or "" for key in set(given.ravel().tolist())}
    return np.array([known[key] for key in given.ravel().tolist()], dtype=np.str_).reshape(given.shape)
