"""Maximum-likelihood training: bits per dimension, averaged weights, checkpoints that resume bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from veilray.flows.condition import Condition
from veilray.flows.conditional import ConditionalGlow
from veilray.flows.glow import Glow
from veilray.flows.quantisation import as_tensor, dequantise
from veilray.flows.trainer import CONDITIONS, LOG_FILE, Trainer, derived
from veilray.flows.training_config import FlowTraining, Progress, TrainingResult
from veilray.networks.checkpoint import Checkpoint

__all__ = ["LOG_FILE", "Conditions", "FlowTraining", "Progress", "TrainingResult", "train"]

Conditions = Callable[[np.ndarray, torch.Generator], Condition]
"""The conditions of the training images at these indices; what is random in them comes from the generator."""


def train(
    flow: Glow | ConditionalGlow,
    images: np.ndarray,
    validation: np.ndarray,
    config: FlowTraining,
    folder: Path | str,
    *,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    conditions: Conditions | None = None,
    validation_conditions: Condition | None = None,
) -> TrainingResult:
    """Train a flow in place; at the end it holds the averaged weights of its best epoch.

    Args:
        flow: the flow; a fresh one has its ActNorms set from the first batch.
        images: `(n, c, h, w)` uint8 or uint16, an array or a memory map (read batch by batch).
        validation: held-out images of the same shape.
        config: how to train.
        folder: gets `checkpoint/` and `log.jsonl`, one line an epoch: epoch, train_bits, validation_bits,
            learning_rate, seconds.
        resume: continue from the checkpoint in `folder`. The result equals that of a run without the stop,
            bit for bit, on the same machine with the same number of threads.
        on_progress: called after every step and every epoch.
        conditions: for a `ConditionalGlow`: called with the indices `(batch_size,)` of every batch and a
            generator seeded for that step, returns their conditions. Noise that stands for a mechanism's is
            drawn from the generator, afresh each time; then a resumed run draws the same.
        validation_conditions: the fixed conditions of the validation images.

    Raises:
        ValueError: for images of another shape, a batch size above n, a checkpoint of another run, a folder
            with a checkpoint that `resume` does not ask for, conditions that do not fit the flow, or a loss
            that is not finite.
    """
    given = _Conditions(flow, conditions, validation_conditions, len(validation))
    outcome = _Trainer(flow, images, validation, config, Path(folder), on_progress, given).run(resume=resume)
    return TrainingResult(**outcome.to_dict(), training_images=len(images), validation_images=len(validation))


class _Conditions:
    """What is passed to the flow beside the images: one condition, or nothing to a flow that takes none."""

    def __init__(
        self,
        flow: Glow | ConditionalGlow,
        source: Conditions | None,
        validation: Condition | None,
        validation_images: int,
    ) -> None:
        if isinstance(flow, ConditionalGlow):
            if source is None or validation is None:
                raise ValueError("conditions and validation_conditions must be given for a ConditionalGlow, got None")
            flow.conditions.check(validation, validation_images)
        elif source is not None or validation is not None:
            raise ValueError(f"conditions must be for a ConditionalGlow, got a {type(flow).__name__}")
        self._flow, self._source, self._validation = flow, source, validation

    def of_batch(self, chosen: np.ndarray, seed: int, step: int) -> tuple[Condition, ...]:
        generator = torch.Generator().manual_seed(derived(seed, step, CONDITIONS))
        return () if self._source is None else (self._source(chosen, generator),)

    def validation_bits(self, images: np.ndarray, rows: slice) -> Tensor:
        if isinstance(self._flow, ConditionalGlow):
            assert self._validation is not None
            return self._flow.bits_per_dimension(images, self._validation[rows], seed=rows.start)
        return self._flow.bits_per_dimension(images, seed=rows.start)


class _Trainer(Trainer):
    def __init__(
        self,
        flow: Glow | ConditionalGlow,
        images: np.ndarray,
        validation: np.ndarray,
        config: FlowTraining,
        folder: Path,
        on_progress: Callable[[Progress], None] | None,
        conditions: _Conditions,
    ) -> None:
        for name, array in (("images", images), ("validation", validation)):
            if not len(array):
                raise ValueError(f"{name} must be one image or more, got none")
            as_tensor(array[:1], flow.config.shape, flow.config.bits)
        super().__init__(flow, len(images), config, Checkpoint(folder / "checkpoint"), on_progress)
        self.flow, self.images, self.validation, self.conditions = flow, images, validation, conditions

    def batch_loss(self, chosen: np.ndarray, epoch: int, step: int) -> Tensor:
        del epoch
        flow, seed = self.flow, self.config.seed
        pixels = as_tensor(np.asarray(self.images[chosen]), flow.config.shape, flow.config.bits)
        generator = torch.Generator().manual_seed(derived(seed, step))
        x = dequantise(pixels, flow.config.bits, flow.dtype, generator).to(flow.device)
        given = self.conditions.of_batch(chosen, seed, step)
        if step == 0:
            flow.initialise(x, *given)
            self.loop.restart_average()
        return flow.loss(x, *given)

    def validation_loss(self) -> float:
        total = 0.0
        for start in range(0, len(self.validation), 256):
            rows = slice(start, start + 256)
            bits = self.conditions.validation_bits(np.asarray(self.validation[rows]), rows)
            total += float(bits.double().sum())
        return total / len(self.validation)

    def identity(self) -> dict[str, Any]:
        flow = self.flow
        return {
            "flow": flow.config.to_dict(),
            **({"conditions": flow.conditions.to_dict()} if isinstance(flow, ConditionalGlow) else {}),
            "dtype": str(flow.dtype),
            "training": self.config.steering(),
            "images": len(self.images),
            "validation": len(self.validation),
        }
