"""The claim a release carries: one frozen, machine-readable statement of what is promised and for what.

A `Guarantee` belongs to the randomise step alone. It says what the unit is, how large epsilon is for every
unit that a reader may care about, what it rests on (bound, dimension, mechanism, exact parameters), what is
released in clear beside it, on what the network was trained, and how many releases a patient is part of.
"""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from veilray.privacy.ceiling import mutual_information_at_most, reidentification_at_most
from veilray.privacy.exact import Exact, Signed, decimal_text, delta_text

__all__ = [
    "EMPIRICAL",
    "Bound",
    "ConditionPolicy",
    "Guarantee",
    "ModelTraining",
    "Releases",
    "Unit",
    "guarantee_schema",
]

EMPIRICAL = "empirical, no formal guarantee"
"""What stands wherever a claim would, for a method that has none."""

PROTECTS_LITTLE_FROM = Fraction(10)
"""At and above this epsilon the worst case protects no more, and the card says so."""

Unit = Literal["image", "element", "patient", "pixels", "metric"]
RecordKind = Literal["image", "row"]
"""What one record is: a picture, or a row of a table. A claim of unit `image` is about a whole record."""

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Bound:
    """The set that every latent is forced into before noise; fixed before the data is seen, applied per row.

    `radius` is in the latent's own units: half the side of the box, or the radius of the ball. `none` is for
    mechanisms whose guarantee needs no bound (they see a direction, or an index). `blocks`: each block of the latent
    has a bound of its own, which stands in the parameters of the guarantee.
    """

    kind: Literal["box", "l1-ball", "l2-ball", "direction", "index", "blocks", "none"]
    radius: Exact | None = None

    @model_validator(mode="after")
    def _radius_where_needed(self) -> Bound:
        needs = self.kind in {"box", "l1-ball", "l2-ball"}
        if needs and not self.radius:
            raise ValueError(f"radius must be positive for a {self.kind}, got {self.radius}")
        if not needs and self.radius is not None:
            raise ValueError(f"radius must be absent for {self.kind}, got {self.radius}")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ConditionPolicy:
    """How a condition (label, view, folder, manifest column) leaves the house.

    public: released as it is, **not covered**; randomised: drawn once by a mechanism of its own with `epsilon`, a
    category over `levels` public values or a number within the public bounds `low` to `high`, and only the draw is seen
    by decoder, folder and manifest; withheld: not released.
    """

    policy: Literal["public", "randomised", "withheld"]
    epsilon: Exact | None = None
    levels: int | None = Field(default=None, ge=2)
    low: Signed | None = None
    high: Signed | None = None

    @model_validator(mode="after")
    def _epsilon_where_drawn(self) -> ConditionPolicy:
        bounded = self.low is not None and self.high is not None
        if self.policy == "randomised":
            if self.epsilon is None:
                raise ValueError("epsilon must be given for a randomised condition, got none")
            if (self.levels is not None) == bounded:
                told = "both" if bounded else "neither"
                raise ValueError(f"levels or low and high must be given for a randomised condition, got {told}")
        elif (self.epsilon, self.levels, self.low, self.high) != (None, None, None, None):
            raise ValueError(f"epsilon, levels, low and high must be absent for a {self.policy} condition")
        if (self.low is None) != (self.high is None):
            raise ValueError("low and high must be given together, got one of them")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ModelTraining:
    """The records on which the network was trained: the claim covers them only as stated here.

    `other patients`, `other records`: none of them is released; where nothing says whose a record is, one of the same
    patient may be. `not covered`: released records may be among them, and the headline of the claim says so.
    """

    data: Literal["public", "other patients", "other records", "dp-sgd", "not covered"]
    statement: str = Field(min_length=1, max_length=2000)
    epsilon: Exact | None = None
    delta: Exact | None = None

    @model_validator(mode="after")
    def _epsilon_for_dp_sgd(self) -> ModelTraining:
        if (self.data == "dp-sgd") != (self.epsilon is not None and self.delta is not None):
            raise ValueError(f"epsilon and delta must be given for dp-sgd, and only there, got data {self.data!r}")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Releases:
    """What was released: images, patients, and the largest number of images of one patient.

    `patients` and `largest_patient` are None where the collection has no trustworthy patient key: then no claim
    about a patient is possible. `images_per_patient` is the most that were taken of one, where that was asked for.
    """

    images: int = Field(ge=0)
    patients: int | None = Field(default=None, ge=0)
    largest_patient: int | None = Field(default=None, ge=0)
    images_per_patient: int | None = Field(default=None, ge=1)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Guarantee:
    """The claim of one release. `epsilon` and `delta` belong to one `unit`; the other figures follow from it.

    Attributes:
        unit: what `epsilon` is about: the whole image, one latent element (as published figures silently mean) ...
        epsilon, delta: the claim for one unit, exact.
        image_epsilon, image_delta: the same claim counted for the whole image (equal to the above for unit `image`).
        element_epsilon: the claim for one latent element, where the mechanism acts on elements.
        bound, dimension: the set that holds the latent, and its number of elements.
        mechanism, parameters: the registered name and its exact public parameters, as text.
        conditions: policy of every condition; `label` is one of them.
        model_training: what the network was trained on.
        releases: how many images and patients the release holds, once it exists.
        in_clear: further things released in clear and therefore not covered, in words.
        record: what one record is. Of a table it is a row: where names and figures here say image, they mean it.
    """

    unit: Unit
    epsilon: Exact
    delta: Exact = Fraction(0)
    image_epsilon: Exact
    image_delta: Exact = Fraction(0)
    element_epsilon: Exact | None = None
    bound: Bound
    dimension: int = Field(ge=1)
    mechanism: str = Field(min_length=1)
    parameters: dict[str, str] = Field(default_factory=dict)
    conditions: dict[str, ConditionPolicy] = Field(default_factory=dict)
    model_training: ModelTraining | None = None
    releases: Releases | None = None
    in_clear: tuple[str, ...] = ()
    record: RecordKind = "image"
    schema_version: Literal[1] = 1

    @model_validator(mode="after")
    def _consistent(self) -> Guarantee:
        if self.delta >= 1 or self.image_delta >= 1:
            raise ValueError(f"delta must be below 1, got {max(self.delta, self.image_delta)}")
        if self.unit == "image" and (self.epsilon, self.delta) != (self.image_epsilon, self.image_delta):
            raise ValueError(f"image_epsilon must equal epsilon for unit image, got {self.image_epsilon}")
        if self.unit == "element" and self.element_epsilon not in (None, self.epsilon):
            raise ValueError(f"element_epsilon must equal epsilon for unit element, got {self.element_epsilon}")
        taken = self.releases
        most = None if taken is None else taken.images_per_patient
        if taken is not None and most is not None and (taken.largest_patient or 0) > most:
            raise ValueError(f"largest_patient must be at most images_per_patient {most}, got {taken.largest_patient}")
        return self

    @property
    def pure(self) -> bool:
        """True when delta is 0: the ceilings for pure mechanisms hold."""
        return self.image_delta == 0

    @property
    def conditions_epsilon(self) -> Fraction:
        """What the randomised conditions of one image add."""
        return sum((c.epsilon for c in self.conditions.values() if c.epsilon is not None), Fraction(0))

    @property
    def total_image_epsilon(self) -> Fraction:
        """Whole-image epsilon with its randomised conditions: pixels and conditions are drawn apart, so they add."""
        return self.image_epsilon + self.conditions_epsilon

    @property
    def patient_epsilon(self) -> Fraction | None:
        """Sum over the images of the worst patient in this release; None without a patient key."""
        most = self.releases.largest_patient if self.releases else None
        return None if most is None else most * self.total_image_epsilon

    @property
    def patient_delta(self) -> Fraction | None:
        """Sum of delta over the images of the worst patient; None without a patient key."""
        most = self.releases.largest_patient if self.releases else None
        return None if most is None else min(Fraction(1), most * self.image_delta)

    @property
    def largest_epsilon(self) -> Fraction:
        """Epsilon of the largest unit about which anything is claimed: normally the worst patient."""
        return max(self.patient_epsilon or Fraction(0), self.total_image_epsilon)

    @property
    def protects_little(self) -> bool:
        """True when the largest claimed unit has epsilon 10 or more: the worst case protects no more."""
        return self.largest_epsilon >= PROTECTS_LITTLE_FROM

    def odds(self, candidates: int = 1000) -> float:
        """Largest probability of naming the right one of `candidates` equally likely images."""
        return float(self.odds_at_most(candidates))

    def odds_at_most(self, candidates: int = 1000) -> Fraction:
        """The same as a fraction that is never below it: what is printed."""
        return reidentification_at_most(self.total_image_epsilon, candidates, self.image_delta)

    @property
    def shows_in_clear(self) -> bool:
        """True where something is released in clear: the claim is then about images that agree on it."""
        return bool(self.in_clear) or any(condition.policy == "public" for condition in self.conditions.values())

    @property
    def network_may_know(self) -> bool:
        """True where released records may be among those that the network was trained on: the claim is then about
        what the network's own weights do not tell."""
        return self.model_training is not None and self.model_training.data == "not covered"

    def network_sentences(self) -> list[str]:
        """What the headline must add on the network's training; none where no released record had a part in it."""
        training = self.model_training
        if self.network_may_know:
            return [
                f"The network was trained on records that may be among the released {self.record}s: what it tells of "
                "them is not covered."
            ]
        if training is not None and training.epsilon is not None and training.delta is not None:
            return [
                "The network was trained with differential privacy: for a record of its training, epsilon "
                f"{decimal_text(training.epsilon)} and delta {delta_text(training.delta)} are added."
            ]
        return []

    def odds_sentence(self, candidates: int = 1000) -> str:
        """The claim as odds, in one sentence; rounded up."""
        sentence = (
            f"Among {candidates:,} equally likely {self.record}s the right one gets at most "
            f"{decimal_text(100 * self.odds_at_most(candidates), 3)} % "
            f"(a blind guess gets {decimal_text(Fraction(100, candidates), 3)} %)."
        )
        if self.shows_in_clear:
            sentence += f" Only {self.record}s that agree on all that is released in clear count among them."
        return sentence

    def summary(self) -> str:
        """The claim for a reader of one paragraph: the odds, and what its headline must add."""
        return " ".join([self.odds_sentence(), *self.network_sentences()])

    def ceiling(self) -> Fraction | None:
        """The most that one image's release can tell about it, in nats of mutual information; None unless pure.

        For every law of the images: of all that is released of one image, its randomised conditions included, beyond
        what is released in clear. Never below the true value. No correlation follows from it but for latents that are
        N(0, I): see `correlation_ceiling`.
        """
        return mutual_information_at_most(self.total_image_epsilon) if self.pure else None

    def not_covered(self) -> list[str]:
        """What stands outside the claim, in plain words; never empty."""
        public = sorted(name for name, c in self.conditions.items() if c.policy == "public")
        lines = []
        if public:
            lines.append(
                f"what is released in clear: {', '.join(public)} "
                f"(the claim holds among {self.record}s that agree on it)"
            )
        lines += list(self.in_clear)
        readable = ", and so that its file could be read (one that cannot be is left out)"
        lines.append(
            f"that {self.a_record} is part of the release{readable if self.record == 'image' else ''}; how many "
            f"{self.record}s and patients there are, and the most of one patient"
        )
        training = self.model_training
        if training is None or training.data == "not covered":
            lines.append(f"the records on which the network was trained, released {self.record}s among them or not")
        elif training.data == "other records":
            lines.append(
                f"the records on which the network was trained (other records: {training.statement}), which may be of "
                "the same patients"
            )
        elif training.data == "dp-sgd" and training.epsilon is not None and training.delta is not None:
            lines.append(
                f"the records on which the network was trained, beyond their own DP-SGD claim "
                f"(epsilon {decimal_text(training.epsilon)}, delta {delta_text(training.delta)})"
            )
        else:
            lines.append(f"the records on which the network was trained ({training.data}: {training.statement})")
        if self.releases is not None and self.releases.patients is None:
            lines.append(
                f"a patient with several {self.record}s: no patient key was given, so the claim is about one "
                f"{self.record}"
            )
        if self.releases is not None:
            lines.append("other releases of the same patients: they add up, in the ledger of the house")
        left = "pictures and codes" if self.record == "image" else "rows"
        lines.append(f"everything outside the released {left}; time, memory and power of the machine")
        lines.append(
            "an attacker who can break AES-256, from which the noise is drawn; a machine restored twice from "
            "one snapshot"
        )
        return lines

    @property
    def a_record(self) -> str:
        """One record, with its article."""
        return "an image" if self.record == "image" else "a row"

    def with_release(
        self,
        *,
        releases: Releases,
        conditions: dict[str, ConditionPolicy],
        model_training: ModelTraining,
        in_clear: tuple[str, ...] = (),
        record: RecordKind = "image",
    ) -> Guarantee:
        """The mechanism's claim completed with what the release adds to it."""
        return replace(
            self,
            releases=releases,
            conditions=conditions,
            model_training=model_training,
            in_clear=in_clear,
            record=record,
        )

    def to_json(self) -> str:
        """The claim as JSON; exact numbers are strings such as "3/10"."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def to_dict(self) -> dict[str, Any]:
        """The claim as plain JSON types."""
        told = dict(_ADAPTER.dump_python(self, mode="json"))
        if self.releases is not None and self.releases.images_per_patient is None:
            del told["releases"]["images_per_patient"]  # written where it was asked for: other claims stay as they were
        return told

    @staticmethod
    def from_json(text: str | bytes) -> Guarantee:
        """Read a claim back; unknown fields, floats for exact numbers and contradictions are refused."""
        try:
            return _ADAPTER.validate_python(json.loads(text))
        except (ValidationError, json.JSONDecodeError) as error:
            raise ValueError(f"guarantee must be valid JSON of schema version 1, got: {error}") from None


_ADAPTER: TypeAdapter[Guarantee] = TypeAdapter(Guarantee)


def guarantee_schema() -> dict[str, Any]:
    """The JSON schema of a `Guarantee`, as written to and read from `release.json`."""
    return _ADAPTER.json_schema(mode="serialization")
