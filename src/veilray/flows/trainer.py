"""The loop of maximum-likelihood training: steps, averaged weights, the best epoch, checkpoints.

What a batch is made of, and how the held-out part is scored, the subclass says: images or rows.
"""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from veilray.durable import write_bytes
from veilray.flows.training_config import Outcome, Progress, Stopped, TrainingConfig
from veilray.networks.checkpoint import Checkpoint

__all__ = ["CONDITIONS", "LOG_FILE", "Trainer", "derived"]

LOG_FILE = "log.jsonl"
CONDITIONS = 1
"""Sets the seed of a step's conditions apart from that of its dequantisation."""


@dataclass
class _Run:
    """What a checkpoint must hold beside the tensors, and nothing else may steer the run."""

    epoch: int = 0  # epochs finished
    batch: int = 0  # batches of the current epoch finished
    bits: float = 0.0  # sum over the current epoch's items so far
    seconds: float = 0.0  # in all calls, up to the checkpoint
    epoch_seconds: float = 0.0
    best: float | None = None
    best_epoch: int = 0
    history: list[dict[str, float | int]] = field(default_factory=list)


class Trainer(ABC):
    """Train a flow in place; at the end it holds the averaged weights of its best epoch.

    Args:
        flow: what is trained.
        items: number of training items.
        config: how to train.
        checkpoint: of the run; its folder's parent gets the log.
        on_progress: called after every step and every epoch.

    Raises:
        ValueError: for a batch size above the number of items.
    """

    unit = "images"
    """What the items are, in messages."""
    save_every_seconds = 0.0
    """An epoch's end is saved when the last save is as long ago.

    Where epochs take milliseconds, saving would take longer."""

    def __init__(
        self,
        flow: nn.Module,
        items: int,
        config: TrainingConfig,
        checkpoint: Checkpoint,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        if config.batch_size > items:
            raise ValueError(f"batch_size must be at most the {items} {self.unit}, got {config.batch_size}")
        self.module, self.items, self.config = flow, items, config
        self.checkpoint, self.folder, self.on_progress = checkpoint, checkpoint.folder.parent, on_progress
        # The last, smaller batch is left out: the next epoch's order differs.
        self.batches = items // config.batch_size
        self._saved = time.monotonic()
        self.state = _Run()
        self.names = [name for name, _ in flow.named_parameters()]
        self.weights = list(flow.parameters())
        self.average = [weight.detach().clone() for weight in self.weights]
        self.best = [weight.detach().clone() for weight in self.weights]
        self.optimiser = torch.optim.Adam(self.weights, lr=config.learning_rate, fused=True)

    # What the subclass says.

    @abstractmethod
    def batch_loss(self, chosen: np.ndarray, epoch: int, step: int) -> Tensor:
        """Return bits per dimension `(n,)` of the items at these indices; epoch and step count from 0, over the run."""

    @abstractmethod
    def validation_loss(self) -> float:
        """Return the mean bits per dimension of the held-out items under the weights as they are."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return what must be equal for a resumed run to be the same run; limits on its length may change."""

    def rate(self, step: int) -> float:
        """Return the learning rate of the step, counted from 1: a linear warm-up, then constant."""
        warmup = self.config.warmup_epochs * self.batches
        return self.config.learning_rate * (min(1.0, step / warmup) if warmup else 1.0)

    # The loop.

    def run(self, *, resume: bool) -> Outcome:
        """Train to the end, or to a limit of the configuration.

        Raises:
            ValueError: for a folder with a checkpoint that `resume` does not ask for, a checkpoint of another run,
                or a loss that is not finite.
        """
        if resume and self.checkpoint.exists:
            self._restore()
        elif self.checkpoint.exists:
            raise ValueError(f"folder must be without a checkpoint, got {self.folder}: use --resume or another")
        started = time.monotonic()
        before = self.state.seconds
        stopped: Stopped = "epochs"
        self.module.train()
        while self.state.epoch < self.config.epochs:
            if self._patience_spent():
                stopped = "patience"
                break
            if not self._epoch(started, before):
                stopped = "time"
                break
        return self._outcome(stopped)

    def _epoch(self, started: float, before: float) -> bool:
        """Run (the rest of) one epoch; return False when the time is up."""
        run, config = self.state, self.config
        order = np.random.default_rng([config.seed, run.epoch]).permutation(self.items)
        epoch_started, epoch_before = time.monotonic(), run.epoch_seconds
        first, saved = run.batch, time.monotonic()
        for batch in range(run.batch, self.batches):
            chosen = np.sort(order[batch * config.batch_size : (batch + 1) * config.batch_size])
            run.bits += self._step(chosen) * config.batch_size
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

    def _step(self, chosen: np.ndarray) -> float:
        """Take one step; return the batch's bits per dimension before it."""
        config, run = self.config, self.state
        step = run.epoch * self.batches + run.batch
        loss = self.batch_loss(chosen, run.epoch, step).mean()
        if step == 0:  # the first batch may have set weights
            _copy(self.average, self.weights)
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
            group["lr"] = self.rate(step + 1)
        self.optimiser.step()
        # Early on the average would hold the initial weights for 1/(1 - decay) steps: let it move faster.
        decay = min(config.ema_decay, (step + 1) / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, list[Tensor](self.weights), 1 - decay)
        return value

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
                "learning_rate": self.rate(run.epoch * self.batches),
                "seconds": round(run.epoch_seconds, 3),
            }
        )
        taken, run.batch, run.bits, run.epoch_seconds = run.epoch_seconds, 0, 0.0, 0.0
        if run.epoch >= self.config.epochs or time.monotonic() - self._saved >= self.save_every_seconds:
            self._save()
        self._report(bits, validation, self.batches, taken)

    def _validate(self) -> float:
        """Return the validation loss of the averaged weights."""
        with self._averaged():
            return self.validation_loss()

    def _averaged(self) -> _Swapped:
        return _Swapped(self.weights, self.average)

    def _patience_spent(self) -> bool:
        patience, run = self.config.patience, self.state
        return patience is not None and run.epoch - run.best_epoch >= patience

    def _outcome(self, stopped: Stopped) -> Outcome:
        run = self.state
        if run.best is None:  # the time was up within the first epoch: the average so far is all there is
            run.best, run.best_epoch = self._validate(), 1
            _copy(self.best, self.average)
        _copy(self.weights, self.best)
        self.module.eval()
        train_bits = (
            run.history[run.best_epoch - 1]["train_bits"]
            if run.history
            else run.bits / max(1, run.batch * self.config.batch_size)
        )
        return Outcome(
            epochs=run.epoch,
            best_epoch=run.best_epoch,
            train_bits=float(train_bits),
            validation_bits=run.best,
            seconds=round(run.seconds, 3),
            stopped=stopped,
            parameters=sum(weight.numel() for weight in self.weights),
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
                learning_rate=self.rate(max(1, run.epoch * self.batches + run.batch)),
                images_per_second=config.batch_size / pace if pace > 0 else 0.0,
                seconds=run.seconds,
                seconds_left=left,
            )
        )

    # The checkpoint.

    def _save(self) -> None:
        self._saved = time.monotonic()
        moments: dict[str, Tensor] = {}
        for name, weight in zip(self.names, self.weights, strict=True):
            for key, value in self.optimiser.state[weight].items():
                moments[f"{name}/{key}"] = value
        self.checkpoint.save(
            {"identity": self.identity(), "run": asdict(self.state)},
            {
                "weights": dict(self.module.state_dict()),
                "average": dict(zip(self.names, self.average, strict=True)),
                "best": dict(zip(self.names, self.best, strict=True)),
                "optimiser": moments,
            },
        )
        lines = "".join(json.dumps(line) + "\n" for line in self.state.history)
        write_bytes(self.folder / LOG_FILE, lines.encode())

    def _restore(self) -> None:
        state, groups = self.checkpoint.load()
        saved, expected = state["identity"], self.identity()
        for key in saved | expected:
            if saved.get(key) != expected.get(key):
                raise ValueError(
                    f"{key} must be as in the checkpoint, {saved.get(key)}, got {expected.get(key)}: "
                    "resume with the same settings, or train in another folder"
                )
        self.state = _Run(**state["run"])
        self.module.load_state_dict(groups["weights"])
        for group, tensors in (("average", self.average), ("best", self.best)):
            _copy(tensors, [groups[group][name] for name in self.names])
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


def derived(seed: int, step: int, *purpose: int) -> int:
    """Return a seed for what is random in one step, apart from those of all other steps and seeds."""
    return int(np.random.SeedSequence([seed, step, *purpose]).generate_state(1, np.uint64)[0] >> 1)
