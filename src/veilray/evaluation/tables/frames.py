"""Records as the data frames that other people's yardsticks read, and those yardsticks, imported when first needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from veilray.tables import Records

__all__ = ["numbers_and_texts", "yardstick"]


def yardstick(module: str) -> Any:
    """Import a module of the extra `yardsticks`; raises ImportError with the cure when it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{module.partition('.')[0]} must be installed to measure a table ({error}): make install, "
            "or pip install 'veilray[yardsticks]' and what the Makefile adds to it"
        ) from None


def numbers_and_texts(records: Records, *, missing_below: bool = False) -> Any:
    """A `pandas.DataFrame` of float64 and object columns: levels are texts, days are numbers.

    A missing level is the empty text, which no level can be. A missing number is NaN or, `missing_below`, a number
    below all that the schema allows by a twentieth of its span: for attacks that measure distances.

    With `missing_below` no number is negative either: a column whose numbers may be is shifted.
    """
    pandas = yardstick("pandas")
    columns: dict[str, Any] = {}
    for place, column in enumerate(records.schema.columns):
        values = column.snap(records.values[:, place])
        if column.levels is not None:
            columns[column.name] = pandas.Series(column.write(values), dtype=object)
            continue
        if missing_below:
            low, high = column.span
            below = low - (high - low) / 20
            values = np.where(np.isnan(values), below, values) - min(0.0, below)
        columns[column.name] = pandas.Series(values, dtype=np.float64)
    return pandas.DataFrame(columns)
