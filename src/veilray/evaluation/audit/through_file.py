"""A release as its recipient has it: decoded, clamped, rounded to 8 bits, and encoded again by the public model.

Everything after the draw is post-processing, so the audit may only find less than on the latent itself: at
epsilon 4 for an element, 2.79 where the latent gave 3.95 (docs/reference/audit.md, with the commands).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from veilray.evaluation.audit.subject import Subject, subject_of
from veilray.methods.tables import CADPTable
from veilray.privacy import Claim, Entropy, Mechanism
from veilray.privacy.mechanisms.base import Floats
from veilray.releases import Method

__all__ = ["THROUGH_FILE_ROWS", "through_file", "through_table"]

THROUGH_FILE_ROWS = 4096
"""Most rows drawn for one pair: each is a picture to be decoded and encoded."""

_PICTURES_AT_ONCE = 256
_PAIRS = ("worst case", "one axis", "last element flipped", "two rows, second flipped", "last cell changed")


def through_file(method: Method, mechanism: Mechanism, claim: Claim | None = None) -> Subject:
    """The mechanism of a method's latent, seen through the method's integer pictures.

    No likelihood is known for what comes back, so trained statistics do the work. Rows of one batch are decoded
    together; the network treats each row by itself, up to the last digit of its floats.
    """

    def release(rows: Floats, entropy: Entropy) -> Floats:
        drawn = mechanism.to_prior(mechanism.release(rows, entropy))
        out = drawn.copy()
        for at in range(0, len(drawn), _PICTURES_AT_ONCE):
            part = slice(at, at + _PICTURES_AT_ONCE)
            out[part] = method.encode(method.decode(drawn[part]))
        return out

    return _seen_through(mechanism, claim, release)


def through_table(model: CADPTable, mechanism: Mechanism, claim: Claim | None = None) -> Subject:
    """The mechanism of a table's latent, seen through valid rows of its schema, of which no condition is told."""

    def release(rows: Floats, entropy: Entropy) -> Floats:
        return model.encode(model.render(mechanism.release(rows, entropy), mechanism, entropy))

    return _seen_through(mechanism, claim, release)


def _seen_through(mechanism: Mechanism, claim: Claim | None, release: Callable[[Floats, Entropy], Floats]) -> Subject:
    subject = subject_of(mechanism, claim)
    return replace(
        subject,
        name=f"{mechanism.name} through the file",
        release=release,
        pairs=tuple(pair for pair in subject.pairs if pair.name in _PAIRS),
        log_ratio=None,
        density=False,
    )
