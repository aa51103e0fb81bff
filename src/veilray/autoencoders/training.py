"""Gradient steps on a loss: Adam with a short warm-up and a rate that falls to zero at the last step or minute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from veilray.autoencoders.base import Images, OnProgress
from veilray.networks.loop import Loop, cosine, shuffled_rows

__all__ = ["Loss", "Schedule", "train"]

Loss = Callable[[Images, torch.Generator], tuple[Tensor, float]]
"""What to lower over a batch, and its bits a number for the reader; draws come from the generator."""

_WARM_UP = 50
_WEIGHT_DECAY = 1e-2
_LARGEST_GRADIENT = 1.0


_MOST = {"epochs": 10**6, "batch_size": 2**20, "learning_rate": 1, "max_minutes": 60 * 24 * 365}
"""Adam moves every weight by about the rate at every step, so a rate above 1 cannot train; a year is a slip."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Raises:
        ValueError: for a value outside its range.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    max_minutes: float | None
    seed: int

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
            if value is not None and not value <= most:
                raise ValueError(f"{name} must be at most {most:,}, got {value:g}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be 0 to {2**32 - 1}, got {self.seed}")


def train(
    network: nn.Module, images: Images, loss_of: Loss, schedule: Schedule, on_progress: OnProgress | None
) -> None:
    """Train in place, in batches drawn without replacement in each epoch; the last, smaller one is left out.

    The rate falls along a half cosine of the share of steps done, or of the minutes gone where those run faster.

    Raises:
        ValueError: for a loss that is not finite.
    """
    batch = min(schedule.batch_size, len(images))
    steps = len(images) // batch
    generator = torch.Generator().manual_seed(schedule.seed)
    optimiser = torch.optim.AdamW(network.parameters(), schedule.learning_rate, weight_decay=_WEIGHT_DECAY, fused=True)
    shown = 0.0

    def loss(chosen: NDArray[np.int64]) -> Tensor:
        nonlocal shown
        nats, shown = loss_of(images[chosen], generator)
        return nats

    def report() -> None:
        if on_progress:
            epoch = (loop.step - 1) // steps + 1
            note = f"epoch {epoch} of {schedule.epochs}: {shown:.3f} bits/dim"
            on_progress(loop.step, schedule.epochs * steps, note)

    loop = Loop(
        network,
        optimiser,
        lambda epoch: shuffled_rows(len(images), batch, schedule.seed, epoch),
        loss,
        epochs=schedule.epochs,
        steps=steps,
        schedule=cosine(optimiser, schedule.learning_rate, _WARM_UP),
        clip_norm=_LARGEST_GRADIENT,
        max_minutes=schedule.max_minutes,
        on_step=report,
        advice=f"use --learning-rate {schedule.learning_rate / 3:.1g}",
    )
    loop.run()
