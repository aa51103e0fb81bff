"""Fitting what is kept of a picture, and the decoder that draws pictures from it: the steps, and what is asked of them.

The order of the steps follows from where the code lives. A content code is fitted first and conditions the flow; a code
in the latent is read off a flow that was trained before it. Either way k may be chosen on the public images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from veilray.codes import (
    CODE_FILE,
    CONTENTS,
    Choice,
    ContentCode,
    GramCode,
    LatentCode,
    LevelsCode,
    choose_keep,
    load_code,
    pseudo_tasks,
    save_code,
)
from veilray.codes.choice import DECAYS, KEEPS
from veilray.durable import read_json, write_json
from veilray.flows import (
    Condition,
    ConditionalGlow,
    ConditionConfig,
    FlowTraining,
    Glow,
    GlowConfig,
    Progress,
    TrainingResult,
    train,
)
from veilray.methods.fitting import PublicImages, fitted_to
from veilray.methods.rehearsal import Rehearsal
from veilray.privacy import Claim
from veilray.privacy.mechanisms.directional import Directional

__all__ = ["CodeFit", "CodePlan", "CodeProgress", "Fitted"]

_IN_LATENT: dict[str, type[GramCode] | type[LevelsCode]] = {"gram": GramCode, "levels": LevelsCode}
_CONTENT = "invariant"
_WITHOUT_NETWORK = ("pixels",)
_KEEP_AT_MOST = 32
_CLASSES, _CLASSES_AT_MOST = 10, 256
_FEWEST_IMAGES = 20
"""As every code's fit asks."""
_UNTOLD = 0.1
"""Share of the training images whose condition is withheld, so that the flow knows pictures without a code too."""
_CHECKPOINT = "checkpoint"
_EPOCHS_AT_MOST = 10**6
_CHOSEN = "code-choice.json"
"""Beside the flow's checkpoint: how k came about, for a fit that is continued once the code is there."""

CodeProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class CodePlan:
    """What is asked of a code, refused before any image is read.

    Args:
        code: `content`, `gram` or `levels`.
        content: what a content code is made of; None for `invariant`, and for a code in the latent.
        keep: numbers kept of a picture; None: chosen on the public images for `claim`.
        claim: what releases will mostly claim.
        classes: kinds of pictures that learners will tell apart, for the choice of `keep`; None: as the labels say.
        epochs: passes over the images for the content's network; None: its own default.
        dimension: elements of a picture.

    Raises:
        ValueError: for an unknown name, a number out of range, or an option that does not go with the code.
    """

    code: str
    content: str | None
    keep: int | None
    claim: Claim
    classes: int | None
    epochs: int | None
    dimension: int

    def __post_init__(self) -> None:
        if self.code != "content" and self.code not in _IN_LATENT:
            raise ValueError(f"code must be one of content, {', '.join(_IN_LATENT)}, got {self.code!r}")
        if self.code != "content" and self.content is not None:
            raise ValueError(f"content must go with code content, got {self.content!r} with code {self.code}")
        if self.content is not None and self.content not in CONTENTS:
            raise ValueError(f"content must be one of {', '.join(CONTENTS)}, got {self.content!r}")
        most = min(512, self.dimension)
        if self.keep is not None and not 1 <= self.keep <= most:
            raise ValueError(f"keep must be between 1 and {most}, got {self.keep}")
        if self.keep is None and not self.keeps:
            raise ValueError(f"for_epsilon must be one that a direction can carry, got {self.claim.epsilon}: give keep")
        if self.classes is not None and not 2 <= self.classes <= _CLASSES_AT_MOST:
            raise ValueError(f"classes must be between 2 and {_CLASSES_AT_MOST}, got {self.classes}")
        if self.epochs is not None and not 1 <= self.epochs <= _EPOCHS_AT_MOST:
            raise ValueError(f"code_epochs must be 1 or more, at most {_EPOCHS_AT_MOST:,}, got {self.epochs}")
        if self.epochs is not None and not self.trains_network:
            what = self.code if self.code != "content" else f"content {self.content}"
            raise ValueError(f"code_epochs must go with a content that trains a network, got them with {what}")

    @property
    def kind(self) -> str:
        """The content's kind."""
        return self.content or _CONTENT

    @property
    def trains_network(self) -> bool:
        """Whether the code has a network of its own to train."""
        return self.code == "content" and self.kind not in _WITHOUT_NETWORK

    @property
    def keeps(self) -> tuple[int, ...]:
        """The k to try: those whose direction can carry the claim."""
        return tuple(keep for keep in KEEPS if keep <= self.dimension and _carries(self.claim, keep))

    def classes_among(self, images: PublicImages) -> int:
        """Kinds of pictures that learners will tell apart. Raises ValueError for more of them than can be shown."""
        count = len(images.training)
        if self.classes is None:
            return max(2, min(len(images.levels_of.get("label", ())) or _CLASSES, count // 4))
        if self.classes > count // 2:
            raise ValueError(f"classes must be at most {count // 2}, half of the training images, got {self.classes}")
        return self.classes

    def told(self) -> dict[str, str]:
        """For the model card."""
        content = {"content": self.kind} if self.code == "content" else {}
        return {"code": self.code, **content, "kept_for_epsilon": self._chosen_for()}

    def _chosen_for(self) -> str:
        return "given" if self.keep is not None else str(self.claim.epsilon)


@dataclass(frozen=True)
class Fitted:
    """A code with its decoder (None where the code holds it), how it trained, and the score of each k tried."""

    code: ContentCode | LatentCode
    flow: ConditionalGlow | None
    result: TrainingResult
    scores: dict[int, float]


class CodeFit:
    """The steps of a fit, which share the images, the schedule and the folder."""

    def __init__(
        self,
        plan: CodePlan,
        config: GlowConfig,
        images: PublicImages,
        schedule: FlowTraining,
        folder: Path,
        *,
        resume: bool,
        on_progress: Callable[[Progress], None] | None,
        on_code: CodeProgress | None,
    ) -> None:
        count = len(images.training)
        if count < _FEWEST_IMAGES:
            raise ValueError(f"IMAGES must hold {_FEWEST_IMAGES} or more beside those held out, got {count}")
        if plan.keep is not None and plan.keep >= count:
            raise ValueError(f"keep must be below the number of training images, {count}, got {plan.keep}")
        self.schedule = fitted_to(schedule, count)
        self.plan, self.config, self.images, self.folder = plan, config, images, folder
        self.resume, self.on_progress, self.on_code = resume, on_progress, on_code
        self.classes = plan.classes_among(images)

    def run(self) -> Fitted:
        """Fit code and decoder."""
        if self.plan.code == "content":
            code, scores = self._content()
            flow, result = self._conditional(code)
            return Fitted(code, flow, result, scores)
        return self._latent()

    def _content(self) -> tuple[ContentCode, dict[int, float]]:
        """The content code, and the score of each k where k was chosen here. A finished code is not fitted again."""
        if self.resume and (self.folder / CODE_FILE).exists():
            return self._found()
        plan = self.plan
        training = np.asarray(self.images.training)
        options: dict[str, Any] = {}
        if plan.trains_network:
            options = {"seed": self.schedule.seed, "on_epoch": self.on_code, "epochs": plan.epochs}
        most = plan.keep or min(_KEEP_AT_MOST, self.config.dimension, len(training) // 8)
        nested = ContentCode.fit(training, self.config.bits, plan.kind, most, **options)
        code, scores = nested, dict[int, float]()
        if plan.keep is None:
            choice = self._rehearsed(nested.encode(training), nested.features(training), DECAYS)
            code, scores = nested.first(choice.keep, choice.decay), choice.scores
        folder = self.folder / _CHECKPOINT
        folder.mkdir(exist_ok=True)
        write_json(folder / _CHOSEN, {**self._choice(), "scores": {str(k): score for k, score in scores.items()}})
        save_code(code, self.folder)
        return code, scores

    def _found(self) -> tuple[ContentCode, dict[int, float]]:
        """The code of an interrupted fit, if it is the one that is asked for."""
        code = load_code(self.folder)
        cure = "resume with the same options, or fit in another folder"
        if not isinstance(code, ContentCode) or code.content.name != self.plan.kind:
            found = code.content.name if isinstance(code, ContentCode) else code.name
            raise ValueError(f"content must be as in the interrupted fit, {found}, got {self.plan.kind}: {cure}")
        if code.shape != self.config.shape or code.bits != self.config.bits:
            raise ValueError(f"size, channels and bits must be as in the interrupted fit, got others: {cure}")
        if self.plan.keep not in (None, code.dimension):
            raise ValueError(f"keep must be as in the interrupted fit, {code.dimension}, got {self.plan.keep}: {cure}")
        if self.plan.keep is not None:
            return code, {}
        chosen = self.folder / _CHECKPOINT / _CHOSEN
        if not chosen.exists():
            raise ValueError(f"keep must be given where {chosen} is missing, got none: use --keep {code.dimension}")
        saved = read_json(chosen, "how k was chosen")
        for name, value in self._choice().items():
            if saved.get(name) != value:
                raise ValueError(f"{name} must be as in the interrupted fit, {saved.get(name)}, got {value}: {cure}")
        return code, {int(k): float(score) for k, score in saved["scores"].items()}

    def _choice(self) -> dict[str, Any]:
        return {"kept_for_epsilon": self.plan.told()["kept_for_epsilon"], "classes": self.classes}

    def _conditional(self, code: ContentCode) -> tuple[ConditionalGlow, TrainingResult]:
        """The flow of pictures under their codes, as rehearsed releases make them."""
        flow = ConditionalGlow(self.config, ConditionConfig(continuous=code.dimension + 1), self.schedule.seed)
        rehearse = Rehearsal(code.reference)
        codes = torch.from_numpy(code.encode(np.asarray(self.images.training)))
        held_out = torch.from_numpy(code.encode(np.asarray(self.images.validation)))

        def conditions(chosen: NDArray[Any], generator: torch.Generator) -> Condition:
            told = rehearse(codes[torch.as_tensor(chosen)], generator)
            untold = torch.rand(len(told), 1, generator=generator) < _UNTOLD
            return Condition.of(continuous=told.masked_fill(untold, float("nan")))

        fixed = Condition.of(continuous=rehearse(held_out, torch.Generator().manual_seed(0)))
        return flow, self._trained(flow, conditions=conditions, validation_conditions=fixed)

    def _latent(self) -> Fitted:
        """A flow, and the code in its latent."""
        flow = Glow(self.config, seed=self.schedule.seed)
        result = self._trained(flow)
        training = np.asarray(self.images.training)
        most = self.plan.keep or min(_KEEP_AT_MOST, self.config.dimension, len(training) // 8)
        kind = _IN_LATENT[self.plan.code]
        nested = kind.fit(flow, training, most, seed=self.schedule.seed, on_step=self.on_code)
        if self.plan.keep is not None:
            return Fitted(nested, None, result, {})
        codes = nested.encode(training)
        choice = self._rehearsed(codes, codes, (None,))
        return Fitted(nested.first(choice.keep), None, result, choice.scores)

    def _trained(self, flow: Glow | ConditionalGlow, **conditions: Any) -> TrainingResult:
        return train(
            flow,
            self.images.training,
            self.images.validation,
            self.schedule,
            self.folder,
            resume=self.resume,
            on_progress=self.on_progress,
            **conditions,
        )

    def _rehearsed(
        self, codes: NDArray[np.float64], features: NDArray[np.float64], decays: Sequence[float | None]
    ) -> Choice:
        """The k and decay that rehearse best, on made-up tasks of the features."""
        claim = self.plan.claim
        tasks = pseudo_tasks(features, self.classes)
        return choose_keep(codes, tasks, lambda k: Directional.calibrate(claim, k), self.plan.keeps, decays=decays)


def _carries(claim: Claim, keep: int) -> bool:
    try:
        Directional.calibrate(claim, keep)
    except ValueError:
        return False
    return True
