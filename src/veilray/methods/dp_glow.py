"""DP-GLOW: encode with a Glow flow, bound the latent, add noise, decode.

A re-implementation of the published idea, not a reproduction: Shibata et al. 2023, "Local differential
privacy image generation using flow-based deep generative models", Applied Sciences 13(18), 10132. A flow
trained on public images maps a picture to elements that are close to independent standard normals, which is
why independent noise on each may be expected to act evenly. Here the latent is
bounded before noise, by a bound in which no record had a part, and the claim is stated for the whole image beside
the figure for an element.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.flows import (
    FlowTraining,
    Glow,
    GlowConfig,
    Latent,
    Progress,
    TrainingResult,
    load_card,
    load_flow,
    save_flow,
    train,
)
from veilray.images import Geometry
from veilray.methods.base import METHODS
from veilray.methods.domain import Domain, complexity
from veilray.methods.fitting import PublicCollection, fitted_to, public_images, training_schedule
from veilray.privacy import Entropy, ModelTraining
from veilray.privacy.samplers.normal import normals
from veilray.releases.model import Method, ModelCard, read_card
from veilray.releases.training_record import check_statement, training_beside, training_statement

__all__ = ["DPGlow"]

_DOMAIN = "domain.json"
_DOMAIN_IMAGES = 1000


@METHODS.register("dp-glow")
class DPGlow(Method):
    """A Glow of public images, with noise on its latent.

    Args:
        flow: the trained flow.
        card: the model card.
        domain: the likelihood band of held-out public images, for `veilray check`.
    """

    name = "dp-glow"
    default_mechanism = "laplace"

    def __init__(self, flow: Glow, card: ModelCard, domain: Domain) -> None:
        self.flow = flow
        self.card = card
        self.domain = domain

    @classmethod
    def fit(  # type: ignore[override]
        cls,
        collection: PublicCollection,
        folder: Path,
        *,
        size: int = 32,
        levels: int = 3,
        steps: int = 8,
        width: int = 64,
        channels: int = 1,
        bits: int = 8,
        epochs: int = 30,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        max_minutes: float | None = None,
        seed: int = 0,
        training_data: str = "not covered",
        statement: str = "",
        name: str = "dp-glow",
        resume: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> DPGlow:
        """Train on nine tenths of the patients, hold one tenth out for validation, write the MODEL folder.

        Raises:
            ValueError: for a shape that does not fit, fewer than 10 images, an unknown kind of training data, epochs,
                batch size or learning rate that cannot train, or a folder that already holds a model.
        """
        config = GlowConfig(size=size, channels=channels, bits=bits, levels=levels, steps=steps, width=width)
        training = training_statement(training_data, statement)
        schedule = training_schedule(
            epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed, max_minutes=max_minutes
        )
        with public_images(collection, Geometry(size, channels, bits), folder, resume=resume) as images:
            count = len(images.training)
            flow, domain, result = _trained(
                Glow(config, seed=seed),
                images.training,
                images.validation,
                fitted_to(schedule, count),
                folder,
                resume,
                on_progress,
            )
        card = ModelCard(
            name=name,
            method=cls.name,
            geometry={"size": size, "channels": channels, "bits": bits},
            geometry_rule=images.geometry_rule,
            intensity=images.intensity,
            training=training,
            training_images=count,
            training_patients=images.patients,
            levels_of=images.levels_of if training.data == "public" else {},
            figures={
                "validation_bits_per_dimension": round(result.validation_bits, 4),
                "validation_images": float(result.validation_images),
                "epochs": float(result.epochs),
                "parameters": float(result.parameters),
                "training_seconds": round(result.seconds, 1),
            },
            configuration=config.to_dict(),
            weights_sha256=_save_flow(flow, folder, training),
        )
        images.record.write(card.weights_sha256)
        method = cls(flow, card, domain)
        method.save(folder)
        return method

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        _save_flow(self.flow, folder, self.card.training)
        (folder / _DOMAIN).write_text(json.dumps(self.domain.to_dict(), indent=2) + "\n")
        self.card.write(folder)

    @classmethod
    def load(cls, folder: Path) -> DPGlow:
        card = read_card(folder)
        flow = load_flow(folder)
        beside = load_card(folder)
        check_statement(folder, card.training, beside["card"])
        if beside["weights_sha256"] != card.weights_sha256:
            raise ValueError(f"{folder} must hold the weights its model card tells of, got others: fit the model anew")
        try:
            domain = Domain.from_dict(json.loads((folder / _DOMAIN).read_text()))
        except (OSError, ValueError) as error:
            raise ValueError(f"{folder / _DOMAIN} must be the domain of a model, got: {error}") from None
        return cls(flow, card, domain)

    @property
    def geometry(self) -> Geometry:
        config = self.flow.config
        return Geometry(config.size, config.channels, config.bits)

    @property
    def dimension(self) -> int:
        return self.flow.config.dimension

    def encode(self, images: NDArray[Any]) -> NDArray[np.float64]:
        return self.flow.encode(images).numpy()

    def decode(self, rows: NDArray[np.float64]) -> NDArray[Any]:
        latent = Latent.from_flat(rows.astype(np.float32), self.flow.config.latent_shapes)
        pixels: NDArray[Any] = self.flow.decode(latent).cpu().numpy()
        return pixels

    def prior(self, count: int, entropy: Entropy) -> NDArray[np.float64]:
        return normals(entropy.words((count, self.dimension), np.uint64))

    def domain_scores(self, images: NDArray[Any]) -> NDArray[np.float64]:
        """Bits per dimension of each image less its complexity, `(n,)`; see `veilray.methods.domain`."""
        return _scores(self.flow, images)


def _save_flow(flow: Glow, folder: Path, training: ModelTraining) -> str:
    """Write the flow's own files; return the SHA-256 of its weights."""
    save_flow(flow, folder, training_beside(training))
    return str(load_card(folder)["weights_sha256"])


def _trained(
    flow: Glow,
    images: NDArray[Any],
    validation: NDArray[Any],
    config: FlowTraining,
    folder: Path,
    resume: bool,
    on_progress: Callable[[Progress], None] | None,
) -> tuple[Glow, Domain, TrainingResult]:
    result = train(flow, images, validation, config, folder, resume=resume, on_progress=on_progress)
    return flow, Domain.of(_scores(flow, np.asarray(validation[:_DOMAIN_IMAGES]))), result


def _scores(flow: Glow, images: NDArray[Any]) -> NDArray[np.float64]:
    likelihood: NDArray[np.float64] = flow.bits_per_dimension(images).double().cpu().numpy()
    return likelihood - complexity(images)
