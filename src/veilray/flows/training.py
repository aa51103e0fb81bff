"""Maximum-likelihood training: bits per dimension, averaged weights, checkpoints that resume bit for bit."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from veilray.flows.checkpoint import Checkpoint
from veilray.flows.condition import Condition
from veilray.flows.conditional import ConditionalGlow
from veilray.flows.durable import write_bytes
from veilray.flows.glow import Glow
from veilray.flows.quantisation import as_tensor, dequantise
from veilray.flows.training_config import Progress, Stopped, TrainingConfig, TrainingResult

__all__ = ["LOG_FILE", "Conditions", "Progress", "TrainingConfig", "TrainingResult", "train"]

LOG_FILE = "log.jsonl"
CONDITIONS = 1
"""Sets the seed of a step's conditions apart from that of its dequantisation."""
Conditions = Callable[[np.ndarray, torch.Generator], Condition]
"""The conditions of the training images at these indices; what is random in them comes from the generator."""


@dataclass
class _Run:
    """What a checkpoint must hold beside the tensors, and nothing else may steer the run."""

    epoch: int = 0  # epochs finished
    batch: int = 0  # batches of the current epoch finished
    bits: float = 0.0  # sum over the current epoch's images so far
    seconds: float = 0.0  # in all calls, up to the checkpoint
    epoch_seconds: float = 0.0
    best: float | None = None
    best_epoch: int = 0
    history: list[dict[str, float | int]] = field(default_factory=list)


def train(
    flow: Glow | ConditionalGlow,
    images: np.ndarray,
    validation: np.ndarray,
    config: TrainingConfig,
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
    return _Trainer(flow, images, validation, config, Path(folder), on_progress, given).run(resume=resume)


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
        generator = torch.Generator().manual_seed(_derived(seed, step, CONDITIONS))
        return () if self._source is None else (self._source(chosen, generator),)

    def validation_bits(self, images: np.ndarray, rows: slice) -> Tensor:
        if isinstance(self._flow, ConditionalGlow):
            assert self._validation is not None
            return self._flow.bits_per_dimension(images, self._validation[rows], seed=rows.start)
        return self._flow.bits_per_dimension(images, seed=rows.start)


class _Trainer:
    def __init__(
        self,
        flow: Glow | ConditionalGlow,
        images: np.ndarray,
        validation: np.ndarray,
        config: TrainingConfig,
        folder: Path,
        on_progress: Callable[[Progress], None] | None,
        conditions: _Conditions,
    ) -> None:
        for name, array in (("images", images), ("validation", validation)):
            if not len(array):
                raise ValueError(f"{name} must be one image or more, got none")
            as_tensor(array[:1], flow.config.shape, flow.config.bits)
        if config.batch_size > len(images):
            raise ValueError(f"batch_size must be at most the {len(images)} images, got {config.batch_size}")
        self.flow, self.images, self.validation, self.config = flow, images, validation, config
        self.folder, self.on_progress, self.conditions = folder, on_progress, conditions
        # The last, smaller batch is left out: the next epoch's order differs.
        self.batches = len(images) // config.batch_size
        self.checkpoint = Checkpoint(folder / "checkpoint")
        self.state = _Run()
        self.names = [name for name, _ in flow.named_parameters()]
        self.weights = list(flow.parameters())
        self.average = [weight.detach().clone() for weight in self.weights]
        self.best = [weight.detach().clone() for weight in self.weights]
        self.optimiser = torch.optim.Adam(self.weights, lr=config.learning_rate, fused=True)

    def run(self, *, resume: bool) -> TrainingResult:
        if resume and self.checkpoint.exists:
            self._restore()
        elif self.checkpoint.exists:
            raise ValueError(f"folder must be without a checkpoint, got {self.folder}: use --resume or another")
        started = time.monotonic()
        before = self.state.seconds
        stopped: Stopped = "epochs"
        self.flow.train()
        while self.state.epoch < self.config.epochs:
            if self._patience_spent():
                stopped = "patience"
                break
            if not self._epoch(started, before):
                stopped = "time"
                break
        return self._result(stopped)

    def _epoch(self, started: float, before: float) -> bool:
        """Run (the rest of) one epoch; return False when the time is up."""
        run, config = self.state, self.config
        order = np.random.default_rng([config.seed, run.epoch]).permutation(len(self.images))
        epoch_started, epoch_before = time.monotonic(), run.epoch_seconds
        first, saved = run.batch, time.monotonic()
        for batch in range(run.batch, self.batches):
            chosen = np.sort(order[batch * config.batch_size : (batch + 1) * config.batch_size])
            run.bits += self._step(np.asarray(self.images[chosen]), chosen) * config.batch_size
            run.batch = batch + 1
            now = time.monotonic()
            run.seconds = before + now - started
            run.epoch_seconds = epoch_before + now - epoch_started
            self._report(run.bits / (run.batch * config.batch_size), None, run.batch - first, now - epoch_started)
            if run.batch == self.batches:
                break
            if config.max_minutes is not None and now - started >= 60 * config.max_minutes:
                self._save()
                return False
            if now - saved >= 60 * config.checkpoint_minutes:
                self._save()
                saved = now
        self._finish_epoch(started, before, epoch_started, epoch_before)
        out_of_time = config.max_minutes is not None and time.monotonic() - started >= 60 * config.max_minutes
        return not out_of_time or run.epoch >= config.epochs

    def _step(self, images: np.ndarray, chosen: np.ndarray) -> float:
        """Take one step; return the batch's bits per dimension before it."""
        flow, config, run = self.flow, self.config, self.state
        step = run.epoch * self.batches + run.batch
        pixels = as_tensor(images, flow.config.shape, flow.config.bits)
        generator = torch.Generator().manual_seed(_derived(config.seed, step))
        x = dequantise(pixels, flow.config.bits, flow.dtype, generator).to(flow.device)
        given = self.conditions.of_batch(chosen, config.seed, step)
        if step == 0:
            flow.initialise(x, *given)
            _copy(self.average, self.weights)
        loss = flow.loss(x, *given).mean()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ValueError(
                f"the training loss must be finite, got {value} in epoch {run.epoch + 1}, batch {run.batch + 1}: "
                f"use --learning-rate {config.learning_rate / 3:.1g} or a longer --warmup-epochs; the last "
                f"checkpoint is kept in {self.checkpoint.folder}"
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.weights, config.clip_norm)
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate(step + 1)
        self.optimiser.step()
        # Early on the average would hold the initial weights for 1/(1 - decay) steps: let it move faster.
        decay = min(config.ema_decay, (step + 1) / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, list[Tensor](self.weights), 1 - decay)
        return value

    def _rate(self, step: int) -> float:
        warmup = self.config.warmup_epochs * self.batches
        return self.config.learning_rate * (min(1.0, step / warmup) if warmup else 1.0)

    def _finish_epoch(self, started: float, before: float, epoch_started: float, epoch_before: float) -> None:
        run = self.state
        validation = self._validate()
        if not math.isfinite(validation):
            raise ValueError(
                f"the validation loss must be finite, got {validation} after epoch {run.epoch + 1}: "
                f"use --learning-rate {self.config.learning_rate / 3:.1g}"
            )
        bits = run.bits / (self.batches * self.config.batch_size)
        run.epoch += 1
        if run.best is None or validation < run.best:
            run.best, run.best_epoch = validation, run.epoch
            _copy(self.best, self.average)
        now = time.monotonic()
        run.seconds = before + now - started
        run.epoch_seconds = epoch_before + now - epoch_started
        run.history.append(
            {
                "epoch": run.epoch,
                "train_bits": bits,
                "validation_bits": validation,
                "learning_rate": self._rate(run.epoch * self.batches),
                "seconds": round(run.epoch_seconds, 3),
            }
        )
        taken, run.batch, run.bits, run.epoch_seconds = run.epoch_seconds, 0, 0.0, 0.0
        self._save()
        self._report(bits, validation, self.batches, taken)

    def _validate(self) -> float:
        """Return the mean bits per dimension of the validation images under the averaged weights."""
        with self._averaged():
            total = 0.0
            for start in range(0, len(self.validation), 256):
                rows = slice(start, start + 256)
                bits = self.conditions.validation_bits(np.asarray(self.validation[rows]), rows)
                total += float(bits.double().sum())
        return total / len(self.validation)

    def _averaged(self) -> _Swapped:
        return _Swapped(self.weights, self.average)

    def _patience_spent(self) -> bool:
        patience, run = self.config.patience, self.state
        return patience is not None and run.epoch - run.best_epoch >= patience

    def _result(self, stopped: Stopped) -> TrainingResult:
        run = self.state
        if run.best is None:  # the time was up within the first epoch: the average so far is all there is
            run.best, run.best_epoch = self._validate(), 1
            _copy(self.best, self.average)
        _copy(self.weights, self.best)
        self.flow.eval()
        train_bits = (
            run.history[run.best_epoch - 1]["train_bits"]
            if run.history
            else run.bits / max(1, run.batch * self.config.batch_size)
        )
        return TrainingResult(
            epochs=run.epoch,
            best_epoch=run.best_epoch,
            train_bits=float(train_bits),
            validation_bits=run.best,
            seconds=round(run.seconds, 3),
            stopped=stopped,
            parameters=sum(weight.numel() for weight in self.weights),
            training_images=len(self.images),
            validation_images=len(self.validation),
        )

    def _report(self, bits: float, validation: float | None, done: int, seconds: float) -> None:
        if self.on_progress is None:
            return
        run, config = self.state, self.config
        pace = seconds / max(done, 1)
        left = pace * ((config.epochs - run.epoch) * self.batches - run.batch)
        if config.max_minutes is not None:
            left = min(left, max(0.0, 60 * config.max_minutes - run.seconds))
        self.on_progress(
            Progress(
                epoch=run.epoch + (validation is None),
                epochs=config.epochs,
                batch=run.batch if validation is None else self.batches,
                batches=self.batches,
                train_bits=bits,
                validation_bits=validation,
                learning_rate=self._rate(max(1, run.epoch * self.batches + run.batch)),
                images_per_second=config.batch_size / pace if pace > 0 else 0.0,
                seconds=run.seconds,
                seconds_left=left,
            )
        )

    # The checkpoint.

    def _identity(self) -> dict[str, Any]:
        """What must be equal for a resumed run to be the same run; limits on its length may change."""
        config = asdict(self.config)
        for limit in ("epochs", "patience", "max_minutes", "checkpoint_minutes"):
            del config[limit]
        flow = self.flow
        return {
            "flow": flow.config.to_dict(),
            **({"conditions": flow.conditions.to_dict()} if isinstance(flow, ConditionalGlow) else {}),
            "dtype": str(self.flow.dtype),
            "training": config,
            "images": len(self.images),
            "validation": len(self.validation),
        }

    def _save(self) -> None:
        moments: dict[str, Tensor] = {}
        for name, weight in zip(self.names, self.weights, strict=True):
            for key, value in self.optimiser.state[weight].items():
                moments[f"{name}/{key}"] = value
        self.checkpoint.save(
            {"identity": self._identity(), "run": asdict(self.state)},
            {
                "weights": dict(self.flow.state_dict()),
                "average": dict(zip(self.names, self.average, strict=True)),
                "best": dict(zip(self.names, self.best, strict=True)),
                "optimiser": moments,
            },
        )
        lines = "".join(json.dumps(line) + "\n" for line in self.state.history)
        write_bytes(self.folder / LOG_FILE, lines.encode())

    def _restore(self) -> None:
        state, groups = self.checkpoint.load()
        saved, expected = state["identity"], self._identity()
        for key in saved | expected:
            if saved.get(key) != expected.get(key):
                raise ValueError(
                    f"{key} must be as in the checkpoint, {saved.get(key)}, got {expected.get(key)}: "
                    "resume with the same settings, or train in another folder"
                )
        self.state = _Run(**state["run"])
        self.flow.load_state_dict(groups["weights"])
        for group, tensors in (("average", self.average), ("best", self.best)):
            _copy(tensors, [groups[group][name].to(self.flow.device) for name in self.names])
        for name, weight in zip(self.names, self.weights, strict=True):
            # The fused optimiser walks through memory, so its moments must lie in memory as the weight does.
            self.optimiser.state[weight] = {
                "step": groups["optimiser"][f"{name}/step"],
                **{
                    key: torch.empty_like(weight).detach().copy_(groups["optimiser"][f"{name}/{key}"])
                    for key in ("exp_avg", "exp_avg_sq")
                },
            }


class _Swapped:
    """Lend the parameters other values for the length of a `with` block, then give theirs back."""

    def __init__(self, weights: list[torch.nn.Parameter], lent: list[Tensor]) -> None:
        self._weights, self._lent = weights, lent
        self._own: list[Tensor] = []

    def __enter__(self) -> None:
        self._own = [weight.detach().clone() for weight in self._weights]
        _copy(self._weights, self._lent)

    def __exit__(self, *_: object) -> None:
        _copy(self._weights, self._own)


@torch.no_grad()
def _copy(targets: list[Any], sources: list[Any]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)


def _derived(seed: int, step: int, *purpose: int) -> int:
    """Return a seed for one step's dequantisation or conditions, apart from those of all other steps and seeds."""
    return int(np.random.SeedSequence([seed, step, *purpose]).generate_state(1, np.uint64)[0] >> 1)
