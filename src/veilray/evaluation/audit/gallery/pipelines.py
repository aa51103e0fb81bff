"""A broken pipeline around a sound mechanism: the label is randomised for the folder and true for the decoder."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from veilray.evaluation.audit.gallery.entry import entry
from veilray.evaluation.audit.labels import label_subject
from veilray.evaluation.audit.subject import Subject
from veilray.privacy import Entropy
from veilray.privacy.mechanisms.base import Floats, Integers
from veilray.privacy.mechanisms.randomised_response import respond
from veilray.privacy.samplers.normal import normals

__all__ = ["RandomisedLabel"]


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
