"""What the audit certified of each mechanism's claim, for the card; measured by `python studies/audit.py mechanisms`.

An audit refutes claims, it cannot prove one: the proof stands in the mechanism's file. What it certifies is how much
of the claim an attacker in full knowledge of the mechanism really reaches, as a lower bound at 99 %.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AUDITED", "Audited"]


@dataclass(frozen=True)
class Audited:
    """The smallest certified share of `figure` over epsilon 0.5, 1, 2 and 4, the trials a side, and on what rows."""

    share: float
    trials: int
    rows: str = "rows of 8 elements"
    figure: str = "epsilon"


AUDITED = {
    "laplace": Audited(0.963, 10**6, rows="boxes of 8 elements, per element"),
    "gaussian": Audited(0.959, 10**6, figure="mu"),
    "directional": Audited(0.990, 10**6),
    "codebook": Audited(0.985, 10**6),
    "selection": Audited(0.986, 10**6),
    "randomised_response": Audited(0.993, 10**6, rows="single cells"),
    "blockwise": Audited(
        0.981, 10**6, rows="rows of 8 elements, in three directional blocks of which one has no share"
    ),
}
"""From `docs/data/audit.csv`, rounded down; a test compares the two."""
