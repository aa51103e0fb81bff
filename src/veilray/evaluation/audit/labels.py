"""Audit of a randomised condition: all that leaves a pipeline, given the true value, must obey the value's epsilon.

A label that is randomised for the folder and given in clear to the decoder has leaked: the picture shows it. So the
whole output of the pipeline is looked at, not the released label alone. The same holds for a number, such as an age.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from veilray.evaluation.audit.confidence import Limit
from veilray.evaluation.audit.pairs import level_pairs, number_pairs, unusual_rows
from veilray.evaluation.audit.subject import Subject
from veilray.privacy import Entropy
from veilray.privacy.mechanisms.base import Floats, Integers

__all__ = ["LabelPipeline", "NumberPipeline", "label_subject", "number_subject"]

LabelPipeline = Callable[[Integers, Entropy], Floats]
"""True labels `(n,)` in [0, levels) to all that is released of them, `(n, e)` float64: folder, pixels, features."""

NumberPipeline = Callable[[Floats, Entropy], Floats]
"""True numbers `(n,)` to all that is released of them, `(n, e)` float64."""


def label_subject(name: str, pipeline: LabelPipeline, epsilon: Fraction) -> Subject:
    """A pipeline as a subject whose records are labels 0 and 1.

    Args:
        pipeline: what is released for each true label; the image must be fixed or drawn anew, never the record's.
        epsilon: what is claimed for the label.
    """
    limit = Limit("epsilon", float(epsilon))
    return Subject(
        name=name,
        dimension=1,
        release=lambda rows, entropy: pipeline(rows[:, 0].astype(np.int64), entropy),
        limit=limit,
        pairs=level_pairs(np.array([[0.0, 1.0]]), limit, limit),
        unusual=np.zeros((1, 1)),
    )


def number_subject(
    name: str, pipeline: NumberPipeline, epsilon: Fraction, bounds: tuple[Fraction, Fraction]
) -> Subject:
    """A pipeline as a subject whose records are single numbers, within the public bounds and far outside.

    Args:
        pipeline: what is released for each true number.
        epsilon: what is claimed for the number.
        bounds: the public bounds.
    """
    limit = Limit("epsilon", float(epsilon))
    low, high = (float(bound) for bound in bounds)
    return Subject(
        name=name,
        dimension=1,
        release=lambda rows, entropy: pipeline(rows[:, 0], entropy),
        limit=limit,
        pairs=number_pairs(low, high, limit),
        unusual=unusual_rows(1),
    )
