"""Broken pipelines around sound mechanisms: a true label at the decoder, bounds read from the records."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from veilray.evaluation.audit.gallery.entry import entry
from veilray.evaluation.audit.labels import label_subject, number_subject
from veilray.evaluation.audit.subject import Subject
from veilray.privacy import Entropy
from veilray.privacy.bounded_number import release_numbers
from veilray.privacy.mechanisms.base import Floats, Integers
from veilray.privacy.mechanisms.randomised_response import respond
from veilray.privacy.samplers.normal import normals

__all__ = ["RandomisedLabel", "RandomisedNumber"]


class RandomisedLabel:
    """A conditional decoder that sees the drawn label only: the control."""

    epsilon = Fraction(1)

    def pipeline(self, labels: Integers, entropy: Entropy) -> Floats:
        """Folder and mean pixel of a picture made under the label, `(n, 2)`."""
        drawn = respond(labels, 2, self.epsilon, entropy)
        return np.stack([drawn, self.picture(self.shown_to_decoder(labels, drawn), entropy)], axis=1).astype(np.float64)

    def shown_to_decoder(self, labels: Integers, drawn: Integers) -> Integers:
        """The label that the decoder is given."""
        del labels
        return drawn

    def picture(self, condition: Integers, entropy: Entropy) -> Floats:
        """Mean pixel of a prior draw under the condition: dark for 0, bright for 1."""
        return np.asarray(np.rint(96 + 64 * condition + 16 * normals(entropy.words(len(condition), np.uint64))))

    def subject(self, name: str = "randomised label") -> Subject:
        """The pipeline with its claim."""
        return label_subject(name, self.pipeline, self.epsilon)


@entry("true label at decode", "worst case / quadratic")
class TrueLabelAtDecode(RandomisedLabel):
    """The folder gets a randomised label, the decoder the true one, and the picture shows it."""

    def shown_to_decoder(self, labels: Integers, drawn: Integers) -> Integers:
        del drawn
        return labels


class RandomisedNumber:
    """An age randomised within 0 to 100: the control."""

    epsilon = Fraction(1)
    bounds = Fraction(0), Fraction(100)

    def pipeline(self, values: Floats, entropy: Entropy) -> Floats:
        """What is written of each number, `(n, 1)`."""
        low, high = self.bounds_of(values)
        return release_numbers(values, low, high, self.epsilon, entropy).astype(np.float64)[:, None]

    def bounds_of(self, values: Floats) -> tuple[Fraction, Fraction]:
        """The bounds that the numbers are drawn within."""
        del values
        return self.bounds

    def subject(self, name: str = "randomised number") -> Subject:
        """The pipeline with its claim."""
        return number_subject(name, self.pipeline, self.epsilon, self.bounds)


@entry("bounds from the records", "batch independence")
class BoundsFromTheRecords(RandomisedNumber):
    """The bounds are the least and the largest number that is there: one record moves all the others."""

    def bounds_of(self, values: Floats) -> tuple[Fraction, Fraction]:
        finite = np.nan_to_num(values, nan=0.0, posinf=1e9, neginf=-1e9).clip(-1e9, 1e9)
        return Fraction(finite.min()), Fraction(finite.max()) + 1
