"""What is released from: the contract of a model, an encoder joined with a mechanism, and its card."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from veilray.codes import KeptCode
from veilray.images import FULL_RANGE, Collection, Geometry, IntensityRule
from veilray.privacy import (
    MECHANISMS,
    Claim,
    Entropy,
    Guarantee,
    Mechanism,
    ModelTraining,
    SeededEntropy,
    SystemEntropy,
)
from veilray.releases.declared import Declared, Facts
from veilray.tables import Records, Schema

__all__ = [
    "CARD",
    "Method",
    "Model",
    "ModelCard",
    "Progress",
    "Release",
    "ReleaseContext",
    "TableModel",
    "read_card",
]

CARD = "model.json"
_CANDIDATES, _MOST_CANDIDATES = 1024, 2**16
_OF_SETTINGS = ("kept", "parameters")
"""Figures that the options of a fit determine, whatever the records were."""

Progress = Callable[[int, int], None]
"""Called with (done, total); for progress on stderr."""


class ModelCard(BaseModel):
    """What a MODEL folder says of itself: written by `fit`, printed on every card, shipped in every RELEASE.

    It holds nothing that points to a training record: counts, geometry and figures only. Training is deterministic, so
    hash and figures do tell whether a guess at *all* training records is right: `for_release` leaves them out unless
    those records are public.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["veilray-model"] = "veilray-model"
    version: Literal[1] = 1
    name: str = Field(min_length=1, max_length=200)
    method: str
    geometry: dict[str, int]
    geometry_rule: str
    intensity: IntensityRule = FULL_RANGE
    training: ModelTraining
    training_images: int
    training_patients: int | None
    levels_of: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    figures: dict[str, float] = Field(default_factory=dict)
    configuration: dict[str, Any] = Field(default_factory=dict)
    weights_sha256: str = Field(pattern=r"^([0-9a-f]{64})?$")
    intended_use: str = "training and testing of image models; not for diagnosis"

    def for_release(self) -> ModelCard:
        """The card as it leaves with a release; see the class."""
        if self.training.data == "public":
            return self
        figures = {name: value for name, value in self.figures.items() if name in _OF_SETTINGS}
        return self.model_copy(update={"figures": figures, "levels_of": {}, "weights_sha256": ""})

    @property
    def weights_words(self) -> str:
        """The hash of the weights, for readers of a release, or why it is not there."""
        if self.weights_sha256:
            return f"weights SHA-256 {self.weights_sha256}"
        return "without the hash of its weights, which would tell of the records it was trained on"

    @model_serializer(mode="wrap")
    def _without_full_range(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """An intensity rule is written where one was stated: other cards stay as they were."""
        told: dict[str, Any] = write(self)
        if self.intensity == FULL_RANGE:
            del told["intensity"]
        return told

    def read_by(self, collection: Collection) -> ModelCard:
        """The card with the rule that brings this collection to the model, which a release states as its own."""
        return self.model_copy(
            update={"geometry_rule": collection.geometry_rule, "intensity": collection.reading.intensity}
        )

    def write(self, folder: Path) -> None:
        """Write `model.json` into the folder, atomically."""
        path = folder / CARD
        part = path.with_suffix(".part")
        part.write_text(self.model_dump_json(indent=2) + "\n")
        part.replace(path)


@dataclass(frozen=True)
class ReleaseContext:
    """What a release needs beside the images.

    Args:
        mechanism: calibrated for the method's dimension.
        entropy: the operating system's for a release, seeded for an experiment.
    """

    mechanism: Mechanism
    entropy: Entropy


@dataclass(frozen=True)
class Release:
    """Released pixels `(n, c, h, w)`, the claim they carry, and how they came to be (never a seed).

    `guarantee` is None for an experiment with a seed: whoever knows the seed subtracts the noise. `code` holds what
    the mechanism drew, `(n, k)` float64, for a method with a kept code: the pixels are its post-processing, so both
    leave under one claim.
    """

    pixels: NDArray[Any]
    guarantee: Guarantee | None
    provenance: dict[str, str]
    code: NDArray[np.float64] | None = None


class Model(ABC):
    """What every MODEL folder holds: a public encoder of records to rows, fitted once, and released from many times."""

    name: ClassVar[str]
    default_mechanism: ClassVar[str]
    card: ModelCard

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Read a MODEL folder. Raises ValueError for a missing, truncated or altered file."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the MODEL folder: weights as safetensors, everything else as JSON."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Elements of the latent row that the mechanism randomises."""

    @abstractmethod
    def prior(self, count: int, entropy: Entropy) -> NDArray[np.float64]:
        """Rows `(count, d)` drawn from the decoder's prior: what a release with no record in it looks like."""

    @property
    def conditions(self) -> Declared | None:
        """The conditions that encoder and decoder are told; None for a method that is told none."""
        return None

    def calibrated(self, claim: Claim, mechanism: str | None = None, **options: Any) -> Mechanism:
        """The mechanism (default: the method's own) that keeps `claim` on this method's latent.

        Options left at None take the mechanism's public defaults. A mechanism that chooses among `candidates` gets
        so many draws of the decoder's prior (default 1,024): one public list for all images of this model, the same
        on every machine, made from the hash of the weights.
        """
        given = {name: value for name, value in options.items() if value is not None}
        kind = MECHANISMS[mechanism or self.default_mechanism]
        needed = kind.needs_candidates(given)
        if "candidates" in given and not needed:
            raise ValueError(f"candidates must go with mechanism selection, got them with {kind.name}")
        if needed:
            count = given.pop("candidates", _CANDIDATES)
            if not 2 <= count <= _MOST_CANDIDATES:
                raise ValueError(f"candidates must be between 2 and {_MOST_CANDIDATES:,}, got {count}")
            given["candidates"] = self.prior(count, SeededEntropy(f"public candidates of {self.card.weights_sha256}"))
        return kind.calibrate(claim, self.dimension, **given)


class Method(Model):
    """A system that a user names, for pictures."""

    @classmethod
    @abstractmethod
    def fit(cls, collection: Collection | Callable[[], Collection], folder: Path, **options: Any) -> Method:
        """Train on `collection` and write the MODEL folder; options are those of `veilray fit`, and checked first."""

    @property
    @abstractmethod
    def geometry(self) -> Geometry:
        """The pictures the model sees and makes."""

    @abstractmethod
    def encode(self, images: NDArray[Any]) -> NDArray[np.float64]:
        """Integer images `(n, c, h, w)` to latent rows `(n, d)`; each row from its own image alone."""

    @abstractmethod
    def decode(self, rows: NDArray[np.float64]) -> NDArray[Any]:
        """Latent rows `(n, d)` to integer images `(n, c, h, w)`; finite for every row."""

    @property
    def kept_code(self) -> KeptCode | None:
        """The public code whose released rows leave with the pictures; None where pictures are all that leaves."""
        return None

    def render(self, drawn: NDArray[np.float64], mechanism: Mechanism, entropy: Entropy) -> NDArray[Any]:
        """The pictures `(n, c, h, w)` of what the mechanism drew, `(n, d)`: post-processing, at no cost.

        Whatever was not kept is drawn from the prior, with `entropy`.
        """
        return self.decode(mechanism.to_prior(drawn))

    def encode_given(self, images: NDArray[Any], known: Facts) -> NDArray[np.float64]:
        """As `encode`, with what is known of each image: its public facts, and the true ones of those randomised.

        A method whose encoder is told nothing leaves them aside.
        """
        del known
        return self.encode(images)

    def render_given(
        self, drawn: NDArray[np.float64], mechanism: Mechanism, entropy: Entropy, told: Facts
    ) -> NDArray[Any]:
        """As `render`, with what is released of each image's facts: never more.

        A method whose decoder is told nothing leaves them aside.
        """
        del told
        return self.render(drawn, mechanism, entropy)

    def release(
        self, images: NDArray[Any], context: ReleaseContext, known: Facts | None = None, told: Facts | None = None
    ) -> Release:
        """Encode, bound, randomise and decode a batch of images `(n, c, h, w)`.

        The claim belongs to the randomise step; decoding is post-processing. An image that cannot be encoded
        (no finite latent) is released like any other: see `Mechanism.bound`.

        Args:
            known: what the encoder is told of each image; it is a part of the record, so the claim covers it.
            told: what the decoder is told: what leaves of the conditions, or what was fixed beforehand, nothing else.
        """
        nothing: Facts = [{}] * len(images)
        systemic = isinstance(context.entropy, SystemEntropy)
        drawn = context.mechanism.release(
            self.encode_given(images, nothing if known is None else known), context.entropy
        )
        return Release(
            pixels=self.render_given(drawn, context.mechanism, context.entropy, nothing if told is None else told),
            guarantee=context.mechanism.guarantee(self.dimension) if systemic else None,
            provenance={
                "method": self.name,
                "model": self.card.name,
                "weights_sha256": self.card.weights_sha256,
                "mechanism": context.mechanism.name,
            },
            code=None if self.kept_code is None else drawn,
        )


class TableModel(Model):
    """A system for rows of a table."""

    schema: Schema
    """Of the whole table, conditions included."""

    @property
    @abstractmethod
    def row_schema(self) -> Schema:
        """The columns that the mechanism covers: all that are no condition."""

    @abstractmethod
    def facts(self, records: Records) -> list[dict[str, str]]:
        """What is known of the conditions of records of the whole schema, as text."""

    @abstractmethod
    def release(
        self, records: Records, mechanism: Mechanism, entropy: Entropy, known: Facts | None, told: Facts | None
    ) -> Records:
        """Encode, bound, randomise and decode records of `row_schema`: the claim belongs to the randomise step."""


def read_card(folder: Path) -> ModelCard:
    """The card of a MODEL folder. Raises ValueError where it is missing or no card of this project."""
    path = folder / CARD
    if not path.is_file():
        raise ValueError(f"MODEL must be a folder written by `veilray fit` with a {CARD} in it, got {folder}")
    try:
        card = ModelCard.model_validate(json.loads(path.read_bytes()))
        if not card.weights_sha256:
            raise ValueError("no hash of the weights")
        return card
    except ValueError as error:  # not JSON, not UTF-8, or not a card
        raise ValueError(f"{path} must be a model card of version 1, got: {error}") from None
