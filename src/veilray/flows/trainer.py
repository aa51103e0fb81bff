"""Maximum-likelihood training, resumed bit for bit: the training loop with checkpoints, a log and progress in bits.

What a batch is made of, and how the held-out part is scored, the subclass says: images or rows.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from veilray.durable import write_bytes
from veilray.flows.training_config import FlowTraining, Outcome, Progress
from veilray.networks.checkpoint import Checkpoint
from veilray.networks.loop import Epoch, Loop, State, Stopped, set_rate, shuffled_rows

__all__ = ["CONDITIONS", "LOG_FILE", "Trainer", "derived"]

LOG_FILE = "log.jsonl"
CONDITIONS = 1
"""Sets the seed of a step's conditions apart from that of its dequantisation."""


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
        config: FlowTraining,
        checkpoint: Checkpoint,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        if config.batch_size > items:
            raise ValueError(f"batch_size must be at most the {items} {self.unit}, got {config.batch_size}")
        self.module, self.items, self.config = flow, items, config
        self.checkpoint, self.folder, self.on_progress = checkpoint, checkpoint.folder.parent, on_progress
        self.batches = items // config.batch_size
        self.history: list[dict[str, float | int]] = []
        self._saved = time.monotonic()
        self.weights = list(flow.parameters())
        self.optimiser = torch.optim.AdamW(
            self.weights, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.loop = Loop(
            flow,
            self.optimiser,
            lambda epoch: shuffled_rows(items, config.batch_size, config.seed, epoch),
            lambda chosen: self.batch_loss(chosen, self.loop.state.epoch, self.loop.step),
            epochs=config.epochs,
            steps=self.batches,
            schedule=lambda step, _: set_rate(self.optimiser, self.rate(step + 1)),
            clip_norm=config.clip_norm,
            ema_decay=config.ema_decay,
            validate=self.validation_loss,
            patience=config.patience,
            max_minutes=config.max_minutes,
            followed=dict(flow.named_parameters()),
            on_step=self._step_done,
            on_epoch=self._epoch_done,
            advice=f"use --learning-rate {config.learning_rate / 3:.1g} or a longer --warmup-epochs; the last "
            f"checkpoint is kept in {checkpoint.folder}",
        )

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

    # The run.

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
        stopped = self.loop.run()
        if stopped == "time":
            self._save()
        return self._outcome(stopped)

    def _outcome(self, stopped: Stopped) -> Outcome:
        run = self.loop.state
        self.loop.restore_best()
        self.module.eval()
        train_bits = self.history[run.best_epoch - 1]["train_bits"] if self.history else run.loss / max(1, run.batch)
        assert run.best is not None
        return Outcome(
            epochs=run.epoch,
            best_epoch=run.best_epoch,
            train_bits=float(train_bits),
            validation_bits=run.best,
            seconds=round(run.seconds, 3),
            stopped=stopped,
            parameters=sum(weight.numel() for weight in self.weights),
        )

    def _step_done(self) -> None:
        run = self.loop.state
        self._report(run.epoch + 1, run.batch, run.loss / run.batch, None, run.epoch_seconds)
        if run.batch < self.batches and time.monotonic() - self._saved >= 60 * self.config.checkpoint_minutes:
            self._save()

    def _epoch_done(self, epoch: Epoch) -> None:
        assert epoch.figure is not None
        self.history.append(
            {
                "epoch": epoch.number,
                "train_bits": epoch.loss,
                "validation_bits": epoch.figure,
                "learning_rate": self.rate(epoch.number * self.batches),
                "seconds": round(epoch.seconds, 3),
            }
        )
        if epoch.number >= self.config.epochs or time.monotonic() - self._saved >= self.save_every_seconds:
            self._save()
        self._report(epoch.number, self.batches, epoch.loss, epoch.figure, epoch.seconds)

    def _report(self, epoch: int, batch: int, bits: float, validation: float | None, seconds: float) -> None:
        """Tell where the run stands; `seconds` are those of the epoch's batches so far."""
        if self.on_progress is None:
            return
        config, pace, done = self.config, seconds / batch, self.loop.step
        left = pace * (config.epochs * self.batches - done)
        if config.max_minutes is not None:
            left = min(left, max(0.0, 60 * config.max_minutes - self.loop.state.seconds))
        self.on_progress(
            Progress(
                epoch=epoch,
                epochs=config.epochs,
                batch=batch,
                batches=self.batches,
                train_bits=bits,
                validation_bits=validation,
                learning_rate=self.rate(max(1, done)),
                images_per_second=config.batch_size / pace if pace > 0 else 0.0,
                seconds=self.loop.state.seconds,
                seconds_left=left,
            )
        )

    # The checkpoint.

    def _save(self) -> None:
        self._saved = time.monotonic()
        loop = self.loop
        moments: dict[str, Tensor] = {}
        for name, weight in zip(loop.names, self.weights, strict=True):
            for key, value in self.optimiser.state[weight].items():
                moments[f"{name}/{key}"] = value
        self.checkpoint.save(
            {"identity": self.identity(), "run": {**asdict(loop.state), "history": self.history}},
            {
                "weights": dict(self.module.state_dict()),
                "average": dict(zip(loop.names, loop.average, strict=True)),
                "best": dict(zip(loop.names, loop.best, strict=True)),
                "optimiser": moments,
            },
        )
        lines = "".join(json.dumps(line) + "\n" for line in self.history)
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
        run, loop = dict(state["run"]), self.loop
        self.history = run.pop("history")
        if "bits" in run:  # of an earlier version, summed over items
            run["loss"] = run.pop("bits") / self.config.batch_size
        loop.state = State(**run)
        self.module.load_state_dict(groups["weights"])
        with torch.no_grad():
            for group, tensors in (("average", loop.average), ("best", loop.best)):
                for name, tensor in zip(loop.names, tensors, strict=True):
                    tensor.copy_(groups[group][name])
        for name, weight in zip(loop.names, self.weights, strict=True):
            # The fused optimiser walks through memory, so its moments must lie in memory as the weight does.
            self.optimiser.state[weight] = {
                "step": groups["optimiser"][f"{name}/step"],
                **{
                    key: torch.empty_like(weight).detach().copy_(groups["optimiser"][f"{name}/{key}"])
                    for key in ("exp_avg", "exp_avg_sq")
                },
            }


def derived(seed: int, step: int, *purpose: int) -> int:
    """Return a seed for what is random in one step, apart from those of all other steps and seeds."""
    return int(np.random.SeedSequence([seed, step, *purpose]).generate_state(1, np.uint64)[0] >> 1)
