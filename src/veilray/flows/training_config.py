"""How to train, where a run stands, and what it came to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from veilray.networks.loop import Stopped
from veilray.networks.settings import TrainingSettings

__all__ = ["FlowTraining", "Outcome", "Progress", "RowTraining", "RowTrainingResult", "TrainingResult"]


@dataclass(frozen=True)
class FlowTraining(TrainingSettings):
    """How to train a flow, on images if nothing else is said.

    Args:
        epochs, batch_size, learning_rate, weight_decay, seed, max_minutes: see `TrainingSettings`. The rate holds
            after the warm-up, the seed is of the order and the dequantisation, and a run whose time is up leaves a
            checkpoint.
        warmup_epochs: epochs (fractions too) over which the rate grows linearly from 0.
        ema_decay: of the exponential moving average of the weights, which is validated and kept.
        clip_norm: largest norm of the gradient of the bits per dimension.
        patience: epochs without a better validation figure before stopping; None: never.
        checkpoint_minutes: also write a checkpoint within an epoch after so many minutes.

    Raises:
        ValueError: when a value is outside its range.
    """

    warmup_epochs: float = 1.0
    ema_decay: float = 0.999
    clip_norm: float = 1.0
    patience: int | None = 10
    checkpoint_minutes: float = 10.0

    most: ClassVar[dict[str, float]] = {
        **TrainingSettings.most,
        "clip_norm": 1e9,
        "patience": 10**6,
        "checkpoint_minutes": 60 * 24 * 365,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_share("ema_decay")
        if not self.warmup_epochs >= 0:
            raise ValueError(f"warmup_epochs must be 0 or more, got {self.warmup_epochs}")

    def steering(self) -> dict[str, Any]:
        """Return what steers a run, for its checkpoint: all but the limits on its length, which may change."""
        left_out = ["epochs", "patience", "max_minutes", "checkpoint_minutes"]
        if not self.weight_decay:  # as in the checkpoints of a time when there was none
            left_out.append("weight_decay")
        return {name: value for name, value in asdict(self).items() if name not in left_out}


@dataclass(frozen=True)
class RowTraining(FlowTraining):
    """How to train on the rows of a table: as `FlowTraining` says, with rows for images.

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
        self._check_share("untold")
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
