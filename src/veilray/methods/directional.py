"""Directional release and selection: keep a few numbers of a picture, randomise those, draw everything else.

Noise on d coordinates must grow with d; a direction of k kept numbers needs no more than their direction. So what is
kept is chosen first, on public images, and stored with the model:

    content   features of a public network condition a flow; all of the flow's latent is drawn from the prior
    gram      the directions of the latent that move the decoded picture most
    levels    elements of the coarsest level of the latent

The kept code of a picture, bounded and randomised by the mechanism, is the release. The picture is drawn from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from veilray.codes import ContentCode, KeptCode, LatentCode, card_of_code, load_code, save_code
from veilray.flows import ConditionalGlow, GlowConfig, Progress, load_card, load_flow, save_flow
from veilray.images import Geometry
from veilray.methods.base import METHODS
from veilray.methods.code_fitting import CodeFit, CodePlan, CodeProgress
from veilray.methods.domain import Domain, complexity
from veilray.methods.fitting import PublicCollection, public_images, training_schedule
from veilray.methods.rehearsal import EPSILONS, alignment
from veilray.methods.rendering import ContentRenderer, LatentRenderer, Renderer
from veilray.privacy import Claim, Entropy, Mechanism, ModelTraining, SeededEntropy
from veilray.privacy.exact import ExactLike
from veilray.privacy.mechanisms.directional import Directional
from veilray.releases.model import Method, ModelCard, read_card
from veilray.releases.training_record import check_statement, training_beside, training_statement

__all__ = ["DirectionalRelease", "KeptCodeMethod"]

_DOMAIN = "domain.json"
_DOMAIN_IMAGES = 1000


class KeptCodeMethod(Method):
    """A public code of a few numbers, and the decoder that draws pictures from it.

    Args:
        code: what is kept, with the law of the public images' codes.
        flow: the conditional flow of a content code; None where the code holds its flow itself.
        card: the model card.
        domain: the likelihood band of held-out public images, for `veilray check`.
    """

    def __init__(
        self, code: ContentCode | LatentCode, flow: ConditionalGlow | None, card: ModelCard, domain: Domain
    ) -> None:
        self.code, self.flow, self.card, self.domain = code, flow, card, domain
        self._alignments: dict[str, float] = {}

    @classmethod
    def fit(  # type: ignore[override]
        cls,
        collection: PublicCollection,
        folder: Path,
        *,
        code: str = "content",
        content: str | None = None,
        keep: int | None = None,
        for_epsilon: ExactLike = 1,
        classes: int | None = None,
        code_epochs: int | None = None,
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
        name: str | None = None,
        resume: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        on_code: CodeProgress | None = None,
    ) -> KeptCodeMethod:
        """Fit what is kept and the decoder on public images, and write the MODEL folder.

        Args:
            code: `content`, `gram` or `levels`.
            content: what a content code is made of: `invariant` (self-supervised; default), `pixels` (PCA) or `vae`.
            keep: numbers kept of a picture; by default chosen on the public images, for `for_epsilon`.
            for_epsilon: the whole-image epsilon that releases of this model will mostly have.
            classes: how many kinds of pictures learners will tell apart; `keep` is chosen for so many. By default the
                number of label levels in the collection, or 10 where it has none.
            code_epochs: passes over the images for the content's network; by default about 2,000 steps.
            on_code: progress `(done, total)` of fitting the code.

        Raises:
            ValueError: as `DPGlow.fit`, for an unknown code or content, for numbers that do not fit, and for a resumed
                fit that is asked for another code than it began with.
        """
        config = GlowConfig(size=size, channels=channels, bits=bits, levels=levels, steps=steps, width=width)
        training = training_statement(training_data, statement)
        plan = CodePlan(code, content, keep, Claim.of(for_epsilon), classes, code_epochs, config.dimension)
        schedule = training_schedule(
            epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed, max_minutes=max_minutes
        )
        with public_images(collection, Geometry(size, channels, bits), folder, resume=resume) as images:
            fitted = CodeFit(
                plan, config, images, schedule, folder, resume=resume, on_progress=on_progress, on_code=on_code
            ).run()
            kept, flow, result = fitted.code, fitted.flow, fitted.result
            domain = Domain.of(_scores(kept, flow, np.asarray(images.validation[:_DOMAIN_IMAGES])))
            card = ModelCard(
                name=name or cls.name,
                method=cls.name,
                geometry={"size": size, "channels": channels, "bits": bits},
                geometry_rule=images.geometry_rule,
                intensity=images.intensity,
                training=training,
                training_images=len(images.training),
                training_patients=images.patients,
                levels_of=images.levels_of if training.data == "public" else {},
                figures={
                    "kept": float(kept.dimension),
                    "validation_bits_per_dimension": round(result.validation_bits, 4),
                    "validation_images": float(result.validation_images),
                    "epochs": float(result.epochs),
                    "parameters": float(result.parameters),
                    "training_seconds": round(result.seconds, 1),
                    **{f"rehearsal_score_at_{count}": round(score, 4) for count, score in fitted.scores.items()},
                },
                configuration={**config.to_dict(), **plan.told()},
                weights_sha256=_write_networks(kept, flow, folder, training),
            )
            method = cls(kept, flow, card, domain)
            method._prepare(images.training, images.validation)
            images.record.write(card.weights_sha256)
            method.save(folder)
        return method

    def _prepare(self, training: NDArray[Any], validation: NDArray[Any]) -> None:
        """What a method still makes of the public images, once code and decoder are fitted."""

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        _write_networks(self.code, self.flow, folder, self.card.training)
        (folder / _DOMAIN).write_text(json.dumps(self.domain.to_dict(), indent=2) + "\n")
        self.card.write(folder)

    @classmethod
    def load(cls, folder: Path) -> KeptCodeMethod:
        card = read_card(folder)
        code = load_code(folder)
        if not isinstance(code, ContentCode | LatentCode):
            raise ValueError(f"{folder} must hold a content code or a code in the latent, got {code.name}")
        flow = load_flow(folder, ConditionalGlow) if isinstance(code, ContentCode) else None
        check_statement(folder, card.training, card_of_code(folder) if flow is None else load_card(folder)["card"])
        if _networks_hash(folder, flow) != card.weights_sha256:
            raise ValueError(f"{folder} must hold the weights its model card tells of, got others: fit the model anew")
        try:
            domain = Domain.from_dict(json.loads((folder / _DOMAIN).read_text()))
        except (OSError, ValueError) as error:
            raise ValueError(f"{folder / _DOMAIN} must be the domain of a model, got: {error}") from None
        return cls(code, flow, card, domain)

    @property
    def kept_code(self) -> KeptCode:
        return self.code

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.code.shape[1], self.code.shape[0], self.code.bits)

    @property
    def dimension(self) -> int:
        return self.code.dimension

    @property
    def renderer(self) -> Renderer:
        """What draws pictures from code rows."""
        if isinstance(self.code, ContentCode):
            assert self.flow is not None  # a content code always comes with its flow
            return ContentRenderer(self.flow, self.code)
        return LatentRenderer(self.code)

    def encode(self, images: NDArray[Any]) -> NDArray[np.float64]:
        return self.code.encode(images)

    def decode(self, rows: NDArray[np.float64]) -> NDArray[Any]:
        """Code rows `(n, k)` to pictures, as the decoder draws codes that it may trust; the rest is fixed noise."""
        return self.renderer(rows / self._scale, self.most_trusted, SeededEntropy("decoding without a release"))

    def render(self, drawn: NDArray[np.float64], mechanism: Mechanism, entropy: Entropy) -> NDArray[Any]:
        rows = mechanism.to_prior(drawn)
        if mechanism.candidates is not None:  # it releases codes, every other mechanism rows of deviation 1
            rows = rows / self._scale
        return self.renderer(rows, self.alignment(mechanism), entropy)

    def alignment(self, mechanism: Mechanism) -> float:
        """How much a release of `mechanism` still says of a code: see `veilray.methods.rehearsal.alignment`."""
        claim = mechanism.guarantee(self.dimension).to_json()
        if claim not in self._alignments:
            self._alignments[claim] = alignment(mechanism, self.code.reference)
        return self._alignments[claim]

    @property
    def _scale(self) -> NDArray[np.float64]:
        return self.code.scale.numpy() if isinstance(self.code, ContentCode) else np.ones(self.dimension)

    @property
    def most_trusted(self) -> float:
        """The alignment of the largest epsilon that the decoder was trained on."""
        return self.alignment(Directional.calibrate(Claim.of(EPSILONS[-1]), self.dimension))

    def prior(self, count: int, entropy: Entropy) -> NDArray[np.float64]:
        """Code rows drawn from the law of the public images' codes."""
        return self.code.reference.sample(count, entropy)

    def domain_scores(self, images: NDArray[Any]) -> NDArray[np.float64]:
        """Bits per dimension of each image less its complexity, `(n,)`; see `veilray.methods.domain`.

        The flow is not told the image's own code: of a private image, only the kept code is ever computed.
        """
        return _scores(self.code, self.flow, images)


@METHODS.register("directional")
class DirectionalRelease(KeptCodeMethod):
    """Keep a code, release its direction: pure epsilon at a fraction of the noise that coordinates need."""

    name: ClassVar[str] = "directional"
    default_mechanism: ClassVar[str] = "directional"


def _write_networks(
    code: ContentCode | LatentCode, flow: ConditionalGlow | None, folder: Path, training: ModelTraining
) -> str:
    """Write code and flow; return the SHA-256 that stands for both."""
    beside = training_beside(training)
    save_code(code, folder, beside)
    if flow is not None:
        save_flow(flow, folder, beside)
    return _networks_hash(folder, flow)


def _networks_hash(folder: Path, flow: ConditionalGlow | None) -> str:
    both = hashlib.sha256((folder / "code.json").read_bytes())
    if flow is not None:
        both.update(str(load_card(folder)["weights_sha256"]).encode())
    return both.hexdigest()


def _scores(code: ContentCode | LatentCode, flow: ConditionalGlow | None, images: NDArray[Any]) -> NDArray[np.float64]:
    if flow is None:
        assert isinstance(code, LatentCode)
        bits = code.flow.bits_per_dimension(images)
    else:
        bits = flow.bits_per_dimension(images, flow.conditions.missing(len(images)))
    likelihood: NDArray[np.float64] = bits.double().cpu().numpy()
    return likelihood - complexity(images)
