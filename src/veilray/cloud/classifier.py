"""A classifier of obfuscated pictures on disk: weights as safetensors and one JSON; nothing in it is executed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from veilray.cloud.networks import NETWORKS
from veilray.cloud.received import KEY, SHA256, Handed, Label, Shape, first_fault
from veilray.cloud.training import probabilities
from veilray.durable import write_bytes
from veilray.errors import Refused
from veilray.networks.artefact import digest_of, packed, read_tensors, rebuilt, unpacked

__all__ = ["Classifier", "ClassifierCard", "load_classifier"]

_CARD, _WEIGHTS = "classifier.json", "weights.safetensors"


class ClassifierCard(BaseModel):
    """classifier.json: levels, geometry, and under which model and key the training pictures were obfuscated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["veilray-classifier"] = "veilray-classifier"
    version: Literal[1] = 1
    claim: Literal["empirical, no formal guarantee"] = "empirical, no formal guarantee"
    network: str
    levels: tuple[Label, ...] = Field(min_length=2)
    geometry: Shape
    model_sha256: str = Field(pattern=SHA256)
    key: str = Field(pattern=KEY)
    order: str
    encoder: str
    figures: dict[str, float]
    weights_sha256: str = Field(pattern=SHA256)
    intended_use: str = "testing of image models on obfuscated pictures; not for diagnosis"


@dataclass(frozen=True)
class Classifier:
    """A trained network with its card."""

    model: nn.Sequential
    card: ClassifierCard

    @classmethod
    def of(
        cls, model: nn.Sequential, network: str, levels: tuple[str, ...], told: Handed, figures: dict[str, float]
    ) -> Classifier:
        """A classifier trained on what `told` tells of."""
        return cls(
            model,
            ClassifierCard(
                network=network,
                levels=levels,
                geometry=told.geometry,
                model_sha256=told.model_sha256,
                key=told.key,
                order=told.order,
                encoder=told.encoder,
                figures=figures,
                weights_sha256=digest_of(packed(model.state_dict())),
            ),
        )

    def check(self, told: Handed, *, allow_other_key: bool = False) -> None:
        """Whether pictures are of the kind that this classifier knows.

        Raises:
            ValueError: for pictures of another size.
            Refused: for pictures under another key unless it is allowed, or under the same key by another model.
        """
        known = self.card.geometry
        if told.geometry != known:
            raise ValueError(
                f"pictures must be {known.size} x {known.size} with {known.channels} channels as in training, "
                f"got {told.geometry.size} x {told.geometry.size} with {told.geometry.channels}"
            )
        if told.key != self.card.key:
            if allow_other_key:
                return  # under another key, equal models need not have equal names: they are taken on trust
            raise Refused(
                f"pictures must be obfuscated under key {self.card.key} as in training, got {told.key}: ask the owner "
                "which key is meant, or predict all the same with --allow-other-key"
            )
        if told.model_sha256 != self.card.model_sha256:
            raise Refused(
                f"pictures must be obfuscated by model {self.card.model_sha256[:16]} as in training, got "
                f"{told.model_sha256[:16]}: ask the owner for pictures of the same model"
            )

    def predict_proba(
        self, images: NDArray[np.uint8], on_progress: Callable[..., None] | None = None
    ) -> NDArray[np.float64]:
        """The probability of each level, `(n, levels)`, for pictures `(n, c, size, size)` uint8.

        Args:
            on_progress: called with (done, total) pictures.

        Raises:
            ValueError: for pictures of another shape or type.
        """
        shape = (self.card.geometry.channels, self.card.geometry.size, self.card.geometry.size)
        if images.shape[1:] != shape or images.dtype != np.uint8:
            raise ValueError(f"images must be (n, {', '.join(map(str, shape))}) uint8, got {images.shape}")
        return probabilities(self.model, images, on_progress)

    def save(self, folder: Path) -> None:
        """Write the CLASSIFIER folder, card last."""
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / _WEIGHTS, packed(self.model.state_dict()))
        write_bytes(folder / _CARD, (self.card.model_dump_json(indent=2) + "\n").encode())


def load_classifier(folder: Path) -> Classifier:
    """Read a CLASSIFIER folder.

    Raises:
        ValueError: for a missing, truncated or altered file.
    """
    path = folder / _CARD
    if not path.is_file():
        raise ValueError(f"CLASSIFIER must be a folder written by `veilray cloud-train`, got {folder}")
    try:
        card = ClassifierCard.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{path} must be a classifier's card of version 1, got: {first_fault(error)}") from None
    weights = folder / _WEIGHTS
    tensors = unpacked(read_tensors(weights, card.weights_sha256), weights)
    shape = card.geometry
    model = rebuilt(lambda: NETWORKS[card.network](shape.channels, shape.size, len(card.levels)), tensors)
    return Classifier(model.to(memory_format=torch.channels_last), card)  # type: ignore[call-overload]
