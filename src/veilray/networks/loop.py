"""The training loop: gradient steps under a schedule, averaged weights, the best epoch, early stop, a time limit.

What a batch is, what its loss is and how the rate moves, the caller says.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["Epoch", "Loop", "RateSchedule", "State", "Stopped", "cosine", "one_cycle", "set_rate", "shuffled_rows"]

Batch = TypeVar("Batch")
Stopped = Literal["epochs", "patience", "time"]
RateSchedule = Callable[[int, float], None]
"""Sets the optimiser's rate for a step, counted from 0 over the run; the float is the share of the run that is done."""

_YOUNG = 10
"""After s steps the average's decay is at most (1 + s) / (10 + s): else it would hold the first weights for long."""


@dataclass
class State:
    """Where a run stands. With the tensors it is all that steers what follows."""

    epoch: int = 0  # epochs finished
    batch: int = 0  # batches of the current epoch finished
    loss: float = 0.0  # sum over the current epoch's batches so far
    seconds: float = 0.0  # in all calls
    epoch_seconds: float = 0.0
    best: float | None = None
    best_epoch: int = 0


@dataclass(frozen=True)
class Epoch:
    """What a finished epoch came to.

    Attributes:
        number: counted from 1.
        loss: mean of its batches, each before its step.
        figure: of the validation; None without one.
        training_seconds, seconds: without and with the validation.
    """

    number: int
    loss: float
    figure: float | None
    training_seconds: float
    seconds: float


class Loop(Generic[Batch]):
    """Trains a network in place.

    Args:
        network: what is trained.
        optimiser: of its parameters, and of any others that are learned beside it.
        batches: the batches of an epoch, counted from 0; drawn one by one, so that what they draw is in step with what
            the loss draws.
        loss_of: a batch to its losses, a scalar or one a row; their mean is lowered.
        epochs: passes, at most.
        steps: batches of an epoch.
        schedule: moves the rate; without it the rate stays.
        clip_norm: largest norm of the gradient; None: any.
        ema_decay: of the exponential moving average (Polyak and Juditsky 1992) of `followed`; None: no average.
        validate: the figure of the network as it is, lower is better. With an average it is asked about that. The
            tensors of the best epoch are remembered: see `restore_best`.
        patience: epochs without a better figure before stopping; None: never.
        max_minutes: stop after so many minutes of this call; None: never.
        followed: the tensors that are averaged and remembered, by name; by default all that the network would save.
        on_step, on_epoch: called after each.
        advice: what to do about a loss that is not finite.
    """

    def __init__(
        self,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        batches: Callable[[int], Iterable[Batch]],
        loss_of: Callable[[Batch], Tensor],
        *,
        epochs: int,
        steps: int,
        schedule: RateSchedule | None = None,
        clip_norm: float | None = None,
        ema_decay: float | None = None,
        validate: Callable[[], float] | None = None,
        patience: int | None = None,
        max_minutes: float | None = None,
        followed: dict[str, Tensor] | None = None,
        on_step: Callable[[], None] | None = None,
        on_epoch: Callable[[Epoch], None] | None = None,
        advice: str = "lower the learning rate, or check the inputs",
    ) -> None:
        self.network, self.optimiser, self.batches, self.loss_of = network, optimiser, batches, loss_of
        self.epochs, self.steps, self.schedule, self.clip_norm = epochs, steps, schedule, clip_norm
        self.ema_decay, self.validate, self.patience, self.max_minutes = ema_decay, validate, patience, max_minutes
        self.on_step, self.on_epoch, self.advice = on_step, on_epoch, advice
        self.state = State()
        self._learned = [weight for group in optimiser.param_groups for weight in group["params"]]
        chosen = network.state_dict() if followed is None else followed
        self.names, self._followed = list(chosen), list(chosen.values())
        self.average = self._followed if ema_decay is None else self._copies()
        self.best = [] if validate is None else self._copies()
        self._started = self._before = self._epoch_started = self._epoch_before = 0.0

    @property
    def step(self) -> int:
        """Steps done over the run."""
        return self.state.epoch * self.steps + self.state.batch

    def run(self) -> Stopped:
        """Train to the end, or until patience or time is spent; says which.

        Raises:
            ValueError: for a loss or a figure that is not finite.
        """
        self._started, self._before = time.monotonic(), self.state.seconds
        while self.state.epoch < self.epochs:
            if self.patience is not None and self.state.epoch - self.state.best_epoch >= self.patience:
                return "patience"
            if not self._epoch():
                return "time"
        return "epochs"

    def figure(self) -> float:
        """The validation figure as it stands: of the average where there is one."""
        assert self.validate is not None
        with self._averaged():
            return self.validate()

    def restart_average(self) -> None:
        """Begin the average anew at the weights as they are: for a first batch that sets weights."""
        if self.ema_decay is not None:
            _copy(self.average, self._followed)

    def _remember(self, figure: float, epoch: int) -> None:
        """Take the average as it is, or the weights without one, as the best so far."""
        self.state.best, self.state.best_epoch = figure, epoch
        _copy(self.best, self.average)

    def restore_best(self) -> None:
        """Give the network the tensors of its best epoch; as they are now, if the time was up within the first one."""
        if self.state.best is None:
            self._remember(self.figure(), 1)
        _copy(self._followed, self.best)

    def _epoch(self) -> bool:
        """Run (the rest of) one epoch; return False when the time is up."""
        state = self.state
        self._epoch_started, self._epoch_before = time.monotonic(), state.epoch_seconds
        self.network.train()
        for batch in islice(self.batches(state.epoch), state.batch, None):
            state.loss += self._take(batch)
            state.batch += 1
            self._clock()
            if self.on_step:
                self.on_step()
            if state.batch < self.steps and self._time_share() >= 1:
                return False
        self._finish_epoch()
        return self._time_share() < 1 or state.epoch >= self.epochs

    def _take(self, batch: Batch) -> float:
        """Take one step; return the batch's loss before it."""
        step, state = self.step, self.state
        loss = self.loss_of(batch).mean()
        value = float(loss.detach())
        if not math.isfinite(value):
            place = f"in epoch {state.epoch + 1}, batch {state.batch + 1}"
            raise ValueError(f"the training loss must be finite, got {value} {place}: {self.advice}")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._learned, self.clip_norm)
        if self.schedule is not None:
            self.schedule(step, min(1.0, max(step / (self.epochs * self.steps), self._time_share())))
        self.optimiser.step()
        if self.ema_decay is not None:
            _follow(self.average, self._followed, min(self.ema_decay, (step + 1) / (step + _YOUNG)))
        return value

    def _finish_epoch(self) -> None:
        state, figure = self.state, None
        number, loss, training_seconds = state.epoch + 1, state.loss / self.steps, state.epoch_seconds
        if self.validate is not None:
            figure = self.figure()
            if not math.isfinite(figure):
                raise ValueError(
                    f"the validation loss must be finite, got {figure} after epoch {number}: {self.advice}"
                )
            if state.best is None or figure < state.best:
                self._remember(figure, number)
            self._clock()
        seconds = state.epoch_seconds
        state.epoch, state.batch, state.loss, state.epoch_seconds = number, 0, 0.0, 0.0
        if self.on_epoch:
            self.on_epoch(Epoch(number, loss, figure, training_seconds, seconds))

    def _clock(self) -> None:
        now = time.monotonic()
        self.state.seconds = self._before + now - self._started
        self.state.epoch_seconds = self._epoch_before + now - self._epoch_started

    def _time_share(self) -> float:
        """Share of the minutes that is gone."""
        return 0.0 if self.max_minutes is None else (time.monotonic() - self._started) / (60 * self.max_minutes)

    def _copies(self) -> list[Tensor]:
        return [tensor.detach().clone() for tensor in self._followed]

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Lend the network its average for the length of a `with` block."""
        if self.ema_decay is None:
            yield
            return
        own = self._copies()
        _copy(self._followed, self.average)
        try:
            yield
        finally:
            _copy(self._followed, own)


def shuffled_rows(items: int, batch_size: int, seed: int, epoch: int) -> Iterator[NDArray[np.int64]]:
    """The rows of each batch of an epoch, ascending within a batch, so that a memory map is read in order.

    The last, smaller batch is left out: the next epoch's order differs.
    """
    order = np.random.default_rng([seed, epoch]).permutation(items)
    for start in range(0, items - batch_size + 1, batch_size):
        yield np.sort(order[start : start + batch_size])


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give all groups of parameters this learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def cosine(optimiser: torch.optim.Optimizer, highest: float, warmup: int = 0) -> RateSchedule:
    """A half cosine to 0 over the run (Loshchilov and Hutter 2017), under a linear warm-up of so many steps."""

    def schedule(step: int, done: float) -> None:
        warm = min(1.0, (step + 1) / warmup) if warmup else 1.0
        set_rate(optimiser, highest * (warm * 0.5 * (1 + math.cos(math.pi * done))))

    return schedule


def one_cycle(optimiser: torch.optim.Optimizer, highest: float | list[float], steps: int) -> RateSchedule:
    """One cycle of the rate over so many steps in all, up and then down to nearly 0 (Smith and Topin 2019).

    Args:
        highest: rate, of all groups of parameters or of each.
    """
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, highest, total_steps=steps)

    def schedule(step: int, done: float) -> None:
        del done
        if step:  # the first rate is set already
            cycle.step()

    return schedule


@torch.no_grad()
def _copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)


@torch.no_grad()
def _follow(average: list[Tensor], tensors: list[Tensor], decay: float) -> None:
    """Move the average towards the tensors; whole numbers, such as counts of batches, are copied."""
    pairs = list(zip(average, tensors, strict=True))
    floats = [pair for pair in pairs if pair[0].is_floating_point()]
    torch._foreach_lerp_([kept for kept, _ in floats], [new for _, new in floats], 1 - decay)
    for kept, new in pairs:
        if not kept.is_floating_point():
            kept.copy_(new)
