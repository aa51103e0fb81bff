"""Maximum-likelihood training of a `TabularFlow` on the rows of a table."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from veilray.flows.condition import MISSING, Condition
from veilray.flows.tabular import TabularFlow
from veilray.flows.trainer import CONDITIONS, Trainer, derived
from veilray.flows.training import Conditions
from veilray.flows.training_config import Progress, RowTraining, RowTrainingResult
from veilray.networks.checkpoint import Checkpoint

__all__ = ["Rows", "train_rows"]

Rows = Callable[[int, np.random.Generator], NDArray[np.float64]]
"""The training rows `(n, d)` of an epoch, counted from 0; what is random in them comes from the generator."""


def train_rows(
    flow: TabularFlow,
    rows: Rows | NDArray[np.float64],
    condition: Condition | Conditions | None,
    validation: NDArray[np.float64],
    validation_condition: Condition | None,
    config: RowTraining,
    folder: Path | str,
    *,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> RowTrainingResult:
    """Train a flow in place; at the end it holds the averaged weights of its best epoch.

    Args:
        flow: the flow.
        rows: `(n, d)`, each number of about N(0, 1); or a function that returns them for every epoch, so that
            whole numbers and levels are dequantised afresh. It must return as many rows, in the same order,
            and the same for the same epoch and generator.
        condition: of the training rows, fixed; or a function that is called with the indices of every batch and
            a generator seeded for that step. Each value is withheld with the chance `config.untold` in any case.
        validation: held-out rows.
        validation_condition: of the held-out rows.
        config: how to train.
        folder: gets `checkpoint/` and `log.jsonl`, one line an epoch: epoch, train_bits, validation_bits,
            learning_rate, seconds.
        resume: continue from the checkpoint in `folder`. The result equals that of a run without the stop,
            bit for bit, on the same machine with the same number of threads.
        on_progress: called after every step and every epoch; its images are rows.

    Raises:
        ValueError: for rows of another shape or not finite, a batch size above n, a checkpoint of another run, a
            folder with a checkpoint that `resume` does not ask for, conditions that do not fit the flow, or a loss
            that is not finite.
    """
    held_out = (validation, validation_condition)
    checkpoint = Checkpoint(Path(folder) / "checkpoint")
    trainer = _Trainer(flow, rows, condition, held_out, config, checkpoint, on_progress)
    outcome = trainer.run(resume=resume)
    return RowTrainingResult(**outcome.to_dict(), training_rows=trainer.items, validation_rows=len(validation))


class _Trainer(Trainer):
    unit = "rows"
    save_every_seconds = 15.0

    def __init__(
        self,
        flow: TabularFlow,
        rows: Rows | NDArray[np.float64],
        condition: Condition | Conditions | None,
        validation: tuple[NDArray[np.float64], Condition | None],
        config: RowTraining,
        checkpoint: Checkpoint,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        if (condition is None) != (flow.conditions is None) or (validation[1] is None) != (flow.conditions is None):
            wanted = "None for a flow that takes none" if flow.conditions is None else "given for both parts"
            raise ValueError(f"condition and validation_condition must be {wanted}")
        self.flow, self.rows, self.condition = flow, rows, condition
        self.untold, self.input_noise, self.seed = config.untold, config.input_noise, config.seed
        self.validation = _checked(flow, validation[0], "validation rows"), validation[1]
        self.epoch, self.current = 0, self._drawn(0)
        if flow.conditions is not None:
            if isinstance(condition, Condition):
                flow.conditions.check(condition, len(self.current))
            assert validation[1] is not None
            flow.conditions.check(validation[1], len(validation[0]))
        super().__init__(flow, len(self.current), config, checkpoint, on_progress)

    def batch_loss(self, chosen: np.ndarray, epoch: int, step: int) -> Tensor:
        if epoch != self.epoch:
            self.epoch, self.current = epoch, self._drawn(epoch)
            if len(self.current) != self.items:
                raise ValueError(f"rows must be {self.items:,} in every epoch, got {len(self.current):,}")
        rows = self.current[torch.as_tensor(chosen)]
        generator = torch.Generator().manual_seed(derived(self.seed, step))
        noise = torch.randn(rows.shape, generator=generator, dtype=rows.dtype).to(rows.device)
        return self.flow.loss(rows + self.input_noise * noise, self._told(chosen, step))

    def validation_loss(self) -> float:
        rows, condition = self.validation
        total = 0.0
        with torch.no_grad():
            for start in range(0, len(rows), 4096):
                part = slice(start, start + 4096)
                bits = self.flow.loss(rows[part], None if condition is None else condition[part])
                total += float(bits.double().sum())
        return total / len(rows)

    def identity(self) -> dict[str, Any]:
        flow = self.flow
        return {
            "flow": flow.config.to_dict(),
            **({} if flow.conditions is None else {"conditions": flow.conditions.to_dict()}),
            "dtype": str(flow.dtype),
            "training": self.config.steering(),
            "rows": self.items,
            "validation": len(self.validation[0]),
        }

    def rate(self, step: int) -> float:
        """A linear warm-up, then a cosine to 0 (SGDR: Loshchilov and Hutter, 2017, without restarts)."""
        warmup, last = self.config.warmup_epochs * self.batches, self.config.epochs * self.batches
        if step <= warmup or last <= warmup:
            return super().rate(step)
        return self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (last - warmup)))

    def _drawn(self, epoch: int) -> Tensor:
        """Return the rows of an epoch."""
        rows = self.rows(epoch, np.random.default_rng([self.seed, epoch, 1])) if callable(self.rows) else self.rows
        return _checked(self.flow, rows, "rows")

    def _told(self, chosen: np.ndarray, step: int) -> Condition | None:
        if self.condition is None:
            return None
        generator = torch.Generator().manual_seed(derived(self.seed, step, CONDITIONS))
        known = self.condition
        given = known[chosen] if isinstance(known, Condition) else known(chosen, generator)
        return Condition(
            given.continuous.masked_fill(self._hidden(given.continuous, generator), float("nan")),
            given.categorical.masked_fill(self._hidden(given.categorical, generator), MISSING),
        )

    def _hidden(self, values: Tensor, generator: torch.Generator) -> Tensor:
        return torch.rand(values.shape, generator=generator) < self.untold


def _checked(flow: TabularFlow, rows: NDArray[np.float64], name: str) -> Tensor:
    if rows.ndim != 2 or rows.shape[1] != flow.config.dimension or not len(rows):
        raise ValueError(f"{name} must be (n, {flow.config.dimension}), one or more, got {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} must be finite, got NaN or infinite numbers")
    return torch.as_tensor(rows).to(flow.device, flow.dtype)
