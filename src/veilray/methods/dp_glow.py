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
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.flows import (
    Glow,
    GlowConfig,
    Latent,
    Progress,
    TrainingConfig,
    TrainingResult,
    load_card,
    load_flow,
    save_flow,
    train,
)
from veilray.images import RULE, Collection, Geometry, hash_fraction
from veilray.methods.base import METHODS, Method, ModelCard, read_card
from veilray.methods.domain import Domain, complexity
from veilray.privacy import Entropy, ModelTraining
from veilray.privacy.samplers.normal import normals

__all__ = ["DPGlow"]

_DOMAIN = "domain.json"
_VALIDATION_SHARE = 0.1
_DOMAIN_IMAGES = 1000
_TRAINING_DATA = ("public", "other patients", "not covered")


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
        collection: Collection,
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
            ValueError: for a shape that does not fit, fewer than 10 images, an unknown kind of training data,
                or a folder that already holds a model.
        """
        config = GlowConfig(size=size, channels=channels, bits=bits, levels=levels, steps=steps, width=width)
        if training_data not in _TRAINING_DATA:
            raise ValueError(f"training data must be one of {', '.join(_TRAINING_DATA)}, got {training_data!r}")
        training = ModelTraining(
            data=training_data,  # type: ignore[arg-type]  # checked above
            statement=statement or "not stated",
        )
        if (folder / "model.json").exists():
            raise ValueError(f"MODEL must be a new folder, got {folder}, which holds a finished model")
        if folder.exists() and any(folder.iterdir()) and not (resume and (folder / "checkpoint").exists()):
            raise ValueError(f"MODEL must be a new folder, got {folder}: continue it with --resume or name another")
        if len(collection.refs) < 10:
            raise ValueError(f"IMAGES must hold at least 10 images to train on, got {len(collection.refs)}")
        folder.mkdir(parents=True, exist_ok=True)
        geometry = Geometry(size, channels, bits)
        kept, held_out = _hold_out(collection)
        scratch = Path(tempfile.mkdtemp(prefix=".training-", dir=folder))
        try:
            flow, domain, result = _trained(
                Glow(config, seed=seed),
                _mapped(kept, geometry, scratch / "training"),
                _mapped(held_out, geometry, scratch / "validation"),
                TrainingConfig(
                    epochs=epochs,
                    batch_size=min(batch_size, len(kept)),
                    learning_rate=learning_rate,
                    ema_decay=_ema_decay(epochs * len(kept) // batch_size),
                    seed=seed,
                    max_minutes=max_minutes,
                ),
                folder,
                resume,
                on_progress,
            )
        finally:
            shutil.rmtree(scratch, ignore_errors=True)  # plain pixels must not stay in a folder that is handed on
        card = ModelCard(
            name=name,
            method=cls.name,
            geometry={"size": size, "channels": channels, "bits": bits},
            geometry_rule=RULE,
            training=training,
            training_images=len(kept),
            training_patients=None if collection.unidentified else len(kept.patients()),
            levels_of=_levels(collection) if training.data == "public" else {},
            figures={
                "validation_bits_per_dimension": round(result.validation_bits, 4),
                "validation_images": float(len(held_out)),
                "epochs": float(result.epochs),
                "parameters": float(result.parameters),
                "training_seconds": round(result.seconds, 1),
            },
            configuration=config.to_dict(),
            weights_sha256=_save_flow(flow, folder, training),
        )
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
        if (beside["weights_sha256"], beside["card"].get("training_data")) != (card.weights_sha256, card.training.data):
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


def _ema_decay(steps: int) -> float:
    """Average the weights over about the last twentieth of the steps, at least 100 and at most 1,000 of them."""
    return 1 - 1 / min(1000, max(100, steps // 20))


def _hold_out(collection: Collection) -> tuple[Collection, Collection]:
    """Training and validation images: the tenth of the patients whose hashes come first is held out."""
    groups = sorted({ref.group for ref in collection.refs}, key=lambda key: hash_fraction(key, "veilray-validation:"))
    chosen = set(groups[: max(1, round(_VALIDATION_SHARE * len(groups)))])
    if len(chosen) == len(groups):
        raise ValueError(f"IMAGES must hold at least two patients, so that one can be held out, got {len(groups)}")
    return collection.subset(lambda ref: ref.group not in chosen), collection.subset(lambda ref: ref.group in chosen)


def _save_flow(flow: Glow, folder: Path, training: ModelTraining) -> str:
    """Write the flow's own files; return the SHA-256 of its weights."""
    save_flow(flow, folder, {"training_data": training.data, "statement": training.statement})
    return str(load_card(folder)["weights_sha256"])


def _mapped(collection: Collection, geometry: Geometry, folder: Path) -> NDArray[Any]:
    folder.mkdir(parents=True, exist_ok=True)
    return collection.to_memmap(geometry, folder)


def _trained(
    flow: Glow,
    images: NDArray[Any],
    validation: NDArray[Any],
    config: TrainingConfig,
    folder: Path,
    resume: bool,
    on_progress: Callable[[Progress], None] | None,
) -> tuple[Glow, Domain, TrainingResult]:
    result = train(flow, images, validation, config, folder, resume=resume, on_progress=on_progress)
    return flow, Domain.of(_scores(flow, np.asarray(validation[:_DOMAIN_IMAGES]))), result


def _scores(flow: Glow, images: NDArray[Any]) -> NDArray[np.float64]:
    likelihood: NDArray[np.float64] = flow.bits_per_dimension(images).double().cpu().numpy()
    return likelihood - complexity(images)


def _levels(collection: Collection) -> dict[str, tuple[str, ...]]:
    """The levels of each condition that the training images show: public ones, usable for randomisation."""
    levels: dict[str, set[str]] = {}
    for ref in collection.refs:
        for name, value in [("label", ref.label), *ref.conditions.items()]:
            if value is not None:
                levels.setdefault(name, set()).add(value)
    return {name: tuple(sorted(values)) for name, values in levels.items() if 2 <= len(values) <= 256}
