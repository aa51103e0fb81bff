"""Pairs of inputs that an auditor tries to tell apart: the worst case, one element, two rows, nothing, too much.

A pair is two small batches of rows, `(m, d)`. With m = 1 they are two records. With m = 2 they are two batches that
differ in their second record alone, and the auditor sees both released rows: noise or a bound that rows share
shows there, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from veilray.evaluation.audit.confidence import Limit
from veilray.privacy.mechanisms.base import Floats

__all__ = ["WORST", "Pair", "latent_pairs", "level_pairs", "number_pairs", "unusual_rows"]

WORST = "worst case"
"""Name of the pair that the bars are about; it gets all trials, the others a tenth."""

_FAR = 1e6
"""Far outside every clip, and exact after rounding to a grid."""

_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Pair:
    """Two batches `(m, d)` that differ in one record, and what is claimed for them."""

    name: str
    first: Floats
    second: Floats
    limit: Limit
    family: Literal["marginal", "joint"]


def latent_pairs(d: int, limit: Limit, element: Limit | None) -> tuple[Pair, ...]:
    """The pairs for a mechanism of real-valued rows; `element` where one element has a claim of its own."""
    one = element or limit
    v = _dense(d)
    corner, flipped = np.full(d, _FAR), np.full(d, _FAR)
    flipped[-1] = -_FAR
    first_axis = np.zeros(d)
    first_axis[0] = _FAR
    turned = v + 0.5 * np.linalg.norm(v) * _across(v) if d > 1 else v / 2
    zero = np.zeros(d)

    def pair(name: str, a: Floats, b: Floats, claim: Limit, family: Literal["marginal", "joint"]) -> Pair:
        return Pair(name, np.atleast_2d(a), np.atleast_2d(b), claim, family)

    return (
        pair(WORST, v, -v, limit, "marginal"),
        pair("one axis", first_axis, -first_axis, limit if element is None else one, "marginal"),
        pair("last element flipped", corner, flipped, one, "joint"),
        pair("turned by 27 degrees", v / _FAR, turned / _FAR, limit, "joint"),
        pair("zero against far", zero, v, limit, "joint"),
        pair("zero against small", zero, np.full(d, 1.0), limit, "joint"),
        pair("far against farther", v, -1e150 * v, limit, "joint"),
        pair("not a number", np.full(d, np.nan), v, limit, "joint"),
        pair("two rows, second flipped", np.stack([v, v]), np.stack([v, -v]), limit, "joint"),
        pair("two rows, second turned", np.stack([v, v]) / _FAR, np.stack([v, turned]) / _FAR, limit, "joint"),
    )


def level_pairs(levels: Floats, limit: Limit, cell: Limit) -> tuple[Pair, ...]:
    """The pairs for categorical cells: the first two levels of every column, `levels` `(d, 2)`."""
    a, b = levels[:, 0], levels[:, 1]
    one = a.copy()
    one[-1] = b[-1]
    rows = [
        ("marginal", WORST, a[None], b[None], limit),
        ("joint", "last cell changed", a[None], one[None], cell),
        ("joint", "two rows, second changed", np.stack([a, a]), np.stack([a, b]), limit),
    ]
    return tuple(Pair(name, x, y, claim, family) for family, name, x, y, claim in rows)  # type: ignore[arg-type]


def number_pairs(low: float, high: float, limit: Limit) -> tuple[Pair, ...]:
    """The pairs for one number between two bounds: the bounds themselves, far outside, near each other, none at all."""
    middle = (low + high) / 2

    def rows(*values: float) -> Floats:
        return np.array(values, dtype=np.float64)[:, None]

    return (
        Pair(WORST, rows(low), rows(high), limit, "marginal"),
        Pair("below against above", rows(low - _FAR), rows(high + _FAR), limit, "joint"),
        Pair("middle against near it", rows(middle), rows(middle + (high - low) / 100), limit, "joint"),
        Pair("not a number", rows(np.nan), rows(low), limit, "joint"),
        Pair("two rows, second at the other bound", rows(low, low), rows(low, high), limit, "joint"),
    )


def unusual_rows(d: int) -> Floats:
    """Rows that tempt a mechanism to refuse or to stop early, `(7, d)`: each must be released like any other."""
    rows = np.zeros((7, d))
    rows[1] = np.nan
    rows[2] = np.inf
    rows[3, 0] = -np.inf
    rows[4] = 1e300
    rows[5] = 5e-324
    rows[6] = _dense(d)
    return rows


def _dense(d: int) -> Floats:
    """A fixed far vector with all signs and sizes mixed, so that no two words or elements tie."""
    spread = (np.arange(1, d + 1) * _GOLDEN) % 1.0
    return np.asarray(_FAR * (1 + spread) * np.where(np.arange(d) % 3 == 1, -1.0, 1.0), dtype=np.float64)


def _across(v: Floats) -> Floats:
    """A fixed unit vector at right angles to v: with it, v and its turned copy share most of their caps."""
    other = np.cos(np.arange(len(v)) + 1.0)
    other -= v * (other @ v) / (v @ v)
    return np.asarray(other / np.linalg.norm(other))
