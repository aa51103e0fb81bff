"""How to train, where a run stands, and what it came to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from veilray.networks.loop import Stopped

__all__ = ["Outcome", "Progress", "RowTraining", "RowTrainingResult", "TrainingConfig", "TrainingResult"]

_MOST = {
    "epochs": 10**6,
    "batch_size": 2**20,
    "learning_rate": 1,
    "clip_norm": 1e9,
    "patience": 10**6,
    "max_minutes": 60 * 24 * 365,
    "checkpoint_minutes": 60 * 24 * 365,
}
"""Adam moves every weight by about the rate at every step, so a rate above 1 cannot train. The others are far above
what anybody waits for: a number beyond them is a slip."""


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Args:
        epochs: passes over the training images, at most.
        batch_size: images a step.
        learning_rate: of Adam, after the warm-up.
        warmup_epochs: epochs (fractions too) over which the rate grows linearly from 0.
        ema_decay: of the exponential moving average of the weights, which is validated and kept.
        clip_norm: largest norm of the gradient of the bits per dimension.
        patience: epochs without a better validation figure before stopping; None: never.
        seed: of the order and the dequantisation. Not a release's randomness.
        max_minutes: stop, with a checkpoint, after so many minutes of this call; None: never.
        checkpoint_minutes: also write a checkpoint within an epoch after so many minutes.

    Raises:
        ValueError: when a value is outside its range.
    """

    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup_epochs: float = 1.0
    ema_decay: float = 0.999
    clip_norm: float = 1.0
    patience: int | None = 10
    seed: int = 0
    max_minutes: float | None = None
    checkpoint_minutes: float = 10.0

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
            if value is not None and not value <= most:
                raise ValueError(f"{name} must be at most {most:,}, got {value:g}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must be in [0, 1), got {self.ema_decay}")
        if not self.warmup_epochs >= 0:
            raise ValueError(f"warmup_epochs must be 0 or more, got {self.warmup_epochs}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be 0 to {2**32 - 1}, got {self.seed}")

    def steering(self) -> dict[str, Any]:
        """Return what steers a run, for its checkpoint: all but the limits on its length, which may change."""
        limits = ("epochs", "patience", "max_minutes", "checkpoint_minutes")
        return {name: value for name, value in asdict(self).items() if name not in limits}


@dataclass(frozen=True)
class RowTraining(TrainingConfig):
    """How to train on the rows of a table: as `TrainingConfig` says, with rows for images.

    After the warm-up the rate falls to 0 along a cosine, so the number of epochs steers the run too: a resumed run
    must ask for the same.

    Args:
        untold: each value of a condition is withheld from a training row with this chance, so that the flow knows
            what to do without it.
        input_noise: deviation of the normal noise that joins each training row, afresh at each step; held-out rows
            get none. It keeps a flow from learning a small table by heart (Toelle et al., 2022, used 0.02).
    """

    epochs: int = 60
    batch_size: int = 256
    patience: int | None = None
    untold: float = 0.1
    input_noise: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.untold < 1:
            raise ValueError(f"untold must be in [0, 1), got {self.untold}")
        if not 0 <= self.input_noise <= 1:
            raise ValueError(f"input_noise must be in [0, 1], got {self.input_noise}")

    def steering(self) -> dict[str, Any]:
        """Return what steers a run: all but patience and the limits in minutes."""
        return {**super().steering(), "epochs": self.epochs}


@dataclass(frozen=True)
class Progress:
    """Where a run stands. Bits are per dimension, times in seconds; the images of a run on a table are its rows."""

    epoch: int
    epochs: int
    batch: int
    batches: int
    train_bits: float
    validation_bits: float | None
    learning_rate: float
    images_per_second: float
    seconds: float
    seconds_left: float


@dataclass(frozen=True)
class Outcome:
    """What a run came to. `validation_bits` is the best one, of the averaged weights that were kept."""

    epochs: int
    best_epoch: int
    train_bits: float
    validation_bits: float
    seconds: float
    stopped: Stopped
    parameters: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures, for a model card."""
        return asdict(self)


@dataclass(frozen=True)
class TrainingResult(Outcome):
    """What a run on images came to."""

    training_images: int
    validation_images: int


@dataclass(frozen=True)
class RowTrainingResult(Outcome):
    """What a run on the rows of a table came to. Bits per dimension are those of the density of the real numbers."""

    training_rows: int
    validation_rows: int
