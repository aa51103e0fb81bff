"""CADP: encode under the diagnosis, bound and randomise what matters of the latent, decode under the diagnosis.

A re-implementation of the published idea, not a reproduction: Toelle et al. 2022, "Content-aware differential privacy
with conditional invertible neural networks", DeCaF 2022, arXiv 2207.14625. A conditional flow is told the diagnosis
(or other facts), so that the latent holds what those do not explain; the diagnosis survives as the condition, and the
rest is blurred.

**What is claimed here, and why it holds.** A record is a picture x with its facts c. Facts leave under a stated policy
each: `public` ones are not covered, and the claim is about records that agree on them; `randomised` ones are drawn
once, by a mechanism R of epsilon_c; `withheld` ones reach neither encoder nor decoder. The latent f(x; c) is a
deterministic public function of the record, row by row, whatever the network is, so by the proof of the mechanism M

    Pr[c' , z' | x, c] = Pr[R(c) = c'] Pr[M(f(x; c)) = z'] <= e^(epsilon_c + epsilon) Pr[c', z' | any other record]

and decoding z' under c', or under any condition that was fixed beforehand, is post-processing. The encoder may know
the true value of a randomised fact: it is a part of the record and z' is covered. The decoder must not, and does not.

**Content-aware, without a hole.** The published text lets dimensions of the latent pass untouched. One element that
passes makes epsilon infinite: two records that differ in it are told apart with certainty. Here every direction of the
latent is either released by the mechanism, with a public share of epsilon that sums to the claim, or drawn from the
prior, independent of the record. Which is which, and the shares, follow from how much each direction matters for the
declared task, measured on the public training images through the decoder (`latent_directions`, `budget`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from veilray.flows import (
    Condition,
    ConditionalGlow,
    GlowConfig,
    Latent,
    Progress,
    load_card,
    load_flow,
    save_flow,
    train,
)
from veilray.images import Geometry
from veilray.methods.base import METHODS
from veilray.methods.budget import shared_budget
from veilray.methods.domain import Domain, complexity
from veilray.methods.fitting import PublicCollection, PublicImages, fitted_to, public_images, training_schedule
from veilray.methods.latent_directions import LatentDirections, task_reader
from veilray.privacy import Claim, Entropy, Mechanism, ModelTraining
from veilray.privacy.samplers.normal import normals
from veilray.releases.declared import Declared, Facts, parse_bounds
from veilray.releases.model import Method, ModelCard, read_card
from veilray.releases.training_record import check_statement, training_beside, training_statement

__all__ = ["CADP"]

_DOMAIN = "domain.json"
_DOMAIN_IMAGES = 1000
_UNTOLD = 0.1
"""Each fact of a training image is withheld with this chance, so that the flow knows what to do without it."""
_KEEP = 32
_PICTURE = "picture"
"""The task of a model that is to keep what shows most, whatever it is good for."""

CodeProgress = Callable[[int, int], None]


@METHODS.register("cadp")
class CADP(Method):
    """A conditional flow of public images, with noise on the directions of its latent that matter.

    Args:
        flow: the trained flow.
        declared: the conditions it is told.
        directions: what of the latent matters, most first.
        card: the model card.
        domain: the likelihood band of held-out public images, for `veilray check`.
    """

    name: ClassVar[str] = "cadp"
    default_mechanism: ClassVar[str] = "directional"

    def __init__(
        self, flow: ConditionalGlow, declared: Declared, directions: LatentDirections, card: ModelCard, domain: Domain
    ) -> None:
        self.flow, self.declared, self.directions = flow, declared, directions
        self.card, self.domain = card, domain

    @classmethod
    def fit(  # type: ignore[override]
        cls,
        collection: PublicCollection,
        folder: Path,
        *,
        condition: str | Sequence[str] = "label",
        bounds: Mapping[str, str] | None = None,
        task: str | None = None,
        keep: int = _KEEP,
        size: int = 32,
        levels: int = 3,
        steps: int = 8,
        width: int = 64,
        coupling: str = "affine",
        downsampling: str = "checkerboard",
        channels: int = 1,
        bits: int = 8,
        epochs: int = 30,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        max_minutes: float | None = None,
        seed: int = 0,
        training_data: str = "not covered",
        statement: str = "",
        name: str | None = None,
        resume: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        on_code: CodeProgress | None = None,
    ) -> CADP:
        """Train the conditional flow on public images, measure what of its latent matters, write the MODEL folder.

        Args:
            condition: names of the facts that the flow is told, in a sequence or with commas; `label` is one.
            bounds: `LOW:HIGH` of each condition that is a number; the others are categories.
            task: the condition that learners will be asked for, by which directions of the latent are ranked; by
                default the first one. `picture`: whatever shows most.
            keep: directions of the latent that a release may keep.
            coupling, downsampling: of the flow; see `GlowConfig`.
            on_code: progress `(done, total)` of ranking the directions.

        Raises:
            ValueError: as `DPGlow.fit`, for conditions that the images do not have, and for numbers that do not fit.
        """
        config = GlowConfig(
            size=size,
            channels=channels,
            bits=bits,
            levels=levels,
            steps=steps,
            width=width,
            coupling=coupling,  # type: ignore[arg-type]  # checked there
            downsampling=downsampling,  # type: ignore[arg-type]
        )
        if not 1 <= keep <= config.dimension:
            raise ValueError(f"keep must be between 1 and {config.dimension}, got {keep}")
        names = tuple(condition.split(",")) if isinstance(condition, str) else tuple(condition)
        declared_task = names[0] if task is None else task
        if declared_task not in (*names, _PICTURE):
            raise ValueError(f"task must be one of {', '.join(names)} or {_PICTURE}, got {declared_task!r}")
        training = training_statement(training_data, statement)
        schedule = training_schedule(
            epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed, max_minutes=max_minutes
        )
        with public_images(collection, Geometry(size, channels, bits), folder, resume=resume) as images:
            declared = Declared.of(names, images.training_facts, parse_bounds(bounds or {}))
            count = len(images.training)
            flow = ConditionalGlow(config, declared.config, seed)
            told = declared.condition(images.training_facts)

            def conditions(chosen: NDArray[Any], generator: torch.Generator) -> Condition:
                return declared.withheld(told[torch.as_tensor(chosen)], _UNTOLD, generator)

            result = train(
                flow,
                images.training,
                images.validation,
                fitted_to(schedule, count),
                folder,
                resume=resume,
                on_progress=on_progress,
                conditions=conditions,
                validation_conditions=declared.condition(images.validation_facts),
            )
            directions = _ranked(flow, declared, declared_task, keep, images, told, seed, on_code)
            domain = Domain.of(_scores(flow, np.asarray(images.validation[:_DOMAIN_IMAGES])))
        card = ModelCard(
            name=name or cls.name,
            method=cls.name,
            geometry={"size": size, "channels": channels, "bits": bits},
            geometry_rule=images.geometry_rule,
            intensity=images.intensity,
            training=training,
            training_images=count,
            training_patients=images.patients,
            levels_of=declared.levels_of if training.data == "public" else {},
            figures={
                "kept": float(directions.keep),
                **(_importances(directions, config) if training.data == "public" else {}),
                "validation_bits_per_dimension": round(result.validation_bits, 4),
                "validation_images": float(result.validation_images),
                "epochs": float(result.epochs),
                "parameters": float(result.parameters),
                "training_seconds": round(result.seconds, 1),
            },
            # The card leaves with every release: levels that only images of others show stay in MODEL.
            configuration={
                **config.to_dict(),
                "conditions": declared.to_list() if training.data == "public" else list(declared.names),
                "task": declared_task,
            },
            weights_sha256=_save_networks(flow, declared, directions, folder, training),
        )
        images.record.write(card.weights_sha256)
        method = cls(flow, declared, directions, card, domain)
        method.save(folder)
        return method

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        _save_networks(self.flow, self.declared, self.directions, folder, self.card.training)
        (folder / _DOMAIN).write_text(json.dumps(self.domain.to_dict(), indent=2) + "\n")
        self.card.write(folder)

    @classmethod
    def load(cls, folder: Path) -> CADP:
        card = read_card(folder)
        flow = load_flow(folder, ConditionalGlow)
        directions, sha256 = LatentDirections.load(folder)
        beside = load_card(folder)
        check_statement(folder, card.training, beside["card"])
        if _hash_of(beside, sha256) != card.weights_sha256:
            raise ValueError(f"{folder} must hold the weights its model card tells of, got others: fit the model anew")
        declared = Declared.from_list(beside["card"].get("conditions"))
        if declared.config.categorical != flow.conditions.categorical or (
            declared.config.continuous != flow.conditions.continuous
        ):
            raise ValueError(f"{folder} must declare the conditions of its flow, got others: fit the model anew")
        if len(directions.directions) != flow.config.dimension:
            raise ValueError(f"{folder} must hold directions of its flow's latent, got others: fit the model anew")
        try:
            domain = Domain.from_dict(json.loads((folder / _DOMAIN).read_text()))
        except (OSError, ValueError) as error:
            raise ValueError(f"{folder / _DOMAIN} must be the domain of a model, got: {error}") from None
        return cls(flow, declared, directions, card, domain)

    @property
    def geometry(self) -> Geometry:
        config = self.flow.config
        return Geometry(config.size, config.channels, config.bits)

    @property
    def dimension(self) -> int:
        return self.directions.keep

    @property
    def conditions(self) -> Declared:
        return self.declared

    def calibrated(self, claim: Claim, mechanism: str | None = None, **options: Any) -> Mechanism:
        """The mechanism that keeps `claim`, with the budget shared by importance unless `sizes` are given."""
        # Sizes and shares leave with the claim: only public images may have a part in them.
        public = self.card.training.data == "public"
        importance = self.directions.importance.numpy() if public else np.ones(self.dimension)
        kind, given = shared_budget(claim, mechanism or self.default_mechanism, importance, options)
        return super().calibrated(claim, kind, **given)

    def encode(self, images: NDArray[Any]) -> NDArray[np.float64]:
        """Rows `(n, k)` of pictures of which no fact is known."""
        return self.encode_given(images, [{}] * len(images))

    def encode_given(self, images: NDArray[Any], known: Facts) -> NDArray[np.float64]:
        latents = self.flow.encode(images, self.declared.condition(known)).flat()
        return self.directions.read(latents.double().cpu().numpy())

    def decode(self, rows: NDArray[np.float64]) -> NDArray[Any]:
        """Pictures of rows `(n, k)`, all else of the latent at the prior's mean, under no fact."""
        rest = np.zeros((len(rows), self.flow.config.dimension))
        return self._pictures(rows, rest, [{}] * len(rows))

    def render(self, drawn: NDArray[np.float64], mechanism: Mechanism, entropy: Entropy) -> NDArray[Any]:
        return self.render_given(drawn, mechanism, entropy, [{}] * len(drawn))

    def render_given(
        self, drawn: NDArray[np.float64], mechanism: Mechanism, entropy: Entropy, told: Facts
    ) -> NDArray[Any]:
        return self._pictures(mechanism.to_prior(drawn), self._rest(len(drawn), entropy), told)

    def sample(self, told: Facts, entropy: Entropy) -> NDArray[Any]:
        """Pictures `(n, c, h, w)` of facts alone, all of the latent from the prior: the null-conditional control."""
        return self._pictures(self.prior(len(told), entropy), self._rest(len(told), entropy), told)

    def counterfactual(self, images: NDArray[Any], known: Facts, told: Facts) -> NDArray[Any]:
        """The same pictures as they would be under other facts, without noise: to look at, never to release."""
        latents = self.flow.encode(images, self.declared.condition(known))
        pictures: NDArray[Any] = self.flow.decode(latents, self.declared.condition(told)).cpu().numpy()
        return pictures

    def prior(self, count: int, entropy: Entropy) -> NDArray[np.float64]:
        return normals(entropy.words((count, self.dimension), np.uint64))

    def domain_scores(self, images: NDArray[Any]) -> NDArray[np.float64]:
        """Bits per dimension of each image, of which no fact is told, less its complexity, `(n,)`."""
        return _scores(self.flow, images)

    def _rest(self, count: int, entropy: Entropy) -> NDArray[np.float64]:
        return normals(entropy.words((count, self.flow.config.dimension), np.uint64))

    def _pictures(self, rows: NDArray[np.float64], rest: NDArray[np.float64], told: Facts) -> NDArray[Any]:
        placed = self.directions.place(rows, rest).astype(np.float32)
        latent = Latent.from_flat(placed, self.flow.config.latent_shapes)
        pictures: NDArray[Any] = self.flow.decode(latent, self.declared.condition(told)).cpu().numpy()
        return pictures


def _ranked(
    flow: ConditionalGlow,
    declared: Declared,
    task: str,
    keep: int,
    images: PublicImages,
    told: Condition,
    seed: int,
    on_code: CodeProgress | None,
) -> LatentDirections:
    """The directions of the latent, by what they do to the answers of a network that tells the task."""
    training = np.asarray(images.training)
    answers: Callable[[Tensor], Tensor] | None = None
    if task != _PICTURE:
        known = declared.known(images.training_facts, task)
        answers = task_reader(training[known], _targets(declared, task, images.training_facts)[known], flow.config.bits)
    return LatentDirections.fit(flow, training, told, keep, answers, seed=seed, on_step=on_code)


def _importances(directions: LatentDirections, config: GlowConfig) -> dict[str, float]:
    """For the model card: how what matters is spread over the levels of the latent, finest first."""
    shares = directions.share_of_levels(config.latent_shapes)
    return {f"importance_of_level_{level}": round(share, 4) for level, share in enumerate(shares, start=1)}


def _targets(declared: Declared, task: str, facts: Facts) -> NDArray[Any]:
    condition = declared[task]
    values = [row.get(task, "") for row in facts]
    if condition.bounds is None:
        return np.array([condition.level(value) for value in values], dtype=np.int64)
    return np.array([condition.number(value) for value in values], dtype=np.float64)


def _save_networks(
    flow: ConditionalGlow, declared: Declared, directions: LatentDirections, folder: Path, training: ModelTraining
) -> str:
    """Write flow and directions; return the SHA-256 that stands for both."""
    conditions = declared.to_list()
    save_flow(flow, folder, {**training_beside(training), "conditions": conditions})
    return _hash_of(load_card(folder), directions.save(folder))


def _hash_of(flow_card: Mapping[str, Any], directions_sha256: str) -> str:
    """One hash for the flow's weights, the conditions it is told, and the directions of its latent."""
    conditions = json.dumps(flow_card["card"].get("conditions"), sort_keys=True)
    return hashlib.sha256(f"{flow_card['weights_sha256']} {directions_sha256} {conditions}".encode()).hexdigest()


def _scores(flow: ConditionalGlow, images: NDArray[Any]) -> NDArray[np.float64]:
    bits = flow.bits_per_dimension(images, flow.conditions.missing(len(images)))
    likelihood: NDArray[np.float64] = bits.double().cpu().numpy()
    return likelihood - complexity(images)
